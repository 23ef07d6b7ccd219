"""Facts of whole parts: measured by row groups in parallel, and kept in a store, so that only new parts are read."""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import groupby, repeat
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.command import progress
from pipeline.errors import OutageError, UserError
from pipeline.files import atomic_path, digest_json, sha256_file, write_json
from pipeline.item_facts import FactSettings, item_facts

Result = TypeVar("Result")

# Raise it whenever the code measures something else: what the store holds is then measured again.
FACTS_VERSION = 1
FACTS_SCHEMA = pa.schema(
    [
        ("row_group", pa.int32()),
        ("row", pa.int32()),
        ("image_sha256", pa.string()),
        ("mask_sha256", pa.string()),
        ("error", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("mode", pa.string()),
        ("bytes", pa.int64()),
        ("mask_width", pa.int32()),
        ("mask_height", pa.int32()),
        ("phash", pa.string()),
        ("class_px", pa.list_(pa.int64())),
        ("void_px", pa.int64()),
        ("unknown_values", pa.string()),
        ("components", pa.list_(pa.int32())),
        ("islands", pa.list_(pa.int32())),
        ("edge_distance_px", pa.float64()),
        ("brightness", pa.float64()),
        ("contrast", pa.float64()),
        ("saturation", pa.float64()),
        ("blur", pa.float64()),
        ("custom", pa.string()),
    ],
)


@dataclass(frozen=True)
class RowGroup:
    """One row group of a part: the unit of work of a process."""

    part: Path
    number: int


class FactStore:
    """A folder of measured parts, keyed by the part's content, the settings and the version of the code.

    A part's digest is kept beside its size, times and inode, so that a part that nobody touched is not read again.
    It only saves time: what is damaged in it counts as not there.
    """

    def __init__(self, folder: Path, settings: FactSettings) -> None:
        self._folder = folder
        self._key = {"version": FACTS_VERSION, **asdict(settings), "limits": settings.limits.model_dump()}
        self._digests_file = folder / "digests.json"
        self._digests = _read_digests(self._digests_file)

    def read(self, part: Path) -> pa.Table | None:
        """The facts of a part, one row per row of it in order; None when they have to be measured."""
        try:
            facts = pq.read_table(self._path(part))
        except (pa.ArrowInvalid, FileNotFoundError):
            return None
        return facts if facts.schema.equals(FACTS_SCHEMA) else None

    def write(self, part: Path, facts: pa.Table) -> None:
        """Keeps the facts of a part."""
        with atomic_path(self._path(part)) as temporary:
            pq.write_table(facts, temporary)

    def save_digests(self) -> None:
        """Keeps the digests found, for the next run."""
        write_json(self._digests_file, self._digests)

    def _path(self, part: Path) -> Path:
        return self._folder / f"{digest_json({'part': self._digest(part), **self._key})}.parquet"

    def _digest(self, part: Path) -> str:
        stat = part.stat()
        # The change time moves with every change of content, even where size and modification time are put back.
        identity = f"{part.resolve()} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"
        if identity not in self._digests:
            self._digests[identity] = sha256_file(part)
        return self._digests[identity]


def read_facts(parts: list[Path], settings: FactSettings, store: FactStore, workers: int) -> dict[Path, pa.Table]:
    """Finds the facts of each part in the store, or measures them and puts them there.

    Args:
        parts: The dataset's parts.
        settings: What the facts depend on besides the bytes.
        store: Facts of parts measured before.
        workers: Processes; 0 takes every core.

    Returns:
        By part, a row of `FACTS_SCHEMA` for each of its rows.

    Raises:
        UserError: A part is damaged.
        OutageError: A process was killed.
    """
    stored = {part: store.read(part) for part in parts}
    facts = {part: table for part, table in stored.items() if table is not None}
    missing = [part for part in parts if part not in facts]
    row_groups = [RowGroup(part, number) for part in missing for number in range(_count_row_groups(part))]
    measured = map_row_groups(measure, row_groups, settings, workers)
    tables = zip(row_groups, progress(measured, total=len(row_groups), label="catalogue"), strict=True)
    for part, of_part in groupby(tables, key=lambda pair: pair[0].part):
        # One piece: the buffers of many small tables take more memory than what they hold.
        facts[part] = pa.concat_tables([table for _, table in of_part]).combine_chunks()
        store.write(part, facts[part])
    store.save_digests()
    return facts


def map_row_groups(
    call: Callable[[RowGroup, FactSettings], Result],
    row_groups: list[RowGroup],
    settings: FactSettings,
    workers: int,
) -> Iterator[Result]:
    """Calls a function on each row group, in parallel, and yields the results in order.

    Raises:
        OutageError: A process was killed, as systems do when memory runs out.
    """
    processes = min(workers or len(os.sched_getaffinity(0)), len(row_groups))
    if processes <= 1:
        yield from (call(each, settings) for each in row_groups)
        return
    # Forked from a process that has only imported: no threads or locks of this one come along.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        try:
            yield from pool.map(call, row_groups, [settings] * len(row_groups))
        except BrokenProcessPool:
            raise OutageError(
                f"One of {processes} processes was killed: by somebody, or by the system for want of memory. Run it "
                "again, with less memory at hand lower `catalog.workers`; finished parts are not measured again.",
            ) from None


def measure(row_group: RowGroup, settings: FactSettings) -> pa.Table:
    """Measures the rows of one row group.

    Returns:
        A row of `FACTS_SCHEMA` for each.

    Raises:
        UserError: The row group cannot be read.
    """
    # What else the dataset says of an item matters to the user's own check only.
    told: Iterable[dict[str, Any] | None] = read_rows(row_group) if settings.custom else repeat(None)
    rows = [
        {"row_group": row_group.number, "row": number, **item_facts(image, mask, settings, row)}
        for number, ((image, mask), row) in enumerate(zip(read_bytes(row_group), told, strict=False))
    ]
    return pa.Table.from_pylist(rows, schema=FACTS_SCHEMA)


def read_rows(row_group: RowGroup) -> list[dict[str, Any]]:
    """The rows of a row group without their images and masks."""
    with pq.ParquetFile(row_group.part) as file:
        names = [name for name in file.schema_arrow.names if name not in {"image", "mask"}]
        rows: list[dict[str, Any]] = file.read_row_group(row_group.number, columns=names, use_threads=False).to_pylist()
    return rows


def read_bytes(row_group: RowGroup) -> Iterator[tuple[bytes, bytes]]:
    """Reads the encoded images and masks of a row group; a null is empty bytes.

    Raises:
        UserError: The row group cannot be read.
    """
    import cv2

    cv2.setNumThreads(1)  # the processes share the cores already
    try:
        with pq.ParquetFile(row_group.part) as file:
            table = file.read_row_group(row_group.number, columns=["image.bytes", "mask.bytes"], use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"{row_group.part}, row group {row_group.number}, is damaged: {error}. "
            "Restore it with `dvc checkout` or ingest it again.",
        ) from None
    for image, mask in zip(table.column("image"), table.column("mask"), strict=True):
        yield image["bytes"].as_py() or b"", mask["bytes"].as_py() or b""


def _read_digests(file: Path) -> dict[str, str]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) and all(isinstance(each, str) for each in content.values()) else {}


def _count_row_groups(part: Path) -> int:
    with pq.ParquetFile(part) as file:
        return int(file.metadata.num_row_groups)
