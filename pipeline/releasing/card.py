"""The release card: what a release holds and how it came to be, as JSON for machines and Markdown for people."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.files import write_atomic, write_json
from pipeline.releasing.git import Git

SCHEMA = 1
FOLDER = Path("data/releases")
# What a word alone would leave open.
WORDS = {"relabelled": "relabelled by people", "migrated": "rewritten by a taxonomy migration alone"}


@dataclass(frozen=True)
class Card:
    """What is said of a release.

    Attributes:
        schema: Version of this list of facts.
        version: The tag.
        message: What whoever released it says of it.
        author: Who released it.
        created_at: When, UTC.
        parent: The commit that the release's own commit comes after.
        dataset: The dataset's path in the workspace.
        dvc_md5: DVC's digest of its folder.
        bytes: Size of its files.
        parts: How many parts it has.
        content_digest: Over every row, the taxonomy and the acknowledged flaws.
        changes: Items added, removed, relabelled, replaced, moved and migrated, and `since` which release. Relabelled
            are those that somebody drew anew; migrated are those whose masks a taxonomy migration alone rewrote.
            `holdout` has the counts of the held-out items.
        content: Items, groups, classes, splits, annotators, sources, sampling, validation, quarantine.
    """

    schema: int
    version: str
    message: str
    author: str
    created_at: str
    parent: str
    dataset: str
    dvc_md5: str
    bytes: int
    parts: int
    content_digest: str
    changes: dict[str, Any]
    content: dict[str, Any]

    def same_release(self, other: "Card | None") -> bool:
        """Whether another card tells of the same release: all but who wrote it, when, and after which commit."""
        left = {"author": self.author, "created_at": self.created_at, "parent": self.parent}
        return other is not None and asdict(other) | left == asdict(self)


def card_files(tag: str) -> tuple[Path, Path]:
    """The card's files: JSON and Markdown."""
    name = tag.removeprefix("data/")
    return FOLDER / f"{name}.json", FOLDER / f"{name}.md"


def parse_card(text: str | None) -> Card | None:
    """A card from its JSON; None where there is none, or none that this version understands."""
    try:
        content = json.loads(text or "")
        return Card(**content) if content.get("schema") == SCHEMA else None
    except (ValueError, TypeError, AttributeError):
        return None


def card_at(git: Git, tag: str) -> Card | None:
    """The card of a release, as its tag has it."""
    return parse_card(git.show(tag, card_files(tag)[0]))


def write_card(root: Path, card: Card) -> None:
    """Writes both files."""
    as_json, as_markdown = card_files(card.version)
    write_json(root / as_json, asdict(card))
    write_atomic(root / as_markdown, markdown(card))


def markdown(card: Card) -> str:
    """The card as people read it."""
    content = card.content
    lines = [
        f"# {card.version}",
        "",
        *(f"> {line}" for line in _safe(card.message).splitlines()),
        "",
        f"Released by {_safe(card.author)} at {card.created_at}, after commit `{card.parent}`.",
        "",
        *_table(("", ""), _facts(card)),
        *_section(f"Changes since {card.changes['since'] or 'a last release'}", _changes(card)),
        *_section("Classes, by share of labelled pixels", _classes(content)),
        *_section("Splits", [("split", "items", "groups", "accepted"), *_splits(content)]),
        *_section("Annotators, by items", _counted("annotator", content["annotators"])),
        *_section("Sources, by items", _counted("source", content["sources"])),
        *_section("Sampling, by items", _counted("sampling", content["sampling"])),
        *_section("Quarantine, by reason", _counted("check", content["quarantine"])),
    ]
    return "\n".join(lines) + "\n"


def _facts(card: Card) -> list[tuple[str, str]]:
    content, validation = card.content, card.content["validation"]
    flaws = ", ".join(f"{each['check']} ({each['failed']})" for each in validation["acknowledged"])
    return [
        ("items", f"{content['items']:,} in {content['groups']:,} groups"),
        ("rows", f"{content['rows']:,}, of them {content['superseded']:,} superseded revisions"),
        ("removed items", f"{content['removed']:,}"),
        ("taxonomy", f"version {content['taxonomy_version']}"),
        ("validation", "passed" if validation["passed"] else "failed"),
        ("acknowledged flaws", flaws or "none"),
        ("accepted", f"{validation['accepted']:,}; {validation['quarantined']:,} in quarantine"),
        ("content digest", f"`{card.content_digest}`"),
        ("digest of the accepted items", f"`{content.get('dataset_digest', 'not recorded')}`"),
        ("dataset", f"`{card.dataset}`, {card.parts:,} parts, {card.bytes:,} bytes"),
        ("DVC", f"`{card.dvc_md5}`"),
    ]


def _changes(card: Card) -> list[tuple[str, ...]]:
    counts = {name: count for name, count in card.changes.items() if name not in {"since", "holdout"}}
    counts |= {f"{name} in the holdout": count for name, count in card.changes.get("holdout", {}).items()}
    rows = [(WORDS.get(name, name), f"{count:,}") for name, count in counts.items()]
    return [("items", "count"), *rows] if card.changes["since"] else []


def _classes(content: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = [(each["name"], f"{each['share']:.2%}", f"{each['px']:,}") for each in content["classes"]]
    return [
        ("class", "share", "pixels"),
        *rows,
        ("void", f"{content['void_share']:.2%} of all", f"{content['void_px']:,}"),
    ]


def _splits(content: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (name, *(f"{counts[what]:,}" for what in ("items", "groups", "accepted")))
        for name, counts in content["splits"].items()
    ]


def _counted(what: str, counts: dict[str, int]) -> list[tuple[str, ...]]:
    return [(what, "items"), *((name, f"{count:,}") for name, count in counts.items())] if counts else []


def _section(title: str, rows: list[tuple[str, ...]]) -> list[str]:
    return ["", f"## {title}", "", *(_table(rows[0], rows[1:]) if rows else ["None."])]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(_safe(cell) if "`" not in cell else cell for cell in line) + " |" for line in lines]


def _safe(text: str) -> str:
    """Text that cannot end a cell or begin a tag."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
