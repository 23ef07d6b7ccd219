"""Which accepted images look like one of another split, of another group, or of another side of an earlier state."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.checks import ValidateParams
from pipeline.near_duplicates import close_pairs, parse_hashes
from pipeline.thumbnails import Reader, correlation

# Candidates looked at of an image: where hashes are close but pixels are not, the next may be the twin.
KEEP = 4
# Pairs of thumbnails compared at a time.
CHUNK = 2**14
COLUMNS = ["item_id", "group", "split", "phash", "part", "row_group", "row"]
IN_SPLIT, IN_GROUP, BEFORE, NONE = 0, 1, 2, -1
# Column by kind of pair: of another split, of another group of the same split, of another split in an earlier state.
TWINS = {IN_SPLIT: "twin_in_split", IN_GROUP: "twin_in_group", BEFORE: "twin_before"}


def look_alikes(accepted: pd.DataFrame, former: pd.DataFrame, read: Reader, params: ValidateParams) -> pd.DataFrame:
    """Finds each accepted image's twins: hashes propose, pixels decide.

    Args:
        accepted: Accepted rows of the catalogue with `split`.
        former: Images that the dataset held once and holds no more, the same columns.
        read: Reads thumbnails.
        params: How close hashes and pixels must be.

    Returns:
        A row per accepted image, in order: `twin_in_split`, `twin_in_group` and `twin_before`, each the nearest twin of
        its kind in words (name, side, how alike), null without one.
    """
    rows = pd.concat([accepted[COLUMNS], former[COLUMNS]], ignore_index=True)
    pairs = _confirmed(rows, _candidates(rows, len(accepted), params.near_duplicate_bits), read, params)
    pairs = pairs[pairs["place"] < len(accepted)].sort_values(
        ["place", "kind", "correlation", "bits", "partner"], ascending=[True, True, False, True, True]
    )
    nearest = pairs.drop_duplicates(["place", "kind"])
    words = {name: np.full(len(accepted), None, dtype=object) for name in TWINS.values()}
    for pair in nearest.to_dict("records"):
        words[TWINS[pair["kind"]]][pair["place"]] = _words(rows, pair)
    return pd.DataFrame(words, index=accepted.index)


def _candidates(rows: pd.DataFrame, current: int, most_bits: int) -> pd.DataFrame:
    split, group = (pd.factorize(rows[name])[0] for name in ("split", "group"))

    def kind(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        apart, gone = split[first] != split[second], second >= current
        now = np.where(apart, IN_SPLIT, np.where(group[first] != group[second], IN_GROUP, NONE))
        kinds = np.where(gone, np.where(apart, BEFORE, NONE), now)
        return np.where(first >= current, NONE, kinds)

    return close_pairs(parse_hashes(rows["phash"]), most_bits, kind, KEEP)


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
