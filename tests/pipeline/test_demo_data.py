"""The stage: bytes that repeat, items with their truth beside them, a folder that is whole or absent."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from pipeline.command import exit_code
from pipeline.demo.annotation import DemoDataParams, annotate_scene
from pipeline.demo.preview import COLOURS
from pipeline.demo_data import main, make_demo_data
from pipeline.errors import UserError
from pipeline.parts import read_index, read_items
from pipeline.splits import SplitParams, read_ledger

SPLITS = SplitParams(val=0.25, test=0.25, salt="test")
NO_FAULTS = dict.fromkeys(("shifted", "swapped", "missing", "dilated", "coarse", "empty"), 0.0)
NO_SHIFT = dict.fromkeys(("brightness", "contrast", "colour", "blur", "noise", "texture"), 0.0)
SMALL: dict[str, Any] = {
    "seed": 1, "scenes": 8, "frames_per_scene": 2, "width": 96, "height": 64, "human_share": 0.6, "jpeg_quality": 90,
    "near_duplicate_rate": 0.0, "near_duplicates_across_groups": False, "annotators": {"ada": 0.9, "ben": 0.5},
    "annotator_overlap": 0.0, "jitter_px": 0.0, "faults": NO_FAULTS, "shift": NO_SHIFT, "preview_scenes": 3,
    "fault_sizes": {"shift_px": 8.0, "dilate_px": 2, "coarse_px": 3.0, "min_object_px": 10}, "workers": 1,
}  # fmt: skip


def made(folder: Path, **changes: Any) -> Path:
    """A small demo dataset with some parameters changed."""
    make_demo_data(folder, DemoDataParams.model_validate(SMALL | changes), SPLITS)
    return folder


def masks(folder: Path) -> dict[str, np.ndarray]:
    """The stored masks by item."""
    return {row["item_id"]: pixels(mask) for row, _, mask in read_items(folder, read_index(folder))}


def pixels(data: bytes) -> np.ndarray:
    """Decodes a picture."""
    return np.asarray(Image.open(io.BytesIO(data)))


def truth(folder: Path) -> pd.DataFrame:
    """The truth of the injected faults."""
    return pq.read_table(folder / "truth.parquet").to_pandas()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file's bytes by relative path."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_same_params_same_bytes_on_any_number_of_processes(tmp_path: Path) -> None:
    """One process and two write the same files, byte for byte."""
    knobs: dict[str, Any] = {"jitter_px": 2.0, "near_duplicate_rate": 0.3, "annotator_overlap": 0.3}
    alone = contents(made(tmp_path / "alone", **knobs))
    assert alone == contents(made(tmp_path / "pool", workers=2, **knobs))
    assert set(alone) == {"warehouse/part-00000.parquet", "splits.csv", "truth.parquet", "preview.png"}


def test_another_seed_gives_other_pictures(tmp_path: Path) -> None:
    """The seed changes every picture."""
    first, second = (read_index(made(tmp_path / str(seed), seed=seed)) for seed in (1, 2))
    assert not set(first["sha256"]) & set(second["sha256"])


def test_items_groups_and_slices(tmp_path: Path) -> None:
    """Each scene is a group of its frames in order, with camera, lighting, annotator and time."""
    index = read_index(made(tmp_path / "demo"))
    assert len(index) == 16
    assert index.groupby("group")["sequence_index"].apply(list).tolist() == [[0, 1]] * 8
    assert len(index.drop_duplicates(["group", "camera", "lighting"])) == 8
    assert set(index["annotator"]) == {"ada", "ben"}
    assert index["captured_at"].is_unique
    assert index["item_id"].is_unique


def test_every_group_has_a_split(tmp_path: Path) -> None:
    """The ledger places each group once, and the shares are about those asked for."""
    folder = made(tmp_path / "demo")
    ledger = read_ledger(folder / "splits.csv")
    splits = [ledger.split_of(group, None) for group in sorted(set(read_index(folder)["group"]))]
    assert {split: splits.count(split) for split in set(splits)} == {"train": 4, "val": 2, "test": 2}


def test_no_scenes_make_an_empty_dataset(tmp_path: Path) -> None:
    """Without scenes there is a valid folder with no item, no group and no fault."""
    folder = made(tmp_path / "demo", scenes=0)
    assert read_index(folder).empty
    assert read_ledger(folder / "splits.csv").rows == ()
    assert truth(folder).empty


def test_without_faults_there_is_no_truth(tmp_path: Path) -> None:
    """Faultless annotators leave nothing to confess."""
    assert truth(made(tmp_path / "demo")).empty


@pytest.mark.parametrize("kind", sorted(NO_FAULTS))
def test_truth_is_what_changed(kind: str, tmp_path: Path) -> None:
    """Items with a fault differ from the faultless dataset as their truth says, all others are equal to it."""
    clean = masks(made(tmp_path / "clean"))
    folder = made(tmp_path / "faulty", faults=NO_FAULTS | {kind: 0.4})
    faulty, rows = masks(folder), truth(folder)
    changed = {item for item, mask in faulty.items() if (mask != clean[item]).any()}
    assert changed == set(rows["item_id"])
    assert set(rows["kind"]) == {kind}
    for row in rows.itertuples():
        np.testing.assert_array_equal(pixels(row.clean_mask), clean[row.item_id])
        assert (faulty[row.item_id] != clean[row.item_id]).sum() == row.changed_px
        json.loads(row.detail)


def test_faults_change_no_picture(tmp_path: Path) -> None:
    """Annotation and rendering draw from separate streams."""
    clean = read_index(made(tmp_path / "clean"))
    faulty = read_index(made(tmp_path / "faulty", faults=NO_FAULTS | {"empty": 0.3}, jitter_px=2.0))
    assert clean["sha256"].tolist() == faulty["sha256"].tolist()


def test_shift_changes_pictures_and_no_mask(tmp_path: Path) -> None:
    """A shifted dataset has the masks of the unshifted one and none of its pictures."""
    usual, shifted = made(tmp_path / "usual"), made(tmp_path / "shifted", shift=NO_SHIFT | {"brightness": -0.5})
    assert not set(read_index(usual)["sha256"]) & set(read_index(shifted)["sha256"])
    for mask, other in zip(masks(usual).values(), masks(shifted).values(), strict=True):
        np.testing.assert_array_equal(mask, other)


def test_the_less_skilled_err_more(tmp_path: Path) -> None:
    """Faults and jitter fall on annotators in proportion to what they lack; the flawless make none."""
    folder = made(
        tmp_path / "demo",
        scenes=30,
        annotators={"ada": 1.0, "ben": 0.7, "cem": 0.1},
        faults=NO_FAULTS | {"shifted": 0.25},
        jitter_px=3.0,
    )
    rows = truth(folder)
    faults = rows[rows["kind"] == "shifted"]["annotator"].value_counts()
    jitters = rows[rows["kind"] == "jitter"].groupby("annotator")["changed_px"].mean()
    assert "ada" not in set(rows["annotator"])
    assert faults["cem"] > faults["ben"]
    assert jitters["cem"] > jitters["ben"]


def test_overlap_gives_several_masks_of_one_image(tmp_path: Path) -> None:
    """With overlap, two annotators' items share the picture and carry their names."""
    index = read_index(made(tmp_path / "demo", annotator_overlap=1.0))
    assert len(index) == 32
    assert (index["item_id"].str.split("~").str[1] == index["annotator"]).all()
    by_image = index.groupby(index["item_id"].str.split("~").str[0])
    assert by_image["sha256"].agg(lambda each: len(set(each))).tolist() == [1] * 16
    assert by_image["annotator"].agg(lambda each: len(set(each))).tolist() == [2] * 16


