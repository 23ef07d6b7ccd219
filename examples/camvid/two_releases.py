# ruff: noqa: INP001 - a script beside the params that it uses, no package
"""Makes two releases of CamVid in a scratch workspace and writes down how they differ: no picture, only tables.

Between them 20 masks are shifted by 12 px and `fence` becomes void in the 40 masks that have most of it.

    python -m examples.camvid.two_releases CAMVID SCRATCH docs/camvid_releases.md
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent.parent
FENCE, VOID = 7, 11  # as the SegNet tutorial's masks have them
SHIFTED, SHIFT_PX, VOIDED = 20, 12, 40
INGEST = ("--format", "folders", "--source", "camvid", "--group-by", "^([^_]+)_")
HEAD = """# Two releases of CamVid, and how they differ

Made by `python -m examples.camvid.two_releases CAMVID SCRATCH docs/camvid_releases.md`: in a clone of this repository
with a local DVC remote, CamVid is ingested and released as `data/v1`. Then {shifted} masks are shifted by {px} px to
the right and below, and `fence` becomes void in the {voided} masks that have most of it; both are ingested by
`--relabel` and released as `data/v2`. `segloop diff data/v1 data/v2` counts every pixel. The page that it writes
has pictures too; they stay out of here, since CamVid is for research only.
"""


def main() -> None:
    """Makes both releases, compares them, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("camvid", type=Path, help="images/ and masks/, each with train, val and test")
    parser.add_argument("scratch", type=Path, help="an empty or new folder")
    parser.add_argument("page", type=Path, help="the page to write")
    arguments = parser.parse_args()
    workspace = arguments.scratch / "workspace"
    camvid = arguments.camvid.resolve()
    call(arguments.scratch, "git", "clone", "--quiet", str(ROOT), str(workspace))
    call(workspace, "git", "remote", "remove", "origin")  # a release pushes its tag, and this one is nobody's
    for name, value in (("user.name", "CamVid example"), ("user.email", "camvid@localhost")):
        call(workspace, "git", "config", name, value)
    segloop(workspace, "use", "examples/camvid")
    segloop(workspace, "ingest", str(camvid), "--batch", "official", *INGEST, "--accept-split")
    segloop(workspace, "release", "--message", "CamVid as it is published")
    changed = write_relabelled(camvid, arguments.scratch / "relabelled")
    segloop(workspace, "ingest", str(changed), "--batch", "relabelled", *INGEST, "--relabel")
    segloop(workspace, "release", "--message", "masks shifted, fence partly void")
    segloop(workspace, "diff", "data/v1", "data/v2")
    found = json.loads((workspace / "data" / "diff" / "v1-v2" / "diff.json").read_text())
    cards = [json.loads((workspace / "data" / "releases" / f"v{number}.json").read_text()) for number in (1, 2)]
    arguments.page.write_text("\n".join(page(found, cards)) + "\n")


def segloop(workspace: Path, *words: str) -> None:
    """Runs a command of Segloop with the workspace's own code."""
    call(workspace, sys.executable, "-m", "pipeline.cli", *words)


def call(folder: Path, *command: str) -> None:
    """Runs a command, which must succeed."""
    folder.mkdir(parents=True, exist_ok=True)
    print("$", *command, flush=True)
    subprocess.run(command, cwd=folder, check=True)


def write_relabelled(camvid: Path, out: Path) -> Path:
    """Writes the images whose masks change, with their new masks, in the layout `folders`."""
    masks = {file.stem: file for file in sorted((camvid / "masks").rglob("*.png"))}
    images = {file.stem: file for file in (camvid / "images").rglob("*.*")}
    fence = {name: int((read(file) == FENCE).sum()) for name, file in masks.items()}
    voided = sorted(fence, key=lambda name: (-fence[name], name))[:VOIDED]
    others = sorted(masks.keys() - set(voided))
    shifted = others[:: max(1, len(others) // SHIFTED)][:SHIFTED]
    for name in [*voided, *shifted]:
        mask = read(masks[name])
        new = np.where(mask == FENCE, VOID, mask) if name in voided else shift(mask)
        for folder, file, content in (
            ("images", images[name], images[name].read_bytes()),
            ("masks", masks[name], cv2.imencode(".png", new.astype(np.uint8))[1].tobytes()),
        ):
            target = out.resolve() / folder / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return out.resolve()


def read(mask: Path) -> npt.NDArray[np.uint8]:
    """A mask's values. Shape: (H, W), uint8."""
    return np.asarray(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED), dtype=np.uint8)


def shift(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The mask moved to the right and below; what comes in is void. Shape: (H, W), uint8."""
    moved = np.full_like(mask, VOID)
    moved[SHIFT_PX:, SHIFT_PX:] = mask[:-SHIFT_PX, :-SHIFT_PX]
    return moved


def page(found: dict[str, Any], cards: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The page in lines."""
    yield HEAD.format(shifted=SHIFTED, px=SHIFT_PX, voided=VOIDED)
    yield "## The releases\n"
    yield from table(
        ("", *(card["version"] for card in cards)),
        [
            (what, *(f"{card['content'][what]:,}" for card in cards))
            for what in ("items", "groups", "rows", "superseded")
        ],
    )
    yield "\n## Items\n"
    yield from table(("what became of them", "items"), [(name, str(count)) for name, count in found["counts"].items()])
    yield "\n## Relabelled items, pixels by old class (row) and new class (column), in thousands\n"
    agreement = found["agreement"]
    rows = [
        (name, *(f"{count / 1000:,.1f}" if count else "" for count in counts))
        for name, counts in zip(agreement["old"], agreement["px"], strict=True)
    ]
    yield from table(("", *agreement["new"]), rows)
    yield "\n## Classes in the relabelled items\n"
    listed = [(c["name"], percent(c["kept"]), percent(c["iou"]), c["into"] or "nothing") for c in found["classes"]]
    yield from table(("class", "kept", "IoU of old and new", "most lost to"), listed)
    yield "\n## Class shares of all labelled pixels\n"
    shares = [(s["class"], percent(s["old"]), percent(s["new"])) for s in found["class_shares"]]
    yield from table(("class", cards[0]["version"], cards[1]["version"]), shares)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown."""
    for line in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(line) + " |"


def percent(share: float | None) -> str:
    """A share as people read it."""
    return "" if share is None else f"{share:.2%}"


if __name__ == "__main__":
    main()
