"""From an answer in Airflow to a champion, and every answer that must not lead there."""

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import registry_case
import yaml
from decisions import INTRUDER
from mlflow import MlflowClient
from promoter_case import (
    RUN,
    Pages,
    add_section,
    airflow_pages,
    answers,
    asked,
    enter_workspace,
    lapsed,
    opened,
    unanswered,
)

from pipeline import audit, gate, promote, review, reviewer, rollback, verify
from pipeline.approval_text import Question, question
from pipeline.decisions.entry import Draft, Entry, Kind
from pipeline.decisions.review import witnessed_draft
from pipeline.errors import OutageError, UserError, VerdictError
from pipeline.gating.verdict import Verdict
from pipeline.promotions.evidence import checked_answer
from pipeline.reviewer import Act
from pipeline.tracking import TRIGGER_TAG

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(autouse=True)
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pages]:
    """Two registered versions, the first judged; alice by her account in Airflow; and a stand-in for Airflow."""
    enter_workspace(tmp_path, monkeypatch)
    with airflow_pages() as pages:
        add_section(airflow=pages.url)
        yield pages


def log() -> list[Entry]:
    """The decisions."""
    return opened().log.entries()


def kinds() -> list[str]:
    """What was decided."""
    return [entry.kind for entry in log()]


def asking(version: int = 1) -> Question:
    """What the last verdict on a version asks."""
    entry = next(each for each in reversed(log()) if each.version == version and each.kind == "gate")
    return question(Verdict.model_validate(entry.payload["verdict"]), entry.sequence, "")


def test_an_approval_in_airflow_is_recorded_and_promotes(pages: Pages) -> None:
    """One review that the promoter bears witness to, one promotion by it; every command believes both."""
    pages.add(asked(asking()))
    answer = answers().take(RUN)
    assert (answer.outcome, answer.version, answer.review, answer.certificate) == ("promoted", 1, 2, 3)
    assert "approved by Alice A.: pallets are better" in answer.reason
    entry = log()[1]
    assert (entry.actor, entry.payload["witness"]["responder"]) == ("Alice A.", "alice")
    assert (entry.payload["witness"]["dag_run_id"], entry.payload["witness"]["body_digest"]) == (RUN, asking().digest)
    assert registry_case.aliases()["champion"] == 1
    certificate = json.loads(registry_case.tags(1)["segloop.certificate"])
    assert (certificate["reviewer"], certificate["override"]) == ("Alice A.", False)
    audit.main()
    verify.main("1")


def test_an_answer_is_taken_once(pages: Pages) -> None:
    """A second call, two at once, and one after a rollback decide nothing."""
    pages.add(asked(asking()))
    with ThreadPoolExecutor(3) as pool:  # two promoters, one of them asked twice
        one, other = answers(), answers()
        outcomes = [each.outcome for each in pool.map(lambda each: each.take(RUN), (one, other, one))]
    assert sorted(outcomes) == ["already", "already", "promoted"]
    gate.main("2")
    pages.add(asked(asking(2), "second"), 2)
    assert answers().take("second").outcome == "promoted"
    rollback.main("people are missed")
    before = kinds()
    again = answers().take("second")
    assert (again.outcome, again.certificate) == ("already", 6)
    assert kinds() == before
    assert registry_case.aliases()["champion"] == 1


def test_a_rejection_is_recorded(pages: Pages) -> None:
    """By a reviewer, or by the lapse of time; neither promotes, and neither is recorded twice."""
    pages.add(asked(asking(), "no", chosen_options=["Reject"], params_input={"reason": "pallets look odd"}))
    pages.add(lapsed(asking(), "late"))
    assert (answers().take("no").outcome, answers().take("no").outcome) == ("rejected", "already")
    with pytest.raises(VerdictError, match=r"'Alice A\.' rejected version 1: pallets look odd"):
        promote.main("1")
    late = answers().take("late")
    assert (late.outcome, late.reason) == (
        "rejected",
        "segmenter version 1 lapsed, decision 3: nobody answered in time",
    )
    with pytest.raises(VerdictError, match="The lapse of time rejected version 1"):
        promote.main("1")
    assert kinds() == ["gate", "review", "review"]
    audit.main()


