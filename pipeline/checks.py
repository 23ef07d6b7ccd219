"""The checks of a dataset as data: what each looks at, its limit, its words; all judged by one suite."""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from pipeline.params import Section
from pipeline.splits import MEASURE_ANEW, MOVE_OUT, ONE_SIDE, REUNITE, TOGETHER

Level = Literal["item", "dataset", "warning"]
Kind = Literal["null", "not_null", "between", "equal", "rows"]


class ValidateParams(Section):
    """Section `validate`: the limits, and the dataset-level failures that are known and accepted."""

    acknowledge: tuple[str, ...]
    min_classes: int = Field(ge=1)
    max_void_share: float = Field(ge=0, le=1)
    max_islands_per_10k_px: float = Field(ge=0)
    near_duplicate_bits: int = Field(ge=0, lt=64)
    near_duplicate_correlation: float = Field(ge=0, le=1)
    batch_min_items: int = Field(ge=1)
    batch_share_factor: float = Field(ge=1)
    batch_share_change: float = Field(ge=0, le=1)
    batch_min_groups: int = Field(ge=2)
    batch_drift_chance: float = Field(gt=0, lt=1)
    batch_drift_effect: float = Field(ge=0, le=1)
    min_images_per_class: int = Field(ge=0)
    min_images_per_critical_class: int = Field(ge=0)


@dataclass(frozen=True)
class Check:
    """One check of one column.

    Attributes:
        name: Its name in verdicts, quarantine, settings and Data Docs.
        level: `item`: a failing row is quarantined. `dataset`: a failure fails the dataset. `warning`: it is told, and
            nothing fails.
        column: The column judged; a null value is not judged, except by `null` and `not_null`.
        kind: `null`, `not_null`, `between` (least to most), `equal` (to the column `other`), `rows` (at least `least`).
        about: What holds when the check passes.
        detail: What is wrong with a row: a template over the row's columns and `limit`.
        least: Smallest value allowed.
        most: Largest value allowed.
        other: The column to equal.
        may_acknowledge: Whether a setting may accept its failure.
    """

    name: str
    level: Level
    column: str
    kind: Kind
    about: str
    detail: str
    least: float | None = None
    most: float | None = None
    other: str | None = None
    may_acknowledge: bool = False

    @property
    def limit(self) -> float | None:
        """The limit, where there is a number."""
        return self.least if self.most is None else self.most

    def limit_words(self) -> str:
        """The limit as a person reads it; empty when the check has no number."""
        if self.limit is None:
            return ""
        return f"at {'least' if self.most is None else 'most'} {self.limit:g}"


def item_checks(params: ValidateParams) -> list[Check]:
    """Checks of each row of the whole catalogue; rows that fail are quarantined."""
    return [*_mask_checks(params), *_identity_checks()]


def _mask_checks(params: ValidateParams) -> list[Check]:
    """Image and mask by themselves."""
    return [
        Check("empty_dataset", "dataset", "", "rows", "the dataset has items", "the dataset has no item", least=1),
        _null("unreadable", "error", "image and mask can be read", "{error}"),
        Check(
            "size_mismatch", "item", "image_size", "equal", "image and mask have the same size",
            "the image is {image_size} px, its mask {mask_size} px", other="mask_size",
        ),
        _null(
            "unknown_value", "unknown_values", "masks hold known values only",
            "the mask holds {unknown_values}, neither a class of the taxonomy nor void",
        ),
        Check(
            "empty_mask", "item", "labelled_px", "between", "masks have labelled pixels",
            "no pixel of the mask belongs to a class, limit {limit:g}", least=1,
        ),
        Check(
            "single_class_mask", "item", "classes_present", "between", "masks hold several classes",
            "the mask holds {classes_present:g} class, limit {limit:g}", least=params.min_classes,
        ),
        Check(
            "void_share", "item", "void_share", "between", "masks are labelled for the most part",
            "{void_share:.1%} of the mask is void, limit {limit:.1%}", most=params.max_void_share,
        ),
        Check(
            "tiny_islands", "item", "islands_per_10k_px", "between", "masks are free of specks",
            "{islands_per_10k_px:.1f} islands per 10,000 labelled pixels, limit {limit:g}",
            most=params.max_islands_per_10k_px,
        ),
        _null("custom", "custom", "your own check has nothing against an item", "{custom}"),
    ]  # fmt: skip


