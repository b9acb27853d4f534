"""The seven transforms: what each does, and on what its draws depend."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fercli.errors import DataError, UsageError
from fercli.ops.augment import Recipe, augment, matrices, uniform
from fercli.ops.image import digests_of
from fercli.stages.augment import AugmentSpec
from fercli.stages.augment import run as run_augment
from fercli.store import create_store, open_store

from .stages import run_stage, write_samples

GRAY = np.random.default_rng(11).integers(0, 256, (40, 16, 20), dtype=np.uint8)
ROWS = np.arange(40)
EVERYTHING = Recipe(0.2, 20, 0.1, 0.1, 0.2, 0.5, 0.5, seed=3)


def blob(y: int, x: int, height: int = 41, width: int = 61) -> np.ndarray:
    """(200, H, W) images alike: a bright spot of 5x5 px about (y, x)."""
    image = np.zeros((200, height, width), np.uint8)
    image[:, y - 2 : y + 3, x - 2 : x + 3] = 200
    return image


def moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mass (n,), and centre of mass y, x (n,) of what is bright."""
    mass = images.sum(axis=(1, 2), dtype=float)
    y, x = np.mgrid[0 : images.shape[1], 0 : images.shape[2]]
    return mass, (images * y).sum(axis=(1, 2)) / mass, (images * x).sum(axis=(1, 2)) / mass


def test_no_transform_changes_nothing() -> None:
    assert np.array_equal(augment(GRAY, Recipe(), ROWS, 0), GRAY)


def test_flips_are_exact() -> None:
    assert np.array_equal(augment(GRAY, Recipe(horizontal_flip=1), ROWS, 0), GRAY[:, :, ::-1])
    assert np.array_equal(augment(GRAY, Recipe(vertical_flip=1), ROWS, 0), GRAY[:, ::-1])
    both = Recipe(horizontal_flip=1, vertical_flip=1)
    assert np.array_equal(augment(GRAY, both, ROWS, 0), GRAY[:, ::-1, ::-1])


def test_flips_come_with_their_probability() -> None:
    flipped = matrices(Recipe(horizontal_flip=0.25), np.arange(20_000), 0, 8, 8)[:, 0, 0] < 0
    assert flipped.mean() == pytest.approx(0.25, abs=0.015)


def test_shifts_move_along_their_axis_within_their_share() -> None:
    images = blob(20, 30)
    _, y, x = moments(augment(images, Recipe(width_shift=0.2), np.arange(200), 0))
    assert y == pytest.approx(20, abs=0.05)
    assert np.ptp(x) > 20
    assert np.abs(x - 30).max() <= 0.2 * 61 + 0.05
    _, y, x = moments(augment(images, Recipe(height_shift=0.2), np.arange(200), 0))
    assert x == pytest.approx(30, abs=0.05)
    assert np.ptp(y) > 14
    assert np.abs(y - 20).max() <= 0.2 * 41 + 0.05


def test_rotation_turns_about_the_centre_within_its_angle() -> None:
    images = blob(20, 50)  # 20 px right of the centre
    mass, y, x = moments(augment(images, Recipe(rotation=30), np.arange(200), 0))
    angle = np.degrees(np.arctan2(20 - y, x - 30))
    assert np.hypot(20 - y, x - 30) == pytest.approx(20, abs=0.1)
    assert -30.3 <= angle.min() < -25
    assert 25 < angle.max() <= 30.3
    assert mass == pytest.approx(images[0].sum(), rel=0.02)


def test_scale_keeps_the_shape_and_zoom_does_not() -> None:
    images = blob(10, 50)  # 10 px above and 20 px right of the centre
    for recipe, alike in ((Recipe(scale=0.3), True), (Recipe(zoom=0.3), False)):
        _, y, x = moments(augment(images, recipe, np.arange(200), 0))
        factor_y, factor_x = (20 - y) / 10, (x - 30) / 20
        for factor in (factor_y, factor_x):
            assert 0.69 < factor.min() < 0.75
            assert 1.25 < factor.max() < 1.31
        assert (np.abs(factor_y - factor_x).max() < 0.03) == alike


def test_what_comes_in_repeats_the_edge() -> None:
    flat = np.full((50, 12, 12), 77, np.uint8)
    assert (augment(flat, EVERYTHING, np.arange(50), 0) == 77).all()


