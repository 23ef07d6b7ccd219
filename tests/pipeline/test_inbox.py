"""Tests of `segloop inbox` on a folder: what is taken, waits or is turned away, and that nothing comes twice."""

import io
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from inbox_case import digest_of, items, report, take, verdicts, write_batch, write_manifest, write_workspace
from ingest_source import names, world
from PIL import Image

from pipeline.files import sha256_file
from pipeline.inboxes.folder import FolderStore
from pipeline.parts import read_index, read_items
from pipeline.releasing.purged import RECORD, Purge, PurgedItem, append_purge
from pipeline.taxonomy import load_taxonomy
from pipeline.taxonomy_changes import Migration, migrated, taxonomy_text

INBOX = Path("inbox")


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace with an empty inbox is the working folder."""
    monkeypatch.chdir(tmp_path)
    write_workspace(tmp_path)
    INBOX.mkdir()


def test_a_batch_is_ingested_and_moved_with_its_report(capsys: pytest.CaptureFixture[str]) -> None:
    """Its items are in the dataset; it lies whole in done/ beside a report; the ledger holds its digest."""
    folder = write_batch(INBOX, "may", names("g1", "g2"))
    digest = digest_of(folder)
    assert take() == 0
    assert items() == names("g1", "g2")
    assert not folder.exists()
    told = report(INBOX / "done" / f"may-{digest}")
    assert (told["verdict"], told["accepted"], told["dataset_batch"]) == ("accepted", 4, f"may-{digest}")
    assert len(list((INBOX / "done" / f"may-{digest}").rglob("*.png"))) == 8
    assert verdicts() == {"may": ["accepted"]}
    assert "accepted" in capsys.readouterr().out


def test_the_manifest_tells_what_no_file_does() -> None:
    """Annotator and moment come from the manifest, except where items.csv states them."""
    folder = write_batch(INBOX, "may", names("g1"))
    (folder / "items.csv").write_text("name,annotator\ng1_0,ben\n")
    write_manifest(folder)
    assert take() == 0
    rows = pd.read_parquet(next(Path("data/dataset").glob("*/part-*.parquet")))
    assert rows["annotator"].tolist() == ["ben", "ada"]
    assert rows["captured_at"].tolist() == [pd.Timestamp("2026-05-01T12:00:00Z")] * 2


def test_an_empty_inbox_is_no_failure() -> None:
    """Nothing there is nothing to do."""
    assert take() == 0


def test_an_inbox_that_is_not_there_is_the_users_mistake() -> None:
    """The exit code tells it from an outage."""
    assert take("elsewhere") == 2


def test_a_batch_without_manifest_waits_and_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """It stays where it is, its age is told, and the run succeeds."""
    folder = write_batch(INBOX, "may", names("g1"))
    (folder / "manifest.json").unlink()
    then = time.time() - 3 * 3600
    for file in folder.rglob("*"):
        os.utime(file, (then, then))
    assert take() == 0
    assert folder.is_dir()
    told = capsys.readouterr().out
    assert "waiting" in told
    assert "3 h 0 min" in told


def test_a_half_written_batch_waits_and_is_taken_when_it_is_whole() -> None:
    """A file that the manifest lists and that is not there yet, or not whole yet, postpones the batch."""
    folder = write_batch(INBOX, "may", names("g1"))
    late, growing = folder / "images" / "g1_0.png", folder / "images" / "g1_1.png"
    whole = late.read_bytes(), growing.read_bytes()
    late.unlink()
    growing.write_bytes(whole[1][:20])
    assert take() == 0
    assert folder.is_dir()
    late.write_bytes(whole[0])
    growing.write_bytes(whole[1])
    assert take() == 0
    assert items() == names("g1")


def test_a_half_written_batch_is_rejected_after_its_time(tmp_path: Path) -> None:
    """Once the wait is over, the report says which file never came."""
    write_workspace(tmp_path, wait_hours=0)
    folder = write_batch(INBOX, "may", names("g1"))
    digest = digest_of(folder)
    (folder / "images" / "g1_0.png").unlink()
    assert take() == 1
    assert "images/g1_0.png" in report(INBOX / "rejected" / f"may-{digest}")["note"]


def test_a_bad_batch_does_not_block_the_good_ones() -> None:
    """Batches before and after a rejected one are taken, and the exit code tells of the rejection."""
    write_batch(INBOX, "a", names("g1"))
    (write_batch(INBOX, "b", names("g2")) / "manifest.json").write_text("no JSON at all")
    write_batch(INBOX, "c", names("g3"))
    assert take() == 1
    assert items() == names("g1", "g3")
    assert verdicts() == {"a": ["accepted"], "b": ["rejected"], "c": ["accepted"]}


def test_a_batch_that_was_ingested_before_a_kill_is_accepted_whatever_changed_since() -> None:
    """Its items are in: neither a migration nor a lost verdict makes a rejected batch of it."""
    folder = write_batch(INBOX, "may", names("g1"))
    kept = shutil.copytree(folder, Path("kept"))
    assert take() == 0
    shutil.rmtree(INBOX / "done")
    Path("data/inbox.csv").unlink()
    shutil.copytree(kept, folder)
    taxonomy = Path("data/taxonomy.yaml")
    taxonomy.write_text(taxonomy.read_text().replace("version: 1", "version: 3"))
    assert take() == 0
    assert verdicts() == {"may": ["accepted"]}
    assert items() == names("g1")


def test_a_folder_whose_name_is_no_text_waits_and_blocks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither table nor ledger could hold it; the other batches are taken."""
    (INBOX / os.fsdecode(b"a\xff\xfe")).mkdir()
    write_batch(INBOX, "b", names("g1"))
    assert take() == 0
    assert verdicts() == {"b": ["accepted"]}
    assert "no printable text" in capsys.readouterr().out


