"""Commands that a message tells people to run, fit for the shell they are in."""

import os
import shlex
import shutil
import sysconfig
from pathlib import Path
from urllib.parse import quote, urlsplit

from pipeline.provenance import without_secrets
from pipeline.tracking import WEB, client


def ui_command(uri: str) -> str:
    """The command or address that shows what was logged to this store."""
    if urlsplit(uri).scheme in WEB:
        return without_secrets(uri)
    scripts = _scripts_off_path()
    tool = f"{scripts}/mlflow" if scripts else "mlflow"
    return f"{tool} ui --backend-store-uri {without_secrets(uri)}"


def run_page(uri: str, run_id: str) -> str | None:
    """The address of a run's page; None for a store without a server, whose address is not known."""
    if urlsplit(uri).scheme not in WEB:
        return None
    experiment = client().get_run(run_id).info.experiment_id
    return f"{without_secrets(uri).rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"


def version_page(uri: str, name: str, version: str) -> str | None:
    """The address of a version's page; None for a store without a server."""
    if urlsplit(uri).scheme not in WEB:
        return None
    return f"{without_secrets(uri).rstrip('/')}/#/models/{quote(name, safe='')}/versions/{version}"


def serve_command(model: str) -> str:
    """The command that serves a model, whose uri is given, from this environment."""
    scripts = _scripts_off_path()
    # The whole folder, since MLflow finds its web server there, by name.
    path = f"PATH={scripts}:$PATH " if scripts else ""
    return f"{path}mlflow models serve -m {model} --env-manager local"


def _scripts_off_path() -> str:
    """The folder of this environment's commands, for a shell in the working folder; empty where a name will do."""
    scripts = Path(sysconfig.get_path("scripts"))
    found = shutil.which("mlflow")
    on_path = found is not None and Path(found).absolute().parent == scripts
    # `make` puts this environment's commands on its own path, which the shell that reads this does not have.
    lasting = "VIRTUAL_ENV" in os.environ or not scripts.is_relative_to(Path.cwd())
    if not (scripts / "mlflow").exists() or (on_path and lasting):
        return ""
    shown = scripts.relative_to(Path.cwd()) if scripts.is_relative_to(Path.cwd()) else scripts
    return shlex.quote(str(shown))
