"""Tests of the evidence of an answer: each thing that a forger could change refuses it."""

from typing import Any

import pytest
from decisions import REVIEWER_KEYS
from promoter_case import DAG, RUN, TASK, asked, lapsed, unanswered

from pipeline.approval_text import Question
from pipeline.decisions.keys import Reviewer, public_text
from pipeline.errors import VerdictError
from pipeline.promotions.airflow import Asked, DagRun
from pipeline.promotions.evidence import LAPSED, UNSAID, Answered, Expected, checked_answer, version_of
from pipeline.review import Decision

QUESTION = Question("May segmenter version 1 serve?", "It passed.\n\n| class | IoU |\n| --- | --- |\n| red | 0.6 |")
EXPECTED = Expected(DAG, RUN, TASK, QUESTION, "2026-01-01T00:00:00+00:00")
SINCE = "2026-01-01"
REVIEWERS = {
    "Alice A.": Reviewer(airflow="alice", added_at=SINCE),
    "bob": Reviewer(public_key=public_text(REVIEWER_KEYS["bob"]), added_at=SINCE),
}


def checked(told: dict[str, Any]) -> Answered:
    """The answer that Airflow tells, checked."""
    return checked_answer(Asked.model_validate(told), EXPECTED, REVIEWERS)


def test_an_honest_approval_is_the_listed_reviewers() -> None:
    """It carries the name on the allow-list, the reason, and what the promoter saw."""
    answered = checked(asked(QUESTION))
    assert (answered.decision, answered.reviewer) == (Decision.APPROVE, "Alice A.")
    assert answered.note == "pallets are better, people unchanged"
    assert (answered.seen["responder"], answered.seen["dag_run_id"]) == ("alice", RUN)
    assert answered.seen["body_digest"] == QUESTION.digest


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"response_received": False, "responded_at": None}, "Nobody has answered"),
        ({"responded_at": None}, "Nobody has answered"),
        ({"body": QUESTION.body.replace("0.6", "0.9")}, r"line 5 was shown as .*0\.9.* and should be .*0\.6"),
        ({"body": QUESTION.body + "\nAnd more."}, "6 lines were shown, 5 were expected"),
        ({"body": None}, "0 lines were shown"),
        ({"subject": "May segmenter version 2 serve?"}, "subject that was shown"),
        ({"options": ["Reject", "Approve"]}, "options were"),
        ({"chosen_options": ["Approve", "Reject"]}, "was chosen; one of"),
        ({"chosen_options": []}, "was chosen; one of"),
        ({"chosen_options": None}, "was chosen; one of"),
        ({"responded_by_user": None}, "names nobody who has chosen"),
        ({"responded_by_user": None, "defaults": ["Approve"]}, "names nobody who has chosen"),
        ({"responded_by_user": None, "chosen_options": ["Reject"], "defaults": None}, "names nobody"),
        ({"responded_by_user": {"id": "mallory", "name": "mallory"}}, "'mallory' is not one of those who were asked"),
        ({"responded_by_user": {"id": "mallory", "name": "alice"}}, "not one of those who were asked"),
        ({"assigned_users": []}, "asked .nobody by name"),
        ({"assigned_users": [{"id": "bob", "name": "bob"}]}, "not one of those who were asked"),
        ({"params": {"reason": {"value": "prefilled"}}}, "showed 'prefilled' in its field 'reason'"),
        ({"params": {"reason": "prefilled"}}, "showed 'prefilled' in its field 'reason'"),
        ({"params": {"reason": {"value": ""}, "other": {"value": ""}}}, "showed '' in its field 'other'"),
        ({"params_input": {}}, "field 'reason' is blank"),
        ({"params_input": {"reason": " \n "}}, "field 'reason' is blank"),
        ({"params_input": {"reason": ["fine"]}}, "field 'reason' is blank"),
        ({"responded_at": "2025-12-31T23:59:59Z"}, "before the verdict"),
    ],
)
def test_what_a_forger_could_change_is_refused(changes: dict[str, Any], said: str) -> None:
    """No answer, another text, other options, another person, no reason, or too early: the message says which."""
    with pytest.raises(VerdictError, match=said):
        checked(asked(QUESTION, **changes))


