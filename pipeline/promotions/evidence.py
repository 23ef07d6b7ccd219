"""Whether an answer given in Airflow is what it looks like: whose it is, and to what question."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pipeline.approval_text import OPTIONS, REASON, Question
from pipeline.decisions.keys import Reviewer
from pipeline.errors import VerdictError
from pipeline.promotions.airflow import UNMAPPED, Asked, DagRun
from pipeline.review import Decision

APPROVE, REJECT = OPTIONS
LAPSED, UNSAID = "nobody answered in time", "no reason was given"
NUMBER = re.compile(r"[1-9][0-9]{0,17}")
VERSION = "version"  # all that the conf of a run may say
QUOTED = 80  # characters of a line that a message shows
ANEW = "Start a new run of the DAG, which asks about what holds now."


@dataclass(frozen=True)
class Expected:
    """What an answer must be an answer to.

    Attributes:
        dag: The DAG.
        dag_run_id: Its run.
        task: The task that asks.
        question: As the promoter makes it itself from the decision log.
        judged_at: When the verdict was recorded, ISO 8601.
    """

    dag: str
    dag_run_id: str
    task: str
    question: Question
    judged_at: str


@dataclass(frozen=True)
class Answered:
    """An answer that is what it looks like.

    Attributes:
        decision: What was decided.
        reviewer: Name on the allow-list; empty where time ran out.
        note: Why.
        seen: What the promoter bears witness to: the fields of `decisions.review.Witness` but the key's.
    """

    decision: Decision
    reviewer: str
    note: str
    seen: dict[str, str]


def version_of(run: DagRun) -> int:
    """The version that a run is about, by its partition key or its `conf`.

    Raises:
        VerdictError: It names none, or two; or its conf says more, which Airflow would fill into the reviewer's form.
    """
    conf = run.conf or {}
    more = sorted(set(conf) - {VERSION})
    if more:
        raise VerdictError(
            f"The conf of run '{run.dag_run_id}' has {more}: nothing but {VERSION!r} is allowed in it, since Airflow "
            "shows what else it holds as if the reviewer had filled it in. Start a new run without."
        )
    given = [run.partition_key, conf.get(VERSION)]
    named = {text for each in given if each is not None and (text := str(each).strip())}
    said = " and ".join(sorted(map(repr, named))) or "nothing"
    if len(named) != 1 or not NUMBER.fullmatch(number := named.pop()):
        raise VerdictError(
            f"Run '{run.dag_run_id}' names no version: its partition key or `version` in its conf should be one "
            f"number, received {said}."
        )
    return int(number)


def checked_answer(asked: Asked, expected: Expected, reviewers: Mapping[str, Reviewer]) -> Answered:
    """The answer to a question, once it is proven whose it is and what it answers.

    Args:
        asked: What Airflow says, read with the promoter's own account.
        expected: What the question must have been.
        reviewers: The allow-list.

    Raises:
        VerdictError: The message says what is wrong.
    """
    _check_place(asked, expected)
    _check_question(asked, expected.question)
    _check_received(asked)
    assert asked.responded_at is not None
    if asked.responded_at < datetime.fromisoformat(expected.judged_at):
        raise VerdictError(
            f"The answer is of {asked.responded_at.isoformat()}, before the verdict of {expected.judged_at}. {ANEW}"
        )
    decision = Decision.APPROVE if asked.chosen_options == [APPROVE] else Decision.REJECT
    lapsed = asked.responded_by_user is None
    reviewer = "" if lapsed else _reviewer(asked, reviewers)
    return Answered(
        decision, reviewer, LAPSED if lapsed else _reason(asked, decision), witnessed(asked, expected.question)
    )


def witnessed(asked: Asked, question: Question) -> dict[str, str]:
    """What the promoter saw, as it goes on the record."""
    task, responder, at = asked.task_instance, asked.responded_by_user, asked.responded_at
    return {
        "dag_id": task.dag_id,
        "dag_run_id": task.dag_run_id,
        "task_id": task.task_id,
        "task_instance_id": task.id,
        "responder": responder.name if responder else "",
        "responded_at": at.isoformat() if at else "",
        "body_digest": question.digest,
    }


def _check_place(asked: Asked, expected: Expected) -> None:
    task = asked.task_instance
    found = (task.dag_id, task.dag_run_id, task.task_id, task.map_index)
    wanted = (expected.dag, expected.dag_run_id, expected.task, UNMAPPED)
    if found != wanted:
        raise VerdictError(f"Airflow answered about the task {found}, asked was {wanted}.")


def _check_question(asked: Asked, question: Question) -> None:
    """What was shown must be what the decision log calls for: who approves another text approves nothing."""
    if asked.options != list(OPTIONS):
        raise VerdictError(f"The options were {asked.options}, not {list(OPTIONS)}. Mend the DAG.")
    for what, shown, made in (("subject", asked.subject, question.subject), ("body", asked.body, question.body)):
        if shown != made:
            raise VerdictError(
                f"The {what} that was shown is not what the decision log calls for now: {_difference(shown, made)}. "
                "Either the text was changed, or the version was judged anew since, or SEGLOOP_REPORTS_URL is not the "
                f"same for Airflow and the promoter. {ANEW}"
            )
    for name, field in asked.params.items():
        value = field.get("value") if isinstance(field, Mapping) else field
        if name != REASON or value:
            raise VerdictError(
                f"The form showed {value!r} in its field {name!r} before anybody filled it in; it should ask for "
                f"{REASON!r} alone, blank. {ANEW}"
            )


def _check_received(asked: Asked) -> None:
    if not asked.response_received or asked.responded_at is None:
        raise VerdictError(
            "Nobody has answered in Airflow, whatever the state of the task is. Answer there, under Required Actions."
        )
    if asked.chosen_options not in ([APPROVE], [REJECT]):
        raise VerdictError(f"Airflow says that {asked.chosen_options} was chosen; one of {list(OPTIONS)} was expected.")
    lapsed = asked.responded_by_user is None
    if lapsed and not asked.chosen_options == asked.defaults == [REJECT]:
        raise VerdictError(
            f"Airflow names nobody who has chosen {asked.chosen_options}: a task answered itself, or a default that "
            f"approves. Only {REJECT!r} may be the default."
        )


def _reviewer(asked: Asked, reviewers: Mapping[str, Reviewer]) -> str:
    """The reviewer who answered, by the account of Airflow that the allow-list names."""
    user = asked.responded_by_user
    assert user is not None
    assigned = [each.id for each in asked.assigned_users]
    if user.id not in assigned:
        raise VerdictError(
            f"Airflow's user '{user.name}' is not one of those who were asked "
            f"({', '.join(assigned) or 'nobody by name'}). Name the reviewers in the DAG's `assigned_users`."
        )
    name = next((each for each, reviewer in reviewers.items() if reviewer.airflow == user.name), None)
    if name is None:
        raise VerdictError(
            f"Airflow's user '{user.name}' is not on the allow-list of reviewers. Let a listed reviewer answer, or "
            f"merge the account: `segloop reviewer add NAME --airflow {user.name}`."
        )
    return name


def _reason(asked: Asked, decision: Decision) -> str:
    """Why: an approval needs it, a rejection counts without."""
    given = asked.params_input.get(REASON)
    text = given.strip() if isinstance(given, str) else ""
    if not text and decision is Decision.APPROVE:
        raise VerdictError(f"The approval gives no reason: the field '{REASON}' is blank. {ANEW}")
    return text or UNSAID


def _difference(shown: str | None, made: str) -> str:
    ours, theirs = made.splitlines(), (shown or "").splitlines()
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False), start=1):
        if one != other:
            return f"line {number} was shown as {other[:QUOTED]!r} and should be {one[:QUOTED]!r}"
    return f"{len(theirs)} lines were shown, {len(ours)} were expected"
