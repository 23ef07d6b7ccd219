"""The service levels that a version must keep: the section `gate` of the parameters."""

from pydantic import Field

from pipeline.params import Section


class PerClass(Section):
    """A limit for each class.

    Attributes:
        default: For classes without a limit of their own; None for no limit.
        classes: By class name; None takes the default away.
    """

    default: float | None = None
    classes: dict[str, float | None] = Field(default_factory=dict)

    def limit(self, name: str) -> float | None:
        """The limit of a class, None without one."""
        return self.classes.get(name, self.default)


class DoubtParams(Section):
    """When a mask of the holdout is doubted.

    Attributes:
        min_confidence: Both models are at least this sure of the label that the mask contradicts.
        min_share: Share of an image's labelled pixels in doubt from which it is listed.
        max_images: Images listed at most.
    """

    min_confidence: float = Field(ge=0, le=1)
    min_share: float = Field(gt=0, le=1)
    max_images: int = Field(ge=0)


class GateParams(Section):
    """Section `gate`.

    Attributes:
        replicates: Draws of the bootstrap.
        seed: Of the draws.
        level: Confidence of the one-sided bounds, and of the two-sided intervals shown.
        min_groups: Groups that must hold a class before its bounds are believed.
        few_groups: With fewer groups in the whole holdout, blocks of consecutive frames are drawn instead.
        block_frames: Frames of such a block.
        miou: Least mIoU.
        iou: Least IoU by class.
        slice_miou: Least mIoU in every slice; None for no limit.
        boundary_f: Least boundary F-score by class.
        false_positive_rate: Largest false positive rate by class.
        ece: Largest expected calibration error.
        non_inferiority: How much worse than the champion's the IoU of a class may be.
        latency_p95_ms: Largest 95th percentile of the time of one holdout image, on the machine that judges.
        latency_images: Images timed.
        size_mib: Largest size of the graph.
        doubt: When a mask is doubted.
    """

    replicates: int = Field(ge=2000)
    seed: int
    level: float = Field(gt=0.5, lt=1)
    min_groups: int = Field(ge=2)
    few_groups: int = Field(ge=2)
    block_frames: int = Field(ge=1)
    miou: float = Field(ge=0, le=1)
    iou: PerClass
    slice_miou: float | None
    boundary_f: PerClass
    false_positive_rate: PerClass
    ece: float = Field(ge=0, le=1)
    non_inferiority: PerClass
    latency_p95_ms: float = Field(gt=0)
    latency_images: int = Field(ge=1)
    size_mib: float = Field(gt=0)
    doubt: DoubtParams
