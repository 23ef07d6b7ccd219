"""Tests of the allow-list of reviewers: by key, by an account in Airflow, or by both."""

from pathlib import Path

import pytest
import yaml
from promoter_case import SETTINGS

from pipeline import reviewer
from pipeline.decisions.keys import read_reviewers
from pipeline.errors import UserError
from pipeline.reviewer import Act

LIST = Path("reviewers.yaml")


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty list."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    section = {"decisions": "sqlite:///decisions.db", "four_eyes": True}
    section |= {"head": "decisions.head", "reviewers": str(LIST), "promoter": "promoter.pub"}
    Path("params.yaml").write_text(yaml.safe_dump({"registry": section, "promoter": SETTINGS}))


def keys() -> list[str]:
    """The private keys that were made."""
    return sorted(file.name for file in (Path.home() / ".config/segloop").rglob("*.pem"))


def test_an_account_alone_makes_no_key() -> None:
    """Who only answers in Airflow needs none."""
    reviewer.main(Act.ADD, "Alice A.", airflow="alice")
    listed = read_reviewers(LIST)["Alice A."]
    assert (listed.airflow, listed.public_key, keys()) == ("alice", None, [])


@pytest.mark.parametrize("first", ["key", "account"])
def test_a_key_and_an_account_come_in_either_order(first: str) -> None:
    """The second joins the first; neither is replaced."""
    if first == "key":
        reviewer.main(Act.ADD, "alice")
        reviewer.main(Act.ADD, "alice", airflow="al")
    else:
        reviewer.main(Act.ADD, "alice", airflow="al")
        reviewer.main(Act.ADD, "alice")
    listed = read_reviewers(LIST)["alice"]
    assert (listed.airflow, listed.public_key is not None, keys()) == ("al", True, ["alice.pem"])
    for options in ({}, {"airflow": "other"}):
        with pytest.raises(UserError, match="lists 'alice' already"):
            reviewer.main(Act.ADD, "alice", **options)
    assert read_reviewers(LIST)["alice"] == listed


def test_one_account_is_one_person() -> None:
    """A second reviewer cannot take it, however it is spelt."""
    reviewer.main(Act.ADD, "alice", airflow="alice")
    with pytest.raises(UserError, match="one account, one person"):
        reviewer.main(Act.ADD, "bob", airflow="Alice")
    assert list(read_reviewers(LIST)) == ["alice"]


def test_a_reviewer_can_be_known_somehow() -> None:
    """An entry with neither key nor account is an error of the file; so is an empty account."""
    for entry, said in (
        ("{}", "added_at"),
        ("{added_at: x}", "needs a public_key"),
        ("{added_at: x, airflow: ''}", "airflow"),
    ):
        LIST.write_text(f"alice: {entry}\n")
        with pytest.raises(UserError, match=said):
            read_reviewers(LIST)


def test_the_list_shows_both(capsys: pytest.CaptureFixture[str]) -> None:
    """Keys and accounts stand side by side."""
    reviewer.main(Act.ADD, "alice", airflow="al")
    reviewer.main(Act.ADD, "bob")
    capsys.readouterr()
    reviewer.main(Act.LIST)
    said = capsys.readouterr().out
    assert "al" in said
    assert "bob" in said
