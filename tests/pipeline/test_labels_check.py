"""`segloop labels check` on a dataset with masks that are known to be wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from label_check_case import LEAST, NAMES, scene
from PIL import Image
from stage_outputs import TAXONOMY, write_outputs

from pipeline.errors import UserError
from pipeline.files import sha256_bytes
from pipeline.images import encode_image, encode_mask
from pipeline.label_qa.decisions import Choice, Decision, append_decisions
from pipeline.label_qa.suspicion import Kind
from pipeline.labels_check import main
from pipeline.part_writer import write_batch
from pipeline.parts import Item


def item(name: str, image: np.ndarray, mask: np.ndarray, **facts: Any) -> Item:
    """An annotated image, of a group of its own."""
    pixels = encode_image(image)
    facts = {"group": name, "sha256": sha256_bytes(pixels), "mask_source_sha256": name} | facts
    return Item(name, pixels, encode_mask(mask), name, name, source="test", **facts)


def empty(name: str, number: int, **facts: Any) -> Item:
    """An image whose mask nobody drew."""
    return item(name, scene(number)[0], np.zeros_like(scene(number)[1]), **facts)


class Check:
    """Checks a dataset in a folder."""

    def __init__(self, root: Path, taxonomy: Path, params: Callable[..., Path]) -> None:
        self.root, self.taxonomy, self.params = root, taxonomy, params
        self.out = root / "labels"
        self.decisions = root / "decisions.csv"

    def add(self, batch: str, *items: Item) -> None:
        """Adds items to the dataset."""
        write_batch(self.root / "dataset", batch, items, class_names=NAMES)

    def run(self, model: str = "auto", **labels: object) -> list[dict[str, Any]]:
        """Runs the command; gives the list."""
        given = {"workers": 1, "least_score": LEAST, "shown": 50, "decisions": str(self.decisions)} | labels
        options = {"dataset": self.root / "dataset", "out": self.out, "folds": self.root / "folds"}
        main(model, **options, taxonomy=self.taxonomy, params=self.params(labels=given))
        content = json.loads((self.out / "suspicions.json").read_text())
        found: list[dict[str, Any]] = content["found"]
        assert content["items"] == len(pd.read_parquet(self.out / "scores.parquet"))
        return found

    def decide(self, name: str, decision: Choice, revision: int = 1) -> None:
        """Records a decision."""
        row = Decision(name, revision, decision, "empty", "ada", datetime(2026, 1, 1, tzinfo=UTC), "")
        append_decisions(self.decisions, [row])


@pytest.fixture
def check(tmp_path: Path, taxonomy_file: Path, params_file: Callable[..., Path]) -> Check:
    """A dataset of twelve sound masks."""
    made = Check(tmp_path, taxonomy_file, params_file)
    made.add("sound", *(item(f"sound-{number:02}", *scene(number)) for number in range(12)))
    return made


def test_wrong_masks_are_listed_with_their_pictures(check: Check) -> None:
    """Shifted and empty masks are on the list and the page, sound ones are not."""
    check.add("wrong", empty("empty", 20), item("shifted", scene(24)[0], np.roll(scene(24)[1], 12, 1)))
    assert {each["item_id"]: each["kind"] for each in check.run()} == {"shifted": "shifted", "empty": "empty"}
    table = pd.read_csv(check.out / "suspicions.csv")
    assert sorted(table["item_id"]) == ["empty", "shifted"]
    with Image.open(check.out / "shifted_overlay.png") as picture:
        assert picture.size == (160, 120)


def test_sound_masks_give_an_empty_list(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is suspicious in a sound dataset, and the page says so."""
    assert check.run() == []
    assert "0 of 12 masks are suspicious" in capsys.readouterr().out
    assert "None." in (check.out / "index.html").read_text()


