"""Videos and cameras: their frames, the rows made of them, and what is wrong with those that are."""

import itertools
import json
import math
import os
import signal
import struct
import subprocess
import tarfile
import threading
import time
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest

from fercli.errors import DataError, DeviceGone, UsageError
from fercli.layouts import open_source
from fercli.layouts import video as layout
from fercli.layouts.files import Folder
from fercli.layouts.video import is_clip, open_clip
from fercli.stages import video
from fercli.stages.detect import DetectSpec, Search
from fercli.stages.opening import shell_words
from fercli.stages.rows import json_lines, rows
from fercli.stages.runner import Log
from fercli.store import open_store

from .clips import SAMPLES, Frames, changed, face_frames, gray_frames, write_clip
from .program import COLD, ROOT, fer, shell
from .stages import Notes
from .trees import photo

CLASSES = ("angry", "happy")
UNKNOWN = (
    f"it cannot be read as a video: it is cut off or damaged, or of a kind that OpenCV {cv2.__version__} does not know"
)


def read(path: Path) -> list[layout.Frame]:
    return list(open_clip(str(path)).frames())


def fault(path: Path) -> str:
    """What is said of a clip."""
    with pytest.raises(DataError) as caught:
        read(path)
    return str(caught.value)


# --- frames ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clip.avi", "clip.mp4"])
def test_frames_are_rgb_and_numbered_and_have_the_time_at_which_they_are_shown(tmp_path, name):
    image = np.zeros((120, 160, 3), np.uint8)
    image[:, :80] = (200, 100, 0)
    frames = read(write_clip(tmp_path / name, [image] * 8, rate=5))
    assert [frame.number for frame in frames] == list(range(8))
    assert [frame.time for frame in frames] == pytest.approx(np.arange(8) / 5)
    assert frames[3].image.shape == (120, 160, 3)
    assert frames[3].image[60, 40] == pytest.approx((200, 100, 0), abs=12)


