"""Tells a gate's verdict to a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.gating.verdict import Decision, Outcome, Verdict
from pipeline.outputs import short

COLOURS = {Outcome.PASS: "green", Outcome.FAIL: "bold red", Outcome.INSUFFICIENT: "yellow"}
MOST_DOUBTS = 5


def print_verdict(verdict: Verdict, *, judged_before: bool = False) -> None:
    """Prints the verdict: a table of every service level, then what blocks and why, then what to know beside it."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(table(verdict))
    for line in notes(verdict, judged_before=judged_before):
        console.print(line, markup=False)
    colour = "green" if verdict.passed else "bold red"
    subject = verdict.candidate
    console.print(f"{subject.name} version {subject.version} {verdict.summary()}", style=colour, markup=False)


def table(verdict: Verdict) -> Table:
    """A row for each service level, the blocking ones first."""
    result = Table("service level", "value", f"{verdict.resampled.level:.0%} interval", "wanted", "groups", "outcome")
    result.columns[0].overflow = "fold"
    for each in sorted(verdict.decisions, key=lambda decision: not decision.blocks):
        outcome = f"{each.outcome.value}{', blocks' if each.blocks else ''}"
        result.add_row(
            escape(f"{each.slo}{' (critical)' if each.critical else ''}"),
            number(each.value),
            f"{number(each.low)} to {number(each.high)}" if each.low is not None else "",
            f"{each.direction} {each.threshold:g}",
            str(each.support.groups) if each.low is not None else "",
            f"[{COLOURS[each.outcome]}]{outcome}[/]",
        )
    return result


def notes(verdict: Verdict, *, judged_before: bool) -> list[str]:
    """Sentences beside the table."""
    champion = verdict.champion
    lines = [each.why for each in verdict.decisions if each.blocks]
    lines.append(verdict.resampled.holds_for)
    if verdict.alone:
        lines.append("Judged alone, not against the champion: only an override (`segloop promote --force`) goes on.")
    elif champion is None:
        lines.append("There is no champion yet: this would be a first promotion, judged by its own service levels.")
    else:
        lines.append(f"Compared with the champion, version {champion.version}, on the same images.")
    measured = [each for each in (verdict.candidate, champion) if each is not None and each.measured]
    lines += [f"Version {each.version} was measured anew, on today's holdout." for each in measured]
    if verdict.acknowledged:
        lines.append(f"Known flaws of the holdout, acknowledged: {_acknowledged(verdict)}.")
    lines += _doubts(verdict)
    said = "Judged before; nothing has changed since" if judged_before else "Judged"
    lines.append(f"{said} {verdict.decided_at}, verdict {short(verdict.digest())}.")
    return lines


def number(value: float | None) -> str:
    """A figure for people: three digits for a score, one for what is larger; a dash where it is undefined."""
    if value is None:
        return "-"
    return f"{value:.3f}" if abs(value) <= 1 else f"{value:.1f}"


def blocking(verdict: Verdict) -> list[Decision]:
    """The decisions that block."""
    return [each for each in verdict.decisions if each.blocks]


def _acknowledged(verdict: Verdict) -> str:
    return ", ".join(
        str(each.get("check", each)) if isinstance(each, dict) else str(each) for each in verdict.acknowledged
    )


def _doubts(verdict: Verdict) -> list[str]:
    noise = verdict.label_noise
    if not noise.doubts:
        return []
    names = ", ".join(f"{doubt.item_id} ({doubt.share:.0%})" for doubt in noise.doubts[:MOST_DOUBTS])
    more = f" and {len(noise.doubts) - MOST_DOUBTS} more" if len(noise.doubts) > MOST_DOUBTS else ""
    lines = [f"Masks that both models contradict with confidence: {names}{more}."]
    if noise.passed_without is not None:
        reads = "pass" if noise.passed_without else "not pass"
        changed = f", and these levels would end otherwise: {', '.join(noise.changed_without)}"
        lines.append(
            f"The verdict counts them. Without them the version would {reads}"
            f"{changed if noise.changed_without else ''}."
        )
    return lines
