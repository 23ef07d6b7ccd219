"""The gate's decisions as rows of the page, what blocks first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from pipeline.dossiers.charts import SHARES, Mark, Threshold, interval_plot, spanning
from pipeline.dossiers.wording import ON_SHARES, counted, family, interval, service_level, value
from pipeline.gating.verdict import Decision, Outcome, Verdict

State = Literal["blocked", "failed", "unsure", "passed"]

ORDER: Sequence[State] = ("blocked", "failed", "unsure", "passed")
WORDS = {
    "blocked": "blocks",
    "failed": "failed, does not block",
    "unsure": "insufficient evidence, does not block",
    "passed": "pass",
}


@dataclass(frozen=True)
class DecisionRow:
    """A service level.

    Attributes:
        name: In words.
        slo: As the settings name it.
        critical: It concerns a critical class.
        state: For its style and order.
        outcome: In words.
        value: Of the candidate.
        interval: Its interval.
        wanted: The threshold.
        plot: All of these, drawn.
        why: A sentence.
        support: What it rests on.
    """

    name: str
    slo: str
    critical: bool
    state: State
    outcome: str
    value: str
    interval: str
    wanted: str
    plot: Markup
    why: str
    support: str


def decision_rows(verdict: Verdict) -> list[DecisionRow]:
    """Every decision: blocking ones first, then what did not pass, then what passed; critical ones first in each."""
    rows = [_row(each) for each in verdict.decisions]
    return sorted(rows, key=lambda row: (ORDER.index(row.state), not row.critical))


def _row(decision: Decision) -> DecisionRow:
    state = _state(decision)
    outcome = WORDS[state]
    if state == "blocked" and decision.outcome is Outcome.INSUFFICIENT:
        outcome = "insufficient evidence, blocks"
    elif state == "blocked":
        outcome = "fail, blocks"
    sign = "\N{GREATER-THAN OR EQUAL TO}" if decision.direction == ">=" else "\N{LESS-THAN OR EQUAL TO}"
    return DecisionRow(
        name=service_level(decision.slo),
        slo=decision.slo,
        critical=decision.critical,
        state=state,
        outcome=outcome,
        value=value(decision.value, decision.slo),
        interval=interval(decision.low, decision.high, decision.slo),
        wanted=f"{sign} {value(decision.threshold, decision.slo)}",
        plot=_plot(decision),
        why=decision.why,
        support=_support(decision),
    )


def _state(decision: Decision) -> State:
    if decision.blocks:
        return "blocked"
    return {Outcome.PASS: "passed", Outcome.FAIL: "failed", Outcome.INSUFFICIENT: "unsure"}[decision.outcome]  # type: ignore[return-value]


def _plot(decision: Decision) -> Markup:
    on_shares = family(decision.slo) in ON_SHARES
    values = (decision.value, decision.low, decision.high, decision.threshold)
    scale = SHARES if on_shares else spanning(values)
    marks = [] if decision.value is None else [Mark("candidate", decision.value, decision.low, decision.high)]
    return interval_plot(marks, scale, Threshold(decision.threshold, decision.direction))


def _support(decision: Decision) -> str:
    support = decision.support
    if not support.images:
        return ""
    return f"{counted(support.images, 'image')}, {counted(support.groups, 'group')}, {support.pixels:,} px"
