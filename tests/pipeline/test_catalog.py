"""The catalogue: a row of facts per item, measured once per part."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny import tiny_items

from pipeline import catalog, read_facts
from pipeline.catalog import build_catalog
from pipeline.errors import UserError
from pipeline.images import Limits
from pipeline.item_facts import FactSettings
from pipeline.part_writer import write_batch
from pipeline.parts import Item

SETTINGS = FactSettings(
    num_classes=5,
    ignore_index=255,
    island_px=4,
    edge_low=50,
    edge_high=150,
    limits=Limits(max_bytes=2**24, max_pixels=2**22),
)


def renamed(items: Iterator[Item], prefix: str) -> Iterator[Item]:
    """The items under other names."""
    return (replace(item, item_id=f"{prefix}{item.item_id}") for item in items)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The batches whose row groups get measured, in order."""
    seen: list[str] = []
    real = read_facts.measure

    def measure(row_group: read_facts.RowGroup, settings: FactSettings) -> pa.Table:
        seen.append(row_group.part.parent.name)
        return real(row_group, settings)

    monkeypatch.setattr(read_facts, "measure", measure)
    return seen


def test_a_row_per_item_with_its_columns(tmp_path: Path) -> None:
    """Every item has one row with its place, its slices and its facts, sorted by name."""
    write_batch(tmp_path / "d", "first", list(tiny_items()), ["camera"])
    table = build_catalog(tmp_path / "d", SETTINGS, tmp_path / "store", 1)
    rows = table.to_pandas()
    assert rows["item_id"].tolist() == sorted(item.item_id for item in tiny_items())
    assert {"batch", "part", "row_group", "row", "camera", "mask_sha256", "phash", "components"} < set(rows.columns)
    assert "image_sha256" not in rows.columns
    assert (rows["class_px"].map(sum) == 48 * 64).all()
    assert rows["error"].isna().all()


def test_processes_do_not_change_the_result(tmp_path: Path) -> None:
    """One process and two give the same table, over several row groups."""
    write_batch(tmp_path / "d", "first", list(tiny_items(groups=20, size=(16, 24))), ["camera"])
    one, two = (build_catalog(tmp_path / "d", SETTINGS, tmp_path / f"store{n}", n) for n in (1, 2))
    assert one.equals(two)


def test_only_new_parts_are_measured(tmp_path: Path, measured: list[str]) -> None:
    """A second run measures nothing, a new batch only itself, and rows of old parts come from the store."""
    write_batch(tmp_path / "d", "first", list(tiny_items(groups=2)), ["camera"])
    first = build_catalog(tmp_path / "d", SETTINGS, tmp_path / "store", 1)
    assert build_catalog(tmp_path / "d", SETTINGS, tmp_path / "store", 1).equals(first)
    write_batch(tmp_path / "d", "second", renamed(tiny_items(groups=2, seed=1), "new-"), ["camera"])
    both = build_catalog(tmp_path / "d", SETTINGS, tmp_path / "store", 1)
    assert measured == ["first", "second"]
    assert both.num_rows == 8
    assert both.slice(0, 4).drop_columns(["camera"]).equals(first.drop_columns(["camera"]))


def test_a_damaged_store_is_measured_again(tmp_path: Path, measured: list[str]) -> None:
    """The store only saves time: with damaged digests and facts the catalogue is the same, and the store is mended."""
    write_batch(tmp_path / "d", "first", list(tiny_items(groups=2)), ["camera"])
    first = build_catalog(tmp_path / "d", SETTINGS, tmp_path / "store", 1)
    for file in (tmp_path / "store").iterdir():
        file.write_bytes(b"{")
    for _ in range(2):
        assert build_catalog(tmp_path / "d", SETTINGS, tmp_path / "store", 1).equals(first)
    assert measured == ["first", "first"]


def test_a_part_with_other_content_is_measured_again(tmp_path: Path, measured: list[str]) -> None:
    """A part of the same name, size and modification time but with other bytes is noticed."""
    import os

    [part] = write_batch(tmp_path / "d", "first", list(tiny_items(groups=2)), ["camera"])
    build_catalog(tmp_path / "d", SETTINGS, tmp_path / "store", 1)
    before = part.stat()
    item = next(tiny_items(groups=2))
    data = part.read_bytes()
    place = data.index(item.image) + len(item.image) // 2
    part.write_bytes(data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :])
    os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
    errors = build_catalog(tmp_path / "d", SETTINGS, tmp_path / "store", 1).to_pandas().set_index("item_id")["error"]
    assert measured == ["first", "first"]
    assert errors.dropna().index.tolist() == [item.item_id]