def test_what_is_refused_leaves_no_trace(pages: Pages) -> None:
    """Forgeries, other texts, other people and runs about another version append nothing."""
    body = asking().body
    stranger = {"id": "mallory", "name": "mallory"}
    forged = {
        "set to success": unanswered(asking(), "r"),
        "another body": asked(asking(), "r", body=body.replace("0.", "1.", 1)),
        "a stranger": asked(asking(), "r", responded_by_user=stranger, assigned_users=[stranger]),
        "no reason": asked(asking(), "r", params_input={"reason": " "}),
        "too early": asked(asking(), "r", responded_at="2020-01-01T00:00:00Z"),
        "another run": asked(asking(), "r") | {"task_instance": asked(asking(), "other")["task_instance"]},
    }
    for what, told in forged.items():
        pages.runs["r"] = ({"dag_id": "promotion", "dag_run_id": "r", "partition_key": "1"}, told)
        assert answers().take("r").outcome == "refused", what
    pages.add(asked(asking(), "r"), 2)  # the answer about version 1 in a run about version 2, which was never judged
    assert "never judged" in answers().take("r").reason
    gate.main("2")
    assert "subject that was shown" in answers().take("r").reason
    assert "Airflow knows no run" in answers().take("unknown").reason
    assert kinds() == ["gate", "gate"]


def test_a_run_made_anew_under_its_old_name_is_refused(pages: Pages) -> None:
    """One run, one answer: neither another version nor another answer hides behind a name that was used."""
    pages.add(asked(asking()))
    assert answers().take(RUN).outcome == "promoted"
    gate.main("2")
    pages.add(asked(asking(2)), 2)
    assert "gave decision 2 about version 1 already" in answers().take(RUN).reason
    told = asked(asking(2))
    told["task_instance"]["id"] = "a task cleared and answered again"
    pages.add(told, 2)
    assert answers().take(RUN).outcome == "refused"
    assert registry_case.aliases()["champion"] == 1


def test_a_verdict_that_no_longer_holds_promotes_nothing(pages: Pages) -> None:
    """Settings, holdout or a new verdict since: an approval in vain is refused before it is recorded."""
    pages.add(asked(asking()))
    params, holdout = Path("params.yaml").read_text(), Path("data/holdout.json").read_text()
    sections = yaml.safe_load(params)
    sections["gate"]["miou"] = 0.11
    Path("params.yaml").write_text(yaml.safe_dump(sections))
    assert "gate is void" in answers().take(RUN).reason
    Path("params.yaml").write_text(params)
    Path("data/holdout.json").write_text(json.dumps(json.loads(holdout) | {"digest": "0" * 64}))
    assert "gate is void" in answers().take(RUN).reason
    Path("data/holdout.json").write_text(holdout)
    gate.main("1", again=True)
    assert "body that was shown" in answers().take(RUN).reason
    assert kinds() == ["gate", "gate"]


def test_who_trained_a_version_may_not_approve_it_in_airflow(pages: Pages) -> None:
    """Neither by the name on the list nor by the account: the run's author is `ada`."""
    reviewer.main(Act.ADD, "Ada L.", airflow="ada")
    ada = {"id": "ada", "name": "ada"}
    pages.add(asked(asking(), responded_by_user=ada, assigned_users=[ada]))
    answer = answers().take(RUN)
    assert (answer.outcome, answer.reason.partition(":")[0]) == ("refused", "'Ada L.' trained version 1")
    assert kinds() == ["gate"]


def test_who_started_a_training_in_airflow_may_not_approve_it(pages: Pages) -> None:
    """Whatever git says of the author: the account that started the run counts as well."""
    MlflowClient().set_tag(MlflowClient().get_model_version("segmenter", "1").run_id, TRIGGER_TAG, "rita")
    reviewer.main(Act.ADD, "Rita R.", airflow="rita")
    rita = {"id": "rita", "name": "rita"}
    pages.add(asked(asking(), responded_by_user=rita, assigned_users=[rita]))
    answer = answers().take(RUN)
    assert (answer.outcome, answer.reason.partition(":")[0]) == ("refused", "'Rita R.' trained version 1")