def test_channels_move_together() -> None:
    colour = np.stack([GRAY, 255 - GRAY, GRAY // 2], axis=-1)
    found = augment(colour, EVERYTHING, ROWS, 0)
    for channel in range(3):
        assert np.array_equal(found[..., channel], augment(colour[..., channel].copy(), EVERYTHING, ROWS, 0))


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(40)), st.integers(1, 39), st.integers(0, 5))
def test_blocks_and_order_do_not_matter(order: list[int], cut: int, copy: int) -> None:
    whole = augment(GRAY, EVERYTHING, ROWS, copy)
    rows = np.array(order)
    for part in (rows[:cut], rows[cut:]):
        assert np.array_equal(augment(GRAY[part], EVERYTHING, part, copy), whole[part])


def test_draws_depend_on_seed_row_copy_and_nothing_else() -> None:
    base = uniform(1, ROWS, 2)
    assert np.array_equal(uniform(1, ROWS + 1, 2)[:, :-1], base[:, 1:])
    for other in (uniform(2, ROWS, 2), uniform(1, ROWS, 3), uniform(1, ROWS + 1, 2)):
        assert not (other == base).any()
    assert not (uniform(2, ROWS, 1) == base).any()  # seed and copy are no pair of equals


def test_choosing_a_transform_leaves_the_draws_of_the_others() -> None:
    alone = matrices(Recipe(width_shift=0.3), ROWS, 0, 10, 10)[:, 0, 2]
    beside = matrices(Recipe(width_shift=0.3, height_shift=0.3), ROWS, 0, 10, 10)[:, 0, 2]
    assert np.array_equal(alone, beside)


def test_draws_are_uniform_and_independent() -> None:
    draw = uniform(0, np.arange(50_000), 0)
    assert draw.min() >= 0
    assert draw.max() < 1
    assert draw.mean(axis=1) == pytest.approx(0.5, abs=0.006)
    assert draw.std(axis=1) == pytest.approx(12**-0.5, abs=0.004)
    seen = np.vstack([draw[:, :-1], draw[:, 1:], uniform(0, np.arange(1, 50_000), 1)])
    assert np.abs(np.corrcoef(seen) - np.eye(len(seen)))[:8].max() < 0.02


def test_draws_stay_what_they_are() -> None:
    """Written down, so that a change of the generator is seen: stored copies must come out again."""
    drawn = uniform(7, np.array([0, 28_708]), 3)[:3].round(6).tolist()
    assert drawn == [[0.077754, 0.382735], [0.154701, 0.119589], [0.184703, 0.176946]]


def store(tmp_path, **columns):
    return write_samples(tmp_path / "in.h5", GRAY, **columns)


def test_copies_follow_the_originals(tmp_path) -> None:
    made = store(tmp_path)
    run_stage(run_augment, made, tmp_path / "out.h5", AugmentSpec(rotation=15, horizontal_flip=True, copies=2, seed=5))
    with open_store(made) as src, open_store(tmp_path / "out.h5") as out:
        assert out.rows == 40 * (1 + 2 + 1)  # a flip makes one copy
        assert out.classes == src.classes
        assert out.channels == src.channels
        assert out.column("parent").tolist() == list(range(40)) * 4
        image = out.column("image").reshape(4, 40, 16, 20)
        assert np.array_equal(image[0], GRAY)
        assert np.array_equal(image[1], augment(GRAY, Recipe(rotation=15, seed=5), ROWS, 0))
        assert np.array_equal(image[2], augment(GRAY, Recipe(rotation=15, seed=5), ROWS, 1))
        assert np.array_equal(image[3], GRAY[:, :, ::-1])
        for name in ("label", "source", "subject", "digest"):
            assert np.array_equal(out.column(name), np.concatenate([src.column(name)] * 4)), name
        assert out.column("copy").tolist() == [False] * 40 + [True] * 120


def test_copies_are_known_by_a_digest_where_the_store_had_none(tmp_path) -> None:
    with open_store(store(tmp_path)) as src, create_store(tmp_path / "bare.h5") as dst:
        dst.start("samples", src.classes, src.channels)
        dst.append({name: src.column(name) for name in ("image", "label")})
        dst.document("provenance", [])
    made = tmp_path / "bare.h5"
    run_stage(run_augment, made, tmp_path / "out.h5", AugmentSpec(rotation=15))
    with open_store(tmp_path / "out.h5") as out:
        assert out.column("digest").tolist() == [*digests_of(GRAY).tolist()] * 2