def test_what_cannot_be_read_is_told_and_does_not_stop_the_rest(
    check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged image, a damaged mask, and a mask of another size stay off the list; the rest is judged."""
    image, mask = scene(20)
    broken = [
        replace(item("image", image, mask), image=b"no image", sha256="x"),
        replace(item("mask", image, mask), mask=b"no mask", sha256="y"),
        item("small", image, mask[:80]),
    ]
    check.add("wrong", *broken, empty("empty", 21))
    assert [each["item_id"] for each in check.run()] == ["empty"]
    assert "3 could not be compared" in capsys.readouterr().out


def test_copies_that_cannot_be_read_do_not_stop_the_rest(check: Check) -> None:
    """Conflicting masks of a damaged image are listed by their bytes, without pictures."""
    image, mask = scene(20)
    pair = [replace(item(name, image, moved), image=b"no image") for name, moved in (("a", mask), ("b", mask[::-1]))]
    check.add("wrong", *pair)
    assert {each["item_id"] for each in check.run()} == {"a", "b"}


def test_a_mask_that_is_only_packed_otherwise_is_no_conflict(check: Check, tmp_path: Path) -> None:
    """Another version of the PNG writer gives other bytes for the same mask."""
    image, mask = scene(20)
    Image.fromarray(mask).save(tmp_path / "other.png", compress_level=0)
    check.add(
        "copies", item("a", image, mask), replace(item("b", image, mask), mask=(tmp_path / "other.png").read_bytes())
    )
    assert check.run() == []


@pytest.mark.parametrize(("decision", "listed"), [(Choice.KEEP, False), (Choice.REMOVE, False), (Choice.RELABEL, True)])
def test_what_was_decided_is_not_asked_again(
    check: Check, capsys: pytest.CaptureFixture[str], decision: Choice, *, listed: bool
) -> None:
    """A mask that somebody kept or removed is off the list and told of; one to be drawn again stays."""
    check.add("wrong", empty("empty", 20))
    check.decide("empty", decision)
    assert [each["item_id"] for each in check.run()] == ["empty"] * listed
    assert ("1 more are suspicious, and were decided about" in capsys.readouterr().out) is not listed


def test_a_new_revision_is_asked_about_again(check: Check) -> None:
    """The decision was about the mask as it was then."""
    check.add("wrong", empty("empty", 20))
    check.decide("empty", Choice.KEEP)
    check.add("newer", empty("empty", 20, revision=2, mask_source_sha256="newer"))
    assert [(each["item_id"], each["revision"]) for each in check.run()] == [("empty", 2)]


def test_every_item_and_kind_has_a_score(check: Check) -> None:
    """A row per item and a column per kind, and per class the share that a model disputes: unknown without one."""
    check.add("wrong", empty("empty", 20), replace(item("broken", *scene(21)), image=b"no image"))
    check.run()
    scores = pd.read_parquet(check.out / "scores.parquet").set_index("item_id")
    assert list(scores) == ["revision", *Kind, *(f"disputed {name}" for name in NAMES)]
    assert len(scores) == 14
    assert scores.loc["empty", "empty"] >= LEAST
    assert scores.loc["broken", [kind for kind in Kind if kind is not Kind.CONFLICTING]].isna().all()
    assert scores[[f"disputed {name}" for name in NAMES]].isna().all(axis=None)


def test_hostile_names_are_harmless(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    """On the page and the terminal they are text, and as file names they stay in their folder."""
    names = ['"><script>alert(1)</script>', "../../up", "a/b", "a_b", "[red]", "..", "日本 %41#?&amp;"]
    check.add("wrong", *(empty(name, 20 + number) for number, name in enumerate(names)))
    assert {each["item_id"] for each in check.run()} == set(names)
    page = (check.out / "index.html").read_text()
    assert "<script" not in page
    assert page.count("<figure>") == len(names)
    assert len(list(check.out.glob("*_overlay.png"))) == len(names)
    assert {picture.parent for picture in check.root.rglob("*.png")} == {check.out}
    assert "[red]" in capsys.readouterr().out


def test_a_name_is_no_formula_in_a_spreadsheet(check: Check) -> None:
    """A cell that a spreadsheet would run is written as text, as in the file of decisions."""
    check.add("wrong", empty("=1+1", 20))
    check.run()
    assert pd.read_csv(check.out / "suspicions.csv")["item_id"].tolist() == ["'=1+1"]


def test_a_long_name_does_not_stop_the_rest(check: Check) -> None:
    """An item whose name is as long as a file's may be has pictures too."""
    check.add("wrong", empty("n" * 250, 20))
    assert len(check.run()) == 1


def test_no_more_pictures_than_wanted(check: Check) -> None:
    """The list has all, the page the worst."""
    check.add("wrong", empty("a", 20), empty("b", 21))
    assert len(check.run(shown=1)) == 2
    assert len(list(check.out.glob("*_overlay.png"))) == 1


def test_the_folder_is_replaced_as_a_whole(check: Check) -> None:
    """Pictures of an earlier list are gone."""
    check.run()
    (check.out / "old_overlay.png").touch()
    check.run()
    assert not (check.out / "old_overlay.png").exists()


def test_a_model_disputes_a_region(check: Check, tmp_path: Path) -> None:
    """With a model, the mask that contradicts it is listed with class and box, and the shares are known."""
    check.taxonomy.write_text(TAXONOMY)
    rng = np.random.default_rng(0)
    for number in range(12):
        mask = np.zeros((60, 80), np.uint8)
        mask[20 + number : 40 + number, 20:60] = 1
        image = (np.eye(3)[mask] * 200 + rng.integers(0, 30, (60, 80, 3))).astype(np.uint8)
        if number == 5:
            mask[mask == 1] = 2
        write_batch(tmp_path / "dataset", f"m{number}", [item(f"m{number}", image, mask)])
    (check.root / "dataset" / "sound").rename(tmp_path / "elsewhere")
    found = check.run(str(write_outputs(tmp_path / "project").export), least_score=1.5)
    (disputed,) = [each for each in found if each["kind"] == "disputed"]
    assert (disputed["item_id"], disputed["class_name"]) == ("m5", "blue")
    assert disputed["box"] == pytest.approx([20, 25, 60, 45], abs=1)
    scores = pd.read_parquet(check.out / "scores.parquet").set_index("item_id")
    assert scores.loc["m5", "disputed blue"] == 1


def test_images_of_different_sizes_and_tiny_ones_are_judged(check: Check) -> None:
    """A pixel, a few, a larger image, a mask of void alone, and sequences with and without an index."""
    rng = np.random.default_rng(0)
    sizes = [(1, 1), (3, 5), (300, 200)]
    odd = [
        item(f"{size}", rng.integers(0, 255, (*size, 3), dtype=np.uint8), rng.integers(0, 5, size, dtype=np.uint8))
        for size in sizes
    ]
    void = item("void", scene(30)[0], np.full_like(scene(30)[1], 255))
    frames = [item(f"f{n}", *scene(20 + n), group="s", sequence_index=n if n % 2 else None) for n in range(4)]
    check.add("odd", *odd, void, *frames)
    listed = {each["item_id"]: each["kind"] for each in check.run()}
    assert listed["void"] == "empty"
    assert not listed.keys() & {f"f{n}" for n in range(4)}


def test_an_empty_dataset_is_an_error(tmp_path: Path, taxonomy_file: Path, params_file: Callable[..., Path]) -> None:
    """There is nothing to check."""
    with pytest.raises(UserError, match="holds no items"):
        main(dataset=tmp_path / "none", out=tmp_path / "labels", taxonomy=taxonomy_file, params=params_file())
