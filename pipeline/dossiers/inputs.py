"""What a dossier is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field

from pipeline.gating.verdict import Verdict
from pipeline.images import Limits
from pipeline.params import Section


class DossierParams(Section):
    """Section `dossier`.

    Attributes:
        changed_images: Images shown that changed most for the worse, and as many for the better.
        worst_images: Worst images shown of each critical class, and of the doubted masks.
        picture_px: Longest side of a picture.
        picture_quality: Of the photographs, as WebP has it; masks are kept exactly.
        max_bytes: Size of the page; pictures shrink and give way until it fits.
        threads: Threads of inference; 0 takes every core.
    """

    changed_images: int = Field(ge=0)
    worst_images: int = Field(ge=0)
    picture_px: int = Field(ge=32)
    picture_quality: int = Field(ge=1, le=100)
    max_bytes: int = Field(ge=100_000)
    threads: int = Field(ge=0)


@dataclass(frozen=True)
class RunFacts:
    """What the tracking server knows of the run behind a version; all of it may be unknown.

    Attributes:
        commit: The git commit.
        dirty: Whether tracked files differed from it.
        dataset_digest: Of the dataset, as the run names it.
        author: Who ran it.
        params: Settings, nested or flat.
    """

    commit: str | None = None
    dirty: bool = False
    dataset_digest: str | None = None
    author: str | None = None
    params: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Side:
    """One of the two models.

    Attributes:
        artifacts: Its evidence: `export/`, `evaluation/`, `taxonomy.yaml`, `training.json`; where they are kept also
            `holdout.json`, `items.parquet`, `tiles.json`, `metrics.jsonl`.
        rows: Its counts on the verdict's holdout, where they are not those of `evaluation/`.
        run: Of the run that made it.
        intervals: Two-sided 95% intervals by service level (`iou/CLASS`, `miou`, `slice/COLUMN=VALUE/miou`), where
            the verdict has none.
    """

    artifacts: Path
    rows: pd.DataFrame | None = None
    run: RunFacts = field(default_factory=RunFacts)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class LogEntry:
    """An entry of the decision log that concerns this version.

    Attributes:
        at: ISO 8601.
        what: Was decided, in words.
        actor: Who.
        note: Why.
        alarm: A sentence that stands in red at the top of the page; empty for what follows the rules.
    """

    at: str
    what: str
    actor: str
    note: str
    alarm: str = ""


@dataclass(frozen=True)
class DossierInputs:
    """Everything that a dossier tells.

    Attributes:
        verdict: The gate's.
        candidate: The version judged.
        champion: The version it was compared with; None at a first promotion.
        dataset: The dataset's folder.
        holdout: The list of the verdict's holdout, `holdout.json`.
        limits: What is refused before it is decoded.
        params: Section `dossier`.
        repository: The git repository that has the commits; None without one.
        log: Entries of the decision log that concern this version, oldest first.
    """

    verdict: Verdict
    candidate: Side
    champion: Side | None
    dataset: Path
    holdout: Path
    limits: Limits
    params: DossierParams
    repository: Path | None = None
    log: Sequence[LogEntry] = ()
