"""A workspace where four versions of known quality get registered; their evidence is what `evaluate` measures."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import registry_case
import yaml
from dossier_case import listed
from mlflow import MlflowClient
from onnx import helper
from stage_outputs import PROMISES, TAXONOMY, graph, write_store

from pipeline import evaluate, gate, registry, review, reviewer
from pipeline.decisions.entry import Entry
from pipeline.decisions.log import DecisionLog
from pipeline.files import digest_json, sha256_bytes, sha256_file, write_json
from pipeline.gating.verdict import Verdict
from pipeline.images import encode_image, encode_mask
from pipeline.inference import Segmenter
from pipeline.part_writer import write_batch
from pipeline.parts import Item

ROOT = Path(__file__).resolve().parent.parent
NAMES = ["red", "green", "blue"]
COLOURS = np.array([[150, 90, 90], [90, 150, 90], [90, 90, 150]])
GROUPS, HEIGHT, WIDTH, NOISE = 40, 24, 32, 80
BOXES = {1: (0, 9), 2: (16, 12)}  # class: leftmost place, side; green is rare, so that missing it hurts no other
GATE = {
    "miou": 0.25, "iou": {"default": 0.1, "classes": {}}, "slice_miou": None,
    "false_positive_rate": {"default": None, "classes": {}}, "ece": 0.5,
    "non_inferiority": {"default": 0.05, "classes": {"green": 0.03}},
    "latency_p95_ms": 60000.0, "latency_images": 3,
}  # fmt: skip
FOREIGN = ("MLFLOW_TRACKING_URI", "SEGLOOP_DECISIONS", "SEGLOOP_PROMOTER_KEY", "DVC_ROOT")


@dataclass(frozen=True)
class Quality:
    """How a graph sees: the mean over `window_px` beats the noise; a bias against green misses some of it."""

    window_px: int
    green_bias: float = 0.0


# Decent; better in every class; better on average, worse in the critical class; another one as good as the second.
VERSIONS = (Quality(1), Quality(3), Quality(5, -31.0), Quality(3, 0.01))


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Journey:
    """A workspace where commands run as a user would run them, with a home of their own."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """What the commands find: neither keys nor servers of the machine that tests."""
        kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        # A wide terminal, so that tables break no words.
        return {**kept, "HOME": str(self.root / "home"), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}

    def start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """Starts a command in a process of its own."""
        command = [sys.executable, "-m", f"pipeline.{name}", *arguments]
        return subprocess.Popen(
            command, cwd=self.root, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, name: str, *arguments: str) -> Said:
        """Runs a command to its end."""
        return end(self.start(name, *arguments))

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Lets this process call the commands' `main` as if it had been started here."""
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(self.environment)
        try:
            with chdir(self.root):
                yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    @property
    def mlflow(self) -> MlflowClient:
        """A client of the workspace's MLflow store."""
        return MlflowClient(f"sqlite:///{self.root / 'mlflow.db'}")

    def aliases(self) -> dict[str, int]:
        """What MLflow's aliases point at."""
        found = self.mlflow.get_registered_model(registry_case.NAME).aliases
        return {alias: int(version) for alias, version in found.items()}

    def decisions(self) -> list[Entry]:
        """The entries of the decision log."""
        return DecisionLog(f"sqlite:///{self.root / 'decisions.db'}").entries()


def end(process: subprocess.Popen[str]) -> Said:
    """Waits for a command."""
    out, err = process.communicate(timeout=300)
    return Said(process.returncode, out, err)


@dataclass
class Told:
    """What the journey's commands answered, and how the world looked after each, by the words of the command."""

    journey: Journey
    said: dict[str, Said] = field(default_factory=dict)
    aliases: dict[str, dict[str, int]] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    def tell(self, *commands: str) -> None:
        """Runs commands; several at once where none changes anything."""
        started = {command: self.journey.start(*words(command)) for command in commands}
        for command, process in started.items():
            self.said[command] = end(process)
            self.aliases[command] = self.journey.aliases()
            if command.startswith("gate"):
                file = self.journey.root / "data/gate/verdict.json"
                self.verdicts[command] = Verdict.model_validate_json(file.read_text())


def words(command: str) -> list[str]:
    """A command's words; those after `:` are one note."""
    words, _, note = command.partition(":")
    return [*words.split(), "--note", note] if note else words.split()


def write_journey(root: Path) -> Journey:
    """Copies the workspace: params, dataset, holdout, keys of nobody, and MLflow with the four versions, made by `ada`.

    The copies share MLflow's artifact files, which are made once a process: leave those of the four as they are.

    Args:
        root: A folder that does not exist.
    """
    shutil.copytree(_template(), root, symlinks=True)
    return Journey(root)


