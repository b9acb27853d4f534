"""Rows that several runs write: wherever a run is cut off, the next one ends with what one run would have written."""

import contextlib
import errno
import json

import numpy as np
import pytest

from fercli.errors import DataError, UsageError
from fercli.stages.resume import Appended
from fercli.stages.rows import FORMATS, rows, text_of
from fercli.store import objects

CLASSES = ("happy", "sad")
PHOTOS = (("plain.jpg", 1), ('comma, "quote".jpg', 3), ("two\nlines.jpg", 0), ("h\udce4ppy.jpg", 2), ("-o.jpg", 1))


def block(photos):
    """The rows of photos: so many faces each, or one row that tells why there is none."""
    names = [name for name, faces in photos for _ in range(max(faces, 1))]
    answered = np.array([faces > 0 for _, faces in photos for _ in range(max(faces, 1))])
    return {
        "source": objects(names),
        "predicted": np.where(answered, 1, -1).astype(np.int16),
        "probability": np.where(answered[:, None], [[0.25, 0.75]], 0).astype(np.float32),
        "box": np.where(answered[:, None], [[1, 2, 3, 4.5]], 0).astype(np.float32),
        "score": np.where(answered, 2.5, 0).astype(np.float32),
        "error": objects("" if one else "no face" for one in answered),
    }


def whole(form, photos=PHOTOS):
    return text_of(form, CLASSES)(block(photos))


def changed(form, old, new):
    """The rows of which somebody else has edited the first."""
    data = whole(form)
    assert old.encode() in data
    return data.replace(old.encode(), new.encode(), 1)


def go_on(path, form, classes=CLASSES):
    """What a run does: it labels the photos that are not done, and the last one in the file again."""
    with Appended(str(path), form, classes) as file:
        past = list(file.past())
        if past:
            file.cut(past[-1].start)
        done = {one.source for one in past[:-1]}
        left = [photo for photo in PHOTOS if photo[0] not in done]
        text = text_of(form, classes, file.begun)
        for photo in left:
            file.append(text(block([photo])))
    return past


@pytest.mark.parametrize("form", FORMATS)
def test_wherever_it_was_cut_off(tmp_path, form):
    path, data = tmp_path / "rows", whole(form)
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        go_on(path, form)
        assert path.read_bytes() == data, length


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_read_is_what_was_written(tmp_path, form):
    path = tmp_path / "rows"
    path.write_bytes(whole(form))
    past = go_on(path, form)
    assert [one.source for one in past] == [name for name, _ in PHOTOS]
    read = [row for one in past for row in one.rows]
    for found, expected in zip(read, rows(block(PHOTOS), CLASSES), strict=True):
        assert found == {name: expected[name] for name in found}
    assert [one.start for one in past[1:]] == [one.end for one in past[:-1]]


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_a_table_that_a_spreadsheet_has_saved_is_gone_on_with(tmp_path, form):
    path, mark = tmp_path / "rows", "\ufeff".encode()
    path.write_bytes(mark + whole(form, PHOTOS[:2]))
    assert [one.source for one in go_on(path, form)] == [name for name, _ in PHOTOS[:2]]
    assert path.read_bytes() == mark + whole(form)


@pytest.mark.parametrize("form", FORMATS)
def test_a_run_that_fails_leaves_whole_rows(tmp_path, form):
    path = tmp_path / "rows"
    text = text_of(form, CLASSES)
    with contextlib.suppress(KeyboardInterrupt), Appended(str(path), form, CLASSES) as file:
        file.append(text(block(PHOTOS[:2])))
        file._file.write(b"half of a row")
        raise KeyboardInterrupt
    assert path.read_bytes() == whole(form, PHOTOS[:2])