def test_a_folder_that_cannot_be_listed_blocks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that is gone when its turn comes waits for the next run, and those after it are taken."""
    write_batch(INBOX, "b", names("g1"))
    found = FolderStore.batches
    monkeypatch.setattr(FolderStore, "batches", lambda store: ["a-gone", *found(store)])
    assert take() == 0
    assert verdicts() == {"b": ["accepted"]}


def migrate_taxonomy() -> None:
    """Merges floor into background: human's id becomes 1."""
    file = Path("data/taxonomy.yaml")
    change = Migration.model_validate({"from": 1, "note": "n", "merge": {"floor": "background"}})
    file.write_text(taxonomy_text(migrated(change, load_taxonomy(file)), ""))


@pytest.mark.parametrize("says", [{}, {"source": "version-1"}, {"source": "tens"}])
def test_a_batch_of_an_earlier_taxonomy_is_taken_by_what_its_ids_meant(says: dict[str, str]) -> None:
    """A batch that was under way when the classes changed comes in with today's; its source's remap still counts."""
    migrate_taxonomy()
    folder = write_batch(INBOX, "may", ["g1_0"])
    values = [0, 10, 20, 30] if says.get("source") == "tens" else [0, 1, 2, 255]
    Image.fromarray(np.array([values], dtype=np.uint8)).save(folder / "masks" / "g1_0.png")
    write_manifest(folder, taxonomy_version=1, **says)
    assert take() == 0
    [(row, _, mask)] = read_items(Path("data/dataset"), read_index(Path("data/dataset")))
    assert np.asarray(Image.open(io.BytesIO(mask))).tolist() == [[0, 0, 1, 255]]
    assert row["source"] == ("tens" if says.get("source") == "tens" else "folders")


def test_a_batch_that_contradicts_itself_about_its_version_is_rejected() -> None:
    """A source that is one version and a taxonomy_version that is another cannot both be right."""
    migrate_taxonomy()
    digest = digest_of(write_batch(INBOX, "may", ["g1_0"], taxonomy_version=2, source="version-1"))
    assert take() == 1
    assert "its taxonomy_version 2" in report(INBOX / "rejected" / f"may-{digest}")["note"]


REASONS = {
    "version": ({"taxonomy_version": 2}, "version 2 of the taxonomy"),
    "format": ({"format": "sketches"}, "no format 'sketches'"),
    "source": ({"source": "elsewhere"}, "no remap 'elsewhere'"),
    "outside": ({"files": [{"path": "../secret", "sha256": "0" * 64, "bytes": 1}]}, "leads out of the batch"),
}


@pytest.mark.parametrize("case", REASONS)
def test_a_manifest_that_does_not_fit_is_rejected_with_its_reason(case: str) -> None:
    """The report in rejected/ names what does not fit, and the dataset stays as it is."""
    says, reason = REASONS[case]
    digest = digest_of(write_batch(INBOX, "may", names("g1"), **says))
    assert take() == 1
    assert reason in report(INBOX / "rejected" / f"may-{digest}")["note"]
    assert items() == []


