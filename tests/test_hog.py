"""HOG features: size, range, and that they are OpenCV's for each image alone."""

import cv2
import numpy as np
import pytest

from fercli.errors import DataError
from fercli.ops.hog import FEATURES, hog


def images(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, height, width), dtype=np.uint8)


def test_features_at_48_are_those_of_opencv() -> None:
    gray = images(20, 48, 48)
    reference = cv2.HOGDescriptor((48, 48), (16, 16), (8, 8), (8, 8), 9)
    found = hog(gray)
    assert found.dtype == np.float32
    assert np.array_equal(found, [reference.compute(image).ravel() for image in gray])


@pytest.mark.parametrize("size", [(24, 24), (48, 48), (96, 96), (60, 48)])
def test_every_size_gives_900_features_of_blocks_of_unit_length(size: tuple[int, int]) -> None:
    found = hog(images(3, *size))
    assert found.shape == (3, FEATURES) == (3, 900)
    assert found.min() >= 0
    assert np.linalg.norm(found.reshape(3, 25, 36), axis=-1) == pytest.approx(1, abs=0.01)


def test_features_tell_the_direction_of_an_edge() -> None:
    """A vertical edge changes along x: its weight lies in the bins next to 0 and 180 degrees."""
    image = np.zeros((1, 48, 48), np.uint8)
    image[:, :, 24:] = 200
    across, along = (hog(one).reshape(-1, 9).sum(axis=0) for one in (image, image.transpose(0, 2, 1)))
    assert set(np.argsort(across)[-2:]) == {0, 8}
    assert np.argmax(along) == 4


def test_a_flat_image_has_no_edges_and_no_images_no_features() -> None:
    assert not hog(np.full((1, 48, 48), 9, np.uint8)).any()
    assert hog(np.empty((0, 48, 48), np.uint8)).shape == (0, 900)


def test_an_image_in_a_block_of_colour_channels_is_read_right() -> None:
    """A channel of a block (N, H, W, 3) is not contiguous in memory."""
    colour = np.random.default_rng(6).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    assert np.array_equal(hog(colour[..., 1]), hog(colour[..., 1].copy()))


@pytest.mark.parametrize(("height", "width"), [(50, 48), (48, 50), (18, 18), (64, 64)])
def test_other_sizes_are_refused(height: int, width: int) -> None:
    with pytest.raises(DataError) as caught:
        hog(images(1, height, width))
    assert str(caught.value) == (
        f"HOG needs sides that are multiples of 6 of at least 24 px, and the images are {width}x{height}: use --size 48"
    )
