"""From a judged version to a champion and back, and every way that must not lead there."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
import registry_case
import yaml
from mlflow import MlflowClient

from pipeline import audit, gate, promote, registry, review, reviewer, rollback, verify, versions
from pipeline.errors import SegloopError, UserError, VerdictError
from pipeline.review import Decision
from pipeline.reviewer import Act

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two registered versions, a promoter's key, and the reviewer alice."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("MLFLOW_TRACKING_URI", "SEGLOOP_DECISIONS", "SEGLOOP_PROMOTER_KEY"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    registry_case.write_workspace(Path.cwd())
    registry.main(registry.Act.INIT)
    reviewer.main(Act.ADD, "alice")


def approve(version: str) -> None:
    """Judges a version and lets alice approve it."""
    gate.main(version)
    review.main(version, Decision.APPROVE, "looked at it", "alice")


def champion_is(version: str) -> None:
    """Brings a version to the top in the ordinary way."""
    approve(version)
    promote.main(version)


def test_a_version_gets_to_the_top_and_back() -> None:
    """First promotion, a second one, a rollback: aliases follow, and each champion's certificate holds, no other."""
    champion_is("1")
    assert registry_case.aliases() == {"candidate": 2, "champion": 1}
    verify.main("champion")
    champion_is("2")
    assert registry_case.aliases() == {"candidate": 2, "champion": 2, "previous": 1}
    verify.main("2")
    with pytest.raises(VerdictError, match="replayed"):
        verify.main("1")
    rollback.main("people are missed")
    assert registry_case.aliases() == {"candidate": 2, "champion": 1}
    verify.main("1")
    with pytest.raises(VerdictError, match="replayed"):
        verify.main("2")
    audit.main()
    versions.main(log=True)


def test_nothing_is_promoted_without_gate_and_approval() -> None:
    """Each missing step is an error that names the command for it."""
    with pytest.raises(UserError, match=r"never judged\. Run `segloop gate 1`"):
        promote.main("1")
    gate.main("1")
    with pytest.raises(UserError, match="nobody has reviewed it"):
        promote.main("1")
    review.main("1", Decision.REJECT, "pallets look odd", "alice")
    with pytest.raises(VerdictError, match="rejected version 1: pallets look odd"):
        promote.main("1")
    assert "champion" not in registry_case.aliases()


def test_a_review_needs_a_listed_key_a_note_and_four_eyes() -> None:
    """The author, a stranger, and a wordless reviewer are turned away; so is who reviews before the gate."""
    with pytest.raises(UserError, match="registered, so a review is not possible"):
        review.main("1", Decision.APPROVE, "fine", "alice")
    gate.main("1")
    with pytest.raises(UserError, match="note is empty"):
        review.main("1", Decision.APPROVE, " ", "alice")
    reviewer.main(Act.ADD, "ada")
    with pytest.raises(VerdictError, match="'ada' trained segmenter version 1"):
        review.main("1", Decision.APPROVE, "fine", "ada")
    keys = Path.home() / ".config/segloop/reviewers"
    shutil.copy(keys / "ada.pem", keys / "mallory.pem")
    with pytest.raises(UserError, match=r"'mallory' is no reviewer; .* lists alice, ada"):
        review.main("1", Decision.APPROVE, "fine", "mallory")
    with pytest.raises(UserError, match="'alice' with this key is not on"):
        review.main("1", Decision.APPROVE, "fine", "alice", keys / "mallory.pem")


@pytest.mark.parametrize("change", ["settings", "holdout", "champion"])
def test_a_verdict_is_void_once_its_world_has_changed(change: str) -> None:
    """Other levels, another holdout or another champion since the gate void the approval."""
    approve("2")
    if change == "settings":
        sections = yaml.safe_load(Path("params.yaml").read_text())
        sections["gate"]["miou"] = 0.11
        Path("params.yaml").write_text(yaml.safe_dump(sections))
    elif change == "holdout":
        facts = json.loads(Path("data/holdout.json").read_text())
        Path("data/holdout.json").write_text(json.dumps(facts | {"digest": "0" * 64}))
    else:
        champion_is("1")
    with pytest.raises(VerdictError, match="gate is void"):
        promote.main("2")


def test_an_override_is_recorded_as_one() -> None:
    """`--force` needs a note and a verdict of any outcome, needs no approval, and every record says so."""
    with pytest.raises(UserError, match="needs --note"):
        promote.main("1", force=True)
    with pytest.raises(UserError, match=r"was never judged: run `segloop gate 1` first"):
        promote.main("1", force=True, note="the fleet stands still")
    gate.main("1")
    promote.main("1", force=True, note="the fleet stands still")
    certificate = json.loads(registry_case.tags(1)["segloop.certificate"])
    assert (certificate["override"], certificate["reviewer"]) == (True, "")
    verify.main("1")


