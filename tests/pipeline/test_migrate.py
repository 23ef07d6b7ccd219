"""Migrations of the taxonomy: rename, merge, turn to void, add."""

import re
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny import tiny_items

from pipeline import migrate
from pipeline.command import run
from pipeline.errors import UserError
from pipeline.images import Limits, decode_mask, encode_mask
from pipeline.label_qa.decisions import Choice, Decision, append_decisions, read_decisions, settled
from pipeline.part_writer import write_batch
from pipeline.parts import check_classes, read_index, read_items
from pipeline.taxonomy import Remap, Taxonomy, load_taxonomy

LIMITS = Limits(max_bytes=2**24, max_pixels=2**22)
DATASET, TAXONOMY = Path("data/dataset"), Path("data/taxonomy.yaml")
BEFORE = {
    "version": 1,
    "classes": [
        {"id": 0, "name": "background", "colour": "#000000"},
        {"id": 1, "name": "floor", "colour": "#111111"},
        {"id": 2, "name": "cart", "colour": "#222222"},
        {"id": 3, "name": "human", "colour": "#333333", "critical": True},
        {"id": 4, "name": "box", "colour": "#444444"},
    ],
    "remaps": {"src": {"values": {10: "cart", 20: "box", 30: "ignore"}}},
}
PARAMS = {
    "labels": {"decisions": "data/label_decisions.csv"},
    "dataset": {"path": str(DATASET), "splits": "data/splits.csv"},
    "limits": {"max_bytes": 2**24, "max_pixels": 2**22},
    "catalog": {"workers": 1, "island_px": 4, "edge_low": 50, "edge_high": 150, "custom": None},
}
RENAME = {"from": 1, "note": "n", "rename": {"box": "crate"}}
MERGE = {"from": 1, "note": "n", "merge": {"cart": "box"}}
VOID = {"from": 1, "note": "n", "void": ["floor"]}
ADD = {"from": 1, "note": "n", "add": [{"name": "ladder", "colour": "#555555", "critical": True}]}
ALL = RENAME | MERGE | {"merge": {"cart": "box"}} | VOID | ADD


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight items whose masks hold all five classes, but for one which holds the first two only."""
    monkeypatch.chdir(tmp_path)
    TAXONOMY.parent.mkdir()
    TAXONOMY.write_text("# The classes.\n# Mind the ids.\n" + yaml.safe_dump(BEFORE))
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS))
    few = replace(next(tiny_items(classes=2)), item_id="few")
    names = [str(each["name"]) for each in BEFORE["classes"]]  # type: ignore[index]
    write_batch(DATASET, "first", [*tiny_items(groups=4), few], ["camera"], names)
    return tmp_path


def go(migration: dict[str, object], *options: str) -> int:
    """Runs the command and returns its exit code."""
    Path("m.yaml").write_text(yaml.safe_dump(migration))
    with pytest.raises(SystemExit) as ended:
        run(migrate.main, ["m.yaml", *options])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def masks() -> dict[str, np.ndarray]:
    """The standing masks by item."""
    items = read_items(DATASET, read_index(DATASET))
    return {str(row["item_id"]): decode_mask(mask, LIMITS) for row, _, mask in items}


def painted(taxonomy: Taxonomy, mask: np.ndarray) -> np.ndarray:
    """A mask in names."""
    names = np.array([*taxonomy.names, *["?"] * 256])[:256]
    names[255] = "void"
    return np.asarray(names[mask])


def expected(migration: dict[str, object], before: np.ndarray) -> np.ndarray:
    """What a mask in names becomes, said pixel by pixel without ids."""
    merged: dict[str, str] = migration.get("merge", {})  # type: ignore[assignment]
    renamed: dict[str, str] = migration.get("rename", {})  # type: ignore[assignment]
    gone = migration.get("void", [])

    def one(name: str) -> str:
        return "void" if name in gone else renamed.get(merged.get(name, name), merged.get(name, name))  # type: ignore[operator]

    return np.vectorize(one)(before)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("migration", "names", "rewritten"),
    [
        (RENAME, ["background", "floor", "cart", "human", "crate"], 0),
        (MERGE, ["background", "floor", "human", "box"], 8),
        (VOID, ["background", "cart", "human", "box"], 9),
        (ADD, ["background", "floor", "cart", "human", "box", "ladder"], 0),
        (ALL, ["background", "human", "crate", "ladder"], 9),
    ],
)
def test_every_pixel_gets_the_class_that_the_file_says(
    workspace: Path, migration: dict[str, object], names: list[str], rewritten: int
) -> None:
    """Masks say by name what they said before, changed as asked; others keep their revision; all can be read."""
    old, before = load_taxonomy(TAXONOMY), masks()
    assert go(migration) == 0
    new, after = load_taxonomy(workspace / TAXONOMY), masks()
    assert (new.version, new.names) == (2, names)
    for item, mask in before.items():
        assert (painted(new, after[item]) == expected(migration, painted(old, mask))).all()
    assert (read_index(DATASET)["revision"] == 2).sum() == rewritten
    check_classes(DATASET, new.names)


def test_remaps_lead_to_the_new_classes_and_comments_stay(workspace: Path) -> None:
    """A source's values follow its classes, void stays void, critical classes stay so, and the head comment stands."""
    assert go(ALL) == 0
    taxonomy = load_taxonomy(workspace / TAXONOMY)
    assert taxonomy.remaps["src"].values == {10: "crate", 20: "crate", 30: "ignore"}
    assert [taxonomy.names[each] for each in taxonomy.critical_ids] == ["human", "ladder"]
    assert TAXONOMY.read_text().startswith("# The classes.\n# Mind the ids.\nversion: 2\n")


