"""Opens a release without checking it out: its index by column, its items one by one, from the cache or the remote."""

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from pipeline.errors import UserError, near_names
from pipeline.files import sha256_bytes
from pipeline.params import parse
from pipeline.parts import index_table, winners
from pipeline.releasing.git import Git
from pipeline.releasing.purged import RECORD, Losses, find_losses, item_digest, read_record
from pipeline.releasing.storage import Storage, away, open_repo, open_storage
from pipeline.releasing.verification import folder_objects
from pipeline.splits import Ledger, read_ledger
from pipeline.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd

TAXONOMY = PurePosixPath("data/taxonomy.yaml")
BYTES = ("image", "mask")
PART = re.compile(r"[^./][^/]*/part-[^/]*\.parquet")


@dataclass(frozen=True)
class Release:
    """A dataset as a git revision has it.

    Attributes:
        name: The tag or revision that it was opened by.
        commit: The commit.
        dataset: The dataset's path in the workspace.
        folder_md5: DVC's digest of the dataset's folder.
        parts: DVC's digest of each part, by its path in the dataset; in order.
        taxonomy: The classes.
        ledger: The split ledger.
        opener: Opens a part by its path in the dataset; reads ranges of it where the remote has ranges.
        guard: Turns failures of the remote, as they come while reading, into outages.
        losses: What has been purged from it since; other parts stand in for those that held it.
        splits: The ledger's path in the workspace; empty for a dataset of no commit.
        files: DVC's digest of each file of the dataset, parts and others; likewise.
    """

    name: str
    commit: str
    dataset: str
    folder_md5: str
    parts: dict[str, str]
    taxonomy: Taxonomy
    ledger: Ledger
    opener: Callable[[str], BinaryIO] = field(repr=False)
    guard: Callable[[], AbstractContextManager[None]] = field(default=nullcontext, repr=False)
    losses: Losses = field(default_factory=Losses)
    splits: str = ""
    files: dict[str, str] = field(default_factory=dict, repr=False)

    @cached_property
    def rows(self) -> "pd.DataFrame":
        """Every row of every part, superseded ones and tombstones too, without images and masks.

        Returns:
            The index columns and slices, and `part`, `part_md5`, `row_group`, `row`, `split`.
        """
        import pandas as pd

        found = [self._part_rows(part) for part in self.parts]
        table = pa.concat_tables(found, promote_options="default") if found else pa.table({})
        rows: pd.DataFrame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
        if found:
            pairs = zip(rows["group"], rows["source_split"], strict=True)
            rows["split"] = [self._split(str(group), own) for group, own in pairs]
        return rows

    @cached_property
    def index(self) -> "pd.DataFrame":
        """The winning revision of each item, removed items left out, sorted by item."""
        if self.rows.empty:
            return self.rows
        found = winners(self.rows)
        return found[~found["deleted"].astype(bool)].reset_index(drop=True)

    def columns(self, *names: str) -> "pd.DataFrame":
        """Some columns of every row; no other byte of the parts is asked for.

        Raises:
            UserError: No part has such a column.
        """
        import pandas as pd

        tables = []
        for part in self.parts:
            with self._opened(part) as file:
                there = [name for name in names if name in file.schema_arrow.names]
                tables.append(file.read(columns=there))
        if not tables:
            return pd.DataFrame(columns=list(names))
        missing = set(names) - {name for table in tables for name in table.schema.names}
        if missing:
            raise UserError(f"{self.name} has no column {sorted(missing)}.")
        found: pd.DataFrame = pa.concat_tables(tables, promote_options="default").to_pandas()
        return found

    def item(self, item_id: str) -> tuple[dict[str, Any], bytes, bytes]:
        """One item: its row, the encoded image, the encoded mask.

        Raises:
            UserError: The release has no such item.
        """
        found = self.index[self.index["item_id"] == item_id] if len(self.index) else self.index
        if len(found) == 0 and (why := self.losses.items.get(item_digest(item_id))):
            raise UserError(f"{self.name} no longer has item '{item_id}': it was {why}. Its bytes are gone for good.")
        if len(found) == 0:
            near = near_names([item_id], self.index["item_id"]) if len(self.index) else ""
            raise UserError(f"{self.name} has no item '{item_id}'. It has {len(self.index)}.{near}")
        return next(self.items(found))

    def items(self, rows: "pd.DataFrame") -> Iterator[tuple[dict[str, Any], bytes, bytes]]:
        """Reads images and masks of rows of the index, whole row groups at a time, in the order of the parts.

        Raises:
            UserError: An image's bytes are not those that were ingested.
        """
        for row, image, mask in self._bytes(rows, BYTES):
            if sha256_bytes(image) != row["sha256"]:
                raise UserError(
                    f"{self.name}, item '{row['item_id']}': the image's bytes are not those that were ingested. "
                    f"Fetch {row['part']} again: the cache or the remote has a corrupt object {row['part_md5']}."
                )
            yield row, image, mask

    def masks(self, rows: "pd.DataFrame") -> Iterator[tuple[dict[str, Any], bytes]]:
        """Reads the masks alone of rows of the index; the images are not asked for."""
        yield from self._bytes(rows, ("mask",))

    def _bytes(self, rows: "pd.DataFrame", names: Iterable[str]) -> Iterator[Any]:
        for part, in_part in rows.groupby("part", sort=True):
            with self._opened(str(part)) as file:
                for row_group, in_group in in_part.groupby("row_group", sort=True):
                    table = file.read_row_group(int(str(row_group)), columns=[f"{name}.bytes" for name in names])
                    for row in in_group.sort_values("row").to_dict("records"):
                        cells = (table.column(name)[int(row["row"])]["bytes"].as_py() or b"" for name in names)
                        yield ({str(key): value for key, value in row.items()}, *cells)

    def _split(self, group: str, own: object) -> str | None:
        return self.ledger.split_of(group, own if isinstance(own, str) else None)

    def _part_rows(self, part: str) -> pa.Table:
        with self._opened(part) as file:
            return index_table(file, part=part, part_md5=self.parts[part])

    @contextmanager
    def _opened(self, part: str) -> Iterator[pq.ParquetFile]:
        try:
            with self.guard(), self.opener(part) as raw, pq.ParquetFile(raw) as file:
                yield file
        except _Gone as gone:
            if why := self.losses.parts.get(part):
                raise UserError(
                    f"The part {part} of {self.name} is gone: {why}. What holds its other rows ({self.parts[part]}) is "
                    f"neither in the cache nor on the remote: `segloop purge` in the clone that purged sends it again. "
                    f"{gone}"
                ) from None
            raise UserError(
                f"{self.name}: {part} ({self.parts[part]}) is neither in the cache nor on the remote. "
                "`segloop release` in a workspace that has it sends it again; where somebody purged it, `git pull` "
                f"brings the record ({RECORD}). {gone}"
            ) from None
        except pa.ArrowInvalid as error:
            raise UserError(f"{self.name}: {part} ({self.parts[part]}) is damaged: {error}.") from None


