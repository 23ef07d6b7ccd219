"""A version's per-image counts on today's holdout: those it was registered with, or else measured now."""

import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.errors import UserError
from pipeline.evaluate import EvaluateParams, Findings, Holdout, examine, open_graph
from pipeline.files import atomic_dir, digest_json, read_json, read_table, sha256_file, write_json
from pipeline.gating.slo import GateParams
from pipeline.images import Limits
from pipeline.inference import Segmenter
from pipeline.measure import MeasureSettings
from pipeline.model_versions import EVIDENCE, VersionFiles
from pipeline.taxonomy import Taxonomy

STORE = Path(".segloop/evidence")
RECHECKED = 8  # images measured again, of an evidence that came with the version
TOLERATED = 0.01  # share of pixels that may land elsewhere: processors round differently
METRICS, COUNTS = EVIDENCE


@dataclass(frozen=True)
class HoldoutCounts:
    """What a version did on every image of the holdout.

    Attributes:
        rows: The rows of `confusions.parquet`.
        digest: SHA-256 of that file.
        measured: Whether it was measured now.
    """

    rows: pd.DataFrame
    digest: str
    measured: bool


@dataclass(frozen=True)
class Measuring:
    """With what a version is measured.

    Attributes:
        holdout: Today's holdout.
        taxonomy: Today's classes.
        settings: Section `evaluate`.
        limits: Section `limits`.
    """

    holdout: Holdout
    taxonomy: Taxonomy
    settings: EvaluateParams
    limits: Limits

    @property
    def measure_settings(self) -> MeasureSettings:
        """How an image is measured."""
        settings = self.settings
        return MeasureSettings(
            self.taxonomy.num_classes,
            self.taxonomy.ignore_index,
            settings.tolerance_px,
            settings.confidence_bins,
            settings.seam_px,
            self.limits,
        )

    def open(self, version: VersionFiles) -> Segmenter:
        """Opens the version's graph.

        Raises:
            UserError: It is damaged or of another taxonomy.
        """
        return open_graph(version.export, self.taxonomy, self.settings)


def judging_digest(gate: GateParams, taxonomy: Taxonomy, evaluate: EvaluateParams) -> str:
    """The digest of all settings that a verdict depends on: service levels, classes, which are critical, counting."""
    classes = [[each.name, each.critical] for each in taxonomy.classes]
    counting = [evaluate.tolerance_px, evaluate.confidence_bins]
    return digest_json({"gate": gate.model_dump(), "classes": classes, "counting": counting})


def holdout_counts(version: VersionFiles, measuring: Measuring, store: Path = STORE) -> HoldoutCounts:
    """The counts of a version on today's holdout.

    Those of its registration count where they are of this holdout and were measured as today; if not, the version is
    measured now, which is kept.

    Raises:
        UserError: The version is of another taxonomy, or none of the images can be decoded.
    """
    registered = version.evaluation / METRICS
    wanted = measuring.holdout.facts["digest"]
    how = _how(measuring)
    told = read_json(registered, "register the model anew")
    same = (told.get("holdout_digest"), told.get("model_digest", version.model_digest)) == (
        wanted,
        version.model_digest,
    )
    if same and _alike(version, measuring) and _borne_out(version, measuring):
        return _read(version.evaluation, measured=False)
    folder = store / digest_json({"model": version.model_digest, "holdout": wanted, "how": how})[:16]
    if not folder.exists():
        segmenter = measuring.open(version)
        found = examine(segmenter, measuring.holdout, measuring.measure_settings)
        _write(folder, found, version, measuring)
    return _read(folder, measured=True)


def _how(measuring: Measuring) -> dict[str, int]:
    settings = measuring.settings
    return {"tolerance_px": settings.tolerance_px, "confidence_bins": settings.confidence_bins}


def _alike(version: VersionFiles, measuring: Measuring) -> bool:
    """Whether the registered evaluation counts the same classes, in as many bins of confidence, on every image."""
    classes = read_json(version.export / "export.json", "register the model anew").get("class_names")
    if classes != measuring.taxonomy.names:
        raise UserError(
            f"{version.export} knows the classes {classes}, the taxonomy now says {measuring.taxonomy.names}: its "
            "evidence is of another taxonomy. Train and register a version for this one."
        )
    rows = read_table(version.evaluation / COUNTS, {"item_id", "bin_px"}, "register the model anew")
    listed = {item["item_id"] for item in measuring.holdout.facts["items"]}
    if set(rows["item_id"]) != listed:  # some may be undecodable, or have been left out: measuring tells
        return False
    return len(rows.iloc[0]["bin_px"]) == measuring.settings.confidence_bins


def _borne_out(version: VersionFiles, measuring: Measuring) -> bool:
    """Whether the graph gives the registered counts again on some images, drawn so that nobody knows which.

    Whoever may edit MLflow may upload other figures than the graph's own.
    """
    listed = [item["item_id"] for item in measuring.holdout.facts["items"]]
    drawn = secrets.SystemRandom().sample(listed, min(RECHECKED, len(listed)))
    rows = read_table(version.evaluation / COUNTS, {"item_id", "confusion"}, "register the model anew")
    kept = dict(zip(rows["item_id"], rows["confusion"], strict=True))
    for row in examine(measuring.open(version), measuring.holdout.only(drawn), measuring.measure_settings).rows:
        counted, registered = np.asarray(row["confusion"]), np.asarray(kept[row["item_id"]])
        if counted.shape == registered.shape and np.abs(counted - registered).sum() > 2 * TOLERATED * max(
            counted.sum(), 1
        ):
            print(
                f"warning: the registered counts of '{row['item_id']}' are not what the graph gives here; "
                "the version is measured anew",
                file=sys.stderr,
            )
            return False
    return True


def _read(folder: Path, *, measured: bool) -> HoldoutCounts:
    file = folder / COUNTS
    return HoldoutCounts(pd.read_parquet(file), sha256_file(file), measured)


def _write(folder: Path, found: Findings, version: VersionFiles, measuring: Measuring) -> None:
    with atomic_dir(folder) as temporary:
        pd.DataFrame(found.rows).to_parquet(temporary / COUNTS, index=False)
        facts = {
            "model_digest": version.model_digest,
            "holdout_digest": measuring.holdout.facts["digest"],
            "failed": found.failed,
        }
        write_json(temporary / METRICS, facts)
