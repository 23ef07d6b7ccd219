"""`segloop labels agreement` on datasets whose annotators are known."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from pipeline.agreement import copies
from pipeline.agreement.consensus import Method
from pipeline.command import run
from pipeline.demo.annotation import DemoDataParams
from pipeline.demo_data import make_demo_data
from pipeline.errors import UserError
from pipeline.files import sha256_bytes
from pipeline.images import encode_image, encode_mask
from pipeline.ingest import main as ingest
from pipeline.labels_agreement import main
from pipeline.params import read_section
from pipeline.part_writer import write_batch
from pipeline.parts import Item, read_index, read_items
from pipeline.splits import Ledger, LedgerRow, SplitParams, append_ledger

SETTINGS = {
    "tolerance_px": 1, "look_below": 0.5, "look_px": 20, "looks": 2, "pictures": 1, "picture_px": 64, "mixups": 2,
    "void_below": 0.0, "replicates": 200, "seed": 0, "workers": 1,
}  # fmt: skip
HUMAN = 3


def canvas(*boxes: tuple[int, int, int]) -> np.ndarray:
    """A mask of 40x60 px with boxes of 10x10 px, as (class, x, y)."""
    mask = np.zeros((40, 60), np.uint8)
    for label, x, y in boxes:
        mask[y : y + 10, x : x + 10] = label
    return mask


def item(number: int, annotator: str | None, mask: np.ndarray, **facts: object) -> Item:
    """The mask of an annotator of image number such and such; images of equal numbers are equal."""
    image = encode_image(np.random.default_rng(number).integers(0, 255, (40, 60, 3), np.uint8))
    name = f"image-{number}~{annotator}"
    drawn = Item(
        name, image, encode_mask(mask), f"{name}.png", f"{name}.png", f"g{number}", sha256_bytes(image), name, "test",
        annotator=annotator, sequence_index=number, slices={"camera": "c1"},
    )  # fmt: skip
    return replace(drawn, **facts)  # type: ignore[arg-type] # a test's own facts


@pytest.fixture
def folder(
    tmp_path: Path, taxonomy_file: Path, params_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A workspace's root, with the params that the command needs."""
    assert taxonomy_file.exists()
    file = params_file()
    sections = yaml.safe_load(file.read_text())
    sections["agreement"] = SETTINGS
    sections["dataset"] = {"path": "data/dataset", "splits": "data/splits.csv"}
    sections["ingest"] = {"workers": 1}
    file.write_text(yaml.safe_dump(sections))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def agree(*items: Item, **options: object) -> dict[str, object]:
    """Writes these items, runs the command, and gives what it found."""
    if items:
        write_batch(Path("data/dataset"), "one", items, ["camera", "annotation_s"])
    main(**options)  # type: ignore[arg-type] # the options of a test
    content = json.loads(Path("data/agreement/agreement.json").read_text())
    assert isinstance(content, dict)
    return content


@pytest.mark.usefixtures("folder")
def test_figures_of_a_hand_computed_case() -> None:
    """Boxes of 100 px moved by 5: 50 in common of 150, IoU 1/3 and Dice 1/2; equal ones agree entirely."""
    found = agree(
        item(0, "ada", canvas((2, 10, 10))), item(0, "ben", canvas((2, 15, 10))),
        item(1, "ada", canvas((1, 0, 0))), item(1, "ben", canvas((1, 0, 0))),
    )  # fmt: skip
    classes = found["classes"]
    assert isinstance(classes, dict)
    assert (classes["pallet"]["iou"]["value"], classes["pallet"]["dice"]["value"]) == pytest.approx((1 / 3, 1 / 2))
    assert classes["floor"]["iou"]["value"] == classes["floor"]["boundary_f"]["value"] == 1
    assert classes["human"]["iou"]["value"] is None
    assert (found["images"], found["pairs"], found["groups"]) == (2, 2, 2)
    pairs = pd.read_parquet("data/agreement/pairs.parquet")
    assert pairs["disputed_px"].tolist() == [100, 0]
    assert pairs["item_a"].tolist() == ["image-0~ada", "image-1~ada"]


