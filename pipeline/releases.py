"""Action: prints the releases of the dataset."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.command import run
from pipeline.errors import OutageError
from pipeline.releasing.card import card_at
from pipeline.releasing.git import Git
from pipeline.releasing.purged import RECORD, read_record

NOT_KNOWN, NOT_PUSHED = "?", "no"


def main() -> None:
    """Print the releases of the dataset.

    Example: segloop releases
    """
    git = Git(Path.cwd())
    tags = git.tags()
    if not tags:
        print('there is no release yet: segloop release --message "..."')
        return
    # What users wrote is printed as it is: brackets are no markup, colons no pictograms.
    there = pushed(git)
    Console(markup=False, emoji=False, highlight=False).print(table(git, list(reversed(tags)), there))
    for purge in read_record(Path.cwd() / RECORD).purges:
        if purge.releases:
            print(f"{', '.join(purge.releases)} no longer whole: {len(purge.items)} item(s) {purge.reason}")
    lacking = [tag for tag in tags if there is not None and tag not in there]
    if lacking:
        print(f"in this repository only: {', '.join(lacking)}. `segloop release` pushes it, unless told not to")


def pushed(git: Git) -> dict[str, str] | None:
    """The tags on the git remote with their digests; None where it does not answer or there is none."""
    remote = git.remote()
    if remote is None:
        return None
    try:
        return git.remote_tags(remote)
    except OutageError as error:
        print(f"not known what is pushed: {error}")
        return None


def table(git: Git, tags: list[str], there: dict[str, str] | None) -> Table:
    """A row a release."""
    remote = git.remote()
    result = Table("release", "date", "message", "items", "groups", "pushed")
    for tag in tags:
        card = card_at(git, tag)
        items, groups = (str(card.content[name]) if card else NOT_KNOWN for name in ("items", "groups"))
        state = "no git remote" if remote is None else _state(git, tag, there)
        message = git.tag_message(tag).splitlines()[:1]
        result.add_row(tag, git.tag_date(tag), *(message or [""]), items, groups, state)
    return result


def _state(git: Git, tag: str, there: dict[str, str] | None) -> str:
    if there is None:
        return NOT_KNOWN
    if tag not in there:
        return NOT_PUSHED
    return "yes" if there[tag] == git.tag_sha(tag) else "another one"


if __name__ == "__main__":
    run(main)
