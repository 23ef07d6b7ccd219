"""Batches that come again, or late, after migrations of the taxonomy."""

from pathlib import Path
from typing import Any

import inbox_case
import numpy as np
import pytest
import yaml
from inbox_case import take, verdicts, write_batch
from ingest_source import GROUPED, PARAMS, Ingest, ingest_in, names, write_source
from PIL import Image

from pipeline import migrate
from pipeline.command import run
from pipeline.images import Limits, decode_mask
from pipeline.parts import read_index, read_items
from pipeline.splits import read_ledger
from pipeline.taxonomy import load_taxonomy

DATASET, LEDGER, LIMITS = Path("data/dataset"), Path("data/splits.csv"), Limits(max_bytes=10**6, max_pixels=10**6)
CATALOG = {"workers": 1, "island_px": 4, "edge_low": 50, "edge_high": 150, "custom": None}
SECTIONS = {"catalog": CATALOG, "labels": {"decisions": "data/label_decisions.csv"}, "inbox": inbox_case.INBOX}
# Version 1 has background, floor, human. Each id means another class in each of the versions that follow.
SECOND = {"from": 1, "note": "n", "merge": {"background": "floor"}, "add": [{"name": "cart", "colour": "#111111"}]}
THIRD = {"from": 2, "note": "n", "void": ["floor"], "rename": {"human": "person"}}
MEANT = ["void", "void", "person"]


@pytest.fixture
def ingest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ingest:
    """The command, in a workspace at version 1 of its taxonomy."""
    call = ingest_in(tmp_path, monkeypatch)
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS | SECTIONS))
    return call


def move_on(*migrations: dict[str, Any]) -> None:
    """Migrates the taxonomy."""
    for migration in migrations:
        Path("m.yaml").write_text(yaml.safe_dump(migration))
        with pytest.raises(SystemExit) as ended:
            run(migrate.main, ["m.yaml"])
        assert ended.value.code == 0


def pixels() -> dict[str, np.ndarray]:
    """The standing masks by item, in names."""
    words = np.array([*load_taxonomy(Path("data/taxonomy.yaml")).names, *["?"] * 256])[:256]
    words[255] = "void"
    found = read_items(DATASET, read_index(DATASET))
    return {str(row["item_id"]): words[decode_mask(mask, LIMITS)] for row, _, mask in found}


def drawn(source: Path, item: str, meant: list[str]) -> np.ndarray:
    """A mask of a source in names."""
    with Image.open(source / "masks" / f"{item}.png") as image:
        return np.array(meant)[np.asarray(image)]


def standing() -> list[tuple[str, int, str]]:
    """Item, revision and batch of every row that stands."""
    index = read_index(DATASET)
    return sorted(zip(index["item_id"], index["revision"].astype(int), index["batch"], strict=True))


