"""A release in the making: what was asked for, what is found on the way, and whether the world is ready for it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from pipeline.catalog import CatalogParams
from pipeline.errors import UserError
from pipeline.params import Section, read_section
from pipeline.releasing.card import card_files
from pipeline.releasing.comparison import Items
from pipeline.releasing.content import Content
from pipeline.releasing.git import Git, tag_name, tag_number
from pipeline.releasing.pointer import GRAPH, LOCK, Pointer, find_pointer
from pipeline.releasing.purged import RECORD
from pipeline.releasing.storage import check_no_secret, open_repo

if TYPE_CHECKING:
    from pipeline.dataset import DatasetParams

PARAMS, TAXONOMY, CONFIG = Path("params.yaml"), Path("data/taxonomy.yaml"), Path(".dvc/config")
DECISIONS = Path("data/label_decisions.csv")  # what reviewers of masks decided, where there is any


class ReleaseParams(Section):
    """Section `release`.

    Attributes:
        remote: Folder or URL that becomes DVC's default remote where none is configured.
        jobs: Objects sent or read back at a time.
    """

    remote: str = Field(min_length=1)
    jobs: int = Field(ge=1)


@dataclass
class Making:
    """A release in the making: what was asked for, and what the steps have found.

    Attributes:
        root: The workspace.
        params: Section `release`.
        paths: Section `dataset`.
        message: What the tag will say.
        no_push: Leave the git remote as it is.
        say: Takes a line for the terminal.
        git: The repository.
        last: Tag of the last release; empty before the first.
        lacking: Tags of earlier releases that the git remote does not have.
        tag: Tag that is made, or the last one where nothing has changed.
        unchanged: The content is that of the last release.
        folder_md5: DVC's digest of the dataset's folder.
        content: What is released.
        changes: Against the last release; None before the first.
        purged: Items that the last release has lost since.
        sent_again: Objects that had to be put right on the remote.
        read_back: Objects that were read back from it.
    """

    root: Path
    params: ReleaseParams
    paths: "DatasetParams"
    message: str
    no_push: bool = False
    say: Callable[[str], None] = print
    git: Git = field(init=False)
    last: str = ""
    lacking: list[str] = field(default_factory=list)
    tag: str = ""
    unchanged: bool = False
    folder_md5: str = ""
    content: Content | None = None
    changes: Items | None = None
    purged: int = 0
    sent_again: int = 0
    read_back: int = 0

    def __post_init__(self) -> None:
        """Opens the repository."""
        self.git = Git(self.root)

    @property
    def pointer(self) -> Pointer:
        """How DVC keeps the dataset."""
        return find_pointer(open_repo(self.root), self.paths.path)

    @property
    def files(self) -> list[Path]:
        """The files of the release, as far as they are there; a ledger inside the dataset is DVC's."""
        ledger = [] if self.paths.splits.is_relative_to(self.paths.path) else [self.paths.splits]
        acts = [DECISIONS, RECORD]
        pointer = self.pointer.files
        # The validation has brought it up to date. Beside an edited dvc.yaml it says what no commit would explain.
        lock = [LOCK] if LOCK not in pointer and self.git.keeps(LOCK) and self.git.as_committed(GRAPH) else []
        custom = read_section(CatalogParams, "catalog", self.root / PARAMS).custom  # decides what is accepted
        own = [custom] if custom else []
        listed = [*pointer, *lock, *ledger, TAXONOMY, PARAMS, CONFIG, *own, *acts, *card_files(self.tag)]
        return [file for file in listed if (self.root / file).exists()]


def start(making: Making) -> None:
    """Looks before anything is done: whether git can commit, and which number is next.

    Raises:
        UserError: Git is not ready, or somebody released what is not here yet.
        OutageError: The git remote does not answer.
    """
    git = making.git
    git.check_ready()
    check_no_secret(making.root / CONFIG)
    tags = git.tags()
    if remote := git.remote():
        there = git.remote_tags(remote)
        unseen = sorted(set(there) - set(tags), key=tag_number)
        if unseen:
            raise UserError(
                f"The git remote '{remote}' has {', '.join(unseen)}, which is not here: run `git pull --tags`."
            )
        making.lacking = [tag for tag in tags if tag not in there]
    making.last = tags[-1] if tags else ""
    making.tag = tag_name(tag_number(making.last) + 1)
