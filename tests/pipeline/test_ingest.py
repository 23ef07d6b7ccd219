"""Ingestion through the real command: what enters, what is left out, what is refused, and that nothing is half-done."""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from ingest_source import GROUPED, TAXONOMY, Ingest, ingest_in, names, world, write_source
from PIL import Image

from pipeline.part_writer import write_batch
from pipeline.parts import Item, read_index, read_items
from pipeline.splits import read_ledger
from pipeline.taxonomy import load_taxonomy
from pipeline.taxonomy_changes import Migration, migrated, taxonomy_text


@pytest.fixture
def ingest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ingest:
    """Runs the command in a workspace of its own and returns its exit code."""
    return ingest_in(tmp_path, monkeypatch)


def test_a_batch_enters_with_its_bytes_groups_and_splits(ingest: Ingest, tmp_path: Path) -> None:
    """Image bytes are kept, masks are ids, groups come from the names and every group has a split before it appears."""
    source = write_source(tmp_path / "src", names("a", "b", "c", "d"))
    assert ingest(source, "first", *GROUPED) == 0
    index = read_index(Path("data/dataset"))
    assert index["group"].tolist() == ["a", "a", "b", "b", "c", "c", "d", "d"]
    for row, image, mask in read_items(Path("data/dataset"), index):
        assert image == (source / "images" / f"{row['item_id']}.png").read_bytes()
        stored = np.asarray(Image.open(source / "masks" / f"{row['item_id']}.png"))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(mask))), stored)
    ledger = read_ledger(Path("data/splits.csv"))
    assert {row.group for row in ledger.rows} == {"a", "b", "c", "d"}
    assert {row.split for row in ledger.rows} == {"train", "val", "test"}


def test_a_rerun_is_a_no_op_and_other_content_is_refused(ingest: Ingest, tmp_path: Path) -> None:
    """The same batch again changes no byte and says so; with other content it asks for another name."""
    source = write_source(tmp_path / "src", names("a", "b"))
    assert ingest(source, "first", *GROUPED) == 0
    before = world(tmp_path)
    assert ingest(source, "first", *GROUPED) == 0
    assert world(tmp_path) == before
    write_source(source, ["a_0"], seed=9)
    changed = world(tmp_path)
    assert ingest(source, "first", *GROUPED) == 2
    assert world(tmp_path) == changed