def test_a_copied_part_is_not_measured_again(tmp_path: Path, measured: list[str]) -> None:
    """A fresh checkout of the same bytes, with other times and inodes, finds its facts by content."""
    import shutil

    write_batch(tmp_path / "d", "first", list(tiny_items(groups=2)), ["camera"])
    build_catalog(tmp_path / "d", SETTINGS, tmp_path / "store", 1)
    shutil.copytree(tmp_path / "d", tmp_path / "e")
    build_catalog(tmp_path / "e", SETTINGS, tmp_path / "store", 1)
    assert measured == ["first"]


def test_other_settings_measure_again(tmp_path: Path, measured: list[str]) -> None:
    """What the facts depend on is part of their key."""
    write_batch(tmp_path / "d", "first", list(tiny_items(groups=2)), ["camera"])
    build_catalog(tmp_path / "d", SETTINGS, tmp_path / "store", 1)
    build_catalog(tmp_path / "d", replace(SETTINGS, island_px=9), tmp_path / "store", 1)
    assert measured == ["first", "first"]


def test_revisions_and_tombstones_are_followed(tmp_path: Path) -> None:
    """The winning revision's facts are the ones kept, and a removed item has no row."""
    old = list(tiny_items(groups=2))
    write_batch(tmp_path / "d", "first", old, ["camera"])
    newer = replace(old[0], mask=old[1].mask, mask_source_sha256="other", revision=2)
    write_batch(tmp_path / "d", "second", [newer, replace(old[2], revision=2, deleted=True)], ["camera"])
    rows = build_catalog(tmp_path / "d", SETTINGS, tmp_path / "store", 1).to_pandas().set_index("item_id")
    assert rows.loc[old[0].item_id, "mask_sha256"] == rows.loc[old[1].item_id, "mask_sha256"]
    assert rows.loc[old[0].item_id, "batch"] == "second"
    assert old[2].item_id not in rows.index


def test_an_image_that_is_not_the_ingested_one_is_an_error(tmp_path: Path) -> None:
    """Bytes whose digest differs from that of ingestion are marked, readable or not."""
    items = list(tiny_items(groups=1))
    write_batch(tmp_path / "d", "first", [replace(items[0], image=items[1].image), items[1]], ["camera"])
    rows = build_catalog(tmp_path / "d", SETTINGS, tmp_path / "store", 1).to_pandas()
    assert rows["error"].tolist() == ["image: its bytes are not those that were ingested", None]


def test_an_empty_dataset_gives_an_empty_catalogue(tmp_path: Path) -> None:
    """No part, and a part without rows, both give a table without rows and with all columns."""
    (tmp_path / "none").mkdir()
    write_batch(tmp_path / "empty", "first", [])
    for name in ("none", "empty"):
        table = build_catalog(tmp_path / name, SETTINGS, tmp_path / "store", 1)
        assert table.num_rows == 0
        assert {"item_id", "phash", "class_px"} < set(table.column_names)


def test_a_damaged_part_is_an_error_that_names_it(tmp_path: Path) -> None:
    """A part whose pages cannot be read stops the stage: its other rows are not trusted either."""
    [part] = write_batch(tmp_path / "d", "first", list(tiny_items(groups=2)), ["camera"])
    data = bytearray(part.read_bytes())
    item = next(tiny_items(groups=2))
    start = bytes(data).index(item.image)
    data[start - 60 : start] = bytes(60)
    part.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"part-00000\.parquet.*damaged"):
        build_catalog(tmp_path / "d", SETTINGS, tmp_path / "store", 1)


def test_the_command_writes_the_catalogue(
    tiny_dataset: Callable[..., Path],
    taxonomy_file: Path,
    params_file: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The stage writes Parquet with one row per item and says how many could not be read."""
    out, params = tmp_path / "catalog.parquet", params_file(catalog={"workers": 1})
    catalog.main(tiny_dataset(), out, taxonomy_file, tmp_path / "store", params)
    assert pq.read_metadata(out).num_rows == 12
    assert "12 items, 0 of them not readable" in capsys.readouterr().out


def test_a_missing_dataset_is_the_users_mistake(
    taxonomy_file: Path, params_file: Callable[..., Path], tmp_path: Path
) -> None:
    """A folder that does not exist is an error that names it, not an empty catalogue."""
    with pytest.raises(UserError, match=r"no dataset at .*nowhere"):
        catalog.main(tmp_path / "nowhere", tmp_path / "out", taxonomy_file, tmp_path / "store", params_file())
