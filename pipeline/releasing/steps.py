"""The steps of a release, in the order in which nothing can be lost.

Each can be repeated: what is done already is found done. A tag is set last but one, at a commit that names bytes which
were read back from the remote; whoever dies in between leaves work for the next call and no promise that does not hold.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.errors import OutageError, UserError
from pipeline.images import Limits
from pipeline.params import read_section
from pipeline.parts import read_index
from pipeline.provenance import author, dvc_hash
from pipeline.releasing.accepted import write_accepted
from pipeline.releasing.card import SCHEMA, Card, card_at, card_files, parse_card, write_card
from pipeline.releasing.comparison import Items, apart, compare_items
from pipeline.releasing.content import read_content
from pipeline.releasing.held_out import held_out_changes
from pipeline.releasing.judging import validate
from pipeline.releasing.making import CONFIG, PARAMS, TAXONOMY, Making, start
from pipeline.releasing.pointer import LOCK
from pipeline.releasing.reader import Release, open_release
from pipeline.releasing.rehearsal import rehearsal
from pipeline.releasing.storage import away, check_no_secret, ensure_remote, open_repo, open_storage
from pipeline.releasing.verification import Verifier, folder_objects, send_again
from pipeline.releasing.workspace import open_workspace
from pipeline.taxonomy import load_taxonomy

MEMORY = Path(".segloop/releases/verified.json")

Step = Callable[[Making], None]


def add(making: Making) -> None:
    """Records the dataset with DVC, and makes sure that it is what was judged.

    Raises:
        UserError: DVC refuses, or the dataset has changed meanwhile.
    """
    from dvc.exceptions import DvcException

    pointer = making.pointer
    if not pointer.by_stage:
        try:
            open_repo(making.root).add(str(making.root / pointer.dataset))
        except DvcException as error:
            raise UserError(f"`dvc add {pointer.dataset}` failed: {error}") from None
    found, judged = _recorded(making)
    if not found or found != judged:
        raise UserError(
            f"{pointer.dataset} changed while it was validated ({judged} was judged, {found} is there): something "
            "writes to it. Release again when it has finished."
        )
    making.folder_md5 = found


def look(making: Making) -> None:
    """Reads what is to be released, and finds out whether it is anything new."""
    taxonomy, stages = load_taxonomy(making.root / TAXONOMY), making.stages
    workspace = open_workspace(
        stages, making.paths.path, stages / making.paths.splits, taxonomy, making.folder_md5 or None
    )
    making.content = read_content(stages, workspace, taxonomy, making.root / PARAMS)
    last = card_at(making.git, making.last) if making.last else None
    if last and last.content_digest == making.content.digest:
        making.unchanged, making.tag, making.folder_md5 = True, making.last, last.dvc_md5
    elif making.last:
        making.changes = _changes(making, workspace)
        refuse_lost(making)


def refuse_lost(making: Making) -> None:
    """Refuses to leave items out that nobody removed: somebody's batch that was pulled by git, and not by DVC.

    Raises:
        UserError: Items of the last release are gone without a tombstone, and it was not asked for.
    """
    gone = set(making.changes.removed) if making.changes else set()
    if not gone or making.without_lost:
        return
    lost = sorted(gone - set(read_index(making.stages / making.paths.path, tombstones=True)["item_id"]))
    if lost:
        raise UserError(
            f"{len(lost)} items of {making.last} are not here, though nobody removed them, first '{lost[0]}'. Bring "
            f"them: dvc pull {making.paths.path}; or git restore {making.pointer.file}, then dvc checkout. To release "
            "without them on purpose: --without-lost."
        )


def push(making: Making) -> None:
    """Sends the dataset's objects to the remote, that of the release only.

    Raises:
        OutageError: The remote does not take them.
    """
    repo = open_repo(making.root)
    for line in ensure_remote(repo, making.params.remote):
        making.say(line)
    if making.unchanged:
        return  # what the remote has lost since is found and mended by the verification
    storage = open_storage(repo)
    with away("`dvc push`", storage):
        repo.push([str(making.root / making.pointer.dataset)], jobs=making.params.jobs)


def verify(making: Making) -> None:
    """Reads every object back from the remote that was not found unharmed before; mends what is not, once.

    Raises:
        UserError: An object is not unharmed in the cache either.
        OutageError: The remote does not keep what it is sent, or does not answer.
    """
    storage = open_storage(open_repo(making.root))
    objects = folder_objects(storage, making.folder_md5)
    verifier = Verifier(storage, making.root / MEMORY, making.params.jobs)
    faults = verifier.faults(objects)
    if faults:
        making.say(
            f"{len(faults)} of {len(objects)} objects are missing or corrupt on '{storage.name}': sending them again"
        )
        send_again(storage, faults)
        making.sent_again = len(faults)
        if left := verifier.faults(sorted(faults)):
            name, fault = next(iter(left.items()))
            raise OutageError(
                f"The DVC remote '{storage.name}' ({storage.url}) does not keep what it is sent: {len(left)} objects "
                f"are wrong after a second time, first {name} ({fault}). Nothing was tagged. Check that storage."
            )
    making.read_back = verifier.read_back
    making.say(
        f"verified {len(objects)} objects on '{storage.name}' ({storage.url}), {verifier.read_back} of them read back"
    )


def describe(making: Making) -> None:
    """Writes the release card and the digests of its items; a card that tells of the same release stays as it is."""
    if making.unchanged:
        return
    assert making.content is not None
    write_accepted(making.root, making.tag, making.content.accepted)
    card = _card(making)
    written = card_files(card.version)[0]
    there = making.root / written
    if there.exists() and card.same_release(parse_card(there.read_text(encoding="utf-8"))):
        return
    write_card(making.root, card)


def commit(making: Making) -> None:
    """Commits the files of the release and nothing else.

    Raises:
        UserError: Git refuses, a file is not as it was judged, or what was committed names other bytes than those that
            were verified.
    """
    if making.unchanged:
        return
    check_no_secret(making.root / CONFIG)
    _refuse_edited(making)
    making.git.commit(making.files, f"Release {making.tag}: {making.message}")
    pointer = making.pointer
    if pointer.md5(making.git.show("HEAD", pointer.file)) != making.folder_md5:
        raise UserError(f"{pointer.file} changed while the release was made: nothing was tagged. Release again.")
    _refuse_edited(making)  # by an editor, say, that came between the look and the commit


def _refuse_edited(making: Making) -> None:
    now = making.digests()
    if edited := sorted(str(file) for file in now.keys() | making.judged if now.get(file) != making.judged.get(file)):
        raise UserError(
            f"{', '.join(edited)} changed while the release was made, and nobody has judged the dataset with it: "
            "nothing was tagged. Release again."
        )


def set_tag(making: Making) -> None:
    """Sets the annotated tag at the commit."""
    if not making.unchanged:
        making.git.tag(making.tag, making.message)


def publish(making: Making) -> None:
    """Pushes the branch and every release's tag that the git remote lacks, where there is one and it is wanted.

    Raises:
        UserError: The remote has another release of this name, or refuses.
        OutageError: It does not answer.
    """
    git = making.git
    remote = git.remote()
    if remote is None:
        return
    there = git.remote_tags(remote)
    if there.get(making.tag, git.tag_sha(making.tag)) != git.tag_sha(making.tag):
        raise UserError(
            f"The git remote '{remote}' has another {making.tag} than this repository: somebody released at the same "
            f"time. To come after them, {making.way_out(remote)}"
        )
    lacking = [tag for tag in git.tags() if tag not in there]
    if lacking and making.kept_from_git:
        making.say(f"not pushed to the git remote '{remote}', as {making.kept_from_git} asks: {', '.join(lacking)}")
    elif lacking:
        git.push(remote, *lacking, behind=making.way_out(remote))
        making.say(f"pushed {', '.join(lacking)} to '{remote}'")


STEPS: tuple[Step, ...] = (validate, add, look, push, verify, describe, commit, set_tag, publish)


def make(making: Making, steps: Sequence[Step] = STEPS) -> None:
    """Makes a release, or finishes one.

    Args:
        making: What is asked for.
        steps: In order.
    """
    start(making)
    for step in steps:
        step(making)


def plan(making: Making) -> None:
    """Validates and looks; nothing in the workspace, in git or in DVC's cache becomes different."""
    start(making)
    with rehearsal(making.root, "validate") as stages:
        making.stages = stages
        making.say("validating aside: what DVC says of lock files and of pushing is said of there, not of here")
        validate(making)
        # Where DVC has recorded these very bytes already, parts that both have in common need not be read.
        found, judged = _recorded(making)
        cache = open_repo(making.root).cache.local
        making.folder_md5 = found if found and found == judged and cache.exists(found) else ""
        look(making)


