"""The dossier's drawings."""

import xml.etree.ElementTree as ET

import pandas as pd
import pytest

from pipeline.dossiers.charts import SHARES, Mark, Scale, Threshold, interval_plot, reliability_plot, spanning


def places(drawing: str, tag: str, style: str, key: str) -> list[float]:
    """An attribute of all elements of a kind."""
    return [float(each.attrib[key]) for each in ET.fromstring(drawing).iter(tag) if each.get("class") == style]  # noqa: S314 - our own drawing


def test_values_lie_in_proportion_and_never_outside() -> None:
    """A scale maps its ends to the drawing's ends and keeps what lies beyond inside."""
    scale = Scale(0.0, 2.0)
    assert scale.x(1.0) == pytest.approx((scale.x(0.0) + scale.x(2.0)) / 2)
    assert scale.x(5.0) == scale.x(2.0)


def test_an_interval_spans_its_bounds() -> None:
    """The line reaches from the lower to the upper end, the disc sits at the value."""
    drawing = interval_plot([Mark("candidate", 0.5, 0.25, 0.75)], SHARES)
    assert places(drawing, "circle", "candidate", "cx") == [SHARES.x(0.5)]
    assert min(places(drawing, "line", "candidate", "x1")) == SHARES.x(0.25)
    assert max(places(drawing, "line", "candidate", "x2")) == SHARES.x(0.75)


@pytest.mark.parametrize(("direction", "start", "end"), [(">=", 0.4, 1.0), ("<=", 0.0, 0.4)])
def test_the_good_side_of_a_threshold_is_shaded(direction: str, start: float, end: float) -> None:
    """It lies above the limit where values shall be high, and below where they shall be low."""
    drawing = interval_plot([], SHARES, Threshold(0.4, direction))
    assert places(drawing, "line", "limit", "x1") == [SHARES.x(0.4)]
    assert places(drawing, "rect", "good", "x") == [SHARES.x(start)]
    assert places(drawing, "rect", "good", "width")[0] == pytest.approx(SHARES.x(end) - SHARES.x(start), abs=0.11)


def test_a_scale_of_its_own_holds_every_value_and_zero() -> None:
    """Missing values are left out; a lone zero still has room."""
    scale = spanning([-0.02, None, 0.01])
    assert scale.low < -0.02 < 0.01 < scale.high
    assert spanning([0.0]).high > 0


def test_empty_bins_are_not_drawn() -> None:
    """The reliability diagram has a point for each bin that holds pixels."""
    table = pd.DataFrame({"px": [3, 0, 5], "confidence": [0.2, float("nan"), 0.9], "accuracy": [0.1, float("nan"), 1]})
    drawing = reliability_plot([("candidate", table)], "a <label>")
    assert len(places(drawing, "circle", "candidate", "cx")) == 2
    assert "a &lt;label&gt;" in drawing
