"""What `fer predict` makes beside its rows: pictures, contact sheets, sorted photos; and rows of several runs."""

import codecs
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pytest

from fercli.cli import main
from fercli.errors import DataError, DeviceGone
from fercli.layouts import open_source
from fercli.layouts.video import open_clip
from fercli.ops import draw, geometry
from fercli.stages import contact, faces, labelling, opening, sorting
from fercli.stages.contact import ContactSheet
from fercli.stages.detect import DetectSpec, Search
from fercli.stages.faces import Photo, photos_in
from fercli.stages.outputs import Labelled, OutputSpec
from fercli.stages.predict import PredictSpec
from fercli.stages.runner import Log, Silent
from fercli.stages.sorting import Sorted
from fercli.store import open_store

from .clips import face_frames, write_clip
from .program import FER, shell
from .trees import pack, photo


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model that was hardly trained."""
    folder = tmp_path_factory.mktemp("model")
    for words in (["ingest", "synthetic:70", "-o", "S"], ["train", "--epochs", "1", "S", "-o", "M"]):
        done = subprocess.run([*FER, *words], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return folder / "M"


@pytest.fixture(scope="module")
def scenes(model) -> list[bytes]:
    """Photos with faces."""
    done = subprocess.run([*FER, "ingest", "synthetic:3:scenes"], cwd=model.parent, capture_output=True)
    (model.parent / "scenes").write_bytes(done.stdout)
    with open_store(model.parent / "scenes") as store:
        return list(store.column("encoded"))


@pytest.fixture
def photos(scenes, tmp_path) -> Path:
    """photos/: two scenes of the same name, another one, one without a face and one that is broken."""
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(scenes[0])
    (folder / "trip" / "a.jpg").write_bytes(scenes[1])
    (folder / "trip" / "b.jpg").write_bytes(scenes[2])
    cv2.imwrite(str(folder / "empty.png"), np.full((90, 120), 128, np.uint8))
    (folder / "torn.jpg").write_bytes(scenes[0][:500])
    return folder


@pytest.fixture
def predict(model, monkeypatch, capfdbinary):
    """Runs `fer predict` in this process; gives its status, its rows and its messages."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["fer", "predict", "-m", str(model), *map(str, words)])
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfdbinary.readouterr()
        return end.value.code, [json.loads(line) for line in out.splitlines()], err.decode()

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return run


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def error_of(done, status=2):
    assert (done[0], done[1]) == (status, [])
    line = done[2].splitlines()[-1]  # after the note of what finds the faces
    return line.removeprefix("fer predict: error: ")


@pytest.mark.parametrize(("error", "status"), [(DataError("full"), 4), (DeviceGone("gone"), 1)])
def test_a_photo_may_fail_and_a_gpu_that_is_gone_ends_the_run(predict, photos, monkeypatch, error, status):
    monkeypatch.setattr(Search, "find", Mock(side_effect=error))
    found, rows, messages = predict(photos)
    assert found == status
    if status == 4:
        assert [row["error"] for row in rows].count("full") == 4  # the fifth is torn
    else:
        assert (rows, messages.splitlines()[-1]) == ([], "fer predict: error: gone")


def test_a_folder_inside_that_cannot_be_listed(predict, photos, tmp_path, monkeypatch):
    """The rest is labelled, and sorted; a run that goes on looks at it again."""
    scan = os.scandir

    def refuse(path):
        if str(path).rstrip("/") == str(photos / "trip"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)  # as root, the tests may read everything
        status, rows, _ = predict(photos, "--sort-into", tmp_path / "sorted")
        assert (status, len({row["source"] for row in rows})) == (4, 4)
        assert (rows[-1]["source"], rows[-1]["status"], rows[-1]["error"]) == (
            f"{photos}/trip/", "error", "it is a folder that cannot be listed: Permission denied"
        )  # fmt: skip
        assert len(files(tmp_path / "sorted")) == 3 + 1  # and the record of them
        assert predict(photos, "--resume", tmp_path / "rows.jsonl")[0] == 4
    predict(photos, "--resume", tmp_path / "rows.jsonl")
    known = {json.loads(line)["source"] for line in (tmp_path / "rows.jsonl").read_text().splitlines()}
    assert known == {row["source"] for row in predict(photos)[1]}


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_pictures_have_the_paths_of_the_photos(predict, photos, tmp_path):
    status, rows, messages = predict(photos, "--annotate", tmp_path / "out")
    assert status == 4
    found = files(tmp_path / "out")
    assert list(found) == [".fer-pictures", "a.jpg", "empty.png", "trip/a.jpg", "trip/b.jpg"]
    assert f"fer predict: 4 pictures in {tmp_path / 'out'}\n" in messages
    for name in ("a.jpg", "empty.png", "trip/b.jpg"):
        before, after = (cv2.imread(str(folder / name)) for folder in (photos, tmp_path / "out"))
        factor = draw.magnification(*before.shape[:2])
        assert after.shape[:2] == tuple(factor * side for side in before.shape[:2])
        assert (cv2.resize(before, after.shape[1::-1]) != after).any()
    assert predict(photos, "--annotate", tmp_path / "out")[:2] == (status, rows)
    assert files(tmp_path / "out") == found


def test_what_lies_among_the_photos_is_not_read_again(predict, photos):
    words = (photos, "--annotate", photos / "drawn", "--sort-into", photos / "sorted", "--contact-sheet",
             photos / "sheet.png")  # fmt: skip
    first = predict(*words)
    made = files(photos)
    second = predict(*words)
    assert first[1] == second[1]
    assert files(photos) == made
    where = f"{photos}/drawn and {photos}/sorted and {photos}/sheet.png, where this run writes"
    assert f"fer predict: 10 photos in {where}, left out\n" in second[2]


def test_photos_of_several_folders_keep_apart(predict, photos, scenes, tmp_path):
    (tmp_path / "more" / "photos").mkdir(parents=True)
    (tmp_path / "more" / "photos" / "a.jpg").write_bytes(scenes[2])
    predict(photos, tmp_path / "more" / "photos", photos / "a.jpg", "--annotate", tmp_path / "out")
    assert len([name for name in files(tmp_path / "out") if Path(name).name.startswith("a")]) == 4


def test_gifs_are_drawn_on_as_png(predict, tmp_path):
    (tmp_path / "a.gif").write_bytes(
        b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\4\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
    )
    predict(tmp_path / "a.gif", "--annotate", tmp_path / "out")
    assert list(files(tmp_path / "out")) == [".fer-pictures", "a.gif.png"]