def copied(journey: Journey, folder: Path) -> Journey:
    """A copy of a workspace, as `work` in a folder, with what was decided in it."""
    return Journey(Path(shutil.copytree(journey.root, folder / "work")))


def set_up() -> None:
    """Makes the promoter's key and the reviewer alice in the working folder."""
    registry.main(registry.Act.INIT)
    reviewer.main(reviewer.Act.ADD, "alice")


def approve(version: str) -> None:
    """Judges a version and lets alice approve it."""
    gate.main(version)
    review.main(version, review.Decision.APPROVE, "looked at it", "alice")


@functools.cache
def _template() -> Path:
    root = Path(tempfile.mkdtemp()) / "template"
    (root / "home").mkdir(parents=True)
    (root / "data/validation").mkdir(parents=True)
    write_store(root)
    items = _items()
    write_batch(root / "data/dataset", "first", items, ["camera"])
    write_json(root / "data/holdout.json", listed(items))
    write_json(root / "data/validation/verdict.json", {"passed": True, "quarantined": 0})
    (root / "data/taxonomy.yaml").write_text(TAXONOMY)
    sections = yaml.safe_load((ROOT / "params.yaml").read_text())
    sections["gate"] |= GATE
    sections["dataset"] = {"path": "data/dataset", "splits": "data/splits.csv"}
    sections["evaluate"] |= {"threads": 1, "gallery_images": 1, "gallery_px": 32}
    (root / "params.yaml").write_text(yaml.safe_dump(sections))
    with Journey(root).inside():
        for number, quality in enumerate(VERSIONS, start=1):
            registry_case.register(write_version(quality, name=str(number)))
    return root


def write_version(quality: Quality, *, name: str) -> Path:
    """Writes what a version is registered with under `made/` of the working folder; `evaluate` measures it there."""
    folder = Path("made", name).absolute()
    export = folder / "export"
    export.mkdir(parents=True)
    onnx.save(_seeing(quality), export / "model.onnx")
    digest = sha256_file(export / "model.onnx")
    facts = {"digest": digest, "class_names": NAMES, "precision": "fp32", "tile_px": 64, "overlap_px": 8, "bytes": 900}
    write_json(export / "export.json", {**facts, **PROMISES, "temperature": 1.0})
    _write_samples(export)
    for shared in ("taxonomy.yaml", "holdout.json"):
        shutil.copy(Path("data", shared), folder)
    write_json(folder / "training.json", {"digest": digest_json(name), "device": "cpu", "seconds": 1.0})
    evaluate.main(
        export=export,
        dataset=Path("data/dataset"),
        holdout=Path("data/holdout.json"),
        validation=Path("data/validation"),
        out=folder / "evaluation",
    )
    return folder


def _seeing(quality: Quality) -> onnx.ModelProto:
    """The graph of `stage_outputs` behind a mean filter and a bias."""
    model = graph()
    nodes = model.graph.node
    next(node for node in nodes if node.op_type == "Div").input[0] = "biased"
    side, edge = quality.window_px, quality.window_px // 2
    smooth = helper.make_node("AveragePool", ["channels"], ["smooth"], kernel_shape=[side] * 2, pads=[edge] * 4)
    nodes.insert(2, smooth)
    nodes.insert(3, helper.make_node("Add", ["smooth", "bias"], ["biased"]))
    bias = np.array([0, quality.green_bias, 0], np.float32).reshape(1, 3, 1, 1)
    model.graph.initializer.append(onnx.numpy_helper.from_array(bias, "bias"))
    return model


def _write_samples(export: Path) -> None:
    """An input with what the graph makes of it, by which it proves itself when it is opened."""
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    found = Segmenter(export, threads=1).run(image[None], ("labels", "probabilities"))
    np.savez(export / "samples.npz", image_0=image, **{f"{name}_0": value[0] for name, value in found.items()})


def _items() -> list[Item]:
    """Noisy images, a group each, of a green and a blue box on a red ground."""
    rng = np.random.default_rng(0)
    items = []
    for number in range(GROUPS):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        for label, (left, side) in BOXES.items():
            y, x = rng.integers(0, HEIGHT - side), left + rng.integers(0, 4)
            mask[y : y + side, x : x + side] = label
        image = (COLOURS[mask] + rng.normal(0, NOISE, (HEIGHT, WIDTH, 3))).clip(0, 255).astype(np.uint8)
        pixels, labels, name = encode_image(image), encode_mask(mask), f"item-{number:02d}"
        digests = sha256_bytes(pixels), sha256_bytes(labels)
        slices = {"camera": "front" if number % 2 else "rear"}
        items.append(Item(name, pixels, labels, name, name, f"g{number}", *digests, "test", slices=slices))
    return items
