"""What a reviewer is asked in Airflow, in Markdown: of one verdict always the same text."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from pipeline.dossiers.wording import FAMILIES, counted, family, interval, moment, service_level, value
from pipeline.files import sha256_bytes
from pipeline.gating.verdict import Decision, Verdict

OPTIONS = ("Approve", "Reject")  # as Airflow's operator for approvals has them
REASON = "reason"  # the field of the form beside them
SHORT = 16  # digits of a digest in the name of a file
# What Markdown takes for more than a letter, with the tables and the bare addresses that Airflow's pages know.
MARKUP = re.compile(r"([\\`*_\[\]<>#|~&@]|:(?=//)|(?<!\d)\.(?=\w))")
BLOCKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True)
class Question:
    """What a reviewer is asked.

    Attributes:
        subject: The headline; plain text.
        body: Markdown.
    """

    subject: str
    body: str

    @property
    def digest(self) -> str:
        """SHA-256 of the body in UTF-8."""
        return sha256_bytes(self.body.encode())


def question(verdict: Verdict, sequence: int, reports_url: str) -> Question:
    """The question whether a judged version may serve.

    Args:
        verdict: On that version.
        sequence: Number of the decision that holds it.
        reports_url: Where reports are served; empty where they are not.
    """
    subject = verdict.candidate
    parts = [
        _standing(verdict),
        *_blocking(verdict),
        "#### By class",
        _table(_by_class(verdict), verdict.resampled.level),
        "#### As a whole",
        _table(_others(verdict), verdict.resampled.level),
        _beside(verdict),
        _identity(verdict, sequence, reports_url),
    ]
    return Question(f"May {subject.name} version {subject.version} serve?", "\n\n".join(part for part in parts if part))


def dossier_path(verdict: Verdict) -> str:
    """Where the dossier of a verdict lies below the folder of reports: a place of its own for each verdict."""
    subject = verdict.candidate
    return f"dossiers/{subject.name}-{subject.version}-{verdict.digest()[:SHORT]}.html"


def dossier_url(verdict: Verdict, reports_url: str) -> str:
    """The address of the dossier of a verdict; empty where reports are not served."""
    return f"{reports_url.rstrip('/')}/{quote(dossier_path(verdict))}" if reports_url else ""


def plain(text: object) -> str:
    """A text that Markdown shows as it stands, on one line."""
    return MARKUP.sub(r"\\\1", BLOCKS.sub(" ", str(text)).strip())


def _standing(verdict: Verdict) -> str:
    subject, champion = verdict.candidate, verdict.champion
    outcome = "**passed**" if verdict.passed else "**did not pass**"
    rival = f"compared with the champion, version {champion.version}" if champion else "without a champion to compare"
    if verdict.alone:
        rival = "judged alone, not against the champion"
    return f"{plain(subject.name)} version {subject.version} {outcome} its gate, {rival}."


def _blocking(verdict: Verdict) -> list[str]:
    return ["\n".join(f"- {plain(each.why)}" for each in verdict.decisions if each.blocks)]


def _by_class(verdict: Verdict) -> list[tuple[str, Decision]]:
    """The claims about each class, in the order of the taxonomy."""
    found = []
    for name in verdict.class_names:
        mark = f"**{plain(name)}** (critical)" if name in verdict.critical_classes else plain(name)
        found += [(mark, each) for each in verdict.decisions if _class_of(each) == name]
    return found


def _others(verdict: Verdict) -> list[tuple[str, Decision]]:
    known = set(verdict.class_names)
    return [("", each) for each in verdict.decisions if _class_of(each) not in known]


def _class_of(decision: Decision) -> str | None:
    kind, _, rest = decision.slo.partition("/")
    return rest if kind in FAMILIES else None


def _table(rows: list[tuple[str, Decision]], level: float) -> str:
    if not rows:
        return "No service level."
    with_class = any(name for name, _ in rows)
    head = [*(["class"] if with_class else []), "measure", "value", f"{level:.0%} interval", "wanted", "outcome"]
    lines = [head, ["---"] * len(head)]
    lines += [[*([name] if with_class else []), *_cells(each, with_class=with_class)] for name, each in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(decision: Decision, *, with_class: bool) -> list[str]:
    sign = "at least" if decision.direction == ">=" else "at most"
    outcome = f"**{decision.outcome.value}, blocks**" if decision.blocks else decision.outcome.value
    return [
        _measure(decision) if with_class else plain(service_level(decision.slo)),
        plain(value(decision.value, decision.slo)),
        plain(interval(decision.low, decision.high, decision.slo)),
        f"{sign} {plain(value(decision.threshold, decision.slo))}",
        outcome,
    ]


def _measure(decision: Decision) -> str:
    words = {"iou": "IoU", "boundary_f": "Boundary F", "false_positive_rate": "False positive rate"}
    return words.get(family(decision.slo), "IoU, candidate minus champion")


def _beside(verdict: Verdict) -> str:
    lines = [plain(verdict.resampled.holds_for)]
    if verdict.acknowledged:
        lines.append(f"Known flaws of the holdout, acknowledged: {len(verdict.acknowledged)}; the dossier names them.")
    doubts = verdict.label_noise.doubts
    if doubts:
        reads = {True: "would pass", False: "would not pass", None: "was not judged"}
        without = reads[verdict.label_noise.passed_without]
        lines.append(
            f"Both models contradict the masks of {counted(len(doubts), 'image')}; without them the version {without}."
        )
    return "\n".join(f"- {line}" for line in lines if line)


def _identity(verdict: Verdict, sequence: int, reports_url: str) -> str:
    place = dossier_url(verdict, reports_url)
    lines = [f"[Read the dossier before you answer]({place})." if place else "Read the dossier before you answer."]
    lines.append("Say why in the field `reason`: an approval without a reason is refused.")
    subject = verdict.candidate
    facts = f"Judged {plain(moment(verdict.decided_at))}, decision {sequence} of the log."
    digests = f"Verdict `{verdict.digest()}`, graph `{subject.model_digest}`, holdout `{verdict.holdout_digest}`."
    return "\n\n".join(["  \n".join(lines), f"{facts}  \n{digests}"])
