"""Lays a dossier out as one HTML page that needs nothing else."""

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from pipeline.dossiers.charts import legend_mark, swatch
from pipeline.dossiers.choices import choose
from pipeline.dossiers.content import Dossier, assemble
from pipeline.dossiers.inputs import DossierInputs
from pipeline.dossiers.pictures import Gallery, Level, take_album
from pipeline.dossiers.sides import Evidence, open_listed, open_sides
from pipeline.dossiers.wording import counted, moment
from pipeline.errors import UserError

if TYPE_CHECKING:
    from jinja2 import Template

HERE = Path(__file__).resolve().parent
# From all pictures at full size down to none; the first that fits is taken.
LEVELS = (
    Level(1.0, 1.0),
    Level(1.0, 0.75),
    Level(0.75, 0.75),
    Level(0.5, 0.75),
    Level(0.5, 0.5),
    Level(0.25, 0.5),
    Level(0.0, 0.5),
)


def build(inputs: DossierInputs) -> str:
    """Builds a version's dossier.

    Args:
        inputs: The verdict and the evidence of both models.

    Returns:
        The page, HTML in UTF-8, at most `max_bytes` long.

    Raises:
        UserError: Evidence is missing, damaged, or not what the verdict was decided on; or the page cannot be made as
            small as wanted.
    """
    candidate, champion = open_sides(inputs)
    holdout = open_listed(inputs)
    dossier = assemble(inputs, holdout, candidate, champion)
    params = inputs.params
    doubts = inputs.verdict.label_noise.doubts
    chosen = choose(candidate, champion, doubts, params.changed_images, params.worst_images)
    album = take_album(inputs, holdout, [side for side in (candidate, champion) if side], chosen)
    template, first = _template(), album.galleries(LEVELS[0])
    for level in LEVELS:
        galleries = first if level is LEVELS[0] else album.galleries(level)
        note = "" if level is LEVELS[0] else _shrunk(first, galleries, level, params.max_bytes)
        page = _render(template, dossier, galleries, note, candidate)
        if len(page.encode()) <= params.max_bytes:
            return page
    raise UserError(
        f"The dossier of {dossier.title} has {len(page.encode()):,} bytes without any picture, wanted are at most "
        f"{params.max_bytes:,}: raise dossier.max_bytes."
    )


def _render(template: "Template", dossier: Dossier, galleries: list[Gallery], note: str, candidate: Evidence) -> str:
    style, script = (Markup((HERE / name).read_text(encoding="utf-8").strip()) for name in ("page.css", "page.js"))  # noqa: S704 - our own files
    return template.render(
        dossier=dossier,
        galleries=galleries,
        size_note=note,
        classes=[(spec, swatch(spec.colour)) for spec in candidate.taxonomy.classes],
        candidate_key=legend_mark("candidate"),
        champion_key=legend_mark("champion"),
        style=style,
        script=script,
        policy=_policy(style, script),
    )


def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"moment": moment, "counted": counted}
    return environment.get_template("page.html.j2")


def _policy(style: str, script: str) -> str:
    """Content security policy: nothing but this very style and script, and pictures inside the page."""
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _shrunk(full: list[Gallery], shown: list[Gallery], level: Level, max_bytes: int) -> str:
    """Says what was left out to stay small."""
    counts = [sum(len(gallery.figures) for gallery in galleries) for galleries in (full, shown)]
    size = f", at {level.size:.0%} of their size" if counts[1] else ""
    return f"To keep this page under {max_bytes / 1e6:g} MB, {counts[1]} of {counts[0]} images are shown{size}."
