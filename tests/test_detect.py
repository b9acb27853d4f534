"""Detectors, and the stage that crops the faces they find."""

from functools import partial
from unittest.mock import Mock

import cv2
import numpy as np
import pytest

from fercli import detectors
from fercli.detectors import Faces
from fercli.errors import DataError, UsageError
from fercli.ops import image, synthetic
from fercli.ops.align import TEMPLATE
from fercli.ops.geometry import face, overlap
from fercli.stages.detect import DetectSpec as AnyDetectSpec
from fercli.stages.detect import Search, settled, weights_digest
from fercli.stages.detect import run as run_detect
from fercli.stages.runner import Log
from fercli.store import open_store

from .stages import run_stage, write_samples

DetectSpec = partial(AnyDetectSpec, detector="haar")  # and not the one that is at hand here


class Squares(detectors.Detector):
    """Finds the bright squares in an image, the largest first: a detector whose answer is known."""

    def __init__(self, min_face: int, confidence: float | None = None, weights: str | None = None) -> None:
        self.min_face = min_face

    def detect(self, picture: np.ndarray) -> Faces:
        mask = (image.to_gray(picture) > 200).astype(np.uint8)
        found = cv2.connectedComponentsWithStats(mask)[2][1:, :4].astype(np.float32)
        found = found[found[:, 2] >= self.min_face]
        found = found[np.argsort(-found[:, 2])]
        return Faces(found, found[:, 2] / 100)


@pytest.fixture
def squares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts `Squares` in the place of the Haar cascade."""
    monkeypatch.setattr("fercli.detectors.haar.Detector", Squares)


def photo(*boxes: tuple[int, int, int], height: int = 90, width: int = 120) -> np.ndarray:
    """(H, W, 3) of dark noise with bright squares at (x, y, side)."""
    made = np.random.default_rng(2).integers(0, 100, (height, width, 3), dtype=np.uint8)
    for x, y, side in boxes:
        made[y : y + side, x : x + side] = 220 + side // 4
    return made


def png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture[..., ::-1])[1].tobytes()


ONE, TWO, NONE = photo((10, 20, 40)), photo((5, 5, 24), (60, 30, 50)), photo()


def test_registry_lists_the_files_and_names_the_nearest() -> None:
    assert {"haar", "none"} <= set(detectors.names())
    with pytest.raises(UsageError) as caught:
        detectors.load("har", 24)
    assert str(caught.value) == "there is no detector 'har'; did you mean 'haar'?"


@pytest.mark.parametrize("name", detectors.names())
@pytest.mark.parametrize("shape", [(60, 80), (60, 80, 3), (1, 1), (1, 300, 3), (3000, 40)])
def test_every_detector_takes_every_image(name: str, shape: tuple[int, ...], tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    picture = np.random.default_rng(4).integers(0, 256, shape, dtype=np.uint8)
    if name == "mtcnn" and detectors.best() != "mtcnn":
        pytest.skip("the package mtcnn is not installed")
    finder = detectors.load(name, 24, None, bright_cells(tmp_path / "cells.onnx") if name == "yunet" else None)
    found = finder.detect(picture)
    assert finder.has_landmarks == (found.landmark is not None)
    assert found.box.dtype == found.score.dtype == np.float32
    assert found.box.shape == (len(found.score), 4)
    assert np.isfinite(found.box).all()
    area = found.box[:, 2] * found.box[:, 3]
    assert (np.diff(area) <= 0).all()


def test_none_is_the_whole_image() -> None:
    found = detectors.load("none", 1000).detect(NONE)
    assert found.box.tolist() == [[0, 0, 120, 90]]
    assert found.score.tolist() == [1]


def test_haar_finds_most_drawn_faces_where_they_are() -> None:
    haar, drawn, hit, false = detectors.load("haar", 24), 0, 0, 0
    for seed in range(8):
        scene = synthetic.draw_scene(np.random.default_rng(seed))
        found = haar.detect(scene.image).box
        pairs = [max((overlap(one, box) for box in found), default=0) for one in scene.boxes]
        drawn, hit = drawn + len(pairs), hit + sum(pair > 0.5 for pair in pairs)
        false += len(found) - sum(pair > 0.5 for pair in pairs)
    assert hit > 0.6 * drawn
    assert false <= 0.1 * drawn


def test_haar_maps_boxes_of_a_large_photo_back() -> None:
    scene = synthetic.draw_scene(np.random.default_rng(1))
    haar = detectors.load("haar", 24)
    plain = haar.detect(scene.image).box
    large = haar.detect(cv2.resize(scene.image, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)).box
    assert len(plain) >= 1
    for box in plain:
        assert max(overlap(box * 6, one) for one in large) > 0.6


def test_haar_takes_no_box_where_no_hit_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV joins hits that lie in a ring, each like the next, to a box in the middle."""
    angle = np.linspace(0, 2 * np.pi, 120)[:, None]
    ring = np.hstack([150 + 80 * np.cos(angle), 150 + 80 * np.sin(angle), 0 * angle + 30, 0 * angle + 30])
    haar = detectors.load("haar", 24)
    monkeypatch.setattr(haar, "_hits", lambda *_: (ring.round().astype(int), np.ones(120)))
    assert len(cv2.groupRectangles(ring.round().astype(int).tolist(), 5, 0.2)[0]) == 1
    assert len(haar.detect(np.zeros((300, 300), np.uint8)).box) == 0


