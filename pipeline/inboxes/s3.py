"""An inbox in object storage: any endpoint that speaks S3, with the credentials of the ordinary AWS chain."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Self

from pydantic import Field

from pipeline.errors import UserError
from pipeline.inboxes.manifest import MANIFEST, REPORT
from pipeline.inboxes.s3_errors import inbox_errors, object_errors
from pipeline.inboxes.store import CHUNK_BYTES, OUTCOMES, ChangedError, Entry, InterruptedTransferError, in_parallel
from pipeline.params import Section

SCHEME = "s3://"
COPY_BYTES = 5 * 2**30  # what S3 copies by a single request


class Connection(Section):
    """How object storage is reached.

    Attributes:
        endpoint_url: The server; None for the one of the AWS environment.
        region: Its region; None likewise.
        transfers: Files under way at once.
        attempts: Attempts at a request, and at the rest of a file that stopped in the midst.
        connect_timeout_s: Longest wait for a connection, in seconds.
        read_timeout_s: Longest silence in the midst of an answer, in seconds.
    """

    endpoint_url: str | None
    region: str | None
    transfers: int = Field(ge=1)
    attempts: int = Field(ge=1)
    connect_timeout_s: float = Field(gt=0)
    read_timeout_s: float = Field(gt=0)


class S3Store:
    """Batches below a prefix of a bucket.

    Args:
        client: A boto3 client of S3.
        url: `s3://bucket/prefix/`.
        transfers: Objects moved at once.
        page_keys: Keys in a page of a listing.
    """

    def __init__(self, client: Any, url: str, transfers: int, page_keys: int = 1000) -> None:
        self._client, self._url, self._transfers, self._page_keys = client, url, transfers, page_keys
        self._bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        if not self._bucket:
            raise UserError(f"An inbox in object storage is written s3://BUCKET/PREFIX/, received {url!r}.")

    @classmethod
    def connect(cls, url: str, connection: Connection) -> Self:
        """Makes the client; nothing is sent yet."""
        import boto3
        from botocore.config import Config

        # Botocore's standard mode backs off exponentially with jitter. Checksums where S3 asks for them only: what
        # is not AWS often answers the newer ones with an error, and the manifest's digests are checked anyway.
        settings = Config(
            retries={"mode": "standard", "total_max_attempts": connection.attempts},
            connect_timeout=connection.connect_timeout_s,
            read_timeout=connection.read_timeout_s,
            max_pool_connections=connection.transfers,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        place = {"endpoint_url": connection.endpoint_url, "region_name": connection.region}
        try:
            with inbox_errors(url):
                # A session of its own: boto3's default one keeps the credentials that it found first.
                client = boto3.session.Session().client("s3", config=settings, **place)
        except ValueError as error:  # how botocore tells of an endpoint that is no URL
            raise UserError(f"inbox.endpoint_url: {error}. Write it like https://HOST:PORT.") from None
        return cls(client, url, connection.transfers)

    def batches(self) -> list[str]:
        """The names of the folders that wait to be judged, sorted."""
        found = set()
        for page in self._pages(self._prefix, Delimiter="/"):
            folders = [each["Prefix"] for each in page.get("CommonPrefixes", [])]
            found |= {folder.removeprefix(self._prefix).removesuffix("/") for folder in folders}
        return sorted(name for name in found if name and name not in OUTCOMES and not name.startswith("."))

    def entries(self, batch: str) -> Iterator[Entry]:
        """The objects of a batch, without the empty ones that stand for folders."""
        return (entry for entry in self._all(batch) if not _is_marker(entry))

    @contextmanager
    def read(self, batch: str, entry: Entry, offset: int) -> Iterator[Iterator[bytes]]:
        """Opens an object from a byte on, if it still is the one that was listed."""
        wanted = {"Range": f"bytes={offset}-"} if offset else {}
        with object_errors(entry.path):
            answer = self._client.get_object(
                Bucket=self._bucket, Key=self._key(batch, entry.path), IfMatch=f'"{entry.etag}"', **wanted
            )
        with closing(answer["Body"]) as body:
            # Some servers pay no heed to If-Match, some none to a range.
            if answer["ETag"].strip('"') != entry.etag:
                raise ChangedError(f"{entry.path} has changed since it was listed")
            ranged = answer.get("ContentRange", "").startswith(f"bytes {offset}-")
            yield _chunks(body, entry.path, 0 if ranged else offset)

    def move(self, batch: str, manifest: Entry, target: str, report: bytes) -> None:
        """Copies the objects, then deletes them, the manifest last: while it is there, the batch is not yet moved."""
        entries = list(self._all(batch))
        if manifest not in entries:
            raise ChangedError(f"{MANIFEST} has changed since it was judged")
        entries.remove(manifest)
        payload = [entry for entry in entries if not _is_marker(entry)]
        self._each(lambda entry: self._copy(batch, entry, target), payload)
        with object_errors(REPORT):
            self._client.put_object(Bucket=self._bucket, Key=self._key(target, REPORT), Body=report)
        self._copy(batch, manifest, target)
        self._each(lambda entry: self._delete(batch, entry), entries)
        self._delete(batch, manifest)

    def _key(self, folder: str, path: str) -> str:
        return f"{self._prefix}{folder}/{path}"

    def _pages(self, prefix: str, **options: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, PaginationConfig={"PageSize": self._page_keys}, **options
        )
        with inbox_errors(self._url):
            yield from pages

    def _all(self, batch: str) -> Iterator[Entry]:
        folder = self._key(batch, "")
        for page in self._pages(folder):
            for found in page.get("Contents", []):
                path, etag = found["Key"].removeprefix(folder), found["ETag"].strip('"')
                yield Entry(path, int(found["Size"]), found["LastModified"], etag)

    def _each(self, call: Callable[[Entry], None], entries: list[Entry]) -> None:
        deque(in_parallel(call, entries, self._transfers), maxlen=0)

    def _copy(self, batch: str, entry: Entry, target: str) -> None:
        source = {"Bucket": self._bucket, "Key": self._key(batch, entry.path)}
        to = {"Bucket": self._bucket, "Key": self._key(target, entry.path)}
        with object_errors(entry.path):
            if entry.bytes > COPY_BYTES:
                self._client.copy(source, **to)  # in parts
            else:
                self._client.copy_object(CopySource=source, CopySourceIfMatch=f'"{entry.etag}"', **to)

    def _delete(self, batch: str, entry: Entry) -> None:
        with object_errors(entry.path):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(batch, entry.path))


def _is_marker(entry: Entry) -> bool:
    return entry.path == "" or entry.path.endswith("/")


def _chunks(body: Any, path: str, skip: int) -> Iterator[bytes]:
    """The bytes of a body, the first `skip` left out."""
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    try:
        for chunk in body.iter_chunks(CHUNK_BYTES):
            yield chunk[skip:]
            skip = max(0, skip - len(chunk))
    except (HTTPClientError, IncompleteReadError, OSError) as error:
        raise InterruptedTransferError(f"{path}: {error}") from None