@pytest.mark.usefixtures("folder")
def test_a_mask_that_cannot_be_compared_is_told_and_the_rest_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged one, one of another size, one with what is no class; the other two of the image are compared."""
    good = canvas((2, 10, 10))
    found = agree(
        item(0, "ada", good), item(0, "ben", good),
        replace(item(0, "cem", good), mask=b"damaged"), item(0, "dan", good[:20]), item(0, "eva", canvas((77, 0, 0))),
        item(1, "ada", good), replace(item(1, "ben", good), mask=b"damaged"),
    )  # fmt: skip
    assert found["pairs"] == 1
    problems = found["problems"]
    assert isinstance(problems, dict)
    assert problems["image-0~dan"] == "its mask is (60, 20) px large, others are (60, 40)"
    assert "the value 77" in problems["image-0~eva"]
    assert {"image-0~cem", "image-1~ben"} < problems.keys()
    assert "4 masks could not be compared" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_pairs_that_need_a_third_look_are_listed_with_pictures() -> None:
    """The missing person comes before the larger pallet; what the limit leaves out is counted; names are escaped."""
    found = agree(
        item(0, "<b>ada", canvas((2, 0, 0), (2, 20, 0), (2, 40, 0))), item(0, "ben", canvas()),
        item(1, "<b>ada", canvas((HUMAN, 30, 20))), item(1, "ben", canvas()),
        item(2, "<b>ada", canvas((4, 30, 20))), item(2, "ben", canvas()),
    )  # fmt: skip
    looks = found["third_looks"]
    assert isinstance(looks, list)
    assert [look["class"] for look in looks] == ["human", "pallet"]
    assert (looks[0]["box"], looks[0]["critical"], found["more_looks"]) == ([30, 20, 10, 10], True, 1)
    page = Path("data/agreement/index.html").read_text()
    assert "&lt;b&gt;ada" in page
    assert "<b>ada" not in page
    assert sorted(file.name for file in Path("data/agreement/pictures").iterdir()) == [f"000-{n}.png" for n in range(4)]
    assert all(f"pictures/000-{number}.png" in page for number in range(4))


@pytest.mark.usefixtures("folder")
def test_a_pair_whose_image_is_damaged_is_listed_without_pictures() -> None:
    """Its masks can be compared all the same."""
    pair = [
        replace(item(0, who, mask), image=b"no") for who, mask in (("ada", canvas((HUMAN, 5, 5))), ("ben", canvas()))
    ]
    found = agree(*pair)
    looks = found["third_looks"]
    assert isinstance(looks, list)
    assert len(looks) == 1
    assert not Path("data/agreement/pictures").exists()
    assert "<li><b>image-0~ada / image-0~ben</b>" in Path("data/agreement/index.html").read_text()


def test_the_model_stands_beside_the_annotators(folder: Path) -> None:
    """Above their agreement, below it, and not known where the evaluation does not have the class."""
    (folder / "data/evaluation").mkdir(parents=True)
    metrics = {"iou": {"background": 0.99, "pallet": 0.1, "floor": None}, "items": 7, "model_digest": "abc"}
    (folder / "data/evaluation/metrics.json").write_text(json.dumps(metrics))
    pairs = [item(n, who, canvas((2, x, 10))) for n in range(3) for who, x in (("ada", 10), ("ben", 13 + n))]
    classes = agree(*pairs)["classes"]
    assert isinstance(classes, dict)
    assert {name: row["standing"] for name, row in classes.items()} == {
        "background": "at or above the annotators",
        "floor": "not known",
        "pallet": "below",
        "human": "not known",
        "obstacle": "not known",
    }
    page = Path("data/agreement/index.html").read_text()
    assert "model abc on 7 images of the holdout" in page


@pytest.mark.usefixtures("folder")
def test_images_of_one_annotator_each_are_an_error() -> None:
    """The message says how a second one's masks are brought."""
    with pytest.raises(UserError, match="NAME~ANNOTATOR"):
        agree(item(0, "ada", canvas()), item(1, "ben", canvas()))


