"""The dossier as a page: what it says, what it refuses, how large it is."""

import base64
import dataclasses
import hashlib
import re
from pathlib import Path

import pytest
from dossier_case import OVERRIDE, rewrite, subject, verdict, write_case

from pipeline.dossiers.inputs import DossierInputs, LogEntry, RunFacts
from pipeline.dossiers.page import build
from pipeline.errors import UserError
from pipeline.files import read_json


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> DossierInputs:
    """A candidate beside its champion; read it, do not change it."""
    return write_case(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="module")
def page(case: DossierInputs) -> str:
    """Its dossier."""
    return build(case)


def text(page: str) -> str:
    """A page's words."""
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_the_verdict_comes_first_with_what_blocks(page: str) -> None:
    """The sentence names the blocking level, and its row stands before all others."""
    said = text(page)
    assert "Blocked by 1 of 8 service levels: IoU of green." in said
    assert said.index("fail, blocks") < said.index("insufficient evidence, does not block") < said.index("pass 0.600")
    assert "Why iou/green is so." in said


def test_every_section_that_a_reviewer_needs_is_there(page: str) -> None:
    """Classes, confusion, slices, calibration, images, changes, lineage and cost each have a heading."""
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", page)
    assert headings == [
        "Verdict",
        "IoU per class",
        "Confusion",
        "Slices",
        "Calibration",
        "Images",
        "Changes since the champion",
        "Lineage",
        "Cost",
    ]


def test_a_page_needs_nothing_but_itself(page: str) -> None:
    """No address occurs in it but its own anchors and data."""
    addresses = re.findall(r"(?:src|href|srcset|action)=\"([^\"]*)\"", page)
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert "url(" not in page
    assert "@import" not in page


def test_the_policy_names_the_very_style_and_script(page: str) -> None:
    """The content security policy allows the inline style and script by their digests and nothing by default."""
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    allowed = policy.group(1).replace("&#39;", "'")
    assert allowed.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in allowed
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content.group(1).encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in allowed
    assert ' style="' not in page
    assert not re.search(r" on\w+=", page)


def test_an_alarm_stands_above_all_and_stays(case: DossierInputs) -> None:
    """An override stands in red before everything else, also when ordinary decisions have followed it."""
    later = LogEntry("2026-02-02T03:04:05+00:00", "review: approve", "alice", "fine now")
    shown = build(dataclasses.replace(case, log=[OVERRIDE, later]))
    banner = '<p class="alarm"><strong>Override: no gate.</strong> By cem'
    assert shown.index("<header>") < shown.index(banner) < shown.index("<h1>")
    assert shown.count('<p class="alarm">') == 1
    assert "see the warnings</title>" in shown


def test_what_a_person_noted_is_text(case: DossierInputs) -> None:
    """A note in the log never becomes markup, neither at the top nor in the list."""
    shown = build(dataclasses.replace(case, log=[OVERRIDE]))
    assert shown.count("the &lt;b&gt;fleet&lt;/b&gt; waits") == 2
    assert "<b>fleet" not in shown


def test_without_an_alarm_nothing_is_red_at_the_top(page: str) -> None:
    """A version that kept to the rules has no banner."""
    assert "alarm" not in text(page)
    assert 'class="alarm' not in page


def test_what_others_wrote_is_text_and_never_markup(case: DossierInputs) -> None:
    """Names and settings from outside are escaped wherever they stand, in attributes too."""
    evil = '"><script>alert(1)</script>'
    run = RunFacts(author=evil, commit=evil, dataset_digest=evil, params={"train": {evil: evil}})
    page = build(dataclasses.replace(case, candidate=dataclasses.replace(case.candidate, run=run)))
    assert page.count("<script>") == 1
    assert page.count("&gt;&lt;script&gt;alert(1)") >= 5


def test_an_items_name_is_text(tmp_path: Path) -> None:
    """Images that are named like markup are shown by their names, in captions and attributes."""
    page = build(write_case(tmp_path, prefix='"><script>alert(1)</script>'))
    assert page.count("<script>") == 1
    assert "<b>&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;-00</b>" in page
    assert 'alt="photograph &#34;&gt;&lt;script&gt;' in page


