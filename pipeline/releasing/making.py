"""A release in the making: what was asked for, what is found on the way, and whether the world is ready for it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from pipeline.catalog import CatalogParams
from pipeline.errors import UserError
from pipeline.files import sha256_file
from pipeline.params import Section, read_section, read_yaml
from pipeline.releasing.accepted import accepted_file
from pipeline.releasing.card import card_files
from pipeline.releasing.comparison import Items
from pipeline.releasing.content import Content
from pipeline.releasing.git import Git, tag_name, tag_number
from pipeline.releasing.pointer import GRAPH, LOCK, Pointer, find_pointer
from pipeline.releasing.purged import RECORD
from pipeline.releasing.storage import check_no_secret, open_repo, refuse_absent_remotes

if TYPE_CHECKING:
    from pipeline.dataset import DatasetParams

PARAMS, TAXONOMY, CONFIG = Path("params.yaml"), Path("data/taxonomy.yaml"), Path(".dvc/config")
DECISIONS = Path("data/label_decisions.csv")  # what reviewers of masks decided, where there is any


class ReleaseParams(Section):
    """Section `release`.

    Attributes:
        remote: Folder or URL that becomes DVC's default remote where none is configured.
        jobs: Objects sent or read back at a time.
        push_git: Push branch and tags to the git remote; false makes every release as one with `--no-push`.
    """

    remote: str = Field(min_length=1)
    jobs: int = Field(ge=1)
    push_git: bool = True


@dataclass
class Making:
    """A release in the making: what was asked for, and what the steps have found.

    Attributes:
        root: The workspace.
        params: Section `release`.
        paths: Section `dataset`.
        message: What the tag will say.
        no_push: Leave the git remote as it is, also where the params would push.
        without_lost: Leave items out that are gone though nobody removed them.
        say: Takes a line for the terminal.
        git: The repository.
        stages: Where the stages ran: the workspace, or the folder of a rehearsal.
        last: Tag of the last release; empty before the first.
        lacking: Tags of earlier releases that the git remote does not have.
        tag: Tag that is made, or the last one where nothing has changed.
        unchanged: The content is that of the last release.
        folder_md5: DVC's digest of the dataset's folder.
        content: What is released.
        judged: The digests of what the release takes as it finds it, as they were when the validation began.
        changes: Against the last release; None before the first.
        held_out: What these changes are in the holdout, by kind.
        purged: Items that the last release has lost since.
        sent_again: Objects that had to be put right on the remote.
        read_back: Objects that were read back from it.
    """

    root: Path
    params: ReleaseParams
    paths: "DatasetParams"
    message: str
    no_push: bool = False
    without_lost: bool = False
    say: Callable[[str], None] = print
    git: Git = field(init=False)
    stages: Path = field(init=False)
    last: str = ""
    lacking: list[str] = field(default_factory=list)
    tag: str = ""
    unchanged: bool = False
    folder_md5: str = ""
    content: Content | None = None
    judged: dict[Path, str] = field(default_factory=dict)
    changes: Items | None = None
    held_out: dict[str, int] = field(default_factory=dict)
    purged: int = 0
    sent_again: int = 0
    read_back: int = 0

    def __post_init__(self) -> None:
        """Opens the repository."""
        self.git, self.stages = Git(self.root), self.root

    @property
    def kept_from_git(self) -> str:
        """What keeps the release from the git remote; empty where nothing does."""
        if self.no_push:
            return "--no-push"
        return "" if self.params.push_git else "release.push_git"

    @property
    def rehearsed(self) -> bool:
        """Whether the stages run elsewhere, so that nothing here becomes different."""
        return self.stages != self.root

    @property
    def pointer(self) -> Pointer:
        """How DVC keeps the dataset."""
        return find_pointer(open_repo(self.root), self.paths.path)

    @property
    def files(self) -> list[Path]:
        """The files of the release, as far as they are there; a ledger inside the dataset is DVC's."""
        ledger = [] if self.paths.splits.is_relative_to(self.paths.path) else [self.paths.splits]
        acts = [DECISIONS, RECORD, *self.taken]
        told = [*card_files(self.tag), accepted_file(self.tag)]
        pointer = self.pointer.files
        # The validation has brought it up to date. Beside an edited dvc.yaml it says what no commit would explain.
        lock = [LOCK] if LOCK not in pointer and self.git.keeps(LOCK) and self.git.as_committed(GRAPH) else []
        custom = read_section(CatalogParams, "catalog", self.root / PARAMS).custom  # decides what is accepted
        own = [custom] if custom else []
        listed = [*pointer, *lock, *ledger, TAXONOMY, PARAMS, CONFIG, *own, *acts, *told]
        return [file for file in listed if (self.root / file).exists()]

    @property
    def taken(self) -> list[Path]:
        """The inbox's verdicts on batches, which grow beside a release; without them git would forget what came."""
        section = read_yaml(self.root / PARAMS).get("inbox")
        ledger = Path(str(section.get("ledger", ""))) if isinstance(section, dict) else Path()
        return [ledger] if ledger.name and not ledger.is_absolute() else []

    def digests(self) -> dict[Path, str]:
        """The digests of the files that the release takes as it finds them: all but those that it writes itself."""
        written = {LOCK, CONFIG, *self.pointer.files, *card_files(self.tag), accepted_file(self.tag)} - {GRAPH}
        return {file: sha256_file(self.root / file) for file in self.files if file not in {*written, *self.taken}}

    def way_out(self, remote: str) -> str:
        """What to do where somebody else released or pushed in between; the commands are lines of their own.

        Args:
            remote: The git remote.
        """
        tag, mine = self.tag, self.tag.replace("data/", "mine-")
        return (
            f"keep yours as a branch and take theirs:\n"
            f"    git branch {mine} && git tag -d {tag}\n"
            f"    git fetch --tags {remote} && git switch -C {self.git.branch()} {remote}/{self.git.branch()}\n"
            f"    dvc pull {self.paths.path}\n"
            f"Then add your batches again as you did before (`segloop ingest ...`), and release. {mine} keeps all that "
            f"you had; where a batch's source is gone, its parts come back by\n"
            f"    dvc get . {self.paths.path}/BATCH --rev {mine} --out {self.paths.path}/BATCH\n"
            f"and the rows of its groups in {self.paths.splits} from {mine}:{self.paths.splits}, after theirs."
        )


def start(making: Making) -> None:
    """Looks before anything is done: whether git can commit, and which number is next.

    Raises:
        UserError: Git is not ready, somebody released what is not here yet, or a remote is a folder that is not there.
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
                f"The git remote '{remote}' has {', '.join(unseen)}, which is not here. Fetch it, data and all:\n"
                f"    git pull --tags {remote} {git.branch()} && dvc pull {making.paths.path}\n"
                "Then release. If you have added to the dataset meanwhile, first move the folders of your batches out "
                f"of {making.paths.path} and run `git stash`; then add them again as you did before. `git stash show "
                "-p` keeps what else you had changed."
            )
        making.lacking = [tag for tag in tags if tag not in there]
    if tags:
        refuse_absent_remotes(open_repo(making.root))
    making.last = tags[-1] if tags else ""
    making.tag = tag_name(tag_number(making.last) + 1)
