"""From a folder of annotated images to a batch that the inbox takes."""

import json
from pathlib import Path

import pytest
import yaml
from inbox_case import INBOX, write_workspace
from ingest_source import write_source
from workspace import ROOT

from pipeline import batch_demo, batch_manifest, inbox
from pipeline.errors import UserError
from pipeline.parts import read_index


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with an inbox, which is the working folder."""
    write_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_becomes_a_batch_that_the_inbox_takes() -> None:
    """Every file is listed with its digest, and what was said of the batch arrives with its items."""
    write_source(Path("inbox/may"), ["a_0", "a_1", "b_0"])
    batch_manifest.main(Path("inbox/may"), annotator="ada", captured_at="2026-05-01T12:00:00Z")
    inbox.main()
    index = read_index(Path("data/dataset"))
    assert set(index["annotator"]) == {"ada"}
    assert len(index) == 3


def test_a_batch_of_the_demo_is_taken_with_its_groups(workspace: Path) -> None:
    """No regular expression is needed: each scene is a group, and two batches have no name in common."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    (workspace / "data/taxonomy.yaml").write_text((ROOT / "data/taxonomy.yaml").read_text())
    params["inbox"] = {**INBOX, "group_by": None}
    params["dataset"] = {"path": "data/dataset", "splits": "data/splits.csv"}
    params["demo_data"] |= {"width": 64, "height": 48}
    (workspace / "params.yaml").write_text(yaml.safe_dump(params))
    for name in ("may", "june"):
        batch_demo.main(Path("inbox") / name, scenes=3)
    inbox.main()
    index = read_index(Path("data/dataset"))
    assert len(index) == 12
    assert index["group"].nunique() == 6


def test_what_cannot_be_a_batch_is_refused() -> None:
    """An empty folder, an unknown format and a moment that is none: each is named, and no manifest is written."""
    Path("inbox/empty").mkdir(parents=True)
    with pytest.raises(UserError, match="has no files"):
        batch_manifest.main(Path("inbox/empty"))
    write_source(Path("inbox/may"), ["a_0"])
    with pytest.raises(UserError, match="--format takes"):
        batch_manifest.main(Path("inbox/may"), format_="folder")
    with pytest.raises(UserError, match="--source names no remap"):
        batch_manifest.main(Path("inbox/may"), source="ones")
    with pytest.raises(UserError, match="--captured-at takes"):
        batch_manifest.main(Path("inbox/may"), captured_at="yesterday")
    assert not list(Path("inbox").rglob("manifest.json"))


def test_a_manifest_written_again_is_the_same() -> None:
    """It depends on the files alone, and does not list itself."""
    write_source(Path("inbox/may"), ["a_0"])
    texts = []
    for _ in range(2):
        batch_manifest.main(Path("inbox/may"))
        texts.append(Path("inbox/may/manifest.json").read_text())
    assert texts[0] == texts[1]
    assert "manifest.json" not in {each["path"] for each in json.loads(texts[0])["files"]}
