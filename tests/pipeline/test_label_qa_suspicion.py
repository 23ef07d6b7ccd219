"""Which masks are suspected, of what, and in which order."""

import numpy as np
import pandas as pd

from pipeline.label_qa.suspicion import Kind, overall, ranked, scores


def seen(**faults: dict[str, object]) -> pd.DataFrame:
    """Twenty sound masks, and those given by name."""
    rng = np.random.default_rng(0)
    sound = [
        {"item_id": f"sound-{n:02}", "in_place": 12 + rng.normal(), "gain": 0.0, "dx": 0, "dy": 0, "classes": 5}
        for n in range(20)
    ]
    rows = [*sound, *({"item_id": name, **fault} for name, fault in faults.items())]
    return pd.DataFrame(rows, columns=["item_id", "in_place", "gain", "dx", "dy", "classes", "problem"])


def test_sound_masks_are_not_listed() -> None:
    """Ordinary variation of the agreement is no suspicion."""
    assert ranked(seen(), 4.0) == []


def test_each_fault_is_told_by_its_kind_worst_first() -> None:
    """No outline, a better place, agreement with nothing: each once, with the reason."""
    found = ranked(
        seen(
            shifted={"in_place": 2.0, "gain": 9.0, "dx": 16, "dy": -3, "classes": 5},
            unrelated={"in_place": 1.0, "gain": 0.5, "dx": 7, "dy": 7, "classes": 5},
            empty={"classes": 1},
        ),
        4.0,
    )
    assert [(each.item_id, each.kind) for each in found] == [
        ("empty", Kind.EMPTY),
        ("unrelated", Kind.UNRELATED),
        ("shifted", Kind.SHIFTED),
    ]
    assert "moved by +16 px to the right and -3 px down" in found[2].why
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)


def test_what_cannot_be_measured_is_no_suspicion_here() -> None:
    """A mask that cannot be read is the catalogue's matter: it gets no score."""
    table = seen(broken={"problem": "it is no image"})
    assert np.isnan(overall(scores(table))[-1])
    assert ranked(table, 4.0) == []


def test_nothing_at_all_is_no_error() -> None:
    """A dataset of which nothing could be measured has an empty list."""
    assert ranked(seen().iloc[:0], 4.0) == []
