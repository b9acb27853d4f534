"""Tracks: numbers that stay with their faces, faces that go and come back, and false ones that are seen once."""

import numpy as np
import pytest

from fercli.detectors import Faces
from fercli.errors import DataError
from fercli.layouts.video import Frame
from fercli.ops.geometry import overlap
from fercli.stages.tracking import MEMORY, Tracker

from .clips import FACE

RATE = 10  # frames a second
BACKGROUND = np.random.default_rng(8).integers(90, 140, (240, 320), np.uint8)


def scene(*faces: tuple[int, int]) -> np.ndarray:
    """A frame with faces of 96 px at these corners."""
    frame = BACKGROUND.copy()
    for x, y in faces:
        part = frame[y : y + 96, x : x + 96]
        part[:] = FACE[: part.shape[0], : part.shape[1]]
    return frame


class Detector:
    """Finds what it is told to, frame by frame, and counts."""

    def __init__(self, faces: list[list[tuple[int, int]]], landmarks: bool = False) -> None:
        self.faces, self.landmarks, self.searched = faces, landmarks, []

    def __call__(self, image: np.ndarray) -> Faces:
        number = int(image[-1, -1])  # where `follow` writes it
        self.searched.append(number)
        box = np.array([(x, y, 96, 96) for x, y in self.faces[number]], np.float32).reshape(-1, 4)
        landmark = np.repeat(box[:, None, :2], 5, 1) + 48 if self.landmarks else None
        return Faces(box, np.arange(len(box), dtype=np.float32) + 1, landmark)


def follow(scenes: list[list[tuple[int, int]]], detector: Detector, every: int = 6) -> list:
    frames = []
    for number, faces in enumerate(scenes):
        image = scene(*faces)
        image[-1, -1] = number
        frames.append(Frame(number, number / RATE, image))
    seen = list(Tracker(detector, every).follow(frames))
    assert [one.frame.number for one in seen] == list(range(len(scenes)))
    return seen


def numbers(seen: list) -> list[list[int]]:
    return [sorted(one.track.tolist()) for one in seen]


def moving(count: int, x: int = 20, step: int = 3) -> list[list[tuple[int, int]]]:
    return [[(x + step * number, 60)] for number in range(count)]


def test_a_face_is_searched_for_in_every_sixth_frame_and_followed_in_between():
    there = moving(20)
    detector = Detector(there)
    seen = follow(there, detector)
    assert detector.searched == [0, 1, 7, 13, 19]  # the new face once more in the next frame
    assert numbers(seen) == [[1]] * 20
    for one, [(x, y)] in zip(seen, there, strict=True):
        assert overlap(one.faces.box[0], np.array([x, y, 96, 96])) > 0.85


def test_every_frame_is_searched_if_so_asked():
    detector = Detector(moving(8))
    follow(moving(8), detector, every=1)
    assert detector.searched == list(range(8))


def test_two_faces_keep_their_numbers_though_the_detector_brings_them_in_any_order():
    there = [[(10 + number, 20), (200 - number, 130)] for number in range(20)]
    told = [faces if number % 2 else faces[::-1] for number, faces in enumerate(there)]
    seen = follow(there, Detector(told), every=2)
    assert numbers(seen) == [[1, 2]] * 20
    for one in seen:
        tops = dict(zip(one.track.tolist(), one.faces.box[:, 1].round(-1).tolist(), strict=True))
        assert tops == {1: 20, 2: 130}


def test_a_false_face_that_is_gone_in_the_next_frame_is_none():
    there = [[] for _ in range(14)]
    told = [[(100, 60)] if number == 6 else [] for number in range(14)]
    detector = Detector(told)
    assert numbers(follow(there, detector)) == [[]] * 14
    assert detector.searched == [0, 6, 7, 13]


