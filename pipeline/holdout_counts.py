"""A version's per-image counts on today's holdout: those it was registered with, or else measured now."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.errors import UserError
from pipeline.evaluate import EvaluateParams, Findings, Holdout, examine, open_graph
from pipeline.files import atomic_dir, digest_json, read_json, read_table, sha256_file, write_json
from pipeline.images import Limits
from pipeline.inference import Segmenter
from pipeline.measure import MeasureSettings
from pipeline.model_versions import EVIDENCE, VersionFiles
from pipeline.taxonomy import Taxonomy

STORE = Path(".segloop/evidence")
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
    if _of_holdout(registered, wanted) and _alike(version, measuring):
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


def _of_holdout(metrics: Path, holdout_digest: str) -> bool:
    return bool(read_json(metrics, "register the model anew").get("holdout_digest") == holdout_digest)


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
