"""Decisions on models against a real MLflow server where everybody has an account, and one that dies amid them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import registry_case
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow_server import ADMIN, Server, code_block, killing_proxy, mlflow_server, password
from registry_case import NAME, ROOT

from pipeline import audit, gate, promote, registry, review, reviewer, rollback, verify, versions
from pipeline.command import exit_code
from pipeline.decisions.entry import Kind
from pipeline.decisions.log import DecisionLog
from pipeline.errors import OutageError, SegloopError, UserError, VerdictError
from pipeline.files import sha256_file
from pipeline.model_versions import MODEL_TAG, STORE
from pipeline.review import Decision
from pipeline.tracking import configure

pytestmark = pytest.mark.e2e

PAGE = ROOT / "docs/mlflow_server.md"
PEOPLE = ("ada", "alice", "paula", "robot")  # who trains, reviews, promotes, and whatever only reads
REFUSED = "error code 403|403 Client Error"  # a port may hold these digits, too
CHANGES: dict[str, Callable[[MlflowClient], object]] = {
    "alias": lambda store: store.set_registered_model_alias(NAME, "champion", "2"),
    "no alias": lambda store: store.delete_registered_model_alias(NAME, "champion"),
    "model's tag": lambda store: store.set_registered_model_tag(NAME, "segloop.state", "champion"),
    "no tag": lambda store: store.delete_model_version_tag(NAME, "1", "segloop.certificate"),
    "copy": lambda store: store.copy_model_version(f"models:/{NAME}/1", NAME),
    "no version": lambda store: store.delete_model_version(NAME, "1"),
    "author": lambda store: store.set_tag(store.get_model_version(NAME, "1").run_id, "mlflow.user", "eve"),
    "model's bytes": lambda store: exchange_graph(store, "1"),
}
Be = Callable[..., None]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the accounts and roles that the documentation's code makes."""
    with mlflow_server(tmp_path_factory.mktemp("server")) as running:
        account = {"MLFLOW_TRACKING_USERNAME": ADMIN, "MLFLOW_TRACKING_PASSWORD": password(ADMIN)}
        secrets = {f"{name.upper()}_PASSWORD": password(name) for name in PEOPLE}
        environment = {**os.environ, "MLFLOW_TRACKING_URI": running.uri, **account, **secrets}
        subprocess.run([sys.executable, "-c", code_block(PAGE, "python")], env=environment, check=True)
        yield running


@pytest.fixture
def be(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Be:
    """Lets the test act as a person, with that person's keys and MLflow account; ada has registered two versions."""

    def become(person: str, *, account: str = "", secret: str = "") -> None:
        monkeypatch.setenv("HOME", str(tmp_path / "homes" / person))
        monkeypatch.setenv("LOGNAME", person)
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", account or person)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", secret or password(account or person))

    for variable in ("SEGLOOP_DECISIONS", "SEGLOOP_PROMOTER_KEY", "DVC_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    server.start()  # the test before may have killed it
    server.renew_model(NAME)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    become("ada")
    registry_case.write_workspace(Path.cwd())
    become("paula")
    registry.main(registry.Act.INIT)
    become("alice")
    reviewer.main(reviewer.Act.ADD, "alice")
    return become


def approve(be: Be, version: str) -> None:
    """Lets ada judge a version, and alice approve it."""
    be("ada")
    gate.main(version)
    be("alice")
    review.main(version, Decision.APPROVE, "looked at it", "alice")


def champion_is(be: Be, version: str) -> None:
    """Brings a version to the top in the ordinary way, which paula ends."""
    approve(be, version)
    be("paula")
    promote.main(version)


def decisions() -> list[tuple[Kind, int]]:
    """What the decision log holds, which needs no MLflow."""
    return [(Kind(each.kind), each.version) for each in DecisionLog("sqlite:///decisions.db").entries()]


def exchange_graph(store: MlflowClient, version: str) -> str:
    """Puts another graph in the place of a version's; its digest."""
    file = Path("exchanged/artifacts/export/model.onnx")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"other bytes")
    store.log_model_artifacts(store.get_model_version(NAME, version).source.removeprefix("models:/"), "exchanged")
    return sha256_file(file)