def test_near_duplicates_of_overlapping_items_name_one_of_them(tmp_path: Path) -> None:
    """The original that a near-duplicate's truth names is an item of the dataset."""
    folder = made(tmp_path / "demo", near_duplicate_rate=1.0, annotator_overlap=1.0)
    originals = {json.loads(detail)["of"] for detail in truth(folder)["detail"]}
    assert originals <= set(read_index(folder)["item_id"])


@pytest.mark.parametrize("across", [False, True])
def test_near_duplicates_barely_differ(across: bool, tmp_path: Path) -> None:
    """A near-duplicate has the mask of its original, nearly its pixels, and the group that was asked for."""
    folder = made(tmp_path / "demo", near_duplicate_rate=1.0, near_duplicates_across_groups=across)
    images = {
        row["item_id"]: (pixels(image), pixels(mask), row["group"])
        for row, image, mask in read_items(folder, read_index(folder))
    }
    rows = truth(folder)
    assert len(images) == 32
    assert len(rows) == 16
    for row in rows.itertuples():
        of = json.loads(row.detail)["of"]
        copy, original = images[row.item_id], images[of]
        np.testing.assert_array_equal(copy[1], original[1])
        assert 0 < np.abs(copy[0].astype(int) - original[0]).mean() < 4
        assert (copy[2] != original[2]) == across