def test_wrong_bytes_are_rejected() -> None:
    """A file of the right size whose digest is another never enters."""
    folder = write_batch(INBOX, "may", names("g1"))
    digest, file = digest_of(folder), folder / "masks" / "g1_0.png"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    assert take() == 1
    assert "masks/g1_0.png: its SHA-256 is" in report(INBOX / "rejected" / f"may-{digest}")["note"]
    assert items() == []


def test_what_ingest_refuses_is_rejected_without_paths_of_this_machine(tmp_path: Path) -> None:
    """The reason names the file as the batch does: those who made the batch know no other name."""
    folder = write_batch(INBOX, "may", names("g1"), seed=0)
    write_batch(INBOX, "next", names("g1"), seed=1)
    digest = digest_of(INBOX / "next")
    shutil.copy(folder / "masks" / "g1_0.png", folder / "masks" / "g1_1.png")
    write_manifest(folder)
    assert take() == 1
    note = report(INBOX / "rejected" / f"next-{digest}")["note"]
    assert "2 item(s) are in the dataset with other content" in note
    assert str(tmp_path) not in note
    assert ".segloop" not in note


def test_items_that_cannot_be_used_are_left_out_and_told() -> None:
    """A damaged image costs its item only; the report lists it with the reason."""
    folder = write_batch(INBOX, "may", names("g1"))
    (folder / "images" / "g1_0.png").write_bytes(b"no image")
    write_manifest(folder)
    digest = digest_of(folder)
    assert take() == 0
    told = report(INBOX / "done" / f"may-{digest}")
    assert items() == ["g1_1"]
    assert "no image of a known format" in told["left_out"]["g1_0"]


def test_a_split_that_a_batch_brings_is_not_taken_over() -> None:
    """The owner's ledger places the groups: a batch that lies in a folder `test/` is not all holdout."""
    write_batch(INBOX, "may", [f"test/{name}" for name in names(*(f"g{number}" for number in range(8)))])
    assert take() == 0
    assert "train" in Path("data/splits.csv").read_text()


def test_a_manifest_may_bring_new_masks_for_known_items() -> None:
    """With `relabel` another mask is a new revision, as annotation tasks come back; without, the batch is rejected."""
    write_batch(INBOX, "may", names("g1"))
    assert take() == 0
    write_batch(INBOX, "june", ["g1_0"], seed=8)
    write_batch(INBOX, "july", ["g1_1"], seed=9, relabel=True)
    assert take() == 1
    assert verdicts() == {"may": ["accepted"], "june": ["rejected"], "july": ["accepted"]}
    (rejected,) = (INBOX / "rejected").iterdir()
    assert '"relabel": true' in report(rejected)["note"]
    index = read_index(Path("data/dataset")).set_index("item_id")
    assert index["revision"].to_dict() == {"g1_0": 1, "g1_1": 2}


def test_a_new_mask_of_the_holdout_is_reported() -> None:
    """A holdout with another mask is another one, on which nothing has been judged: the batch's report says so."""
    write_batch(INBOX, "may", names("g1"))
    assert take() == 0
    ledger = Path("data/splits.csv")
    ledger.write_text(f"group,split,since\ng1,test,{ledger.read_text().splitlines()[1].split(',')[2]}\n")
    write_batch(INBOX, "july", ["g1_1"], seed=9, relabel=True)
    assert take() == 0
    told = [report(folder)["note"] for folder in (INBOX / "done").iterdir()]
    assert sum("1 of these are in the holdout" in note for note in told) == 1


def test_a_manifest_says_how_the_images_were_chosen() -> None:
    """What a model selected stays marked so, and out of the holdout."""
    write_batch(INBOX, "may", names(*(f"s{number}" for number in range(12)), count=1), sampling="selected")
    assert take() == 0
    index = read_index(Path("data/dataset"))
    assert set(index["sampling"]) == {"selected"}
    assert "test" not in Path("data/splits.csv").read_text()


