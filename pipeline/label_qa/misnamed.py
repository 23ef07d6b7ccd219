"""How unlikely the class of each object is, by the objects of other groups: trees vote that never saw its own group."""

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float16]
Scores = npt.NDArray[np.float64]

FOLDS = 5
TREES = 100
LEAST_LEAF = 2
MOST_TAUGHT = 50_000  # objects that the trees learn from; more change little and cost much
LEAST_SHARE = 1e-3  # of the votes: what none voted for is not impossible
FEWEST = 50  # objects below which nothing can be learnt


def unlikeliness(
    features: Features, labels: npt.NDArray[np.uint8], groups: npt.NDArray[np.intp], seed: int = 0
) -> tuple[Scores, npt.NDArray[np.uint8]]:
    """How much better another class fits each object than the one that it was drawn in.

    The log of the ratio of the votes, by extremely randomised trees (Geurts et al. 2006) that learnt from the objects
    of other groups only, so that an object cannot vote for itself. They learn from wrong classes too; those are few.

    Args:
        features: Shape (K, D).
        labels: Shape (K,): the classes they were drawn in.
        groups: Shape (K,), in the order of the frames: what must not be torn apart; of a single group, stretches.
        seed: Of the trees.

    Returns:
        Shape (K,): 0 where no class fits better; NaN where too little could be learnt. And the class that fits best.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    best, score = labels.copy(), np.full(len(labels), np.nan)
    fold = _folds(groups)
    rng = np.random.default_rng(seed)
    for number in np.unique(fold):
        judged, taught = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        if len(taught) < FEWEST or len(np.unique(labels[taught])) < 2:  # noqa: PLR2004 - there must be a choice
            continue
        taught = rng.permutation(taught)[:MOST_TAUGHT]
        trees = ExtraTreesClassifier(TREES, min_samples_leaf=LEAST_LEAF, random_state=seed)
        votes = trees.fit(features[taught], labels[taught]).predict_proba(features[judged])
        votes = np.maximum(votes, LEAST_SHARE)
        place = np.searchsorted(trees.classes_, labels[judged])
        known = (place < len(trees.classes_)) & (trees.classes_[place % len(trees.classes_)] == labels[judged])
        own = np.where(known, votes[np.arange(len(judged)), place % votes.shape[1]], LEAST_SHARE)
        score[judged] = np.log(votes.max(axis=1) / own)
        best[judged] = trees.classes_[votes.argmax(axis=1)]
    return score, best


def _folds(groups: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Whole groups where there are enough, else stretches of the order given."""
    _, group = np.unique(groups, return_inverse=True)
    if group.max(initial=0) + 1 >= 2 * FOLDS:
        return group.astype(np.intp) % FOLDS
    return (np.arange(len(groups)) * FOLDS // max(len(groups), 1)).astype(np.intp)
