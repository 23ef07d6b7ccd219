"""Which accepted images look like one of another split, of another group, or of another side of an earlier state."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.checks import ValidateParams
from pipeline.near_duplicates import Labels, close_pairs, parse_hashes
from pipeline.thumbnails import Reader, correlation

# Candidates of an image and kind whose pixels are compared: where those differ, the next may be the twin.
KEEP = 4
# Pairs of thumbnails compared at a time.
CHUNK = 2**14
COLUMNS = ["item_id", "group", "split", "phash", "part", "row_group", "row"]
IN_SPLIT, IN_GROUP, BEFORE, NONE = 0, 1, 2, -1
# Column by kind of pair: of another split, of another group of the same split, of another split in an earlier state.
TWINS = {IN_SPLIT: "twin_in_split", IN_GROUP: "twin_in_group", BEFORE: "twin_before"}
WHERE = {IN_SPLIT: "other splits", IN_GROUP: "other groups of its split", BEFORE: "other splits of before"}


def look_alikes(accepted: pd.DataFrame, former: pd.DataFrame, read: Reader, params: ValidateParams) -> pd.DataFrame:
    """Finds each accepted image's twins: hashes propose, pixels decide.

    Args:
        accepted: Accepted rows of the catalogue with `split`.
        former: Images that the dataset held once and holds no more, the same columns.
        read: Reads thumbnails.
        params: How close hashes and pixels must be.

    Returns:
        A row per accepted image, in order: `twin_in_split`, `twin_in_group` and `twin_before`, each the nearest twin of
        its kind in words (name, side, how alike), null without one; and `uncompared`, where there are further
        candidates than were compared, and no twin among those, null elsewhere.
    """
    rows = pd.concat([accepted[COLUMNS], former[COLUMNS]], ignore_index=True)
    candidates = _candidates(rows, len(accepted), params.near_duplicate_bits)
    candidates = candidates[candidates["place"] < len(accepted)]
    beyond = candidates.groupby(["place", "kind"]).cumcount() >= KEEP
    pairs = _confirmed(rows, candidates[~beyond], read, params).sort_values(
        ["place", "kind", "correlation", "bits", "partner"], ascending=[True, True, False, True, True]
    )
    nearest = pairs.drop_duplicates(["place", "kind"])
    words = {name: np.full(len(accepted), None, dtype=object) for name in TWINS.values()}
    for pair in nearest.to_dict("records"):
        words[TWINS[pair["kind"]]][pair["place"]] = _words(rows, pair)
    words["uncompared"] = _uncompared(candidates[beyond], nearest, len(accepted))
    return pd.DataFrame(words, index=accepted.index)


def _uncompared(beyond: pd.DataFrame, twins: pd.DataFrame, count: int) -> npt.NDArray[np.object_]:
    """Where else there are close hashes than was looked, by image; of a kind of which a twin was found it is no matter.

    Shape: (count,).
    """
    words = np.full(count, None, dtype=object)
    found = set(zip(twins["place"], twins["kind"], strict=True))
    for place, kind in zip(beyond["place"], beyond["kind"], strict=True):
        if (place, kind) not in found:
            words[place] = WHERE[kind] if words[place] is None else f"{words[place]}, and of {WHERE[kind]}"
    return words


def _candidates(rows: pd.DataFrame, current: int, most_bits: int) -> pd.DataFrame:
    split, group = (pd.factorize(rows[name])[0] for name in ("split", "group"))

    def kind(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        apart, gone = split[first] != split[second], second >= current
        now = np.where(apart, IN_SPLIT, np.where(group[first] != group[second], IN_GROUP, NONE))
        kinds = np.where(gone, np.where(apart, BEFORE, NONE), now)
        return np.where(first >= current, NONE, kinds)

    side = 2 * split + (np.arange(len(rows)) >= current)
    return close_pairs(parse_hashes(rows["phash"]), most_bits, kind, KEEP + 1, Labels(side, group))


def _confirmed(rows: pd.DataFrame, pairs: pd.DataFrame, read: Reader, params: ValidateParams) -> pd.DataFrame:
    """The pairs whose thumbnails correlate, with `correlation`."""
    if pairs.empty:
        return pairs.assign(correlation=pd.Series(dtype=np.float64))
    wanted, places = np.unique(pairs[["place", "partner"]].to_numpy(), return_inverse=True)
    thumbnails, places = read(rows.iloc[wanted]), places.reshape(-1, 2)
    found = [
        correlation(thumbnails[chunk[:, 0]], thumbnails[chunk[:, 1]])
        for chunk in np.split(places, range(CHUNK, len(places), CHUNK))
    ]
    pairs = pairs.assign(correlation=np.concatenate(found))
    return pairs[pairs["correlation"] >= params.near_duplicate_correlation]


def _words(rows: pd.DataFrame, pair: dict[Any, Any]) -> str:
    twin = rows.iloc[int(pair["partner"])]
    alike = f"{pair['bits']} of 64 hash bits differ, the pixels correlate by {pair['correlation']:.3f}"
    return f"{twin['item_id']} ({twin['split']}, group '{twin['group']}'): {alike}"