def test_a_purged_image_does_not_come_back(tmp_path: Path) -> None:
    """An image that the record of purges names is left out with the reason, under whatever name it comes."""
    folder = write_batch(INBOX, "may", names("g1", "g2"))
    gone = folder / "images" / "g1_0.png"
    item = PurgedItem(item_sha256="0" * 64, item_id=None, images=(sha256_file(gone),), rows=1)
    act = {"at": "2026-05-02T10:00:00+00:00", "by": "Ada", "note": "withdrawn", "parts": (), "releases": ()}
    append_purge(tmp_path / RECORD, Purge(version=1, items=(item,), **act))
    assert take() == 0
    assert items() == ["g1_1", "g2_0", "g2_1"]
    (done,) = (INBOX / "done").iterdir()
    assert report(done)["left_out"] == {"g1_0": "its image was purged on 2026-05-02: withdrawn"}


def test_a_damaged_record_of_purges_stops_everything(tmp_path: Path) -> None:
    """It is the workspace's trouble: no batch is judged by it."""
    folder = write_batch(INBOX, "may", names("g1"))
    (tmp_path / RECORD).write_text("half a line")
    assert take() == 2
    assert folder.exists()


def test_the_same_manifest_again_is_not_ingested_again() -> None:
    """A batch that comes twice, be it under another name, is moved to done/ and adds nothing."""
    folder = write_batch(INBOX, "may", names("g1"))
    shutil.copytree(folder, Path("kept"))
    digest = digest_of(folder)
    assert take() == 0
    before = world(Path("data"))
    shutil.copytree(Path("kept"), INBOX / "may")
    shutil.copytree(Path("kept"), INBOX / "june")
    assert take() == 0
    assert world(Path("data")) == before
    assert {each.name for each in (INBOX / "done").iterdir()} == {f"{name}-{digest}" for name in ("may", "june")} | {
        f"may-{digest}.2"
    }
    assert report(INBOX / "done" / f"june-{digest}")["repeats"] == "may"


def test_a_rejected_batch_that_comes_mended_is_judged_anew() -> None:
    """The same manifest, uploaded again with the right file, is accepted."""
    folder = write_batch(INBOX, "may", names("g1"))
    shutil.copytree(folder, Path("kept"))
    file = folder / "masks" / "g1_0.png"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    assert take() == 1
    Path("kept/manifest.json").touch()
    Path("kept").rename(folder)
    assert take() == 0
    assert verdicts() == {"may": ["rejected", "accepted"]}
    assert items() == names("g1")


def test_a_rehearsal_changes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """--dry-run tells what would become of each batch, and leaves every file as it was."""
    write_batch(INBOX, "good", names("g1"))
    write_batch(INBOX, "old", names("g2"), taxonomy_version=7)
    (write_batch(INBOX, "young", names("g3")) / "manifest.json").unlink()
    before = world(tmp_path)
    assert take("--dry-run") == 1
    assert world(tmp_path) == before
    told = capsys.readouterr().out
    assert [told.index(fate) for fate in ("accepted", "rejected", "waiting")] == sorted(
        told.index(fate) for fate in ("accepted", "rejected", "waiting")
    )


def test_a_link_out_of_the_batch_is_no_file_of_it(tmp_path: Path) -> None:
    """A listed file that is a link counts as missing, whatever it points to."""
    folder = write_batch(INBOX, "may", names("g1"))
    file = folder / "images" / "g1_0.png"
    file.rename(tmp_path / "outside.png")
    file.symlink_to(tmp_path / "outside.png")
    assert take() == 0
    assert folder.is_dir()
    assert items() == []


def test_nothing_of_a_batch_stays_behind() -> None:
    """The staging folder is empty after a run in which every batch was moved."""
    write_batch(INBOX, "may", names("g1"))
    write_batch(INBOX, "june", names("g2"), taxonomy_version=7)
    assert take() == 1
    assert list(Path(".segloop/inbox").iterdir()) == []


def test_a_damaged_ledger_stops_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """Without knowing what was taken, nothing is taken; the message names the line."""
    write_batch(INBOX, "may", names("g1"))
    Path("data/inbox.csv").write_text("digest,batch,verdict,at,uploaded,note\nabc,may,perhaps,,,\n")
    assert take() == 2
    assert "line 2" in capsys.readouterr().err
    assert items() == []


def test_trouble_of_the_dataset_is_not_blamed_on_the_batch() -> None:
    """A damaged split ledger is the owner's to mend: the batch stays where it is."""
    folder = write_batch(INBOX, "may", names("g1"))
    Path("data/splits.csv").write_text("nonsense\n")
    assert take() == 2
    assert folder.is_dir()
    assert not Path("data/inbox.csv").exists()