def _recorded(making: Making) -> tuple[str | None, str | None]:
    """DVC's digest of the dataset's folder as git will have it, and that of what was judged."""
    pointer = making.pointer
    file = making.root / pointer.file
    found = pointer.md5(file.read_text(encoding="utf-8") if file.exists() else None)
    return found, dvc_hash(making.stages / LOCK, pointer.dataset.as_posix())


def _changes(making: Making, workspace: Release) -> Items | None:
    try:
        last = open_release(making.root, making.last)
        making.purged = len(last.losses.items)
        for sentence in last.losses.sentences:
            making.say(f"{making.last} is no longer whole: {sentence}")
        limits = read_section(Limits, "limits", making.root / PARAMS)
        found = apart(last, workspace, compare_items(last, workspace), limits)
    except UserError as error:
        making.say(f"not compared with {making.last}: {error}")
        return None
    making.held_out = held_out_changes(last, workspace, found)
    return found


def _card(making: Making) -> Card:
    assert making.content is not None
    changed = making.changes
    more: dict[str, Any] = {"purged": making.purged} if making.purged else {}
    more |= {"holdout": making.held_out} if making.held_out else {}
    folder = making.root / making.paths.path
    listed = [file for file in folder.rglob("*") if file.is_file()]
    return Card(
        schema=SCHEMA,
        version=making.tag,
        message=making.message,
        author=author(making.root),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        parent=making.git.head(),
        dataset=making.paths.path.as_posix(),
        dvc_md5=making.folder_md5,
        bytes=sum(file.stat().st_size for file in listed),
        parts=sum(file.name.startswith("part-") for file in listed),
        content_digest=making.content.digest,
        changes={"since": making.last if changed else None, **(changed.counts if changed else {}), **more},
        content=making.content.facts,
    )