def test_forged_tags_prove_nothing() -> None:
    """An approval, a state or an alias that somebody writes into MLflow promotes nothing, and reconcile mends it."""
    gate.main("1")
    store = MlflowClient()
    store.set_model_version_tag("segmenter", "1", "segloop.review", "approve by alice")
    store.set_model_version_tag("segmenter", "1", "segloop.state", "approved")
    store.set_registered_model_alias("segmenter", "champion", "1")
    with pytest.raises(UserError, match="nobody has reviewed it"):
        promote.main("1")
    with pytest.raises(VerdictError, match="no certificate"):
        verify.main("1")
    registry.main(registry.Act.RECONCILE)
    assert "champion" not in registry_case.aliases()
    assert registry_case.tags(1)["segloop.state"] == "gated"


def test_a_copied_version_has_no_right_to_serve() -> None:
    """Copying a version copies its tags; the certificate is for another version and is refused."""
    champion_is("1")
    copied = registry_case.register(Path("case/champion").resolve())
    tag = "segloop.certificate"
    MlflowClient().set_model_version_tag("segmenter", str(copied), tag, registry_case.tags(1)[tag])
    with pytest.raises(VerdictError, match="not for version 3"):
        verify.main(str(copied))


def test_a_changed_certificate_or_scope_is_refused() -> None:
    """A field changed in the certificate, and a scope it was not issued for, do not hold."""
    champion_is("1")
    with pytest.raises(VerdictError, match="scope 'champion', not for 'canary'"):
        verify.main("1", promote.As.CANARY)
    forged = json.loads(registry_case.tags(1)["segloop.certificate"]) | {"scope": "canary"}
    MlflowClient().set_model_version_tag("segmenter", "1", "segloop.certificate", json.dumps(forged))
    with pytest.raises(VerdictError, match="does not fit its signature"):
        verify.main("1", promote.As.CANARY)


def test_a_changed_model_file_is_refused() -> None:
    """A graph that was exchanged after the promotion is noticed, though a copy from before lies here."""
    champion_is("1")
    file = registry_case.artifact_file(1, "export/model.onnx")
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(SegloopError, match="not those that were registered"):
        verify.main("1")


def test_a_promotion_that_mlflow_missed_is_made_up_for() -> None:
    """The log holds what was decided; reconcile makes the aliases follow, and is a no-op afterwards."""
    champion_is("1")
    store = MlflowClient()
    store.delete_registered_model_alias("segmenter", "champion")
    store.delete_model_version_tag("segmenter", "1", "segloop.certificate")
    registry.main(registry.Act.RECONCILE, dry_run=True)
    assert "champion" not in registry_case.aliases()
    registry.main(registry.Act.RECONCILE)
    assert registry_case.aliases()["champion"] == 1
    verify.main("1")


def test_promoting_the_champion_again_only_makes_mlflow_follow(capsys: pytest.CaptureFixture[str]) -> None:
    """A promotion that was cut off before the aliases is completed by the same command, without a new decision."""
    champion_is("1")
    MlflowClient().delete_registered_model_alias("segmenter", "champion")
    promote.main("1")
    assert registry_case.aliases()["champion"] == 1
    assert "nothing was decided; MLflow did not show it: alias champion" in capsys.readouterr().out
    verify.main("1")


def test_a_rollback_is_not_repeated_by_mistake() -> None:
    """While MLflow does not show the last rollback, another one is refused; afterwards it may be meant."""
    for version in ("1", "2", str(registry_case.register(Path("case/champion").resolve()))):
        champion_is(version)
    rollback.main("people are missed")
    MlflowClient().set_registered_model_alias("segmenter", "champion", "3")
    with pytest.raises(UserError, match="has rolled back to version 2 already"):
        rollback.main("people are missed")
    registry.main(registry.Act.RECONCILE)
    gate.main("3", again=True)
    MlflowClient().delete_model_version_tag("segmenter", "3", "segloop.gate")
    rollback.main("2 is no better")
    assert registry_case.aliases()["champion"] == 1


def test_a_version_that_mlflow_lost_holds_nothing_else_up() -> None:
    """The new champion gets its alias and certificate though the one before it was deleted, which is told."""
    champion_is("1")
    approve("2")
    MlflowClient().delete_model_version("segmenter", "1")
    with pytest.raises(UserError, match="version 1 is the champion, but MLflow lacks it"):
        gate.main("2")
    promote.main("2")
    verify.main("champion")
    with pytest.raises(UserError, match=r"has lost version 1 \(previous\)"):
        registry.main(registry.Act.RECONCILE)


