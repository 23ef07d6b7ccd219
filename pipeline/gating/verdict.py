"""What a gate says: one decision per service level, and the evidence, champion and settings that it hangs on."""

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.files import digest_json

SCHEMA = 1


class Outcome(StrEnum):
    """How a service level came out."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    INSUFFICIENT = "insufficient evidence"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Support(_Record):
    """What a decision rests on.

    Attributes:
        images: Images of the holdout that hold the class (all, where no class is meant).
        groups: Their groups.
        pixels: Pixels of the class.
    """

    images: int
    groups: int
    pixels: int


class Decision(_Record):
    """One service level.

    Attributes:
        slo: Its name: `miou`, `iou/CLASS`, `slice/COLUMN=VALUE/miou`, `boundary_f/CLASS`, `ece`,
            `false_positive_rate/CLASS`, `non_inferiority/CLASS`, `latency_p95_ms`, `size_mib`.
        outcome: Pass, fail, or insufficient evidence.
        blocks: Whether this outcome keeps the version from being promoted.
        critical: It concerns a critical class.
        direction: Whether the value shall lie at or above its threshold, or at or below it.
        threshold: The limit.
        value: The point estimate; None where it is undefined.
        low: Lower end of the two-sided 95% interval; None without one.
        high: Upper end.
        bound: The one-sided 95% bound that decided: the lower one for `>=`, the upper one for `<=`.
        p_failed: For the claim that the threshold is missed, corrected over all claims (Holm); None without one.
        support: What it rests on.
        why: One sentence for a person.
    """

    slo: str
    outcome: Outcome
    blocks: bool
    critical: bool
    direction: Literal[">=", "<="]
    threshold: float
    value: float | None
    low: float | None
    high: float | None
    bound: float | None
    p_failed: float | None
    support: Support
    why: str


class Subject(_Record):
    """A registered version under judgement.

    Attributes:
        name: The registered model.
        version: Its number.
        run_id: The MLflow run that made it.
        model_digest: SHA-256 of its graph.
        evidence_digest: Of the per-image counts that were used.
        measured: Whether these were made now, since the version had none on this holdout.
    """

    name: str
    version: int
    run_id: str
    model_digest: str
    evidence_digest: str
    measured: bool


class Doubt(_Record):
    """An image whose mask both models contradict.

    Attributes:
        item_id: The item.
        pixels: Pixels where candidate and champion agree with each other, and confidently not with the mask.
        share: Of the image's labelled pixels.
    """

    item_id: str
    pixels: int
    share: float


class LabelNoise(_Record):
    """Known label noise in the holdout, reported beside the verdict and never part of it.

    Attributes:
        doubts: The images, most doubtful first.
        passed_without: How the verdict would read without them; None when there are none.
        changed_without: The service levels that would come out otherwise.
    """

    doubts: list[Doubt] = Field(default_factory=list)
    passed_without: bool | None = None
    changed_without: list[str] = Field(default_factory=list)


class Resampled(_Record):
    """What the intervals were made of.

    Attributes:
        kind: `groups`, or `blocks` of consecutive frames where there are too few groups.
        units: How many.
        replicates: How often they were drawn.
        level: Confidence of the bounds that decided, and of the intervals.
        holds_for: A sentence: for what the intervals hold.
    """

    kind: Literal["groups", "blocks"]
    units: int
    replicates: int
    level: float
    holds_for: str


class Verdict(_Record):
    """What a gate says about a version.

    Attributes:
        schema_version: Of this record.
        passed: Whether no decision blocks.
        candidate: The version judged.
        champion: The version compared with; None at a first promotion, and where it was judged alone.
        alone: Though there is a champion, it was not compared with; only an override promotes on such a verdict.
        holdout_digest: The holdout that both were measured on.
        settings_digest: Of the section `gate` that judged.
        class_names: By id.
        critical_classes: Their names.
        acknowledged: Known flaws of the holdout that validation let pass by name.
        decisions: One per service level.
        resampled: What the intervals were made of.
        label_noise: Beside the verdict.
        machine: Where latency was measured.
        decided_at: ISO 8601, UTC.
    """

    schema_version: int = SCHEMA
    passed: bool
    candidate: Subject
    champion: Subject | None
    alone: bool = False
    holdout_digest: str
    settings_digest: str
    class_names: list[str]
    critical_classes: list[str]
    acknowledged: list[Any]
    decisions: list[Decision]
    resampled: Resampled
    label_noise: LabelNoise
    machine: dict[str, str | int | float]
    decided_at: str

    def digest(self) -> str:
        """SHA-256 of the whole record: what a reviewer signs."""
        return digest_json(self.model_dump(mode="json"))

    def summary(self) -> str:
        """One sentence: whether it passed, and what blocks."""
        blocking = [each.slo for each in self.decisions if each.blocks]
        return "passes every required service level" if self.passed else f"is blocked by {', '.join(blocking)}"
