"""The DAGs as Airflow reads them."""

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from orchestration.alerts import Outcome
from orchestration.command import Command
from orchestration.job import Job

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(file.stem for file in (ROOT / "dags").glob("*.py"))
HEAVY = ("torch", "mlflow", "dvc", "pandas", "numpy", "pyarrow", "pipeline", "training", "boto3", "kubernetes", "ray")
PARSE = """
import json, runpy, sys, time
import airflow.sdk, airflow.providers.standard.operators.hitl, airflow.providers.standard.operators.empty
import sqlalchemy
before, start = set(sys.modules), time.process_time()
runpy.run_path(sys.argv[1])
print(json.dumps([time.process_time() - start, sorted(set(sys.modules) - before)]))
"""

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def dags(bag: Any) -> list[Any]:
    """Every DAG."""
    return list(bag.dags.values())


def test_every_file_declares_the_dag_of_its_name(bag: Any) -> None:
    """Airflow finds one DAG a file, and can import all."""
    assert bag.import_errors == {}
    assert sorted(bag.dags) == FILES


@pytest.mark.parametrize("name", FILES)
def test_parsing_is_light(name: str) -> None:
    """The processor parses every file every few seconds: none takes a second of a CPU or draws in a heavy library."""
    folders = f"{ROOT / 'dags'}:{ROOT / 'ops/airflow/plugins'}"
    environment = {"PYTHONPATH": folders, "PATH": "", "HOME": str(Path.home())}
    line = [sys.executable, "-W", "ignore", "-c", PARSE, str(ROOT / "dags" / f"{name}.py")]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds, imported = json.loads(done.stdout.splitlines()[-1])
    assert seconds < 1
    assert not {module.partition(".")[0] for module in imported} & set(HEAVY)


def test_every_dag_says_whose_it_is_and_who_is_told(bag: Any) -> None:
    """Owner, description, tags, a deadline and an alert of the DAG as a whole are there."""
    for dag in dags(bag):
        assert dag.owner == "segloop"
        assert dag.description
        assert dag.doc_md
        assert "segloop" in dag.tags
        assert dag.deadline
        assert dag.on_failure_callback
        assert dag.dagrun_timeout > dag.deadline[0].interval


def test_every_task_says_what_it_does(bag: Any) -> None:
    """Its page has a sentence about it."""
    for dag in dags(bag):
        for task in dag.tasks:
            assert len(task.doc_md or "") > 20, (dag.dag_id, task.task_id)


def test_who_looks_at_a_task_gets_to_what_it_is_about(bag: Any) -> None:
    """The tasks around a model link to its run, its version and its dossier, in places that other tasks fill."""
    names = {
        task.task_id: {link.name for link in task.operator_extra_links}
        for dag in dags(bag)
        for task in dag.tasks
        if isinstance(task, Command)
    }
    run, version = "MLflow run", "MLflow version"
    assert names["track"] == {run}
    assert names["register"] == names["gate"] == {run, version}
    assert names["dossier"] == {run, version, "Dossier"}
    assert names["question"] == {"Dossier"}


def test_a_promotion_tells_how_it_was_decided(bag: Any) -> None:
    """The task that has it decided tells once it has succeeded; one that fails makes the run fail, which alerts."""
    (told,) = bag.dags["promotion"].get_task("promote").on_success_callback
    assert isinstance(told, Outcome)


def test_every_run_parameter_explains_itself(bag: Any) -> None:
    """The trigger form shows a type and a description of each."""
    for dag in dags(bag):
        for name in dag.params:
            param = dag.params.get_param(name)
            assert param.schema["type"], (dag.dag_id, name)
            assert len(param.description) > 10, (dag.dag_id, name)


def test_every_task_has_limits_and_a_pool_that_exists(bag: Any) -> None:
    """A pool that does not exist would hold a task back without a word."""
    pools = json.loads((ROOT / "ops" / "airflow" / "pools.json").read_text())
    for dag in dags(bag):
        for task in dag.tasks:
            assert task.pool in pools, (dag.dag_id, task.task_id)
            assert task.execution_timeout or getattr(task, "response_timeout", None), (dag.dag_id, task.task_id)


def test_tasks_are_tried_again_with_growing_pauses(bag: Any) -> None:
    """Outages pass; how often is a setting."""
    for dag in dags(bag):
        for task in dag.tasks:
            assert task.retries >= 1
            assert task.retry_exponential_backoff


def test_every_command_takes_the_options_that_a_task_gives(bag: Any) -> None:
    """What a task calls is there, with these very options."""
    for dag in dags(bag):
        for task in dag.tasks:
            if not isinstance(task, Command) or isinstance(task, Job) or task.module == "dvc repro":
                continue  # DVC's own command line, and a job's, which test_job has
            main = importlib.import_module(task.module).main
            assert set(task.options) <= known_options(main), (dag.dag_id, task.task_id)


def known_options(main: Any) -> set[str]:
    """The options of a command."""
    app = typer.Typer()
    app.command()(main)
    return {name for param in typer.main.get_command(app).params for name in param.opts}


def test_training_has_every_stage_after_those_that_dvc_puts_before_it(bag: Any) -> None:
    """The graph in Airflow is the one that DVC itself reads from dvc.yaml."""
    from dvc.repo import Repo

    dag = bag.dags["training"]
    with Repo(str(ROOT)) as repo:
        graph = repo.index.graph
        edges = {(stage.addressing, before.addressing) for stage, before in graph.edges()}
    assert edges
    stages = {name for edge in edges for name in edge if name in dag.task_ids}
    assert stages == {stage.addressing for stage in graph.nodes()} & set(dag.task_ids)
    for name in stages:
        wanted = {before for stage, before in edges if stage == name}
        assert dag.get_task(name).upstream_task_ids - {"begin"} == wanted


def test_no_dag_holds_logic() -> None:
    """What is done stands in the commands: a DAG's file has no loop over data and no handler of errors."""
    for name in FILES:
        source = (ROOT / "dags" / f"{name}.py").read_text()
        assert not [word for word in ("try:", "while ", "subprocess") if word in source], name


def test_settings_are_all_used_and_none_is_missing() -> None:
    """Every limit of time in section `loop` belongs to a DAG or a kind of task."""
    from orchestration import settings

    assert {"task", "train", "approval", *FILES} == set(settings.loop()["limits_minutes"])
    assert inspect.getdoc(settings.limit)


def test_dags_know_airflow_and_the_shell_only() -> None:
    """What they run is found by its name on the command line: nothing of the project is imported."""
    import ast

    allowed = {*sys.stdlib_module_names, "airflow", "yaml", "attrs", "orchestration", "segloop_deadline"}
    for file in (ROOT / "dags").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text())))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        assert {name.partition(".")[0] for name in names} <= allowed, file