def refused(changes: list[str]) -> None:
    """Asserts that MLflow itself refuses each change to whoever the test is at the moment."""
    for change in changes:
        with pytest.raises((MlflowException, requests.HTTPError), match=REFUSED):
            CHANGES[change](MlflowClient())


def test_a_version_gets_to_the_top_and_back_with_an_account_for_each(be: Be) -> None:
    """Ada judges, alice of the reviewers' role approves, paula promotes and rolls back, and the robot may verify."""
    champion_is(be, "1")
    champion_is(be, "2")
    assert registry_case.aliases() == {"candidate": 2, "champion": 2, "previous": 1}
    be("robot")
    verify.main("champion")
    be("paula")
    rollback.main("people are missed")
    assert registry_case.aliases() == {"candidate": 2, "champion": 1}
    be("robot")
    verify.main("champion")
    audit.main()
    versions.main(log=True)


def test_whoever_only_reads_changes_nothing(be: Be) -> None:
    """MLflow refuses each change to an account with READ, whose `verify` works all the same."""
    champion_is(be, "1")
    be("robot")
    with pytest.raises(MlflowException, match=REFUSED):
        MlflowClient().set_model_version_tag(NAME, "1", "segloop.state", "champion")
    refused(list(CHANGES))
    verify.main("champion")


def test_the_reviewers_role_changes_tags_of_versions_only(be: Be) -> None:
    """A reviewer may show a review as a tag, but MLflow refuses aliases, copies, deletions and other bytes."""
    champion_is(be, "1")
    be("alice")
    MlflowClient().set_model_version_tag(NAME, "1", "segloop.review", "asked")
    refused(list(CHANGES))
    assert registry_case.aliases() == {"candidate": 2, "champion": 1}


def test_a_stranger_sees_nothing(server: Server, be: Be) -> None:
    """An account without any role finds no model, and MLflow refuses it by name."""
    server.ask("POST", "2.0/mlflow/users/create", username="stranger", password=password("stranger"))
    be("stranger")
    configure()
    assert not MlflowClient().search_registered_models()
    with pytest.raises(MlflowException, match=REFUSED):
        MlflowClient().get_registered_model(NAME)
    with pytest.raises(UserError, match="There is: none"):
        verify.main("champion")


def test_a_wrong_password_is_the_users_mistake(be: Be, capsys: pytest.CaptureFixture[str]) -> None:
    """The error says that MLflow refused and why, exits 2, and keeps the password to itself."""
    be("paula", secret="not the password")  # noqa: S106 - which is the point
    assert exit_code(lambda: promote.main("1")) == UserError.exit_code
    said = capsys.readouterr().err
    assert "refused" in said
    assert "not authenticated" in said
    assert "not the password" not in said
    assert decisions() == []


def test_what_somebody_with_edit_writes_is_no_promotion(be: Be) -> None:
    """MLflow lets who may edit the model set champion, state and review; `verify` refuses it, reconcile mends it."""
    champion_is(be, "1")
    be("ada")
    store = MlflowClient()
    store.set_model_version_tag(NAME, "2", "segloop.state", "champion")
    store.set_model_version_tag(NAME, "2", "segloop.review", "approve by alice")
    CHANGES["alias"](store)
    be("robot")
    with pytest.raises(VerdictError, match="no certificate"):
        verify.main("champion")
    be("paula")
    with pytest.raises(UserError, match="never judged"):
        promote.main("2")
    registry.main(registry.Act.RECONCILE)
    assert registry_case.aliases() == {"candidate": 2, "champion": 1}
    assert "segloop.state" not in registry_case.tags(2)
    verify.main("champion")


def test_a_copy_of_the_champion_has_no_right_to_serve(be: Be) -> None:
    """MLflow copies a version with its certificate; `verify` refuses the copy, reconcile takes its certificate away."""
    champion_is(be, "1")
    be("ada")
    CHANGES["copy"](MlflowClient())
    MlflowClient().set_registered_model_alias(NAME, "champion", "3")
    assert "segloop.certificate" in registry_case.tags(3)
    be("robot")
    with pytest.raises(VerdictError, match="not for version 3"):
        verify.main("champion")
    be("paula")
    registry.main(registry.Act.RECONCILE)
    assert registry_case.aliases()["champion"] == 1
    assert "segloop.certificate" not in registry_case.tags(3)


