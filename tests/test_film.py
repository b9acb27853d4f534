"""Videos with what was found in them: every frame at its time, in a file, a folder or on standard output."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from fercli.errors import DataError, UsageError
from fercli.layouts.video import open_clip
from fercli.ops.draw import PALETTE
from fercli.stages import film
from fercli.stages.faces import Photo
from fercli.stages.film import films
from fercli.stages.outputs import Labelled
from fercli.stages.runner import Log

from .clips import face_frames, write_clip
from .program import FER, shell
from .stages import Notes

RATE, SIZE = 25.0, (320, 304)


class Clip:
    """What `films` asks of a clip."""

    live = False

    def __init__(self, path, rate=RATE):
        self.path, self.rate = str(path), rate


def frame(clip, time, value, status="ok"):
    image = np.full((SIZE[1], SIZE[0], 3), value, np.uint8)
    row = {"status": status, "box": [100, 100, 90, 90], "label": "happy", "probabilities": {"happy": 0.9}, "track": 1}
    return Labelled(Photo(clip.path, lambda: image, {"time": time}), [row])


def shown(path):
    """The gray value in a corner of each frame of a video."""
    capture, values = cv2.VideoCapture(str(path)), []
    while True:
        there, image = capture.read()
        if not there:
            return values
        values.append(int(image[-5, -5].mean()))


def near(values):
    return pytest.approx(values, abs=4)


@pytest.mark.parametrize("suffix", film.CODECS)
def test_a_film(tmp_path, suffix):
    clip, target = Clip("a.mp4"), tmp_path / f"out{suffix}"
    out = films(str(target), [clip], "-", Log())
    for start in (0, 4, 8):
        out.add([frame(clip, number / RATE, 20 * number) for number in range(start, start + 4)])
    assert not target.exists()
    assert out.close() == f"1 video to {target}"
    out.stop()
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert shown(target) == near([20 * number for number in range(12)])
    capture = cv2.VideoCapture(str(target))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(RATE)
    _, image = capture.read()
    assert image[100:190, 100:190, 2].max() > 150  # the box of the face is red


def test_frames_are_shown_at_their_times(tmp_path):
    """Two that are too close: the later one is left out. A gap is filled with the frame before the next one's time."""
    clip, target = Clip("a.mp4"), tmp_path / "out.mp4"
    out = films(str(target), [clip], "-", Log())
    times = (0.0, 0.04, 0.05, 0.2, 0.24)
    out.add([frame(clip, time, 50 * number) for number, time in enumerate(times)])
    out.close()
    assert shown(target) == near([0, 50, 150, 150, 150, 150, 200])


@pytest.mark.parametrize("rate", [0.0, 90000.0, float("nan")])
def test_a_rate_that_cannot_be(tmp_path, rate):
    clip, target = Clip("a.mp4", rate), tmp_path / "out.mp4"
    out = films(str(target), [clip], "-", Log())
    out.add([frame(clip, number / 30, 50) for number in range(6)])
    out.close()
    assert len(shown(target)) == 6


def test_a_clock_that_leaps(tmp_path):
    clip, target = Clip("a.mp4"), tmp_path / "out.mp4"
    out = films(str(target), [clip], "-", Log())
    out.add([frame(clip, time, 50) for time in (0.0, 1e6, 1e6 + 0.04)])
    out.close()
    assert len(shown(target)) == 1 + 10 * RATE + 1


def test_small_frames_are_enlarged_and_broken_ones_left_out(tmp_path):
    clip, target = Clip("a.mp4"), tmp_path / "out.mp4"
    small = Photo("a.mp4", lambda: np.zeros((120, 160, 3), np.uint8), {"time": 0.0})
    row = {"status": "no face"}
    out = films(str(target), [clip], "-", Log())
    out.add([Labelled(small, [row]), frame(clip, 0.1, 0, status="error")])
    out.close()
    assert cv2.VideoCapture(str(target)).read()[1].shape == (360, 480, 3)


def test_a_folder_of_films(tmp_path):
    clips = [Clip("x/a.mp4"), Clip("x/b.webm"), Clip("camera:0")]
    clips[2].live = True
    out = films(str(tmp_path / "out"), clips, "-", Log())
    for clip in clips:
        out.add([frame(clip, 0.0, 50)])
    assert out.close() == f"3 videos to {tmp_path}/out"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".fer-pictures", "a.mp4", "b.webm.mp4", "camera-0.mp4",
    ]  # fmt: skip