def test_every_version_keeps_saying_what_its_ids_mean(workspace: Path) -> None:
    """After two migrations a remap for each version leads from its ids, colours and names to today's classes."""
    assert go(MERGE) == 0
    assert go({"from": 2, "note": "n", "rename": {"floor": "ground"}, "void": ["background"]}) == 0
    remaps = load_taxonomy(workspace / TAXONOMY).remaps
    assert remaps["version-1"].values == {0: "ignore", 1: "ground", 2: "box", 3: "human", 4: "box", 255: "ignore"}
    assert remaps["version-1"].colours["#222222"] == remaps["version-1"].names["cart"] == "box"
    assert remaps["version-2"].values == {0: "ignore", 1: "ground", 2: "human", 3: "box", 255: "ignore"}
    assert remaps["version-3"] == Remap()


def test_a_source_that_is_called_like_a_version_is_not_overwritten(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A remap of one's own stands in the way, and the message says so."""
    TAXONOMY.write_text(yaml.safe_dump(BEFORE | {"remaps": {"version-1": {"values": {7: "cart"}}}}))
    assert go(MERGE) == 2
    assert "a remap 'version-1'" in capsys.readouterr().err
    assert load_taxonomy(workspace / TAXONOMY).version == 1


def test_a_class_that_comes_in_is_said_to_fail_validation_first(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rehearsal names the checks that fail until masks hold the class, and how to go on meanwhile."""
    assert go(ADD, "--dry-run") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "No mask holds ladder yet" in told
    assert "class_missing_from_split and critical_class_too_few" in told
    assert "`validate.acknowledge`" in told
    assert load_taxonomy(workspace / TAXONOMY).version == 1


def test_two_migrations_in_a_row(workspace: Path) -> None:
    """Parts of version 1, of which some rows stand, are read and migrated under version 3."""
    before = painted(load_taxonomy(TAXONOMY), masks()["item-000"])
    assert go(MERGE) == 0
    second = {"from": 2, "note": "n", "rename": {"floor": "ground"}, "void": ["background"]}
    assert go(second) == 0
    taxonomy = load_taxonomy(workspace / TAXONOMY)
    assert (taxonomy.version, taxonomy.names) == (3, ["ground", "human", "box"])
    wanted = expected(second, expected(MERGE, before))
    assert (painted(taxonomy, masks()["item-000"]) == wanted).all()
    check_classes(DATASET, taxonomy.names)


def test_a_rehearsal_tells_the_flow_and_writes_nothing(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The dry run counts pixels and items of each class, and leaves every file as it was."""
    files = {path: path.read_bytes() for path in workspace.rglob("*") if path.is_file()}
    assert go(MERGE, "--dry-run") == 0
    told = capsys.readouterr().out
    (workspace / "m.yaml").unlink()
    assert {path: path.read_bytes() for path in workspace.rglob("*") if path.is_file()} == files
    assert "8 of 9 items get a new revision" in told
    px = sum(int((mask == 2).sum()) for mask in masks().values())
    assert [line.split() for line in told.splitlines() if line.startswith("cart")] == [
        ["cart", "2", "box", "3", str(px), "8"]
    ]


@pytest.mark.parametrize("migration", [RENAME, MERGE, ADD])
def test_a_second_run_does_nothing(
    workspace: Path, migration: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Run again, a finished migration changes no file; where no part tells of it, it is not taken for this one."""
    assert go(migration) == 0
    files = {path: path.read_bytes() for path in workspace.rglob("*") if path.is_file()}
    code = go(migration)
    assert {path: path.read_bytes() for path in workspace.rglob("*") if path.is_file()} == files
    told = capsys.readouterr()
    assert "nothing to do" in told.out if migration is not ADD else (code, "version 2" in told.err) == (2, True)


def test_a_batch_of_before_that_comes_later_is_refused_until_it_is_migrated(workspace: Path) -> None:
    """A branch brings a batch in old ids: it cannot be read by mistake, and running the migration again takes it in."""
    old = load_taxonomy(TAXONOMY)
    assert go(MERGE) == 0
    late = [replace(item, item_id=f"late-{item.item_id}") for item in tiny_items(groups=1, seed=5)]
    write_batch(DATASET, "late", late, ["camera"], old.names)
    new = load_taxonomy(workspace / TAXONOMY)
    with pytest.raises(UserError, match=r"late.*migrate"):
        check_classes(DATASET, new.names)
    before = painted(old, decode_mask(late[0].mask, LIMITS))
    assert go(MERGE) == 0
    check_classes(DATASET, new.names)
    assert (painted(new, masks()["late-item-000"]) == expected(MERGE, before)).all()


def test_a_value_that_was_unknown_stays_unknown(workspace: Path) -> None:
    """A new class does not take in pixels of a value that was no class."""
    mask = masks()["item-000"].copy()
    mask[5, 5] = 5
    odd = replace(next(tiny_items()), item_id="odd", mask=encode_mask(mask))
    write_batch(DATASET, "odd", [odd], ["camera"], load_taxonomy(workspace / TAXONOMY).names)
    assert go(ADD) == 0
    assert masks()["odd"][5, 5] == 254


@pytest.mark.parametrize(
    ("migration", "words"),
    [
        ({"from": 3, "note": "n", "void": ["cart"]}, "from version 3 of the taxonomy, and data/taxonomy.yaml is at 1"),
        ({"from": 1, "note": "n", "void": ["horse"]}, "has no class \\['horse'\\]"),
        ({"from": 1, "note": "n", "void": ["cart"], "rename": {"cart": "c"}}, "received twice: \\['cart'\\]"),
        ({"from": 1, "note": "n", "merge": {"cart": "box"}, "void": ["box"]}, "must stay, received \\['box'\\]"),
        ({"from": 1, "note": "n"}, "nothing to do"),
        ({"from": 1, "note": "n", "rename": {"cart": "box"}}, "must be unique"),
        ({"from": 1, "note": "", "void": ["cart"]}, "note"),
        ({"from": 1, "note": "n", "split": {}}, "unknown key"),
    ],
)
def test_a_migration_that_makes_no_sense_is_refused(
    workspace: Path, migration: dict[str, object], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says what is wrong, and nothing is written."""
    assert go(migration) == 2
    assert re.search(words, capsys.readouterr().err)
    assert [path.name for path in DATASET.iterdir()] == ["first"]
    assert load_taxonomy(workspace / TAXONOMY).version == 1


KILLED = """
import os, signal, sys
sys.path[:0] = {path!r}
import pipeline.migrate as migrate, pipeline.parts as parts
def die(*a, **k):
    os.kill(os.getpid(), signal.SIGKILL)
{where}
from pathlib import Path
migrate.main(Path("m.yaml"))
"""
MOMENTS = {
    "while masks are written": "real = migrate._item\ncount = []\n"
    "def item(*a):\n    count.append(1)\n    return real(*a) if len(count) < 4 else die()\nmigrate._item = item",
    "before the batch": "migrate.write_batch = die",
    "between batch and taxonomy": "migrate.write_atomic = die",
}


@pytest.mark.parametrize("where", MOMENTS.values(), ids=MOMENTS)
def test_a_run_that_was_killed_is_finished_by_the_next(workspace: Path, where: str) -> None:
    """Killed at any moment, nothing reads masks by the wrong ids, and another run leads to what one alone leads to."""
    old, before = load_taxonomy(TAXONOMY), masks()
    Path("m.yaml").write_text(yaml.safe_dump(ALL))
    done = subprocess.run([sys.executable, "-c", KILLED.format(path=sys.path, where=where)], check=False)
    assert done.returncode == -signal.SIGKILL
    if (DATASET / "taxonomy-v2").exists():
        with pytest.raises(UserError, match="finish"):
            check_classes(DATASET, old.names)
    assert go(ALL) == 0
    new, after = load_taxonomy(workspace / TAXONOMY), masks()
    assert all((painted(new, after[item]) == expected(ALL, painted(old, mask))).all() for item, mask in before.items())
    assert sorted(path.name for path in DATASET.iterdir()) == ["first", "taxonomy-v2"]
    assert sorted(path.name for path in TAXONOMY.parent.iterdir()) == ["dataset", "taxonomy.yaml"]


def test_facts_of_a_revised_item_are_kept(workspace: Path) -> None:
    """Image, names, group and slices of an item are what they were; only the mask and the revision are new."""
    old = read_index(DATASET).set_index("item_id").loc["item-003"]
    assert go(MERGE) == 0
    new = read_index(workspace / DATASET).set_index("item_id").loc["item-003"]
    changed = {"revision", "batch", "part", "row"}
    same = [name for name in old.index if name not in changed]
    assert old[same].astype(str).to_dict() == new[same].astype(str).to_dict()


def test_what_was_kept_before_is_not_asked_about_again(workspace: Path) -> None:
    """A decision about a mask holds for the same mask in other ids."""
    file = workspace / "data" / "label_decisions.csv"
    item = "item-003"
    append_decisions(file, [Decision(item, 1, Choice.KEEP, "", "ada", datetime(2026, 5, 1, tzinfo=UTC), "right")])
    assert go(MERGE) == 0
    assert settled(read_decisions(file), item, 2)