@pytest.mark.usefixtures("folder")
def test_an_evaluation_that_is_not_there_is_an_error() -> None:
    """It was asked for by name."""
    with pytest.raises(UserError, match="dvc repro evaluate"):
        agree(item(0, "ada", canvas()), item(0, "ben", canvas()), evaluation=Path("nowhere"))


@pytest.mark.usefixtures("folder")
def test_copies_in_other_batches_and_chunks_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second annotator's masks came later, in another order; one image is read at a time."""
    monkeypatch.setattr(copies, "IMAGES_HELD", 1)
    later = [item(number, "ben", canvas((2, 15, 10))) for number in (4, 0, 3, 1, 2)]
    write_batch(Path("data/dataset"), "two", later, ["camera"])
    found = agree(*[item(number, "ada", canvas((2, 10, 10))) for number in range(5)])
    assert found["pairs"] == 5
    classes = found["classes"]
    assert isinstance(classes, dict)
    assert classes["pallet"]["iou"]["value"] == pytest.approx(1 / 3)


@pytest.mark.usefixtures("folder")
def test_the_consensus_is_ingested_and_is_no_annotator_then() -> None:
    """Mask and facts come back as an item of annotator `consensus`; run again, the figures and its name stay."""
    masks = {"ada": canvas((2, 10, 10)), "ben": canvas((2, 10, 10)), "cem": canvas((2, 10, 10), (1, 40, 20))}
    items = [item(7, who, mask, slices={"camera": "c1", "annotation_s": "9"}) for who, mask in masks.items()]
    append_ledger(Path("data/splits.csv"), Ledger(), [LedgerRow("g7", "train", "one")])
    before = agree(*items, consensus=Path("agreed"), void_below=0.9)
    with Image.open("agreed/confidence/image-7.png") as map_:
        confidence = np.asarray(map_)
    assert (confidence[0, 0], confidence[25, 45]) == (255, 170)
    with pytest.raises(SystemExit) as ended:
        run(ingest, ["agreed", "--format", "folders", "--batch", "agreed"])
    assert ended.value.code == 0
    index = read_index(Path("data/dataset"))
    ((row, image, mask),) = list(read_items(Path("data/dataset"), index[index["item_id"] == "image-7"]))
    assert (row["annotator"], row["group"], row["sequence_index"], row["camera"]) == ("consensus", "g7", 7, "c1")
    assert image == items[0].image
    wanted = canvas((2, 10, 10), (255, 40, 20))
    assert encode_mask(wanted) == mask
    assert agree(consensus=Path("agreed"), void_below=0.9) == before
    with Path("agreed/items.csv").open() as table:
        assert [line["name"] for line in csv.DictReader(table)] == ["image-7"]


@pytest.mark.usefixtures("folder")
def test_a_folder_that_holds_something_else_is_not_replaced() -> None:
    """Someone's own files stay, and the message says what to do."""
    Path("photos").mkdir()
    Path("photos/mine.txt").write_text("mine")
    with pytest.raises(UserError, match="holds no consensus"):
        agree(item(0, "ada", canvas()), item(0, "ben", canvas((1, 0, 0))), consensus=Path("photos"))
    assert Path("photos/mine.txt").read_text() == "mine"


