"""Action: writes the manifest that makes a folder of annotated images a batch for the inbox."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import progress, run
from pipeline.errors import UserError
from pipeline.files import sha256_file, write_atomic
from pipeline.formats import READERS
from pipeline.inbox import InboxParams
from pipeline.inboxes.manifest import MANIFEST, BatchError, BatchLimits, Manifest, ManifestFile, parse_manifest
from pipeline.params import read_section
from pipeline.taxonomy import load_taxonomy


def main(  # noqa: PLR0913, PLR0917 - a command's options
    folder: Annotated[Path, typer.Argument(help="The batch's folder, as it is to be uploaded.")],
    format_: Annotated[str, typer.Option("--format", help=f"What it holds: {', '.join(READERS)}.")] = "folders",
    source: Annotated[str, typer.Option(help="The remap of the taxonomy by which masks are read, or none.")] = "",
    annotator: Annotated[str | None, typer.Option(help="Who drew the masks.")] = None,
    captured_at: Annotated[
        str | None, typer.Option(help="When the images were taken, with its zone: 2026-05-01T12:00:00Z.")
    ] = None,
    selected: Annotated[bool, typer.Option("--selected", help="A model chose the images.")] = False,
    relabel: Annotated[bool, typer.Option("--relabel", help="Known items become new revisions.")] = False,
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy that the annotators worked with.")] = Path(
        "data/taxonomy.yaml"
    ),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Write the manifest of a folder of annotated images, which makes it a batch for the inbox.

    Lists every file with its digest. Written last and all at once, so that no inbox takes half a batch.

    Example: segloop batch manifest inbox/may --annotator ada
    """
    if format_ not in READERS:
        raise UserError(f"--format takes {', '.join(READERS)}; received {format_!r}.")
    classes = load_taxonomy(taxonomy)
    if source and source not in classes.remaps:
        raise UserError(f"--source names no remap of {taxonomy}: {source!r}. There: {', '.join(classes.remaps)}.")
    said = {
        "format": format_,
        "source": source,
        "taxonomy_version": classes.version,
        "annotator": annotator,
        "captured_at": _moment(captured_at),
        "sampling": "selected" if selected else "uniform",
        "relabel": relabel,
    }
    manifest = write_manifest(folder, said, read_section(InboxParams, "inbox", params).limits)
    print(f"{folder / MANIFEST}: {len(manifest.files)} files, {manifest.bytes / 1e6:.1f} MB")


def write_manifest(folder: Path, said: dict[str, object], limits: BatchLimits) -> Manifest:
    """Writes a folder's manifest.

    Args:
        folder: The batch.
        said: Keys of the manifest beside its files.
        limits: Those of the inbox that is to take it.

    Raises:
        UserError: The folder has no files, or the inbox would not take the batch.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    if not paths:
        what = "has no files" if folder.is_dir() else "is no folder"
        raise UserError(f"{folder} {what}. A batch is a folder with images and masks: docs/inbox.md.")
    files = tuple(
        ManifestFile(path=path.relative_to(folder).as_posix(), sha256=sha256_file(path), bytes=path.stat().st_size)
        for path in progress(paths, total=len(paths), label="digesting")
    )
    text = Manifest.model_validate({"schema": 1, "files": files, **said}).model_dump_json(by_alias=True, indent=1)
    try:
        manifest = parse_manifest(text.encode(), limits)
    except BatchError as error:
        raise UserError(f"The inbox would not take {folder}: {error}.") from None
    write_atomic(folder / MANIFEST, text + "\n")
    return manifest


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        raise UserError(f"--captured-at takes a moment such as 2026-05-01T12:00:00Z; received {text!r}.") from None


if __name__ == "__main__":
    run(main)
