"""The DVC remote of the releases: which one it is, how it is set up, and what its failures are called."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.errors import OutageError, UserError
from pipeline.provenance import SECRET_NAME, USERINFO, without_secrets

NAME = "storage"  # of the remote that is set up where there is none
LEVELS = ("local", "repo")  # of DVC's configuration, the first that names the remote


@dataclass(frozen=True)
class Storage:
    """A remote and the cache that it is filled from.

    Attributes:
        name: As DVC calls it.
        url: Where it is, without secrets.
        remote: DVC's object database on the remote.
        cache: The local one.
    """

    name: str
    url: str
    remote: Any
    cache: Any

    @property
    def absent(self) -> str:
        """Where the remote is a folder that is not there: that, and what to do; else empty."""
        return absent_folder(self.name, self.url)


@dataclass(frozen=True)
class Place:
    """Where objects lie: the local cache, or one of the remotes.

    Attributes:
        name: As people call it.
        url: Where it is, without secrets.
        odb: DVC's object database there.
        remote: As DVC calls it; empty for the cache.
    """

    name: str
    url: str
    odb: Any
    remote: str = ""

    def has(self, md5: str) -> bool:
        """Whether the object is there; what a listing of before said does not count.

        Raises:
            OutageError: The place is a remote whose folder is not there: nobody can tell what lies in it.
        """
        self.odb.fs.fs.invalidate_cache()
        try:
            # Asked for the facts and not whether it exists: there a remote that is away counts as one without it.
            self.odb.fs.info(self.odb.oid_to_path(md5))
        except FileNotFoundError:
            if self.remote and (said := absent_folder(self.remote, self.url)):
                raise OutageError(said) from None
            return False
        return True


def absent_folder(name: str, url: str) -> str:
    """Says of a remote that is a folder, and not there, that it is not and what to do; nothing of any other.

    Another clone finds its own folder, or none, by a path that is relative.

    Args:
        name: As DVC calls it.
        url: Where it is.
    """
    if "://" in url or Path(url).is_dir():
        return ""
    return (
        f"The DVC remote '{name}' is the folder {url}, which is not there. A relative path begins at the clone that "
        "reads it: where another clone made it, or where it is a disk that is not mounted, say where it is "
        f"(dvc remote modify --local {name} url /PATH) or mount it. To begin an empty one: mkdir -p {url}"
    )


def refuse_absent_remotes(repo: Any) -> None:
    """Refuses to go on while a remote that releases lie on may be somewhere else.

    Raises:
        UserError: A remote is a folder that is not there.
    """
    found = (absent_folder(name, _url(repo, name)) for name in repo.config["remote"])
    if said := " ".join(filter(None, found)):
        raise UserError(said)


def open_repo(root: Path) -> Any:
    """Opens the DVC repository of a workspace.

    Raises:
        UserError: There is none, or its configuration is wrong.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        repo = Repo(str(root))
    except DvcException as error:
        raise UserError(
            f"{root} is no DVC repository: {error}. Run from the workspace's root, or `dvc init`."
        ) from None
    repo.scm_context.quiet = True  # what DVC would advise to commit, the release commits
    return repo


def ensure_remote(repo: Any, fallback: str) -> list[str]:
    """Sets a default remote up where there is none, and lets DVC check what it fetches from it.

    Args:
        repo: The DVC repository.
        fallback: A folder, relative to the repository's root, or a URL.

    Returns:
        A sentence for each thing that was changed.
    """
    said = []
    name = repo.config["core"].get("remote")
    if not name:
        name, url = NAME, fallback
        if "://" not in fallback:
            url = os.path.relpath(Path(repo.root_dir) / Path(fallback).expanduser())
        with repo.config.edit("repo") as config:
            config["remote"][name] = {"url": url}
            config["core"]["remote"] = name
        said.append(f"no DVC remote was configured: '{name}' is now the default, at {_url(repo, name)}")
    if not repo.config["remote"].get(name, {}).get("verify"):
        level = next((level for level in LEVELS if name in repo.config.read(level)["remote"]), None)
        if level:
            # Without it, `dvc pull` takes a corrupt object of S3 for good.
            with repo.config.edit(level) as config:
                config["remote"][name]["verify"] = True
            said.append(f"DVC now checks the digest of all that it fetches from '{name}'")
    return said


def check_no_secret(config: Path) -> None:
    """Refuses to commit a configuration with credentials in it.

    Raises:
        UserError: Naming the keys, not their values.
    """
    lines = [line.strip() for line in config.read_text(encoding="utf-8").splitlines()] if config.exists() else []
    pairs = [line.split("=", 1) for line in lines if "=" in line]
    found = [key.strip() for key, value in pairs if SECRET_NAME.search(key) or USERINFO.search(value)]
    if found:
        raise UserError(
            f"{config} holds credentials ({', '.join(found)}), and a release commits that file. Move them to "
            "config.local, which git ignores: dvc remote modify --local NAME OPTION VALUE"
        )


def open_storage(repo: Any) -> Storage:
    """Opens the default remote.

    Raises:
        UserError: There is none, or it keeps versions by itself, which cannot be verified.
    """
    from dvc.exceptions import DvcException

    name = repo.config["core"].get("remote")
    try:
        remote = repo.cloud.get_remote_odb(name)
    except DvcException as error:
        raise UserError(f"The DVC remote {name!r} cannot be used: {error}") from None
    return Storage(str(name), _url(repo, str(name)), remote, repo.cache.local)


def open_places(repo: Any) -> list[Place]:
    """The cache and every remote that is configured, the cache first and the default remote next.

    Raises:
        UserError: A remote keeps versions by itself, so that nothing can be removed from it for good.
    """
    from dvc.exceptions import DvcException

    default = repo.config["core"].get("remote")
    places = [Place("the local cache", str(repo.cache.local.path), repo.cache.local)]
    for name in sorted(repo.config["remote"], key=lambda each: (each != default, each)):
        try:
            odb = repo.cloud.get_remote_odb(name)
        except DvcException as error:
            raise UserError(f"The DVC remote {name!r} cannot be used: {error}") from None
        places.append(Place(f"the DVC remote '{name}'", _url(repo, name), odb, name))
    return places


@contextmanager
def away(what: str, storage: Storage | Place) -> Iterator[None]:
    """Turns what file systems and DVC raise into an outage that names the remote."""
    from dvc.exceptions import DvcException

    s3: Any = import_module("botocore.exceptions")
    try:
        yield
    except (OSError, s3.BotoCoreError, s3.ClientError, DvcException) as error:
        said = without_secrets(str(error)).rstrip(". ") or type(error).__name__
        place = storage.name if isinstance(storage, Place) else f"the DVC remote '{storage.name}'"
        raise OutageError(
            f"{what} failed at {place} ({storage.url}): {said}. The same command again goes on."
        ) from None


def _url(repo: Any, name: str) -> str:
    config = repo.config["remote"][name]
    endpoint = config.get("endpointurl")  # the same bucket's name may be another bucket elsewhere
    return without_secrets(f"{config['url']} at {endpoint}" if endpoint else str(config["url"]))