def test_a_champion_that_cannot_be_compared_with_is_followed_by_override_only() -> None:
    """Judged alone, a version is neither called a first promotion nor promoted without `--force`."""
    champion_is("1")
    MlflowClient().delete_model_version("segmenter", "1")
    with pytest.raises(UserError, match="segloop gate 2 --alone"):
        gate.main("2")
    gate.main("2", alone=True)
    review.main("2", Decision.APPROVE, "nothing else is left", "alice")
    with pytest.raises(VerdictError, match="was judged alone"):
        promote.main("2")
    promote.main("2", force=True, note="MLflow lost the champion")
    verify.main("champion")


def test_editing_the_author_after_the_gate_does_not_make_four_eyes() -> None:
    """The log keeps whom the run named when it was judged."""
    gate.main("1")
    reviewer.main(Act.ADD, "ada")
    run = MlflowClient().get_model_version("segmenter", "1").run_id
    MlflowClient().set_tag(str(run), "mlflow.user", "eve")
    with pytest.raises(VerdictError, match="'ada' trained segmenter version 1"):
        review.main("1", Decision.APPROVE, "fine", "ada")


def test_a_tag_opens_a_review_and_decides_nothing() -> None:
    """Who asks for a review in MLflow's pages gets one opened in the log; the version still needs a reviewer."""
    gate.main("1")
    MlflowClient().set_model_version_tag("segmenter", "1", "segloop.review", "asked")
    registry.main(registry.Act.RECONCILE)
    registry.main(registry.Act.RECONCILE)
    assert registry_case.tags(1)["segloop.state"] == "review asked"
    with pytest.raises(UserError, match="nobody has reviewed it"):
        promote.main("1")


def test_a_log_that_was_cut_short_is_noticed_and_takes_nothing() -> None:
    """An entry removed from the end of the database fails the audit, and nothing is decided on top of it."""
    champion_is("1")
    with sqlite3.connect("decisions.db") as database:
        database.execute("DELETE FROM decisions WHERE sequence = 3")
        database.execute("DELETE FROM heads WHERE sequence = 3")
    with pytest.raises(VerdictError, match="faults"):
        audit.main()
    with pytest.raises(VerdictError, match="does not stand up to its audit"):
        gate.main("2")


def test_a_deleted_champion_is_named() -> None:
    """When MLflow lost the champion, the gate says so with the remedy."""
    champion_is("1")
    MlflowClient().delete_model_version("segmenter", "1")
    with pytest.raises(UserError, match="version 1 is the champion, but MLflow lacks it"):
        gate.main("2")


def test_brackets_in_a_note_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a reviewer writes is shown as written, for ever."""
    gate.main("1")
    review.main("1", Decision.APPROVE, "ok [/bold] [red]see[/red]", "alice")
    versions.main(log=True)
    assert "[/bold]" in capsys.readouterr().out


def test_a_canary_ends_with_the_next_champion() -> None:
    """Its certificate holds until then, and is a replay afterwards."""
    approve("1")
    promote.main("1", promote.As.CANARY)
    verify.main("1", promote.As.CANARY)
    champion_is("2")
    with pytest.raises(VerdictError, match="replayed"):
        verify.main("1", promote.As.CANARY)


def test_an_older_log_is_not_believed() -> None:
    """A database taken back to before a promotion neither verifies nor moves an alias."""
    champion_is("1")
    shutil.copy("decisions.db", "older.db")
    champion_is("2")
    shutil.copy("older.db", "decisions.db")
    for act in (lambda: verify.main("1"), lambda: promote.main("1")):
        with pytest.raises(VerdictError, match="does not stand up to its audit"):
            act()
    assert registry_case.aliases()["champion"] == 2


def test_a_certificate_forged_in_mlflow_is_no_fault_of_the_log() -> None:
    """The audit names the remedy that mends it."""
    champion_is("1")
    forged = json.loads(registry_case.tags(1)["segloop.certificate"]) | {"version": 2}
    MlflowClient().set_model_version_tag("segmenter", "2", "segloop.certificate", json.dumps(forged))
    with pytest.raises(VerdictError, match="is sound, MLflow shows forged certificates: `segloop registry reconcile`"):
        audit.main()
    registry.main(registry.Act.RECONCILE)
    audit.main()


@pytest.mark.parametrize("name", ["../promoter", "/etc/evil", ".hidden", "a" * 300, "a\nb", ""])
def test_a_reviewers_name_leads_no_file_elsewhere(name: str) -> None:
    """Names that are paths, endless or unprintable are refused before a key is made."""
    with pytest.raises(UserError, match="name"):
        reviewer.main(Act.ADD, name)
    assert sorted(file.name for file in (Path.home() / ".config/segloop").rglob("*.pem")) == [
        "alice.pem",
        "promoter.pem",
    ]


def test_a_second_promoters_key_is_not_made_by_the_way() -> None:
    """Where the workspace trusts a key that is not at hand, nothing is made."""
    key = Path.home() / ".config/segloop/promoter.pem"
    key.unlink()
    with pytest.raises(UserError, match="whose private half is not at"):
        registry.main(registry.Act.INIT)
    assert not key.exists()
