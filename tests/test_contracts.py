"""Tests that hold the parts of the house together: dvc.yaml, params.yaml, the modules and the README."""

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from pipeline.cli import ACTIONS, STAGES

ROOT = Path(__file__).resolve().parent.parent
STAGES_OF_DVC: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# Shows a training while it runs and shapes no output: a change there must not cost a retraining.
LIVE = "pipeline.live"
GRAPH = grimp.build_graph("pipeline", "training", exclude_type_checking_imports=True)
MODULES = sorted(module for module in GRAPH.modules if not (ROOT / module.replace(".", "/")).is_dir())


def _file(module: str) -> str:
    path = module.replace(".", "/")
    return f"{path}/__init__.py" if (ROOT / path).is_dir() else f"{path}.py"


def _sections_read(module: str) -> set[str]:
    """The section names given to `read_section` in a module's source."""
    calls = [node for node in ast.walk(ast.parse((ROOT / _file(module)).read_text())) if isinstance(node, ast.Call)]
    reads = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "read_section"]
    return {argument.value for call in reads if isinstance(argument := call.args[1], ast.Constant)}  # type: ignore[misc]


@pytest.mark.parametrize("stage", STAGES_OF_DVC)
def test_a_stage_runs_its_own_module(stage: str) -> None:
    """The command of stage NAME is `python -m pipeline.NAME`."""
    assert STAGES_OF_DVC[stage]["cmd"].split()[:3] == ["python", "-m", f"pipeline.{stage}"]


@pytest.mark.parametrize("stage", STAGES_OF_DVC)
def test_a_stage_declares_the_sections_it_reads(stage: str) -> None:
    """DVC sees every parameter that the stage's module reads, and no other."""
    declared = set(STAGES_OF_DVC[stage].get("params", []))
    assert declared == _sections_read(f"pipeline.{stage}")


@pytest.mark.parametrize("stage", STAGES_OF_DVC)
def test_a_stage_declares_every_module_it_imports(stage: str) -> None:
    """DVC sees every change of the project's own code that the stage runs."""
    module = f"pipeline.{stage}"
    shaping = grimp.build_graph("pipeline", "training", exclude_type_checking_imports=True)
    shaping.remove_module(LIVE)
    imported = {_file(each) for each in shaping.find_upstream_modules(module) | {module}}
    code = {file for file in imported if not file.endswith("__init__.py")}
    # The user's own file at the root is a dependency, and no code of the project.
    declared = {each for each in STAGES_OF_DVC[stage]["deps"] if re.search(r"/.*\.py$", str(each))}
    assert declared == code


def test_the_command_line_knows_every_stage() -> None:
    """One name, five places: the stages of dvc.yaml are the stages of `segloop`."""
    assert [name.replace("-", "_") for name in STAGES] == list(STAGES_OF_DVC)


@pytest.mark.parametrize("name", [*STAGES, *ACTIONS])
def test_a_commands_line_in_the_list_is_the_first_of_its_help(name: str) -> None:
    """The list of commands and each command's own help say the same."""
    main = importlib.import_module(f"pipeline.{re.sub('[- ]', '_', name)}").main
    assert main.__doc__.splitlines()[0] == {**STAGES, **ACTIONS}[name]


def test_every_section_has_a_reader() -> None:
    """A section of params.yaml that nothing reads is a number without a use."""
    read = {"loop"}.union(*(_sections_read(module) for module in MODULES))  # read by the DAGs, which import none of it
    assert set(yaml.safe_load((ROOT / "params.yaml").read_text())) == read


def test_the_examples_have_the_sections_of_the_project() -> None:
    """`segloop use` puts params in place that every stage can read."""
    ours = yaml.safe_load((ROOT / "params.yaml").read_text())
    for file in (ROOT / "examples").glob("*/params.yaml"):
        theirs = yaml.safe_load(file.read_text())
        assert {name: set(keys) for name, keys in theirs.items()} == {name: set(keys) for name, keys in ours.items()}


def test_the_readmes_map_names_every_module() -> None:
    """The map has a line for each file, and no line for a file that is gone."""
    readme = (ROOT / "README.md").read_text()
    named = {line.split("`")[1] for line in readme.splitlines() if line.startswith("- `") and ".py`" in line}
    assert named >= {_file(module) for module in MODULES}
    dags = {file.relative_to(ROOT).as_posix() for file in (ROOT / "dags").rglob("*.py") if file.name != "__init__.py"}
    assert named >= dags
    assert not {name for name in named if not (ROOT / name).exists()}


def test_every_dependency_has_its_line_in_the_readme() -> None:
    """Each dependency says what it is for."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [each.split(">")[0].split("[")[0] for each in project["dependencies"]]
    readme = (ROOT / "README.md").read_text()
    assert [name for name in names if f"| {name} |" not in readme] == []


def test_the_lock_names_no_host() -> None:
    """The lock works with any package index."""
    assert "://" not in (ROOT / "requirements.lock").read_text()
