"""Boxes, crops and the way back to the photo."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fercli.ops.geometry import crop, face, grow, overlap, scaled, shrink, square

BOXES = hnp.arrays(np.float32, (3, 4), elements=st.floats(1, 500, width=32))
GRAY = np.random.default_rng(7).integers(0, 256, (30, 40), dtype=np.uint8)


def centre(box: np.ndarray) -> np.ndarray:
    return box[..., :2] + box[..., 2:] / 2


def test_grow_adds_the_margin_on_every_side() -> None:
    assert grow(np.array([10.0, 20, 100, 200]), 0.1).tolist() == pytest.approx([0, 0, 120, 240])


@given(BOXES, st.floats(0, 2))
def test_grow_and_square_keep_the_centre(box: np.ndarray, margin: float) -> None:
    for changed in (grow(box, margin), square(box)):
        assert centre(changed) == pytest.approx(centre(box), rel=1e-4, abs=1e-3)


@given(BOXES)
def test_a_square_is_the_smallest_around_its_box(box: np.ndarray) -> None:
    made = square(box)
    assert np.array_equal(made[:, 2], made[:, 3])
    assert np.array_equal(made[:, 2], box[:, 2:].max(axis=1))


def test_a_crop_within_the_image_is_its_pixels() -> None:
    assert np.array_equal(crop(GRAY, np.array([3, 5, 11, 7])), GRAY[5:12, 3:14])
    assert np.array_equal(crop(GRAY, np.array([2.6, 4.5, 11.2, 6.9])), GRAY[5:12, 3:14])


@given(st.integers(-60, 60), st.integers(-60, 60), st.integers(1, 50), st.integers(1, 50))
def test_a_crop_beyond_the_image_repeats_its_edge(x: int, y: int, w: int, h: int) -> None:
    padded = np.pad(GRAY, 120, mode="edge")
    assert np.array_equal(crop(GRAY, np.array([x, y, w, h])), padded[y + 120 : y + h + 120, x + 120 : x + w + 120])


def test_a_crop_of_colour_has_its_channels_and_the_least_crop_is_a_pixel() -> None:
    colour = np.stack([GRAY, GRAY // 2, GRAY // 3], axis=-1)
    assert np.array_equal(crop(colour, np.array([-2, 0, 5, 5]))[..., 1], crop(GRAY // 2, np.array([-2, 0, 5, 5])))
    assert crop(GRAY, np.array([4, 4, 0.1, 0.1])).tolist() == [[GRAY[4, 4]]]


@given(st.integers(1, 300), st.integers(1, 300), st.integers(10, 100))
def test_shrink_bounds_the_longer_side_and_boxes_map_back(height: int, width: int, longest: int) -> None:
    image = np.zeros((height, width), np.uint8)
    small, factor = shrink(image, longest)
    assert max(small.shape) == min(longest, max(height, width))
    assert factor == max(1, max(height, width) / longest)
    everything = np.array([[0, 0, small.shape[1], small.shape[0]]])
    assert np.abs(scaled(everything, factor)[0, 2:] - [width, height]).max() <= max(1, factor)
    if factor == 1:
        assert small is image


def test_shrink_maps_a_box_to_the_place_it_was_found_at() -> None:
    image = np.zeros((400, 800), np.uint8)
    image[200:240, 400:480] = 255
    small, factor = shrink(image, 200)
    y, x = np.nonzero(small > 127)
    box = np.array([[x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]])
    assert scaled(box, factor).tolist() == [[400, 200, 80, 40]]
    assert scaled(box, factor).dtype == np.float32


def test_a_face_is_a_square_of_the_size_with_its_shape_kept() -> None:
    image = np.zeros((100, 100), np.uint8)
    image[40:60, 30:70] = 255  # 40 wide, 20 high
    found = face(image, np.array([30, 40, 40, 20]), 0.0, 20)
    assert found.shape == (20, 20)
    assert (found == 255).sum(axis=0).tolist() == [10] * 20  # half the height, all the width
    wide = face(image, np.array([30, 40, 40, 20]), 0.5, 20)
    assert int(wide.sum()) == pytest.approx(255 * 10 * 5, rel=0.01)  # the box is half as large in it


def test_overlap_of_all_pairs_is_the_shared_area_over_the_joint_one() -> None:
    one = np.array([[0, 0, 10, 10], [5, 0, 10, 10]], np.float32)
    other = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [20, 0, 5, 5], [0, 0, 0, 0]], np.float32)
    found = overlap(one[:, None], other)
    assert found == pytest.approx(np.array([[1, 1 / 2, 0, 0], [1 / 3, 25 / 125, 0, 0]]))
    assert overlap(other[3], other[3]) == 0


@given(BOXES, BOXES)
def test_overlap_is_a_share_and_the_same_both_ways(one: np.ndarray, other: np.ndarray) -> None:
    found = overlap(one, other)
    assert ((found >= 0) & (found <= 1)).all()
    assert (found == overlap(other, one)).all()
    assert overlap(one, one) == pytest.approx(1)