def test_photos_whose_names_tell_no_format_are_drawn_on_as_png(predict, photos, tmp_path, monkeypatch):
    """And one in a format that this OpenCV does not write; where two would have one name, none replaces the other."""
    names = ("a.jfif", "plain", "b.2024", "c.webp", "a.jfif.png")
    for name in names:
        shutil.copy(photos / "a.jpg", tmp_path / name)
    writes = cv2.haveImageWriter
    monkeypatch.setattr(cv2, "haveImageWriter", lambda name: not name.endswith(".webp") and writes(name))
    status, rows, messages = predict(*(tmp_path / name for name in names), "--annotate", tmp_path / "out")
    assert (status, {Path(row["source"]).name for row in rows if row["status"] == "ok"}) == (0, set(names))
    made = files(tmp_path / "out")
    assert f"fer predict: 5 pictures in {tmp_path}/out\n" in messages
    assert len(made) == 6
    assert {"a.jfif.png", "b.2024.png", "c.webp.png", "plain.png"} < set(made)
    assert len({data for name, data in made.items() if name.endswith(".png")}) == 1


def test_pictures_that_cannot_be_written(predict, tmp_path):
    """A format that takes no such size; the other photos have their pictures."""
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((2, 17000), np.uint8))
    shutil.copy(tmp_path / "wide.png", tmp_path / "wide.webp")  # the name alone says that it is one
    status, rows, messages = predict(tmp_path / "wide.webp", tmp_path / "wide.png", "--annotate", tmp_path / "out")
    assert (status, [row["status"] for row in rows]) == (4, ["no face"] * 2)
    assert list(files(tmp_path / "out")) == [".fer-pictures", "wide.png"]
    assert (
        f"fer predict: failed: {tmp_path}/wide.webp: no picture of it was written: "
        f"OpenCV {cv2.__version__} cannot write 17000x2 pixels as .webp\n"
    ) in messages


def test_a_name_that_a_file_system_does_not_take_costs_its_picture_alone(predict, photos, tmp_path, monkeypatch):
    make = Path.mkdir

    def named(self, *arguments, **more):
        if self.name == "trip":
            raise OSError(errno.EINVAL, "Invalid argument", str(self))
        return make(self, *arguments, **more)

    monkeypatch.setattr(Path, "mkdir", named)
    status, rows, messages = predict(photos, "--annotate", tmp_path / "out")
    assert (status, len({row["source"] for row in rows})) == (4, 5)
    assert sorted(files(tmp_path / "out")) == [".fer-pictures", "a.jpg", "empty.png"]
    told = f"no picture of it was written: {tmp_path}/out/trip/a.jpg could not be written: Invalid argument"
    assert f"fer predict: failed: {photos}/trip/a.jpg: {told}\n" in messages


def test_a_named_photo_is_not_opened_to_see_what_it_is(photos, monkeypatch):
    monkeypatch.setattr(opening, "opened_file", Mock(side_effect=DataError("it cannot be read")))
    assert not opening._is_store(str(photos / "a.jpg"))
    opening.opened_file.assert_not_called()
    (photos / "notes").write_text("which nobody may read")
    assert not opening._is_store(str(photos / "notes"))  # what reads it says why it cannot


def test_folders_that_are_refused(predict, photos, tmp_path):
    (tmp_path / "file").write_text("")
    for words, text in (
        (("--annotate", photos), f"--annotate {photos} would mix with the photos of {photos}: "
                                 f"name a folder of its own, such as {photos}/annotate"),
        (("--sort-into", tmp_path), f"--sort-into {tmp_path} would mix with the photos of {photos}: "
                                    f"name a folder of its own, such as {tmp_path}/sort-into"),
        (("--annotate", tmp_path / "file"), f"{tmp_path}/file is a file, and --annotate takes a folder: name another"),
        (("--annotate", "-"), "--annotate - takes the frames of one video, and IN are photos: name a folder"),
        (("--annotate", "x.mp4"), "--annotate x.mp4 takes the frames of one video, and IN are photos: name a folder"),
        (("--sort-into", "-"), "--sort-into takes a folder, and standard output is none: name a folder"),
        (("--contact-sheet", "x.h5"),
         "--contact-sheet x.h5 is no name of a picture: end it in .png, .jpg, .jpeg, .webp"),
        (("--sort-by", "copy"), "--sort-by tells how photos get into a folder: name that with --sort-into DIR"),
        (("--format", "store", "--annotate", "x", "-o", tmp_path / "p.h5"),
         "a store has no outputs beside it: write rows with --format jsonl, csv or tsv"),
    ):  # fmt: skip
        assert error_of(predict(photos, *words)) == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "photos"]


@pytest.mark.parametrize("flag", ["--annotate", "--sort-into"])
def test_what_an_earlier_run_made_is_no_photo(predict, photos, flag):
    first = predict(photos, flag, photos / "made")
    inside = len(list((photos / "made").rglob("*.jpg")) + list((photos / "made").rglob("*.png")))
    again = predict(photos)
    assert again[1] == first[1]
    assert (
        f"fer predict: {inside} photos in {photos}/made, where an earlier run wrote, left out: "
        f"name such a folder itself to label what is in it\n"
    ) in again[2]
    assert len({row["source"] for row in predict(photos / "made")[1]}) == inside


def test_photos_that_an_earlier_run_made_alone(predict, photos, tmp_path):
    predict(photos, "--annotate", tmp_path / "all" / "made")
    assert error_of(predict(tmp_path / "all")) == (
        f"all photos lie in {tmp_path}/all/made, where an earlier run wrote: "
        f"name such a folder itself to label what is in it"
    )


def test_pictures_and_sorted_photos_keep_apart(predict, photos, tmp_path):
    words = ("--annotate", tmp_path / "made", "--sort-into", f"{tmp_path}/./made/")
    for more in ((), ("--dry-run",)):
        text = error_of(predict(photos, *words, *more))
        assert text == f"--annotate and --sort-into would mix in {tmp_path}/made: name two folders"


