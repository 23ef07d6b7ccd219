"""Lays the account of the agreement out as one HTML page beside its pictures."""

from collections.abc import Mapping, Sequence
from html import escape

from pipeline.agreement.annotators import Annotator
from pipeline.agreement.copies import UNNAMED
from pipeline.agreement.figures import Figure
from pipeline.agreement.pictures import Panel
from pipeline.agreement.report import ClassRow, Report, order, reason
from pipeline.taxonomy import Taxonomy

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --raised: #f4f6f8; --ink: #14181f; --soft: #4d5764; --rule: #d5dbe2;
  --people: #0b5fc4; --model: #b45309; }
@media (prefers-color-scheme: dark) { :root { --paper: #12161b; --raised: #1b2128; --ink: #e9ecf0; --soft: #aab4c0;
  --rule: #36404b; --people: #7db8ff; --model: #ffb56b; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 80rem; padding: 1rem 1.2rem 4rem;
  background: var(--paper); color: var(--ink); }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; border-top: 1px solid var(--rule); padding-top: .7rem;
  margin-top: 2.2rem; }
p { max-width: 95ch; } .soft, .range { color: var(--soft); } .range { font-size: .87em; white-space: nowrap; }
.cards { display: flex; flex-wrap: wrap; gap: 10px; padding: 0; list-style: none; }
.cards li { background: var(--raised); border: 1px solid var(--rule); border-radius: 8px; padding: 8px 14px;
  flex: 1 1 150px; }
.cards strong { display: block; font-size: 1.4rem; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .5rem 0; }
td, th { border-bottom: 1px solid var(--rule); padding: .35rem .7rem; text-align: right; vertical-align: top;
  font-variant-numeric: tabular-nums; }
th { background: var(--raised); } td:first-child, th:first-child { text-align: left; }
.text { min-width: 17em; text-align: left; }
figure { margin: 0 0 2rem; } figcaption { overflow-wrap: anywhere; margin-bottom: .3rem; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 220px), 1fr)); gap: 8px; }
.panels span { display: block; font-size: .85rem; color: var(--soft); overflow-wrap: anywhere; }
.panels img { width: 100%; display: block; border-radius: 3px; }
.key span { display: inline-block; padding: 0 .6em; margin-right: .4em; border-left: 1.2em solid; }
.rail { stroke: var(--rule); } .people { stroke: var(--people); stroke-width: 3; } .at { fill: var(--people); }
.model { fill: var(--model); } td, li { overflow-wrap: break-word; }
"""
BAR_PX = 160


def page(account: Report, taxonomy: Taxonomy, pictures: Mapping[int, Sequence[Panel]]) -> str:
    """The page, which needs nothing but its pictures.

    Args:
        account: What is said.
        taxonomy: Names and colours.
        pictures: Of the pairs that need a third look, by their place.
    """
    sections = [
        "<h1>How well the annotators agree</h1>",
        _cards(account),
        _classes(account),
        _annotators(account, taxonomy),
        _between(account),
        _looks(account, taxonomy, pictures),
        _problems(account),
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head += f"<title>How well the annotators agree</title><style>{STYLE}</style>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{"".join(sections)}</body></html>\n'


def _cards(account: Report) -> str:
    cards = [
        ("images drawn by several", f"{account.images:,}", f"{account.pairs:,} pairs, {account.groups:,} groups"),
        ("mean IoU of two annotators", _score(account.miou.value), _range(account.miou)),
        ("Krippendorff's alpha", _score(account.alpha.value), _range(account.alpha)),
    ]
    cards += [
        (f"Fleiss' kappa, {count} annotators an image", _score(value), "1 is perfect, 0 is chance")
        for count, value in account.fleiss_kappa.items()
    ]
    listed = "".join(
        f"<li>{what}<strong>{value}</strong><span class=range>{more}</span></li>" for what, value, more in cards
    )
    return f'<ul class="cards">{listed}</ul>'


def _classes(account: Report) -> str:
    model = f"The model's IoU is that of the {escape(account.model)}." if account.model else "No evaluation was given."
    text = (
        "A model is measured against masks that people drew. Where two people agree with an IoU of 0.8 on a class, a "
        "model can hardly be shown to be better than that: what looks like its errors is partly theirs. Intervals are "
        f"95% over groups. {model}"
    )
    rows = [_class_row(row, with_model=bool(account.model)) for row in account.classes]
    head = ["class", "IoU of annotators", "Dice", "boundary F"]
    head += ["model IoU", "the model is", "0 to 1: annotators and model"] if account.model else ["0 to 1"]
    return f"<h2>Classes: annotators and model</h2><p>{text}</p>{_table(head, rows)}"


def _class_row(row: ClassRow, *, with_model: bool) -> list[str]:
    name = escape(row.name) + (" <b>(critical)</b>" if row.critical else "")
    cells = [name, *(f"{_score(each.value)} {_span(each)}" for each in (row.iou, row.dice, row.boundary_f))]
    if with_model:
        cells += [_score(row.model_iou), escape(row.standing.value)]
    return [*cells, _bar(row)]


def _bar(row: ClassRow) -> str:
    """The annotators' interval as a line with its value, the model as a diamond."""
    if row.iou.value is None:
        return ""

    def at(share: float) -> float:
        return round(6 + share * (BAR_PX - 12), 1)

    marks = f'<line class="rail" x1="{at(0)}" x2="{at(1)}" y1="9" y2="9"/>'
    if row.iou.low is not None and row.iou.high is not None:
        marks += f'<line class="people" x1="{at(row.iou.low)}" x2="{at(row.iou.high)}" y1="9" y2="9"/>'
    marks += f'<circle class="at" cx="{at(row.iou.value)}" cy="9" r="4"/>'
    if row.model_iou is not None:
        x = at(row.model_iou)
        marks += f'<path class="model" d="M{x} 3 l5 6 l-5 6 l-5 -6 z"/>'
    return f'<svg width="{BAR_PX}" height="18" role="img" aria-label="annotators and model on a scale">{marks}</svg>'