def test_a_scene_renders_alone() -> None:
    """A scene's items do not depend on how many scenes there are."""
    small, large = (DemoDataParams.model_validate(SMALL | {"scenes": scenes}) for scenes in (4, 50))
    assert annotate_scene(small, 3).items == annotate_scene(large, 3).items


def test_preview_is_a_picture(tmp_path: Path) -> None:
    """The contact sheet holds three scenes of four columns, picture above mask, above a legend of every class."""
    sheet = pixels((made(tmp_path / "demo") / "preview.png").read_bytes())
    height = 2 * 64
    assert sheet.shape[0] > height
    assert sheet.shape[1:] == (4 * 96, 3)
    assert all((sheet[height:] == colour).all(axis=2).sum() >= 100 for colour in COLOURS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"faults": NO_FAULTS | {"empty": 0.9}}, "lower the fault rates"),
        ({"faults": NO_FAULTS | {"empty": 0.1}, "annotators": {"ada": 1.0}}, "skill below 1"),
        ({"annotator_overlap": 0.5, "annotators": {"ada": 0.5}}, "at least two annotators"),
        ({"annotators": {"ada": 1.5}}, "annotators.ada"),
        ({"scenes": -1}, "scenes"),
    ],
)
def test_settings_that_contradict_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Settings that cannot be met end as the user's mistake, and nothing is written."""
    file = params_file(tmp_path, **changes)
    with pytest.raises(UserError, match=message):
        main(tmp_path / "demo", file)
    assert not (tmp_path / "demo").exists()


def test_options_stand_in_for_parameters(tmp_path: Path) -> None:
    """Options replace single parameters and leave the others."""
    file = params_file(tmp_path)
    main(tmp_path / "demo", file, seed=2, scenes=3, shift="brightness=0.6,noise=0.1", faults="empty=0.5")
    expected = made(
        tmp_path / "expected",
        seed=2,
        scenes=3,
        shift=NO_SHIFT | {"brightness": 0.6, "noise": 0.1},
        faults=NO_FAULTS | {"empty": 0.5},
    )
    assert contents(tmp_path / "demo") == contents(expected)


@pytest.mark.parametrize("shift", ["brightness", "brightness=much", "sharpness=1"])
def test_malformed_options_are_refused(shift: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A knob that is not there or not a number ends with exit code 2 and names what was received."""
    file = params_file(tmp_path)
    assert exit_code(lambda: main(tmp_path / "demo", file, shift=shift)) == 2
    assert shift.partition("=")[0] in capsys.readouterr().err


def params_file(folder: Path, **changes: Any) -> Path:
    """A parameters file with the sections that the stage reads."""
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump({"demo_data": SMALL | changes, "splits": SPLITS.model_dump()}), encoding="utf-8")
    return file
