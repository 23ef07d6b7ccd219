"""What the decision log tells about a version, and what of it no reader may overlook."""

from collections.abc import Mapping, Sequence

from pipeline.decisions.entry import Entry, Kind
from pipeline.decisions.line import part
from pipeline.decisions.states import State, champion, state_of
from pipeline.dossiers.inputs import LogEntry

STOOD: Mapping[State, str] = {
    State.REGISTERED: "No gate had judged it.",
    State.BLOCKED: "The gate had blocked it.",
    State.GATED: "It had passed the gate, and nobody had reviewed it.",
    State.REVIEW_ASKED: "It had passed the gate, and a review was asked for but not given.",
    State.APPROVED: "It was approved, but whether the approval still held was not checked.",
    State.REJECTED: "A reviewer had rejected it.",
    State.PREVIOUS: "It had served before and was not judged anew.",
    State.RETIRED: "It had served before and was not judged anew.",
}


def log_entries(entries: Sequence[Entry], version: int) -> list[LogEntry]:
    """The decisions about a version, and those that took its place away, oldest first.

    Args:
        entries: Of one model, by sequence number.
        version: The version.
    """
    found = []
    for number, entry in enumerate(entries):
        before = entries[:number]
        if entry.version == version or _takes_place(entry, before, version):
            found.append(
                LogEntry(entry.at, _what(entry, version), entry.actor, entry.note, _alarm(entry, before, version))
            )
    return found


def _takes_place(entry: Entry, before: Sequence[Entry], version: int) -> bool:
    return entry.kind == Kind.ROLLBACK and champion(before) == version


def _what(entry: Entry, version: int) -> str:
    word = str(entry.kind).replace("_", " ")
    if entry.kind == Kind.REVIEW:
        return f"{word}: {part(entry, 'statement').get('decision', 'unknown')}"
    if entry.kind == Kind.PROMOTION:
        return f"{word} as {_scope(entry)}"
    return word if entry.version == version else f"{word} to version {entry.version}"


def _alarm(entry: Entry, before: Sequence[Entry], version: int) -> str:
    if entry.version != version:
        return f"Rolled back: version {entry.version} took its place."
    if not entry.override:
        return ""
    if entry.kind == Kind.ROLLBACK:
        return "Override: it serves again by a rollback, though it was promoted by force."
    stood = STOOD.get(state_of(before, version), "")
    return f"Override: promoted as {_scope(entry)} by force. {stood}".strip()


def _scope(entry: Entry) -> str:
    return str(part(entry, "certificate").get("scope", "unknown"))
