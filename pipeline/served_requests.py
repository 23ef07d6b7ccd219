"""Which version answered a request: looked up in what serving wrote down."""

import re
from pathlib import Path

from pipeline.errors import UserError

REQUEST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
COLUMNS = ["request_id", "model_name", "model_version"]


def version_of_request(request: str, model_name: str, folder: Path) -> str:
    """The version that answered a request.

    Args:
        request: Its id.
        model_name: The registered model.
        folder: Of Parquet files, at any depth, with the columns `request_id`, `model_name`, `model_version`.

    Returns:
        The version's number, as text.

    Raises:
        UserError: It is no id, nothing was written down, or not this request.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    if not REQUEST.fullmatch(request):
        raise UserError(
            f"{request!r} is no version, no alias, no run and no request id: `segloop versions` lists them."
        )
    files = sorted(str(file) for file in folder.rglob("*.parquet")) if folder.is_dir() else []
    if not files:
        raise UserError(
            f"There is no version, alias or run '{request}', and no request either: {folder} holds no record of "
            "served requests. `segloop versions` lists the versions."
        )
    wanted = (ds.field("request_id") == request) & (ds.field("model_name") == model_name)
    try:
        found = ds.dataset(files, format="parquet").to_table(columns=COLUMNS, filter=wanted)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"The record of requests in {folder} cannot be read: {error}. Restore it.") from None
    if not found.num_rows:
        raise UserError(f"There is no version, alias, run or request '{request}': {folder} has no request of that id.")
    versions = sorted({str(each) for each in found["model_version"].to_pylist()})
    if len(versions) > 1:
        raise UserError(f"Request {request} is recorded for versions {', '.join(versions)}: name the version instead.")
    return versions[0]