def test_an_exchanged_model_is_refused_though_its_tag_fits(be: Be) -> None:
    """MLflow lets who may edit exchange a model's bytes and the digest beside them; the certificate holds them off."""
    champion_is(be, "1")
    be("ada")
    digest = exchange_graph(MlflowClient(), "1")
    shutil.rmtree(STORE)  # as on a machine that never fetched it
    be("robot")
    with pytest.raises(SegloopError, match="not those that were registered"):
        verify.main("champion")
    be("ada")
    MlflowClient().set_model_version_tag(NAME, "1", MODEL_TAG, digest)
    be("robot")
    with pytest.raises(VerdictError, match="the model file was changed"):
        verify.main("champion")


def test_a_reviewer_asks_for_a_review_by_a_tag(be: Be) -> None:
    """The tag that alice sets in MLflow becomes a pending review in the log, once, and decides nothing."""
    be("ada")
    gate.main("1")
    be("alice")
    MlflowClient().set_model_version_tag(NAME, "1", "segloop.review", "asked")
    be("paula")
    registry.main(registry.Act.RECONCILE)
    registry.main(registry.Act.RECONCILE)
    assert decisions() == [(Kind.GATE, 1), (Kind.REVIEW_ASKED, 1)]
    assert registry_case.tags(1)["segloop.state"] == "review asked"
    with pytest.raises(UserError, match="nobody has reviewed it"):
        promote.main("1")


def test_a_decision_stands_where_mlflow_refuses_to_show_it(be: Be) -> None:
    """With EDIT the promoter may not remove an alias: the rollback is told as refused, holds, and is shown later."""
    champion_is(be, "1")
    champion_is(be, "2")
    be("paula", account="ada")
    with pytest.raises(UserError, match="refused while bringing the aliases in line; the decision log holds"):
        rollback.main("people are missed")
    assert decisions()[-1] == (Kind.ROLLBACK, 1)
    be("paula")
    registry.main(registry.Act.RECONCILE)
    assert registry_case.aliases() == {"candidate": 2, "champion": 1}
    verify.main("champion")


def test_a_promotion_survives_the_death_of_mlflow(server: Server, be: Be, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at the first alias, MLflow misses a promotion that the log holds; started anew, it is brought in line."""
    champion_is(be, "1")
    approve(be, "2")
    be("paula")
    with killing_proxy(server, lambda method, path: (method, path.rpartition("/")[2]) == ("POST", "alias")) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        command = [sys.executable, "-m", "pipeline.promote", "2"]
        died = subprocess.run(command, capture_output=True, text=True, check=False)
    assert died.returncode == OutageError.exit_code, died.stderr
    assert "What was decided stands. Start MLflow, then run `segloop registry reconcile`" in died.stderr
    assert decisions()[-1] == (Kind.PROMOTION, 2)
    audit.main(offline=True)
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    assert registry_case.aliases() == {"candidate": 2, "champion": 1}
    for version in ("champion", "2"):  # the one that MLflow still shows, and the one whose certificate it lacks
        with pytest.raises(VerdictError, match="run `segloop registry reconcile`"):
            verify.main(version)
    registry.main(registry.Act.RECONCILE)
    promote.main("2")
    assert decisions()[-1] == (Kind.PROMOTION, 2)
    assert registry_case.aliases() == {"candidate": 2, "champion": 2, "previous": 1}
    verify.main("champion")
    audit.main()


def test_without_mlflow_nothing_is_decided(server: Server, be: Be, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow dies while the model is fetched, and is away at the next attempt: two outages, and no promotion."""
    approve(be, "1")
    before = decisions()
    be("paula")
    shutil.rmtree(STORE)  # paula's machine never fetched it
    with killing_proxy(server, lambda _, path: "mlflow-artifacts" in path) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy)
        with pytest.raises(OutageError, match="fetching segmenter version 1"):
            promote.main("1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    with pytest.raises(OutageError, match="does not answer"):
        promote.main("1")
    assert decisions() == before
