"""Action: renders warehouse scenes as a batch for the inbox, to try the loop with."""

import csv
import io
from pathlib import Path
from typing import Annotated

import typer

from pipeline.batch_manifest import write_manifest
from pipeline.command import progress, run
from pipeline.demo.annotation import DemoDataParams, annotate_scene
from pipeline.errors import UserError
from pipeline.files import atomic_dir, write_atomic
from pipeline.formats.folders import FACT_COLUMNS
from pipeline.inbox import InboxParams
from pipeline.inboxes.manifest import MANIFEST
from pipeline.params import parse, read_section
from pipeline.parts import Item
from pipeline.taxonomy import load_taxonomy


def main(
    folder: Annotated[Path, typer.Argument(help="The batch's folder to make, such as inbox/may.")],
    scenes: Annotated[int, typer.Option(min=1, help="How many, each a group; a first dataset needs hundreds.")] = 600,
    seed: Annotated[int | None, typer.Option(help="In place of the parameter; another one, other scenes.")] = None,
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Render warehouse scenes as a batch for the inbox, to try the loop with.

    Example: segloop batch demo inbox/may --scenes 100 --seed 7
    """
    if folder.exists():
        raise UserError(f"{folder} is there already; a batch is taken once, so give another name.")
    given = {"scenes": scenes} | ({} if seed is None else {"seed": seed})
    chosen = parse(
        DemoDataParams,
        read_section(DemoDataParams, "demo_data", params).model_dump() | given,
        f"{params}, section 'demo_data', with the options given",
    )
    said = {"format": "folders", "taxonomy_version": load_taxonomy(taxonomy).version}
    limits = read_section(InboxParams, "inbox", params).limits
    with atomic_dir(folder) as new:
        rows = [
            _write(new, folder.name, item)
            for scene in progress(range(scenes), total=scenes, label="rendering")
            for item in annotate_scene(chosen, scene).items
        ]
        write_atomic(new / "items.csv", _table(rows))
    manifest = write_manifest(folder, dict(said), limits)  # last, and in place: an inbox looks for nothing else
    print(f"{folder / MANIFEST}: {len(rows)} images of {scenes} scenes, {manifest.bytes / 1e6:.1f} MB")


def _write(folder: Path, batch: str, item: Item) -> list[object]:
    """Writes image and mask; gives the item's row. Names begin with the batch's, since those of all seeds are alike."""
    name, group = f"{batch}-{item.item_id}", f"{batch}-{item.group}"
    write_atomic(folder / "images" / f"{name}.jpg", item.image)
    write_atomic(folder / "masks" / f"{name}.png", item.mask)
    moment = item.captured_at.isoformat() if item.captured_at else ""
    return [name, group, item.sequence_index, item.annotator, moment]


def _table(rows: list[list[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([FACT_COLUMNS, *rows])
    return text.getvalue()


if __name__ == "__main__":
    run(main)
