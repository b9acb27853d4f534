"""Alignment: the similarity is that of least squares, and a face comes out upright in its place."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fercli.ops.align import FAR, TEMPLATE, aligned, alignment, similarity
from fercli.ops.geometry import face

numbers = st.floats(-50, 50)


def turned(points: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    turn = np.exp(1j * np.radians(degrees)) * scale
    moved = (points @ [1, 1j]) * turn
    return np.stack([moved.real, moved.imag], axis=1) + shift


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """By singular values, as the paper has it."""
    middle, aim = source.mean(axis=0), target.mean(axis=0)
    left, values, right = np.linalg.svd((target - aim).T @ (source - middle))
    sign = np.diag([1, np.sign(np.linalg.det(left @ right))])
    scale = (values * np.diag(sign)).sum() / ((source - middle) ** 2).sum()
    turn = scale * left @ sign @ right
    return np.column_stack([turn, aim - turn @ middle])


@given(st.floats(-180, 180), st.floats(0.1, 30), st.tuples(numbers, numbers))
def test_a_similarity_is_found_again(degrees: float, scale: float, shift: tuple[float, float]) -> None:
    there = turned(TEMPLATE, degrees, scale, shift)
    found = similarity(TEMPLATE, there)
    assert np.allclose(TEMPLATE @ found[:, :2].T + found[:, 2], there, atol=1e-6)
    assert np.allclose(found[0, 0], found[1, 1])
    assert np.allclose(found[0, 1], -found[1, 0])


@given(st.integers(0, 10_000), st.integers(2, 5))
def test_it_is_the_least_squares_one_of_umeyama(seed: int, count: int) -> None:
    source, target = np.random.default_rng(seed).normal(size=(2, count, 2))
    assert np.allclose(similarity(source, target), umeyama(source, target), atol=1e-8)


def test_the_template_is_symmetric_and_upright() -> None:
    assert np.allclose(TEMPLATE[[1, 0, 2, 4, 3]] * [-1, 1] + [1, 0], TEMPLATE)
    assert TEMPLATE[0, 1] < TEMPLATE[2, 1] < TEMPLATE[3, 1]


def drawn(landmark: np.ndarray, height: int = 240, width: int = 320) -> np.ndarray:
    """A gray picture with a bright blot at each landmark."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    away = np.hypot(columns[..., None] - landmark[:, 0], rows[..., None] - landmark[:, 1]).min(axis=-1)
    return (30 + 200 * np.exp(-((away / 4) ** 2))).astype(np.uint8)


def blots(crop: np.ndarray) -> np.ndarray:
    """The middles of the five brightest blots in a crop, px, by column and then row."""
    _, _, stats, middle = cv2.connectedComponentsWithStats((crop > 110).astype(np.uint8))
    assert len(stats) == 6
    return middle[1:] + 0.5


@pytest.mark.parametrize("degrees", [0, 25, -70])
@pytest.mark.parametrize(("size", "margin"), [(48, 0.0), (200, 0.0), (96, 0.25)])
def test_a_turned_face_comes_out_upright_in_its_place(degrees: float, size: int, margin: float) -> None:
    landmark = turned(TEMPLATE - 0.5, degrees, 130, (150, 118))
    if abs(degrees) > 45:  # beyond, the left eye is not the left one any more
        landmark = turned(TEMPLATE - 0.5, degrees + 30, 130, (150, 118))
    crop = aligned(drawn(landmark), np.array([90, 50, 120, 130]), landmark, margin, size)
    assert crop.shape == (size, size)
    expected = (TEMPLATE + margin) / (1 + 2 * margin) * size
    for place in expected:
        assert np.hypot(*(blots(crop) - place).T).min() < 0.6


def test_colours_stay_and_what_is_beyond_the_image_repeats_its_edge() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    image[..., 1] = 90
    crop = aligned(image, np.array([40, 40, 40, 40]), TEMPLATE * 40 + 40, 0.0, 32)
    assert np.array_equal(crop, np.broadcast_to([0, 90, 0], (32, 32, 3)))


@pytest.mark.parametrize("left", [0, 32_600])
def test_a_face_in_a_panorama_is_that_of_a_small_photo(left: int) -> None:
    landmark = turned(TEMPLATE - 0.5, 20, 130, (150, 118))
    small, box = drawn(landmark), np.array([90, 50, 120, 130])
    wide = np.full((small.shape[0], 33_000), small[0, -1], np.uint8)
    wide[:, left : left + small.shape[1]] = small
    crops = (
        aligned(small, box, landmark, 0.1, 48),
        aligned(wide, box + np.array([left, 0, 0, 0]), landmark + np.array([left, 0]), 0.1, 48),
    )
    assert np.abs(np.subtract(*crops, dtype=int)).max() <= 1


def test_the_eyes_decide_where_nose_and_mouth_do_not_fit() -> None:
    upright = TEMPLATE * 100
    wrong = upright + np.array([[0, 0], [0, 0], [45, -20], [60, 0], [30, 10]])
    assert np.allclose(alignment(wrong, TEMPLATE), similarity(upright[:2], TEMPLATE[:2]))
    near = upright + np.array([[0, 0], [0, 0], [5, 2], [4, 0], [0, 3]])
    assert np.allclose(alignment(near, TEMPLATE), similarity(near, TEMPLATE))
    assert FAR > 0.04


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((5, 2)),
        np.full((5, 2), np.nan),
        (TEMPLATE * 40)[[1, 0, 2, 4, 3]],  # the left eye to the right of the right one
    ],
)
def test_a_face_without_sane_eyes_is_cropped_by_its_box(wrong: np.ndarray) -> None:
    image = np.random.default_rng(1).integers(0, 256, (80, 90), dtype=np.uint8)
    box = np.array([10, 12, 40, 44])
    assert alignment(wrong, TEMPLATE) is None
    assert np.array_equal(aligned(image, box, wrong, 0.1, 48), face(image, box, 0.1, 48))