def test_haar_leaves_out_faces_that_are_too_small() -> None:
    scene = synthetic.draw_scene(np.random.default_rng(1))
    widths = detectors.load("haar", 24).detect(scene.image).box[:, 2]
    least = int(np.sort(widths)[-1]) - 1
    found = detectors.load("haar", least).detect(scene.image).box[:, 2]
    assert len(found) >= 1
    assert (found >= least).all()
    assert len(detectors.load("haar", 350).detect(scene.image).box) == 0


@pytest.mark.usefixtures("squares")
def test_the_largest_face_of_each_photo_becomes_a_row(tmp_path) -> None:
    made = write_samples(tmp_path / "in.h5", [png(one) for one in (TWO, NONE, ONE)])
    notes, failures = run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec(size=32))
    with open_store(tmp_path / "out.h5") as out:
        assert out.channels == ("gray",)
        assert out.classes == ("angry", "happy")
        assert out.column("box").tolist() == [[60, 30, 50, 50], [10, 20, 40, 40]]
        assert out.column("score").tolist() == pytest.approx([0.5, 0.4])
        assert out.column("parent").tolist() == [0, 2]
        assert out.column("source").tolist() == ["photo 0", "photo 2"]
        assert out.column("subject").tolist() == ["person 0", "person 0"]
        assert out.column("label").tolist() == [0, 0]
        assert out.column("image").tolist() == [np.full((32, 32), 232).tolist(), np.full((32, 32), 230).tolist()]
        assert out.column("digest").tobytes() == b"".join(image.digest(one) for one in out.column("image"))
        assert not {"encoded", "height", "width"} & set(out.columns)
    assert notes == ["1 of 3 photos show no face that haar finds and were left out: photo 1"]
    assert failures == []
    notes, _ = run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec(size=32, min_face=31))
    assert notes == ["1 of 3 photos show no face that haar finds with these settings and were left out: photo 1"]


@pytest.mark.usefixtures("squares")
@pytest.mark.parametrize("keep", ["all", "largest"])
def test_where_each_face_has_a_row_it_gets_that_face(tmp_path, keep: str) -> None:
    boxes = np.array([[4, 6, 24, 24], [58, 28, 50, 50], [0, 50, 40, 34], [100, 80, 9, 9], [0, 0, 0, 0]], np.float32)
    made = write_samples(tmp_path / "in.h5", [png(TWO)] * 5, box=boxes)
    notes, _ = run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec(keep=keep, min_face=20))
    rows = [[5, 5, 24, 24], [60, 30, 50, 50], [0, 50, 40, 34], [60, 30, 50, 50]]  # the last row tells no face
    with open_store(tmp_path / "out.h5") as out:
        assert out.column("box")[:4].tolist() == rows
        assert out.column("parent").tolist() == [0, 1, 2, 4] + [4] * (keep == "all")
        assert (out.column("score") > 0).tolist() == [True, True, False] + [True] * (1 + (keep == "all"))
    assert notes == [
        "1 of 5 photos show no face that haar finds with these settings and were left out: photo 3",
        "1 face cropped where the data tells: haar finds with these settings none there",
    ]


