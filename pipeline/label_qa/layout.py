"""Whether two classes of a mask have changed places, by where in the picture each class usually is."""

from itertools import combinations

import numpy as np
import numpy.typing as npt

CELLS = 16  # of the grid, along each side
FEWEST = 20  # masks below which it is not known where a class usually is


def layout(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The mask on a coarse grid: the class at the middle of each cell. Shape: (16, 16)."""
    rows, columns = ((np.arange(CELLS) + 0.5) * side / CELLS for side in mask.shape)
    found: npt.NDArray[np.uint8] = mask[rows.astype(np.intp)[:, None], columns.astype(np.intp)]
    return found


def exchanged(
    layouts: npt.NDArray[np.uint8], num_classes: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
    """How much better each mask would fit the others if two of its classes changed places.

    The others say how often a class lies in a cell; an inverted mask is one whose two classes changed places.

    Args:
        layouts: Shape (N, 16, 16).
        num_classes: C; larger values are void.

    Returns:
        Shape (N,): the log-likelihood ratio by the best exchange, in nats, at least 0; NaN with few masks. And the
        two classes, (N, 2).
    """
    count = len(layouts)
    gain, pairs = np.zeros(count), np.zeros((count, 2), np.uint8)
    if count < FEWEST:
        return np.full(count, np.nan), pairs
    flat = layouts.reshape(count, -1)
    cells = np.arange(flat.shape[1])
    given = np.zeros((flat.shape[1], num_classes))
    for each in range(num_classes):
        given[:, each] = (flat == each).sum(axis=0)
    for number, own in enumerate(flat):
        known = own < num_classes
        others = given.copy()
        others[cells[known], own[known]] -= 1  # a mask does not speak for itself
        chance = np.log((others + 1) / (others.sum(axis=1, keepdims=True) + num_classes))
        for one, other in combinations(np.unique(own[known]), 2):
            turn = (chance[:, other] - chance[:, one]) * (own == one) + (chance[:, one] - chance[:, other]) * (
                own == other
            )
            if turn.sum() > gain[number]:
                gain[number], pairs[number] = turn.sum(), (one, other)
    return gain, pairs
