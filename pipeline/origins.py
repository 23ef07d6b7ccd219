"""What a version was made from: every link from its graph back to the masks, each proved by a digest."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.files import digest_json, read_json, read_table
from pipeline.model_versions import VersionFiles
from pipeline.prepare import LISTED, dataset_digest
from pipeline.splits import HOLDOUT

REMEDY = "register the model anew"
UNKNOWN = "not kept"
GRAPH_KEY = "segloop.training_digest"


@dataclass(frozen=True)
class Link:
    """A step from a version back to its data.

    Attributes:
        name: What it leads to.
        digest: Of that.
        holds: Whether the digest, computed again, is the one that the step before names; None where the version does
            not keep what it takes to tell.
    """

    name: str
    digest: str
    holds: bool | None


@dataclass(frozen=True)
class Origins:
    """The files of a version that tell where it comes from."""

    files: VersionFiles

    @cached_property
    def trained(self) -> dict[str, Any]:
        """Content of training.json."""
        return read_json(self.files.root / "training.json", REMEDY)

    @cached_property
    def tiles(self) -> dict[str, Any] | None:
        """Content of tiles.json; None for a version that does not keep it."""
        file = self.files.root / "tiles.json"
        return read_json(file, REMEDY) if file.exists() else None

    @cached_property
    def holdout(self) -> dict[str, Any]:
        """Content of holdout.json."""
        return read_json(self.files.root / "holdout.json", REMEDY)

    @cached_property
    def taught(self) -> pd.DataFrame | None:
        """A row for each image that taught it, `LISTED`; None for a version that does not keep the list."""
        file = self.files.root / "items.parquet"
        return read_table(file, set(LISTED), REMEDY)[LISTED] if file.exists() else None

    @cached_property
    def items(self) -> pd.DataFrame | None:
        """Every image that taught or measured it, `LISTED`, sorted by item; None as for `taught`."""
        if self.taught is None:
            return None
        measured = pd.DataFrame(self.holdout["items"]).assign(split=HOLDOUT).reindex(columns=LISTED)
        rows = [each.astype(object) for each in (self.taught, measured)]
        return pd.concat(rows).sort_values("item_id", ignore_index=True)

    def links(self, decided: str | None) -> list[Link]:
        """The steps from the graph to the masks, each digest computed again.

        Args:
            decided: The digest of the graph that the decision log last decided on; None without a decision.
        """
        return [
            Link("model", self.files.model_digest, None if decided is None else decided == self.files.model_digest),
            Link("training", str(self.trained.get("digest")), _all(self._named_by_graph(), self._is_training())),
            *self._data(),
        ]

    def _data(self) -> Iterator[Link]:
        if self.tiles is None:
            yield from (Link(name, UNKNOWN, None) for name in ("tiles", "dataset"))
            return
        digest, taught = str(self.tiles.get("digest")), str(self.tiles.get("dataset_digest"))
        facts = {key: value for key, value in self.tiles.items() if key != "digest"}
        yield Link("tiles", digest, _all(self._named_by_training(digest), digest_json(facts) == digest))
        listed = None if self.items is None else dataset_digest(self.tiles.get("taxonomy_version"), self.items)
        yield Link("dataset", taught, None if listed is None else listed == taught)

    def _named_by_graph(self) -> bool:
        return _metadata(self.files.export / "model.onnx").get(GRAPH_KEY, "").strip('"') == self.trained.get("digest")

    def _is_training(self) -> bool | None:
        made_from = self.trained.get("made_from")
        return None if made_from is None else digest_json(made_from) == self.trained.get("digest")

    def _named_by_training(self, tiles: str) -> bool | None:
        made_from = self.trained.get("made_from")
        return None if made_from is None else made_from.get("tiles") == tiles


def _all(*held: bool | None) -> bool | None:
    """False where one is, else None where one is not known."""
    return False if False in held else None if None in held else True


def _metadata(graph: Path) -> dict[str, str]:
    import onnx

    return {each.key: each.value for each in onnx.load(graph, load_external_data=False).metadata_props}