def _annotators(account: Report, taxonomy: Taxonomy) -> str:
    text = (
        "The best first. Each is compared with what most of the others drew on the same image, or with the one other. "
        "<i>Own error</i> is the share of pixels that this annotator alone gets wrong, solved from all pairs: whoever "
        "works beside a bad annotator is not blamed for it. Sensitivity and specificity are STAPLE's, of images with "
        "three or more annotators."
    )
    head = ["annotator", "masks", "own error", "agreement", "mean IoU", *map(escape, taxonomy.names), "time for a mask"]
    head.append("most frequent confusions (others: this one)")
    rows = [_annotator(each, taxonomy.names) for each in account.annotators]
    doubt = f"<p><b>{escape(said)}.</b></p>" if (said := order(account.annotators)) else ""
    return f"<h2>Annotators</h2><p>{text}</p>{doubt}{_table(head, rows)}{_staple(account, taxonomy)}"


def _annotator(each: Annotator, names: Sequence[str]) -> list[str]:
    confusions = "; ".join(
        f"{escape(names[mixup.others])}: {escape(names[mixup.drawn])} {mixup.share:.1%}" for mixup in each.mixups
    )
    confusions = f'<div class="text">{confusions}</div>'
    time = "not known" if each.seconds is None else f"{each.seconds:,.0f} s ({each.timed:,} masks)"
    scores = [each.agreement, each.miou, *each.iou.tolist()]
    return [escape(each.name), f"{each.items:,}", _error(each.own_error), *map(_score, scores), time, confusions]


def _staple(account: Report, taxonomy: Taxonomy) -> str:
    rows = [
        [
            escape(each.name),
            *(f"{_score(a)} / {_score(b)}" for a, b in zip(each.sensitivity, each.specificity, strict=True)),
        ]
        for each in account.annotators
        if each.sensitivity is not None and each.specificity is not None
    ]
    head = ["sensitivity / specificity by STAPLE", *map(escape, taxonomy.names)]
    return _table(head, rows) if rows else ""


def _between(account: Report) -> str:
    rows = [
        [_names(each.names), f"{each.masks:,}"]
        + [_score(value) for value in (each.agreement, each.kappa, each.miou, *each.iou.values())]
        for each in account.between
    ]
    names = [escape(row.name) for row in account.classes]
    head = ["annotators", "images", "agreement", "Cohen's kappa", "mean IoU", *(f"IoU {name}" for name in names)]
    return f"<h2>Who agrees with whom</h2>{_table(head, rows)}"


def _names(names: tuple[str, str]) -> str:
    first, second = (escape(name) for name in names)
    return f"{first} with itself" if names[0] == names[1] != UNNAMED else f"{first} and {second}"


def _looks(account: Report, taxonomy: Taxonomy, pictures: Mapping[int, Sequence[Panel]]) -> str:
    title = "<h2>Pairs that need a third look</h2>"
    if not account.looks:
        return f"{title}<p>None.</p>"
    key = "".join(f'<span style="border-color: {each.colour}">{escape(each.name)}</span>' for each in taxonomy.classes)
    figures = "".join(_figure(account, place, panels, taxonomy) for place, panels in sorted(pictures.items()))
    without = [place for place in range(len(account.looks)) if place not in pictures]
    rest = "".join(
        f"<li><b>{escape(' / '.join(account.looks[place].items))}</b>: "
        f"{escape(reason(account.looks[place], taxonomy.names))}</li>"
        for place in without
    )
    more = f"<p>{account.more_looks:,} more are in pairs.parquet.</p>" if account.more_looks else ""
    return f'{title}<p class="key">{key}</p>{figures}<ul>{rest}</ul>{more}'


def _figure(account: Report, place: int, panels: Sequence[Panel], taxonomy: Taxonomy) -> str:
    row = account.looks[place]
    shown = "".join(
        f'<div><span>{escape(each.title)}</span><img src="pictures/{escape(each.file)}" alt="{escape(each.title)}" '
        'loading="lazy"></div>'
        for each in panels
    )
    text = escape(reason(row, taxonomy.names))
    caption = f"<b>{escape(' / '.join(row.items))}</b>: {text}"
    return f'<figure><figcaption>{caption}</figcaption><div class="panels">{shown}</div></figure>\n'


def _problems(account: Report) -> str:
    if not account.problems:
        return ""
    lines = "".join(f"<li>{escape(item)}: {escape(why)}</li>" for item, why in account.problems.items())
    return f"<h2>Not compared</h2><ul>{lines}</ul>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{top}</tr>{body}</table></div>'


def _score(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.3f}"  # noqa: PLR0124, RUF001 - NaN; a dash


def _error(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "not known"
    ends = "" if figure.low is None or figure.high is None else f"{figure.low:.2%} to {figure.high:.2%}"
    return f'{figure.value:.2%} <br><span class="range">{ends}</span>'


def _range(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return "interval not known"
    return f"{figure.low:.3f} to {figure.high:.3f}"


def _span(figure: Figure) -> str:
    return "" if figure.low is None else f'<br><span class="range">{_range(figure)}</span>'
