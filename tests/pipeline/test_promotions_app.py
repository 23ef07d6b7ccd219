"""Tests of the promoter's service: what it takes, what it turns away, and what it says when something is away."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from promoter_case import RUN, SETTINGS, add_section, served

from pipeline import promotion_ask
from pipeline.dossier import Places
from pipeline.errors import OutageError, VerdictError
from pipeline.promotions.airflow import Airflow
from pipeline.promotions.answers import Answers
from pipeline.promotions.app import MOST_BODY_BYTES, make_app
from pipeline.promotions.settings import PromoterParams
from pipeline.registry_access import RegistryParams, open_registry

WAIT_S = 60


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The service before an Airflow that is away; it takes three requests a minute."""
    monkeypatch.chdir(tmp_path)
    section = {"decisions": "sqlite:///decisions.db", "four_eyes": True}
    section |= {"head": "decisions.head", "reviewers": "reviewers.yaml", "promoter": "promoter.pub"}
    Path("params.yaml").write_text(yaml.safe_dump({"registry": section}))
    settings = PromoterParams(**{**SETTINGS, "attempts": 1, "airflow": "http://127.0.0.1:9"})
    Path("password").write_text("secret")
    Path("password").chmod(0o600)
    monkeypatch.setenv("SEGLOOP_AIRFLOW_PASSWORD_FILE", "password")
    monkeypatch.delenv("SEGLOOP_AIRFLOW_URL", raising=False)
    registry = open_registry(RegistryParams(**section))
    answers = Answers(registry, Airflow(settings), settings, "segmenter", Places(), "")
    with served(make_app(answers, 3)) as address:
        add_section()
        monkeypatch.setenv("SEGLOOP_PROMOTER_URL", address)
        yield address


def post(url: str, run: str = RUN, **options: object) -> requests.Response:
    """A call about a run."""
    return requests.post(f"{url}/v1/answers/{run}", timeout=WAIT_S, **options)  # type: ignore[arg-type]


def test_the_sign_of_life_is_free(url: str) -> None:
    """However often it is asked."""
    assert {requests.get(f"{url}/healthz", timeout=WAIT_S).status_code for _ in range(9)} == {200}


def test_an_outage_is_told_with_when_to_come_again(url: str) -> None:
    """Nothing is wrong with the answer: who calls may call again, and the command exits 3."""
    said = post(url)
    assert (said.status_code, said.headers["Retry-After"]) == (503, "10")
    assert "Airflow at http://127.0.0.1:9 does not answer" in said.json()["reason"]
    with pytest.raises(OutageError, match=r"cannot answer now \(status 503\): Airflow"):
        promotion_ask.main(RUN)


def test_too_many_requests_are_told_to_come_later(url: str) -> None:
    """The fourth within a minute, from whoever; the command exits 3."""
    for _ in range(3):
        post(url, "~!")
    assert post(url, "~!").status_code == 429
    with pytest.raises(OutageError, match=r"status 429\): More than 3 requests within a minute"):
        promotion_ask.main(RUN)


@pytest.mark.parametrize("body", [b"x" * (MOST_BODY_BYTES + 1), iter([b"x"])])
def test_a_large_or_endless_body_is_not_read(url: str, body: object) -> None:
    """Nothing that a caller sends is believed, so nothing is taken."""
    assert post(url, data=body).status_code == 413


def test_a_small_body_changes_nothing(url: str) -> None:
    """What a caller claims about the answer is not read."""
    assert post(url, json={"chosen_options": ["Approve"], "responded_by_user": "alice"}).status_code == 503


@pytest.mark.parametrize("run", ["a%20b", "x" * 251, "%00", "%3Cb%3E"])
def test_what_is_no_run_is_refused(url: str, run: str) -> None:
    """Names that Airflow would not give are not even looked for."""
    said = post(url, run)
    assert (said.status_code, said.json()["outcome"]) == (409, "refused")


def test_a_refusal_fails_the_command(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It exits 1, and tells the program that called it why."""
    monkeypatch.setenv("SEGLOOP_OUTCOME", str(tmp_path / "outcome.json"))
    with pytest.raises(VerdictError, match="The promoter refuses: This is no id of a run"):
        promotion_ask.main("no run")
    assert '"outcome": "refused"' in (tmp_path / "outcome.json").read_text()
    assert url


@pytest.mark.parametrize("path", ["docs", "openapi.json", "redoc", "", "v1/answers", "v1/answers/../../etc/passwd"])
def test_there_is_nothing_else(url: str, path: str) -> None:
    """No pages about itself, no files."""
    assert requests.get(f"{url}/{path}", timeout=WAIT_S).status_code in {404, 405}


def test_a_promoter_that_is_away_is_an_outage(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Nobody there, or somebody else."""
    assert url
    for address, said in (("http://127.0.0.1:9", "does not answer"), (f"{url}/healthz?", "cannot answer now")):
        monkeypatch.setenv("SEGLOOP_PROMOTER_URL", address)
        with pytest.raises(OutageError, match=said):
            promotion_ask.main(RUN)
