"""Items written as pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from release_case import add_batch, enter, light_project, relabelled, tag_by_hand

from pipeline.command import run
from pipeline.images import Limits, decode_image, encode_mask
from pipeline.parts import read_index, read_items
from pipeline.show import Painting, file_names, main, pictures
from pipeline.taxonomy import load_taxonomy


def params(folder: Path) -> Path:
    """Writes the sections that the command reads."""
    file = folder / "params.yaml"
    sections = {
        "limits": {"max_bytes": 10**7, "max_pixels": 10**7},
        "show": {"alpha": 0.5},
        "dataset": {"path": "none", "splits": "none.csv"},
    }
    file.write_text(yaml.safe_dump(sections))
    return file


def test_an_item_becomes_three_pictures(
    tmp_path: Path, tiny_dataset: Callable[..., Path], taxonomy_file: Path, limits: Limits
) -> None:
    """The command writes image, painted mask and overlay, and the picture of the image has its pixels."""
    root, out = tiny_dataset(groups=2), tmp_path / "pictures"
    options = ["--dataset", str(root), "--taxonomy", str(taxonomy_file), "--params", str(params(tmp_path))]
    with pytest.raises(SystemExit, match="0"):
        run(main, ["item-001", "--out", str(out), *options])
    assert {file.name for file in out.iterdir()} == {f"item-001_{n}.png" for n in ("image", "mask", "overlay")}
    index = read_index(root)
    (_, image, _) = next(read_items(root, index[index["item_id"] == "item-001"]))
    assert np.array_equal(np.asarray(Image.open(out / "item-001_image.png")), decode_image(image, limits))


def test_a_missing_item_is_named(
    tmp_path: Path,
    tiny_dataset: Callable[..., Path],
    taxonomy_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An item that the dataset does not hold is the user's mistake, and nothing is written."""
    options = ["--dataset", str(tiny_dataset(groups=1)), "--taxonomy", str(taxonomy_file)]
    options += ["--params", str(params(tmp_path))]
    with pytest.raises(SystemExit, match="2"):
        run(main, ["item-000", "nobody", "--out", str(tmp_path / "pictures"), *options])
    assert "'nobody'" in capsys.readouterr().err
    assert not (tmp_path / "pictures").exists()


def test_a_mask_of_another_size_has_no_overlay(
    tiny_dataset: Callable[..., Path], taxonomy_file: Path, limits: Limits
) -> None:
    """Where the sizes differ, image and mask are shown, and no overlay pretends that they fit."""
    root = tiny_dataset(groups=1)
    (_, image, _) = next(read_items(root, read_index(root)))
    painting = Painting(limits, load_taxonomy(taxonomy_file).palette(), 0.5)
    assert pictures("x", image, encode_mask(np.zeros((2, 2), dtype=np.uint8)), painting).keys() == {"image", "mask"}


def test_items_never_share_a_file_name() -> None:
    """Ids that become equal as file names are told apart by a digest; others are kept plain."""
    named = file_names(["a/b", "a_b", "c/d"])
    assert len(set(named.values())) == 3
    assert named["c/d"] == "c_d"


@pytest.mark.e2e
@pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")
def test_items_of_a_release_are_shown_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--release` shows the masks of then, though the dataset here holds others by now, and nothing of it is needed."""
    project = light_project(tmp_path / "workspace")
    tag_by_hand(project, "data/v1")
    add_batch(project, "second", relabelled(["item-001"], lambda mask: mask * 0))
    enter(project, monkeypatch)
    for name, words in (("then", ["--release", "data/v1"]), ("now", [])):
        with pytest.raises(SystemExit, match="0"):
            run(main, ["item-001", "--out", f"found/{name}", *words])
    then, now = (np.asarray(Image.open(f"found/{name}/item-001_mask.png")) for name in ("then", "now"))
    assert len(np.unique(then.reshape(-1, 3), axis=0)) > 1
    assert len(np.unique(now.reshape(-1, 3), axis=0)) == 1


def test_a_misspelt_item_is_told_what_is_near(
    tiny_dataset: Callable[..., Path],
    taxonomy_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The error suggests the names that come nearest."""
    given = ["--dataset", str(tiny_dataset(groups=2)), "--taxonomy", str(taxonomy_file), "--params"]
    with pytest.raises(SystemExit, match="2"):
        run(main, ["itme-001", "--out", str(tmp_path / "out"), *given, str(params(tmp_path))])
    assert "Did you mean 'item-001'" in capsys.readouterr().err