def test_a_full_disk(tmp_path):
    class Full:
        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def write(self, data):
            if len(data) < 100:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self._file.write(data[: len(data) // 2])

    path = tmp_path / "rows"
    path.write_bytes(whole("jsonl", PHOTOS[:1]))
    with Appended(str(path), "jsonl", CLASSES) as file:
        list(file.past())
        file._file = Full(file._file)
        with pytest.raises(DataError) as caught:
            file.append(whole("jsonl", PHOTOS[1:]))
    assert str(caught.value) == f"no space left to write {path}: free some, or choose another place with --resume"
    assert path.read_bytes() == whole("jsonl", PHOTOS[:1])


@pytest.mark.parametrize(
    ("form", "data", "line"),
    [
        ("jsonl", b"source,status\n", 1),
        ("jsonl", b"[1, 2]\n", 1),
        ("jsonl", b'{"source": "a.jpg"}\n', 1),
        ("jsonl", whole("jsonl") + b"\n", 9),
        ("csv", whole("tsv"), 1),
        ("csv", b"name,age\nx,3\n", 1),
        ("csv", whole("csv") + b"a.jpg,ok\n" + whole("csv"), 11),
        ("tsv", whole("csv"), 1),
        ("jsonl", b'{"name": "without a line end"}', 1),
        ("jsonl", b"x", 1),
        ("csv", b"a note without a line end", 1),
        ("csv", b'"', 1),
        ("tsv", b"source,status,score", 1),
        *(("jsonl", changed("jsonl", old, new), 1) for old, new in (
            ('"sad", "confidence"', '"../sad", "confidence"'),
            ('"sad", "confidence"', 'null, "confidence"'),
            ('"sad", "confidence"', '["sad"], "confidence"'),
            ('"confidence": 0.75', '"confidence": null'),
            ('"status": "ok"', '"status": "no face"'),
            ("[1, 2, 3, 4.5]", "[1, 2, 3]"),
            ("[1, 2, 3, 4.5]", '"1234"'),
            ("[1, 2, 3, 4.5]", "5"),
        )),
        ("csv", changed("csv", ",sad,", ",../sad,"), 2),
        ("tsv", changed("tsv", "\tsad\t", "\t\t"), 2),
    ],
)  # fmt: skip
def test_other_files(tmp_path, form, data, line):
    path = tmp_path / "rows"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        go_on(path, form)
    assert str(caught.value) == (
        f"{path} line {line} is no row of {form} that fer predict wrote: "
        f"name another file with --resume, or its form with --format"
    )
    assert path.read_bytes() == data


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("classes", [("sad", "happy"), ("happy",), ("happy", "sad", "angry")])
def test_other_classes(tmp_path, form, classes):
    path = tmp_path / "rows"
    path.write_bytes(whole(form))
    with pytest.raises(DataError) as caught:
        go_on(path, form, classes)
    assert str(caught.value) == (
        f"{path} holds rows of the classes happy, sad, and the model has {', '.join(classes)}: "
        f"name another file with --resume, or that model with -m"
    )
    assert path.read_bytes() == whole(form)


def test_what_is_no_file(tmp_path):
    for path, text in (
        ("-", "--resume goes on with a file, and standard output is none: name one"),
        (str(tmp_path), f"{tmp_path} is a folder: name a file in it, such as --resume {tmp_path}/out.h5"),
        ("/dev/null", "/dev/null is no regular file: name another with --resume"),
    ):
        with pytest.raises(UsageError) as caught:
            Appended(path, "jsonl", CLASSES)
        assert str(caught.value) == text


def test_rows_that_no_parser_splits(tmp_path):
    """A line of JSON may hold the separators of lines that Unicode knows."""
    path = tmp_path / "rows"
    row = next(rows(block([("a\u2028b\x85c.jpg", 1)]), CLASSES))
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n")
    with Appended(str(path), "jsonl", CLASSES) as file:
        (past,) = file.past()
    assert past.source == "a\u2028b\x85c.jpg"


@pytest.mark.parametrize("form", FORMATS)
def test_rows_that_are_left_out(tmp_path, form):
    """Those of some photos, and what a killed run left at the end; the file stays locked, and goes on."""
    path = tmp_path / "rows"
    path.write_bytes(whole(form) + b"half of a row")
    with Appended(str(path), form, CLASSES) as file:
        past = list(file.past())
        file.drop([past[0], past[2], past[3]])
        assert path.read_bytes() == whole(form, [PHOTOS[1], PHOTOS[4]])
        with pytest.raises(DataError, match="another run writes to"), Appended(str(path), form, CLASSES):
            pass
        file.append(text_of(form, CLASSES, file.begun)(block(PHOTOS[:1])))
    assert path.read_bytes() == whole(form, [PHOTOS[1], PHOTOS[4], PHOTOS[0]])


def test_all_rows_are_left_out(tmp_path):
    path = tmp_path / "rows"
    path.write_bytes(whole("jsonl"))
    with Appended(str(path), "jsonl", CLASSES) as file:
        file.drop(list(file.past()))
    assert path.read_bytes() == b""


def test_a_run_that_is_killed_while_it_leaves_rows_out(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    path = tmp_path / "rows"
    path.write_bytes(whole("csv"))
    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt), Appended(str(path), "csv", CLASSES) as file:
        file.drop(list(file.past())[:2])
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("rows", whole("csv"))]
