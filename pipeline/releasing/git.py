"""The part of git that releases need: tags, a commit of exactly some files, one push of branch and tag."""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import OutageError, UserError
from pipeline.provenance import without_secrets

TAG = re.compile(r"data/v([1-9][0-9]*)")
PATTERN = "data/v*"
REJECTED = "!"  # of `git push --porcelain`
FORBIDDEN = "[remote rejected]"  # by the server itself, and not since somebody pushed in between
NO_ACCESS = re.compile(r"denied|forbidden|\b40[13]\b|not allowed|read.?only|authentication failed", re.IGNORECASE)
# What git leaves in its folder while something is half done; a commit of single files is not possible then.
UNFINISHED = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
}


def tag_name(number: int) -> str:
    """The tag of a release: data/v3."""
    return f"data/v{number}"


def tag_number(tag: str) -> int:
    """The number in a release's tag; 0 for any other name."""
    found = TAG.fullmatch(tag)
    return int(found[1]) if found else 0


@dataclass(frozen=True)
class Git:
    """The git repository that a folder lies in."""

    root: Path

    def ask(self, *words: str) -> str | None:
        """What git answers, without the end of its last line; None when it fails."""
        done = self._run(words)
        return done.stdout.removesuffix("\n") if done.returncode == 0 else None

    def do(self, *words: str, text: str | None = None) -> str:
        """Runs git, which must succeed.

        Args:
            words: Its arguments.
            text: What it reads.

        Raises:
            UserError: It failed; the message is git's own.
        """
        done = self._run(words, text)
        if done.returncode:
            said = without_secrets((done.stderr + done.stdout).strip())
            raise UserError(f"`git {words[0]}` failed in {self.root}: {said}")
        return done.stdout

    def check_ready(self) -> None:
        """Refuses before any work what would fail at the commit.

        Raises:
            UserError: There is no repository or commit, no branch, something half done, or nobody to commit as.
        """
        if self.ask("rev-parse", "--git-dir") is None:
            raise UserError(f"{self.root} is no git repository: a release is a commit and a tag. Run `git init`.")
        if folder := (self.ask("rev-parse", "--show-prefix") or "").rstrip("/"):
            raise UserError(
                f"{self.root} is the folder '{folder}' of a git repository, and no release of it could be read again: "
                "a workspace is a repository of its own. Make it one, with its history: git subtree split "
                f"--prefix={folder} --branch=workspace at the repository's root, then "
                "git clone --branch=workspace --single-branch THERE ANOTHER-FOLDER."
            )
        if self.ask("rev-parse", "--verify", "--quiet", "HEAD") is None:
            raise UserError(f"The git repository of {self.root} has no commit yet. Commit the project's files first.")
        if self.branch() is None:
            raise UserError("Git is on no branch (detached HEAD). Switch to one: git switch BRANCH")
        for name, what in UNFINISHED.items():
            path = self.ask("rev-parse", "--git-path", name)
            if path and (self.root / path).exists():
                raise UserError(f"Git is in the middle of {what}. Finish it or abort it, then release.")
        if self.ask("var", "GIT_COMMITTER_IDENT") is None:
            raise UserError('Git does not know who you are: git config user.name NAME; git config user.email "A@B"')

    def head(self) -> str:
        """The commit that is checked out."""
        return self.do("rev-parse", "HEAD").strip()

    def branch(self) -> str | None:
        """The branch that is checked out; None when there is none."""
        return self.ask("symbolic-ref", "--quiet", "--short", "HEAD")

    def tags(self) -> list[str]:
        """The tags of the releases, in the order of their numbers."""
        names = (self.ask("tag", "--list", PATTERN) or "").split()
        return sorted(filter(tag_number, names), key=tag_number)

    def show(self, revision: str, path: Path) -> str | None:
        """A file as a revision has it; None where it has none."""
        return self.ask("show", f"{revision}:./{path.as_posix()}")

    def commit_of(self, revision: str) -> str | None:
        """The commit that a revision names; None when it names none."""
        return self.ask("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")

    def commit(self, files: Iterable[Path], message: str) -> bool:
        """Commits these files as they are on disk, and nothing else that is staged.

        Returns:
            Whether there was something to commit.
        """
        names = [file.as_posix() for file in files]
        # By force: a project that ignores everything under data/ releases these files all the same.
        self.do("add", "--force", "--", *names)
        if not self.do("diff", "--cached", "--name-only", "HEAD", "--", *names).strip():
            return False
        self.do("commit", "--quiet", "--only", "--cleanup=whitespace", "--file=-", "--", *names, text=message)
        return True

    def tag(self, name: str, message: str) -> None:
        """Sets an annotated tag at the commit that is checked out."""
        self.do("tag", "--annotate", "--cleanup=whitespace", "--file=-", name, text=message)

    def tag_message(self, name: str) -> str:
        """What an annotated tag says, without its signature."""
        return (
            self.ask("for-each-ref", "--format=%(contents:subject)%0a%0a%(contents:body)", _ref(name)) or ""
        ).strip()

    def tag_date(self, name: str) -> str:
        """When a tag was set, by the clock of whoever set it."""
        return self.ask("for-each-ref", "--format=%(creatordate:format:%Y-%m-%d %H:%M)", _ref(name)) or ""

    def remote(self) -> str | None:
        """The git remote that releases are pushed to: the branch's own, or `origin`, or the only one."""
        branch = self.branch()
        own = self.ask("for-each-ref", "--format=%(push:remotename)", f"refs/heads/{branch}") if branch else None
        names = (self.ask("remote") or "").split()
        if own in names:
            return own
        return "origin" if "origin" in names else (names[0] if len(names) == 1 else None)

    def remote_tags(self, remote: str) -> dict[str, str]:
        """The tags of releases on a git remote: the tag object's digest by name.

        Raises:
            OutageError: The remote does not answer.
        """
        done = self._run(("ls-remote", "--tags", "--refs", remote, f"refs/tags/{PATTERN}"))
        if done.returncode:
            said = without_secrets(done.stderr.strip())
            here = Path(self.remote_url(remote)).expanduser().is_dir()  # Landlock hides files, and no folders
            made = " If it was made after `segloop up`, tasks cannot read it: `segloop down`, then `segloop up`."
            raise OutageError(
                f"The git remote '{remote}' does not answer: {said}. Try again, or check `git remote -v`."
                f"{made if here else ''}"
            )
        pairs = (line.split("\t") for line in done.stdout.splitlines())
        found = {name.removeprefix("refs/tags/"): sha for sha, name in pairs}
        return {name: sha for name, sha in found.items() if tag_number(name)}

    def tag_sha(self, name: str) -> str:
        """The digest of a tag object."""
        return self.do("rev-parse", _ref(name)).strip()

    def remote_url(self, remote: str) -> str:
        """Where a git remote is pushed to, without secrets."""
        return without_secrets(self.ask("remote", "get-url", "--push", remote) or remote)

    def as_committed(self, path: Path) -> bool:
        """Whether git keeps the file, and it is as the last commit has it."""
        here = self.ask("hash-object", "--", path.as_posix())  # `git diff` would write the index anew
        return self.keeps(path) and here is not None and here == self.ask("rev-parse", f"HEAD:./{path.as_posix()}")

    def keeps(self, path: Path) -> bool:
        """Whether git keeps the file."""
        return self.ask("ls-files", "--error-unmatch", "--", path.as_posix()) is not None

    def push(self, remote: str, *tags: str, behind: str = "") -> None:
        """Pushes tags, and the branch with them where it has the commit of the last: all or nothing.

        Args:
            remote: Where to.
            tags: The tags, the newest last.
            behind: What to do where somebody pushed in between.

        Raises:
            UserError: The remote refuses, since somebody pushed in between or one may not write there.
            OutageError: The remote does not answer.
        """
        branch, newest = self.branch(), tags[-1]
        refs = [_ref(tag) for tag in tags]
        if branch and self.ask("merge-base", "--is-ancestor", f"{newest}^{{commit}}", "HEAD") is not None:
            refs.insert(0, f"HEAD:refs/heads/{branch}")
        done = self._run(("push", "--atomic", "--porcelain", remote, *refs))
        if done.returncode == 0:
            return
        said, names = without_secrets((done.stderr + done.stdout).strip()), ", ".join(tags)
        rejected = [line for line in done.stdout.splitlines() if line.startswith(REJECTED)]
        if any(FORBIDDEN in line for line in rejected) or (not rejected and NO_ACCESS.search(said)):
            raise UserError(
                f"The git remote '{remote}' does not let you push {names}: {said}\nCommit and tag were made and stay "
                "in this repository; the data is pushed and verified. Get leave to write there, then the same command "
                f"pushes what is missing; or have somebody who may: git push {remote} {' '.join(refs)}. With "
                "--no-push, or `release.push_git: false` for all, a release leaves the git remote alone."
            )
        if rejected:
            raise UserError(
                f"The git remote '{remote}' refused {names}: {said}\nThe data is pushed and stays. If somebody pushed "
                f"before you: {behind}"
            )
        raise OutageError(
            f"{names} stands here but not on the git remote '{remote}': {said}. The same command again pushes it."
        )

    def _run(self, words: Iterable[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ["git", *words],
                cwd=self.root,
                input=text,
                capture_output=True,
                encoding="utf-8",
                errors="replace",  # messages and files that others committed need not be UTF-8
                check=False,
            )
        except FileNotFoundError:
            raise UserError("There is no git on this machine: a release is a commit and a tag. Install it.") from None


def _ref(tag: str) -> str:
    return f"refs/tags/{tag}"