def _identity_checks() -> list[Check]:
    """The item beside the others, and its place among them."""
    return [
        _null("duplicate_image", "duplicate_of", "images are unique", "image and mask are those of {duplicate_of}"),
        _null(
            "conflicting_masks", "conflicts_with", "an image has one mask",
            "the same image has another mask in {conflicts_with}",
        ),
        Check(
            "no_split", "item", "split", "not_null", "groups have a split",
            "the ledger gives group '{group}' no split (source split: {source_split})",
        ),
        _null(
            "selected_in_holdout", "selected_in_holdout", "no model chose the holdout's images",
            f"a model selected the image, but its group '{{group}}' is in the holdout: {MOVE_OUT}",
        ),
    ]  # fmt: skip


def leak_checks(params: ValidateParams) -> list[Check]:
    """Checks of the rows that were accepted: what of one split is known from another."""
    alike = (
        f"no two hashes differ in at most {params.near_duplicate_bits} of 64 bits with pixels that correlate by "
        f"{params.near_duplicate_correlation:g} or more"
    )
    return [
        Check(
            "near_duplicates_across_splits", "dataset", "twin_in_split", "null", f"between splits, {alike}",
            f"{{item_id}} ({{split}}) looks like {{twin_in_split}}; {REUNITE}", may_acknowledge=True,
        ),
        Check(
            "near_duplicates_across_releases", "dataset", "twin_before", "null",
            f"between a split and what another held before, {alike}",
            f"{{item_id}} ({{split}}) looks like what the dataset once held as {{twin_before}}; {REUNITE}",
            may_acknowledge=True,
        ),
        Check(
            "near_duplicates_across_groups", "warning", "twin_in_group", "null",
            f"between groups of one split, {alike}",
            f"{{item_id}} ({{split}}, group '{{group}}') looks like {{twin_in_group}}; {TOGETHER}",
        ),
        Check(
            "near_duplicates_not_compared", "warning", "uncompared", "null",
            "of images with close hashes the pixels were compared",
            "{item_id} ({split}) was compared with the nearest only of the images of {uncompared} whose hashes are "
            "close, and looks like none of those",
        ),
        Check(
            "groups_across_splits", "dataset", "other_splits", "null", "a group lies in one split",
            f"{{item_id}} ({{split}}) is of group '{{group}}', which is in {{other_splits}} as well; {ONE_SIDE}",
            may_acknowledge=True,
        ),
    ]  # fmt: skip


def move_checks() -> list[Check]:
    """Checks of the groups that were moved to another split: recorded, but past measurements no longer compare."""
    return [
        Check(
            "moved_groups", "warning", "cost", "null", "no group has moved into or out of the holdout",
            "group '{group}' moved from {before} to {after} on {date} by {who} ({note}): {cost}. " + MEASURE_ANEW,
        ),
    ]  # fmt: skip


def drift_checks() -> list[Check]:
    """Checks of batches by batch and statistic: no fault, but worth a look."""
    return [
        Check(
            "batch_drift", "warning", "drift", "null", "a batch's groups are like the other groups",
            "batch '{place}': {drift}",
        ),
    ]  # fmt: skip


def class_checks(params: ValidateParams) -> list[Check]:
    """Checks of classes by batch and by split, over the accepted rows."""
    return [
        Check(
            "class_share", "dataset", "share_factor", "between", "a batch's class shares are like the dataset's",
            "batch '{place}': {class_name} has {share:.2%} of the labelled pixels, {dataset_share:.2%} in the dataset, "
            "a factor of {share_factor:.1f}, limit {limit:g}",
            most=params.batch_share_factor, may_acknowledge=True,
        ),
        Check(
            "class_missing_from_split", "dataset", "images", "between", "each class is in each split",
            "split '{place}': {class_name} is in {images:g} images, limit {limit:g}",
            least=params.min_images_per_class, may_acknowledge=True,
        ),
        Check(
            "critical_class_too_few", "dataset", "critical_images", "between", "critical classes are in enough images",
            "split '{place}': critical class {class_name} is in {critical_images:g} images, limit {limit:g}",
            least=params.min_images_per_critical_class, may_acknowledge=True,
        ),
    ]  # fmt: skip


def _null(name: str, column: str, about: str, detail: str) -> Check:
    return Check(name, "item", column, "null", about, detail)