def test_a_promotion_that_was_cut_off_goes_on(pages: Pages) -> None:
    """An approval on the record without its promotion is promoted by the same call, or by hand."""
    pages.add(asked(asking()))
    holdout = Path("data/holdout.json")
    whole = answers()
    case = whole._case(RUN)
    whole._record(case, _checked(case))
    assert kinds() == ["gate", "review"]
    shutil.copy(holdout, "aside.json")
    holdout.write_text("{}")
    assert "gate is void" in answers().take(RUN).reason
    shutil.copy("aside.json", holdout)
    answer = answers().take(RUN)
    assert (answer.outcome, answer.review, answer.certificate) == ("promoted", 2, 3)


def test_an_approval_on_the_record_can_be_promoted_by_hand(pages: Pages) -> None:
    """`segloop promote` takes a witnessed review as it takes a signed one, while the account is listed."""
    pages.add(asked(asking()))
    whole = answers()
    case = whole._case(RUN)
    whole._record(case, _checked(case))
    listed = Path("data/reviewers.yaml").read_text()
    Path("data/reviewers.yaml").write_text(listed.replace("airflow: alice", "airflow: eve"))
    with pytest.raises(VerdictError, match=r"'alice' of decision 2 is not listed as reviewer 'Alice A\.'"):
        promote.main("1")
    Path("data/reviewers.yaml").write_text(listed)
    promote.main("1")
    verify.main("1")


def test_a_later_rejection_by_key_counts(pages: Pages) -> None:
    """Between the record of an approval and its promotion another reviewer may say no."""
    reviewer.main(Act.ADD, "bob")
    pages.add(asked(asking()))
    whole = answers()
    case = whole._case(RUN)
    whole._record(case, _checked(case))
    review.main("1", review.Decision.REJECT, "not over the holidays", "bob")
    assert "'bob' rejected version 1" in answers().take(RUN).reason
    assert kinds() == ["gate", "review", "review"]


def test_an_approval_that_lay_about_does_not_undo_a_later_rejection(pages: Pages) -> None:
    """Nobody promotes by a run that was approved, never taken, and rejected in a later run or by key."""
    early, late = "2036-01-01T00:00:00Z", "2036-01-01T00:00:01Z"
    pages.add(asked(asking(), "early", responded_at=early))
    pages.add(asked(asking(), "late", responded_at=late, chosen_options=["Reject"]))
    assert answers().take("late").outcome == "rejected"
    answer = answers().take("early")
    assert (answer.outcome, "the later one stands" in answer.reason) == ("refused", True)
    assert kinds() == ["gate", "review"]


def test_the_champion_is_not_promoted_again(pages: Pages) -> None:
    """An approval of what serves already is no error, and decides nothing."""
    pages.add(asked(asking()))
    promote.main("1", force=True, note="the fleet stands still")
    answer = answers().take(RUN)
    assert (answer.outcome, answer.certificate) == ("already", None)
    assert kinds() == ["gate", "promotion"]


def test_nobody_forges_a_witness_without_the_promoters_key(monkeypatch: pytest.MonkeyPatch, pages: Pages) -> None:
    """Without the key nothing is appended; what is written past the log fails the audit and promotes nothing."""
    registry_, entry = opened(), log()[0]
    statement = review.describe(
        registry_, gate.find_version("segmenter", "1"), review.Decision.APPROVE, "Alice A.", "x"
    )
    forged = witnessed_draft(INTRUDER, statement, _seen())
    with pytest.raises(UserError, match="not signed by a trusted promoter's key"):
        registry_.log.append(forged)
    monkeypatch.setenv("SEGLOOP_PROMOTER_KEY", "nowhere.pem")
    ordinary = opened(as_promoter=False)
    with pytest.raises(UserError, match="A witnessed review needs the promoter's private key"):
        ordinary.log.append(forged)
    ordinary.log._insert(forged.placed(2, entry.at, entry.hash), None)
    monkeypatch.delenv("SEGLOOP_PROMOTER_KEY")
    with pytest.raises(VerdictError, match="faults"):
        audit.main()
    with pytest.raises(VerdictError, match="whoever wrote it, the promoter did not"):
        promote.main("1")
    pages.add(asked(asking()))
    assert "does not stand up to its audit" in answers().take(RUN).reason


