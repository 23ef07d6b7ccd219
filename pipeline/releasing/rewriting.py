"""Writes a part anew without some of its rows; all else stays: order, columns, row groups, names of the classes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.part_writer import ROW_GROUP_ROWS, encoding


def rewrite_without(source: Any, target: Path, gone: Callable[[str, str], bool]) -> int:
    """Copies a part, row group by row group, without the rows that are to go.

    A part that loses all its rows becomes one without rows, which is valid: its batch keeps its name, so that no other
    takes it.

    Args:
        source: The part: a path, or a file open for reading.
        target: The file to write.
        gone: Whether a row goes, by `item_id` and `sha256`.

    Returns:
        How many rows went.
    """
    removed = 0
    with pq.ParquetFile(source) as file:
        schema = file.schema_arrow
        with pq.ParquetWriter(target, schema, **encoding(schema)) as writer:
            for number in range(file.metadata.num_row_groups):
                table = file.read_row_group(number)
                keys = zip(table["item_id"].to_pylist(), table["sha256"].to_pylist(), strict=True)
                left = table.filter(pa.array([not gone(item, sha256) for item, sha256 in keys], pa.bool_()))
                removed += len(table) - len(left)
                if len(left):
                    writer.write_table(left, row_group_size=ROW_GROUP_ROWS)
    return removed
