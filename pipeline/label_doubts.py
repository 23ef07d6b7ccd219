"""Finds masks of the holdout that two models contradict with one voice."""

from collections.abc import Iterator

import numpy as np

from pipeline.command import progress
from pipeline.evaluate import Holdout
from pipeline.gating.counts import Counts
from pipeline.gating.slo import DoubtParams
from pipeline.gating.verdict import Doubt
from pipeline.holdout_counts import Measuring
from pipeline.images import ImageError
from pipeline.inference import Segmenter
from pipeline.measure import decode_pair


def label_doubts(
    candidate: tuple[Segmenter, Counts], champion: tuple[Segmenter, Counts], measuring: Measuring, params: DoubtParams
) -> list[Doubt]:
    """The images whose mask both models contradict, confidently and alike, most doubtful first.

    Only images on which both are wrong often enough are looked at again.

    Args:
        candidate: Its graph, and its counts.
        champion: The same of the champion, on the same images in the same order.
        measuring: The holdout and how it is read.
        params: What is a doubt.
    """
    suspects = _suspects(candidate[1], champion[1], params.min_share)
    if not suspects or not params.max_images:
        return []
    found = _examined(candidate[0], champion[0], measuring, params, suspects)
    doubts = sorted(found, key=lambda doubt: (-doubt.share, doubt.item_id))
    return [doubt for doubt in doubts if doubt.share >= params.min_share][: params.max_images]


def _suspects(one: Counts, other: Counts, min_share: float) -> list[str]:
    """Images where both are wrong on this share of the labelled pixels: agreement in error is at most the lesser."""
    shares = []
    for counts in (one, other):
        right = np.trace(counts.confusion, axis1=1, axis2=2)
        total = np.maximum(counts.confusion.sum(axis=(1, 2)), 1)
        shares.append(1 - right / total)
    both = np.minimum(*shares) >= min_share
    return [name for name, suspect in zip(one.item_ids, both, strict=True) if suspect]


def _examined(
    one: Segmenter, other: Segmenter, measuring: Measuring, params: DoubtParams, names: list[str]
) -> Iterator[Doubt]:
    holdout: Holdout = measuring.holdout
    for item, image, mask in progress(holdout.read(names), total=len(names), label="label doubts"):
        try:
            pixels, truth = decode_pair(image, mask, measuring.measure_settings)
        except ImageError:
            continue  # listed as failed where it was measured
        first, second = one.predict(pixels), other.predict(pixels)
        labelled = truth != measuring.taxonomy.ignore_index
        sure = (first.confidence >= params.min_confidence) & (second.confidence >= params.min_confidence)
        doubted = labelled & sure & (first.labels == second.labels) & (first.labels != truth)
        count = int(doubted.sum())
        yield Doubt(item_id=item["item_id"], pixels=count, share=count / max(int(labelled.sum()), 1))