def test_a_false_face_takes_no_number():
    there = moving(14)
    told = [[*faces, (200, 140)] if number == 0 else faces for number, faces in enumerate(there)]
    assert numbers(follow(there, Detector(told))) == [[1]] * 14


@pytest.mark.parametrize("count", [1, 7])
def test_a_face_in_the_last_frame_counts_at_once(count):
    there = [[] for _ in range(count - 1)] + [[(50, 60)]]
    assert numbers(follow(there, Detector(there))) == [[]] * (count - 1) + [[1]]


def test_the_frame_before_an_error_comes_out():
    def frames():
        yield Frame(0, 0.0, scene((50, 60)))
        raise DataError("it broke")

    detector = Detector([[(50, 60)]] * 256)
    seen = Tracker(detector, 6).follow(frames())
    assert next(seen).track.tolist() == [1]
    with pytest.raises(DataError, match="it broke"):
        next(seen)


def test_a_face_that_leaves_is_lost_at_once_and_comes_back_under_its_number():
    gone = 5
    there = moving(8, step=0) + [[]] * gone + moving(8, step=0)
    seen = follow(there, Detector(there))
    assert numbers(seen)[:8] == [[1]] * 8
    assert numbers(seen)[8 : 8 + gone] == [[]] * gone
    assert numbers(seen)[-1] == [1]


def test_a_face_that_comes_back_later_or_elsewhere_is_another():
    gone = int(MEMORY * RATE) + 6
    there = moving(8, step=0) + [[]] * gone + moving(14, step=0) + moving(14, x=200, step=0)
    assert {tuple(row) for row in numbers(follow(there, Detector(there)))} == {(1,), (), (2,), (3,)}


def test_a_face_that_the_detector_misses_now_and_then_is_followed():
    there = moving(60, step=1)
    told = [[] if 14 <= number < 26 else faces for number, faces in enumerate(there)]
    assert numbers(follow(there, Detector(told))) == [[1]] * 60


def test_a_face_that_is_half_out_of_the_picture_is_told_while_it_is_found():
    there = [[(min(150 + 8 * number, 272), 60)] for number in range(40)]
    found = [faces if number < 26 else [] for number, faces in enumerate(there)]  # the middle of its box is at the edge
    detector = Detector(found)
    told = numbers(follow(there, detector))
    missed = min(number for number in detector.searched if number >= 26)
    assert told == [[1]] * missed + [[]] * (40 - missed)
    assert numbers(follow(there, Detector(there))) == [[1]] * 40


def test_what_the_detector_does_not_find_any_more_is_given_up():
    there = moving(80, step=1)
    told = [faces if number < 20 else [] for number, faces in enumerate(there)]
    seen = numbers(follow(there, Detector(told)))
    assert seen[:20] == [[1]] * 20
    assert seen[-1] == []


def test_a_track_that_has_slid_onto_another_face_is_given_up():
    there = moving(20, step=1)
    told = [[*faces, (faces[0][0] + 30, 60)] if number < 2 else faces for number, faces in enumerate(there)]
    seen = numbers(follow(there, Detector(told)))
    assert seen[:7] == [[1, 2]] * 7
    assert seen[7:] == [[1]] * 13


def test_landmarks_go_with_the_box():
    there = moving(6)
    seen = follow(there, Detector(there, landmarks=True))
    for one in seen:
        assert one.faces.landmark.shape == (1, 5, 2)
        assert one.faces.landmark[0, 0] - one.faces.box[0, :2] == pytest.approx(one.faces.box[0, 2:] / 2)


def test_the_largest_face_comes_first_with_its_score():
    found = Faces(np.array([[200, 100, 60, 60], [10, 20, 120, 120]], np.float32), np.array([1, 2], np.float32))
    frames = [Frame(number, number / RATE, scene()) for number in range(3)]
    for one in Tracker(lambda image: found, 1).follow(frames):
        assert one.faces.box[:, 2].tolist() == [120, 60]
        assert one.faces.score.tolist() == [2, 1]