def test_a_variable_frame_rate(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", gray_frames(12))
    unit = 1024  # of time, a frame

    def slow_end(content: bytes) -> bytes:
        assert struct.unpack(">IIII", content) == (0, 1, 12, unit)
        return struct.pack(">IIIIII", 0, 2, 6, unit, 6, 3 * unit)

    data = changed(path.read_bytes(), (*SAMPLES, b"stts"), slow_end)
    data = changed(data, (b"moov", b"trak"), lambda content: content.replace(b"edts", b"free"))
    path.write_bytes(data)
    times = np.concatenate([np.arange(6) / 10, 0.6 + np.arange(6) * 0.3])
    assert [frame.time for frame in read(path)] == pytest.approx(times)


def test_a_rotated_video_is_turned_upright(tmp_path):
    image = np.zeros((120, 160, 3), np.uint8)
    image[:60, :80] = 250  # above left
    path = write_clip(tmp_path / "clip.mp4", [image] * 3)

    def quarter(content: bytes) -> bytes:
        turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
        return content[:40] + turned + content[76:]

    path.write_bytes(changed(path.read_bytes(), (b"moov", b"trak", b"tkhd"), quarter))
    turned = read(path)[0].image
    assert turned.shape == (160, 120, 3)
    assert turned[40, 90].min() > 200  # above right
    assert turned[40, 30].max() < 50


def test_an_edit_list_that_leaves_frames_out_is_no_fault(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", gray_frames(40))
    halved = changed(path.read_bytes(), (b"moov", b"trak", b"edts", b"elst"), _half)
    path.write_bytes(halved)
    assert len(read(path)) in (20, 21)


def _half(content: bytes) -> bytes:
    version, count, duration = struct.unpack_from(">III", content)
    return struct.pack(">III", version, count, duration // 2) + content[12:]


@pytest.mark.parametrize("name", ["clip.avi", "clip.mp4", "clip.mkv"])
def test_a_video_that_is_cut_off_gives_the_frames_it_has(tmp_path, name):
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 256, (120, 160), np.uint8) for _ in range(30)]
    path = write_clip(tmp_path / name, noise)
    data = path.read_bytes()
    if path.suffix == ".mp4":  # the index comes first, as in videos made for the web
        index = data.index(b"moov") - 4
        front = data[: data.index(b"mdat") - 4]
        moved = changed(data[index:], (*SAMPLES, b"stco"), lambda content: _later(content, len(data) - index))
        data = front + moved + data[len(front) : index]
        path.write_bytes(data)
    assert len(read(path)) == 30
    path.write_bytes(data[: len(data) * 2 // 3])
    frames = []
    with pytest.raises(DataError) as caught:
        frames.extend(open_clip(str(path)).frames())
    seconds = len(frames) / 10
    assert 0 < len(frames) < 30
    assert str(caught.value) == (f"it is cut off or damaged: it ends after {seconds:.1f} s ({len(frames)} frames)")


def _later(content: bytes, by: int) -> bytes:
    count = struct.unpack_from(">I", content, 4)[0]
    offsets = struct.unpack_from(f">{count}I", content, 8)
    return content[:8] + struct.pack(f">{count}I", *(offset + by for offset in offsets))


@pytest.mark.parametrize("behind", [b"SEFT", b"\n", b"\0\1\2\3 a trailer of a camera" * 40])
def test_what_stands_behind_the_last_box_is_no_fault(tmp_path, behind):
    path = write_clip(tmp_path / "clip.mp4", gray_frames(12))
    path.write_bytes(path.read_bytes() + behind)
    assert len(read(path)) == 12


def test_frames_that_an_avi_counts_and_does_not_show_are_no_fault(tmp_path):
    """Those that screen recorders write empty where nothing moved."""
    path = write_clip(tmp_path / "clip.avi", gray_frames(12))
    data = bytearray(path.read_bytes())
    at = data.index(b"avih") + 8 + 16  # dwTotalFrames
    assert struct.unpack_from("<I", data, at) == (12,)
    struct.pack_into("<I", data, at, 25)
    at = data.index(b"strh") + 8 + 32  # dwLength
    struct.pack_into("<I", data, at, 25)
    path.write_bytes(data)
    assert len(read(path)) == 12


def test_a_name_that_opencv_cannot_take_is_told(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    write_clip(tmp_path / "clip.mp4", gray_frames(2)).rename(path)
    told = "its path is not UTF-8, which OpenCV cannot open: rename it"
    assert fault(path) == told
    _, message = fer("predict", tmp_path / "clip.mp4", "--annotate", path, status=1)
    assert message.endswith(f"cannot be written: {told}\n")


def test_what_is_no_video(tmp_path):
    (tmp_path / "text.mp4").write_bytes(b"this is no video\n" * 100)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    whole = write_clip(tmp_path / "whole.mp4", gray_frames(5)).read_bytes()
    (tmp_path / "headless.mp4").write_bytes(whole[: len(whole) // 2])
    mjpeg = write_clip(tmp_path / "whole.avi", gray_frames(5)).read_bytes()
    (tmp_path / "codec.avi").write_bytes(mjpeg.replace(b"MJPG", b"ZZZZ"))
    assert fault(tmp_path / "text.mp4") == UNKNOWN
    assert fault(tmp_path / "headless.mp4") == UNKNOWN
    assert fault(tmp_path / "codec.avi") == UNKNOWN
    assert fault(tmp_path / "empty.mp4") == "the file is empty (zero bytes)"
    assert fault(tmp_path / "folder.mp4") == "it is not a regular file"
    assert fault(tmp_path / "missing.mp4") == "it cannot be read: No such file or directory"
    assert fault(write_clip(tmp_path / "none.avi", [])) == "it holds no frames that can be decoded"


def test_frames_that_are_too_large_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.avi", gray_frames(2))
    monkeypatch.setattr(layout, "MAX_PIXELS", 10_000)
    assert fault(path) == "its frames are of 160x120 pixels, more than the 10,000 that are accepted"


def test_a_playlist_under_the_name_of_a_video_opens_nothing_else(tmp_path):
    other = write_clip(tmp_path / "other.avi", gray_frames(5))
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{other}\n#EXT-X-ENDLIST\n")
    assert fault(playlist) == UNKNOWN


def test_what_a_clip_is_by_its_name(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    assert is_clip("a.MP4")
    assert is_clip("camera:0")
    assert not is_clip("a.jpg")
    assert not is_clip(str(tmp_path / "folder.mp4"))
    for path in ("camera:", "camera:x", "camera:-1", "camera:9999"):
        with pytest.raises(UsageError) as caught:
            open_clip(path)
        assert str(caught.value) == f"{path!r} is no camera: the first is camera:0, the next camera:1"


# --- cameras ---------------------------------------------------------------------------------------------------------


class Camera:
    """Stands for cv2.VideoCapture: gives so many frames."""

    def __init__(self, count: float) -> None:
        self.count, self.given, self.released = count, 0, False

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.count > 0

    def read(self):
        if self.given >= self.count:
            return False, None
        self.given += 1
        return True, np.full((120, 160, 3), self.given % 256, np.uint8)

    def release(self) -> None:
        self.released = True


@pytest.fixture
def camera(monkeypatch):
    def put(count: float) -> Camera:
        made = Camera(count)
        monkeypatch.setattr(cv2, "VideoCapture", lambda number: made)
        return made

    return put


def test_a_camera_that_is_not_there(camera):
    found = camera(0)
    assert fault("camera:7") == "it cannot be opened: there is no such camera, or another program holds it"
    assert found.released


def test_a_camera_that_vanishes_gives_its_frames_first(camera):
    found = camera(3)
    clip, frames = open_clip("camera:0"), []
    with pytest.raises(DataError) as caught:
        frames.extend(iter(clip.frames()))
    assert str(caught.value) == "it gives no more frames after 3: it was unplugged, or another program took it"
    assert found.released


def test_frames_of_a_camera_have_rising_times(camera):
    camera(math.inf)
    clip = open_clip("camera:0")
    frames = list(itertools.islice(clip.frames(), 5))
    times = [frame.time for frame in frames]
    assert times[0] == 0
    assert times == sorted(times)
    assert clip.digest() != open_clip("camera:0").digest()


@pytest.mark.parametrize("numbers", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]])
def test_an_interrupt_ends_a_camera_and_its_rows_are_kept(camera, numbers):
    found, before = camera(math.inf), [signal.getsignal(number) for number in numbers]
    got, heard = [], Notes()
    for photos, block in label([open_clip("camera:0")], Log("skip", heard)):
        assert len(photos) == 1
        got += list(rows(block, CLASSES))
        if len(got) == 20:
            for number in numbers:
                signal.raise_signal(number)
    assert [row["status"] for row in got] == ["ok"] * len(got)
    assert len(got) in (20, 21)
    assert found.released
    assert [signal.getsignal(number) for number in numbers] == before
    assert [note.split(" frames")[0] for note in heard.notes] == [f"camera:0: track 1: {len(got)}"]


# --- labelling -------------------------------------------------------------------------------------------------------


def answer(crops: np.ndarray, digests: np.ndarray) -> dict[str, np.ndarray]:
    """The brighter a face, the happier."""
    happy = crops.reshape(len(crops), crops[0].size if len(crops) else 1).mean(axis=1) / 255
    probability = np.stack([1 - happy, happy], axis=1).astype(np.float32)
    return {
        "digest": digests, "probability": probability, "predicted": probability.argmax(1).astype(np.int16),
        "seen": np.zeros(len(crops), bool),
    }  # fmt: skip


def label(clips, log=None, smooth=0.0, detector="none", **more):
    search = Search(DetectSpec(detector=detector, keep="all", size=24))
    return video.label_clips(clips, search, answer, CLASSES, smooth, log or Log("skip"), **more)


def labelled(*arguments, **more) -> list[dict]:
    return [row for _, block in label(*arguments, **more) for row in rows(block, CLASSES)]


def test_rows_are_those_of_photos_with_time_frame_and_track():
    found = labelled([Frames([np.full((30, 40, 3), 200, np.uint8)] * 3, rate=4)])
    assert [list(row.items())[-3:] for row in found] == [
        [("time", number / 4), ("frame", number), ("track", 1)] for number in range(3)
    ]
    assert found[0]["source"] == "clip.mp4"
    assert found[0]["label"] == "happy"
    assert found[0]["box"] == [0, 0, 40, 30]


def test_a_video_without_a_face_has_rows_that_say_so():
    log = Log("fail")
    found = labelled([Frames(gray_frames(50))], log, detector="haar")
    assert [(row["status"], row["label"], row["track"]) for row in found] == [("no face", None, None)] * 50
    assert log.failures == []
    assert log.facts == {"tracks": []}


def test_a_clip_that_ends_in_an_error_has_its_rows_and_one_that_says_so():
    log = Log("skip")
    broken = Frames([np.full((30, 40, 3), 200, np.uint8)] * 40, error=DataError("it broke"))
    found = labelled([broken, Frames([np.full((30, 40, 3), 0, np.uint8)] * 2)], log)
    assert [row["status"] for row in found] == ["ok"] * 40 + ["error"] + ["ok"] * 2
    assert (found[40]["error"], found[40]["frame"], found[40]["time"]) == ("it broke", 40, 3.9)
    assert log.failures == [("clip.mp4", "it broke")]
    assert [(one["track"], one["frames"], one["label"]) for one in log.facts["tracks"]] == [
        (1, 40, "happy"),
        (1, 2, "angry"),
    ]


def test_a_gpu_that_is_gone_is_no_fault_of_the_clip():
    broken = Frames([np.full((30, 40, 3), 200, np.uint8)] * 3, error=DeviceGone("gone"))
    with pytest.raises(DeviceGone):
        labelled([broken], Log("skip"))


def test_smoothing_averages_over_time():
    images = [np.full((30, 40, 3), value, np.uint8) for value in [255] * 5 + [0] * 40]
    plain, smooth = (labelled([Frames(images, rate=10)], smooth=seconds) for seconds in (0.0, 0.5))
    assert [row["probabilities"]["happy"] for row in plain] == [1] * 5 + [0] * 40
    chances = [row["probabilities"]["happy"] for row in smooth]
    assert chances[:5] == [1] * 5
    assert chances[5:] == pytest.approx(np.exp(-np.arange(1, 41) / 5), abs=1e-5)
    assert [row["label"] for row in smooth] == ["happy" if chance > 0.5 else "angry" for chance in chances]
    for row in smooth:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_the_frames_are_there_only_if_they_are_asked_for():
    images = [np.full((30, 40, 3), value, np.uint8) for value in range(9)]
    pictured = [photo for photos, _ in label([Frames(images)], pictures=True) for photo in photos]
    assert [int(photo.read()[0, 0, 0]) for photo in pictured] == list(range(9))
    plain = next(label([Frames(images)]))[0][0]
    with pytest.raises(DataError):
        plain.read()


@pytest.mark.parametrize("pictures", [False, True])
def test_few_frames_are_in_memory_at_a_time(pictures):
    alive, most = 0, 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def made():
        nonlocal alive, most
        for _ in range(300):
            image = np.full((30, 40, 3), 200, np.uint8)
            weakref.finalize(image, gone)
            alive += 1
            most = max(most, alive)
            yield image

    assert sum(len(photos) for photos, _ in label([Frames(made())], pictures=pictures)) == 300
    assert most < 30


def test_who_stops_early_leaves_no_thread_and_hears_no_summary():
    before, heard = set(threading.enumerate()), Notes()
    found = label([Frames([np.full((30, 40, 3), 200, np.uint8)] * 500)], Log("skip", heard))
    next(found)
    found.close()
    assert not set(threading.enumerate()) - before
    assert heard.notes == []


def test_many_tracks_are_told_in_json_alone():
    heard = Notes()
    log = Log("skip", heard)
    tracks = video.Tracks("clip.mp4", CLASSES)
    chances = np.tile(np.array([[0.25, 0.75]], np.float32), (25, 1))
    tracks.add({"track": np.arange(1, 26), "predicted": np.ones(25, int), "time": np.zeros(25), "probability": chances})
    tracks.tell(log)
    assert heard.notes[0] == "clip.mp4: track 1: 1 frame from 0.0 to 0.0 s, happy 75%"
    assert heard.notes[20:] == ["clip.mp4: 5 more tracks; --json tells of all"]
    assert len(log.facts["tracks"]) == 25
    assert log.facts["tracks"][24] == {
        "source": "clip.mp4", "track": 25, "frames": 1, "first": 0.0, "last": 0.0, "label": "happy",
        "confidence": 0.75, "probabilities": {"angry": 0.25, "happy": 0.75},
    }  # fmt: skip


def test_the_same_video_gives_the_same_bytes(tmp_path):
    path = str(write_clip(tmp_path / "clip.avi", face_frames(30), (320, 240)))
    text = json_lines(CLASSES)
    one, other = ([text(block) for _, block in label([open_clip(path)], detector="haar")] for _ in range(2))
    assert one == other
    assert b'"ok"' in one[0]


def test_photos_that_are_not_read_are_told_of(tmp_path):
    heard = Notes()
    for name in ("a.jpg", "b.HEIC", "c.avif"):
        (tmp_path / name).write_bytes(b"photo")
    video.tell_left_out([Folder(str(tmp_path)), open_source(f"{tmp_path}/a.jpg")], Log("skip", heard))
    assert heard.notes == [
        f"{tmp_path} holds 2 photos in a format that is not read (.avif, .heic), left out: "
        f"convert to JPEG what is to be labelled"
    ]


def test_files_that_are_no_photos_are_told_of(tmp_path):
    heard = Notes()
    for name in ("a.jpg", "IMG_0001", "photo.jpg?size=large", "notes.txt"):
        (tmp_path / name).write_bytes(b"some")
    video.tell_left_out([Folder(str(tmp_path)), open_source(f"{tmp_path}/IMG_0001")], Log("skip", heard))
    assert heard.notes == [
        f"{tmp_path} holds 3 files not named as photos are (.jpg?size=large, .txt, no ending), left out"
    ]


def test_videos_among_photos_are_told_of(tmp_path):
    heard = Notes()
    for name in ("a.jpg", "b.mp4", "c.MOV"):
        (tmp_path / name).touch()
    video.tell_left_out([Folder(f"{tmp_path}/")], Log("skip", heard))
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        archive.add(tmp_path / "b.mp4", "b.mp4")
    video.tell_left_out([open_source(f"{tmp_path}/all.tar")], Log("skip", heard))
    assert heard.notes == [
        f"{tmp_path}/ holds 2 videos, left out: label them with fer predict {tmp_path}/b.mp4 {tmp_path}/c.MOV",
        f"{tmp_path}/all.tar holds 1 video, left out: unpack it, and name them",
    ]


def test_many_files_are_told_by_the_patterns_that_match_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("p", "q [1]"):
        Path(folder).mkdir()
        for number in range(4):
            Path(folder, f"{number}.jpg").touch()
    few, all_in, other = (
        ["p/0.jpg", "q [1]/0.jpg"],
        [f"p/{n}.jpg" for n in range(4)],
        [f"q [1]/{n}.jpg" for n in range(4)],
    )
    assert shell_words(few) == "p/0.jpg 'q [1]/0.jpg'"
    assert shell_words(all_in) == "'p/*.jpg'"
    assert shell_words(["p", *all_in]) == "'p/*.jpg' p"
    assert shell_words(list("abcdefghijklmnopqrst")) == "a b c d e f g h i j k l m n o p q r s t"
    assert shell_words(list("abcdefghijklmnopqrstu")) == "a b c ... (21 in all)"
    assert shell_words(other) == "'q [[]1]/*.jpg'"
    assert shell_words([*all_in, *other]) == "'p/*.jpg' 'q [[]1]/*.jpg'"
    assert shell_words([f"{tmp_path}/{path}" for path in (*all_in, *other)], str(tmp_path)) == f"'{tmp_path}/**/*.jpg'"
    assert shell_words([*all_in[:3], other[0]]) == "p/0.jpg p/1.jpg p/2.jpg 'q [1]/0.jpg'"
    monkeypatch.chdir("p")
    assert shell_words(["0.jpg", "1.jpg", "2.jpg", "3.jpg"]) == "'*.jpg'"
    assert shell_words(["-o.jpg", "a.jpg"]) == "./-o.jpg a.jpg"


def test_no_pattern_is_tried_where_folders_lead_back_to_themselves(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).symlink_to(tmp_path)
    paths = [f"{tmp_path}/{number}.mp4" for number in range(4)]
    for path in paths:
        Path(path).touch()
    assert shell_words(paths, str(tmp_path)) == " ".join(paths)


# --- the commands ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """model.h5, face.avi (40 frames of a face), gray.avi (without one), torn.avi and index.mp4 (broken); mixed/, with
    photos and a video.
    """
    place = tmp_path_factory.mktemp("video")
    fer("ingest", "synthetic:70", "-o", place / "faces.h5")
    fer("train", "--epochs", "1", place / "faces.h5", "-o", place / "model.h5")
    write_clip(place / "face.avi", face_frames(40), (320, 240))
    write_clip(place / "gray.avi", gray_frames(12))
    data = (place / "face.avi").read_bytes()
    (place / "torn.avi").write_bytes(data[: len(data) // 2])
    (place / "mixed").mkdir()
    for name in ("a.png", "b.avi", "c.png", "d.png", "e.png"):
        (place / "mixed" / name).touch()
    (place / "index.mp4").write_bytes(write_clip(place / "whole.mp4", gray_frames(9)).read_bytes()[:500])
    return place


PREDICT = ("predict", "--detector", "haar")


def test_predict_a_video(place):
    text, messages = fer(*PREDICT, "--json", "-m", place / "model.h5", place / "face.avi")
    found = [json.loads(line) for line in text.splitlines()]
    assert [(row["status"], row["frame"], row["time"], row["track"]) for row in found] == [
        ("ok", number, number / 10, 1) for number in range(40)
    ]
    assert found[-1]["box"][0] - found[0]["box"][0] == pytest.approx(78, abs=12)
    facts = json.loads(messages)
    assert [(one["track"], one["frames"], one["first"], one["last"]) for one in facts["tracks"]] == [(1, 40, 0.0, 3.9)]


def test_detect_then_predict_gives_what_predict_alone_does(place):
    fer("detect", "--detector", "haar", place / "face.avi", "-o", place / "crops.h5")
    with open_store(place / "crops.h5") as store:
        assert store.rows == 40
        assert set(store.columns) >= {"image", "box", "score", "digest", "source", "sequence", "frame", "time", "track"}
        assert set(store.column("sequence")) == {str(place / "face.avi")}
        assert store.column("frame").tolist() == list(range(40))
        assert store.column("track").tolist() == [1] * 40
    alone, _ = fer(*PREDICT, "-m", place / "model.h5", "--smooth", "0.5", place / "face.avi")
    staged, _ = fer("predict", "-m", place / "model.h5", "--smooth", "0.5", place / "crops.h5")
    ours, theirs = ([json.loads(line) for line in text.splitlines()] for text in (alone, staged))
    for one, other in zip(ours, theirs, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)
        for name in ("box", "frame", "time", "track"):
            assert one[name] == other[name]
    again = fer("detect", "--detector", "haar", place / "face.avi", "-o", place / "crops.h5")[1]
    assert f"{place / 'crops.h5'} is up to date" in again


def test_tables_and_stores_of_a_video(place):
    fer(*PREDICT, "-m", place / "model.h5", place / "face.avi", "-o", place / "rows.csv")
    lines = (place / "rows.csv").read_text().splitlines()
    assert lines[0].startswith("source,status,score,label,confidence,time,frame,track,x,y,width,height,p_")
    assert len(lines) == 41
    fer(*PREDICT, "-m", place / "model.h5", place / "face.avi", place / "gray.avi", "-o", place / "rows.h5")
    with open_store(place / "rows.h5", "predictions") as store:
        assert store.column("track").tolist() == [1] * 40 + [0] * 12
        assert store.column("time")[:3].tolist() == pytest.approx([0, 0.1, 0.2])


def test_broken_videos_have_rows_and_no_noise(place):
    text, messages = fer(*PREDICT, "-m", place / "model.h5", place / "index.mp4", place / "torn.avi", status=4)
    found = [json.loads(line) for line in text.splitlines()]
    assert found[0]["error"] == UNKNOWN
    assert {row["status"] for row in found[1:-1]} == {"ok"}
    assert found[-1]["error"].startswith("it is cut off or damaged: it ends after ")
    lines = messages.splitlines()
    assert lines[0].startswith(f"fer predict: {place / 'torn.avi'}: track 1: ")
    assert lines[1] == f"fer predict: failed: {place / 'index.mp4'}: {UNKNOWN}"
    assert lines[2] == f"fer predict: failed: {place / 'torn.avi'}: {found[-1]['error']}"
    assert len(lines) == 4


def test_detect_a_broken_video(place):
    text = fer("detect", "--detector", "haar", place / "index.mp4", "-o", place / "no.h5", status=1)[1]
    assert text == f"fer detect: error: {place / 'index.mp4'}: {UNKNOWN}\n"
    both = (place / "gray.avi", place / "index.mp4")
    text = fer("detect", "--detector", "haar", *both, "-o", place / "no.h5", status=1)[1]
    assert text.endswith(
        f"fer detect: error: {place / 'index.mp4'}: {UNKNOWN}; leave such rows out with --on-error skip\n"
    )
    fer("detect", "--detector", "haar", "--on-error", "skip", place / "torn.avi", "-o", place / "some.h5", status=4)
    with open_store(place / "some.h5") as store:
        assert 0 < store.rows < 40


def test_detect_the_videos_of_a_glob(place):
    fer("detect", "--detector", "none", place / "[fg]*.avi", "-o", place / "all.h5")
    with open_store(place / "all.h5") as store:
        assert set(store.column("source")) == {str(place / "face.avi"), str(place / "gray.avi")}
    text = fer("detect", "--detector", "none", place / "x*.avi", "-o", place / "no.h5", status=1)[1]
    assert text == f"fer detect: error: no file matches {place}/x*.avi\n"


def test_a_video_in_a_list_of_photos(place):
    (place / "list").write_text(f"{place}/face.avi\n")
    text, _ = fer(*PREDICT, "-m", place / "model.h5", "--files-from", place / "list", status=4)
    assert json.loads(text)["error"] == "it is a video: name it as IN"


def test_detect_a_video_without_a_face(place):
    text = fer("detect", "--detector", "haar", place / "gray.avi", "-o", place / "none.h5")[1]
    told = f"fer detect: 12 of 12 frames of {place / 'gray.avi'} show no face that haar finds and were left out\n"
    assert text.startswith(told)
    fer("detect", "--detector", "haar", "--on-miss", "keep", place / "gray.avi", "-o", place / "kept.h5")
    with open_store(place / "kept.h5") as store:
        assert store.column("track").tolist() == [0] * 12
    text = fer("detect", "--detector", "haar", "--on-miss", "fail", place / "gray.avi", "-o", place / "x.h5", status=1)[
        1
    ]
    assert text == (
        f"fer detect: error: {place / 'gray.avi'}: no face was found by the detector haar at 0.00 s; "
        "leave such frames out with --on-miss drop\n"
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ("predict", "-m", "{place}/model.h5", "{place}/face.avi", "{place}/faces.h5"),
            "fer predict: error: {place}/face.avi is a video and {place}/faces.h5 is not: label them in two runs, "
            "fer predict {place}/face.avi and fer predict {place}/faces.h5\n",
        ),
        (
            ("predict", "-m", "{place}/model.h5", "{place}/mixed/*"),
            "fer predict: error: {place}/mixed/b.avi is a video and {place}/mixed/a.png is not: label them in two "
            "runs, fer predict {place}/mixed/b.avi and fer predict '{place}/mixed/*.png'\n",
        ),
        (
            ("predict", "-m", "{place}/model.h5", "{place}/face.avi", "--files-from", "a list"),
            "fer predict: error: {place}/face.avi is a video and --files-from 'a list' is not: label them in two "
            "runs, fer predict {place}/face.avi and fer predict --files-from 'a list'\n",
        ),
        (
            ("detect", "--detector", "haar", "{place}/mixed/*", "-o", "{place}/x.h5"),
            "fer detect: error: {place}/mixed/b.avi is a video and {place}/mixed/a.png is not: find their faces in "
            "two runs, fer detect {place}/mixed/b.avi and fer ingest '{place}/mixed/*.png' | fer detect\n",
        ),
        (
            ("predict", "-m", "{place}/model.h5", "camera:one"),
            "fer predict: error: 'camera:one' is no camera: the first is camera:0, the next camera:1\n",
        ),
        (
            ("predict", "-m", "{place}/model.h5", "{place}/face.avi", "--resume", "x", "--contact-sheet", "x.png"),
            "fer predict: error: --resume leaves out what is labelled, and --annotate and --contact-sheet take the "
            "frames of all videos: leave one of the two out\n",
        ),
        (
            ("predict", "-m", "{place}/model.h5", "camera:0", "--resume", "x"),
            "fer predict: error: --resume leaves out what is labelled, and a camera never shows the same again: "
            "leave one of the two out\n",
        ),
        (
            ("predict", "-m", "{place}/model.h5", "camera:0", "{place}/face.avi"),
            "fer predict: error: a camera has no end, so nothing comes behind it: name it last, or alone\n",
        ),
        (
            ("predict", "-m", "{place}/model.h5", "{place}/face.avi", "--sort-into", "x"),
            "fer predict: error: --sort-into is for photos, and {place}/face.avi is none: leave it out\n",
        ),
        (
            ("predict", "-m", "{place}/model.h5", "--smooth", "1", "{place}/faces.h5"),
            "fer predict: error: --smooth averages over the time of a video, and {place}/faces.h5 has none: "
            "leave it out\n",
        ),
        (
            ("predict", "-m", "{place}/model.h5", "--split", "test", "{place}/face.avi"),
            "fer predict: error: --split chooses rows of a store, and photos are of no split: leave it out\n",
        ),
        (
            ("detect", "--detector", "haar", "camera:0", "-o", "{place}/x.h5"),
            "fer detect: error: camera:0 has no end: label it with fer predict, or record a video and give that\n",
        ),
        (
            ("detect", "--detector", "haar", "{place}/face.avi", "{place}/faces.h5", "-o", "{place}/x.h5"),
            "fer detect: error: {place}/face.avi is a video and {place}/faces.h5 is not: "
            "find their faces in two runs, fer detect {place}/face.avi and fer detect {place}/faces.h5\n",
        ),
        (
            ("ingest", "{place}/face.avi", "-o", "{place}/x.h5"),
            "fer ingest: error: {place}/face.avi is no data set of photos: crop the faces of a video with fer detect\n",
        ),
    ],
)
def test_misuse(place, words, text):
    assert fer(*(word.format(place=place) for word in words), status=2)[1] == text.format(place=place)


def test_a_camera_that_is_absent(place):
    text, messages = fer(*PREDICT, "-m", place / "model.h5", "camera:97", status=4)
    sentence = "it cannot be opened: there is no such camera, or another program holds it"
    assert json.loads(text)["error"] == sentence
    assert messages.startswith(f"fer predict: failed: camera:97: {sentence}\n")


def test_an_interrupt_leaves_whole_lines(place):
    long = write_clip(place / "long.avi", itertools.chain.from_iterable([list(face_frames(40))] * 25), (320, 240))
    words = [*COLD, *PREDICT, "-m", str(place / "model.h5"), str(long)]
    running = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = os.read(running.stdout.fileno(), 100)
    running.send_signal(signal.SIGINT)
    rest, messages = running.communicate(timeout=60)
    text = first + rest
    assert running.returncode == -signal.SIGINT, messages
    assert messages.strip() == b"fer predict: error: interrupted"
    assert text.endswith(b"\n")
    found = [json.loads(line) for line in text.splitlines()]
    assert [row["frame"] for row in found] == list(range(len(found)))
    assert len(found) < 1000


def test_an_interrupt_keeps_the_rows_so_far(place, tmp_path):
    long = write_clip(tmp_path / "long.avi", itertools.chain.from_iterable([list(face_frames(40))] * 25), (320, 240))
    rows = tmp_path / "rows.csv"
    words = [*COLD, *PREDICT, "-m", str(place / "model.h5"), str(long), "-o", str(rows)]
    running = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while running.poll() is None and not any(part.stat().st_size for part in tmp_path.glob(".rows.csv.part-*")):
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, messages = running.communicate(timeout=60)
    lines = rows.read_text().splitlines(keepends=True)
    assert running.returncode == -signal.SIGINT
    assert messages.splitlines()[-3:] == [
        f"fer predict: interrupted: {rows} has the {len(lines) - 1} rows so far: --resume {rows} goes on",
        "",
        "fer predict: error: interrupted",
    ]
    assert 32 <= len(lines) - 1 < 1000
    assert all(line.endswith("\n") and line.count(",") == lines[0].count(",") for line in lines)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_going_on_with_videos(place, tmp_path, form):
    """Whole ones are left out, and the one that was cut off is labelled anew."""
    clips, rows = (place / "gray.avi", place / "face.avi", place / "whole.mp4"), tmp_path / f"rows.{form}"
    words = (*PREDICT, "-m", place / "model.h5", *clips)
    fer(*words, "-o", tmp_path / f"whole.{form}")
    whole = (tmp_path / f"whole.{form}").read_bytes()
    rows.write_bytes(whole[: whole.rindex(b"face.avi") - 60])
    messages = fer(*words, "--resume", rows)[1]
    assert rows.read_bytes() == whole
    assert messages.startswith(
        f"fer predict: 1 video of 3 labelled by an earlier run\n"
        f"fer predict: {place}/face.avi is labelled anew: it is the last in the file, where rows of it may be missing\n"
        f"fer predict: {place}/face.avi: track 1: 40 frames from 0.0 to 3.9 s, "
    )


def test_going_on_with_videos_that_could_not_be_read(place, tmp_path):
    """Mended ones are labelled; one that ends too early is told of again, with its rows left as they are."""
    broken, rows = tmp_path / "broken.avi", tmp_path / "rows.jsonl"
    broken.write_bytes(b"no video")
    words = (*PREDICT, "-m", place / "model.h5", broken, place / "torn.avi", place / "gray.avi", "--resume", rows)
    fer(*words, status=4)
    before = rows.read_bytes().splitlines()
    assert fer(*words, status=4)[1].splitlines()[0] == (
        "fer predict: 2 videos of 3 labelled by an earlier run, of which 1 cannot be read and 1 could not be "
        "read to the end: delete its rows from the file to try it again"
    )
    assert rows.read_bytes().splitlines() == before
    write_clip(broken, gray_frames(7))
    messages = fer(*words, status=4)[1].splitlines()
    assert messages[:2] == [
        "fer predict: 1 video of 3 labelled by an earlier run, of which 1 could not be read to the end: "
        "delete its rows from the file to try it again",
        "fer predict: 1 video that it could not read can be read now",
    ]
    assert messages[-2].startswith(f"fer predict: failed: {place}/torn.avi: it is cut off or damaged: it ends after ")
    after = rows.read_bytes().splitlines()
    torn = [line for line in before if b"torn.avi" in line]
    assert after[: len(torn)] == torn
    assert [json.loads(line)["source"] for line in after[len(torn) :]] == [str(broken)] * 7 + [f"{place}/gray.avi"] * 12


def test_the_last_video_keeps_its_rows_when_it_cannot_be_read_any_more(place, tmp_path):
    clip, rows = tmp_path / "clip.avi", tmp_path / "rows.jsonl"
    write_clip(clip, gray_frames(7))
    words = (*PREDICT, "-m", place / "model.h5", clip, "--resume", rows)
    fer(*words)
    before = rows.read_bytes()
    clip.unlink()
    messages = fer(*words, status=4)[1]
    assert rows.read_bytes() == before
    assert f"failed: {clip}: it cannot be read any more: it keeps its rows, which may not be all\n" in messages


def test_rows_of_photos_and_of_videos_are_of_two_files(place, tmp_path):
    (tmp_path / "a.png").write_bytes(photo(0, (24, 24)))
    model = ("-m", place / "model.h5", "--detector", "none")
    for first, then, told in (
        (tmp_path / "a.png", place / "gray.avi", "photos, and this run labels videos"),
        (place / "gray.avi", tmp_path / "a.png", "videos, and this run labels photos"),
    ):
        for form in ("jsonl", "csv"):
            rows = tmp_path / f"{first.stem}.{form}"
            fer("predict", *model, first, "--resume", rows)
            text = fer("predict", *model, then, "--resume", rows, status=1)[1]
            assert text == f"fer predict: error: {rows} holds rows of {told}: name another file with --resume\n"


def test_a_reader_that_has_enough_ends_it_quietly(place):
    done = shell(f"fer {' '.join(PREDICT)} -m model.h5 face.avi | head -n 1", place)
    assert json.loads(done.stdout)["frame"] == 0
    assert "rror" not in done.stderr


def test_real_clips(place, shared_data):
    words = (*PREDICT, "--json", "-m", place / "model.h5")
    clips = [shared_data / "photos" / name for name in ("single_face.mp4", "no_face.mp4")]
    text, messages = fer(*words, *clips)
    found = [json.loads(line) for line in text.splitlines()]
    assert [row["status"] for row in found] == ["ok"] * 72 + ["no face"] * 95
    assert [(one["track"], one["frames"]) for one in json.loads(messages)["tracks"]] == [(1, 72)]
