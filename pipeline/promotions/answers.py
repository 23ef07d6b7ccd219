"""Takes answers given in Airflow: each becomes a review on the record, and an approval a promotion, once."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.aliases import reconcile, show_state
from pipeline.approval_text import question
from pipeline.certify import certify
from pipeline.decisions.entry import CERTIFIED, Entry, Kind
from pipeline.decisions.line import part
from pipeline.decisions.log import Conflict
from pipeline.decisions.review import Review, checked_witness, is_witnessed, witnessed_draft
from pipeline.decisions.states import champion, check_four_eyes, legal, names_of, refuse_champion, standing_gate
from pipeline.dossier import Places
from pipeline.errors import OutageError, UserError, VerdictError
from pipeline.model_versions import Registered, fetch, find_version
from pipeline.promote import As, approved, valid_gate
from pipeline.promotions.airflow import Airflow, Asked
from pipeline.promotions.answer import Answer
from pipeline.promotions.evidence import ANEW, Answered, Expected, checked_answer, version_of, witnessed
from pipeline.promotions.settings import PromoterParams
from pipeline.registry_access import Registry
from pipeline.review import REVIEW_TAG, Decision, describe
from pipeline.run_author import authors_of
from pipeline.tracking import client, shown

ATTEMPTS = 3  # of an answer that other decisions overtake


@dataclass(frozen=True)
class _Case:
    """A run, its version, and the log as it was read for both."""

    version: Registered
    asked: Asked
    expected: Expected
    known: Sequence[Entry]

    @property
    def mine(self) -> list[Entry]:
        return [entry for entry in self.known if entry.model_name == self.version.name]


class Answers:
    """Takes answers, one after the other.

    Args:
        registry: The decision log, opened as promoter.
        airflow: Where answers are read.
        params: Section `promoter`.
        model_name: The registered model.
        places: Where today's holdout and the settings lie.
        reports_url: Where reports are served; empty where they are not.
    """

    def __init__(
        self,
        registry: Registry,
        airflow: Airflow,
        params: PromoterParams,
        model_name: str,
        places: Places,
        reports_url: str,
    ) -> None:
        self._registry, self._airflow, self._params = registry, airflow, params
        self._model_name, self._places, self._reports_url = model_name, places, reports_url
        self._one_at_a_time = threading.Lock()

    def take(self, dag_run_id: str) -> Answer:
        """Takes the answer of a run; what was taken before is not taken again.

        A refusal is for good, so only a verdict is one: on the answer, or on what it is about. Whatever is wrong around
        the promoter, from a file that is being rebuilt to an account without rights, says nothing of the answer.

        Raises:
            OutageError: Airflow, MLflow or the log is away, or the promoter lacks what it needs here; asking again goes
                on where it ended.
        """
        with self._one_at_a_time:
            for _ in range(ATTEMPTS):
                try:
                    return self._take(dag_run_id)
                except Conflict:
                    continue  # another process has decided something: all is looked at anew
                except VerdictError as error:
                    return Answer(outcome="refused", reason=str(error))
                except UserError as error:
                    raise OutageError(f"{error} The answer stands; it is taken once that is mended.") from error
        raise OutageError("Other decisions were faster, time and again. Nothing was lost; ask again later.")

    def _take(self, dag_run_id: str) -> Answer:
        case = self._case(dag_run_id)
        before = entry = _record_of(case)
        if entry is None:
            answered = checked_answer(case.asked, case.expected, self._registry.reviewers)
            _refuse_overtaken(case, answered)
            if answered.decision is Decision.APPROVE and champion(case.mine) == case.version.version:
                reason = f"{case.version.title} is the champion already; nothing was decided"
                return Answer(outcome="already", reason=reason, version=case.version.version)
            entry = self._record(case, answered)
            case = replace(case, known=[*case.known, entry])
        review, _ = checked_witness(entry, self._registry.promoter_keys)
        if review.decision == Decision.REJECT.value:
            return _rejected(case, entry, review, fresh=entry is not before)
        later = _promotion_since(case, entry)
        return self._already(case, entry, later) if later else self._promote(case, entry)

    def _case(self, dag_run_id: str) -> _Case:
        """Reads the run and its answer from Airflow, and the version and its verdict from the log."""
        number = version_of(self._airflow.run(dag_run_id))
        self._registry.log.check()
        known = self._registry.log.entries()
        # By the log, before MLflow is asked: what that lacks may come back, a version that nobody judged does not.
        judged = _last_gate(known, self._model_name, number)
        version = find_version(self._model_name, str(number))
        asked = self._airflow.asked(dag_run_id)
        verdict = self._registry.verdict(version)
        assert verdict is not None
        asking = question(verdict, judged.sequence, self._reports_url)
        expected = Expected(self._params.dag, dag_run_id, self._params.task, asking, judged.at)
        return _Case(version, asked, expected, known)

    def _record(self, case: _Case, answered: Answered) -> Entry:
        """Appends the review, once nothing stands against what it says; an approval in vain is not recorded."""
        version, registry = case.version, self._registry
        with _ruled():
            legal(case.mine, Kind.REVIEW, version.version)
        statement = describe(registry, version, answered.decision, answered.reviewer, answered.note)
        # At the place after all that was looked at: what was decided since, another verdict say, wins.
        statement = statement.model_copy(update={"sequence": case.known[-1].sequence + 1})
        if registry.params.four_eyes and answered.reviewer:
            names = names_of(answered.reviewer, registry.reviewers)
            check_four_eyes(version.version, names, authors_of(version, case.mine))
        if answered.decision is Decision.APPROVE:
            gate_digest, model_digest = valid_gate(registry, version, self._places), fetch(version).model_digest
            with _ruled():
                refuse_champion(case.mine, version.version)
                standing_gate(case.mine, version.version, gate_digest=gate_digest, model_digest=model_digest)
        assert registry.key is not None  # opened as promoter
        draft = witnessed_draft(registry.key, statement, answered.seen)
        entry = registry.log.append(draft, expected_sequence=statement.sequence)
        with shown("review"):
            said = f"{answered.decision.value} by {answered.reviewer or 'nobody'}"
            client().set_model_version_tag(version.name, str(version.version), REVIEW_TAG, said)
            show_state(version.name, registry.log.entries(version.name), version.version)
        return entry

    def _promote(self, case: _Case, entry: Entry) -> Answer:
        """Lets the version serve, by all that `segloop promote` checks."""
        registry, version = self._registry, case.version
        with _ruled():
            refuse_champion(case.mine, version.version)
        files = fetch(version)
        reasons = approved(
            registry, version, files, case.mine, As.CHAMPION, valid_gate(registry, version, self._places)
        )
        certificate = certify(registry, version, files, reasons, case.known)
        return Answer(
            outcome="promoted",
            reason=f"{version.title} is the champion by decision {certificate.sequence}, {reasons.note}",
            version=version.version,
            review=entry.sequence,
            certificate=certificate.sequence,
        )

    def _already(self, case: _Case, entry: Entry, later: Entry) -> Answer:
        """Says what was decided before, and makes MLflow show it: a promotion that was cut off goes on."""
        reconcile(case.version.name, case.mine)
        return Answer(
            outcome="already",
            reason=f"{case.version.title} was promoted before, by decision {later.sequence}, {later.note}",
            version=case.version.version,
            review=entry.sequence,
            certificate=later.sequence,
        )


@contextmanager
def _ruled() -> Iterator[None]:
    """What a person at the terminal got wrong is, in an answer, a verdict on it: asking again mends nothing."""
    try:
        yield
    except UserError as error:
        raise VerdictError(str(error)) from None


def _last_gate(known: Sequence[Entry], model_name: str, version: int) -> Entry:
    """The decision that holds the last verdict on a version.

    Raises:
        VerdictError: It was never judged, if there is such a version at all.
    """
    for entry in reversed(known):
        if entry.kind == Kind.GATE and (entry.model_name, entry.version) == (model_name, version):
            return entry
    raise VerdictError(f"{model_name} version {version} was never judged: run `segloop gate {version}`. {ANEW}")


def _record_of(case: _Case) -> Entry | None:
    """The decision by which this very answer was recorded; None without one.

    Raises:
        VerdictError: The run's name is on the record with another answer, or about another version.
    """
    now = witnessed(case.asked, case.expected.question)
    for entry in filter(is_witnessed, case.mine):
        seen = part(entry, "witness")
        if seen.get("dag_run_id") != now["dag_run_id"] or seen.get("dag_id") != now["dag_id"]:
            continue
        same = ("task_instance_id", "responder", "responded_at")
        if entry.version != case.version.version or any(seen.get(name) != now[name] for name in same):
            raise VerdictError(
                f"Run '{now['dag_run_id']}' gave decision {entry.sequence} about version {entry.version} already, by "
                f"another answer: one run, one answer. {ANEW}"
            )
        return entry
    return None


def _refuse_overtaken(case: _Case, answered: Answered) -> None:
    """Refuses an answer that lay about while the version was reviewed anew: the later word stands.

    Raises:
        VerdictError: A review on the record was given after it.
    """
    given = datetime.fromisoformat(answered.seen["responded_at"])
    for entry in case.mine:
        if entry.version == case.version.version and entry.kind == Kind.REVIEW:
            later = str(part(entry, "witness").get("responded_at", entry.at))
            if datetime.fromisoformat(later) > given:
                raise VerdictError(
                    f"The answer is of {given.isoformat()}, and decision {entry.sequence} is a review of {later}: the "
                    f"later one stands. {ANEW}"
                )


def _promotion_since(case: _Case, review: Entry) -> Entry | None:
    """The first decision after a review by which its version came to serve."""
    later = [entry for entry in case.mine if entry.sequence > review.sequence and entry.kind in CERTIFIED]
    ours = [entry for entry in later if entry.version == review.version]
    return next((entry for entry in ours if part(entry, "certificate").get("scope") == As.CHAMPION), None)


def _rejected(case: _Case, entry: Entry, review: Review, *, fresh: bool) -> Answer:
    who = f"'{review.reviewer}' rejected {case.version.title}" if review.reviewer else f"{case.version.title} lapsed"
    return Answer(
        outcome="rejected" if fresh else "already",
        reason=f"{who}, decision {entry.sequence}: {review.note}",
        version=case.version.version,
        review=entry.sequence,
    )
