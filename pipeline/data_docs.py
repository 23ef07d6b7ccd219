"""Data Docs of the suites on one page that needs nothing but itself."""

from collections.abc import Sequence
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.files import write_atomic
from pipeline.suite import Judged

# The library's own page frame loads styles, scripts and pictures from nine hosts; its content is kept, in this frame.
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; border-bottom: 2px solid #ccc; margin-top: 2.5rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
td, th { border: 1px solid #ddd; padding: .3rem .6rem; text-align: left; vertical-align: top; }
h5, h6 { font-size: 1rem; margin: 1rem 0 .3rem; } th { background: #f4f4f4; }
.text-success::before { content: "\\2714"; color: #16803c; } .fa-times::before { content: "\\2718"; }
.text-danger, .fail, .quarantine { color: #b42318; } .warning, .acknowledged { color: #a15c00; }
.pass { color: #16803c; }
.cooltip .top { display: none; } .cooltip:hover .top { display: inline; color: #666; }
"""


def write_docs(
    judged: Sequence[Judged], summary: Sequence[dict[str, object]], out: Path, pages: Sequence[str] = ()
) -> None:
    """Writes `index.html`: the verdicts, then each suite as Great Expectations renders it.

    Args:
        judged: The suites' results.
        summary: A row per check.
        out: The folder.
        pages: Further pages in it, by file name, to be linked.
    """
    parts = [f"<h1>Validation</h1>{_summary_table(summary)}"]
    parts += [f'<p><a href="{escape(name)}">{escape(name)}</a>: pictures of what was warned of</p>' for name in pages]
    parts += [f"<h2>{escape(each.table.name)}</h2>{_sections(each)}" for each in judged]
    head = f'<head><meta charset="utf-8"><title>Validation</title><style>{STYLE}</style></head>'
    page = f'<!DOCTYPE html>\n<html lang="en">{head}<body>{"".join(parts)}</body></html>\n'
    write_atomic(out / "index.html", page)


def _summary_table(summary: Sequence[dict[str, object]]) -> str:
    columns = ["check", "level", "failed", "total", "limit", "verdict"]
    head = "".join(f"<th>{name}</th>" for name in columns)
    rows = (
        "".join(f'<td class="{escape(str(row["verdict"]))}">{escape(str(row[name]))}</td>' for name in columns)
        for row in summary
    )
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _sections(judged: Judged) -> str:
    if judged.table.rows.empty and all(outcome.passed for outcome in judged.outcomes):
        return "<p>nothing to judge</p>"
    _name_rows(judged)
    pages: Any = import_module("great_expectations.render.renderer")
    views: Any = import_module("great_expectations.render.view")
    document = pages.ValidationResultsPageRenderer(run_info_at_end=True).render(judged.result)
    # The first section counts what the summary above counts; the last has the time, which differs at every run.
    sections = document.sections[1:-1]
    view = views.DefaultJinjaSectionView()
    return "".join(
        str(
            view.render(
                {"section": escaped(section.to_json_dict()), "section_loop": {"index": f"{judged.table.name}-{n}"}}
            )
        )
        for n, section in enumerate(sections)
    )


def _name_rows(judged: Judged) -> None:
    """Tells the library by which column rows are named: it shows the names then, and else a dictionary of each row.

    Its results leave this out. A row's values are made one text, since of several columns it takes any order.
    """
    key = judged.table.key
    for each in judged.result.results:
        found = each.result
        if not found.get("unexpected_index_list"):
            continue
        rows = [row if isinstance(row, dict) else {key: row} for row in found["unexpected_index_list"]]
        found["unexpected_index_list"] = [
            {"value": " and ".join(str(row[name]) for name in sorted(row) if name != key), key: row[key]}
            for row in rows
        ]
        found["unexpected_index_column_names"] = [key]


def escaped(value: Any) -> Any:
    """A rendered section with every text made harmless: the library puts item names into the page as they are."""
    if isinstance(value, str):
        return escape(value, quote=False)
    if isinstance(value, dict):
        return {key: escaped(each) for key, each in value.items()}
    return [escaped(each) for each in value] if isinstance(value, list) else value
