"""How well near-duplicates are told from other pairs: by the hash alone, and by hash and pixels. Run with python -m.

Takes datasets as NAME=FOLDER, such as demo=data/demo camvid=data/dataset. A demo made with `near_duplicate_rate` and
`near_duplicates_across_groups: true` has planted pairs, which its truth.parquet names.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from benchmarks.comparison import report
from benchmarks.scale import rough
from pipeline.command import progress
from pipeline.files import write_atomic
from pipeline.images import Limits, decode_image
from pipeline.near_duplicates import close_pairs, parse_hashes
from pipeline.parts import read_index, read_items
from pipeline.thumbnails import correlation, thumbnail

DOCS = Path("docs/near_duplicates.md")
LIMITS = Limits(max_bytes=2**26, max_pixels=10**8)
# Before: the hash alone. Now: a wider hash proposes, pixels decide; both as in params.yaml.
ALONE_BITS, BITS, CORRELATION = 6, 10, 0.93
EDITED, SEED = 350, 0
Pixels = npt.NDArray[np.uint8]
Edit = Callable[[Pixels], Pixels]
INTRO = f"""# How well near-duplicates are found, and how often other pairs are taken for some

`segloop validate` looks for pairs of images with close perceptual hashes, and compares their pixels: thumbnails of 16
by 16, by Pearson's correlation. The table counts pairs. `hash {ALONE_BITS}` is the hash alone, at most {ALONE_BITS} of
64 bits apart; `hash {BITS}` the hash alone at {BITS} bits; `hash {BITS} + pixels` both, with a correlation of
{CORRELATION} or more, as params.yaml has it. For edited copies and planted near-duplicates a share is the share found;
for pairs of different groups it is false alarms. Frames of one group are told apart by neither: what differs little
is found, what moved is not. They are no leak, since groups lie whole on one side.

The pixels earn their place by letting the hash be wider, which finds more of the edited copies: alone it would give
false alarms in any dataset of some size, as among the pictures of random blocks, of which no two are alike.

Not told apart: different moments before a camera that never moves, where hardly a pixel changes. They are
near-duplicates to any look at the whole picture; put them into one group.

"""


@dataclass(frozen=True)
class Look:
    """What is known of the images of a dataset: hashes (N,), thumbnails (N, 256), names and groups."""

    hashes: npt.NDArray[np.uint64]
    thumbnails: Pixels
    index: pd.DataFrame


def main() -> None:
    """Measure, print, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("datasets", nargs="+", help="NAME=FOLDER")
    parser.add_argument("--random", type=int, default=100_000, help="pictures of random blocks")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for entry in options.datasets:
        name, _, folder = entry.partition("=")
        rows += [{"dataset": name, **row} for row in dataset_rows(Path(folder))]
    rows.append({"dataset": "random blocks", **random_row(options.random)})
    report("near_duplicates", "Pairs taken for near-duplicates", rows, ["imagehash", "opencv-python-headless"])
    head = f"| {' | '.join(rows[0])} |\n|{' --- |' * len(rows[0])}\n"
    lines = (f"| {' | '.join(map(str, row.values()))} |\n" for row in rows)
    write_atomic(DOCS, INTRO + head + "".join(lines))


