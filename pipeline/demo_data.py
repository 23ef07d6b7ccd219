"""Stage `demo_data`: renders a dataset of warehouse scenes, with label faults and shifts whose truth is known."""

import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from pipeline.command import progress, run
from pipeline.demo.annotation import DemoDataParams, SceneItems, annotate_scene
from pipeline.demo.canvas import CLASS_NAMES
from pipeline.demo.preview import contact_sheet
from pipeline.errors import UserError
from pipeline.files import atomic_dir, write_atomic
from pipeline.params import parse, read_section
from pipeline.part_writer import write_batch
from pipeline.parts import Item
from pipeline.splits import Ledger, LedgerRow, SplitParams, append_ledger, assign

BATCH = "warehouse"
SLICES = ("camera", "lighting")
POOL_PAYS_FROM = 8  # scenes; below, starting processes takes longer than rendering
TRUTH_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("kind", pa.string()),
        ("annotator", pa.string()),
        *[(name, pa.int32()) for name in ("x", "y", "width", "height", "changed_px")],
        ("detail", pa.string()),
        ("clean_mask", pa.binary()),
    ],
)


def main(
    out: Annotated[Path, typer.Option(help="Folder to make; one that stands there is replaced.")],
    params: Annotated[Path, typer.Option(help="The parameters file.")] = Path("params.yaml"),
    seed: Annotated[int | None, typer.Option(help="In place of the parameter.")] = None,
    scenes: Annotated[int | None, typer.Option(help="In place of the parameter.")] = None,
    shift: Annotated[str, typer.Option(help="Appearance, as NAME=STRENGTH,... in place of the parameters.")] = "",
    faults: Annotated[str, typer.Option(help="Label faults, as KIND=RATE,... in place of the parameters.")] = "",
) -> None:
    """Render the demo dataset of warehouse scenes, with faults of known truth on request.

    Example: segloop demo-data --out /tmp/shifted --seed 7 --scenes 50 --shift brightness=-0.6,noise=0.03
    """
    settings = read_section(DemoDataParams, "demo_data", params).model_dump()
    given = {"seed": seed, "scenes": scenes}
    settings |= {name: value for name, value in given.items() if value is not None}
    settings["shift"] |= _strengths(shift, "--shift")
    settings["faults"] |= _strengths(faults, "--faults")
    chosen = parse(DemoDataParams, settings, f"{params}, section 'demo_data', with the options given")
    make_demo_data(out, chosen, read_section(SplitParams, "splits", params))
    looks = f"; to look at: {out / 'preview.png'}" if (out / "preview.png").exists() else ""
    print(f"{out}: {chosen.scenes} scenes of {chosen.frames_per_scene} frames{looks}")


def make_demo_data(out: Path, params: DemoDataParams, splits: SplitParams) -> None:
    """Writes the dataset, its split ledger, the truth of its faults and a contact sheet, all or nothing.

    Args:
        out: The folder to make.
        params: What to render. The bytes written depend on it alone, not on the number of processes.
        splits: Shares of the splits.
    """
    made = Made(params.preview_scenes)
    with atomic_dir(out) as folder:
        with _rendered(params) as rendered:
            write_batch(folder, BATCH, made.passed_on(rendered), SLICES, CLASS_NAMES)
        placed = assign(made.class_px, made.sizes, splits)
        append_ledger(folder / "splits.csv", Ledger(), [LedgerRow(g, placed[g], BATCH) for g in sorted(placed)])
        pq.write_table(pa.Table.from_pylist(made.truth, schema=TRUTH_SCHEMA), folder / "truth.parquet")
        if made.preview:
            write_atomic(folder / "preview.png", contact_sheet(made.preview))


@dataclass
class Made:
    """What is kept of the scenes while they stream into the parts.

    Attributes:
        preview_scenes: From how many scenes an item is kept for the contact sheet.
        truth: Rows of truth.parquet.
        class_px: True pixels per class, by group.
        sizes: Items by group.
        preview: Items for the contact sheet.
    """

    preview_scenes: int
    truth: list[dict[str, Any]] = field(default_factory=list)
    class_px: dict[str, np.ndarray] = field(default_factory=dict)
    sizes: Counter[str] = field(default_factory=Counter)
    preview: list[Item] = field(default_factory=list)

    def passed_on(self, scenes: Iterable[SceneItems]) -> Iterator[Item]:
        """Yields the items of all scenes and notes what they hold."""
        for scene in scenes:
            self.truth += scene.truth
            if len(self.preview) < self.preview_scenes:
                self.preview.append(scene.items[0])
            for item, class_px in zip(scene.items, scene.class_px, strict=True):
                self.sizes[item.group] += 1
                self.class_px[item.group] = self.class_px.get(item.group, 0) + class_px
                yield item


@contextmanager
def _rendered(params: DemoDataParams) -> Iterator[Iterable[SceneItems]]:
    """The scenes in order, rendered by several processes where that pays."""
    annotate = partial(annotate_scene, params)
    processes = params.workers or len(os.sched_getaffinity(0))
    if processes == 1 or params.scenes < POOL_PAYS_FROM:
        yield progress(map(annotate, range(params.scenes)), total=params.scenes, label="rendering")
        return
    # A fork of a process that runs threads may hang; the server starts from a clean one.
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield progress(pool.map(annotate, range(params.scenes)), total=params.scenes, label="rendering")


def _strengths(text: str, option: str) -> dict[str, float]:
    """Reads NAME=NUMBER,... of an option.

    Raises:
        UserError: An entry is not of this form.
    """
    pairs = [entry.partition("=") for entry in text.split(",") if entry.strip()]
    try:
        return {name.strip(): float(value) for name, _, value in pairs}
    except ValueError:
        raise UserError(f"{option} takes NAME=NUMBER,NAME=NUMBER,..., received {text!r}.") from None


if __name__ == "__main__":
    run(main)