def test_a_folder_of_other_files_is_left_alone(predict, photos, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.jpg").write_text("mine")
    assert error_of(predict(photos, "--annotate", tmp_path / "mine")) == (
        f"the folder {tmp_path}/mine holds files that --annotate might overwrite: name an empty or a new one"
    )
    assert files(tmp_path / "mine") == {"a.jpg": b"mine"}


def test_photos_that_all_lie_in_the_output(predict, photos, tmp_path):
    text = error_of(predict(photos / "a.jpg", photos / "empty.png", "--sort-into", photos))
    assert text == f"all photos lie in {photos}, where this run writes: name another place for that"


def test_a_full_disk(predict, photos, tmp_path):
    (tmp_path / "disk").mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", tmp_path / "disk"], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    try:
        for flag, folder in (("--annotate", "drawn"), ("--sort-into", "sorted")):
            status, _, messages = predict(photos, flag, tmp_path / "disk" / folder)
            assert status == 1
            assert "no space left to write" in messages
            assert f"choose another place with {flag}\n" in messages
        status, _, messages = predict(photos, "--contact-sheet", tmp_path / "disk" / "sheet.png")
        assert (status, "choose another place with --contact-sheet\n" in messages) == (1, True)
        assert "sheet.png" not in files(tmp_path / "disk")
        assert not [name for name in files(tmp_path / "disk") if ".part-" in name]
    finally:
        subprocess.run(["umount", tmp_path / "disk"], check=True)


def test_one_pixel_and_many(predict, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "one.png"), np.zeros((1, 1, 3), np.uint8))
    cv2.imwrite(str(folder / "huge.jpg"), np.zeros((9000, 11000), np.uint8))
    status, rows, _ = predict(folder, "--annotate", tmp_path / "out", "--sort-into", tmp_path / "sorted")
    assert (status, [row["status"] for row in rows]) == (0, ["no face", "no face"])  # which is an answer
    assert cv2.imread(str(tmp_path / "out" / "one.png")).shape == (300, 300, 3)
    assert cv2.imread(str(tmp_path / "out" / "huge.jpg")).shape == (9000, 11000, 3)
    assert list(placed(tmp_path / "sorted")) == ["no-face/huge.jpg", "no-face/one.png"]


# --- contact sheets ---------------------------------------------------------------------------------------------------


def face_of(label, confidence, source="a.png", value=0):
    """A photo of one colour that is a face, with its row."""
    image = np.full((20, 20, 3), value, np.uint8)
    row = {"status": "ok", "label": label, "confidence": confidence, "box": None, "probabilities": {label: confidence}}
    return Labelled(Photo(source, lambda: image), [row])


