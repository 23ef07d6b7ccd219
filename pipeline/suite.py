"""Runs checks as Great Expectations suites and reads back which rows failed which."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pandas as pd

from pipeline.checks import Check
from pipeline.errors import UserError


@dataclass(frozen=True)
class Table:
    """Rows, the column that names them, and the checks that judge them."""

    name: str
    rows: pd.DataFrame
    key: str
    checks: Sequence[Check]


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes:
        check: The check.
        total: Rows judged.
        failed: Keys of the rows that failed, in the table's order; a failed row count names no row.
        passed: Whether it holds.
        details: What is wrong, in words, for each failed row.
    """

    check: Check
    total: int
    failed: tuple[str, ...]
    passed: bool
    details: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """A table's outcomes, in the order of its checks, and the library's own result, from which Data Docs are made."""

    table: Table
    outcomes: tuple[Outcome, ...]
    result: Any


def judge(tables: Sequence[Table]) -> list[Judged]:
    """Runs the checks of each table.

    Raises:
        UserError: A check could not run, which is not the same as bad data.
    """
    context = _context()
    source = context.data_sources.add_pandas("catalogue")
    library: Any = import_module("great_expectations")
    judged = []
    for table in tables:
        batches = source.add_dataframe_asset(table.name).add_batch_definition_whole_dataframe("all")
        batch = batches.get_batch(batch_parameters={"dataframe": table.rows})
        suite = library.ExpectationSuite(name=table.name, expectations=[expectation(check) for check in table.checks])
        result = batch.validate(
            suite,
            result_format={
                "result_format": "COMPLETE",
                "unexpected_index_column_names": [table.key],
                "return_unexpected_index_query": False,
            },
        )
        judged.append(Judged(table, _outcomes(table, result), result))
    return judged


def _context() -> Any:
    """A context in memory: no project folder, no documentation site, no progress bars, no telemetry."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the library is imported
    library: Any = import_module("great_expectations")
    types: Any = import_module("great_expectations.data_context.types.base")
    config = types.DataContextConfig(
        store_backend_defaults=types.InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=types.ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    return library.get_context(mode="ephemeral", project_config=config)


def expectation(check: Check) -> Any:
    """The Great Expectations form of a check; `meta` carries its name and level."""
    library: Any = import_module("great_expectations.expectations")
    limits = f" ({check.limit_words()})" if check.limit_words() else ""
    shared: dict[str, Any] = {
        "meta": {"check": check.name, "level": check.level},
        "description": f"{check.name}: {check.about}{limits}",
    }
    column: dict[str, Any] = {"column": check.column}
    between: dict[str, Any] = {"min_value": check.least, "max_value": check.most}
    pair: dict[str, Any] = {
        "column_A": check.column,
        "column_B": check.other,
        "ignore_row_if": "either_value_is_missing",
    }
    name, arguments = {
        "rows": ("ExpectTableRowCountToBeBetween", between),
        "null": ("ExpectColumnValuesToBeNull", column),
        "not_null": ("ExpectColumnValuesToNotBeNull", column),
        "equal": ("ExpectColumnPairValuesToBeEqual", pair),
        "between": ("ExpectColumnValuesToBeBetween", column | between),
    }[check.kind]
    return getattr(library, name)(**arguments, **shared)


def detail_words(check: Check, row: "pd.Series[Any]") -> str:
    """What is wrong with a row, in words."""
    return check.detail.format(limit=check.limit, **{str(name): value for name, value in row.items()})


def raised(info: dict[str, Any]) -> str | None:
    """The message of an exception in a result's `exception_info`, which is flat or keyed by metric; None without."""
    if "raised_exception" in info:
        return str(info["exception_message"]) if info["raised_exception"] else None
    return next((message for each in info.values() if (message := raised(each))), None)


def _outcomes(table: Table, result: Any) -> tuple[Outcome, ...]:
    found = {each.expectation_config.meta["check"]: each for each in result.results}
    rows = table.rows.set_index(table.key, drop=False)
    return tuple(_outcome(check, found[check.name], rows, table.key) for check in table.checks)


def _outcome(check: Check, result: Any, rows: pd.DataFrame, key: str) -> Outcome:
    message = raised(result.exception_info)
    if message is not None:
        raise UserError(
            f"Check '{check.name}' could not run on column '{check.column}': {message}. "
            "This says nothing about the data. Was the catalogue written by this version? Run `dvc repro catalog`.",
        )
    if check.kind == "rows":
        return Outcome(check, len(rows), (), bool(result.success), () if result.success else (check.detail,))
    failed = tuple(dict.fromkeys(str(each[key]) for each in result.result.get("unexpected_index_list") or []))
    details = tuple(detail_words(check, row) for _, row in rows.loc[list(failed)].iterrows())
    judged = len(rows) if check.kind in {"null", "not_null"} else int(rows[check.column].notna().sum())
    return Outcome(check, judged, failed, bool(result.success), details)