def test_films_of_one_name_keep_apart(tmp_path):
    """Nor does a name that a film gets replace that of another clip."""
    clips = [Clip("x/a.avi"), Clip("y/a.avi"), Clip("x/b.webm"), Clip("b.webm.mp4")]
    out = films(str(tmp_path / "out"), clips, "-", Log())
    for number, clip in enumerate(clips, 1):
        out.add([frame(clip, 0.0, 50 * number)])
    assert out.close() == f"4 videos to {tmp_path}/out"
    found = {path.name: shown(path) for path in (tmp_path / "out").glob("[ab]*")}
    assert found == {
        "a.avi": near([50]),
        "a-42aee1c7.avi": near([100]),
        "b.webm.mp4": near([150]),
        "b.webm-d0fb9050.mp4": near([200]),
    }


def test_a_clip_that_is_named_twice_is_one_film(tmp_path):
    clip = Clip("x/a.avi")
    out = films(str(tmp_path / "out"), [clip, clip], "-", Log())
    out.add([frame(clip, 0.0, 50)])
    out.close()
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [".fer-pictures", "a.avi"]


def test_a_folder_that_holds_the_clip(tmp_path):
    """Whether its own film would replace it, or that of another clip of its name."""
    made = Clip(tmp_path / "out" / "a.avi")
    films(str(tmp_path / "out"), [made], "-", Log())
    Path(made.path).write_bytes(b"a video")
    for clips in ([made], [Clip("x/a.avi"), made]):
        with pytest.raises(UsageError) as caught:
            films(str(tmp_path / "out"), clips, "-", Log())
        assert str(caught.value) == f"{made.path} is both input and output: name another folder with --annotate"
    assert Path(made.path).read_bytes() == b"a video"


def test_a_run_that_fails_leaves_the_older_film(tmp_path):
    clip, target = Clip("a.mp4"), tmp_path / "out.mp4"
    target.write_bytes(b"older")
    out = films(str(target), [clip], "-", Log(), force=True)
    out.add([frame(clip, 0.0, 50)])
    assert len(list(tmp_path.iterdir())) == 2
    out.stop()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"older"]


@pytest.mark.parametrize("moment", ["VideoWriter", "VideoCapture"])
def test_an_interrupt_as_a_film_begins_or_ends_leaves_no_part_of_it(tmp_path, monkeypatch, moment):
    clip, make = Clip("a.mp4"), getattr(cv2, moment)
    out = films(str(tmp_path / "out.mp4"), [clip], "-", Log())

    def interrupted(*arguments):
        make(*arguments)
        raise KeyboardInterrupt

    interrupted.fourcc = cv2.VideoWriter.fourcc
    monkeypatch.setattr(cv2, moment, interrupted)
    if moment == "VideoCapture":
        out.add([frame(clip, 0.0, 50)])
    with pytest.raises(KeyboardInterrupt):
        out.close() if moment == "VideoCapture" else out.add([frame(clip, 0.0, 50)])
    out.stop()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_of_clips_without_a_frame(tmp_path):
    clip, target = Clip("a.mp4"), tmp_path / "out.mp4"
    out = films(str(target), [clip], "-", Log())
    out.add([frame(clip, 0.0, 50, status="error")])
    assert out.close() == "--annotate has written nothing: there was no frame to draw on"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", film.CODECS)
def test_a_full_disk(tmp_path, suffix):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        clip, noise = Clip("a.mp4"), np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
        out = films(str(disk / f"out{suffix}"), [clip], "-", Log())
        for number in range(50):
            photo = Photo("a.mp4", lambda: noise, {"time": number / RATE})
            out.add([Labelled(photo, [{"status": "no face"}])])
        with pytest.raises(DataError) as caught:
            out.close()
        out.stop()
        assert str(caught.value) == (
            f"{disk}/out{suffix} could not be written whole: free some space, or name another --annotate"
        )
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_raw_frames(capfdbinary):
    clip, heard = Clip("a.mp4", 24.0), Notes()
    out = films("-", [clip], "rows.jsonl", Log(interface=heard))
    out.add([frame(clip, number / 24, 20 * number) for number in range(3)])
    assert out.close() == "3 frames to standard output"
    assert heard.notes == ["frames: -f rawvideo -pixel_format bgr24 -video_size 320x304 -framerate 24"]
    sys.stdout.flush()
    data = np.frombuffer(capfdbinary.readouterr().out, np.uint8).reshape(3, SIZE[1], SIZE[0], 3)
    assert data[:, -5, -5, 0].tolist() == [0, 20, 40]
    assert (data[0, ..., ::-1] == PALETTE[0]).all(axis=2).any()  # the box, in the colour of the only class