def test_an_assigned_user_who_is_not_listed_is_refused() -> None:
    """To be asked does not make a reviewer; nor does it to have a reviewer's name but not their account."""
    for name in ("mallory", "bob", "Alice A.", "Alice"):
        user = {"id": name, "name": name}
        with pytest.raises(VerdictError, match="not on the allow-list"):
            checked(asked(QUESTION, responded_by_user=user, assigned_users=[user]))


@pytest.mark.parametrize(
    "place", [{"dag_id": "other"}, {"dag_run_id": "other"}, {"task_id": "other"}, {"map_index": 0}]
)
def test_an_answer_about_another_task_is_refused(place: dict[str, Any]) -> None:
    """What Airflow tells must be about the task that was asked for."""
    told = asked(QUESTION)
    told["task_instance"] |= place
    with pytest.raises(VerdictError, match="answered about the task"):
        checked(told)


def test_a_rejection_counts_without_a_reason() -> None:
    """A no is never lost, whether a reviewer says too little or nobody answers in time."""
    rejected = checked(asked(QUESTION, chosen_options=["Reject"], params_input={}))
    assert (rejected.decision, rejected.reviewer, rejected.note) == (Decision.REJECT, "Alice A.", UNSAID)
    timed_out = checked(lapsed(QUESTION))
    assert (timed_out.decision, timed_out.reviewer, timed_out.note) == (Decision.REJECT, "", LAPSED)
    assert timed_out.seen["responder"] == ""


def test_a_stranger_cannot_reject() -> None:
    """Who may not approve may not hold a version up either."""
    stranger = {"id": "mallory", "name": "mallory"}
    with pytest.raises(VerdictError, match="not one of those who were asked"):
        checked(asked(QUESTION, chosen_options=["Reject"], responded_by_user=stranger))


def test_what_nobody_has_answered_is_no_answer() -> None:
    """A task that was set to success by hand has no answer."""
    with pytest.raises(VerdictError, match="whatever the state of the task is"):
        checked(unanswered(QUESTION))


@pytest.mark.parametrize(
    ("key", "conf", "version"),
    [("7", None, 7), (None, {"version": 7}, 7), ("7", {"version": "7"}, 7), ("7", {"version": ""}, 7), ("12", {}, 12)],
)
def test_a_run_names_its_version(key: str | None, conf: dict[str, Any] | None, version: int) -> None:
    """By its partition key, by its conf, or by both alike."""
    assert version_of(DagRun(dag_id=DAG, dag_run_id=RUN, partition_key=key, conf=conf)) == version


@pytest.mark.parametrize(
    ("key", "conf"),
    [
        (None, None),
        (None, {}),
        ("7", {"version": "8"}),
        ("candidate", {}),
        ("-1", {}),
        ("0", {}),
        (None, {"version": 7.5}),
    ],
)
def test_a_run_that_names_no_version_is_refused(key: str | None, conf: dict[str, Any] | None) -> None:
    """Nothing, two, an alias, or no number."""
    with pytest.raises(VerdictError, match="names no version"):
        version_of(DagRun(dag_id=DAG, dag_run_id=RUN, partition_key=key, conf=conf))


@pytest.mark.parametrize("conf", [{"version": "7", "reason": "prefilled"}, {"other": 1}])
def test_a_run_whose_conf_says_more_is_refused(conf: dict[str, Any]) -> None:
    """Who starts a run could fill in the reviewer's form by it."""
    with pytest.raises(VerdictError, match="nothing but 'version' is allowed"):
        version_of(DagRun(dag_id=DAG, dag_run_id=RUN, partition_key="7", conf=conf))
