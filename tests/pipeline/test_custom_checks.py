"""The user's own check."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_items

from pipeline.catalog import build_catalog
from pipeline.custom_checks import CustomCheck, read_custom
from pipeline.errors import UserError
from pipeline.images import Limits
from pipeline.item_facts import FactSettings
from pipeline.part_writer import write_batch

ROOT = Path(__file__).parent.parent.parent
PIXELS = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)
SETTINGS = FactSettings(
    num_classes=5, ignore_index=255, island_px=4, edge_low=50, edge_high=150,
    limits=Limits(max_bytes=2**24, max_pixels=2**22),
)  # fmt: skip


def said(body: str) -> str | None:
    """What a check with this body says."""
    return CustomCheck("own.py", f"def check(item, image, mask):\n    {body}\n").reason({"item_id": "a"}, *PIXELS)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return None", None),
        ("return ''", None),
        ("return f\"{item['item_id']} is {image.shape[1]} px wide\"", "a is 4 px wide"),
        ("return item['nothing']", "own.py raised KeyError: 'nothing'"),
        ("raise SystemExit(3)", "own.py raised SystemExit: 3"),
        ("return '  '", None),
        ("raise ValueError('x' * 10**6)", "own.py raised ValueError: " + "x" * 974),
        ("raise ValueError(chr(0xd800))", "own.py raised ValueError: ?"),
    ],
)
def test_what_the_function_says_is_the_reason(body: str, reason: str | None) -> None:
    """A text is a reason, nothing is none, and an exception lets no item pass."""
    assert said(body) == reason


@pytest.mark.parametrize(
    ("body", "received"),
    [
        ("return True", "True (of type bool)"),
        ("return False", "False (of type bool)"),
        ("return 7", "7 (of type int)"),
        ("return b'too dark'", "b'too dark' (of type bytes)"),
        ("return object()", "(of type object)"),
        ("return ['it is wrong'] * 10**6", "['it is wrong', 'it is wrong', 'it is wrong', 'it is wrong'"),
        ("return 'It is wrong. ' * 10**6", "a text of 13000000 characters, 'It is wrong"),
        ("return image.mean()", "(of type float64)"),
        ("return chr(0xd800)", "which is no text that a file can hold"),
        ("item.clear(); return 1", "returned 1 (of type int) for item 'a'"),
    ],
)
def test_what_is_no_answer_is_refused(body: str, received: str) -> None:
    """The message names check, item, what came and what is expected: no item is passed or blamed for it."""
    with pytest.raises(UserError) as refused:
        said(body)
    told = str(refused.value)
    assert received in told
    assert "`check` of own.py" in told
    assert "for item 'a'. It returns None where nothing is wrong, or a sentence" in told
    assert len(told) < 500


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_no_answer_stops_the_catalogue(tmp_path: Path, workers: int) -> None:
    """A check that says True for one item among many is mended, and no other item is judged by it."""
    write_batch(tmp_path / "d", "first", tiny_items(groups=20), ["camera"])
    source = "def check(item, image, mask):\n    return True if item['item_id'] == 'item-003' else None\n"
    with pytest.raises(UserError, match=r"own\.py.* returned True \(of type bool\) for item 'item-003'"):
        build_catalog(tmp_path / "d", replace(SETTINGS, custom=CustomCheck("own.py", source)), tmp_path / "s", workers)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def chek(item, image, mask): ...", "it has no function `check"),
        ("def check(", "SyntaxError"),
        ("import no_such_library", "ModuleNotFoundError"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_does_not_run_stops_before_any_item(tmp_path: Path, text: str | None, words: str) -> None:
    """The mistake is in the file, not in the data: it is said at once."""
    if text is not None:
        (tmp_path / "own.py").write_text(text)
    with pytest.raises(UserError, match=words):
        read_custom(tmp_path / "own.py")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_catalogue_keeps_the_reason_and_asks_again_when_the_file_changes(tmp_path: Path, workers: int) -> None:
    """The function sees the dataset's columns, slices and the facts, in every process; one bad item stops no other."""
    items = [replace(item, annotator="ada") for item in tiny_items(groups=20)]
    write_batch(tmp_path / "d", "first", items, ["camera"])
    body = "def check(item, image, mask):\n    if item['item_id'] == 'item-001': 1 / 0\n"
    for number, told in enumerate(("'{annotator} {group} {camera} {width}'", "'again'")):
        source = f"{body}    return {told}.format(**item) if item['item_id'] == 'item-002' else None\n"
        settings = replace(SETTINGS, custom=CustomCheck("own.py", source))
        rows = build_catalog(tmp_path / "d", settings, tmp_path / "store", workers).to_pandas().set_index("item_id")
        reasons = rows["custom"].dropna().to_dict()
        wanted = ["ada g1 c0 64", "again"][number]
        assert reasons == {"item-001": "own.py raised ZeroDivisionError: division by zero", "item-002": wanted}


def test_a_function_that_raises_on_every_item_stops_the_catalogue(tmp_path: Path) -> None:
    """A wrong signature is the file's mistake: it is named, every time, and no item is blamed for it."""
    write_batch(tmp_path / "d", "first", tiny_items(groups=2), ["camera"])
    settings = replace(SETTINGS, custom=CustomCheck("own.py", "def check(item):\n    return None\n"))
    for _ in range(2):
        with pytest.raises(UserError, match=r"own\.py.*raised on each of 4 items, first TypeError: check\(\) takes 1"):
            build_catalog(tmp_path / "d", settings, tmp_path / "store", 1)


def test_the_check_that_ships_has_nothing_against_any_item() -> None:
    """The documented file runs as it stands."""
    assert read_custom(ROOT / "checks.py").reason({}, *PIXELS) is None


def test_an_exception_that_cannot_say_what_it_is_is_still_a_reason() -> None:
    """The words of the user's own exception may raise, too: the item goes to quarantine and the rest goes on."""
    body = "class Mute(Exception):\n        def __str__(self): raise KeyError\n    raise Mute"
    assert said(body) == "own.py raised Mute: (says nothing: KeyError)"
