"""A candidate, its champion and a verdict by hand, on a tiny holdout: what a dossier is made from."""

import json
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from onnx import helper
from stage_outputs import PROMISES, TAXONOMY, graph, taught

from pipeline.dossiers.inputs import DossierInputs, DossierParams, LogEntry, RunFacts, Side
from pipeline.evaluate import open_holdout
from pipeline.files import digest_json, sha256_bytes, sha256_file, write_json
from pipeline.gating.verdict import (
    Decision,
    Doubt,
    LabelNoise,
    Outcome,
    Resampled,
    Subject,
    Support,
    Verdict,
)
from pipeline.images import Limits, encode_image, encode_mask
from pipeline.inference import Segmenter
from pipeline.measure import MeasureSettings, decode_pair, measure
from pipeline.part_writer import write_batch
from pipeline.parts import Item

NAMES = ["red", "green", "blue"]
COLOURS = np.array([[180, 60, 60], [60, 180, 60], [60, 60, 180]])
LIMITS = Limits(max_bytes=10**6, max_pixels=10**6)
PARAMS = DossierParams(
    changed_images=2, worst_images=2, picture_px=64, picture_quality=60, max_bytes=5_000_000, threads=1
)
OVERRIDE = LogEntry(
    "2026-01-02T03:04:05+00:00", "promotion as champion", "cem", "the <b>fleet</b> waits", alarm="Override: no gate."
)


def write_case(root: Path, prefix: str = "item") -> DossierInputs:
    """Writes a dataset, a holdout and the artifacts of two versions: the candidate sees green more often.

    Args:
        root: A folder.
        prefix: What the items' names begin with.
    """
    items = _items(prefix)
    write_batch(root / "dataset", "first", items, ["camera"])
    holdout = listed(items)
    candidate, champion = (root / name for name in ("candidate", "champion"))
    for folder, bias in ((candidate, 40.0), (champion, 0.0)):
        write_json(folder / "holdout.json", holdout)
        _write_version(folder, root / "dataset", bias)
    return DossierInputs(
        verdict=verdict(candidate, champion, str(holdout["digest"]), f"{prefix}-00"),
        candidate=Side(candidate, run=RunFacts(author="ada", params={"train": {"seed": 2}})),
        champion=Side(champion, run=RunFacts(author="ben", params={"train": {"seed": 1}}), intervals={"miou": (0, 1)}),
        dataset=root / "dataset",
        holdout=candidate / "holdout.json",
        limits=LIMITS,
        params=PARAMS,
    )


def verdict(candidate: Path, champion: Path | None, holdout_digest: str, doubted: str = "item-00") -> Verdict:
    """A verdict that blocks by the critical class, with one decision of every kind."""
    decisions = [
        decision("miou", Outcome.PASS),
        decision("iou/red", Outcome.PASS),
        decision("iou/green", Outcome.FAIL, blocks=True, critical=True),
        decision("iou/blue", Outcome.INSUFFICIENT),
        decision("slice/camera=front/miou", Outcome.PASS),
        decision("ece", Outcome.PASS, direction="<=", threshold=0.9),
        decision("size_mib", Outcome.PASS, direction="<=", threshold=50.0, interval=False),
    ]
    if champion is not None:
        decisions.append(decision("non_inferiority/green", Outcome.PASS, value=0.1, threshold=-0.05))
    return Verdict(
        passed=False,
        candidate=subject(candidate, 2),
        champion=subject(champion, 1) if champion else None,
        holdout_digest=holdout_digest,
        settings_digest="5" * 64,
        class_names=NAMES,
        critical_classes=["green"],
        acknowledged=[],
        decisions=decisions,
        resampled=Resampled(
            kind="groups", units=6, replicates=2000, level=0.95, holds_for="The intervals hold for such scenes."
        ),
        label_noise=LabelNoise(doubts=[Doubt(item_id=doubted, pixels=9, share=0.01)], passed_without=False),
        machine={"cores": 2},
        decided_at="2026-01-02T03:00:00+00:00",
    )


def subject(folder: Path, version: int) -> Subject:
    """How a verdict names the version in a folder."""
    return Subject(
        name="segmenter",
        version=version,
        run_id=f"run-{version}",
        model_digest=sha256_file(folder / "export" / "model.onnx"),
        evidence_digest=sha256_file(folder / "evaluation" / "confusions.parquet"),
        measured=False,
    )


