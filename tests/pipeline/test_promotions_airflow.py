"""Tests of the client of Airflow: its account, its tokens, and an Airflow that does not answer as it should."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from promoter_case import RUN, SETTINGS, Pages, airflow_pages, asked, write_password

from pipeline.approval_text import Question
from pipeline.errors import OutageError, UserError, VerdictError
from pipeline.promotions.airflow import MAX_ANSWER_BYTES, Airflow
from pipeline.promotions.settings import PromoterParams

QUESTION = Question("May it serve?", "It passed.")


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pages]:
    """A stand-in for Airflow with one answered question, and the password of the promoter's account."""
    file = write_password(tmp_path / "airflow.password")
    monkeypatch.setenv("SEGLOOP_AIRFLOW_PASSWORD_FILE", str(file))
    with airflow_pages() as pages:
        pages.add(asked(QUESTION))
        monkeypatch.setenv("SEGLOOP_AIRFLOW_URL", f"{pages.url}/")
        yield pages


def client(**changes: object) -> Airflow:
    """A client by the tests' settings."""
    return Airflow(PromoterParams(**{**SETTINGS, **changes}))


def test_a_run_and_its_answer_are_read_with_one_token(pages: Pages) -> None:
    """The account is used once; what Airflow tells is parsed."""
    airflow = client()
    assert airflow.run(RUN).partition_key == "1"
    told = airflow.asked(RUN)
    assert (told.body, told.chosen_options) == (QUESTION.body, ["Approve"])
    assert [method for method, _ in pages.asked] == ["POST", "GET", "GET"]


def test_a_token_that_ran_out_is_renewed(pages: Pages) -> None:
    """Once; the request is repeated with the new one."""
    airflow = client()
    airflow.run(RUN)
    pages.tokens.clear()
    assert airflow.run(RUN).dag_run_id == RUN
    assert [method for method, _ in pages.asked] == ["POST", "GET", "GET", "POST", "GET"]


def test_an_airflow_that_stumbles_is_asked_again(pages: Pages) -> None:
    """A fault of the server or too many requests are no answer."""
    for status in (503, 429):
        pages.refuses = [status]
        assert client().run(RUN).dag_run_id == RUN
    pages.refuses = [503, 503]
    with pytest.raises(OutageError, match="does not answer: status 503"):
        client().run(RUN)


def test_an_airflow_that_is_away_is_an_outage(monkeypatch: pytest.MonkeyPatch, pages: Pages) -> None:
    """Nobody listens there."""
    assert pages.url
    monkeypatch.setenv("SEGLOOP_AIRFLOW_URL", "http://127.0.0.1:9")
    with pytest.raises(OutageError, match=r"Airflow at http://127\.0\.0\.1:9 does not answer"):
        client().run(RUN)


def test_a_run_that_does_not_exist_is_told(pages: Pages) -> None:
    """Whatever its name is made of."""
    for name in ("other", "../../secrets", "~"):
        with pytest.raises(VerdictError, match="Airflow knows no run"):
            client().run(name)
        assert pages.asked[-1][1].count("/") == 6


@pytest.mark.parametrize("status", [403, 302, 418])
def test_an_answer_that_is_none_names_the_status(pages: Pages, status: int) -> None:
    """No right, an address elsewhere, or something else: never followed, never believed."""
    airflow = client()
    airflow.run(RUN)
    pages.refuses = [status]
    with pytest.raises(UserError, match=f"status {status}"):
        airflow.run(RUN)


def test_a_wrong_password_is_told_and_not_shown(pages: Pages, tmp_path: Path) -> None:
    """The message names the account and the file."""
    assert pages.url
    (tmp_path / "airflow.password").write_text("a wrong one")
    with pytest.raises(UserError, match="gives no token to 'promoter'") as told:
        client().run(RUN)
    assert "a wrong one" not in str(told.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file.unlink(), "cannot be read"),
        (lambda file: file.chmod(0o644), "open to others"),
        (lambda file: file.write_text(" \n"), "is empty"),
        (lambda file: file.write_bytes(b"\xff"), "cannot be read"),
    ],
)
def test_a_password_file_is_ones_own(pages: Pages, tmp_path: Path, change: object, said: str) -> None:
    """Missing, open to others, empty or no text: each is told, before anything is sent."""
    change(tmp_path / "airflow.password")  # type: ignore[operator]
    with pytest.raises(UserError, match=said):
        client().run(RUN)
    assert pages.asked == []


def test_another_form_than_airflows_is_refused(pages: Pages) -> None:
    """A page without the fields, and one without an end."""
    run, told = pages.runs[RUN]
    pages.runs[RUN] = (run, {key: told[key] for key in told if key != "body"})
    with pytest.raises(UserError, match=r"has not the form that this release reads \(body"):
        client().asked(RUN)
    pages.runs[RUN] = (run, {**told, "body": "x" * MAX_ANSWER_BYTES})
    with pytest.raises(UserError, match="more than"):
        client().asked(RUN)


def test_no_proxy_and_no_netrc_has_a_say(pages: Pages, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The password goes to Airflow alone, whatever the environment says."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login eve password eve\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert pages.url
    assert client().run(RUN).dag_run_id == RUN