def test_a_first_promotion_has_no_champion_in_it(case: DossierInputs) -> None:
    """Without a champion nothing is compared, and the slider wipes between truth and candidate."""
    digest = str(read_json(case.holdout, "")["digest"])
    alone = dataclasses.replace(case, champion=None, verdict=verdict(case.candidate.artifacts, None, digest))
    page = build(alone)
    assert "a first promotion: there is no champion" in page
    assert "Changes since the champion" not in page
    assert "Worst images" in page
    assert 'aria-label="Wipe between truth and candidate' in page


def test_same_inputs_give_the_same_page(case: DossierInputs, page: str) -> None:
    """A dossier built twice is the same, byte by byte."""
    assert build(case) == page


def test_pictures_give_way_until_the_page_is_small_enough(case: DossierInputs, page: str) -> None:
    """A page over its size has smaller and fewer pictures and says so."""
    without = len(re.sub(r"data:image[^\"]*", "", page).encode())
    small = case.params.model_copy(update={"max_bytes": without})
    shrunk = build(dataclasses.replace(case, params=small))
    assert len(shrunk.encode()) <= without
    assert re.search(r"To keep this page under [\d.]+ MB, \d of \d+ images are shown", shrunk)


def test_a_page_that_cannot_be_small_enough_is_refused(case: DossierInputs) -> None:
    """The error names the size wanted and the setting."""
    tiny = case.params.model_copy(update={"max_bytes": 1000})
    with pytest.raises(UserError, match=r"at most 1,000: raise dossier\.max_bytes"):
        build(dataclasses.replace(case, params=tiny))


def test_a_changed_graph_is_refused(tmp_path: Path) -> None:
    """A model file that is not the one judged makes no dossier."""
    case = write_case(tmp_path)
    with (case.candidate.artifacts / "export" / "model.onnx").open("ab") as file:
        file.write(b" ")
    with pytest.raises(UserError, match="damaged or of another version"):
        build(case)


def test_changed_counts_are_refused(tmp_path: Path) -> None:
    """Counts that the verdict was not decided on make no dossier."""
    case = write_case(tmp_path)
    file = case.candidate.artifacts / "evaluation" / "confusions.parquet"
    file.write_bytes((tmp_path / "champion" / "evaluation" / "confusions.parquet").read_bytes())
    with pytest.raises(UserError, match="the verdict was decided on"):
        build(case)


def test_another_holdout_is_refused(tmp_path: Path) -> None:
    """A holdout that changed since the verdict makes no dossier."""
    case = write_case(tmp_path)
    rewrite(case.holdout, digest="another")
    with pytest.raises(UserError, match="is of holdout another, the verdict of"):
        build(case)


def test_another_taxonomy_is_refused(tmp_path: Path) -> None:
    """Evidence of other classes than the verdict's makes no dossier."""
    case = write_case(tmp_path)
    rewrite(case.candidate.artifacts / "export" / "export.json", class_names=["red", "green", "grey"])
    with pytest.raises(UserError, match="of another taxonomy"):
        build(case)


def test_a_version_without_evidence_is_refused(tmp_path: Path) -> None:
    """A missing file is named with the remedy."""
    case = write_case(tmp_path)
    (case.candidate.artifacts / "evaluation" / "confusions.parquet").unlink()
    with pytest.raises(UserError, match=r"no .*confusions\.parquet: register version 2 of segmenter anew"):
        build(case)


def test_a_champion_that_the_verdict_does_not_know_is_refused(case: DossierInputs) -> None:
    """A verdict of a first promotion cannot be shown beside a champion."""
    first = case.verdict.model_copy(update={"champion": None})
    with pytest.raises(UserError, match="judge again"):
        build(dataclasses.replace(case, verdict=first))


def test_counts_measured_later_take_the_place_of_the_registered_ones(case: DossierInputs) -> None:
    """A champion whose counts are handed over is shown by these."""
    import pandas as pd

    rows = pd.read_parquet(case.candidate.artifacts / "evaluation" / "confusions.parquet")
    champion = dataclasses.replace(case.champion, rows=rows)
    page = text(build(dataclasses.replace(case, champion=champion)))
    assert "Changed most" not in page
    assert subject(case.champion.artifacts, 1).model_digest in page
