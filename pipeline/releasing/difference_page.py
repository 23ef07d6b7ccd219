"""Lays a difference out as one HTML page beside its pictures."""

from collections.abc import Sequence
from html import escape

from pipeline.releasing.difference import Difference
from pipeline.releasing.difference_pictures import PANELS, Picture

NAMES_SHOWN = 100
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; border-bottom: 2px solid #ccc; margin-top: 2.5rem; }
.wide { overflow-x: auto; } .matrix { font-size: 12px; } .matrix td, .matrix th { padding: .2rem .3rem; }
table { border-collapse: collapse; margin: .5rem 0; }
td, th { border: 1px solid #ddd; padding: .3rem .6rem; text-align: right; } th { background: #f4f4f4; }
td:first-child, th:first-child { text-align: left; } .same { background: #eaf5ec; } .flow { background: #fbe9e7; }
figure { margin: 0 0 2em; } img { max-width: 100%; display: block; } .heads { display: flex; } .heads span { flex: 1; }
.strip { display: inline-block; max-width: 100%; } .names { overflow-wrap: anywhere; }
.key span { display: inline-block; padding: 0 .6em; margin-right: .4em; border-left: 1.2em solid; }
"""

Cells = Sequence[str]


def page(difference: Difference, pictures: Sequence[Picture]) -> str:
    """The page, which needs nothing but its pictures.

    Args:
        difference: What differs.
        pictures: Of the most changed items, as files beside the page.
    """
    old, new = escape(difference.old.name), escape(difference.new.name)
    title = f"{old} to {new}"
    sections = [
        f"<h1>{title}</h1>",
        _counts(difference),
        _listed("Taxonomy", [escape(line) for line in difference.taxonomy] or ["no difference"]),
        _shares(difference),
        _agreement(difference),
        _classes(difference),
        _figures(difference, pictures),
        _names(difference),
    ]
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{"".join(sections)}</body></html>\n'


def _counts(difference: Difference) -> str:
    items = difference.items
    rows = [("items before", f"{items.before:,}"), ("items after", f"{items.after:,}")]
    rows += [(name, f"{count:,}") for name, count in difference.counts.items()]
    sides = (difference.old, difference.new)
    purged = [
        f"{escape(side.name)} is no longer whole: {escape(each)}" for side in sides for each in side.losses.sentences
    ]
    return _table(["items", ""], rows) + (_listed("Purged", purged) if purged else "")


def _shares(difference: Difference) -> str:
    rows = [
        (name, _percent(was), _percent(now), "" if was is None or now is None else f"{100 * (now - was):+.2f}")
        for name, was, now in difference.shares
    ]
    title = "<h2>Class shares of all labelled pixels</h2>"
    return title + _table(["class", "before", "after", "change in points"], rows)


def _agreement(difference: Difference) -> str:
    """The matrix: each cell with its pixels and their share of the row."""
    title = "<h2>What the pixels of relabelled items were, and what they are</h2>"
    if not difference.matrix.any():
        return f"{title}<p>No mask changed.</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in difference.column_names)
    body = "".join(_agreement_row(difference, row) for row in range(len(difference.row_names)))
    return f'{title}<div class="wide matrix"><table><tr><th>old, into new</th>{head}</tr>{body}</table></div>'


def _agreement_row(difference: Difference, row: int) -> str:
    name, pixels = difference.row_names[row], difference.matrix[row]
    cells = []
    for other, count in zip(difference.column_names, pixels.tolist(), strict=True):
        kind = "same" if other == name else ("flow" if count else "")
        share = f"<br>{count / pixels.sum():.2%}" if count else ""
        cells.append(f'<td class="{kind}">{count:,}{share}</td>')
    return f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>"


def _classes(difference: Difference) -> str:
    rows = [
        (each.name, f"{each.before_px:,}", f"{each.after_px:,}", _percent(each.kept), _percent(each.iou), each.into)
        for each in difference.classes
        if each.before_px or each.after_px
    ]
    head = ["class", "pixels before", "pixels after", "kept", "IoU of before and after", "lost most to"]
    return "<h2>Classes in the relabelled items</h2>" + _table(head, rows) if rows else ""


def _figures(difference: Difference, pictures: Sequence[Picture]) -> str:
    if not pictures:
        return ""
    about = {each.item_id: each for each in difference.relabelled}
    heads = "".join(f"<span>{panel}</span>" for panel in PANELS)
    key = "".join(
        f'<span style="border-color: {each.colour}">{escape(each.name)}</span>'
        for each in difference.new.taxonomy.classes
    )
    figures = "".join(
        f"<figure><figcaption><b>{escape(each.item_id)}</b>: {about[each.item_id].share:.1%} of the pixels, "
        f"{about[each.item_id].changed_px:,} px, chiefly {escape(about[each.item_id].flow)}</figcaption>"
        f'<div class="strip"><div class="heads">{heads}</div>'
        f'<img src="{escape(each.file)}" alt="{escape(each.item_id)} before and after"></div></figure>'
        for each in pictures
    )
    return f'<h2>Most changed</h2><p class="key">{key}</p>{figures}'


def _names(difference: Difference) -> str:
    items = difference.items
    parts = []
    for title, names in (
        ("Added", items.added),
        ("Removed", items.removed),
        ("Relabelled", [each.item_id for each in difference.relabelled]),
        ("Migrated, and not otherwise relabelled", difference.items.migrated),
        ("With another image", items.replaced),
        ("In another split", items.moved),
    ):
        if names:
            more = f" and {len(names) - NAMES_SHOWN:,} more, see diff.json" if len(names) > NAMES_SHOWN else ""
            listed = ", ".join(escape(name) for name in names[:NAMES_SHOWN])
            parts.append(f'<h2>{title}: {len(names):,}</h2><p class="names">{listed}{more}</p>')
    problems = [f"{escape(each.item_id)}: {escape(each.problem)}" for each in difference.relabelled if each.problem]
    return "".join(parts) + (_listed("Not compared", problems) if problems else "")


def _listed(title: str, lines: Sequence[str]) -> str:
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>"


def _table(head: Cells, rows: Sequence[Cells]) -> str:
    lines = [f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>"]
    lines += [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"
