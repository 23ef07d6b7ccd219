"""Whether the items that were prepared are those that a release accepted, one by one where it is no longer whole."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import VerdictError
from pipeline.files import read_json
from pipeline.prepare import accepted_items
from pipeline.releasing.accepted import accepted_at, compare_accepted, short
from pipeline.releasing.card import card_at
from pipeline.releasing.content import CATALOG, VALIDATION
from pipeline.releasing.git import Git
from pipeline.releasing.reader import Release

TILES = Path("data/tiles/tiles.json")


def check_same_items(workspace: Path, root: Path, release: Release) -> str:
    """Compares the items that were prepared with those that the release accepted.

    Returns:
        What was found, as a sentence.

    Raises:
        VerdictError: They are others, and no purge explains it.
    """
    card = card_at(Git(root), release.name)
    promised = card.content.get("dataset_digest") if card else None
    found = read_json(workspace / TILES, "run `dvc repro prepare`")["dataset_digest"]
    if promised == found:
        return f"prepared exactly the items that {release.name} accepted ({found[:12]})"
    if promised is None:
        return f"{release.name} has no card that says which items it accepted; prepared {found[:12]}"
    if not release.losses.sentences:
        raise VerdictError(
            f"{release.name} accepted the items {promised[:12]}, but {workspace} prepared {found[:12]}: today's code "
            "or params (section `validate`) judge differently. Take those of the release: --code then."
        )
    reasons = "; ".join(release.losses.sentences)
    then = accepted_at(Git(root), release.name)
    if then is None:
        return (
            f"not what {release.name} accepted, since it is no longer whole: {reasons}. It was made before releases "
            "kept a digest of each item, so nobody can say whether all others are the same"
        )
    return _without_purged(workspace, release, then, reasons)


def _without_purged(workspace: Path, release: Release, then: Mapping[str, str], reasons: str) -> str:
    """Compares a release that is no longer whole item by item.

    Raises:
        VerdictError: More than the purged items differ.
    """
    now = accepted_items(workspace / CATALOG, workspace / VALIDATION)
    found = compare_accepted(then, now.rename(columns={"sha256": "image_sha256"}), release.losses.items)
    known = {short(name): str(name) for name in release.index["item_id"]}
    lost = [known.get(item, f"(name unknown, digest {item})") for item in found.lost]
    differing = {"not accepted any more": lost, "different": found.changed, "not accepted then": found.added}
    told = [f"{len(names)} {what}, first {names[0]!r}" for what, names in differing.items() if names]
    if told:
        raise VerdictError(
            f"Beside the items that were purged ({reasons}), {workspace} prepared others than {release.name} accepted: "
            f"{'; '.join(told)}. Today's code or params (section `validate`) judge differently. Take those of the "
            "release: --code then."
        )
    return (
        f"prepared {found.same} of the {len(then)} items that {release.name} accepted, each the same; {found.purged} "
        f"are missing since they were purged: {reasons}"
    )
