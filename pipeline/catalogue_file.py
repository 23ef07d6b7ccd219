"""Reads what `catalog` wrote as validation needs it: in little memory, however many items there are."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.former_images import SCHEMA
from pipeline.taxonomy import Taxonomy

REMEDY = "run `dvc repro catalog`"
DIGESTS = ("sha256", "mask_sha256")
LISTS = ("class_px", "islands")
COLUMNS = (
    *("item_id", "revision", "batch", "part", "row_group", "row", "group", "annotator", "source_split", "sampling"),
    *("sha256", "mask_sha256", "error", "custom", "phash", "width", "height", "mask_width", "mask_height"),
    *("class_px", "void_px", "unknown_values", "islands", "brightness", "contrast", "saturation", "blur"),
)


def read_catalog(file: Path, taxonomy: Taxonomy) -> pd.DataFrame:
    """Reads the columns of the catalogue that validation needs.

    Digests become numbers, equal where they were equal, and lists stay Arrow's: as Python's objects these few columns
    would take most of the memory.

    Raises:
        UserError: It is missing, damaged, something else, or counts the classes of another taxonomy.
    """
    columns = {name: _column(name, values) for name, values in _read(file, COLUMNS, taxonomy.num_classes)}
    pa.default_memory_pool().release_unused()
    return pd.DataFrame(columns, copy=False)


def read_former(file: Path) -> pd.DataFrame:
    """Reads the images that the dataset held once.

    Raises:
        UserError: The file is missing, damaged or something else.
    """
    return pd.DataFrame({name: values.to_pandas() for name, values in _read(file, tuple(SCHEMA.names))})


def _column(name: str, values: pa.ChunkedArray) -> pd.Series:
    if name in DIGESTS:
        return pd.Series(values.combine_chunks().dictionary_encode().indices.to_numpy())
    return pd.Series(pd.arrays.ArrowExtensionArray(values)) if name in LISTS else values.to_pandas()


def _read(file: Path, names: tuple[str, ...], num_classes: int | None = None) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """Reads a Parquet file column by column, so that few are held in both forms at a time."""
    try:
        with pq.ParquetFile(file) as opened:
            missing = sorted(set(names) - set(opened.schema_arrow.names))
            if missing:
                raise UserError(f"{file} lacks the columns {missing}: {REMEDY}.")
            for name in names:
                values = opened.read(columns=[name], use_threads=False).column(0)
                if name in LISTS:
                    _check_length(file, values, num_classes)
                yield name, values
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"There is no {file}: {REMEDY}.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{file} is damaged ({error}): {REMEDY}.") from None


def _check_length(file: Path, lists: pa.ChunkedArray, num_classes: int | None) -> None:
    others = sorted(set(pc.list_value_length(lists).unique().to_pylist()) - {None, num_classes})
    if others:
        raise UserError(f"{file} counts {others} classes, the taxonomy has {num_classes}: {REMEDY}.")
