"""Label faults: each does to the mask what its truth says, and nothing else."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from pipeline.demo.faults import (
    FaultRates,
    FaultSizes,
    draw_kind,
    fault_weights,
    inject,
    jitter,
)

SIZES = FaultSizes(shift_px=10, dilate_px=2, coarse_px=4, min_object_px=20)
RATES = FaultRates(shifted=0.1, swapped=0.1, missing=0.1, dilated=0.1, coarse=0.1, empty=0.1)


@pytest.fixture
def mask() -> np.ndarray:
    """Background above floor, a round pallet, a human, and a speck of an obstacle."""
    rows, columns = np.mgrid[0:80, 0:100]
    drawn = np.where(rows < 30, 0, 1).astype(np.uint8)
    drawn[(rows - 50) ** 2 + (columns - 30) ** 2 < 200] = 2
    drawn[25:60, 70:80] = 3
    drawn[70:72, 50:52] = 4
    return drawn


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(5)


@pytest.mark.parametrize("kind", FaultRates.model_fields)
def test_truth_names_every_changed_pixel(kind: str, mask: np.ndarray, rng: np.random.Generator) -> None:
    """The bounding box holds all changed pixels tightly, and their count is right."""
    clean = mask.copy()
    faulty, fault = inject(mask, kind, SIZES, rng)
    assert fault is not None
    rows, columns = np.nonzero(faulty != clean)
    x, y, width, height = fault.bbox
    assert (x, y) == (columns.min(), rows.min())
    assert (x + width - 1, y + height - 1) == (columns.max(), rows.max())
    assert fault.changed_px == len(rows)
    assert fault.kind == kind
    assert faulty.dtype == np.uint8
    np.testing.assert_array_equal(mask, clean)


def test_shifted_moves_by_the_vector_of_the_truth(mask: np.ndarray, rng: np.random.Generator) -> None:
    """The inside of a shifted mask is the clean one moved by dx, dy, between half and all of the size."""
    faulty, fault = inject(mask, "shifted", SIZES, rng)
    assert fault is not None
    dx, dy = fault.detail["dx"], fault.detail["dy"]
    assert 4 <= np.hypot(dx, dy) <= 11
    np.testing.assert_array_equal(faulty[20:60, 20:80], mask[20 - dy : 60 - dy, 20 - dx : 80 - dx])


def test_swapped_relabels_one_whole_object(mask: np.ndarray, rng: np.random.Generator) -> None:
    """Exactly the pixels of one object change, all from the true class to the wrong one."""
    faulty, fault = inject(mask, "swapped", SIZES, rng)
    assert fault is not None
    changed = faulty != mask
    assert set(mask[changed]) == {fault.detail["class"]}
    assert set(faulty[changed]) == {fault.detail["labelled"]}
    np.testing.assert_array_equal(changed, mask == fault.detail["class"])


def test_missing_gives_the_object_to_its_surroundings(mask: np.ndarray, rng: np.random.Generator) -> None:
    """An object vanishes into background and floor, the rest stays."""
    faulty, fault = inject(mask, "missing", SIZES, rng)
    assert fault is not None
    assert fault.detail["class"] not in faulty
    assert set(faulty[faulty != mask]) <= {0, 1}


def test_specks_are_no_objects(mask: np.ndarray) -> None:
    """Objects below the smallest size are neither swapped nor left out."""
    for seed in range(30):
        _, fault = inject(mask, "swapped", SIZES, np.random.default_rng(seed))
        assert fault is not None
        assert fault.detail["class"] in {2, 3}


def test_dilated_only_grows_objects(mask: np.ndarray, rng: np.random.Generator) -> None:
    """Dilation adds object pixels around objects and takes none away."""
    faulty, _ = inject(mask, "dilated", SIZES, rng)
    np.testing.assert_array_equal(faulty[mask >= 2], mask[mask >= 2])
    assert (faulty >= 2).sum() > (mask >= 2).sum()


def test_coarse_stays_near_the_outline(mask: np.ndarray, rng: np.random.Generator) -> None:
    """A coarse polygon strays from the outline by no more than its size and a pixel."""
    faulty, _ = inject(mask, "coarse", SIZES, rng)
    pallet = (mask == 2).astype(np.uint8)
    from_outline = np.maximum(distance_transform_edt(pallet), distance_transform_edt(1 - pallet))
    changed = pallet != (faulty == 2)
    assert changed.any()
    assert from_outline[changed].max() <= SIZES.coarse_px + 1


def test_empty_is_background_only(mask: np.ndarray, rng: np.random.Generator) -> None:
    """An empty annotation is background everywhere."""
    faulty, _ = inject(mask, "empty", SIZES, rng)
    assert not faulty.any()


@pytest.mark.parametrize("kind", ["swapped", "missing", "dilated", "coarse"])
def test_no_object_no_fault(kind: str, rng: np.random.Generator) -> None:
    """Where there is no object, faults of objects change nothing and claim nothing."""
    floor = np.ones((40, 40), np.uint8)
    faulty, fault = inject(floor, kind, SIZES, rng)
    assert fault is None
    np.testing.assert_array_equal(faulty, floor)


def test_a_frame_full_of_objects_has_no_surroundings(rng: np.random.Generator) -> None:
    """A mask that is one object loses it to the background rather than failing."""
    faulty, fault = inject(np.full((40, 40), 3, np.uint8), "missing", SIZES, rng)
    assert fault is not None
    assert not faulty.any()


def test_jitter_grows_with_its_amplitude(mask: np.ndarray) -> None:
    """No amplitude, no change; more of it changes more pixels."""
    untouched, none = jitter(mask, 0.0, np.random.default_rng(1))
    assert none is None
    np.testing.assert_array_equal(untouched, mask)
    changed = []
    for amplitude in (0.5, 1.5, 4.0):
        _, fault = jitter(mask, amplitude, np.random.default_rng(1))
        assert fault is not None
        changed.append(fault.changed_px)
    assert changed == sorted(changed)


def test_rates_hold_on_average_over_annotators() -> None:
    """Annotators err in proportion to what they lack in skill, and the dataset's rates are as stated."""
    weights = fault_weights({"ada": 1.0, "ben": 0.75, "cem": 0.25})
    assert weights == {"ada": 0.0, "ben": 0.75, "cem": 2.25}
    assert fault_weights({"ada": 1.0}) == {"ada": 0.0}
    rng = np.random.default_rng(0)
    rates = RATES.model_copy(update={"swapped": 0.0})
    drawn = [draw_kind(rng, rates, 0.75) for _ in range(4000)]
    assert drawn.count("swapped") == 0
    for kind in ("shifted", "missing", "empty"):
        assert drawn.count(kind) / 4000 == pytest.approx(0.075, abs=0.015)
