"""`segloop labels check` on a dataset with masks that are known to be wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import UserError
from pipeline.images import encode_image, encode_mask
from pipeline.labels_check import main
from pipeline.parts import Item, write_batch


def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image of coloured boxes and the mask that fits it, in classes of the demo."""
    rng = np.random.default_rng(number)
    mask = np.zeros((160, 200), np.uint8)
    for label in (1, 2, 3, 4, 2, 3):
        y, x = rng.integers(0, 110), rng.integers(0, 150)
        mask[y : y + rng.integers(25, 50), x : x + rng.integers(25, 50)] = label
    colours = np.array([[20, 20, 20], [200, 60, 60], [60, 200, 60], [60, 60, 220], [220, 220, 60]])
    return (colours[mask] + rng.normal(0, 10, (160, 200, 3))).clip(0, 255).astype(np.uint8), mask


def item(name: str, image: np.ndarray, mask: np.ndarray) -> Item:
    """An annotated image."""
    return Item(name, encode_image(image), encode_mask(mask), name, name, name, name, name, "test")


@pytest.fixture
def check(tmp_path: Path, taxonomy_file: Path, params_file: Callable[..., Path]) -> Callable[..., dict[str, object]]:
    """Checks twelve sound masks and those given; gives the list."""

    def run(*wrong: Item) -> dict[str, object]:
        sound = [item(f"sound-{number:02}", *scene(number)) for number in range(12)]
        write_batch(tmp_path / "dataset", "one", [*sound, *wrong])
        main(tmp_path / "dataset", tmp_path / "labels", taxonomy_file, params_file(labels={"workers": 1}))
        content = json.loads((tmp_path / "labels" / "suspicions.json").read_text())
        assert isinstance(content, dict)
        return content

    return run


def test_wrong_masks_head_the_list_with_their_reason(check: Callable[..., dict[str, object]], tmp_path: Path) -> None:
    """Shifted, empty and foreign masks are listed, sound ones are not, and each has its pictures on the page."""
    image, mask = scene(20)
    wrong = [
        item("shifted", image, np.roll(mask, 14, 1)),
        item("empty", image, np.zeros_like(mask)),
        item("foreign <b>", image, scene(21)[1]),
    ]
    found = {each["item_id"]: each["kind"] for each in check(*wrong)["found"]}  # type: ignore[attr-defined]
    assert (found["shifted"], found["empty"]) == ("shifted", "empty")
    assert found.keys() == {"shifted", "empty", "foreign <b>"}
    page = (tmp_path / "labels" / "index.html").read_text()
    assert "foreign &lt;b&gt;" in page
    with Image.open(tmp_path / "labels" / "shifted_overlay.png") as picture:
        assert picture.size == (200, 160)


def test_sound_masks_give_an_empty_list(
    check: Callable[..., dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is suspicious in a sound dataset."""
    assert check()["found"] == []
    assert "0 of 12 masks are suspicious" in capsys.readouterr().out


def test_what_cannot_be_read_is_told_and_does_not_stop_the_rest(
    check: Callable[..., dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged image, and a mask of another size."""
    image, mask = scene(20)
    broken = replace(item("broken", image, mask), image=b"no image")
    assert check(broken, item("small", image, mask[:80]))["found"] == []
    assert "2 could not be compared" in capsys.readouterr().out


def test_an_empty_dataset_is_an_error(tmp_path: Path, taxonomy_file: Path, params_file: Callable[..., Path]) -> None:
    """There is nothing to check."""
    with pytest.raises(UserError, match="holds no items"):
        main(tmp_path / "none", tmp_path / "labels", taxonomy_file, params_file())
