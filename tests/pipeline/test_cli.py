"""Tests of the `segloop` command."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "mlflow", "great_expectations", "cv2", "numpy", "pandas", "pyarrow", "airflow", "dvc"}


def _segloop(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments], capture_output=True, text=True, check=False
    )


def test_help_imports_nothing_heavy() -> None:
    """`segloop --help` answers at once since it imports no stage and no heavy library."""
    code = (
        "import sys; from pipeline.cli import listing; listing(['--help'], standalone_mode=False); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_help_lists_every_command_with_its_line() -> None:
    """Actions and stages are listed apart."""
    done = _segloop("--help")
    assert done.returncode == 0
    assert "ingest" in done.stdout
    assert "evaluate" in done.stdout


def test_a_wrong_option_of_a_command_exits_2_without_a_traceback() -> None:
    """Misuse is answered by the command's usage."""
    done = _segloop("prepare", "--speed", "3")
    assert done.returncode == 2
    assert "Usage: segloop prepare" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_family_of_commands_lists_its_members() -> None:
    """`segloop labels --help` names what can be done with labels; a wrong member exits 2."""
    assert "check" in _segloop("labels", "--help").stdout
    done = _segloop("labels", "chekc")
    assert done.returncode == 2
    assert "chekc" in done.stderr


def test_an_unknown_command_exits_2() -> None:
    """The message names the command received."""
    done = _segloop("trian")
    assert done.returncode == 2
    assert "trian" in done.stderr


@pytest.mark.parametrize("command", ["prepare", "catalog", "validate", "ingest", "labels check"])
def test_a_commands_help_has_an_example(command: str) -> None:
    """Every command's help shows how it is called."""
    done = _segloop(*command.split(), "--help")
    assert done.returncode == 0
    assert f"Example: segloop {command}" in done.stdout
