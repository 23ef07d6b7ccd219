"""Action: compares two releases of the dataset."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field

from pipeline.command import run
from pipeline.files import atomic_dir, refuse_foreign, write_json
from pipeline.images import Limits
from pipeline.params import Section, read_section
from pipeline.releasing.card import card_at
from pipeline.releasing.difference import VOID, Difference, differ, varied
from pipeline.releasing.difference_page import page
from pipeline.releasing.difference_pictures import pictures
from pipeline.releasing.git import Git
from pipeline.releasing.reader import open_release
from pipeline.show import Painting, ShowParams

FOLDER = Path("data/diff")


class DiffParams(Section):
    """Section `diff`: how many of the most changed items are shown, and the longest side of a picture."""

    pictures: int = Field(ge=0)
    picture_px: int = Field(ge=16)


def main(
    old: Annotated[str, typer.Argument(help="The release before: a tag, or any git revision.")],
    new: Annotated[str, typer.Argument(help="The release after.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the report; data/diff/OLD-NEW if not given.")] = None,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Compare two releases: items, labels, class shares, taxonomy.

    Neither is checked out; what the cache lacks is read from the DVC remote.

    Example: segloop diff data/v3 data/v4
    """
    settings = read_section(DiffParams, "diff", params)
    limits = read_section(Limits, "limits", params)
    alpha = read_section(ShowParams, "show", params).alpha
    root, git = Path.cwd(), Git(Path.cwd())
    before, after = open_release(root, old), open_release(root, new)
    difference = differ(before, after, (card_at(git, old), card_at(git, new)), limits)
    folder = out or FOLDER / f"{_plain(old)}-{_plain(new)}"
    refuse_foreign(folder, "diff.json")
    chosen = varied(difference.relabelled, settings.pictures)
    painting = Painting(limits, before.taxonomy.palette(), alpha)
    with atomic_dir(folder) as temporary:
        drawn = list(pictures(before, after, chosen, painting, settings.picture_px))
        for each in drawn:
            (temporary / each.file).write_bytes(each.png)
        write_json(temporary / "diff.json", difference.as_json())
        (temporary / "index.html").write_text(page(difference, drawn), encoding="utf-8")
    show(difference)
    print(folder / "index.html")


def show(difference: Difference) -> None:
    """Prints the counts, what the taxonomy became, and where pixels went."""
    items = difference.items
    print(f"{difference.old.name}: {items.before} items; {difference.new.name}: {items.after} items")
    print(", ".join(f"{count} {name}" for name, count in difference.counts.items()))
    for side in (difference.old, difference.new):
        for sentence in side.losses.sentences:
            print(f"{side.name} is no longer whole: {sentence}")
    for line in difference.taxonomy:
        print(f"taxonomy: {line}")
    for each in difference.classes:
        if each.into and each.name != VOID:
            kept = f"{each.kept or 0:.1%} of its pixels kept in the relabelled items"
            print(f"{each.name}: {kept}, most lost to {each.into}")


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in name.removeprefix("data/"))


if __name__ == "__main__":
    run(main)
