"""Tests of the task's parts: schedule, optimiser groups, what a validation counts."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from training.losses import build_loss
from training.meter import Meter
from training.metrics import mean_iou
from training.task import Normaliser, parameter_groups, warmup_cosine

LOSS = build_loss({"cross_entropy": 1.0}, 3, boundary_px=1, focal_gamma=2.0)


def test_the_learning_rate_rises_then_falls() -> None:
    """It rises linearly over the warm-up, peaks once, and ends at its final share."""
    rates = [warmup_cosine(step, 10, 100, 0.1) for step in range(101)]
    assert np.diff(rates[:11]) == pytest.approx(1 / 11)
    assert max(rates) == rates[10] == 1.0
    assert all(np.diff(rates[10:]) < 0)
    assert rates[100] == pytest.approx(0.1)


def test_vectors_do_not_decay() -> None:
    """Biases and normalisation are in the group without weight decay; every parameter is in one group."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    decayed, kept = parameter_groups(network, 0.1)
    assert [each.shape for each in decayed["params"]] == [(4, 3, 3, 3)]
    assert decayed["weight_decay"] == 0.1
    assert len(kept["params"]) == 3
    assert kept["weight_decay"] == 0.0


@pytest.mark.parametrize("channels_last", [False, True])
def test_normalised_images_have_zero_mean_and_unit_deviation(channels_last: bool) -> None:
    """The statistics are in [0, 1], the images uint8; the memory order is the one asked for."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    shares = images.float() / 255
    normaliser = Normaliser(
        shares.mean(dim=(0, 2, 3)).tolist(), shares.std(dim=(0, 2, 3)).tolist(), channels_last=channels_last
    )
    normal = normaliser(images)
    assert normal.mean(dim=(0, 2, 3)) == pytest.approx(torch.zeros(3), abs=1e-5)
    assert normal.std(dim=(0, 2, 3)) == pytest.approx(torch.ones(3), abs=1e-5)
    assert normal.is_contiguous(memory_format=torch.channels_last) == channels_last


def test_the_meter_counts_what_a_slow_count_counts() -> None:
    """Void pixels are left out; mIoU, IoU by class and accuracy equal those of a matrix counted pixel by pixel."""
    torch.manual_seed(0)
    logits = torch.randn(4, 3, 6, 6)
    target = torch.randint(0, 3, (4, 6, 6))
    target[0, :2] = 255
    matrix = np.zeros((3, 3), dtype=np.int64)
    for truth, predicted in zip(target.flatten().tolist(), logits.argmax(1).flatten().tolist(), strict=True):
        if truth != 255:
            matrix[truth, predicted] += 1
    meter = Meter(["a", "b", "c"], 255)
    for part in (slice(0, 3), slice(3, 4)):
        meter.count(logits[part], target[part], LOSS)
    metrics = meter.metrics(lambda total: total)
    assert metrics["val_miou"] == pytest.approx(float(mean_iou(matrix)))
    assert metrics["val_pixel_accuracy"] == pytest.approx(matrix.trace() / matrix.sum())


def test_void_padding_changes_no_metric() -> None:
    """A tile that is all void, as given to even out processes, counts for nothing."""
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 6, 6), torch.randint(0, 3, (2, 6, 6))
    plain, padded = Meter(["a", "b", "c"], 255), Meter(["a", "b", "c"], 255)
    plain.count(logits, target, LOSS)
    padded.count(logits, target, LOSS)
    padded.count(torch.randn(1, 3, 6, 6), torch.full((1, 6, 6), 255), LOSS)
    assert plain.metrics(lambda total: total) == pytest.approx(padded.metrics(lambda total: total))


def test_an_absent_class_is_undefined() -> None:
    """A class in neither truth nor prediction is NaN and does not enter the mean."""
    meter = Meter(["a", "b", "c"], 255)
    target = torch.randint(0, 2, (1, 4, 4))
    logits = torch.nn.functional.one_hot(target, 3).permute(0, 3, 1, 2).float() * 9
    meter.count(logits, target, LOSS)
    metrics = meter.metrics(lambda total: total)
    assert math.isnan(metrics["val_iou/c"])
    assert metrics["val_miou"] == 1.0
