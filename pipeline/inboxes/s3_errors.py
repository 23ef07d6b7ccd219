"""Tells what an error of object storage means: a mistake in the settings, an outage, or a file that changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.errors import OutageError, UserError
from pipeline.inboxes.store import ChangedError
from pipeline.provenance import without_secrets

NOT_FOUND, PRECONDITION_FAILED = 404, 412
# What only another setting mends, by the names that S3 and its likes give it.
MISTAKES = {
    "AccessDenied",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "IllegalLocationConstraintException",
    "InvalidAccessKeyId",
    "InvalidBucketName",
    "InvalidToken",
    "NoSuchBucket",
    "PermanentRedirect",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
SETTINGS = "Check inbox.url, inbox.endpoint_url, inbox.region and the AWS credentials (environment, profile or role)."
AGAIN = "Run again when it is back: what was fetched is kept."


@contextmanager
def inbox_errors(url: str) -> Iterator[None]:
    """Around what concerns the inbox as a whole: settings and listings.

    Raises:
        UserError: Address, region or credentials are wrong, or do not let us in.
        OutageError: The storage does not answer, also after the attempts of botocore.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    place = without_secrets(url)
    try:
        yield
    except ClientError as error:
        if _code(error) in MISTAKES:
            raise UserError(f"Object storage refuses {place}: {error}. {SETTINGS}") from None
        raise OutageError(f"Object storage fails at {place}: {error}. {AGAIN}") from None
    except BotoCoreError as error:
        if _is_mistake(error):
            raise UserError(f"{place} cannot be reached as set: {error}. {SETTINGS}") from None
        raise OutageError(
            f"Object storage does not answer at {place}: {without_secrets(str(error))}. {AGAIN}"
        ) from None


@contextmanager
def object_errors(path: str) -> Iterator[None]:
    """Around what concerns one object: whatever is wrong with it must not stop the batches after it.

    Raises:
        ChangedError: It is gone, or is another one by now.
        OutageError: The storage does not hand it over, also after the attempts of botocore.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        if _status(error) in {NOT_FOUND, PRECONDITION_FAILED}:
            raise ChangedError(f"{path} has changed since it was listed") from None
        raise OutageError(f"Object storage fails at {path}: {error}. {AGAIN}") from None
    except BotoCoreError as error:
        raise OutageError(f"Object storage fails at {path}: {without_secrets(str(error))}. {AGAIN}") from None


def _is_mistake(error: Exception) -> bool:
    from botocore import exceptions

    mistakes = (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
        exceptions.NoRegionError,
        exceptions.InvalidRegionError,
        exceptions.ProfileNotFound,
        exceptions.ParamValidationError,
    )
    return isinstance(error, mistakes)


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
