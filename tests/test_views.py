"""Views of images for test-time augmentation."""

import numpy as np
import pytest

from fercli.ops.views import VIEWS, views


@pytest.mark.parametrize("shape", [(3, 48, 48), (2, 31, 31, 3), (0, 8, 8)])
@pytest.mark.parametrize("name", VIEWS)
def test_views_are_of_the_same_form_and_the_first_is_the_image(shape: tuple[int, ...], name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    made = list(views(images, name))
    assert len(made) == {"none": 1, "flip": 2, "ten": 10}[name]
    assert np.array_equal(made[0], images)
    assert {(view.shape, view.dtype) for view in made} == {(images.shape, images.dtype)}
    if len(images):
        assert len({view.tobytes() for view in made}) == len(made)


def test_every_second_view_is_the_mirror_image_of_the_one_before() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48), dtype=np.uint8)
    made = list(views(images, "ten"))
    for plain, mirrored in zip(made[::2], made[1::2], strict=True):
        assert np.array_equal(mirrored, plain[:, :, ::-1])


def test_views_keep_the_middle_and_repeat_the_edge() -> None:
    away = np.hypot(*np.mgrid[-23.5:24, -23.5:24])
    disc = np.where(away < 10, 220, 20).astype(np.uint8)[None]
    plain, left, right, small, large = list(views(disc, "ten"))[::2]
    for turned in (left, right):
        assert (np.abs(turned.astype(int) - plain) > 60).mean() < 0.02
    assert np.sqrt((small > 120).sum() / np.pi) == pytest.approx(9, abs=0.3)
    assert np.sqrt((large > 120).sum() / np.pi) == pytest.approx(11, abs=0.3)
    assert (small[:, 0] == 20).all()
