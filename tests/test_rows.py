"""Prediction rows as JSON Lines, csv and tsv: read back by a parser, they are what went in."""

import csv
import io
import json

import numpy as np
import pytest

from fercli.layouts.files import Files
from fercli.stages.faces import photos_in
from fercli.stages.rows import FORMATS, text_of
from fercli.store import objects

CLASSES = ("happy", "sad")
NAMES = ("plain.jpg", 'comma, "quote".jpg', "two\nlines.jpg", "tab\tname.jpg", "h\udce4ppy.jpg", "-o.jpg")


def block(names=NAMES):
    """A face, then photos without one, then one that cannot be read."""
    count = len(names)
    answered = np.arange(count) == 0
    return {
        "source": objects(names),
        "predicted": np.where(answered, 1, -1).astype(np.int16),
        "probability": np.where(answered[:, None], [[0.25, 0.75]], 0).astype(np.float32),
        "box": np.where(answered[:, None], [[1, 2, 3, 4.5]], 0).astype(np.float32),
        "score": np.where(answered, 2.5, 0).astype(np.float32),
        "error": objects(["", *["no face"] * (count - 2), "cut off"]),
    }


def test_json_lines():
    rows = [json.loads(line) for line in text_of("jsonl", CLASSES)(block()).decode("ascii").splitlines()]
    assert [row["source"] for row in rows] == list(NAMES)
    assert rows[0] == {
        "source": "plain.jpg", "status": "ok", "box": [1, 2, 3, 4.5], "score": 2.5, "label": "sad", "confidence": 0.75,
        "probabilities": {"happy": 0.25, "sad": 0.75}, "error": None,
    }  # fmt: skip
    assert [(row["status"], row["error"], row["label"], row["box"]) for row in rows[1:]] == [
        *[("no face", None, None, None)] * 4,
        ("error", "cut off", None, None),
    ]


@pytest.mark.parametrize(("form", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_tables(form, delimiter):
    text = text_of(form, CLASSES)
    data = (text(block()) + text(block())).decode("utf-8", "surrogateescape")
    header, *rows = csv.reader(io.StringIO(data, newline=""), delimiter=delimiter)
    assert header == ["source", "status", "score", "label", "confidence", "x", "y", "width", "height",
                      "p_happy", "p_sad", "error"]  # fmt: skip
    assert rows[0] == ["plain.jpg", "ok", "2.5", "sad", "0.75", "1", "2", "3", "4.5", "0.25", "0.75", ""]
    assert [row[0] for row in rows] == [*NAMES, *NAMES]  # one header over two blocks
    assert rows[5] == ["-o.jpg", "error", *[""] * 9, "cut off"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_name_that_is_not_utf8_can_be_written(form):
    data = text_of(form, CLASSES)(block())
    assert (b"h\xe4ppy.jpg" in data) == (form != "jsonl")


def test_a_photo_that_is_named_twice_has_two_rows():
    source = Files("list", ["a.jpg", "b.jpg", "a.jpg"])
    assert [one.source for one in photos_in([source])] == ["a.jpg", "b.jpg", "a.jpg"]
