"""A workspace with a small dataset and a list of doubted masks, and answers as annotation tools give them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tiny import tiny_items

from pipeline import labels_decide, labels_export, labels_read
from pipeline.annotation_tasks.rle import encode_brush
from pipeline.command import run
from pipeline.images import Limits, decode_mask, encode_mask
from pipeline.part_writer import write_batch
from pipeline.parts import Item, read_index, read_items
from pipeline.splits import LedgerRow, append_ledger, read_ledger
from pipeline.taxonomy import Taxonomy

LIMITS = Limits(max_bytes=10**6, max_pixels=10**6)
CLASSES = ("background", "floor", "pallet", "human", "obstacle")
TAXONOMY = {
    "version": 1,
    "classes": [{"id": number, "name": name, "colour": f"#00{number:02x}ff"} for number, name in enumerate(CLASSES)],
}
PARAMS = {
    "limits": LIMITS.model_dump(),
    "dataset": {"path": "data/dataset", "splits": "data/splits.csv"},
    "splits": {"val": 0.25, "test": 0.25, "salt": "s"},
    "ingest": {"workers": 1},
    "labels": {"decisions": "data/label_decisions.csv", "least_score": 2.5},
}
DATASET, DECISIONS = Path("data/dataset"), Path("data/label_decisions.csv")
SLICES = ["camera"]
SUSPICIONS = Path("data/labels/suspicions.json")


def classes() -> Taxonomy:
    """The taxonomy of the workspace."""
    return Taxonomy.model_validate(TAXONOMY)


@dataclass
class Case:
    """A workspace; the process stands in it.

    Attributes:
        items: What the dataset was made of, by name.
    """

    items: dict[str, Item]

    def call(self, main: Callable[..., None], *arguments: str | Path) -> int:
        """Runs a command and gives its exit code."""
        with pytest.raises(SystemExit) as ended:
            run(main, [str(each) for each in arguments])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    def export(self, tool: str, *options: str | Path, out: str = "review") -> dict[str, Any]:
        """Exports tasks and gives the record of what was asked."""
        assert self.call(labels_export.main, "--format", tool, "--out", out, *options) == 0
        content: dict[str, Any] = json.loads(Path(out, "export.json").read_text())
        return content

    def read(self, answer: str | Path, tool: str, *options: str | Path) -> int:
        """Reads an answer back, into the batch `again`."""
        return self.call(labels_read.main, answer, "--format", tool, "--export", "review", "--batch", "again", *options)

    def decide(self, item: str, decision: str, *options: str) -> int:
        """Decides about an item."""
        given = ("--decision", decision, "--by", "alice", "--note", "looked at it")
        return self.call(labels_decide.main, item, *given, *options)

    def masks(self) -> dict[str, np.ndarray]:
        """The masks that the dataset holds now."""
        found = read_items(DATASET, read_index(DATASET))
        return {row["item_id"]: decode_mask(mask, LIMITS) for row, _, mask in found}

    def revisions(self) -> dict[str, int]:
        """The revisions that the dataset holds now."""
        index = read_index(DATASET)
        return dict(zip(index["item_id"], index["revision"].astype(int), strict=True))

    def suspect(self, *found: dict[str, Any]) -> None:
        """Writes the list of doubted masks."""
        SUSPICIONS.parent.mkdir(parents=True, exist_ok=True)
        SUSPICIONS.write_text(json.dumps({"schema": 1, "items": len(self.items), "found": list(found)}))


def doubt(item: str, **changes: Any) -> dict[str, Any]:
    """An entry of the list of doubted masks."""
    entry = {"item_id": item, "kind": "shifted", "score": 9.5, "why": "it lies better <there> & elsewhere"}
    return {**entry, "class_name": "human", "box": [4, 6, 20, 30], "revision": 1, **changes}


def make_case(folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Case:
    """Makes the workspace: six items of 24x20 px with void pixels, of which three are doubted."""
    monkeypatch.chdir(folder)
    Path("data").mkdir()
    Path("data/taxonomy.yaml").write_text(yaml.safe_dump(TAXONOMY))
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS))
    items = [with_void(item) for item in tiny_items(groups=3, per_group=2, size=(20, 24))]
    items = options.get("change", list)(items)
    write_batch(DATASET, "first", items, SLICES, CLASSES)
    ledger = Path("data/splits.csv")
    append_ledger(ledger, read_ledger(ledger), [LedgerRow(f"g{number}", "train", "first") for number in range(3)])
    case = Case({item.item_id: item for item in items})
    case.suspect(doubt("item-004"), doubt("item-001", box=None, class_name=None), doubt("item-002"))
    return case


def with_void(item: Item) -> Item:
    """The item with some of its mask void."""
    mask = decode_mask(item.mask, LIMITS).copy()
    mask[5:9, 3:11] = 255
    return replace(item, mask=encode_mask(mask))


def answered(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tasks of Label Studio with the prediction taken over as an annotation."""
    return [
        {"id": number, "data": task["data"], "annotations": [annotation(task["predictions"][0]["result"])]}
        for number, task in enumerate(tasks)
    ]


def annotation(results: list[dict[str, Any]], **facts: Any) -> dict[str, Any]:
    """An annotation of Label Studio."""
    return {"id": 1, "completed_by": 1, "result": results, "was_cancelled": False, "ground_truth": False, **facts}


def brush(region: np.ndarray, label: str, **facts: Any) -> dict[str, Any]:
    """A region drawn with Label Studio's brush. Shape of the region: (H, W), bool."""
    value = {"format": "rle", "rle": encode_brush(region), "brushlabels": [label]}
    size = {"original_width": region.shape[1], "original_height": region.shape[0], "image_rotation": 0}
    return {"id": "r", "from_name": "mask", "to_name": "image", "type": "brushlabels", **size, "value": value, **facts}
