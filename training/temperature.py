"""The calibration temperature: one scalar that makes a network's probabilities believable."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from training.graph import ServingGraph

LEAST, MOST = 0.05, 20.0
# How near to its bounds, in log units, a fit counts as not found: the likelihood keeps improving towards it.
AT_BOUND = 0.01


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature.

    Attributes:
        value: Logits are divided by it; 1 when none could be fitted.
        nll_before: Mean negative log-likelihood at temperature 1, in nats; None without labelled pixels.
        nll_after: The same at `value`.
        pixels: Labelled pixels that it was fitted on.
        note: Why none was fitted; empty when one was.
    """

    value: float
    nll_before: float | None
    nll_after: float | None
    pixels: int
    note: str = ""


def fit_temperature(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]) -> Temperature:
    """Fits the temperature by the likelihood of the labels (Guo et al., ICML 2017, section 4.2).

    Args:
        logits: Shape (P, C), of P labelled pixels.
        labels: Shape (P,), class ids; void left out.

    Returns:
        The temperature. It stays 1, with a note, when nothing is labelled or when the likelihood has no best value
        within reason: a perfect network asks for 0, one that knows nothing for infinity.
    """
    from scipy.optimize import minimize_scalar

    if len(labels) == 0:
        return Temperature(1.0, None, None, 0, "no labelled pixel")
    before = mean_nll(logits, labels, 1.0)
    if not np.isfinite(before):
        return Temperature(1.0, None, None, len(labels), "the logits are not finite")
    found = minimize_scalar(
        lambda log: mean_nll(logits, labels, float(np.exp(log))),
        bounds=(np.log(LEAST), np.log(MOST)),
        method="bounded",
    )
    if min(found.x - np.log(LEAST), np.log(MOST) - found.x) < AT_BOUND:
        note = f"the likelihood improves beyond the temperature {np.exp(found.x):.3g}"
        return Temperature(1.0, before, before, len(labels), note)
    return Temperature(float(np.exp(found.x)), before, float(found.fun), len(labels))


def mean_nll(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8], temperature: float) -> float:
    """Mean negative log-likelihood of labels (P,) under logits (P, C) divided by the temperature, in nats."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(scaled).sum(axis=1))
    return float((log_total - scaled[np.arange(len(labels)), labels]).mean())


def sample_logits(
    graph: ServingGraph, batches: Iterable[npt.NDArray[np.uint8]], pixels: int, ignore_index: int, seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Draws labelled pixels and their logits, the same number from each tile at most, so that memory is bounded.

    Args:
        graph: The graph whose logits are wanted.
        batches: Tiles of shape (B, H, W, 4), uint8: RGB and mask.
        pixels: Most pixels of one tile.
        ignore_index: The void label.
        seed: Seed of the draws.

    Returns:
        Logits of shape (P, C), float32, and labels of shape (P,), uint8.
    """
    rng = np.random.default_rng(seed)
    logits, labels = [], []
    for batch in batches:
        with torch.inference_mode():
            values = graph.logits(torch.from_numpy(batch[..., :3].copy()))[0].permute(0, 2, 3, 1).numpy()
        for tile, mask in zip(values, batch[..., 3], strict=True):
            labelled = np.flatnonzero(mask != ignore_index)
            chosen = rng.choice(labelled, min(pixels, len(labelled)), replace=False)
            logits.append(tile.reshape(-1, tile.shape[-1])[chosen])
            labels.append(mask.ravel()[chosen])
    return np.concatenate(logits), np.concatenate(labels)