def test_a_reader_of_raw_frames_that_leaves(tmp_path):
    """Within the second frame, though there is more to come than a pipe holds: the rows are those of all frames."""
    clip = write_clip(tmp_path / "a.avi", face_frames(12), (320, 240))
    done = [
        shell(f"fer predict --detector none {clip} {rest} > /dev/null; exit ${{PIPESTATUS[0]}}", tmp_path)
        for rest in (f"-o {tmp_path}/rows", f"--annotate - -o {tmp_path}/left | head -c 1000000")
    ]
    assert [(one.returncode, one.stdout) for one in done] == [(0, "")] * 2
    assert (tmp_path / "left").read_bytes() == (tmp_path / "rows").read_bytes()
    told = [line for line in done[1].stderr.splitlines() if ": track " not in line]
    assert told[:3] == [
        "fer predict: frames: -f rawvideo -pixel_format bgr24 -video_size 640x480 -framerate 10",
        "fer predict: the reader left after 1 frame: labelling goes on without it",
        "fer predict: 1 frame to standard output",
    ]
    assert told[3].startswith(f"fer predict: 12 rows to {tmp_path}/left (")
    assert len(told) == 4


def test_raw_frames_that_no_disk_takes(tmp_path):
    """The error tells of standard output, and not of the file of the rows, which is open too."""
    clip = write_clip(tmp_path / "a.avi", face_frames(3), (320, 240))
    words = [*FER, "predict", "--detector", "none", str(clip), "--annotate", "-", "-o", str(tmp_path / "rows")]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "fer predict: error: no space left to write standard output: free some, or choose another place with --annotate"
    )
    assert not (tmp_path / "rows").exists()


def test_a_reader_of_a_camera_that_leaves(monkeypatch):
    clip, heard = Clip("camera:0"), Notes()
    clip.live = True
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb", buffering=0) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        out = films("-", [clip], "rows.jsonl", Log(interface=heard))
        for number in range(3):
            out.add([frame(clip, number / RATE, 50)])
        assert out.close() == "0 frames to standard output"
        monkeypatch.undo()
    assert heard.notes[1:] == ["the reader left after 0 frames: labelling goes on without it until it is interrupted"]


def test_what_is_refused(tmp_path):
    one, two = Clip(tmp_path / "a.mp4"), Clip(tmp_path / "b.mp4")
    Path(one.path).write_bytes(b"a video")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    for out, clips, rows, text in (
        ("-", [one], "-", "--annotate - and the rows would both go to standard output: add -o labels.jsonl"),
        ("-", [one, two], "r", "--annotate - takes the frames of one video, and IN are 2: name a folder"),
        ("x.mp4", [one, two], "-", "--annotate x.mp4 takes the frames of one video, and IN are 2: name a folder"),
        ("x.webm", [one], "-",
         "--annotate x.webm is of a kind that is not written: end it in .mp4, .m4v, .mov, .mkv, .avi"),
        (one.path, [one], "-", f"{one.path} is both input and output: name another file with --annotate"),
        (str(tmp_path / "mine"), [one], "-",
         f"the folder {tmp_path}/mine holds files that --annotate might overwrite: name an empty or a new one"),
    ):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            films(out, clips, rows, Log())
        assert str(caught.value) == text
    assert Path(one.path).read_bytes() == b"a video"


def test_a_film_replaces_an_older_one_and_no_other_video(tmp_path):
    clip, target = Clip(tmp_path / "a.mp4"), tmp_path / "out.avi"
    write_clip(target, face_frames(3), (320, 240))
    kept = target.read_bytes()
    for other in (kept, b"notes"):
        target.write_bytes(other)
        with pytest.raises(UsageError) as caught:
            films(str(target), [clip], "-", Log())
        assert str(caught.value) == (
            f"{target} is there and is no video that --annotate has drawn: "
            f"name another file with --annotate, or add --force"
        )
        assert target.read_bytes() == other
    for force in (True, False):
        out = films(str(target), [clip], "-", Log(), force)
        out.add([frame(clip, 0.0, 50)])
        out.close()
        assert shown(target) == near([50])


@pytest.mark.parametrize("suffix", film.CODECS)
def test_a_film_is_known_again(tmp_path, suffix):
    clip, target = Clip("a.mp4"), str(tmp_path / f"out{suffix}")
    for value in (50, 90):
        out = films(target, [clip], "-", Log())
        out.add([frame(clip, 0.0, value)])
        out.close()
        assert shown(target) == near([value])


def test_frames_are_not_for_terminals(monkeypatch):
    monkeypatch.setattr("sys.stdout", type("Terminal", (), {"isatty": lambda self: True})())
    with pytest.raises(UsageError) as caught:
        films("-", [Clip("a.mp4")], "rows.jsonl", Log())
    assert str(caught.value) == ("frames are binary and standard output is a terminal: pipe them into ffplay or ffmpeg")


def test_a_real_clip_keeps_its_frames(tmp_path, shared_data):
    clip = open_clip(str(shared_data / "photos" / "single_face.mp4"))
    out = films(str(tmp_path / "out.mp4"), [clip], "-", Log())
    count = 0
    for one in clip.frames():
        photo = Photo(clip.path, lambda image=one.image: image, {"time": one.time})
        out.add([Labelled(photo, [{"status": "no face"}])])
        count += 1
    out.close()
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == count