def dataset_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """A row per kind of pair."""
    index = read_index(folder)
    looks, edited = [], {name: ([], []) for name in EDITS}
    every = max(len(index) // EDITED, 1)
    rows = []
    for number, (row, data, _) in enumerate(progress(read_items(folder, index), total=len(index), label=str(folder))):
        image = decode_image(data, LIMITS)
        looks.append(look_at(image))
        rows.append(row)
        if number % every == 0:
            for name, edit in EDITS.items():
                edited[name][0].append(looks[-1])
                edited[name][1].append(look_at(edit(image)))
    for name, (originals, copies) in edited.items():
        first, second = stacked(originals), stacked(copies)
        yield counted(f"edited: {name}", np.bitwise_count(first[0] ^ second[0]), correlation(first[1], second[1]))
    yield from pair_rows(Look(*stacked(looks), pd.DataFrame(rows)), folder)


def pair_rows(look: Look, folder: Path) -> Iterator[dict[str, Any]]:
    """Rows of all pairs, by what the two images have in common."""
    first, second = np.triu_indices(len(look.hashes), 1)
    bits = np.bitwise_count(look.hashes[first] ^ look.hashes[second])
    chunks = np.array_split(np.arange(len(first)), max(len(first) // 20_000, 1))
    alike = np.concatenate([correlation(look.thumbnails[first[c]], look.thumbnails[second[c]]) for c in chunks])
    names, groups = look.index["item_id"].to_numpy(), look.index["group"].to_numpy()
    same = groups[first] == groups[second]
    planted = np.zeros(len(first), bool)
    truth = folder / "truth.parquet"
    if truth.exists():
        pairs = {(row.item_id, json.loads(row.detail)["of"]) for row in pd.read_parquet(truth, columns=[
            "item_id", "kind", "detail"]).query("kind == 'near_duplicate'").itertuples()}  # fmt: skip
        # A planted copy resembles the other frames of its scene too: only copy and original are judged.
        scene = pd.Series(names).str.extract(r"(scene-\d+)")[0].to_numpy()
        planted = np.array([(names[i], names[j]) in pairs or (names[j], names[i]) in pairs
                            for i, j in zip(first, second, strict=True)])  # fmt: skip
        same = scene[first] == scene[second]
    order = look.index.groupby("group")["sequence_index"].rank().to_numpy(np.float64)
    next_to = same & (np.abs(order[first] - order[second]) <= 1)
    for kind, mask in (
        ("planted near-duplicates", planted),
        ("neighbouring frames of a group", next_to & ~planted),
        ("other frames of a group", same & ~next_to & ~planted),
        ("frames of different groups", ~same & ~planted),
    ):
        if mask.any():
            yield counted(kind, bits[mask], alike[mask])


def random_row(count: int) -> dict[str, Any]:
    """All pairs of so many pictures of random blocks, found by the search that validation uses."""
    rng = np.random.default_rng(SEED)
    hashes, thumbnails = stacked(look_at(rough(rng, 3)) for _ in progress(range(count), label="random blocks"))
    pairs = close_pairs(hashes, BITS, lambda first, _: np.zeros_like(first), keep=10)
    pairs = pairs[pairs["place"] < pairs["partner"]]
    alike = correlation(thumbnails[pairs["place"]], thumbnails[pairs["partner"]])
    return counted("different pictures", pairs["bits"].to_numpy(), alike, count * (count - 1) // 2)


def look_at(image: Pixels) -> tuple[int, Pixels]:
    """Hash and thumbnail of an image."""
    [value] = parse_hashes([str(imagehash.phash(Image.fromarray(image).convert("L")))])
    return value, thumbnail(image)


def stacked(looks: Any) -> tuple[npt.NDArray[np.uint64], Pixels]:
    """Hashes and thumbnails of many images."""
    hashes, thumbnails = zip(*looks, strict=True)
    return np.array(hashes, np.uint64), np.stack(thumbnails)


def counted(kind: str, bits: np.ndarray, alike: np.ndarray, pairs: int | None = None) -> dict[str, Any]:
    """A line of the table."""
    total = len(bits) if pairs is None else pairs
    proposed = bits <= BITS
    found = {f"hash {ALONE_BITS}": bits <= ALONE_BITS, f"hash {BITS}": proposed,
             f"hash {BITS} + pixels": proposed & (alike >= CORRELATION)}  # fmt: skip
    return {"pairs of": kind, "pairs": total} | {name: words(int(each.sum()), total) for name, each in found.items()}


def words(count: int, total: int) -> str:
    """A count and its share."""
    return f"{count} ({count / total:.1%})" if count * 1000 >= total else str(count)


def jpeg(image: Pixels) -> Pixels:
    """Compressed hard."""
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR)  # type: ignore[return-value]


def halved(image: Pixels) -> Pixels:
    """At half the size."""
    return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def brighter(image: Pixels) -> Pixels:
    """Half a stop more light, clipped."""
    return (image * 2**0.5).clip(0, 255).astype(np.uint8)


def cropped(image: Pixels, share: float = 0.03) -> Pixels:
    """Without a margin on each side."""
    y, x = (round(side * share) for side in image.shape[:2])
    return np.ascontiguousarray(image[y : image.shape[0] - y, x : image.shape[1] - x])


def shifted(image: Pixels) -> Pixels:
    """The camera turned by 2% of the width."""
    move = round(image.shape[1] * 0.02)
    return cv2.copyMakeBorder(image[:, move:], 0, 0, 0, move, cv2.BORDER_REPLICATE)  # type: ignore[return-value]


EDITS: dict[str, Edit] = {
    "JPEG of quality 30": jpeg,
    "half the size": halved,
    "half a stop brighter": brighter,
    "3% cropped on each side": cropped,
    "turned by 2% of the width": shifted,
}


if __name__ == "__main__":
    main()