@pytest.mark.usefixtures("folder")
def test_no_consensus_leaves_its_folder_or_straddles_groups(capsys: pytest.CaptureFixture[str]) -> None:
    """A name with `..`, one with a leading split, copies in two groups: left out and named, the rest is written."""
    hostile = [item(0, who, canvas(), item_id=f"../../away~{who}") for who in ("ada", "ben")]
    split = [item(1, who, canvas(), item_id=f"train/x~{who}") for who in ("ada", "ben")]
    grouped = [item(2, who, canvas(), group=who) for who in ("ada", "ben")]
    good = [item(3, who, canvas((1, 0, 0))) for who in ("ada", "ben")]
    agree(*hostile, *split, *grouped, *good, consensus=Path("deep/er/agreed"))
    assert [file.name for file in Path("deep/er/agreed/masks").rglob("*.png")] == ["image-3.png"]
    assert not list(Path().glob("**/away*"))
    told = capsys.readouterr().out
    assert "left out: ../../away~ada" in told
    assert "left out: train/x~ada" in told
    assert "groups ['ada', 'ben']" in told


@pytest.mark.usefixtures("folder")
def test_images_that_a_model_chose_are_kept_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """A batch is of one sampling; the command says which is which."""
    pairs = [
        item(number, who, canvas(), sampling=sampling)
        for number, sampling in ((0, "uniform"), (1, "selected"))
        for who in ("ada", "ben")
    ]
    agree(*pairs, consensus=Path("agreed"))
    assert Path("agreed/selected/masks/image-1.png").exists()
    assert Path("agreed/uniform/images/image-0.png").exists()
    assert "segloop ingest agreed/selected --format folders --batch NAME --sampling selected" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_staple_follows_the_better_annotators() -> None:
    """Two careful annotators outweigh one who errs at random, and are believed by more than their two votes."""
    truth = canvas((1, 5, 5), (2, 25, 15), (HUMAN, 45, 25))
    wild = np.where(np.random.default_rng(0).random(truth.shape) < 0.3, 4, truth).astype(np.uint8)
    found = agree(
        *(item(0, who, mask) for who, mask in (("ada", truth), ("ben", truth), ("cem", wild))),
        consensus=Path("agreed"), method=Method.STAPLE,
    )  # fmt: skip
    with Image.open("agreed/masks/image-0.png") as mask:
        assert np.array_equal(np.asarray(mask), truth)
    with Image.open("agreed/confidence/image-0.png") as confidence:
        assert np.asarray(confidence).min() > 0.9 * 255
    annotators = found["annotators"]
    assert isinstance(annotators, dict)
    assert annotators["cem"]["sensitivity"]["human"] < annotators["ada"]["sensitivity"]["human"]


def test_the_demos_annotators_come_in_the_order_of_their_skill(folder: Path) -> None:
    """Of 0.9, 0.7 and 0.4, known to the renderer alone."""
    params = read_section(DemoDataParams, "demo_data", folder / "params.yaml")
    changes = {
        "scenes": 24,
        "width": 128,
        "height": 96,
        "annotator_overlap": 1.0,
        "jitter_px": 3.0,
        "preview_scenes": 0,
    }
    make_demo_data(Path("data/dataset"), params.model_copy(update=changes), SplitParams(val=0.2, test=0.2, salt="s"))
    annotators = agree()["annotators"]
    assert isinstance(annotators, dict)
    errors = {name: each["own_error"]["value"] for name, each in annotators.items()}
    assert errors["ada"] < errors["ben"] < errors["cem"]
    assert sorted(errors, key=lambda name: -annotators[name]["miou"]) == ["ada", "ben", "cem"]


@pytest.mark.usefixtures("folder")
def test_an_order_that_is_not_settled_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A single image tells the errors of three annotators, but no interval: terminal and page say so."""
    agree(*(item(0, name, canvas((2, x, 10))) for name, x in (("ada", 10), ("ben", 11), ("cem", 14))))
    said = "their own errors overlap or are not known: ada and ben, ada and cem, ben and cem"
    assert said in capsys.readouterr().out
    assert said in Path("data/agreement/index.html").read_text()
