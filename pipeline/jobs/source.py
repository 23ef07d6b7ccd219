"""How a job gets its commit: from a git remote where one holds the code, else as a bundle through the DVC remote."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import OutageError, UserError
from pipeline.jobs.remote_files import RemoteFiles
from pipeline.jobs.snapshot import Plumbing
from pipeline.jobs.spec import Source, Spec, folder_of
from pipeline.params import read_yaml
from pipeline.provenance import USERINFO, without_secrets
from pipeline.releasing.git import Git

PARAMS = Path("params.yaml")
# Not from the modules that own these: they take a second to import.
BESIDE_CODE = (Path("dvc.lock"), PARAMS, Path("data/taxonomy.yaml"), Path("data/label_decisions.csv"))
REFS = "refs/segloop/jobs"


@dataclass(frozen=True)
class Sent:
    """A commit that a job can fetch.

    Attributes:
        commit: Code, params and pointers as the workspace has them.
        source: Where it is to be had.
    """

    commit: str
    source: Source


def ref_of(name: str) -> str:
    """The ref that keeps a job's commit; no branch, so that nobody meets it."""
    return f"{REFS}/{name}"


def send_here(workspace: Path, root: Path, name: str) -> Sent:
    """Commits the workspace for a job of the same machine, which fetches from the project's own repository.

    Args:
        workspace: A worktree of the project.
        root: The project's checkout.
        name: The job's.
    """
    commit = _snapshot(workspace, "HEAD")
    Plumbing(workspace).git("update-ref", ref_of(name), commit)
    return Sent(commit, Source(url=str(root), ref=ref_of(name)))


def send_away(
    workspace: Path, name: str, remote: RemoteFiles, max_bytes: int, say: Callable[[str], None] = print
) -> Sent:
    """Commits the workspace for a job of another machine.

    Args:
        workspace: The workspace.
        name: The job's.
        remote: The DVC remote, for a bundle.
        max_bytes: Largest bundle.
        say: Takes a line for the terminal.

    Raises:
        UserError: The bundle is too large.
        OutageError: The DVC remote does not answer.
    """
    url = _git_remote_with(workspace, "HEAD")
    if url:
        commit, ref = _snapshot(workspace, "HEAD"), ref_of(name)
        pushed = Git(workspace).ask("push", "--quiet", "--force", url, f"{commit}:{ref}") is not None
        if pushed:
            return Sent(commit, Source(url=USERINFO.sub("", url), ref=ref))
        say(f"{without_secrets(url)} takes no refs from here: the code travels as a bundle")
    commit = _snapshot(workspace, None)
    return Sent(commit, _bundle(workspace, name, commit, remote, max_bytes))


def take_back(workspace: Path, name: str, remote: RemoteFiles | None) -> None:
    """Removes what was stored for a job that has ended; what is gone already does no harm.

    Args:
        workspace: Any worktree of the project.
        name: The job's.
        remote: The DVC remote, of a job on another machine.
    """
    git = Git(workspace)
    git.ask("update-ref", "-d", ref_of(name))
    if remote:
        if url := _git_url(workspace):
            git.ask("push", "--quiet", url, f":{ref_of(name)}")
        remote.remove(folder_of(name))


def fetch_commit(spec: Spec, into: Path, remote: RemoteFiles | None) -> None:
    """Fetches a job's commit into a new repository, and checks it out.

    Args:
        spec: The job.
        into: A folder that is empty or missing.
        remote: The DVC remote, for a bundle.

    Raises:
        OutageError: The source does not answer.
        UserError: It gave another commit.
    """
    into.mkdir(parents=True, exist_ok=True)
    git = Plumbing(into)
    git.git("init", "--quiet")
    with tempfile.TemporaryDirectory() as folder:
        place = spec.source.url
        if spec.source.bundle:
            assert remote is not None
            place = str(Path(folder) / "code.bundle")
            remote.get(spec.source.bundle, Path(place))
        assert place is not None
        _fetch(into, place, spec)
    found = git.git("rev-parse", "FETCH_HEAD")
    if found != spec.commit:
        raise UserError(f"{place} gave commit {found} for {spec.source.ref}, not {spec.commit}. Submit the job again.")
    git.git("checkout", "--quiet", "--detach", spec.commit)


def _fetch(into: Path, place: str, spec: Spec) -> None:
    depth = [] if spec.source.bundle else ["--depth", "1"]
    # A path, though not a bundle, must be a URL for a shallow fetch.
    where = place if spec.source.bundle or "://" in place or not Path(place).is_dir() else Path(place).as_uri()
    command = ["git", "fetch", "--quiet", "--no-tags", *depth, where, spec.source.ref]
    done = subprocess.run(command, cwd=into, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OutageError(f"The code could not be fetched from {place}: {without_secrets(done.stderr.strip())}")


def _snapshot(workspace: Path, parent: str | None) -> str:
    """The workspace's files as a commit; the same files, the same commit.

    Args:
        workspace: The workspace.
        parent: None for a commit without history, which makes a small bundle.
    """
    git = Plumbing(workspace)
    head = git.git("rev-parse", "HEAD")
    message = f"Workspace of a job\n\nCode: {head}\n"
    base = head if parent else None
    return git.commit(git.tree(head, files_of(workspace)), base, message, at=git.time_of(head))


def files_of(workspace: Path) -> Iterable[Path]:
    """What lies in a workspace beside code, and is needed to know its data: pointers, ledger, taxonomy, decisions."""
    dataset = read_yaml(workspace / PARAMS).get("dataset")
    assert isinstance(dataset, dict)
    folder = workspace / Path(str(dataset["path"])).parent
    pointers = [file.relative_to(workspace) for file in sorted(folder.glob("*.dvc"))]
    return [*BESIDE_CODE, Path(str(dataset["splits"])), *pointers]


def _bundle(workspace: Path, name: str, commit: str, remote: RemoteFiles, max_bytes: int) -> Source:
    ref, path = ref_of(name), f"{folder_of(name)}/{commit}.bundle"
    source = Source(bundle=path, ref=ref)
    if remote.has(path):
        return source
    git = Plumbing(workspace)
    git.git("update-ref", ref, commit)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "code.bundle"
        git.git("bundle", "create", "--quiet", str(file), ref)
        size = file.stat().st_size
        if size > max_bytes:
            raise UserError(
                f"The commit's files make a git bundle of {size} bytes, more than jobs.max_bundle_bytes "
                f"({max_bytes}). Push the code to a git remote, or keep large files in DVC."
            )
        remote.put(file, path)
    return source


def _git_url(workspace: Path) -> str | None:
    git = Git(workspace)
    name = git.remote()
    return git.ask("remote", "get-url", "--push", name) if name else None


def _git_remote_with(workspace: Path, revision: str) -> str | None:
    """The git remote, where one of its tips has the commit."""
    git, url = Git(workspace), _git_url(workspace)
    if url is None:
        return None
    listed = git.ask("ls-remote", "--heads", "--tags", url)
    if listed is None:
        print(f"{without_secrets(url)} does not answer: the code travels as a bundle", file=sys.stderr)
        return None
    tips = {line.split("\t")[0] for line in listed.splitlines()}
    known = [tip for tip in tips if git.ask("cat-file", "-e", f"{tip}^{{commit}}") is not None]
    return url if any(git.ask("merge-base", "--is-ancestor", revision, tip) is not None for tip in known) else None