def test_a_sheet_shows_the_surest_and_counts_all(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(draw, "sheet", lambda groups, *size: told.append(groups) or np.zeros((9, 9, 3), np.uint8))
    sheet = ContactSheet(str(tmp_path / "sheet.png"), ("happy", "sad", "angry"), Log("skip"))
    for number in range(100):
        sheet.add([face_of("happy", number / 100, value=number), face_of("sad", 0.5, value=number)][: 2 - number % 2])
    assert sheet.close() == f"a sheet of 150 faces in {tmp_path}/sheet.png"
    (((happy, shown), (sad, equal), angry),) = told
    assert happy == "happy: 100 faces, the 24 surest shown and 76 left out"
    assert [text for _, text in shown] == [f"{number}%" for number in range(99, 75, -1)]
    assert [int(tile[0, 0, 0]) for tile, _ in shown] == list(range(99, 75, -1))
    assert sad == "sad: 50 faces, the 24 surest shown and 26 left out"
    assert [int(tile[0, 0, 0]) for tile, _ in equal] == list(range(0, 48, 2))  # of equals those that came first
    assert angry == ("angry: 0 faces", [])


def test_unsure_faces_are_a_group_of_their_own(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(draw, "sheet", lambda groups, *size: told.append(groups) or np.zeros((9, 9, 3), np.uint8))
    sheet, unsure = ContactSheet(str(tmp_path / "sheet.png"), ("happy",), Log("skip")), face_of("happy", 0.4)
    unsure.rows[0] |= {"status": "unsure", "label": None}
    sheet.add([face_of("happy", 0.5), unsure])
    assert sheet.close() == f"a sheet of 2 faces in {tmp_path}/sheet.png"
    assert [(title, [text for _, text in shown]) for title, shown in told[0]] == [
        ("happy: 1 face", ["50%"]), ("unsure: 1 face", ["40%"]),
    ]  # fmt: skip


def test_a_photo_that_vanished_is_told(tmp_path):
    def gone():
        raise DataError("it cannot be read: No such file or directory")

    log = Log("skip")
    sheet = ContactSheet(str(tmp_path / "sheet.png"), ("happy",), log)
    sheet.add([face_of("happy", 0.5)._replace(photo=Photo("a.png", gone))])
    sheet.close()
    assert log.failures == [("a.png", "it is not on the contact sheet: it cannot be read: No such file or directory")]


@pytest.mark.parametrize("inputs", ["photos", "store", "archive"])
def test_a_sheet_of_anything(predict, model, photos, tmp_path, inputs):
    source = {"photos": photos, "store": model.parent / "S", "archive": pack(photos, "tar.gz")}[inputs]
    target = tmp_path / "sheet.png"
    _, rows, messages = predict(source, "--contact-sheet", target)
    faces = sum(row["status"] == "ok" for row in rows)
    assert f"fer predict: a sheet of {faces} faces in {target}\n" in messages
    drawn = target.read_bytes()
    assert cv2.imread(str(target)).shape[1] > contact.COLUMNS * contact.SIDE
    predict(source, "--contact-sheet", target)
    assert target.read_bytes() == drawn


def test_crops_are_drawn_without_the_boxes_that_they_have_in_their_photos(predict, model, scenes, tmp_path):
    shell(f"fer detect -q --detector haar --size 48 {model.parent}/scenes -o {tmp_path}/faces.h5", tmp_path)
    _, rows, _ = predict(tmp_path / "faces.h5", "--annotate", tmp_path / "drawn", "--contact-sheet", tmp_path / "s.png")
    assert rows
    assert all(row["box"][2] > 48 for row in rows)
    with open_store(tmp_path / "faces.h5") as store:
        crops = store.column("image")
    sheet = cv2.imread(str(tmp_path / "s.png"))
    pictures = [cv2.imread(str(path)) for path in (tmp_path / "drawn").glob("*.png")]
    assert len(crops) == len(rows) == len(pictures)
    for crop, row in zip(crops, rows, strict=True):
        expected = draw.annotated(crop, [draw.Face((), row["label"], row["probabilities"])])[..., ::-1]
        assert min(np.abs(np.subtract(picture, expected, dtype=int)).mean() for picture in pictures) == 0
        tile = cv2.cvtColor(geometry.face(crop, np.array([0, 0, 48, 48]), 0.0, contact.SIDE), cv2.COLOR_GRAY2BGR)
        assert cv2.matchTemplate(sheet, tile, cv2.TM_SQDIFF).min() == 0


@pytest.mark.parametrize("suffix", contact.SUFFIXES)
def test_a_sheet_replaces_an_older_one_and_no_other_picture(predict, photos, tmp_path, suffix):
    target = tmp_path / f"sheet{suffix}"
    image = cv2.imread(str(photos / "a.jpg"))
    cv2.imwrite(str(target), image)
    kept = target.read_bytes()
    refused = f"{target} is there and is no contact sheet: name another file with --contact-sheet, or add --force"
    assert error_of(predict(photos, "--contact-sheet", target)) == refused
    assert target.read_bytes() == kept
    for words in (("--force",), ()):
        status, _, messages = predict(photos, "--contact-sheet", target, *words)
        assert (status, f" in {target}\n" in messages) == (4, True)
    sheet = cv2.imread(str(target))
    assert draw.is_sheet(sheet[..., ::-1], contact.SIDE, contact.COLUMNS)
    cv2.imwrite(str(target), cv2.resize(image, sheet.shape[1::-1]))
    assert error_of(predict(photos, "--contact-sheet", target)) == refused


def test_a_sheet_takes_an_empty_file_and_no_other(predict, photos, tmp_path):
    target = tmp_path / "sheet.png"
    target.write_bytes(b"notes")
    assert "is there and is no contact sheet" in error_of(predict(photos, "--contact-sheet", target))
    target.write_bytes(b"")  # as mktemp makes it
    assert predict(photos, "--contact-sheet", target)[0] == 4
    assert cv2.imread(str(target)).shape[1] > contact.COLUMNS * contact.SIDE


@pytest.mark.parametrize("words", [(), ("--force",)])
def test_a_sheet_replaces_no_photo_of_the_run(predict, photos, tmp_path, words):
    before = files(photos)
    (tmp_path / "link.jpg").symlink_to(photos / "a.jpg")
    for target in (photos / "a.jpg", tmp_path / "link.jpg"):
        assert error_of(predict(photos, "--contact-sheet", target, *words)) == (
            f"{target} is both input and output: name another file with --contact-sheet"
        )
    assert files(photos) == before


# --- sorting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["copy", "hardlink", "symlink"])
def test_photos_are_sorted_once(predict, photos, tmp_path, by):
    target = tmp_path / "sorted"
    os.utime(photos / "a.jpg", (1e9, 1e9))
    _, rows, messages = predict(photos, "--sort-into", target, "--sort-by", by)
    assert f"fer predict: 5 photos sorted into {target}\n" in messages
    made = placed(target)
    assert sorted(made.values()) == sorted(files(photos).values())
    largest = {row["source"]: row["label"] for row in reversed(rows)}  # the first row of a photo is the last to count
    folders = {None: ("no-face", "unreadable")}
    for name, data in made.items():
        source = next(source for source in largest if Path(source).read_bytes() == data)
        assert Path(name).parent.name in folders.get(largest[source], (largest[source],))
        path = target / name
        assert path.is_symlink() == (by == "symlink")
        assert path.samefile(source) == (by != "copy")
        assert path.stat().st_mtime == Path(source).stat().st_mtime
    predict(photos, "--sort-into", target, "--sort-by", by)
    assert placed(target) == made


def placed(folder):
    """The files in a folder of sorted photos, without the record of them."""
    found = files(folder)
    found.pop(sorting.RECORD, None)
    return found


def sorter(tmp_path, by="copy"):
    return Sorted(str(tmp_path / "sorted"), by, ("happy", "sad"), Log("skip"))


def labelled(path, label="happy"):
    return Labelled(Photo(str(path), path.read_bytes, {}, path.name, str(path)), [{"status": "ok", "label": label}])


def test_other_files_of_a_name_survive(tmp_path):
    (tmp_path / "sorted" / "happy").mkdir(parents=True)
    (tmp_path / "sorted" / "happy" / "a.jpg").write_bytes(b"mine")
    photos = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "a.jpg").write_bytes(bytes([number]))
        photos.append(labelled(tmp_path / str(number) / "a.jpg"))
    sorter(tmp_path).add(photos)
    made = placed(tmp_path / "sorted")
    assert made["happy/a.jpg"] == b"mine"
    assert sorted(made.values()) == [b"\0", b"\1", b"\2", b"mine"]
    assert all(len(name) in (len("happy/a.jpg"), len("happy/a-01234567.jpg")) for name in made)
    sorter(tmp_path).add(photos[::-1])
    assert placed(tmp_path / "sorted") == made


@pytest.mark.parametrize("by", ["copy", "hardlink", "symlink"])
def test_photos_that_lie_in_their_place_are_not_read_again(tmp_path, by):
    paths = [tmp_path / name for name in ("a.jpg", "b.jpg")]
    for path in paths:
        path.write_bytes(path.name.encode())
    sorter(tmp_path, by).add([labelled(path) for path in paths])
    unread = [Labelled(Photo(str(path), Mock(), {}, path.name, str(path)), labelled(path).rows) for path in paths]
    again = sorter(tmp_path, by)
    again.again(unread)
    assert again.close() == f"2 photos sorted into {tmp_path}/sorted"
    sorter(tmp_path, by).again([labelled(paths[0], "sad"), unread[1]])
    assert set(placed(tmp_path / "sorted")) == {"sad/a.jpg", "happy/b.jpg"}
    for one in unread:
        one.photo.read.assert_not_called()


def test_another_photo_of_a_name_and_size_and_time_is_placed_too(tmp_path):
    """As of unpacked archives, when a run goes on that did not sort before."""
    paths = [tmp_path / folder / "1.bmp" for folder in "ab"]
    for number, path in enumerate(paths):
        path.parent.mkdir()
        path.write_bytes(bytes([number]) * 9)
        os.utime(path, (1000, 1000))
    made = sorter(tmp_path)
    for path in paths:
        made.again([labelled(path)])
    assert sorted(placed(tmp_path / "sorted").values()) == [b"\0" * 9, b"\1" * 9]


def test_a_name_that_a_file_system_does_not_take_is_not_sorted(tmp_path, monkeypatch):
    write = Path.write_bytes

    def written(self, data):
        if data == b"odd":
            raise OSError(errno.EINVAL, "Invalid argument", str(self))
        return write(self, data)

    for name in ("odd", "even"):
        (tmp_path / name).write_bytes(name.encode())
    photos = [labelled(tmp_path / name) for name in ("odd", "even")]
    monkeypatch.setattr(Path, "write_bytes", written)
    made = sorter(tmp_path)
    made.add(photos)
    target = tmp_path / "sorted" / "happy" / "odd"
    assert made._log.failures == [
        (str(tmp_path / "odd"), f"it was not sorted: {target} could not be written: Invalid argument")
    ]
    assert set(placed(tmp_path / "sorted")) == {"happy/even"}


def test_a_taken_suffix_is_told(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"photo")
    sorter(tmp_path).add([labelled(path)])
    (tmp_path / "sorted" / "happy" / "a.jpg").write_bytes(b"other")
    sorter(tmp_path).add([labelled(path)])
    (second,) = set(placed(tmp_path / "sorted")) - {"happy/a.jpg"}
    (tmp_path / "sorted" / second).write_bytes(b"another")
    with pytest.raises(DataError) as caught:
        sorter(tmp_path).add([labelled(path)])
    assert str(caught.value) == (
        f"{tmp_path}/sorted/{second} is another file than its name says: move it away, or name another --sort-into"
    )


@pytest.mark.parametrize("by", ["copy", "hardlink", "symlink"])
def test_a_photo_moves_to_its_new_label(tmp_path, by):
    """Of those that have its name, no other photo does, and nothing that a person placed."""
    (tmp_path / "0").mkdir()
    (tmp_path / "1").mkdir()
    for number in range(2):
        (tmp_path / str(number) / "a.jpg").write_bytes(bytes([number]))
    one, other = (tmp_path / str(number) / "a.jpg" for number in range(2))
    out = sorter(tmp_path, by)
    out.add([labelled(one, "happy"), labelled(other, "happy")])
    assert out.close() == f"2 photos sorted into {tmp_path}/sorted"
    (second,) = set(placed(tmp_path / "sorted")) - {"happy/a.jpg"}
    own = [tmp_path / "sorted" / name / "a.jpg" for name in ("mine", "unsure")]
    for path in own:
        path.parent.mkdir()
        shutil.copy(one, path)
    for label in ("sad", "happy", "sad"):
        out = sorter(tmp_path, by)
        out.again([labelled(one, label), labelled(other, "happy")])
        assert out.close() == f"2 photos sorted into {tmp_path}/sorted, 1 of them from another label"
        found = placed(tmp_path / "sorted")
        assert found == {
            f"{label}/a.jpg": b"\0", second: b"\1", "mine/a.jpg": b"\0", "unsure/a.jpg": b"\0"
        }  # fmt: skip
        path = tmp_path / "sorted" / label / "a.jpg"
        assert (path.is_symlink(), path.samefile(one)) == (by == "symlink", by != "copy")
    assert one.read_bytes() == b"\0"


def test_photos_of_a_name_that_leaves_no_room_for_a_suffix(tmp_path):
    path = tmp_path / f"{'x' * 251}.jpg"
    path.write_bytes(b"photo")
    for label in ("happy", "happy", "sad"):
        sorter(tmp_path).add([labelled(path, label)])
        assert list(placed(tmp_path / "sorted")) == [f"{label}/{path.name}"]
    other = tmp_path / "other" / path.name
    other.parent.mkdir()
    other.write_bytes(b"another photo")
    for _ in range(2):
        sorter(tmp_path).add([labelled(other, "sad")])
        (cut,) = set(placed(tmp_path / "sorted")) - {f"sad/{path.name}"}
        assert re.fullmatch("sad/x{242}-[0-9a-f]{8}.jpg", cut)
        assert placed(tmp_path / "sorted")[cut] == b"another photo"


def test_what_a_person_moved_or_changed_stays(tmp_path):
    folder = tmp_path / "sorted"
    paths = [tmp_path / f"{name}.jpg" for name in "abc"]
    for path in paths:
        path.write_bytes(path.name.encode())
    sorter(tmp_path).add([labelled(path, "happy") for path in paths])
    (folder / "sad").mkdir()
    (folder / "happy" / "a.jpg").rename(folder / "sad" / "a.jpg")
    (folder / "happy" / "b.jpg").write_bytes(b"retouched")
    paths[2].write_bytes(b"a later photo of the name")
    for label in ("happy", "unsure"):
        out = sorter(tmp_path)
        out.add([labelled(paths[0], label)])
        assert out.close() == f"1 photo sorted into {folder}, 1 of them left where a person moved them"
    sorter(tmp_path).add([labelled(path, "unsure") for path in paths])
    assert placed(folder) == {
        "sad/a.jpg": b"a.jpg", "happy/b.jpg": b"retouched", "happy/c.jpg": b"c.jpg", "unsure/b.jpg": b"b.jpg",
        "unsure/c.jpg": b"a later photo of the name",
    }  # fmt: skip


def test_a_photo_that_got_a_suffix_and_that_a_person_moved_stays(tmp_path):
    paths = [tmp_path / name / "x.jpg" for name in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(path.parent.name.encode())
    sorter(tmp_path).add([labelled(path, "happy") for path in paths])
    (suffixed,) = set(placed(tmp_path / "sorted")) - {"happy/x.jpg"}
    (tmp_path / "sorted/sad").mkdir()
    (tmp_path / "sorted" / suffixed).rename(tmp_path / "sorted/sad" / Path(suffixed).name)
    sorter(tmp_path).add([labelled(path, "happy") for path in paths])
    assert placed(tmp_path / "sorted") == {"happy/x.jpg": b"a", f"sad/{Path(suffixed).name}": b"b"}


@pytest.mark.parametrize("by", ["copy", "hardlink", "symlink"])
def test_a_photo_that_a_person_removed_is_placed_again(tmp_path, by):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"photo")
    sorter(tmp_path, by).add([labelled(path, "happy")])
    shutil.rmtree(tmp_path / "sorted" / "happy")
    sorter(tmp_path, by).add([labelled(path, "happy")])
    assert list(placed(tmp_path / "sorted")) == ["happy/a.jpg"]


def test_a_record_that_cannot_be_read_is_told(tmp_path):
    record = tmp_path / "sorted" / sorting.RECORD
    record.mkdir(parents=True)
    with pytest.raises(DataError) as caught:
        sorter(tmp_path)
    assert str(caught.value) == (
        f"{record}, which tells what was sorted, cannot be read: Is a directory; name another --sort-into"
    )


def test_a_photo_moves_whatever_else_the_record_says(tmp_path):
    """Half a line of a run that was cut off, and lines that name what lies elsewhere."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"photo")
    (tmp_path / "else").mkdir()
    shutil.copy(path, tmp_path / "else" / "a.jpg")
    sorter(tmp_path)
    (tmp_path / "sorted" / sorting.RECORD).write_text(
        '["..", "a.jpg", true]\n["../else", "a.jpg", true]\n[1, "a.jpg", true]\n7\n["sad", "a.j'
    )
    sorter(tmp_path).add([labelled(path, "happy")])
    sorter(tmp_path).add([labelled(path, "sad")])
    assert list(placed(tmp_path / "sorted")) == ["sad/a.jpg"]
    assert path.exists()
    assert (tmp_path / "else" / "a.jpg").exists()


def test_a_label_that_is_written_otherwise_is_one_folder(tmp_path):
    """As Happy and happy are on some systems."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"photo")
    sorter(tmp_path).add([labelled(path, "happy")])
    (tmp_path / "sorted" / "sad").symlink_to("happy")
    sorter(tmp_path).add([labelled(path, "sad")])
    assert (tmp_path / "sorted" / "happy" / "a.jpg").read_bytes() == b"photo"


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc", "a/b", "no-face", "unreadable"])
def test_classes_that_name_no_folder(tmp_path, name):
    with pytest.raises(DataError) as caught:
        Sorted(str(tmp_path / "sorted"), "copy", ("happy", name), Log("skip"))
    assert str(caught.value) == f"the class {name!r} of the model cannot name a folder of --sort-into"
    assert list(tmp_path.iterdir()) == []


def test_members_of_archives_are_copied_not_linked(predict, photos, tmp_path):
    archive = pack(photos, "zip")
    assert error_of(predict(archive, "--sort-into", tmp_path / "sorted", "--sort-by", "symlink")) == (
        f"{archive}/a.jpg is no file of its own, which a link could name: take --sort-by copy"
    )
    predict(archive, "--sort-into", tmp_path / "sorted")
    assert sorted(placed(tmp_path / "sorted").values()) == sorted(files(photos).values())


def test_a_link_to_another_file_system(tmp_path, monkeypatch):
    def link(*_):
        raise OSError(18, "Invalid cross-device link")

    path = tmp_path / "a.jpg"
    path.write_bytes(b"photo")
    monkeypatch.setattr(os, "link", link)
    with pytest.raises(DataError) as caught:
        sorter(tmp_path, "hardlink").add([labelled(path)])
    assert str(caught.value) == (
        f"{tmp_path}/sorted/happy cannot be filled: Invalid cross-device link; take --sort-by copy"
    )


def test_stores_are_not_sorted(predict, model, tmp_path):
    store = model.parent / "S"
    for flag, value in (("--sort-into", tmp_path / "sorted"), ("--resume", tmp_path / "rows.jsonl")):
        assert error_of(predict(store, flag, value)) == (
            f"{flag} is for photos, and {store} is a store: name the photos themselves"
        )
    assert list(tmp_path.iterdir()) == []


# --- names ------------------------------------------------------------------------------------------------------------


def test_names_below_an_output(tmp_path, monkeypatch):
    from fercli.layouts.files import Files

    monkeypatch.chdir(tmp_path)
    for path in ("p/x/a.jpg", "q/p/a.jpg", "q/p/x/a.jpg"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(photo(0, (9, 9)))
    names = lambda *sources: [one.name for one in photos_in(sources)]  # noqa: E731
    assert names(open_source("p/")) == ["x/a.jpg"]
    assert names(open_source("p"), open_source("q")) == ["p/x/a.jpg", "q/p/a.jpg", "q/p/x/a.jpg"]
    clash = names(open_source("p"), open_source("q/p"))
    assert clash[:2] == ["p/x/a.jpg", "p/a.jpg"]
    assert clash[2].startswith("p/x/a-")
    assert len(clash[2]) == len("p/x/a-01234567.jpg")
    listed = names(Files("list", ["p/x/a.jpg", "./p/x/../x/b.jpg", "../c.jpg", "/x/d.jpg"]))
    assert listed == ["p/x/a.jpg", "p/x/b.jpg", "c.jpg", "d.jpg"]


# --- rows of several runs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_runs_that_go_on(predict, photos, tmp_path, form):
    whole, part = tmp_path / f"whole.{form}", tmp_path / f"part.{form}"
    predict(photos, "-o", whole)
    status, _, messages = predict(photos, "--resume", part)
    assert (status, part.read_bytes()) == (4, whole.read_bytes())
    assert f"rows to {part}, 1 failed" in messages
    data = whole.read_bytes()
    part.write_bytes(data[: data.index(b"trip/b") + 30])  # cut off within the first row of the last photo
    status, _, messages = predict(photos, "--resume", part, "--contact-sheet", tmp_path / "sheet.png")
    assert part.read_bytes() == data
    assert status == 4  # the broken photo is among those that the earlier run has told of
    assert "fer predict: 3 photos of 5 labelled by an earlier run, of which 1 cannot be read\n" in messages
    assert f"fer predict: failed: {photos}/torn.jpg: " in messages
    faces = data.count(b'"ok"' if form == "jsonl" else b",ok,")
    assert f"fer predict: a sheet of {faces} faces in {tmp_path}/sheet.png\n" in messages


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_going_on_with_other_settings_is_told(predict, photos, tmp_path, form):
    rows = tmp_path / f"rows.{form}"
    _, labelled, _ = predict(photos)
    last = next(row for row in labelled if row["source"] == f"{photos}/trip/b.jpg")
    predict(photos, "--resume", rows)
    told = f"the last rows of {rows} are of another model, of other settings or of another photo: {last['source']} was"
    assert told not in predict(photos, "--resume", rows)[2]
    place = "{} ({:.2f}) at {}".format(last["label"], last["confidence"], ",".join(f"{one:g}" for one in last["box"]))
    apart = "to keep them apart, name another file with --resume"
    _, _, messages = predict(photos, "--resume", rows, "--abstain", 1)
    assert f"fer predict: {told} {place}, and is {place.replace(last['label'], 'unsure')}; {apart}\n" in messages
    _, _, messages = predict(photos, "--resume", rows, "--detector", "none")
    assert f"fer predict: {told} unsure ({last['confidence']:.2f}) at " in messages


def test_a_photo_is_known_however_its_path_is_spelled(predict, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    predict("photos", "--resume", "rows.jsonl")
    first = Path("rows.jsonl").read_text().splitlines()
    status, _, messages = predict("./photos//trip/../", "--resume", "rows.jsonl")
    assert status == 4
    assert "fer predict: 4 photos of 5 labelled by an earlier run, of which 1 cannot be read\n" in messages
    again = Path("rows.jsonl").read_text().splitlines()
    assert [os.path.normpath(json.loads(line)["source"]) for line in again] == [
        json.loads(line)["source"] for line in first
    ]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_photo_that_was_mended_is_labelled(predict, photos, scenes, tmp_path, form):
    """Its row gives way to those of its faces; while it cannot be read, it stays where it is."""
    rows = tmp_path / f"rows.{form}"
    predict(photos, "--resume", rows)
    before = rows.read_bytes()
    status, _, messages = predict(photos, "--resume", rows)
    assert (status, rows.read_bytes()) == (4, before)
    assert f"fer predict: failed: {photos}/torn.jpg: " in messages
    (photos / "torn.jpg").write_bytes(scenes[0])
    status, _, messages = predict(photos, "--resume", rows, "--annotate", tmp_path / "out")
    assert status == 0
    assert (
        "fer predict: 3 photos of 5 labelled by an earlier run\n"
        "fer predict: 1 photo that it could not read can be read now\n"
    ) in messages
    assert "torn.jpg" in files(tmp_path / "out")
    lines = lambda data: sorted(line for line in data.splitlines() if b"torn.jpg" not in line)  # noqa: E731
    assert lines(rows.read_bytes()) == lines(before)
    predict(photos / "torn.jpg", "-o", tmp_path / f"alone.{form}")
    for line in (tmp_path / f"alone.{form}").read_bytes().splitlines():
        assert rows.read_bytes().splitlines().count(line) == 1
    assert b"cannot be read" not in rows.read_bytes()


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_the_last_photo_keeps_its_rows_when_it_cannot_be_read_any_more(predict, photos, tmp_path, form):
    rows, last = tmp_path / f"rows.{form}", photos / "trip" / "b.jpg"
    names = [path for path in sorted(photos.rglob("*.*")) if path != last and path.name != "torn.jpg"]
    assert predict(*names, last, "--resume", rows)[0] == 0
    before = rows.read_bytes()
    last.write_bytes(b"")
    status, _, messages = predict(*names, last, "--resume", rows)
    assert (status, rows.read_bytes()) == (4, before)
    told = f"failed: {last}: it cannot be read any more: it keeps its rows, which may not be all\n"
    assert f"fer predict: {told}" in messages


def test_pictures_that_cannot_be_written_are_no_photos_that_cannot_be_read(predict, tmp_path):
    for name in ("a.png", "b.webp"):  # the name alone says that it is one, and one takes no such size
        cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((2, 17000), np.uint8))
        shutil.copy(tmp_path / "wide.png", tmp_path / name)
    words = (tmp_path / "b.webp", tmp_path / "a.png", "--resume", tmp_path / "rows.jsonl")
    predict(*words)
    status, _, messages = predict(*words, "--annotate", tmp_path / "out")
    assert "fer predict: 1 photo of 2 labelled by an earlier run\n" in messages
    assert f"fer predict: failed: {tmp_path}/b.webp: no picture of it was written: " in messages
    assert status == 4


def test_large_photos_come_out_a_few_at_a_time(monkeypatch):
    """And none beside photos of the next turn of another process."""

    def answer(crops, digests):
        count = len(crops)
        return {"probability": np.ones((count, 1), np.float32), "predicted": np.zeros(count, np.int16)}

    def batches(*sides):
        data = [photo(0, (side, side)) if side else b"torn" for side in sides]
        photos = [Photo("", lambda one=one: one) for one in data]
        found = faces.label_photos(photos, Search(DetectSpec(detector="none")), answer, Log("skip"))
        return [len(block["source"]) for block in found]

    monkeypatch.setattr(faces, "PIXELS", 100 * 100)
    assert batches(*[50] * 9) == [4, 4, 1]
    assert batches(10, 0, 200, 10, 200) == [3, 2]
    assert batches(*[10] * 30, 100, *[10] * 34) == [31, 1, 32, 1]
    assert batches(*[0] * 33) == [32, 1]
    assert batches() == []


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_pictures_of_photos_that_an_earlier_run_labelled(predict, photos, tmp_path, form):
    """Those that are not in the folder are drawn, as the earlier run would have drawn them; the others are left."""
    rows, out = tmp_path / f"rows.{form}", tmp_path / "out"
    predict(photos, "--annotate", tmp_path / "whole")
    whole = files(tmp_path / "whole")
    predict(photos, "--resume", rows)
    status, _, messages = predict(photos, "--resume", rows, "--annotate", out)
    assert (status, files(out)) == (4, whole)  # one photo is broken
    assert f"fer predict: 4 pictures in {out}\n" in messages
    (out / "empty.png").unlink()
    (out / "a.jpg").write_bytes(b"older")
    status, _, messages = predict(photos, "--resume", rows, "--annotate", out)
    assert (status, files(out)) == (4, whole | {"a.jpg": b"older"})
    assert f"fer predict: 2 pictures in {out}\n" in messages  # the last photo is labelled again


def test_rows_of_other_photos_are_kept(predict, photos, tmp_path):
    rows = tmp_path / "rows.jsonl"
    predict(photos / "a.jpg", "--resume", rows)
    first = rows.read_bytes()
    predict(photos / "trip", "--resume", rows)
    assert rows.read_bytes().startswith(first)
    assert {Path(json.loads(line)["source"]).name for line in rows.read_text().splitlines()} == {"a.jpg", "b.jpg"}


def test_two_takers_of_rows(predict, photos, tmp_path):
    assert error_of(predict(photos, "--resume", "a.jsonl", "-o", "b.jsonl")) == (
        "-o b.jsonl and --resume a.jsonl both take the rows: leave one of them out"
    )


@pytest.mark.parametrize(
    ("number", "status", "told"), [(signal.SIGINT, -signal.SIGINT, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_an_interrupt_keeps_whole_lines(model, photos, tmp_path, number, status, told):
    for copy in range(160):
        shutil.copy(photos / "a.jpg", photos / f"{copy:03}.jpg")
    rows = tmp_path / "rows.jsonl"
    words = ["predict", "-m", str(model), str(photos), "--resume", str(rows)]
    child = subprocess.Popen([*FER, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (rows.exists() and rows.stat().st_size) and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (status, "")
    kept = rows.read_bytes()
    count = len(kept.splitlines())
    assert err.endswith(
        f"fer predict: interrupted: {count} rows of this run went to {rows}: the same command goes on\n\n"
        f"fer predict: error: {told}\n"
    )
    sources = {json.loads(line)["source"] for line in kept.splitlines()}
    assert kept.endswith(b"\n")
    assert 32 <= len(sources) < 165
    done = subprocess.run([*FER, *words], capture_output=True, text=True)
    assert done.returncode in (0, 4)
    assert len({json.loads(line)["source"] for line in rows.read_text().splitlines()}) == 165


@pytest.mark.parametrize(
    ("error", "told_as"), [(KeyboardInterrupt(), "interrupted"), (DataError("no space left"), "ended early")]
)
@pytest.mark.parametrize(
    ("data", "older", "lines", "told"),
    [
        ("photos", b"", 0, "was not written"),
        ("store", b"", 70, "has the 70 rows so far"),
        ("store", b'{"source": "older"}\n', 1, "is left as it was, without the 70 rows so far"),
        ("clip", b"", 32, "has the 32 rows so far: --resume {} goes on"),
        (
            "clip",
            b'{"source": "older"}\n',
            1,
            "is left as it was, without the 32 rows so far; --resume FILE keeps rows as they come",
        ),
    ],
)
def test_an_early_end_keeps_rows_where_they_replace_nothing(
    model, photos, tmp_path, data, older, lines, told, error, told_as
):
    rows = tmp_path / "rows.jsonl"
    if older:
        rows.write_bytes(older)
    clip = write_clip(tmp_path / "a.avi", face_frames(40), (320, 240))

    class Interrupt(Silent):
        def __init__(self):
            self.notes = []

        def note(self, text):
            self.notes.append(text)

        def advance(self, count):
            raise error

    def run(src):
        heard = Interrupt()
        with pytest.raises(type(error)):
            labelling.write_rows(
                src, str(model), str(rows), "jsonl", PredictSpec(device="cpu", detector="none"), OutputSpec(),
                Log("skip", heard),
            )  # fmt: skip
        return heard.notes[-1] if heard.notes else ""

    with open_store(model.parent / "S") as store:
        sources = {"photos": [open_source(str(photos))], "store": store, "clip": [open_clip(str(clip))]}
        note = run(sources[data])
    if data == "store" and told_as == "ended early":  # whose rows may be of a store that has changed
        assert "ended early" not in note
        lines = len(older.splitlines())
    elif lines or told_as == "interrupted":  # of an error at the beginning the error itself tells
        assert note == f"{told_as}: {rows} {told.format(rows)}"
    kept = rows.read_bytes() if rows.exists() else b""
    assert (kept.count(b"\n"), kept[-1:] in (b"", b"\n"), kept.startswith(older)) == (lines, True, True)
    assert not list(tmp_path.glob(".*"))


def test_a_reader_that_leaves_early(model, tmp_path):
    """Though there is more to come than a pipe holds."""
    (tmp_path / "a.png").write_bytes(photo(0, (24, 24)))
    (tmp_path / "list").write_text(f"{tmp_path}/a.png\n" * 1000)
    line = f"fer predict -q --detector none -m {model} --files-from list"
    done = shell(f"{line} | head -n 1 > /dev/null; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("begun", [False, True])
def test_progress_has_an_end(model, photos, tmp_path, begun):
    class Bar(Silent):
        def __init__(self):
            self.totals, self.moved = [], 0

        def total(self, rows):
            self.totals.append(rows)

        def advance(self, rows):
            self.moved += rows

    def run(*sources):
        bar, wanted = Bar(), OutputSpec(resume=str(tmp_path / "rows.jsonl"))
        opened = [open_source(str(source)) for source in sources]
        labelling.write_rows(opened, str(model), "-", "jsonl", PredictSpec(device="cpu"), wanted, Log("skip", bar))
        return bar.totals, bar.moved

    if begun:
        run(photos / "trip")
    assert run(photos) == (([4], 4) if begun else ([5], 5))  # the last photo of an earlier run is labelled again


def test_two_runs_at_once(predict, photos, tmp_path):
    import fcntl

    rows = tmp_path / "rows.jsonl"
    with open(rows, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert error_of(predict(photos, "--resume", rows), 1) == (
            f"another run writes to {rows}: wait for it, or name another --resume"
        )


@pytest.mark.parametrize("form", ["jsonl", "csv", "tsv"])
def test_rows_replace_rows_and_nothing_else(predict, photos, tmp_path, form):
    target, photo = tmp_path / f"labels.{form}", photos / "a.jpg"
    for _ in range(2):
        assert predict(photo, "-o", target)[0] == 0
    made = target.read_bytes()
    target.write_bytes(codecs.BOM_UTF8 + made)  # as a spreadsheet saves them
    assert predict(photo, "-o", target)[0] == 0
    assert target.read_bytes() == made
    target.write_text("path,label\na.jpg,happy\n")
    refused = f"{target} is there and is no file of rows in {form}: name another file with -o, or add --force"
    for more in ((), ("-n",)):
        assert error_of(predict(photo, "-o", target, *more)) == refused
    assert target.read_text() == "path,label\na.jpg,happy\n"
    assert predict(photo, "-o", target, "--force")[0] == 0
    assert target.read_bytes() == made


def test_a_dry_run_looks_at_the_model(predict, photos, tmp_path):
    status, rows, message = predict(photos, "-n")
    assert (status, rows) == (0, [])
    assert message.startswith("fer predict: standard output would be written")
    resumed = predict(photos, "-n", "--resume", tmp_path / "r.jsonl")[2]
    assert resumed.startswith(f"fer predict: {tmp_path}/r.jsonl would be written")
    (tmp_path / "other.h5").write_bytes(b"no store")
    status, rows, message = predict("-m", tmp_path / "other.h5", photos, "-n")
    assert (status, rows) == (1, [])
    assert message.startswith(f"fer predict: error: {tmp_path / 'other.h5'} is not a fercli store (not HDF5)")


def test_names_that_some_file_systems_do_not_tell_apart_are_two():
    unique = faces.Unique()
    made = [unique(name, name) for name in ("IMG.JPG", "img.jpg", "Zoe\u0308.png", "zo\u00eb.png", "other.png")]
    assert [made[0], made[2], made[4]] == ["IMG.JPG", "Zoe\u0308.png", "other.png"]
    assert len({name.casefold() for name in made}) == 5


def test_a_summary_for_machines_has_the_notes(predict, photos):
    (photos / "notes.txt").touch()
    _, _, messages = predict(photos, "--json")
    told = json.loads(messages)["notes"]
    assert f"{photos} holds 1 file not named as photos are (.txt), left out" in told


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_no_rows_are_told_in_the_form_asked_for(model, tmp_path, form):
    """As of photos in which fer detect found no face."""
    from .stores import samples, write

    write(tmp_path / "none.h5", {name: values[:0] for name, values in samples(4, 48).items() if name == "image"})
    done = subprocess.run(
        [*FER, "predict", "-m", model, tmp_path / "none.h5", "--format", form], capture_output=True, text=True
    )
    assert done.returncode == 0
    names = "source,status,score,label,confidence,x,y,width,height,p_"
    assert done.stdout.startswith(names) if form == "csv" else not done.stdout
    assert done.stdout.count("\n") == (form == "csv")