class _Gone(Exception):  # noqa: N818 - it never leaves this module
    """An object is in neither place; says of the remote's folder that it is not there, where that is so."""


def open_release(root: Path, revision: str) -> Release:
    """Opens a release, or any other git revision, without touching the workspace.

    Args:
        root: The workspace.
        revision: A tag, a branch, a commit.

    Raises:
        UserError: There is no such revision, or it has no dataset that DVC keeps.
        OutageError: The remote does not answer.
    """
    commit = Git(root).commit_of(revision)
    if commit is None:
        raise UserError(f"There is no release {revision!r} here. `segloop releases` lists them; `git fetch --tags`.")
    repo = open_repo(root)
    files, storage = _files_at(root, repo, commit), open_storage(repo)
    params = _params(files, revision)
    dataset, splits = (str(params.get("dataset", {}).get(name)) for name in ("path", "splits"))
    folder_md5 = _folder_md5(files, dataset, revision)
    folder_objects(storage, folder_md5)  # says clearly when the list of the files is gone
    with away(f"Reading {revision}", storage):
        found = files.find(dataset, detail=True)
        ledger = files.read_bytes(splits)
    listed = {PurePosixPath(path).relative_to(dataset).as_posix(): str(info["md5"]) for path, info in found.items()}
    record = read_record(root / RECORD)
    stored = {path: record.stand_in(md5) for path, md5 in listed.items()}
    return Release(
        name=revision,
        commit=commit,
        dataset=dataset,
        folder_md5=folder_md5,
        parts=only_parts(stored),
        taxonomy=parse(Taxonomy, yaml.safe_load(files.read_text(str(TAXONOMY))), f"{revision}, {TAXONOMY}"),
        ledger=_ledger(ledger),
        opener=_opener(files, storage, dataset, listed, stored),
        guard=lambda: away(f"Reading {revision}", storage),
        losses=find_losses(record, only_parts(listed)),
        splits=splits,
        files=stored,
    )


def _files_at(root: Path, repo: Any, commit: str) -> Any:
    """The files of a commit, DVC's among them; the remote is where it is now, which an old commit may not know."""
    from dvc.api import DVCFileSystem

    now = {"core": {"remote": repo.config["core"].get("remote")}, "remote": _plain(repo.config["remote"])}
    return DVCFileSystem(str(root), rev=commit, config=now if now["core"]["remote"] else None)


def only_parts(files: dict[str, str]) -> dict[str, str]:
    """The parts among a dataset's files, as `pipeline.parts.parts` finds them on disk."""
    return {path: md5 for path, md5 in sorted(files.items()) if PART.fullmatch(path)}


def _opener(
    files: Any, storage: Storage, dataset: str, listed: Mapping[str, str], stored: Mapping[str, str]
) -> Callable[[str], BinaryIO]:
    """What opens a part of the release: the part itself, or what stands in for it since a purge."""

    def opener(part: str) -> BinaryIO:
        if stored[part] == listed[part]:
            return _open(files, f"{dataset}/{part}", storage)
        return _open_object(storage, stored[part])

    return opener


def _open(files: Any, path: str, storage: Storage) -> BinaryIO:
    try:
        opened: BinaryIO = files.open(path, "rb")
    except FileNotFoundError:
        raise _Gone(storage.absent) from None
    return opened


def _open_object(storage: Storage, md5: str) -> BinaryIO:
    for place in (storage.cache, storage.remote):
        with suppress(FileNotFoundError):
            opened: BinaryIO = place.fs.open(place.oid_to_path(md5), "rb")
            return opened
    raise _Gone(storage.absent)


def _plain(config: Any) -> dict[str, Any]:
    return {name: dict(options) for name, options in config.items()}


def _params(files: Any, revision: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(files.read_text("params.yaml"))
    except FileNotFoundError:
        raise UserError(f"{revision} has no params.yaml: it is no commit of this project.") from None
    assert isinstance(content, dict)
    return content


def _folder_md5(files: Any, dataset: str, revision: str) -> str:
    try:
        md5 = files.info(dataset).get("md5")
    except FileNotFoundError:
        md5 = None
    if md5 is None:
        raise UserError(f"{revision} has no dataset: DVC keeps no '{dataset}' there. See `segloop releases`.")
    return str(md5)


def _ledger(content: bytes) -> Ledger:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "splits.csv"
        file.write_bytes(content)
        return read_ledger(file)
