"""Tests of what a reviewer is asked: the same text for the same verdict, with nothing in it that acts."""

from pathlib import Path

import pytest
from dossier_case import write_case
from markdown_it import MarkdownIt

from pipeline.approval_text import dossier_path, plain, question
from pipeline.gating.verdict import Verdict


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    """A verdict with every kind of outcome."""
    return write_case(tmp_path_factory.mktemp("case")).verdict


def test_the_same_verdict_asks_the_same(verdict: Verdict) -> None:
    """A verdict that went through the log and back makes the same text to the letter, without blanks at its ends."""
    first = question(verdict, 3, "http://127.0.0.1:8900")
    assert question(Verdict.model_validate_json(verdict.model_dump_json()), 3, "http://127.0.0.1:8900/") == first
    assert first.body == first.body.strip()
    assert first.subject == "May segmenter version 2 serve?"


def test_it_tells_verdict_claims_dossier_and_digests(verdict: Verdict) -> None:
    """The outcome, a row for each claim about a class, the page to read, and what exactly is approved."""
    body = question(verdict, 3, "http://127.0.0.1:8900").body
    assert "segmenter version 2 **did not pass** its gate, compared with the champion, version 1." in body
    assert "| **green** (critical) | IoU | 0.600 | 0.550 to 0.650 | at least 0.500 | **fail, blocks** |" in body
    assert "| blue | IoU | 0.600 | 0.550 to 0.650 | at least 0.500 | insufficient evidence |" in body
    assert "| Mean IoU where camera is front |" in body
    assert f"(http://127.0.0.1:8900/{dossier_path(verdict)})" in body
    assert f"Verdict `{verdict.digest()}`, graph `{verdict.candidate.model_digest}`" in body
    assert "decision 3 of the log" in body


def test_without_an_address_there_is_no_link(verdict: Verdict) -> None:
    """The reviewer is told to read the dossier all the same."""
    body = question(verdict, 3, "").body
    assert "](" not in body
    assert "Read the dossier before you answer." in body


@pytest.mark.parametrize(
    "change",
    [
        {"passed": True},
        {"holdout_digest": "f" * 64},
        {"decided_at": "2026-01-03T00:00:00+00:00"},
        {"settings_digest": "f" * 64},
        {"champion": None},
        {"alone": True},
    ],
)
def test_another_verdict_asks_something_else(verdict: Verdict, change: dict[str, object]) -> None:
    """Whatever differs in the verdict shows in the text, by its digest at the least."""
    assert question(verdict.model_copy(update=change), 3, "") != question(verdict, 3, "")
    assert question(verdict, 4, "") != question(verdict, 3, "")


def test_names_are_shown_as_they_stand(verdict: Verdict) -> None:
    """A class cannot make a link, a cell, a picture, a line or a tag: a reader of Markdown finds its letters again."""
    evil = "a|b](http://x) ![p](y)\n# <b>*c*</b> www.evil.com `z`"
    decisions = [each.model_copy(update={"slo": f"iou/{evil}", "why": evil}) for each in verdict.decisions]
    body = question(verdict.model_copy(update={"class_names": [evil], "decisions": decisions}), 3, "").body
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    inline = [child for token in tokens for child in token.children or []]
    assert {each.type for each in inline} <= {
        "text", "text_special", "strong_open", "strong_close", "code_inline", "softbreak", "hardbreak",
    }  # fmt: skip
    cells = ["".join(child.content for child in token.children or []) for token in tokens if token.type == "inline"]
    assert cells.count(" ".join(evil.split())) == len(decisions) + sum(each.blocks for each in decisions)
    for address in ("http://", "www.e"):  # which Airflow's pages would make links of
        assert address not in plain(evil)


def test_each_verdict_has_a_dossier_of_its_own(verdict: Verdict) -> None:
    """A page about another verdict never lies where this one is looked for."""
    other = verdict.model_copy(update={"passed": True})
    assert dossier_path(verdict) != dossier_path(other)
    assert Path(dossier_path(verdict)).parts[0] == "dossiers"
    assert dossier_path(verdict).endswith(".html")