def test_an_old_ingest_without_a_version_is_refused_after_a_migration(
    ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its plain ids would mean other classes now: the very command of then stops, and says how to name the version."""
    source = write_source(tmp_path / "src", names("a", "b"))
    assert ingest(source, "may", *GROUPED) == 0
    move_on(SECOND)
    before, ledger = standing(), read_ledger(LEDGER)
    assert ingest(source, "may", *GROUPED) == 2
    assert "`--source version-1`" in capsys.readouterr().err
    assert (standing(), read_ledger(LEDGER)) == (before, ledger)


@pytest.mark.parametrize("batch", ["may", "june"])
@pytest.mark.parametrize("migrations", [(SECOND,), (SECOND, THIRD)])
def test_an_old_ingest_with_its_version_finds_all_done(
    ingest: Ingest, tmp_path: Path, migrations: tuple[dict[str, Any], ...], batch: str
) -> None:
    """Under whatever name it comes again, no item comes in twice and none gets another mask."""
    source = write_source(tmp_path / "src", names("a", "b"))
    assert ingest(source, "may", *GROUPED) == 0
    move_on(*migrations)
    before, ledger, masks = standing(), read_ledger(LEDGER), pixels()
    assert ingest(source, batch, *GROUPED, "--source", "version-1") == 0
    assert (standing(), read_ledger(LEDGER)) == (before, ledger)
    assert all((mask == masks[item]).all() for item, mask in pixels().items())


def test_an_old_ingest_through_a_sources_own_remap_finds_all_done(ingest: Ingest, tmp_path: Path) -> None:
    """A remap with values of its own is carried through the migrations: the command of then is the command of now."""
    source = write_source(tmp_path / "src", names("a", "b"), mask_values=1)
    for number, file in enumerate(sorted((source / "masks").iterdir())):
        Image.fromarray(np.full((6, 8), 10 * (number % 3), np.uint8)).save(file)
    assert ingest(source, "may", *GROUPED, "--source", "tens") == 0
    move_on(SECOND, THIRD)
    before = standing()
    for batch in ("may", "june"):
        assert ingest(source, batch, *GROUPED, "--source", "tens") == 0
        assert standing() == before


def test_an_old_batch_with_another_remap_is_another(
    ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A remap that was changed by hand after the migration would give other masks: that is no repetition."""
    source = write_source(tmp_path / "src", names("a", "b"), mask_values=1)
    assert ingest(source, "may", *GROUPED, "--source", "tens") == 0
    move_on(SECOND, THIRD)
    taxonomy = Path("data/taxonomy.yaml")
    content = yaml.safe_load(taxonomy.read_text())
    content["remaps"]["tens"]["values"][0] = "cart"
    taxonomy.write_text(yaml.safe_dump(content))
    before = standing()
    assert ingest(source, "may", *GROUPED, "--source", "tens") == 2
    assert "exists with other content: 0 items are new, 0 missing, 4 changed" in capsys.readouterr().err
    assert standing() == before


def test_an_old_batch_that_was_annotated_anew_since_is_still_the_same(ingest: Ingest, tmp_path: Path) -> None:
    """A relabelled item keeps its newest mask when the batch of before comes again."""
    source = write_source(tmp_path / "src", names("a", "b"))
    assert ingest(source, "may", *GROUPED) == 0
    move_on(SECOND)
    again = write_source(tmp_path / "again", ["a_0"])
    Image.fromarray(np.ones((6, 8), np.uint8)).save(again / "masks" / "a_0.png")
    assert ingest(again, "anew", *GROUPED, "--source", "version-2", "--relabel") == 0
    before = standing()
    assert ingest(source, "may", *GROUPED, "--source", "version-1") == 0
    assert standing() == before


def test_a_batch_that_is_two_versions_late_is_read_through_both(ingest: Ingest, tmp_path: Path) -> None:
    """Ids of version 1 get the classes that both migrations in a row make of them, pixel by pixel."""
    assert ingest(write_source(tmp_path / "first", names("a")), "may", *GROUPED) == 0
    move_on(SECOND, THIRD)
    late = write_source(tmp_path / "late", names("z", count=3), seed=5)
    assert ingest(late, "late", *GROUPED, "--source", "version-1") == 0
    found = pixels()
    for item in names("z", count=3):
        assert (found[item] == drawn(late, item, MEANT)).all()
    assert ingest(late, "late", *GROUPED, "--source", "version-1") == 0


def test_the_inbox_reads_a_late_batch_through_both_versions(ingest: Ingest, tmp_path: Path) -> None:
    """The manifest's taxonomy_version chooses the remap; the same batch uploaded again is recognised."""
    assert ingest(write_source(tmp_path / "first", names("a")), "may", *GROUPED) == 0
    move_on(SECOND, THIRD)
    for again in range(2):
        folder = write_batch(Path("inbox"), "late", names("z", count=3), seed=5, taxonomy_version=1)
        kept = write_source(tmp_path / f"copy-{again}", names("z", count=3), seed=5)
        assert take() == 0
        assert not folder.exists()
        found = pixels()
        assert sorted(found) == [*names("a"), *names("z", count=3)]
        for item in names("z", count=3):
            assert (found[item] == drawn(kept, item, MEANT)).all()
    assert verdicts() == {"late": ["accepted"]}


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("annotator", ["ada", "ben"])
def test_the_inbox_takes_an_old_batch_once(ingest: Ingest, annotator: str, lost: bool) -> None:
    """Uploaded again after two migrations, with the same manifest or another, with the table of verdicts or without."""
    del ingest
    write_batch(Path("inbox"), "may", names("a", "b"))
    assert take() == 0
    move_on(SECOND, THIRD)
    before, masks = standing(), pixels()
    if lost:
        Path("data/inbox.csv").unlink()
    write_batch(Path("inbox"), "may", names("a", "b"), annotator=annotator)
    assert take() == 0
    assert standing() == before
    assert all((mask == masks[item]).all() for item, mask in pixels().items())
