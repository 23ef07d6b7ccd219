"""What is kept of the items that a release accepted, and how a later training is compared with it."""

from pathlib import Path

import pandas as pd

from pipeline.releasing.accepted import accepted_digests, accepted_file, compare_accepted, short, write_accepted
from pipeline.releasing.purged import item_digest


def items(*names: str, **masks: str) -> pd.DataFrame:
    """Accepted items of those names; a mask is the item's own unless another is given."""
    rows = [(name, 1, f"i-{name}", masks.get(name, f"m-{name}"), "train") for name in names]
    return pd.DataFrame(rows, columns=["item_id", "revision", "image_sha256", "mask_sha256", "split"])


def test_nothing_changes_where_nothing_differs() -> None:
    """The same items in another order are the same."""
    found = compare_accepted(accepted_digests(items("a", "b", "c")), items("c", "a", "b"), {})
    assert (found.same, found.purged, found.lost, found.changed, found.added) == (3, 0, [], [], [])


def test_each_kind_of_difference_stands_apart() -> None:
    """Purged, lost, changed and added items are told apart; what can still be named is named."""
    then = accepted_digests(items("gone", "lost", "drawn", "same"))
    found = compare_accepted(then, items("drawn", "new", "same", drawn="other"), {item_digest("gone"): "purged on"})
    assert (found.same, found.purged) == (1, 1)
    assert (found.lost, found.changed, found.added) == ([short("lost")], ["drawn"], ["new"])


def test_the_file_holds_no_name(tmp_path: Path) -> None:
    """Git never forgets, so the file has digests alone, and those in an order that says nothing."""
    digests = accepted_digests(items("somebody", "everybody"))
    write_accepted(tmp_path, "data/v3", digests)
    lines = (tmp_path / "data/releases/v3.items.csv").read_text().splitlines()
    assert accepted_file("data/v3") == Path("data/releases/v3.items.csv")
    assert lines == ["item,content", *(f"{item},{content}" for item, content in sorted(digests.items()))]
    assert all(len(line) == 33 and "body" not in line for line in lines[1:])
