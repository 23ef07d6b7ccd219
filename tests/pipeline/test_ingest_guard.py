"""What an ingestion must never lose: batches, ledger rows, sides of the split and what is known of an item."""

import csv
import os
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pandas as pd
import pytest
from ingest_source import GROUPED, Ingest, ingest_in, names, world, write_source
from PIL import Image

from pipeline.errors import UserError
from pipeline.ingest_guard import locked, refuse_stage_outs
from pipeline.parts import read_index
from pipeline.splits import read_ledger


@pytest.fixture
def ingest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ingest:
    """Runs the command in a workspace of its own and returns its exit code."""
    return ingest_in(tmp_path, monkeypatch)


def test_what_a_stage_makes_is_refused_as_a_target(
    ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dataset or ledger inside an out of a stage, where running it would delete the batch, is not written to."""
    source = write_source(tmp_path / "src", names("a"))
    Path("dvc.yaml").write_text("stages: {demo_data: {cmd: x, outs: [data/demo]}, other: {cmd: x}}")
    before = world(tmp_path)
    assert ingest(source, "first", "--dataset", "data/demo") == 2
    assert "made by stage demo_data" in capsys.readouterr().err
    assert ingest(source, "first", "--splits", "data/demo/splits.csv") == 2
    assert world(tmp_path) == before
    assert ingest(source, "first") == 0


def test_outs_with_options_and_in_other_folders_are_known(tmp_path: Path) -> None:
    """Outs count in every form that dvc.yaml has: with options, relative to a stage's folder, as metrics."""
    stages = "{a: {wdir: w, outs: [{made: {cache: false}}]}, b: {do: {metrics: [m]}, foreach: [1]}}"
    (tmp_path / "dvc.yaml").write_text(f"stages: {stages}")
    for place in ("w/made/x", "m"):
        with pytest.raises(UserError, match="made by stage"):
            refuse_stage_outs([tmp_path / place], tmp_path)
    refuse_stage_outs([tmp_path / "made"], tmp_path)


def test_only_one_ingestion_runs_at_a_time(tmp_path: Path) -> None:
    """Who comes second waits until the first is done, and then goes on."""
    places, entered = (tmp_path / "data/dataset", tmp_path / "data/splits.csv"), Event()

    def second() -> None:
        with locked(*places):
            entered.set()

    thread = Thread(target=second)
    with locked(*places):
        thread.start()
        assert not entered.wait(0.2)
    thread.join(10)
    assert entered.is_set()


def test_a_rerun_places_groups_that_the_ledger_lacks(ingest: Ingest, tmp_path: Path) -> None:
    """A batch whose ledger rows were lost gets them by running it again; the rows that are there stay."""
    source = write_source(tmp_path / "src", names("a", "b", "c"))
    assert ingest(source, "first", *GROUPED) == 0
    ledger = Path("data/splits.csv")
    kept = ledger.read_text().splitlines(keepends=True)[:-1]
    ledger.write_text("".join(kept))
    assert ingest(source, "first", *GROUPED) == 0
    assert read_ledger(ledger).splits.keys() == {"a", "b", "c"}
    assert ledger.read_text().startswith("".join(kept))


def test_a_split_is_not_taken_over_with_selected_images(ingest: Ingest, tmp_path: Path) -> None:
    """The source's holdout would hold what a model selected, so the combination is refused."""
    source = write_source(tmp_path / "src", ["train/a_0", "test/b_0"])
    assert ingest(source, "first", *GROUPED, "--accept-split", "--sampling", "selected") == 2
    assert not Path("data/splits.csv").exists()


def test_a_split_that_an_aborted_run_contradicts_is_refused(
    ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows that an earlier run of this very batch left keep their side; the accepted split may not add another."""
    source = write_source(tmp_path / "src", ["train/a_0", "test/b_0"])
    Path("data/splits.csv").write_text("group,split,since\na,test,first\n")
    assert ingest(source, "first", *GROUPED, "--accept-split") == 2
    assert "'a' in test" in capsys.readouterr().err
    assert read_ledger(Path("data/splits.csv")).splits == {"a": {"test"}}


def test_a_new_revision_keeps_what_its_source_does_not_state(ingest: Ingest, tmp_path: Path) -> None:
    """Annotator, slices, time, place and selection stay unless stated anew, and a re-run is still a no-op."""
    source = write_source(tmp_path / "src", ["a", "b"])
    table = "name,group,sequence_index,annotator,captured_at,camera,site\n"
    (source / "items.csv").write_text(table + "a,g,7,ann,2026-01-31T12:00:00Z,left,hall\nb,g,8,,,,\n")
    assert ingest(source, "first", "--sampling", "selected") == 0
    again = write_source(tmp_path / "again", ["a"], seed=5)
    (again / "items.csv").write_text("name,group,camera\na,g,right\n")
    assert ingest(again, "second", "--relabel") == 0
    row = read_index(Path("data/dataset")).set_index("item_id").loc["a"]
    kept = ["revision", "sequence_index", "annotator", "camera", "site", "sampling"]
    assert row[kept].tolist() == [2, 7, "ann", "right", "hall", "selected"]
    assert row["captured_at"] == pd.Timestamp("2026-01-31T12:00:00Z")
    before = world(tmp_path)
    assert ingest(again, "second", "--relabel") == 0
    assert world(tmp_path) == before


def test_odd_files_are_left_out(ingest: Ingest, tmp_path: Path) -> None:
    """A pipe, a mask of negative values and a name that is no UTF-8 are listed with reasons; the rest enters."""
    source = write_source(tmp_path / "src", ["good", "negative", "pipe", "caf\udce9"])
    Image.fromarray(np.full((6, 8), -5, dtype=np.int32)).save(source / "masks/negative.tif")
    for file in ("masks/negative.png", "images/pipe.png"):
        (source / file).unlink()
    os.mkfifo(source / "images/pipe.png")
    assert ingest(source, "first") == 0
    assert read_index(Path("data/dataset"))["item_id"].tolist() == ["good"]
    with Path("data/rejected/first.csv").open() as lines:
        reasons = {row["item_id"]: row["reason"] for row in csv.DictReader(lines)}
    assert reasons.keys() == {"negative", "pipe", "caf\\xe9"}
    assert "no regular file" in reasons["pipe"]


def test_names_are_printed_as_they_are(ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets in a name are no markup: neither swallowed nor an error."""
    source = write_source(tmp_path / "src", ["a", "x[/red]", "y[bold]"])
    (source / "images/x[/red].png").write_bytes(b"damaged")
    (source / "images/y[bold].png").write_bytes(b"damaged")
    assert ingest(source, "first") == 0
    printed = capsys.readouterr().out
    assert "x[/red]" in printed
    assert "y[bold]" in printed