@pytest.mark.usefixtures("squares")
def test_all_faces_become_rows_the_largest_first(tmp_path) -> None:
    made = write_samples(tmp_path / "in.h5", [png(one) for one in (NONE, TWO, ONE)])
    run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec(keep="all", min_face=10))
    with open_store(tmp_path / "out.h5") as out:
        assert out.column("box").tolist() == [[60, 30, 50, 50], [5, 5, 24, 24], [10, 20, 40, 40]]
        assert out.column("parent").tolist() == [1, 1, 2]
    run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec(keep="all", min_face=30))
    with open_store(tmp_path / "out.h5") as out:
        assert out.column("parent").tolist() == [1, 2]


@pytest.mark.usefixtures("squares")
def test_margin_shows_more_of_the_photo(tmp_path) -> None:
    made = write_samples(tmp_path / "in.h5", [png(ONE)])
    run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec(margin=0.25))
    with open_store(tmp_path / "out.h5") as out:
        assert out.column("box").tolist() == [[10, 20, 40, 40]]  # the box stays the detector's
        expected = face(image.to_gray(ONE), np.array([0, 10, 60, 60]), 0, 48)
        assert np.array_equal(out.column("image"), expected[None])


@pytest.mark.usefixtures("squares")
def test_a_photo_without_a_face_can_be_kept_or_refused(tmp_path) -> None:
    made = write_samples(tmp_path / "in.h5", [png(one) for one in (NONE, ONE)])
    notes, _ = run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec(on_miss="keep"))
    assert notes == ["1 of 2 photos show no face that haar finds and were kept whole: photo 0"]
    with open_store(tmp_path / "out.h5") as out:
        assert out.column("box").tolist() == [[0, 0, 0, 0], [10, 20, 40, 40]]
        assert out.column("score").tolist() == pytest.approx([0, 0.4])
        assert np.array_equal(out.column("image")[0], face(image.to_gray(NONE), np.array([0, 0, 120, 90]), 0, 48))
    with pytest.raises(DataError) as caught:
        run_stage(run_detect, made, tmp_path / "no.h5", DetectSpec(on_miss="fail"))
    assert str(caught.value) == (
        "photo 0: no face was found by the detector haar; "
        "leave such photos out with --on-miss drop, or keep them whole with --on-miss keep"
    )
    assert not (tmp_path / "no.h5").exists()


@pytest.mark.usefixtures("squares")
def test_no_face_at_all_gives_a_store_without_rows(tmp_path) -> None:
    made = write_samples(tmp_path / "in.h5", [png(NONE)] * 5)
    notes, _ = run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec())
    assert notes == ["5 of 5 photos show no face that haar finds and were left out: photo 0, photo 1, photo 2, ..."]
    with open_store(tmp_path / "out.h5") as out:
        assert out.rows == 0
        assert {"image", "box", "label"} <= set(out.columns)


@pytest.mark.usefixtures("squares")
def test_a_photo_that_cannot_be_read_is_reported(tmp_path) -> None:
    made = write_samples(tmp_path / "in.h5", [png(ONE), png(ONE)[:-20], b""])
    with pytest.raises(DataError) as caught:
        run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec())
    cut = f"the image is cut off before its end (PNG, {len(png(ONE)) - 20} bytes)"
    assert str(caught.value) == f"photo 1: {cut}; leave such rows out with --on-error skip"
    _, failures = run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec(), on_error="skip")
    assert failures == [("photo 1", cut), ("photo 2", "the file is empty (zero bytes)")]
    with open_store(tmp_path / "out.h5") as out:
        assert out.column("parent").tolist() == [0]