def test_unknown_values_stop_everything(ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All values that nothing maps are named in one message with file and pixel count, and nothing is written."""
    source = write_source(tmp_path / "src", names("a", "b"))
    strange = np.zeros((6, 8), dtype=np.uint8)
    strange[0, :5], strange[1, :2] = 77, 88
    Image.fromarray(strange).save(source / "masks/b_1.png")
    before = world(tmp_path)
    assert ingest(source, "first", *GROUPED) == 2
    message = capsys.readouterr().err
    assert "'77': 5 px in 1 file(s), first" in message
    assert "'88': 2 px" in message
    assert "b_1.png" in message
    assert world(tmp_path) == before
    assert not any(Path("data").glob("**/.*"))


def test_one_bad_item_never_stops_the_rest(ingest: Ingest, tmp_path: Path) -> None:
    """A corrupt image, a truncated mask and lone files are listed with reasons; a mask of another size enters."""
    source = write_source(tmp_path / "src", names("a", "b", "c", "d"))
    (source / "images/a_0.png").write_bytes(b"no image")
    mask = (source / "masks/b_0.png").read_bytes()
    (source / "masks/b_0.png").write_bytes(mask[: len(mask) // 2])
    (source / "masks/c_0.png").unlink()
    Image.fromarray(np.zeros((3, 3), dtype=np.uint8)).save(source / "masks/d_0.png")
    assert ingest(source, "first", *GROUPED) == 0
    assert set(read_index(Path("data/dataset"))["item_id"]) == {"a_1", "b_1", "c_1", "d_0", "d_1"}
    with Path("data/rejected/first.csv").open() as file:
        reasons = {row["item_id"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons.keys() == {"a_0", "b_0", "c_0"}
    assert all(reasons.values())


def test_the_list_of_what_was_left_out_holds_no_formula(ingest: Ingest, tmp_path: Path) -> None:
    """A file's name that a spreadsheet would run stands behind a quote in the list."""
    source = write_source(tmp_path / "src", ["=1+1", "b"])
    (source / "images/=1+1.png").write_bytes(b"no image")
    assert ingest(source, "first") == 0
    assert Path("data/rejected/first.csv").read_text().splitlines()[1].startswith("'=1+1,")


def test_nothing_usable_is_the_users_mistake(ingest: Ingest, tmp_path: Path) -> None:
    """When no item can be used the command fails, lists them, and leaves dataset and ledger alone."""
    source = write_source(tmp_path / "src", ["a"])
    (source / "images/a.png").write_bytes(b"no image")
    assert ingest(source, "first") == 2
    assert Path("data/rejected/first.csv").exists()
    assert not Path("data/dataset").exists()
    assert not Path("data/splits.csv").exists()


def migrate_taxonomy() -> None:
    """Merges floor into background and adds a ladder: human's id becomes 1, and 2 is the ladder's."""
    ladder = {"name": "ladder", "colour": "#123456"}
    change = {"from": 1, "note": "n", "merge": {"floor": "background"}, "add": [ladder]}
    after = migrated(Migration.model_validate(change), load_taxonomy(Path("data/taxonomy.yaml")))
    Path("data/taxonomy.yaml").write_text(taxonomy_text(after, ""))


def stored_values() -> set[int]:
    """The values in the dataset's masks."""
    found = read_items(Path("data/dataset"), read_index(Path("data/dataset")))
    return {int(value) for _, _, mask in found for value in np.unique(np.asarray(Image.open(io.BytesIO(mask))))}


@pytest.mark.parametrize("source", [(), ("--source", "plain")])
def test_after_a_migration_ids_need_their_version(
    ingest: Ingest, tmp_path: Path, source: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Plain ids are refused where nothing says by which version they were drawn, and nothing is written."""
    taxonomy = Path("data/taxonomy.yaml")
    taxonomy.write_text(yaml.safe_dump(TAXONOMY | {"remaps": {"plain": {}}}))
    migrate_taxonomy()
    write_source(tmp_path / "src", ["a"])
    before = world(tmp_path)
    assert ingest(tmp_path / "src", "first", *source) == 2
    assert "`--source version-1`, or `--source version-2` for today's" in capsys.readouterr().err
    assert world(tmp_path) == before


@pytest.mark.parametrize(("version", "values"), [("version-1", {0, 1}), ("version-2", {0, 1, 2})])
def test_a_version_says_what_ids_mean(ingest: Ingest, tmp_path: Path, version: str, values: set[int]) -> None:
    """Old ids become today's classes, today's stay as they are, and the source is no version."""
    migrate_taxonomy()
    write_source(tmp_path / "src", names("a", "b"))
    assert ingest(tmp_path / "src", "first", "--source", version) == 0
    assert stored_values() == values
    assert set(read_index(Path("data/dataset"))["source"]) == {"folders"}


def test_a_version_reads_colours_of_before(ingest: Ingest, tmp_path: Path) -> None:
    """Masks in the colours of a class that was merged become the class that it was merged into."""
    migrate_taxonomy()
    source = write_source(tmp_path / "src", ["a"])
    Image.fromarray(np.array([[[10, 200, 30], [200, 0, 99]]], dtype=np.uint8)).save(source / "masks/a.png")
    assert ingest(source, "first", "--source", "version-1") == 0
    assert stored_values() == {0, 1}


def test_a_source_with_values_of_its_own_needs_no_version(ingest: Ingest, tmp_path: Path) -> None:
    """What a remap says of values holds for every version, as it names classes."""
    migrate_taxonomy()
    source = write_source(tmp_path / "src", ["a"])
    Image.fromarray(np.array([[0, 10, 20, 30]], dtype=np.uint8)).save(source / "masks/a.png")
    assert ingest(source, "first", "--source", "tens") == 0
    assert stored_values() == {0, 1, 255}


def test_a_remap_is_chosen_by_the_source(ingest: Ingest, tmp_path: Path) -> None:
    """`--source` picks the remap by which values become ids; a source without a remap is refused."""
    source = write_source(tmp_path / "src", ["a"])
    tens = np.array([[0, 10, 20, 30]], dtype=np.uint8)
    Image.fromarray(tens).save(source / "masks/a.png")
    assert ingest(source, "first", "--source", "typo") == 2
    assert ingest(source, "first", "--source", "tens") == 0
    index = read_index(Path("data/dataset"))
    (_, _, mask) = next(iter(read_items(Path("data/dataset"), index)))
    assert np.asarray(Image.open(io.BytesIO(mask))).tolist() == [[0, 1, 2, 255]]
    assert index["source"].tolist() == ["tens"]


def test_a_split_is_taken_over_only_when_asked_and_only_at_first(ingest: Ingest, tmp_path: Path) -> None:
    """`--accept-split` writes the source's split, straddling groups visibly; a later batch cannot choose its own."""
    source = write_source(tmp_path / "src", ["train/a_0", "val/a_1", "test/b_0"])
    assert ingest(source, "first", *GROUPED, "--accept-split") == 0
    ledger = read_ledger(Path("data/splits.csv"))
    assert ledger.splits == {"a": {"train", "val"}, "b": {"test"}}
    assert read_index(Path("data/dataset")).set_index("item_id")["source_split"].to_dict() == {
        "a_0": "train",
        "a_1": "val",
        "b_0": "test",
    }
    assert ingest(source, "first", *GROUPED, "--accept-split") == 0
    later = write_source(tmp_path / "later", ["test/c_0", "test/a_2"], seed=5)
    assert ingest(later, "second", *GROUPED, "--accept-split") == 2
    assert ingest(later, "second", *GROUPED) == 0
    assert "straddles" in Path("data/rejected/second.csv").read_text()
    assert read_ledger(Path("data/splits.csv")).rows[: len(ledger.rows)] == ledger.rows


def test_straddling_groups_are_told_apart_from_the_others(
    ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report counts each group once and names those that a split taken over tears apart."""
    source = write_source(tmp_path / "src", ["train/a_0", "test/a_1", "test/b_0", "train/c_0"])
    assert ingest(source, "first", *GROUPED, "--accept-split") == 0
    told = capsys.readouterr().out
    assert "groups: 1 to test, 1 to train" in told
    assert "straddles train and test: a" in told


def test_the_next_step_is_printed_in_a_workspace(
    ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What entered the workspace's dataset wants `dvc add`; a rehearsal, a re-run and another dataset do not."""
    source = write_source(tmp_path / "src", names("a", "b"))
    Path("dvc.yaml").write_text("stages: {}\n")
    assert ingest(source, "first", *GROUPED, "--dry-run") == 0
    assert ingest(source, "first", *GROUPED, "--dataset", "elsewhere", "--splits", "elsewhere.csv") == 0
    assert "next:" not in capsys.readouterr().out
    assert ingest(source, "first", *GROUPED) == 0
    assert "next: dvc add data/dataset, then dvc repro" in capsys.readouterr().out


def test_a_rehearsal_names_no_list_that_it_has_not_written(
    ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is left out is shown; the file is named when it is there."""
    source = write_source(tmp_path / "src", names("a", "b"))
    (source / "masks/a_0.png").unlink()
    assert ingest(source, "first", *GROUPED, "--dry-run") == 0
    assert "rejected" not in capsys.readouterr().out
    assert ingest(source, "first", *GROUPED) == 0
    assert "see data/rejected/first.csv" in capsys.readouterr().out


def test_selected_images_never_enter_the_holdout(ingest: Ingest, tmp_path: Path) -> None:
    """A selected batch places its groups outside the holdout and leaves out what belongs to a holdout group."""
    assert ingest(write_source(tmp_path / "src", names("a", "b", "c", "d")), "first", *GROUPED) == 0
    held = next(row.group for row in read_ledger(Path("data/splits.csv")).rows if row.split == "test")
    more = write_source(tmp_path / "more", [f"{held}_9", *names(*(f"s{i}" for i in range(12)), count=1)], seed=3)
    assert ingest(more, "second", *GROUPED, "--sampling", "selected") == 0
    assert "holdout" in Path("data/rejected/second.csv").read_text()
    splits = read_ledger(Path("data/splits.csv")).splits
    assert all(splits[f"s{i}"] <= {"train", "val"} for i in range(12))


def test_relabelled_items_become_revisions_only_when_asked(ingest: Ingest, tmp_path: Path) -> None:
    """A known item with another mask is refused, or the next revision with `--relabel`; equal ones are left alone."""
    assert ingest(write_source(tmp_path / "src", names("a", "b")), "first", *GROUPED) == 0
    source = write_source(tmp_path / "src", ["a_0"], seed=8)
    assert ingest(source, "second", *GROUPED) == 2
    assert ingest(source, "second", *GROUPED, "--relabel") == 0
    index = read_index(Path("data/dataset")).set_index("item_id")
    assert index["revision"].to_dict() == {"a_0": 2, "a_1": 1, "b_0": 1, "b_1": 1}
    assert pq.read_table(Path("data/dataset/second")).num_rows == 1
    assert ingest(source, "second", *GROUPED, "--relabel") == 0


@pytest.mark.parametrize(("split", "said"), [("test", "1 of these are in the holdout"), ("train", "")])
def test_a_relabelled_item_of_the_holdout_is_told(
    ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str], split: str, said: str
) -> None:
    """A mask that changes in the holdout makes another holdout of it; one that changes elsewhere does not."""
    assert ingest(write_source(tmp_path / "src", names("a", "b", "c", "d")), "first", *GROUPED) == 0
    group = next(row.group for row in read_ledger(Path("data/splits.csv")).rows if row.split == split)
    source = write_source(tmp_path / "src", [f"{group}_0"], seed=8)
    capsys.readouterr()
    assert ingest(source, "second", *GROUPED, "--relabel") == 0
    told = capsys.readouterr().out
    assert said in told
    assert ("holdout" in told) == (split == "test")


def test_a_repeated_batch_changes_no_holdout(
    ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same items again are no change of it."""
    source = write_source(tmp_path / "src", names("a", "b", "c", "d"))
    assert ingest(source, "first", *GROUPED) == 0
    assert ingest(source, "first", *GROUPED) == 0
    assert "holdout" not in capsys.readouterr().out


@pytest.mark.parametrize("batch", ["first", "second"])
def test_other_groups_ask_for_the_first_expression(
    ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str], batch: str
) -> None:
    """Without the `--group-by` of the first time, the remedy is that option, whatever was advised before."""
    source = write_source(tmp_path / "src", names("a", "b"))
    assert ingest(source, "first", *GROUPED) == 0
    before = world(tmp_path)
    assert ingest(source, batch, "--relabel") == 2
    message = capsys.readouterr().err
    assert "repeat the --group-by of the first ingestion" in message
    assert "--relabel" not in message
    assert world(tmp_path) == before


def test_a_removed_item_can_return(ingest: Ingest, tmp_path: Path) -> None:
    """An item with a tombstone enters again as the revision after it, so that it wins."""
    source = write_source(tmp_path / "src", names("a", "b"))
    assert ingest(source, "first", *GROUPED) == 0
    index = read_index(Path("data/dataset"))
    row, image, mask = next(read_items(Path("data/dataset"), index[index["item_id"] == "a_0"]))
    digests = {"sha256": row["sha256"], "mask_source_sha256": row["mask_source_sha256"]}
    gone = Item("a_0", image, mask, "", "", group="a", source="x", revision=2, deleted=True, **digests)
    write_batch(Path("data/dataset"), "removal", [gone])
    assert "a_0" not in set(read_index(Path("data/dataset"))["item_id"])
    assert ingest(source, "again", *GROUPED) == 0
    assert read_index(Path("data/dataset")).set_index("item_id").loc["a_0", "revision"] == 3


def test_everything_known_already_is_a_no_op(ingest: Ingest, tmp_path: Path) -> None:
    """A new batch of only known, equal items writes nothing."""
    source = write_source(tmp_path / "src", names("a", "b"))
    assert ingest(source, "first", *GROUPED) == 0
    before = world(tmp_path)
    assert ingest(source, "second", *GROUPED) == 0
    assert world(tmp_path) == before


def test_a_rehearsal_reports_and_writes_nothing(
    ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--dry-run` prints the values with their classes, unknown ones too, and changes nothing."""
    source = write_source(tmp_path / "src", names("a", "b"))
    before = world(tmp_path)
    assert ingest(source, "first", *GROUPED, "--dry-run") == 0
    assert "floor" in capsys.readouterr().out
    assert ingest(source, "first", *GROUPED, "--source", "tens", "--dry-run") == 2
    assert "(nothing)" in capsys.readouterr().out
    assert world(tmp_path) == before


def test_facts_and_slices_are_stored(ingest: Ingest, tmp_path: Path) -> None:
    """What items.csv says becomes columns; a batch with changed facts is no re-run."""
    source = write_source(tmp_path / "src", ["a", "b"])
    table = "name,group,annotator,captured_at,camera\na,g,ann,2026-01-31T12:00:00Z,left\nb,g,,,\n"
    (source / "items.csv").write_text(table)
    assert ingest(source, "first") == 0
    index = read_index(Path("data/dataset")).set_index("item_id")
    assert index.loc["a", ["group", "annotator", "camera"]].tolist() == ["g", "ann", "left"]
    assert index.loc["a", "captured_at"] == pd.Timestamp("2026-01-31T12:00:00Z")
    assert pd.isna(index.loc["b", "camera"])
    assert ingest(source, "first") == 0
    (source / "items.csv").write_text(table.replace("left", "right"))
    assert ingest(source, "first") == 2


def test_adding_reads_no_bytes_of_what_is_there(ingest: Ingest, tmp_path: Path) -> None:
    """A new batch of new items is added even when the image bytes of the parts on disk cannot be read."""
    assert ingest(write_source(tmp_path / "src", names("a", "b")), "first", *GROUPED) == 0
    part = Path("data/dataset/first/part-00000.parquet")
    column = pq.ParquetFile(part).metadata.row_group(0).column(3)
    assert column.path_in_schema == "image.bytes"
    content = bytearray(part.read_bytes())
    start = column.data_page_offset
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    part.write_bytes(bytes(content))
    assert ingest(write_source(tmp_path / "more", names("e"), seed=4), "second", *GROUPED) == 0


def test_what_a_killed_run_left_is_swept(ingest: Ingest, tmp_path: Path) -> None:
    """Temporary folders of killed runs of any batch go with the next run; other hidden folders stay."""
    for name in (".first.abc_de12", ".may.2.abcdefgh", ".mine", ".first.abc"):
        left = tmp_path / "data/dataset" / name / "new"
        left.mkdir(parents=True)
        (left / "part-00000.parquet").write_bytes(b"half")
    assert ingest(write_source(tmp_path / "src", names("a", "b")), "first", *GROUPED) == 0
    assert sorted(file.name for file in Path("data/dataset").iterdir()) == [".first.abc", ".mine", "first"]
