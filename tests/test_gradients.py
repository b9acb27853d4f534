"""Gradient channels: each operator and mapping against its formula, written as a slow double loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fercli.errors import DataError, UsageError
from fercli.ops.gradients import MAPPINGS, OPERATORS, gradients
from fercli.ops.hog import hog
from fercli.stages.gradients import GradientsSpec
from fercli.stages.gradients import run as run_gradients
from fercli.store import open_store

from .stages import run_stage, write_samples

SOBEL = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
LARGEST = {"sobel": 1020, "central": 127.5}


def reflect(index: int, length: int) -> int:
    """The index that a place one beyond the border shows."""
    if length == 1:
        return 0
    return -index if index < 0 else 2 * (length - 1) - index if index >= length else index


def slow(image: np.ndarray, operator: str, mapping: str) -> np.ndarray:
    """(H, W, 3) channels of one (H, W) image, by the formulas of the docstring, in exact arithmetic."""
    height, width = image.shape

    def pixel(y: int, x: int) -> int:
        return int(image[reflect(y, height), reflect(x, width)])

    def mapped(g: float) -> int:
        largest = LARGEST[operator]
        values = {"saturate": min(max(g, 0), 255), "scaled": 255 * abs(g) / largest, "signed": 128 + 127 * g / largest}
        return round(values[mapping])

    out = np.empty((height, width, 3), int)
    for y in range(height):
        for x in range(width):
            if operator == "central":
                gx, gy = (pixel(y, x + 1) - pixel(y, x - 1)) / 2, (pixel(y + 1, x) - pixel(y - 1, x)) / 2
            else:
                near = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
                gx = sum(SOBEL[i + 1][j + 1] * pixel(y + i, x + j) for i, j in near)
                gy = sum(SOBEL[j + 1][i + 1] * pixel(y + i, x + j) for i, j in near)
            out[y, x] = pixel(y, x), mapped(gx), mapped(gy)
    return out


@settings(max_examples=60, deadline=None)
@given(
    gray=hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7))),
    operator=st.sampled_from(OPERATORS),
    mapping=st.sampled_from(MAPPINGS),
)
def test_channels_are_those_of_the_formulas(gray: np.ndarray, operator: str, mapping: str) -> None:
    found = gradients(gray, operator, mapping)
    assert found.dtype == np.uint8
    assert found.tolist() == [slow(image, operator, mapping).tolist() for image in gray]


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_every_response_is_mapped_as_the_formula_says(operator: str, mapping: str) -> None:
    """All differences -255 to 255 of two neighbours, in one image of three columns."""
    left, right = np.arange(256), np.arange(256)[::-1]
    pairs = [(0, int(b)) for b in right] + [(int(a), 0) for a in left]
    image = np.array([[[a, 77, b]] for a, b in pairs], np.uint8)  # (512, 1, 3)
    found = gradients(image, operator, mapping)[:, 0, 1, 1]
    assert found.tolist() == [slow(one, operator, mapping)[0, 1, 1] for one in image]


def test_signed_turns_about_128_and_keeps_what_the_others_lose() -> None:
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (4, 12, 12), dtype=np.uint8)
    for operator in OPERATORS:
        plain, flipped = (gradients(images, operator, "signed").astype(int) for images in (gray, gray[:, :, ::-1]))
        assert np.array_equal(flipped[:, :, ::-1, 1], 256 - plain[..., 1])
        assert np.array_equal(flipped[:, :, ::-1, 2], plain[..., 2])


def test_neighbouring_images_do_not_touch() -> None:
    rng = np.random.default_rng(1)
    gray = rng.integers(0, 256, (300, 48, 48), dtype=np.uint8)  # more than are stacked at a time
    alone = np.concatenate([gradients(image[None], "sobel", "scaled") for image in gray])
    assert np.array_equal(gradients(gray, "sobel", "scaled"), alone)


def test_no_images_give_no_channels() -> None:
    assert gradients(np.empty((0, 48, 48), np.uint8), "sobel", "signed").shape == (0, 48, 48, 3)


def images(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, *shape), dtype=np.uint8)


def test_stage_adds_channels_and_leaves_the_rest(tmp_path) -> None:
    made = write_samples(tmp_path / "in.h5", images(7, 48, 48))
    run_stage(run_gradients, made, tmp_path / "out.h5", GradientsSpec())
    with open_store(made) as src, open_store(tmp_path / "out.h5") as out:
        assert out.channels == ("gray", "gx", "gy")
        assert out.classes == src.classes
        assert set(out.columns) == set(src.columns)
        assert np.array_equal(out.column("image"), gradients(src.column("image"), "sobel", "signed"))
        for name in set(src.columns) - {"image"}:
            assert np.array_equal(out.column(name), src.column(name)), name


def test_stage_makes_gray_resizes_and_adds_hog(tmp_path) -> None:
    made = write_samples(tmp_path / "in.h5", images(5, 30, 40, 3), channels=("red", "green", "blue"))
    run_stage(run_gradients, made, tmp_path / "out.h5", GradientsSpec(size=48, hog=True, operator="central"))
    with open_store(tmp_path / "out.h5") as out:
        found = out.column("image")
        assert found.shape == (5, 48, 48, 3)
        assert np.array_equal(found, gradients(found[..., 0], "central", "signed"))
        assert np.array_equal(out.column("hog"), hog(found[..., 0]))


def test_stage_can_add_hog_alone(tmp_path) -> None:
    made = write_samples(tmp_path / "in.h5", images(3, 48, 48))
    run_stage(run_gradients, made, tmp_path / "out.h5", GradientsSpec(operator="none", hog=True))
    with open_store(made) as src, open_store(tmp_path / "out.h5") as out:
        assert out.channels == ("gray",)
        assert np.array_equal(out.column("image"), src.column("image"))
        assert out.shape("hog") == (900,)


def test_stage_cuts_large_results_in_pieces(tmp_path) -> None:
    gray = images(70, 8, 8)  # 70 results of 227x227x3 px fill more than one piece
    spec = GradientsSpec(size=227)
    run_stage(run_gradients, write_samples(tmp_path / "in.h5", gray), tmp_path / "out.h5", spec)
    run_stage(run_gradients, write_samples(tmp_path / "last.h5", gray[-1:]), tmp_path / "one.h5", spec)
    with open_store(tmp_path / "out.h5") as out, open_store(tmp_path / "one.h5") as one:
        assert out.rows == 70
        assert np.array_equal(out.column("label"), np.arange(70) % 2)
        assert np.array_equal(out.column("image", 69), one.column("image"))


def test_misuse_is_told(tmp_path) -> None:
    with pytest.raises(UsageError) as caught:
        GradientsSpec(operator="none")
    assert str(caught.value) == "--operator none leaves nothing to do: add --hog or --size 48"
    photos = write_samples(tmp_path / "photos.h5", [b"1", b"2"])
    with pytest.raises(DataError) as caught:
        run_stage(run_gradients, photos, tmp_path / "out.h5", GradientsSpec())
    assert str(caught.value) == (
        f"{photos} holds no images of one size: crop its faces with fer detect --size 48, "
        f"or resize photos that are faces already with fer detect --detector none --size 48"
    )
    made = write_samples(tmp_path / "in.h5", images(2, 9, 9))
    run_stage(run_gradients, made, tmp_path / "once.h5", GradientsSpec())
    with pytest.raises(DataError) as caught:
        run_stage(run_gradients, tmp_path / "once.h5", tmp_path / "out.h5", GradientsSpec())
    assert str(caught.value) == (
        f"{tmp_path / 'once.h5'} has the channels gray, gx, gy already: give the store it was made from"
    )
    online = write_samples(tmp_path / "online.h5", images(2, 9, 9), documents={"augment": {"zoom": 0.1}})
    with pytest.raises(DataError) as caught:
        run_stage(run_gradients, online, tmp_path / "out.h5", GradientsSpec())
    assert str(caught.value) == (
        f"{online} carries a recipe of online augmentation, which changes pictures, and gradients or features "
        f"would not follow: make copies first, fer augment without --online, then fer gradients"
    )
    assert not (tmp_path / "out.h5").exists()