@pytest.mark.usefixtures("squares")
def test_dense_photos_are_searched_too(tmp_path) -> None:
    rgb = write_samples(tmp_path / "rgb.h5", np.stack([ONE, NONE, TWO]), channels=("red", "green", "blue"))
    gray = write_samples(tmp_path / "gray.h5", np.stack([image.to_gray(one) for one in (ONE, NONE, TWO)]))
    for made in (rgb, gray):
        run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec())
        with open_store(tmp_path / "out.h5") as out:
            assert out.column("box").tolist() == [[10, 20, 40, 40], [60, 30, 50, 50]]
            assert out.column("parent").tolist() == [0, 2]


def test_none_passes_crops_through(tmp_path) -> None:
    faces = np.random.default_rng(9).integers(0, 256, (6, 48, 48), dtype=np.uint8)
    box, score = np.full((6, 4), 7, np.float32), np.full(6, 0.5, np.float32)
    made = write_samples(tmp_path / "in.h5", faces, box=box, score=score)
    run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec(detector="none"))
    with open_store(tmp_path / "out.h5") as out:
        assert np.array_equal(out.column("image"), faces)
        assert np.array_equal(out.column("box"), box)
        assert np.array_equal(out.column("score"), score)
    run_stage(run_detect, tmp_path / "out.h5", tmp_path / "small.h5", DetectSpec(detector="none", size=24))
    with open_store(tmp_path / "small.h5") as out:
        assert out.shape("image") == (24, 24)
        assert np.array_equal(out.column("image")[0], image.resize(faces[0], 24, 24))


def test_none_says_where_the_face_is_if_nobody_did(tmp_path) -> None:
    made = write_samples(tmp_path / "in.h5", np.zeros((2, 30, 20), np.uint8))
    run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec(detector="none"))
    with open_store(tmp_path / "out.h5") as out:
        assert out.column("box").tolist() == [[0, 0, 20, 30]] * 2
        assert out.column("score").tolist() == [1, 1]


def test_stores_without_photos_are_refused(tmp_path) -> None:
    made = write_samples(tmp_path / "in.h5", np.zeros((2, 30, 20, 3), np.uint8), channels=("gray", "gx", "gy"))
    with pytest.raises(DataError) as caught:
        run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec())
    assert (
        str(caught.value) == f"{made} has gradient channels, in which no face is found: run fer detect before gradients"
    )


def test_real_photos(tmp_path, shared_data) -> None:
    names = ["0-f1-su-ph.jpg", "free-mountain-vector-01.jpg", "multi_face.jpg", "single_face.jpg"]
    made = write_samples(tmp_path / "in.h5", [(shared_data / "photos" / name).read_bytes() for name in names])
    notes, _ = run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec(keep="all"))
    with open_store(tmp_path / "out.h5") as out:
        assert out.column("parent").tolist() == [0, *[2] * 5, 3]  # five people in multi_face.jpg
        assert out.column("image").std(axis=(1, 2)).min() > 20
    assert notes == ["1 of 4 photos show no face that haar finds and were left out: photo 1"]
    first = (tmp_path / "out.h5").read_bytes()
    run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec(keep="all"))
    assert (tmp_path / "out.h5").read_bytes() == first


class Marked(Squares):
    """As `Squares`, with landmarks where a face of the box's size has them."""

    has_landmarks = True

    def detect(self, picture: np.ndarray) -> Faces:
        box, score, _ = super().detect(picture)
        return Faces(box, score, (box[:, None, :2] + TEMPLATE * box[:, None, 2:]).astype(np.float32))


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fercli.detectors.haar.Detector", Marked)


@pytest.mark.usefixtures("marked")
def test_landmarks_travel_and_faces_are_aligned_by_them(tmp_path) -> None:
    made = write_samples(tmp_path / "in.h5", [png(one) for one in (TWO, NONE, ONE)])
    run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec(align=True, margin=0.25, on_miss="keep"))
    with open_store(tmp_path / "out.h5") as out:
        box, landmark = out.column("box"), out.column("landmark")
        assert np.allclose(landmark, (box[:, None, :2] + TEMPLATE * box[:, None, 2:]) * (box[:, None, 2:] > 0))
        crop = out.column("image")[2].astype(int)  # the square of 40 px in its middle, upright as it was
        assert (crop[9:39, 9:39] > 200).all()
        assert (crop[:7] < 120).all()
        assert (crop[:, 41:] < 120).all()


