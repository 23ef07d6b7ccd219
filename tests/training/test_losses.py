"""Every loss leaves void out, vanishes for a perfect prediction and survives a batch that is all void."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from training.losses import NAMES, WeightedSum, boundary_band, build_loss

CLASSES, VOID = 4, 255


def loss_of(*names: str, **options: Any) -> WeightedSum:
    """The sum of the named losses with weight 1."""
    return build_loss(dict.fromkeys(names, 1.0), CLASSES, VOID, **{"boundary_px": 2, "focal_gamma": 2.0, **options})


def batch(seed: int, void_share: float = 0.3, size: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that take a gradient and a target with void."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((2, CLASSES, size, size), generator=generator).requires_grad_()
    target = torch.randint(0, CLASSES, (2, size, size), generator=generator)
    return logits, target.masked_fill(torch.rand(target.shape, generator=generator) < void_share, VOID)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**31), void_share=st.sampled_from([0.0, 0.3, 0.95]))
def test_void_has_no_gradient_and_no_say(name: str, seed: int, void_share: float) -> None:
    """Void pixels get a gradient of exactly zero, and their logits do not change the loss."""
    logits, target = batch(seed, void_share)
    loss = loss_of(name)(logits, target)
    loss.backward()
    void = (target == VOID)[:, None].expand_as(logits)
    assert torch.isfinite(loss)
    assert logits.grad.isfinite().all()
    assert (logits.grad[void] == 0).all()
    changed = torch.where(void, logits.detach() * 7 + 3, logits.detach())
    assert loss_of(name)(changed, target).item() == pytest.approx(loss.item(), abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_perfect_prediction_is_near_zero_and_wrong_one_is_not(name: str) -> None:
    """Sure and right costs nothing, sure and wrong costs a lot."""
    _, target = batch(0)
    right = functional.one_hot(target * (target != VOID), CLASSES).permute(0, 3, 1, 2) * 30.0
    assert loss_of(name)(right, target).item() < 1e-5
    assert loss_of(name)(right.roll(1, dims=1), target).item() > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_all_void_is_zero_with_gradient(name: str) -> None:
    """A batch of nothing but void gives a scalar 0 whose gradient is 0, not NaN."""
    logits, target = batch(0, void_share=1.1)
    loss = loss_of(name)(logits, target)
    loss.backward()
    assert loss.shape == ()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_computed_in_float32(name: str) -> None:
    """Logits of half precision under autocast give a finite float32 loss near that of full precision."""
    logits, target = batch(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_of(name)(logits.bfloat16(), target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(loss_of(name)(logits, target).item(), rel=0.02)


def test_weighted_sum_is_the_sum_of_its_parts() -> None:
    """The sum weighs each loss as told."""
    logits, target = batch(2)
    weights = {"cross_entropy": 0.5, "dice": 2.0, "lovasz": 1.5}
    total = build_loss(weights, CLASSES, boundary_px=2, focal_gamma=2.0)(logits, target)
    parts = sum(weight * loss_of(name)(logits, target) for name, weight in weights.items())
    assert total.item() == pytest.approx(parts.item())


def test_class_weights_match_torch() -> None:
    """Weighted cross-entropy is torch's own, and focal scales it by (1 - p)^gamma."""
    logits, target = batch(3)
    class_weights = torch.tensor([1.0, 5.0, 0.0, 2.0])
    expected = functional.cross_entropy(logits, target, class_weights, ignore_index=VOID)
    assert loss_of("cross_entropy", class_weights=class_weights)(logits, target).item() == pytest.approx(
        expected.item(),
        rel=1e-5,
    )
    valid = target != VOID
    surprise = functional.cross_entropy(logits, target, reduction="none", ignore_index=VOID)[valid]
    weight = class_weights[target[valid]]
    focal = (weight * (1 - torch.exp(-surprise)) ** 2 * surprise).sum() / weight.sum()
    assert loss_of("focal", class_weights=class_weights)(logits, target).item() == pytest.approx(focal.item(), rel=1e-4)


def test_boundary_band_is_near_another_class_and_never_void() -> None:
    """The band holds the pixels with another class within reach; void neither makes nor joins a band."""
    target = torch.zeros((1, 5, 12), dtype=torch.int64)
    target[:, :, 6:] = 1
    target[:, 0, :] = VOID
    band = boundary_band(target, 2, VOID)
    assert band[0, 1:].any(dim=0).tolist() == [False] * 4 + [True] * 4 + [False] * 4
    assert not band[0, 0].any()
    assert not boundary_band(torch.full((1, 3, 3), VOID), 1, VOID).any()


def test_mistake_at_a_boundary_costs_more() -> None:
    """Boundary-weighted cross-entropy counts the same mistake more beside a boundary than away from it."""
    target = torch.zeros((1, 8, 24), dtype=torch.int64)
    target[:, :, 12:] = 1
    right = functional.one_hot(target, CLASSES).permute(0, 3, 1, 2) * 10.0

    def cost(column: int) -> float:
        wrong = right.clone()
        wrong[:, :, :, column] = wrong[:, :, :, column].roll(1, dims=1)
        return loss_of("boundary_cross_entropy")(wrong, target).item()

    assert cost(11) > 3 * cost(2)


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        ({}, {}, "name one or more of cross_entropy"),
        ({"hinge": 1.0}, {}, "hinge"),
        ({"dice": -1.0}, {}, "dice is -1.0"),
        ({"focal": 1.0}, {"focal_gamma": float("nan")}, "focal_gamma is nan"),
        ({"dice": 1.0}, {"boundary_px": 0}, "boundary_px is 0"),
        ({"dice": 1.0}, {"class_weights": torch.ones(3)}, "expected 4 numbers"),
    ],
)
def test_wrong_settings_are_named(weights: dict[str, float], options: dict, message: str) -> None:
    """Unknown losses and impossible numbers are errors that show the value."""
    with pytest.raises(ValueError, match=message):
        build_loss(weights, CLASSES, **{"boundary_px": 2, "focal_gamma": 2.0, **options})


def test_mismatched_shapes_are_refused() -> None:
    """Logits of another number of classes or size than the target are an error that shows both shapes."""
    logits, target = batch(0)
    with pytest.raises(ValueError, match=r"\(2, 3, 9, 9\)"):
        loss_of("dice")(logits[:, :3], target)
    with pytest.raises(ValueError, match=r"\(2, 9, 8\)"):
        loss_of("dice")(logits, target[:, :, 1:])
