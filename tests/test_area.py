"""Means over areas: those of torch's adaptive pooling, which is how MTCNN was published."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from fercli.ops.area import LONGEST, Sums

sides = st.integers(1, 60)


def by_torch(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    batch = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float()
    return interpolate(batch, size=(height, width), mode="area")[0].permute(1, 2, 0).numpy()


@given(sides, sides, sides, sides, st.integers(0, 99))
def test_resized_photos_are_those_of_adaptive_pooling(height: int, width: int, h: int, w: int, seed: int) -> None:
    photo = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    out = np.empty((h, w, 4), np.float32)
    Sums(photo).resize(out)
    assert np.allclose(out[..., :3], by_torch(photo, h, w), atol=1e-3)


@given(st.data())
def test_windows_are_those_of_adaptive_pooling(data: st.DataObject) -> None:
    photo = np.random.default_rng(3).integers(0, 256, (31, 47, 3), dtype=np.uint8)
    low = data.draw(st.lists(st.tuples(st.integers(0, 46), st.integers(0, 30)), max_size=5))
    box = np.array(
        [(x, y, data.draw(st.integers(x + 1, 47)), data.draw(st.integers(y + 1, 31))) for x, y in low], int
    ).reshape(-1, 4)
    size = data.draw(st.sampled_from([1, 7, 24]))
    found = Sums(photo).windows(box, size)
    assert found.shape == (len(low), size, size, 4)
    for (left, top, right, bottom), window in zip(box, found, strict=True):
        assert np.allclose(window[..., :3], by_torch(photo[top:bottom, left:right], size, size), atol=1e-3)


@pytest.mark.parametrize("value", [0, 255])
def test_the_sums_of_the_largest_photo_fit(value: int) -> None:
    sums = Sums(np.full((LONGEST, LONGEST, 3), value, np.uint8))
    assert np.allclose(sums.windows(np.array([[0, 0, LONGEST, LONGEST]]), 1)[0, 0, 0, :3], value)
