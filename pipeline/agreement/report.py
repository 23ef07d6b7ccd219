"""What is said of the annotators' agreement: one account for the file, the page and the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pipeline.agreement.annotators import Annotator, unsettled
from pipeline.agreement.coefficients import cohen_kappa, dice
from pipeline.agreement.figures import Figure
from pipeline.agreement.totals import PairRow, Totals
from pipeline.scores import by_class, number
from pipeline.taxonomy import Taxonomy
from training.metrics import iou, mean_iou, pixel_accuracy


class Standing(StrEnum):
    """How a model's IoU of a class compares with what annotators reach among themselves."""

    UNKNOWN = "not known"
    BELOW = "below"
    WITHIN = "within the annotators' interval"
    ABOVE = "at or above the annotators"


@dataclass(frozen=True)
class ClassRow:
    """One class.

    Attributes:
        name: Its name.
        critical: Whether it is safety-critical.
        iou: Of two annotators.
        dice: The same.
        boundary_f: The same.
        model_iou: Of the evaluated model against the holdout's masks; None where it is not known.
        standing: How that compares.
    """

    name: str
    critical: bool
    iou: Figure
    dice: Figure
    boundary_f: Figure
    model_iou: float | None
    standing: Standing


@dataclass(frozen=True)
class PairOfAnnotators:
    """Two annotators on the images that both drew; one and itself where it drew an image twice."""

    names: tuple[str, str]
    masks: int
    agreement: float | None
    kappa: float | None
    miou: float | None
    iou: dict[str, float | None]
    dice: dict[str, float | None]


@dataclass(frozen=True)
class Report:
    """Everything that is said.

    Attributes:
        images: Images with several masks that could be compared.
        pairs: Every two masks of an image, by different annotators.
        groups: Groups of these images.
        miou: Of two annotators.
        alpha: Krippendorff's.
        fleiss_kappa: By number of annotators of an image.
        classes: By id.
        annotators: The best first.
        between: Every two annotators who drew an image both.
        looks: Pairs that need a third look, the most urgent first.
        more_looks: Further ones, not listed.
        problems: Why items could not be compared, by name.
        model: What the model's figures are of; empty without.
    """

    images: int
    pairs: int
    groups: int
    miou: Figure
    alpha: Figure
    fleiss_kappa: dict[int, float]
    classes: list[ClassRow]
    annotators: list[Annotator]
    between: list[PairOfAnnotators]
    looks: list[PairRow]
    more_looks: int
    problems: dict[str, str]
    model: str


def report(
    totals: Totals,
    found: Mapping[str, Sequence[Figure]],
    who: Sequence[Annotator],
    taxonomy: Taxonomy,
    metrics: Mapping[str, Any] | None,
    most_looks: int,
) -> Report:
    """Puts the account together.

    Args:
        totals: What was counted.
        found: The headline figures, as `figures.figures` gives them.
        who: The annotators.
        taxonomy: Names, and which classes are critical.
        metrics: The content of the evaluation's metrics.json; None without an evaluation.
        most_looks: Pairs listed for a third look.
    """
    looks = third_looks(totals.pairs)
    scores = metrics["iou"] if metrics else {}
    return Report(
        images=totals.images,
        pairs=sum(not pair.same_annotator for pair in totals.pairs),
        groups=len(totals.groups),
        miou=found["miou"][0],
        alpha=found["alpha"][0],
        fleiss_kappa=totals_fleiss(totals),
        classes=[_class_row(place, found, taxonomy, scores.get(name)) for place, name in enumerate(taxonomy.names)],
        annotators=list(who),
        between=[_between(names, totals, taxonomy.names) for names in sorted(totals.by_pair)],
        looks=looks[:most_looks],
        more_looks=max(len(looks) - most_looks, 0),
        problems=dict(sorted(totals.problems.items())),
        model=_about_model(metrics),
    )


def third_looks(pairs: Sequence[PairRow]) -> list[PairRow]:
    """The pairs that need one: critical classes first, then the least IoU, then the most pixels in dispute."""

    def urgency(row: PairRow) -> tuple[bool, float, int, tuple[str, str]]:
        assert row.look is not None
        return not row.look.critical, row.look.iou, -row.look.disputed_px, row.items

    return sorted((row for row in pairs if row.look is not None), key=urgency)


def totals_fleiss(totals: Totals) -> dict[int, float]:
    """Fleiss' kappa by number of annotators of an image, since it takes a fixed number."""
    return {count: totals.ratings[count].fleiss_kappa() for count in sorted(totals.ratings)}


def standing(model: float | None, annotators: Figure) -> Standing:
    """How a model's IoU compares with the annotators'."""
    if model is None or annotators.value is None:
        return Standing.UNKNOWN
    if model >= annotators.value:
        return Standing.ABOVE
    return Standing.WITHIN if annotators.low is not None and model >= annotators.low else Standing.BELOW


def reason(row: PairRow, names: Sequence[str]) -> str:
    """Why a pair needs a third look, in a sentence."""
    assert row.look is not None
    x, y, width, height = row.look.box
    first, second = row.annotators
    kind = "the critical class " if row.look.critical else ""
    return (
        f"{first} and {second} agree on {kind}{names[row.look.label]} with an IoU of {row.look.iou:.2f}: "
        f"{row.look.disputed_px:,} px are in dispute, most of them in {width} x {height} px at ({x}, {y})."
    )


def order(who: Sequence[Annotator]) -> str:
    """Which places in the order of the annotators are not settled, in a sentence; empty where all are."""
    both = unsettled(who)
    pairs = ", ".join(f"{one} and {other}" for one in sorted(both) for other in sorted(both[one]) if one < other)
    why = "the intervals of their own errors overlap or are not known"
    return f"order not settled, since {why}: {pairs}" if pairs else ""


def _class_row(place: int, found: Mapping[str, Sequence[Figure]], taxonomy: Taxonomy, model: float | None) -> ClassRow:
    each = taxonomy.classes[place]
    overlap = found["iou"][place]
    return ClassRow(
        each.name,
        each.critical,
        overlap,
        found["dice"][place],
        found["boundary_f"][place],
        model,
        standing(model, overlap),
    )


def _between(names: tuple[str, str], totals: Totals, classes: Sequence[str]) -> PairOfAnnotators:
    matrix = totals.by_pair[names]
    return PairOfAnnotators(
        names,
        sum(tuple(sorted(row.annotators)) == names for row in totals.pairs),
        number(pixel_accuracy(matrix)),
        number(cohen_kappa(matrix)),
        number(mean_iou(matrix)),
        by_class(iou(matrix), classes),
        by_class(dice(matrix), classes),
    )


def _about_model(metrics: Mapping[str, Any] | None) -> str:
    if metrics is None:
        return ""
    return f"model {str(metrics.get('model_digest', ''))[:12]} on {metrics.get('items', 0)} images of the holdout"