def test_copies_of_copies_are_copies(tmp_path) -> None:
    for source, target in (("in.h5", "once.h5"), ("once.h5", "twice.h5")):
        made = store(tmp_path) if source == "in.h5" else tmp_path / source
        run_stage(run_augment, made, tmp_path / target, AugmentSpec(vertical_flip=True))
    with open_store(tmp_path / "twice.h5") as out:
        assert out.column("copy").tolist() == [False] * 40 + [True] * 120
        assert np.array_equal(out.column("image", 120), GRAY)


def test_copies_stay_in_the_fold_of_their_original(tmp_path) -> None:
    fold = np.arange(40, dtype=np.int16) % 3
    run_stage(run_augment, store(tmp_path, fold=fold), tmp_path / "out.h5", AugmentSpec(horizontal_flip=True))
    with open_store(tmp_path / "out.h5") as out:
        assert out.column("fold").tolist() == [*fold, *fold]


def test_only_training_rows_are_copied(tmp_path) -> None:
    split = np.arange(40, dtype=np.int8) % 3
    run_stage(run_augment, store(tmp_path, split=split), tmp_path / "out.h5", AugmentSpec(vertical_flip=True))
    train = np.flatnonzero(split == 0)
    with open_store(tmp_path / "out.h5") as out:
        assert out.column("parent").tolist() == [*range(40), *train]
        assert not out.column("split", 40).any()
        assert np.array_equal(out.column("image", 40), GRAY[train][:, ::-1])


def test_rows_of_folds_are_copied_whatever_their_split(tmp_path) -> None:
    made = store(tmp_path, fold=np.arange(40, dtype=np.int16) % 2, split=np.arange(40, dtype=np.int8) % 3)
    notes, _ = run_stage(run_augment, made, tmp_path / "out.h5", AugmentSpec(vertical_flip=True))
    with open_store(tmp_path / "out.h5") as out:
        assert out.column("parent").tolist() == list(range(40)) * 2
    assert notes == [f"{made} has folds, so all rows get copies and not only those of its split train"]


def test_online_keeps_the_rows_and_writes_the_recipe(tmp_path) -> None:
    spec = AugmentSpec(online=True, zoom=0.1, horizontal_flip=True, seed=9)
    run_stage(run_augment, store(tmp_path), tmp_path / "out.h5", spec)
    with open_store(tmp_path / "out.h5") as out:
        assert np.array_equal(out.column("image"), GRAY)
        assert Recipe(**out.documents["augment"]) == Recipe(zoom=0.1, horizontal_flip=0.5, seed=9)


def test_misuse_is_told(tmp_path) -> None:
    with pytest.raises(UsageError) as caught:
        AugmentSpec()
    assert str(caught.value) == "no transform is chosen: add for example --horizontal-flip --rotation 10"
    with pytest.raises(UsageError) as caught:
        AugmentSpec(zoom=0.1, online=True, copies=2)
    assert str(caught.value) == "--copies is for stored copies, and --online stores none: leave out one of them"
    with pytest.raises(UsageError) as caught:
        AugmentSpec(scale=1.0)
    assert str(caught.value) == "--scale is 1.0, but it takes 0 to 0.9"


@pytest.mark.parametrize(
    ("columns", "documents", "sentence"),
    [
        ({"split": np.ones(40, np.int8)}, {}, "has no training rows to copy: assign some with fer split"),
        (
            {"hog": np.zeros((40, 900), np.float32)},
            {},
            "has gradients of its images, which a transform of the images would not fit: "
            "run fer augment first and fer gradients on its output",
        ),
        ({}, {"augment": {}}, "carries a recipe of online augmentation already: give the store without it"),
    ],
)
def test_stores_that_copies_would_spoil_are_refused(tmp_path, columns, documents, sentence) -> None:
    made = store(tmp_path, documents=documents, **columns)
    with pytest.raises(DataError) as caught:
        run_stage(run_augment, made, tmp_path / "out.h5", AugmentSpec(zoom=0.1))
    assert str(caught.value) == f"{made} {sentence}"
    assert not (tmp_path / "out.h5").exists()
