"""Tests of the reviewer's question, by Airflow's own operator and its own way of filling in params."""

import uuid
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Param
from airflow.sdk.definitions.param import process_params
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput
from airflow.sdk.execution_time import task_runner

from orchestration.approval import REASON, ReasonedApproval


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The questions that reach Airflow's supervisor, in whose place a list stands."""
    sent: list[Any] = []
    supervisor = SimpleNamespace(send=lambda *, msg: sent.append(msg))
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return sent


def approval() -> ReasonedApproval:
    """The task as DAG `promotion` has it."""
    with DAG("promotion", schedule=None):
        return ReasonedApproval(task_id="approve", subject="May it serve?", params={REASON: Param("", type="string")})


def context(conf: dict[str, Any]) -> Any:
    """What a task is told of a run."""
    return {"task_instance": SimpleNamespace(id=uuid.uuid4()), "dag_run": SimpleNamespace(conf=conf)}


def answer(option: str, given: dict[str, Any]) -> dict[str, Any]:
    """What Airflow hands to the task when somebody has answered."""
    someone = {"id": "alice", "name": "alice"}
    at = datetime(2026, 3, 1, tzinfo=UTC)
    return {"chosen_options": [option], "params_input": given, "responded_at": at, "responded_by_user": someone}


def test_the_form_is_blank_whatever_airflow_has_filled_in(questions: list[Any]) -> None:
    """Airflow writes the conf of a run into the form; the question goes out without it."""
    task = approval()
    process_params(task.dag, task, {REASON: "prefilled"}, suppress_exception=False)
    assert task.params[REASON] == "prefilled"
    with pytest.raises(TaskAwaitingInput):
        task.execute(context({"version": "2"}))
    assert [each.params[REASON]["value"] for each in questions] == [""]


def test_nobody_is_asked_when_the_conf_says_more_than_the_version(questions: list[Any]) -> None:
    """The promoter would refuse the answer: the run fails at once, and is not tried again."""
    with pytest.raises(AirflowFailException, match="'reason'"):
        approval().execute(context({"version": "2", REASON: "prefilled"}))
    assert questions == []


@pytest.mark.parametrize(
    "given", [{}, {REASON: " \n"}, {REASON: ["a"]}, {REASON: 5}, {REASON: "fine", "more": 1}, {"more": "fine"}]
)
def test_an_approval_that_does_not_count_is_asked_again_in_the_same_try(
    questions: list[Any], given: dict[str, Any]
) -> None:
    """The task waits anew in place of failing, so that it has all of its retries left."""
    task = approval()
    for _ in range(5):
        with pytest.raises(TaskAwaitingInput):
            task.execute_complete(context({}), answer("Approve", given))
    assert [each.params[REASON]["value"] for each in questions] == [""] * 5


@pytest.mark.parametrize("given", [{}, {REASON: ""}, {REASON: ["a"]}, {"more": 1}])
def test_a_rejection_passes_whatever_was_filled_in(questions: list[Any], given: dict[str, Any]) -> None:
    """A no is never lost."""
    assert approval().execute_complete(context({}), answer("Reject", given))["chosen_options"] == ["Reject"]
    assert questions == []


def test_an_approval_with_a_reason_passes(questions: list[Any]) -> None:
    """It is asked once."""
    assert approval().execute_complete(context({}), answer("Approve", {REASON: "better"}))["params_input"] == {
        REASON: "better"
    }
    assert questions == []