def test_a_witness_does_not_fit_another_entry(pages: Pages) -> None:
    """A true answer about one version, copied to another by who has the key to nothing, is noticed."""
    pages.add(asked(asking()))
    answers().take(RUN)
    true = log()[1]
    gate.main("2")
    last = log()[-1]
    copied = Draft(
        Kind.REVIEW,
        true.model_name,
        2,
        last.model_digest,
        true.actor,
        last.gate_digest,
        true.note,
        payload=true.payload,
    )
    opened().log._insert(copied.placed(last.sequence + 1, last.at, last.hash), None)
    with pytest.raises(VerdictError, match="faults"):
        audit.main()


def test_an_outage_is_no_refusal(pages: Pages) -> None:
    """Airflow away: the caller may ask again; and then it goes on."""
    pages.add(asked(asking()))
    whole = answers()
    pages.refuses = [503, 503]
    with pytest.raises(OutageError, match="does not answer"):
        whole.take(RUN)
    assert whole.take(RUN).outcome == "promoted"


def _away(file: str) -> None:
    Path(file).rename("aside")


def _damaged(file: str) -> None:
    shutil.copy(file, "aside")
    Path(file).write_text('{"digest')


@pytest.mark.parametrize(
    ("spoil", "file"),
    [
        (_away, "data/holdout.json"),  # so it is while `dvc repro prepare` runs
        (_damaged, "data/holdout.json"),
        (_away, "data/taxonomy.yaml"),
        (_damaged, "params.yaml"),
        (_damaged, "data/reviewers.yaml"),
        (_away, "../home/.config/segloop/airflow.password"),
    ],
)
def test_what_is_wrong_around_the_promoter_is_no_refusal(pages: Pages, spoil: Callable[[str], None], file: str) -> None:
    """A file that is missing or damaged says nothing of an honest answer, which is taken once it is back."""
    pages.add(asked(asking()))
    whole = answers()
    spoil(file)
    with pytest.raises(OutageError, match="The answer stands; it is taken once that is mended"):
        whole.take(RUN)
    Path("aside").rename(file)
    assert kinds() == ["gate"]
    assert whole.take(RUN).outcome == "promoted"


@pytest.mark.parametrize("status", [401, 403, 418])
def test_an_account_without_rights_is_no_refusal(pages: Pages, status: int) -> None:
    """Whoever runs Airflow mends that; the answer in it is what it is."""
    pages.add(asked(asking()))
    whole = answers()
    pages.refuses = [status] * 4
    with pytest.raises(OutageError, match=f"status {status}"):
        whole.take(RUN)
    pages.refuses = []
    assert whole.take(RUN).outcome == "promoted"


@pytest.mark.parametrize("version", [2, 99])
def test_a_run_about_a_version_that_was_never_judged_is_refused(pages: Pages, version: int) -> None:
    """Asking again would mend nothing, whether or not there is such a version."""
    pages.add(asked(asking()), version)
    answer = answers().take(RUN)
    assert (answer.outcome, f"version {version} was never judged" in answer.reason) == ("refused", True)


def test_an_answer_about_a_version_that_its_gate_has_blocked_since_is_refused(pages: Pages) -> None:
    """A rejection as well as an approval: it has no place where the version stands."""
    sections = yaml.safe_load(Path("params.yaml").read_text())
    sections["gate"]["miou"] = 1.0
    Path("params.yaml").write_text(yaml.safe_dump(sections))
    with pytest.raises(VerdictError):
        gate.main("1", again=True)
    for name, option in (("yes", "Approve"), ("no", "Reject")):
        pages.add(asked(asking(), name, chosen_options=[option]))
        answer = answers().take(name)
        assert (answer.outcome, "is blocked, so a review is not possible" in answer.reason) == ("refused", True)
    assert kinds() == ["gate", "gate"]


def test_the_dossiers_address_is_part_of_the_question(pages: Pages) -> None:
    """Where the address that was shown is not the promoter's own, somebody may have shown another page."""
    pages.add(asked(asking()))
    answer = answers("http://127.0.0.1:8900").take(RUN)
    assert "SEGLOOP_REPORTS_URL" in answer.reason
    assert MlflowClient().get_registered_model("segmenter").aliases.get("champion") is None


def _checked(case: Any) -> Any:
    return checked_answer(case.asked, case.expected, opened().reviewers)


def _seen() -> dict[str, str]:
    names = ("dag_id", "dag_run_id", "task_id", "task_instance_id", "responder", "responded_at", "body_digest")
    return dict.fromkeys(names, "forged")
