"""When a run takes the workspace of another over: by what Airflow says of that other."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError, AirflowSkipException, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from orchestration.begin import Begin

MAKER = """
import json, os, sys
from pathlib import Path
taken = "--instead-of" in sys.argv
if taken:
    Path("taken").write_text(sys.argv[sys.argv.index("--instead-of") + 1])
facts = {"workspace": "w", "finished": False, "held_by": None if taken else "other"}
Path(os.environ["SEGLOOP_OUTCOME"]).write_text(json.dumps(facts))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose workspace is held by the run `other`."""
    (tmp_path / "maker.py").write_text(MAKER)
    monkeypatch.setenv("SEGLOOP_ROOT", str(tmp_path))
    return tmp_path


def begin(state: str | None = None, **detail: object) -> dict[str, Any]:
    """Runs the task; the other run is in a state, or Airflow answers with an error of this detail."""

    def get_dagrun_state(dag_id: str, run_id: str) -> str:
        assert (dag_id, run_id) == ("training", "other")
        if state is None:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail or None))
        return state

    with DAG("training", schedule=None):
        task = Begin(task_id="begin", module="maker")
    run = SimpleNamespace(dag_id="training", run_id="r")
    return task.execute({"dag_run": run, "ti": SimpleNamespace(get_dagrun_state=get_dagrun_state)})  # type: ignore[typeddict-item]


@pytest.mark.parametrize("state", ["queued", "running"])
def test_the_workspace_of_a_run_at_work_is_left_to_it(folder: Path, state: str) -> None:
    """There is nothing to do beside it."""
    with pytest.raises(AirflowSkipException, match="the run other computes the same"):
        begin(state)
    assert not (folder / "taken").exists()


@pytest.mark.parametrize("state", ["failed", "success"])
def test_the_workspace_of_a_run_that_is_over_is_taken_over(folder: Path, state: str) -> None:
    """By name, so that of two only one gets it."""
    assert begin(state)["held_by"] is None
    assert (folder / "taken").read_text() == "other"


def test_the_workspace_of_a_run_that_was_deleted_is_taken_over(folder: Path) -> None:
    """Airflow says 404."""
    assert begin(status_code=404, message="not found", detail=None)["workspace"] == "w"
    assert (folder / "taken").read_text() == "other"


@pytest.mark.parametrize("detail", [{"status_code": 500}, {"status_code": 403}, {"status_code": None}, {}])
def test_a_workspace_is_not_taken_where_airflow_cannot_say(folder: Path, detail: dict[str, object]) -> None:
    """A fault of the server says nothing of the other run: the task fails, and is tried again."""
    with pytest.raises(AirflowRuntimeError) as raised:
        begin(**detail)
    assert not isinstance(raised.value, AirflowException)  # or it might be one that is not tried again
    assert not (folder / "taken").exists()
