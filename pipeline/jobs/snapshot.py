"""Commits of a workspace's files made beside git's index and HEAD: nobody who works there is disturbed."""

import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UserError
from pipeline.provenance import without_secrets

NOBODY = {"NAME": "segloop", "EMAIL": "segloop@localhost"}


@dataclass(frozen=True)
class Plumbing:
    """Git's plumbing in a workspace.

    Attributes:
        root: The workspace.
    """

    root: Path

    def git(self, *words: str, text: str | None = None, **environment: str) -> str:
        """Runs git, which must succeed, and gives its answer without the end of its last line.

        Raises:
            UserError: It failed; the message is git's own.
        """
        done = subprocess.run(
            ["git", *words],
            cwd=self.root,
            input=text,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = without_secrets((done.stderr + done.stdout).strip())
            raise UserError(f"`git {words[0]}` failed in {self.root}: {said}")
        return done.stdout.removesuffix("\n")

    def tree(self, base: str, files: Iterable[Path] = (), content: Mapping[str, str] | None = None) -> str:
        """Writes a tree: a commit's, with the tracked files as they are on disk, more files, and made ones.

        Args:
            base: The commit.
            files: Further files of the workspace, ignored ones too; those that are missing are left out.
            content: Text by path that need not lie in the workspace.

        Returns:
            The tree's digest.
        """
        with tempfile.TemporaryDirectory() as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self.git("read-tree", base, **index)
            self.git("add", "--update", "--", ".", **index)
            there = [file.as_posix() for file in files if (self.root / file).is_file()]
            if there:
                self.git("add", "--force", "--", *there, **index)
            for path, said in (content or {}).items():
                blob = self.git("hash-object", "-w", "--stdin", text=said)
                self.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", **index)
            return self.git("write-tree", **index)

    def commit(self, tree: str, parent: str | None, message: str, *, at: str | None = None) -> str:
        """Writes a commit.

        Args:
            tree: Its content.
            parent: None for one without history.
            message: Its text.
            at: Its time as seconds since 1970 with a zone; with one, the same content gives the same digest.
        """
        who: dict[str, str] = {}
        for role in ("AUTHOR", "COMMITTER"):
            known = at is None and self._known(role)
            who |= {} if known else {f"GIT_{role}_{part}": value for part, value in NOBODY.items()}
            who |= {f"GIT_{role}_DATE": at} if at else {}
        parents = ["-p", parent] if parent else []
        return self.git("commit-tree", tree, *parents, "-F", "-", text=message, **who)

    def time_of(self, commit: str) -> str:
        """A commit's time, as `commit` takes it."""
        return self.git("show", "-s", "--format=%ct +0000", commit)

    def resolve(self, revision: str) -> str | None:
        """The object that a revision names; None when it names none."""
        try:
            return self.git("rev-parse", "--verify", "--quiet", revision)
        except UserError:
            return None

    def _known(self, role: str) -> bool:
        try:
            self.git("var", f"GIT_{role}_IDENT")
        except UserError:
            return False
        return True


def project_root(workspace: Path) -> Path:
    """The project's checkout that a workspace belongs to: SEGLOOP_ROOT, or that of the main worktree.

    Raises:
        UserError: The workspace is no git repository.
    """
    named = os.environ.get("SEGLOOP_ROOT")
    if named:
        return Path(named).resolve()
    common = Plumbing(workspace).git("rev-parse", "--path-format=absolute", "--git-common-dir")
    return Path(common).parent
