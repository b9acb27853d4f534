"""The tracker: it follows what moves and grows, says when it is gone, and agrees with detection on a real clip."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fercli import detectors
from fercli.ops.geometry import overlap
from fercli.ops.kcf import LOST, Kcf
from fercli.ops.synthetic import draw_face

FACE = draw_face(np.random.default_rng(3), "happy", 96)
BACKGROUND = cv2.resize(np.random.default_rng(4).integers(40, 200, (12, 16), np.uint8), (320, 240))

CLIPS = ("WolfgangLanger_Pexels.mp4", "no_face.mp4")
PHOTOS = ("multi_face.jpg", "free-mountain-vector-01.jpg", "BWPictureHuman.jpg", "single_face.jpg")


def picture(x: float, y: float, side: float = 64.0, face: np.ndarray = FACE) -> np.ndarray:
    """A (240, 320) frame with a face at (x, y), of a size in px; part of it may be outside."""
    scale = side / face.shape[0]
    place = np.array([[scale, 0, x + (scale - 1) / 2], [0, scale, y + (scale - 1) / 2]])
    return cv2.warpAffine(face, place, (320, 240), BACKGROUND.copy(), cv2.INTER_AREA, cv2.BORDER_TRANSPARENT)


def box(x: float, y: float, side: float = 64.0) -> np.ndarray:
    return np.array([x, y, side, side], np.float32)


def gray_frames(path):
    """The first 60 frames of a clip, (360, 640) uint8."""
    clip = cv2.VideoCapture(str(path))
    for _ in range(60):
        yield cv2.resize(cv2.cvtColor(clip.read()[1], cv2.COLOR_BGR2GRAY), (640, 360))
    clip.release()


@settings(max_examples=200, deadline=None)
@given(
    side=st.floats(24, 90),
    way=st.floats(0, 0.2),
    angle=st.floats(0, 2 * np.pi),
    x=st.floats(60, 160),
    y=st.floats(50, 100),
)
def test_a_face_that_moves_by_up_to_a_fifth_of_its_side_is_found_again(side, way, angle, x, y):
    tracker = Kcf(picture(x, y, side), box(x, y, side))
    x, y = x + way * np.cos(angle) * side, y + way * np.sin(angle) * side
    assert tracker.update(picture(x, y, side)) > LOST
    assert overlap(tracker.box, box(x, y, side)) > 0.8


def test_a_face_that_moves_by_up_to_a_quarter_of_its_side_in_both_directions_is_hardly_ever_lost():
    rng, lost = np.random.default_rng(0), 0
    for _ in range(1000):
        side, x, y = rng.uniform(24, 90), rng.uniform(60, 160), rng.uniform(50, 100)
        tracker = Kcf(picture(x, y, side), box(x, y, side))
        x, y = (x, y) + rng.uniform(-0.25, 0.25, 2) * side
        response = tracker.update(picture(x, y, side))
        lost += not (response > LOST and overlap(tracker.box, box(x, y, side)) > 0.8)
    assert lost <= 1  # with one look alone, 5


def test_a_face_is_followed_over_many_frames_while_it_moves_and_grows():
    path = [(40 + 2 * step, 50 + step, 40 * 1.015**step) for step in range(50)]
    tracker = Kcf(picture(*path[0]), box(*path[0]))
    for x, y, side in path[1:]:
        assert tracker.update(picture(x, y, side)) > LOST
        assert overlap(tracker.box, box(x, y, side)) > 0.7


def test_a_face_that_stays_is_left_where_it_is():
    frame = picture(100, 80)
    tracker = Kcf(frame, box(100, 80))
    for _ in range(50):
        assert tracker.update(frame) == pytest.approx(1, abs=0.02)
    assert overlap(tracker.box, box(100, 80)) > 0.98


def test_a_face_that_is_gone_is_lost_and_the_tracker_stays_where_it_was():
    tracker = Kcf(picture(100, 80), box(100, 80))
    for frame in (BACKGROUND, np.zeros_like(BACKGROUND), np.full_like(BACKGROUND, 255)):
        assert tracker.update(frame) < LOST
        assert (tracker.box == box(100, 80)).all()
    assert tracker.update(picture(104, 82)) > LOST


@pytest.mark.parametrize("place", [(-30, -30, 64), (290, 210, 64), (400, 300, 40), (0, 0, 1), (0, 0, 320), (10, 10, 0)])
@pytest.mark.parametrize("shape", [(240, 320), (1, 1), (3, 500)])
def test_boxes_at_the_border_outside_and_without_size(place, shape):
    frame = np.random.default_rng(5).integers(0, 256, shape, np.uint8)
    tracker = Kcf(frame, box(*place))
    for _ in range(3):
        tracker.update(frame)
    assert np.isfinite(tracker.box).all()


def test_a_flat_picture_has_nothing_to_follow():
    tracker = Kcf(np.full((240, 320), 128, np.uint8), box(100, 80))
    tracker.update(picture(100, 80))
    assert np.isfinite(tracker.box).all()


def test_the_same_frames_give_the_same_boxes():
    def run() -> bytes:
        tracker = Kcf(picture(100, 80), box(100, 80))
        tracker.update(picture(110, 83, 66))
        return tracker.box.tobytes()

    assert run() == run()


def test_a_real_face_is_followed_where_detection_in_every_frame_finds_it(shared_data):
    clip = cv2.VideoCapture(str(shared_data / "photos" / "WolfgangLanger_Pexels.mp4"))
    frames = [cv2.cvtColor(clip.read()[1], cv2.COLOR_BGR2GRAY) for _ in range(36)]
    clip.release()
    haar = detectors.load("haar", 32)
    found = [haar.detect(frame).box[0] for frame in frames]
    shares, responses = [], []
    for start in range(0, len(frames), 6):
        tracker = Kcf(frames[start], found[start])
        for frame, truth in zip(frames[start + 1 : start + 6], found[start + 1 : start + 6], strict=True):
            responses.append(tracker.update(frame))
            shares.append(overlap(tracker.box, truth))
    assert np.mean(shares) > 0.9
    assert min(responses) > LOST


def test_a_real_face_is_lost_at_a_cut_to_another_scene(shared_data):
    clip, other = (list(gray_frames(shared_data / "photos" / name)) for name in CLIPS)
    others = other[::6] + [
        cv2.resize(cv2.imread(str(shared_data / "photos" / name), cv2.IMREAD_GRAYSCALE), (640, 360)) for name in PHOTOS
    ]
    haar, responses = detectors.load("haar", 32), []
    for frame in clip[::5]:
        place = haar.detect(frame).box[0]
        responses += [Kcf(frame, place).update(scene) for scene in others]
    assert len(responses) == 168
    assert max(responses) < LOST
    assert np.median(responses) < 0.25
