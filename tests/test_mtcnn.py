"""MTCNN: the same faces as the published cascade, fast; and weights that are missing, damaged or hostile."""

import importlib.util
import os
import tempfile
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import torch

from fercli import detectors
from fercli.detectors import _package, _pyramid, _weights, mtcnn
from fercli.detectors._networks import Cascade, FastProposalNet
from fercli.errors import DataError
from fercli.ops import image
from fercli.ops.area import Sums
from fercli.ops.geometry import overlap
from fercli.ops.synthetic import draw_scene
from fercli.store import create_store, open_store

from . import mtcnn_reference


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads or writes the user's cache folder, or gets what another test loaded."""
    torch.set_num_threads(1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _weights.cascade.cache_clear()


@pytest.fixture
def package() -> None:
    """The pip package with the published weights; the test is skipped, visibly, where it is not installed."""
    if importlib.util.find_spec("mtcnn") is None or importlib.util.find_spec("lz4") is None:
        pytest.skip("the package mtcnn is not installed")


@torch.inference_mode()
def random_cascade() -> Cascade:
    """Networks that find something in noise: slopes of both signs, and scores on both sides of the thresholds."""
    torch.manual_seed(5)
    made = Cascade()
    patch = torch.from_numpy(noise(96, 96)).permute(2, 0, 1).float()
    for network, size in ((made.pnet, 12), (made.rnet, 24), (made.onet, 48)):
        for name, values in network.named_parameters():
            if values.ndim == 1 and name.endswith("weight"):
                torch.nn.init.uniform_(values, -0.5, 0.8)
        windows = patch.unfold(1, size, size // 4).unfold(2, size, size // 4).reshape(3, -1, size, size).transpose(0, 1)
        network.face.bias.zero_()
        surer = network(windows)[0].reshape(-1, 2).diff(dim=1)
        network.face.weight *= 1.5 / surer.std()
        network.face.bias[1] = 0.5 - (surer * 1.5 / surer.std()).mean()
    return made.eval().requires_grad_(False)


def write_weights(path: Path, network: Cascade, name: str = "mtcnn", **changed: np.ndarray) -> Path:
    with create_store(path) as dst:
        dst.start("model", ())
        dst.document("model", {"name": name})
        for key, values in network.state_dict().items():
            dst.array(f"weights/{key}", changed.get(key.replace(".", "_"), values.numpy()))
        dst.document("provenance", [])
    return path


def scene() -> np.ndarray:
    """A photo with faces."""
    return draw_scene(np.random.default_rng(0)).image


def noise(height: int, width: int, seed: int = 1) -> np.ndarray:
    """Smooth coloured noise, which has something at every scale."""
    rng = np.random.default_rng(seed)
    made = sum(
        cv2.resize(rng.normal(size=(size, size, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
        for size in (4, 12, 36)
    )
    return np.clip(128 + 50 * made, 0, 255).astype(np.uint8)


def assert_same(found: detectors.Faces, expected: tuple[np.ndarray, np.ndarray, np.ndarray], atol: float) -> None:
    box, score, landmark = expected
    assert len(found.box) == len(box)
    pairs = overlap(found.box[:, None].astype(float), box).argmax(axis=1) if len(box) else np.zeros(0, int)
    assert sorted(pairs) == list(range(len(box)))
    assert np.allclose(found.box, box[pairs], atol=atol)
    assert np.allclose(found.landmark, landmark[pairs], atol=atol)
    assert np.allclose(found.score, score[pairs], atol=1e-3)


@pytest.mark.parametrize("shape", [(64, 90), (97, 61), (44, 150)])
def test_the_batched_cascade_finds_what_the_plain_one_does(tmp_path: Path, shape: tuple[int, int]) -> None:
    weights = write_weights(tmp_path / "w.h5", random_cascade())
    found = detectors.load("mtcnn", 15, None, str(weights)).detect(noise(*shape))
    expected = mtcnn_reference.detect(random_cascade(), noise(*shape), 15)
    large = expected[0][:, 2:].max(axis=1, initial=0) >= 15
    assert large.sum() >= 3  # else the test tells little
    assert_same(found, tuple(values[large] for values in expected), 0.01)


def test_photos_of_any_kind_have_faces_or_none(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "w.h5", random_cascade())
    photos = [noise(64, 90), noise(97, 61, 2), noise(5, 5), noise(80, 80, 3)[..., 0], noise(64, 90, 4)]
    finder = detectors.load("mtcnn", 15, None, str(weights))
    assert [len(finder.detect(photo).box) > 0 for photo in photos] == [True, True, False, True, True]


def test_confidence_is_the_lowest_score(tmp_path: Path) -> None:
    weights = str(write_weights(tmp_path / "w.h5", random_cascade()))
    photo = noise(97, 61)
    plain = detectors.load("mtcnn", 15, None, weights).detect(photo).score
    assert len(plain) > 1
    middle = float(np.median(plain))
    surer = detectors.load("mtcnn", 15, middle, weights).detect(photo).score
    assert 0 < len(surer) < len(plain)
    assert surer.min() > middle
    assert len(detectors.load("mtcnn", 15, 1.0, weights).detect(photo).score) == 0


def test_the_fast_proposal_network_answers_as_the_plain_one() -> None:
    plain = random_cascade().pnet
    pixels = torch.randint(0, 256, (3, 46, 70)).float()
    face, box = (answer[0] for answer in plain(pixels[None]))
    fast = FastProposalNet(plain)
    logit, seen = fast(torch.cat([pixels, torch.full((1, 46, 70), 77.0)]))  # the fourth channel is idle
    assert torch.allclose(logit, face[1] - face[0], atol=1e-4)
    assert torch.allclose(fast.box(seen), box.permute(1, 2, 0), atol=1e-4)


@pytest.mark.parametrize(("height", "width", "count"), [(270, 331, 9), (90, 50, 4), (40, 200, 4)])
def test_levels_lie_on_the_sheet_whole_and_apart(height: int, width: int, count: int) -> None:
    photo = Sums(noise(height, width))
    levels = _pyramid.levels(photo, 14)
    assert len(levels) == count
    sheet = _pyramid.sheet(photo, levels)
    taken = np.zeros(sheet.pixels.shape[:2], int)
    for number, (level, (row, column)) in enumerate(zip(levels, sheet.corner, strict=True)):
        taken[row : row + level.height, column : column + level.width] += 1
        expected = np.empty((level.height, level.width, 4), np.float32)
        photo.resize(expected)
        assert np.array_equal(sheet.pixels[row : row + level.height, column : column + level.width], expected)
        cells = (sheet.owner == number).sum()
        assert cells == np.prod([(side + side % 2 - 12) // 2 + 1 for side in (level.height, level.width)])
    assert taken.max() == 1
    assert taken.mean() > 0.7  # little of the sheet is idle


@pytest.mark.usefixtures("package")
def test_detectors_on_two_devices_have_networks_of_their_own() -> None:
    first = detectors.load("mtcnn", 40)
    detectors.load("mtcnn", 40, device="meta")
    assert {weight.device.type for net in (first._rnet, first._onet) for weight in net.parameters()} == {"cpu"}


@pytest.mark.usefixtures("package")
def test_faces_of_real_photos_are_those_of_the_published_cascade(shared_data: Path) -> None:
    counts = {
        "0-f1-su-ph.jpg": 1, "BWPictureHuman.jpg": 0, "free-mountain-vector-01.jpg": 0, "multi_face.jpg": 5,
        "single_face.jpg": 1,
    }  # fmt: skip
    finder = detectors.load("mtcnn", 40)
    for name, count in counts.items():
        photo = image.decode((shared_data / "photos" / name).read_bytes())
        found = finder.detect(photo)
        assert len(found.box) == count, name
        if count:
            box, _, _ = mtcnn_reference.detect(_weights.cascade(None), photo, 40)
            shared = overlap(found.box[:, None].astype(float), box)
            assert sorted(shared.argmax(axis=1)) == list(range(count)), name
            assert (shared.max(axis=1) > 0.95).all(), name


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("name", ["0-f1-su-ph.jpg", "multi_face.jpg", "single_face.jpg"])
def test_each_network_of_the_cascade_finds_what_the_published_one_does(shared_data: Path, name: str) -> None:
    # R-Net and O-Net of both get the same windows: a corner is cut to whole pixels, and one at 429.0 or 428.99999,
    # as the processor's last bits have it, would show the next network another window and move its box by a pixel.
    photo = image.decode((shared_data / "photos" / name).read_bytes())
    pixels, cascade = torch.from_numpy(photo).permute(2, 0, 1)[None].float(), _weights.cascade(None)
    sums, finder = Sums(photo), detectors.load("mtcnn", 40)
    with torch.inference_mode():
        proposed = finder._proposed(sums, 40)
        apart = nearest(mtcnn_reference.proposals(cascade, pixels, 40, 0.6), proposed)
        assert (apart < 0.01).mean() > 0.97  # those at the photo's edge differ, where a side is odd
        refined = finder._refined(sums, proposed)
        assert nearest(mtcnn_reference.refined(cascade, pixels, proposed, 0.7), refined).max() < 0.01
        box, score, landmark = finder._output(sums, refined)
        expected = mtcnn_reference.output(cascade, pixels, refined, 0.7)
    box = np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1)
    assert_same(detectors.Faces(box, score, landmark), expected, 0.01)


def nearest(expected: np.ndarray, box: np.ndarray) -> np.ndarray:
    """How far each of `expected` (n, 4) is from the nearest box, in its farthest coordinate; there are as many."""
    assert abs(len(expected) - len(box)) <= 0.01 * len(box)
    return np.abs(expected[:, None] - box).max(axis=2).min(axis=1)


@pytest.mark.usefixtures("package")
def test_no_frame_of_a_clip_without_faces_shows_one(shared_data: Path) -> None:
    clip = cv2.VideoCapture(str(shared_data / "photos" / "no_face.mp4"))
    frames = [frame[..., ::-1].copy() for ok, frame in iter(clip.read, (False, None)) if ok][::14]
    assert len(frames) == 7
    for name in ("haar", "mtcnn"):
        assert [len(found.box) for found in map(detectors.load(name, 32).detect, frames)] == [0] * 7


@pytest.mark.usefixtures("package")
def test_a_crowd_and_faces_at_the_border(shared_data: Path) -> None:
    photo = image.decode((shared_data / "photos" / "single_face.jpg").read_bytes())
    small = image.resize(photo[100:440, 120:440], 85, 80)
    crowd = np.tile(small, (13, 16, 1))
    found = detectors.load("mtcnn", 24).detect(crowd)
    assert len(found.box) >= 200
    one = detectors.load("mtcnn", 40).detect(photo)
    for left in (int(one.box[0, 0]), int(one.box[0, 0] + 0.2 * one.box[0, 2])):  # the face cut at its edge, and into
        cut = detectors.load("mtcnn", 40).detect(np.ascontiguousarray(photo[:, left:]))
        assert len(cut.box) == 1
        assert overlap(cut.box[0], one.box[0] - [left, 0, 0, 0]) > 0.4


@pytest.mark.usefixtures("package")
def test_boxes_of_a_huge_photo_are_mapped_back(shared_data: Path) -> None:
    photo = image.decode((shared_data / "photos" / "single_face.jpg").read_bytes())
    plain = detectors.load("mtcnn", 100).detect(photo)
    huge = cv2.resize(photo, None, fx=17, fy=17, interpolation=cv2.INTER_LINEAR)  # 93 megapixels
    found = detectors.load("mtcnn", 1700).detect(huge)
    assert len(found.box) == 1
    assert overlap(found.box[0], plain.box[0] * 17) > 0.85
    assert np.allclose(found.landmark, plain.landmark * 17, atol=17 * 10)


@pytest.mark.usefixtures("package")
def test_weights_are_kept_as_a_store_and_read_from_it(monkeypatch: pytest.MonkeyPatch, shared_data: Path) -> None:
    photo = image.decode((shared_data / "photos" / "single_face.jpg").read_bytes())
    first = detectors.load("mtcnn", 40).detect(photo)
    monkeypatch.setattr(_package, "folder", lambda: None)
    _weights.cascade.cache_clear()
    assert detectors.best() == "mtcnn"
    again = detectors.load("mtcnn", 40).detect(photo)
    assert np.array_equal(first.box, again.box)
    with open_store(_package.kept(), "model") as src:
        assert len(src.arrays("weights")) == 50


@pytest.mark.usefixtures("package")
def test_a_cache_that_cannot_be_written_is_no_loss(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert detectors.load("mtcnn", 40).detect(scene()).box.shape[0] > 0


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_package, "folder", lambda: None)
    assert detectors.best() == "haar"
    with pytest.raises(DataError) as caught:
        detectors.load("mtcnn", 32)
    assert str(caught.value) == (
        "the detector mtcnn needs weights, which the package mtcnn brings: pip install --no-deps mtcnn lz4"
    )


@pytest.mark.usefixtures("package")
def test_auto_is_haar_where_the_package_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_package, "folder", lambda: tmp_path)
    assert detectors.best() == "haar"  # of an older layout
    for name in _package.NETWORKS:
        (tmp_path / f"{name}.lz4").touch()
    assert detectors.best() == "mtcnn"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert detectors.best() == "haar"  # without lz4


def _damage_kept() -> Path:
    store = _package.kept()
    store.parent.mkdir(parents=True, exist_ok=True)
    store.write_bytes(b"half a sto")
    return store


def test_kept_weights_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    store = _damage_kept()
    monkeypatch.setattr(_package, "folder", lambda: None)
    assert detectors.best() == "haar"
    with pytest.raises(DataError) as caught:
        detectors.load("mtcnn", 32)
    assert str(caught.value) == (
        f"{store}, where the weights of mtcnn are kept, cannot be read: delete it, and pip install --no-deps mtcnn lz4"
    )


@pytest.mark.usefixtures("package")
def test_kept_weights_that_cannot_be_read_are_made_anew() -> None:
    store = _damage_kept()
    assert detectors.best() == "mtcnn"
    assert detectors.load("mtcnn", 40).detect(scene()).box.shape[0] > 0
    with open_store(store, "model") as src:
        assert len(src.arrays("weights")) == 50


def test_a_file_other_than_the_published_one_is_not_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_package, "folder", lambda: tmp_path)
    with pytest.raises(DataError) as caught:
        detectors.load("mtcnn", 32)
    assert str(caught.value) == (
        f"{tmp_path / 'pnet.lz4'} cannot be read (No such file or directory): pip install --no-deps mtcnn lz4"
    )
    (tmp_path / "pnet.lz4").write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    with pytest.raises(DataError) as caught:
        detectors.load("mtcnn", 32)
    assert str(caught.value) == (
        f"{tmp_path / 'pnet.lz4'} is not the file that was published with mtcnn 1.0.0: "
        f"pip install --no-deps mtcnn lz4 again"
    )
    assert not _package.kept().exists()


def test_weights_that_are_none(tmp_path: Path) -> None:
    path, network = tmp_path / "w.h5", random_cascade()

    def refused() -> str:
        _weights.cascade.cache_clear()
        with pytest.raises(DataError) as caught:
            detectors.load("mtcnn", 32, None, str(path))
        return str(caught.value)

    assert refused() == f"{path} does not exist"
    path.write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    assert refused().startswith(f"{path} is not a fercli store")
    write_weights(path, network, name="vgg")
    assert refused() == f"{path} holds no weights of mtcnn: leave --weights out, and {_weights._INSTALL}"
    shape = "float32 weights pnet.face.bias of shape (2,)"
    for wrong in (np.zeros(3, np.float32), np.zeros(2, np.float64)):
        write_weights(path, network, pnet_face_bias=wrong)
        assert refused() == f"{path} is damaged: it holds no {shape}"
    write_weights(path, network, onet_box_bias=np.array([0, np.nan, 0, 0], np.float32))
    assert refused() == f"{path} is damaged: the weights onet.box.bias hold values that are not finite numbers"
    whole = write_weights(path, network).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert refused().startswith(f"{path} is ")


def test_thresholds_are_the_published_ones() -> None:
    assert (mtcnn.PASS, mtcnn.ALIKE, mtcnn.INSIDE) == ((0.6, 0.7, 0.7), (0.5, 0.7, 0.7), 0.7)
    assert (_pyramid.WINDOW, _pyramid.STRIDE, _pyramid.FACTOR) == (12, 2, 0.709)


def test_who_has_no_home_has_a_cache_too(monkeypatch):
    """As a container that runs under a number for which the system knows no user."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", Mock(side_effect=RuntimeError("Could not determine home directory.")))
    assert _package.kept() == Path(tempfile.gettempdir(), f"cache-{os.getuid()}", "fercli", "mtcnn.h5")