@pytest.mark.usefixtures("squares")
def test_align_names_the_detectors_that_tell_landmarks(tmp_path) -> None:
    made = write_samples(tmp_path / "in.h5", [png(ONE)])
    for name in ("haar", "none"):
        with pytest.raises(UsageError) as caught:
            run_stage(run_detect, made, tmp_path / "out.h5", AnyDetectSpec(detector=name, align=True))
        assert str(caught.value) == (
            f"--align needs eyes, nose and mouth, which the detector {name} does not tell: "
            f"add --detector mtcnn or --detector yunet"
        )


@pytest.mark.usefixtures("squares")
def test_the_face_in_the_middle_becomes_the_row(tmp_path) -> None:
    made = write_samples(tmp_path / "in.h5", [png(photo((0, 0, 50), (55, 30, 24), (90, 60, 28))), png(NONE), png(ONE)])
    run_stage(run_detect, made, tmp_path / "out.h5", DetectSpec(keep="center", min_face=10))
    with open_store(tmp_path / "out.h5") as out:
        assert out.column("box").tolist() == [[55, 30, 24, 24], [10, 20, 40, 40]]
        assert out.column("parent").tolist() == [0, 2]


def test_auto_is_mtcnn_where_its_weights_are_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fercli.detectors._package.available", lambda: True)
    assert settled(AnyDetectSpec(), Log()).detector == "mtcnn"
    monkeypatch.setattr("fercli.detectors._package.available", lambda: False)
    assert settled(AnyDetectSpec(), Log()).detector == "haar"
    assert settled(AnyDetectSpec(detector="none"), Log()).detector == "none"


