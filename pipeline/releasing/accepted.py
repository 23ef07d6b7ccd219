"""The items that a release accepted, as digests beside its card: what a training on it is compared with, item by item.

Digests alone, since git never forgets, and an item's name may have to go one day.
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.files import digest_json, write_atomic
from pipeline.releasing.card import FOLDER
from pipeline.releasing.git import Git
from pipeline.releasing.purged import item_digest

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["revision", "image_sha256", "mask_sha256", "split"]
HEADER = ["item", "content"]
DIGITS = 16  # two of a million items agree by chance once in some ten million releases


@dataclass(frozen=True)
class Compared:
    """Items of now beside those that a release accepted.

    Attributes:
        same: How many are the same: revision, image, mask and split.
        purged: How many are gone since they were purged.
        lost: Digests of the names of those that are gone for another reason.
        changed: Names of those with another revision, image, mask or split.
        added: Names of those that the release did not accept.
    """

    same: int
    purged: int
    lost: list[str]
    changed: list[str]
    added: list[str]


def accepted_file(tag: str) -> Path:
    """The file with the digests."""
    return FOLDER / f"{tag.removeprefix('data/')}.items.csv"


def accepted_digests(items: "pd.DataFrame") -> dict[str, str]:
    """The digest of an item's content by that of its name, sorted.

    Args:
        items: With `item_id`, `revision`, `image_sha256`, `mask_sha256`, `split`.
    """
    contents = items[COLUMNS].astype(str).to_numpy().tolist()
    pairs = zip(items["item_id"].map(short), (digest_json(each)[:DIGITS] for each in contents), strict=True)
    return dict(sorted(pairs))


def short(item_id: str) -> str:
    """The digest of a name, cut short."""
    return item_digest(item_id)[:DIGITS]


def write_accepted(root: Path, tag: str, digests: Mapping[str, str]) -> None:
    """Writes the file of a release."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([HEADER, *digests.items()])
    write_atomic(root / accepted_file(tag), buffer.getvalue())


def accepted_at(git: Git, tag: str) -> dict[str, str] | None:
    """The digests of a release, as its tag has them; None where it keeps none."""
    text = git.show(tag, accepted_file(tag))
    rows = list(csv.reader((text or "").splitlines()))
    return {str(item): str(content) for item, content in rows[1:]} if rows[:1] == [HEADER] else None


def compare_accepted(then: Mapping[str, str], now: "pd.DataFrame", purged: Mapping[str, str]) -> Compared:
    """Compares the items of now with those that a release accepted.

    Args:
        then: What `accepted_at` found.
        now: The accepted items of now, as for `accepted_digests`.
        purged: What is known of purged items, by the digest of their names.
    """
    names = {short(name): name for name in now["item_id"]}
    found, gone = accepted_digests(now), {digest[:DIGITS] for digest in purged}
    missing = [item for item in then if item not in found]
    return Compared(
        same=sum(then.get(item) == content for item, content in found.items()),
        purged=sum(item in gone for item in missing),
        lost=[item for item in missing if item not in gone],
        changed=[names[item] for item, content in found.items() if then.get(item, content) != content],
        added=[names[item] for item in found if item not in then],
    )
