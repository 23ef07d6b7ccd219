"""Rendering: what a scene shows, what a frame changes, what a shift of the appearance leaves alone."""

import numpy as np
import pytest

from pipeline.demo.camera import CAMERAS, clip_near, look
from pipeline.demo.canvas import HUMAN, OBSTACLE, PALLET, Canvas
from pipeline.demo.light import LIGHTINGS, Shift
from pipeline.demo.scene import Frame, SceneOptions, render

NO_SHIFT = Shift(brightness=0, contrast=0, colour=0, blur=0, noise=0, texture=0)
SHIFTS = [
    {"brightness": -0.7},
    {"contrast": 0.6},
    {"colour": 0.8},
    {"blur": 1.2},
    {"noise": 0.06},
    {"texture": 0.7},
]


def frames(scene: int, **changes: float) -> list[Frame]:
    """The frames of a small scene."""
    shift = NO_SHIFT.model_copy(update=changes)
    return list(render(SceneOptions(3, 2, (160, 120), 0.6, shift), scene))


def test_same_seed_same_scene() -> None:
    """A scene depends on its options and its number alone."""
    for first, second in zip(frames(4), frames(4), strict=True):
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.mask, second.mask)


def test_scenes_and_frames_differ() -> None:
    """No two scenes look alike, nor do two frames of one scene, which share camera and lighting."""
    first, second = frames(1)
    assert (first.camera, first.lighting) == (second.camera, second.lighting)
    assert (first.image != second.image).mean() > 0.2
    assert (first.mask != frames(2)[0].mask).mean() > 0.01


def test_shapes_and_classes() -> None:
    """Pictures are uint8 RGB and masks uint8 class ids of the size asked for."""
    for frame in frames(5):
        assert frame.image.shape == (120, 160, 3)
        assert frame.image.dtype == frame.mask.dtype == np.uint8
        assert frame.mask.shape == (120, 160)
        assert frame.mask.max() <= OBSTACLE


def test_humans_are_rare_and_other_things_common() -> None:
    """Humans fill about a hundredth of the pixels and show in under 60% of the frames; pallets in most."""
    masks = np.stack([frame.mask for scene in range(40) for frame in frames(scene)])
    shares = np.bincount(masks.ravel(), minlength=5) / masks.size
    present = [(masks == label).any(axis=(1, 2)).mean() for label in range(5)]
    assert 0.005 < shares[HUMAN] < 0.03
    assert 0.30 < present[HUMAN] < 0.60
    assert present[PALLET] > 0.9
    assert present[OBSTACLE] > 0.5


def test_all_cameras_and_lightings_appear() -> None:
    """Over some scenes every camera and every lighting comes up."""
    seen = [frame for scene in range(40) for frame in frames(scene)[:1]]
    assert {frame.camera for frame in seen} == {camera.name for camera in CAMERAS}
    assert {frame.lighting for frame in seen} == {lighting.name for lighting in LIGHTINGS}


@pytest.mark.parametrize("change", SHIFTS, ids=lambda change: next(iter(change)))
def test_shift_changes_the_picture_and_not_the_mask(change: dict[str, float]) -> None:
    """Each knob of the appearance changes pixels and leaves every mask as it was."""
    for usual, shifted in zip(frames(6), frames(6, **change), strict=True):
        np.testing.assert_array_equal(usual.mask, shifted.mask)
        assert (usual.image != shifted.image).mean() > 0.005


def test_stronger_brightness_is_brighter() -> None:
    """The strength orders the effect, and its sign says in which direction it goes."""
    means = [frames(6, brightness=strength)[0].image.mean() for strength in (-1.0, -0.4, 0.0, 0.4, 1.0)]
    assert means == sorted(means)


def test_novel_texture_stays_on_pallets_and_obstacles() -> None:
    """The novel surface shows where pallets and obstacles are, and nowhere else but for the lens's blur."""
    usual, shifted = frames(6)[0], frames(6, texture=1.0)[0]
    changed = np.abs(usual.image.astype(int) - shifted.image).max(axis=2) > 12
    assert changed.any()
    assert np.isin(usual.mask[changed], [PALLET, OBSTACLE]).mean() > 0.9


def test_projection_agrees_with_homography() -> None:
    """A point of a plane lands on the same pixel whether projected as a point or through the homography."""
    view = look(CAMERAS[0], (320, 240), 0.2, 0.0, (5.0, 1.0))
    plane = np.array([[2.0, 0, 0], [0, 0, 3.0], [-1.0, 0.5, 4.0]]).T
    across, down = 0.3, 0.8
    expected = view.project((plane @ [across, down, 1.0])[None])[0]
    mapped = view.homography(plane) @ [across, down, 1.0]
    np.testing.assert_allclose(mapped[:2] / mapped[2], expected)


def test_higher_points_appear_higher() -> None:
    """Pictures are upright: what is higher in the world has a smaller row."""
    view = look(CAMERAS[3], (320, 240), 0.0, 0.0, (0.0, 0.0))
    low, high = view.project(np.array([[0.0, 0, 6], [0.0, 2, 6]]))
    left, right = view.project(np.array([[-1.0, 1, 6], [1.0, 1, 6]]))
    assert high[1] < low[1]
    assert left[0] < right[0]


def test_clipping_keeps_what_is_in_front() -> None:
    """A polygon through the camera loses the part behind it; one wholly behind vanishes."""
    triangle = np.array([[0.0, 0, 1], [1.0, 0, 1], [0.0, 1, -1]])
    assert (clip_near(triangle)[:, 2] > 0).all()
    assert len(clip_near(triangle - [0, 0, 5])) == 0


def test_picture_and_mask_agree() -> None:
    """What is drawn in one colour carries one label, pixel for pixel away from the anti-aliased edge."""
    canvas = Canvas.blank(look(CAMERAS[3], (160, 120), 0.0, 0.0, (0.0, 0.0)))
    square = np.array([[100.0, 60], [220.0, 60], [220.0, 180], [100.0, 180]])
    canvas.solid(square, (255, 0, 0), HUMAN, roundness=0)
    picture, mask = canvas.result()
    red = (picture[:, :, 0] > 200) & (picture[:, :, 1] < 20)
    assert (red != (mask == HUMAN)).sum() <= 4 * 62
    assert red.sum() > 3000