@pytest.mark.parametrize("name", ["haar", "none"])
def test_weights_for_a_detector_that_takes_none(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        detectors.load(name, 24, None, "w.h5")
    assert str(caught.value) == (
        f"the detector {name} takes no --weights: leave them out, or name the detector they are of"
    )


@pytest.mark.parametrize("method", ["__init__", "detect"])
def test_a_gpu_that_is_full_or_gone_is_told(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Both where its networks are brought there and where they compute."""
    import torch

    if detectors.best() != "mtcnn":
        pytest.skip("the package mtcnn is not installed")
    for error, told in (
        (torch.OutOfMemoryError("CUDA out of memory"), "the GPU's memory is full: end what else runs on it, or set"),
        (RuntimeError("CUDA error: device lost"), "the GPU no longer answers (CUDA error: device lost): type the same"),
    ):
        monkeypatch.setattr(detectors.find("mtcnn"), method, Mock(side_effect=error))
        with pytest.raises(DataError) as caught:
            Search(AnyDetectSpec(detector="mtcnn", device="cpu")).find(np.zeros((60, 60), np.uint8))
        assert str(caught.value).startswith(told)


@pytest.mark.parametrize("name", ["mtcnn", "yunet"])
def test_a_confidence_above_every_score(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        detectors.load(name, 24, 7.0, "w.h5")
    assert str(caught.value) == f"--confidence 7 is never reached: scores of {name} go from 0 to 1"
    with pytest.raises(DataError):
        detectors.load(name, 24, 1.0, "w.h5")  # which is not there


def test_weights_are_an_input_of_the_stage(tmp_path) -> None:
    path = tmp_path / "w.h5"
    assert weights_digest(DetectSpec()) == []
    with pytest.raises(DataError) as caught:
        weights_digest(DetectSpec(weights=str(path)))
    assert str(caught.value) == f"{path} cannot be read: No such file or directory"
    path.write_bytes(b"1")
    first = weights_digest(DetectSpec(weights=str(path)))
    path.write_bytes(b"2")
    assert len(first) == 1
    assert first != weights_digest(DetectSpec(weights=str(path)))


def test_haar_leaves_out_what_it_is_not_sure_of() -> None:
    scene = synthetic.draw_scene(np.random.default_rng(1))
    found = detectors.load("haar", 24).detect(scene.image)
    assert len(found.score) >= 1
    least = float(found.score.max())
    assert detectors.load("haar", 24, least).detect(scene.image).score.tolist() == [least]
    assert len(detectors.load("haar", 24, least + 0.01).detect(scene.image).score) == 0


def test_yunet_names_what_it_needs(tmp_path) -> None:
    with pytest.raises(UsageError) as needs:
        detectors.load("yunet", 24)
    assert str(needs.value) == (
        "the detector yunet needs its model: add --weights FILE, such as OpenCV Zoo's face_detection_yunet_2023mar.onnx"
    )
    path = tmp_path / "model.onnx"
    with pytest.raises(DataError) as missing:
        detectors.load("yunet", 24, None, str(path))
    assert str(missing.value) == f"{path} cannot be read: No such file or directory"
    for wrong in (b"", b"no model" * 99):
        path.write_bytes(wrong)
        with pytest.raises(DataError) as caught:
            detectors.load("yunet", 24, None, str(path))
        assert str(caught.value) == f"{path} is no ONNX model that OpenCV {cv2.__version__} can read"


def bright_cells(path) -> str:
    """Writes a model of YuNet's form that finds a face of 8 exp(1.5) px around each bright cell of 8 px."""
    onnx = pytest.importorskip("onnx")
    nodes, constants, outputs = [], [], []
    for stride in (8, 16, 32):
        for name, channels in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            weight, bias = np.zeros((channels, 3, stride, stride)), np.zeros(channels)
            if name == "cls" and stride == 8:
                weight[:] = 1 / (3 * 64 * 255)
            bias[:] = {"cls": 0, "obj": 1, "bbox": [0.5, 0.5, 1.5, 1.5], "kps": np.arange(10) / 10}[name]
            key = f"{name}_{stride}"
            for part, values in (("w", weight), ("b", bias)):
                constants.append(onnx.numpy_helper.from_array(values.astype(np.float32), f"{key}_{part}"))
            nodes += [
                onnx.helper.make_node("Conv", ["input", f"{key}_w", f"{key}_b"], [f"{key}_c"], strides=[stride] * 2),
                onnx.helper.make_node("Transpose", [f"{key}_c"], [f"{key}_t"], perm=[0, 2, 3, 1]),
                onnx.helper.make_node("Reshape", [f"{key}_t", f"shape_{channels}"], [key]),
            ]
            outputs.append(onnx.helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, [1, None, channels]))
    constants += [onnx.numpy_helper.from_array(np.array([1, -1, count]), f"shape_{count}") for count in (1, 4, 10)]
    taken = [onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, 64, 96])]
    graph = onnx.helper.make_graph(nodes, "cells", taken, outputs, constants)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 11)], ir_version=7), str(path))
    return str(path)


def test_yunet_reads_boxes_landmarks_and_scores(tmp_path) -> None:
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[16:24, 40:48] = 255
    picture[48:56, 8:16] = 240
    finder = detectors.load("yunet", 24, 0.5, bright_cells(tmp_path / "cells.onnx"))
    for shown in (picture, picture[..., 0]):
        found = finder.detect(shown)
        side = 8 * np.exp(1.5)
        middle = np.array([[44, 20], [12, 52]])
        assert np.allclose(found.box, np.column_stack([middle - side / 2, [[side, side]] * 2]), atol=0.01)
        assert np.allclose(found.score, [1, np.sqrt(240 / 255)], atol=0.01)
        expected = (np.arange(10).reshape(5, 2) / 10 + [5, 2]) * 8
        assert np.allclose(found.landmark[0], expected, atol=0.01)
    assert len(detectors.load("yunet", 40, 0.5, str(tmp_path / "cells.onnx")).detect(picture).box) == 0


@pytest.mark.parametrize(("flag", "setting"), [("--margin", {"margin": 0.5}), ("--min-face", {"min_face": 9}),
                                               ("--confidence", {"confidence": 0.5})])  # fmt: skip
def test_settings_of_a_search_where_each_photo_is_a_face(flag, setting) -> None:
    with pytest.raises(UsageError) as caught:
        Search(AnyDetectSpec(detector="none", **setting))
    assert str(caught.value) == (
        f"{flag} is about finding faces, and with --detector none each photo is one: leave it out"
    )
