"""Drawn faces and scenes: the same for the same seed, balanced, within bounds, found by a face detector."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fercli import layouts
from fercli.errors import UsageError
from fercli.labels import EMOTIONS
from fercli.layouts import synthetic
from fercli.ops.image import decode, header
from fercli.ops.synthetic import draw_face, draw_scene
from fercli.ops.synthetic_person import PROTOTYPES, draw_identity
from fercli.store import SPLIT_CODES
from fercli.store.block import concatenate


class Silent:
    """A report that nothing may go to: no drawn row is bad."""

    def failed(self, source, reason):
        raise AssertionError(f"{source}: {reason}")

    note = failed


def table(path):
    return synthetic.scan(layouts.open_source(path), layouts.Options())


def rows(path):
    return concatenate(table(path).blocks(Silent()))


def rng(*seed):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def faces():
    return rows("synthetic:700")


def test_columns_types_and_ranges(faces):
    declared = table("synthetic:700")
    assert declared.classes == EMOTIONS
    assert declared.rows == 700
    assert set(faces) == {"image", "source", *declared.columns}
    assert faces["image"].shape == (700, 48, 48)
    assert {name: str(faces[name].dtype) for name in ("image", "label", "split")} == {
        "image": "uint8", "label": "int16", "split": "int8",
    }  # fmt: skip
    assert faces["source"][[0, 699]].tolist() == ["synthetic:0", "synthetic:699"]


def test_every_face_has_light_and_dark(faces):
    pixels = faces["image"].reshape(700, -1)
    assert pixels.std(axis=1).min() > 8
    assert 60 < pixels.mean(axis=1).min() < pixels.mean(axis=1).max() < 180
    assert (pixels == 255).mean() < 0.05


def test_all_faces_differ(faces):
    assert len(np.unique(faces["image"].reshape(700, -1), axis=0)) == 700


def test_classes_are_balanced(faces):
    assert np.bincount(faces["label"]).tolist() == [100] * 7
    assert np.ptp(np.bincount(rows("synthetic:24")["label"])) == 1


def test_splits_are_80_10_10_and_share_nobody(faces):
    assert np.bincount(faces["split"]).tolist() == [560, 70, 70]
    people = [set(faces["subject"][faces["split"] == code]) for code in SPLIT_CODES.values()]
    assert [len(some) for some in people] == [56, 7, 7]
    assert len(set.union(*people)) == 70


def test_thirty_faces_have_all_splits():
    assert np.bincount(rows("synthetic:30")["split"]).tolist() == [10, 10, 10]


def test_a_linear_model_learns_something_but_not_all(faces):
    pixels = faces["image"].reshape(700, -1).astype(float)
    pixels = (pixels - pixels.mean(axis=1, keepdims=True)) / pixels.std(axis=1, keepdims=True)
    train = faces["split"] == SPLIT_CODES["train"]
    pixels -= pixels[train].mean(axis=0)
    target = np.eye(7)[faces["label"][train]] - 1 / 7
    gram = pixels[train] @ pixels[train].T
    weights = pixels[train].T @ np.linalg.solve(gram + 1e4 * np.eye(len(gram)), target)
    accuracy = ((pixels[~train] @ weights).argmax(axis=1) == faces["label"][~train]).mean()
    assert 0.25 < accuracy < 0.65  # chance is 0.14


@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 25), block=st.integers(1, 30), seed=st.integers(0, 3))
def test_a_longer_set_begins_with_the_shorter_whatever_the_blocks(count, block, seed):
    longer = rows(f"synthetic:30:seed={seed}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "_FACES", block)
        shorter = rows(f"synthetic:{count}:seed={seed}")
    for name, values in shorter.items():
        assert np.array_equal(values, longer[name][:count]), name


def test_seed_0_is_the_default_and_others_draw_others():
    plain, named, other = (rows(f"synthetic:8{end}")["image"] for end in ("", ":seed=0", ":seed=1"))
    assert np.array_equal(plain, named)
    assert not (plain == other).all(axis=(1, 2)).any()


def test_blocks_are_bounded(monkeypatch):
    monkeypatch.setattr(synthetic, "_face", lambda *_: np.zeros((48, 48), np.uint8))  # how it looks is not the matter
    sizes = [len(block["image"]) for block in table("synthetic:1030").blocks(Silent())]
    assert sizes == [512, 512, 6]


def test_every_emotion_has_a_prototype():
    assert set(PROTOTYPES) == set(EMOTIONS)


@pytest.mark.parametrize("size", [24, 48, 100, 224])
def test_faces_of_any_size_and_the_same_person(size):
    person = draw_identity(rng(1))
    happy, again, sad = (draw_face(rng(2), emotion, size, person) for emotion in ("happy", "happy", "sad"))
    assert happy.shape == (size, size)
    assert np.array_equal(happy, again)
    assert not np.array_equal(happy, sad)


def test_an_expression_shows_where_it_should(faces):
    relative = faces["image"] / faces["image"].mean(axis=(1, 2), keepdims=True)
    shown = {name: relative[faces["label"] == code].mean(axis=0) for code, name in enumerate(EMOTIONS)}
    mouth, brows = np.s_[34:41, 21:27], np.s_[12:16, 19:29]
    assert shown["surprise"][mouth].mean() < 0.8 * shown["neutral"][mouth].mean()  # open: dark
    assert shown["happy"][mouth].mean() > 1.2 * shown["surprise"][mouth].mean()  # teeth
    assert shown["angry"][brows].mean() < shown["surprise"][brows].mean()  # drawn down and together


def test_scene_says_where_the_faces_are():
    for number in range(10):
        scene = draw_scene(rng(number), 300, 400)
        assert scene.image.shape == (300, 400, 3)
        assert 1 <= len(scene.boxes) == len(scene.expressions) <= 5
        assert set(scene.expressions) <= set(EMOTIONS)
        assert scene.boxes.dtype == np.float32
        assert (scene.boxes[:, :2] >= 0).all()
        assert (scene.boxes[:, :2] + scene.boxes[:, 2:] <= (400, 300)).all()


def test_haar_finds_the_faces_of_scenes():
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    found = drawn = hits = 0
    for number in range(40):
        scene = draw_scene(rng(number))
        boxes = cascade.detectMultiScale(cv2.cvtColor(scene.image, cv2.COLOR_RGB2GRAY), 1.2, 4, minSize=(40, 40))
        centres = np.array([(x + w / 2, y + h / 2) for x, y, w, h in boxes]).reshape(-1, 2)
        near = [abs(centres - (x + w / 2, y + h / 2)).max(axis=1) < w / 4 for x, y, w, h in scene.boxes]
        found, drawn, hits = found + sum(some.any() for some in near), drawn + len(near), hits + len(boxes)
    assert drawn > 80
    assert found >= 0.8 * drawn
    assert hits - found <= 0.1 * drawn


def test_scenes_are_jpeg_photos():
    declared = table("synthetic:3:scenes")
    photos = concatenate(declared.blocks(Silent()))
    assert (declared.classes, declared.rows) == ((), 3)
    assert set(photos) == {"source", *declared.columns}
    assert photos["source"].tolist() == ["synthetic:scene:0", "synthetic:scene:1", "synthetic:scene:2"]
    for data, height, width in zip(photos["encoded"], photos["height"], photos["width"], strict=True):
        assert header(data) == ("JPEG", height, width)
        assert decode(data).shape == (height, width, 3)


def test_scenes_repeat_and_a_longer_set_begins_with_the_shorter(monkeypatch):
    longer = rows("synthetic:4:scenes:seed=5")["encoded"].tolist()
    monkeypatch.setattr(synthetic, "_SCENES", 2)
    assert rows("synthetic:3:scenes:seed=5")["encoded"].tolist() == longer[:3]
    assert rows("synthetic:1:scenes")["encoded"][0] != longer[0]


def test_jpeg_keeps_the_colours():
    image = draw_scene(synthetic._random(0, synthetic._SCENE, 0)).image
    stored = decode(rows("synthetic:1:scenes")["encoded"][0])
    assert stored.shape == image.shape
    assert abs(stored.astype(int) - image).mean() < 6


@pytest.mark.parametrize(
    "path", ["synthetic:7", "synthetic:7:seed=3", "synthetic:7:scenes", "synthetic:7:scenes:seed=3"]
)
def test_sources_are_recognised(path):
    assert layouts.recognise(layouts.open_source(path)) is synthetic


@pytest.mark.parametrize(
    "path",
    [
        "synthetic:", "synthetic:0", "synthetic:-3", "synthetic:2e3", "synthetic:2,000", "synthetic: 5",
        "synthetic:5 ", "synthetic:5\n", "synthetic:05", "synthetic:\u0665", "synthetic:1000000000", "synthetic:5:",
        "synthetic:5:scene", "synthetic:5:seed=", "synthetic:5:seed=-1", "synthetic:5:seed=x",
        "synthetic:5:seed=1:scenes", "synthetic:5:scenes:scenes", "synthetic:\udcff",
    ],
)  # fmt: skip
def test_other_names_are_refused(path):
    with pytest.raises(UsageError) as caught:
        table(path)
    assert str(caught.value) == (
        f"there is no data set {path!r} to draw: write synthetic:COUNT for faces or synthetic:COUNT:scenes "
        "for photos of several people, with COUNT from 1 to 999999999, and :seed=NUMBER at the end for other ones, "
        "as in synthetic:2000:seed=7"
    )


def test_a_folder_is_not_drawn(tmp_path):
    with pytest.raises(UsageError, match=r"there is no data set '.*' to draw: write synthetic:COUNT for faces"):
        table(str(tmp_path))
