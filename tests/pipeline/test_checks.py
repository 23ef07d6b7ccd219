"""The words of the checks."""

import pytest

from pipeline.checks import Check, ValidateParams, item_checks, leak_checks, move_checks

PARAMS = ValidateParams(
    acknowledge=(),
    min_classes=2,
    max_void_share=0.5,
    max_islands_per_10k_px=30,
    near_duplicate_bits=10,
    near_duplicate_correlation=0.93,
    batch_min_items=30,
    batch_share_factor=3,
    batch_share_change=0.02,
    batch_min_groups=8,
    batch_drift_chance=0.01,
    batch_drift_effect=0.33,
    min_images_per_class=1,
    min_images_per_critical_class=1,
)
COLUMNS = ("item_id", "group", "split", "other_splits", "before", "after", "date", "who", "note", "cost")
TWINS = ("twin_in_split", "twin_in_group", "twin_before")
LEAKS = [
    each for each in leak_checks(PARAMS) if each.name != "near_duplicates_not_compared"
]  # of which nothing is known
SPLIT_CHECKS = [*(each for each in item_checks(PARAMS) if each.name == "selected_in_holdout"), *LEAKS, *move_checks()]


@pytest.mark.parametrize("check", SPLIT_CHECKS, ids=lambda check: check.name)
def test_what_is_wrong_with_splits_comes_with_the_command_that_mends_it(check: Check) -> None:
    """Leaks, groups on two sides and a holdout that changed all name `segloop resplit`, beside the row's own facts."""
    row = {name: f"<{name}>" for name in (*COLUMNS, *TWINS)}
    told = check.detail.format(**row)
    assert "<group>" in told or "<item_id>" in told
    assert "`segloop resplit GROUP" in told