def decision(
    slo: str,
    outcome: Outcome,
    *,
    blocks: bool = False,
    critical: bool = False,
    direction: str = ">=",
    threshold: float = 0.5,
    value: float = 0.6,
    interval: bool = True,
) -> Decision:
    """A service level's decision."""
    low, high = (value - 0.05, value + 0.05) if interval else (None, None)
    return Decision(
        slo=slo,
        outcome=outcome,
        blocks=blocks,
        critical=critical,
        direction=direction,
        threshold=threshold,
        value=value,
        low=low,
        high=high,
        bound=low,
        p_failed=None,
        support=Support(images=12, groups=6, pixels=36864),
        why=f"Why {slo} is so.",
    )


def _items(prefix: str) -> list[Item]:
    """Twelve noisy images of two coloured boxes on a ground, in six groups."""
    rng = np.random.default_rng(0)
    items = []
    for number in range(12):
        mask = np.zeros((48, 64), np.uint8)
        for label in (1, 2):
            y, x = rng.integers(0, 30), rng.integers(0, 44)
            mask[y : y + 14, x : x + 18] = label
        image = (COLOURS[mask] + rng.normal(0, 30 + 4 * number, (48, 64, 3))).clip(0, 255).astype(np.uint8)
        pixels, labels, name = encode_image(image), encode_mask(mask), f"{prefix}-{number:02d}"
        camera = {"camera": "front" if number % 2 else "rear"}
        digests = sha256_bytes(pixels), sha256_bytes(labels)
        items.append(Item(name, pixels, labels, name, name, f"g{number // 2}", *digests, "test", slices=camera))
    return items


def listed(items: list[Item]) -> dict[str, object]:
    """The content of a holdout.json of these items."""
    rows = [
        {
            "item_id": each.item_id,
            "revision": each.revision,
            "image_sha256": each.sha256,
            "mask_sha256": each.mask_source_sha256,
            "group": each.group,
            "sequence_index": None,
            "slices": each.slices,
        }
        for each in items
    ]
    return {"digest": digest_json(rows), "acknowledged": [], "items": rows}


def _write_version(folder: Path, dataset: Path, bias: float) -> None:
    """Writes a version's artifacts; the bias is added to the green channel before the strongest one wins."""
    export = folder / "export"
    export.mkdir()
    onnx.save(_biased(bias), export / "model.onnx")
    digest = sha256_file(export / "model.onnx")
    facts = {"digest": digest, "class_names": NAMES, "precision": "fp32", "tile_px": 64, "overlap_px": 8, "bytes": 900}
    write_json(export / "export.json", {**facts, **PROMISES, "temperature": 1.0 + bias})
    (folder / "taxonomy.yaml").write_text(TAXONOMY)
    training = {"digest": digest_json(bias), "device": "cpu", "seconds": 3661.0, "epochs_run": 3, "best_epoch": 2}
    write_json(folder / "training.json", training)
    _write_origins(folder, since_champion=bias > 0)
    (folder / "evaluation").mkdir()
    _rows(folder, dataset).to_parquet(folder / "evaluation" / "confusions.parquet")


def _write_origins(folder: Path, *, since_champion: bool) -> None:
    """Writes what taught a version; since the champion an image was added, a mask drawn anew, energy counted."""
    rows, energy = taught(4), {}
    if since_champion:
        rows.loc[0, "mask_sha256"] = "drawn anew"
        rows = pd.concat([rows, taught(1).assign(item_id="new", split="train")])
        energy = {"system/energy_j": 1.8e6, "system/gpu_energy_j": 0.9e6}
    rows.to_parquet(folder / "items.parquet", index=False)
    write_json(folder / "tiles.json", {"class_px": [60, 20, 20] if since_champion else [50, 10, 40]})
    epochs = [{"epoch": n, "time": 1.7e9 + 60 * n, "seconds": 60.0, **energy} for n in range(3)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in epochs))


def _biased(bias: float) -> onnx.ModelProto:
    model = graph()
    for node in model.graph.node:
        if node.op_type == "Div":
            node.input[0] = "biased"
    shift = np.array([0, bias, 0], np.float32).reshape(1, 3, 1, 1)
    model.graph.initializer.append(onnx.numpy_helper.from_array(shift, "bias"))
    model.graph.node.insert(2, helper.make_node("Add", ["channels", "bias"], ["biased"]))
    return model


def _rows(folder: Path, dataset: Path) -> pd.DataFrame:
    settings = MeasureSettings(3, 255, 1, 5, 2, LIMITS)
    segmenter = Segmenter(folder / "export", threads=1)
    rows = []
    for item, image, mask in open_holdout(dataset, folder / "holdout.json").read():
        about = {name: item[name] for name in ("item_id", "group", "sequence_index")} | item["slices"]
        rows.append(about | measure(segmenter, *decode_pair(image, mask, settings), settings)[0])
    return pd.DataFrame(rows)


def rewrite(file: Path, **changes: object) -> None:
    """Changes some keys of a JSON file."""
    write_json(file, json.loads(file.read_text()) | changes)
