"""What `export` starts from: the trained network, and samples of the tiles that it learnt from."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.command import progress
from pipeline.errors import UserError
from pipeline.parity import enlarge

if TYPE_CHECKING:
    from training.graph import ServingGraph

Tiles = npt.NDArray[np.uint8]


class Source:
    """The training and its tiles, as the stage reads them.

    Args:
        training: Folder of the stage `train`.
        tiles: Folder of the stage `prepare`.
        seed: Seed of all samples.
        batch_size: Tiles in one batch.

    Raises:
        UserError: A file is missing, or training and tiles do not belong together.
    """

    def __init__(self, training: Path, tiles: Path, seed: int, batch_size: int) -> None:
        from training.tiles import TileFolder

        self.model = _json(training / "model.json", "train")
        self.training_digest = str(_json(training / "training.json", "train")["digest"])
        self.weights = training / "model.safetensors"
        self._seed, self._batch_size = seed, batch_size
        try:
            self._folder = TileFolder.read(tiles)
        except ValueError as error:
            raise UserError(str(error)) from None
        if self._folder.facts["classes"] != self.model["classes"]:
            raise UserError(f"{training} was trained on other classes than {tiles} has: run `dvc repro train`.")

    @property
    def ignore_index(self) -> int:
        """The void label."""
        return int(self.model["ignore_index"])

    @property
    def tile_px(self) -> int:
        """Side of a tile before scaling, in pixels of the source images."""
        return round(float(self.model["tile_px"]) / float(self.model["scale"]))

    @property
    def overlap_px(self) -> int:
        """Overlap of tiles before scaling."""
        return min(round(float(self.model["overlap_px"]) / float(self.model["scale"])), self.tile_px - 1)

    def sample(self, split: str, count: int) -> Tiles:
        """Draws tiles with the seed of the params, in their order on disk. Shape: (N, T, T, 4), uint8, scaled."""
        try:
            dataset = self._folder.split(split)
        except ValueError as error:
            raise UserError(str(error)) from None
        rng = np.random.default_rng(self._seed)
        chosen = np.sort(rng.choice(len(dataset), min(count, len(dataset)), replace=False))
        return dataset.__getitems__(chosen.tolist())

    def batches(self, tiles: Tiles, label: str) -> Iterator[Tiles]:
        """The tiles at the size of the source images, a batch at a time, behind a progress bar."""
        size = self._batch_size
        for start in progress(range(0, len(tiles), size), label=label):
            yield enlarge(tiles[start : start + size], self.tile_px)


def build_graph(source: Source) -> "ServingGraph":
    """The serving graph with the trained weights, at temperature 1.

    Raises:
        UserError: The weights do not fit the network that `model.json` describes.
    """
    from safetensors.torch import load_file

    from training.graph import Preprocessing, ServingGraph
    from training.network import NetworkSettings, build_network

    facts = source.model
    settings = NetworkSettings(
        architecture=facts["architecture"],
        encoder=facts["encoder"],
        encoder_weights=None,
        options=facts.get("options", {}),
    )
    try:
        network = build_network(settings, facts["num_classes"])
        network.load_state_dict(load_file(source.weights))
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        raise UserError(f"{source.weights} does not fit its model.json: {error}. Run `dvc repro train`.") from error
    preprocessing = Preprocessing(tuple(facts["mean"]), tuple(facts["std"]), facts["scale"])
    return ServingGraph(network, facts["num_classes"], preprocessing)


def _json(file: Path, stage: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no {file}: run `dvc repro {stage}`.") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{file} is not readable as JSON: {error}. Run `dvc repro -f {stage}`.") from None
    return content
