"""The csv parser: the fast way and the careful way agree, and each fault is told by row and reason."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fercli.errors import DataError
from fercli.labels import EMOTIONS
from fercli.layouts import Options, get, open_source
from fercli.layouts.pixels import Chunk, Format, numbered, parse_decimals, with_size
from fercli.store import Block, concatenate
from tests.trees import plant

FORM = Format(3, 0, 2, 1, {b"0": 0, b"6": 6}, {b"Training": 0, b"PublicTest": 1}, 4)
GOOD = b"6,1 20 255 0,PublicTest"


@given(st.lists(st.lists(st.integers(0, 255), min_size=9, max_size=9), min_size=1, max_size=40))
def test_every_number_is_read(rows: list[list[int]]):
    out = np.empty((len(rows), 9), np.uint8)
    assert parse_decimals([" ".join(map(str, row)).encode() for row in rows], out)
    assert out.tolist() == rows


def test_all_numbers_of_three_digits():
    for number in range(1000):
        out = np.empty((1, 4), np.uint8)
        done = parse_decimals([f"0 {number} 255 {number}".encode()], out)
        assert done == (number <= 255)
        assert not done or out.tolist() == [[0, number, 255, number]]


@given(st.lists(st.text("0123456789 ", min_size=1, max_size=12), min_size=1, max_size=6))
def test_fast_and_careful_agree_on_digits_and_spaces(texts: list[str]):
    lines = [f"0,{text},Training".encode() for text in texts]
    found = FORM.parse(Chunk(1, lines))
    careful = [not FORM.fault(line) for line in lines]
    assert found.row.tolist() == [at for at, good in enumerate(careful, start=1) if good]
    expected = [[int(part) for part in text.split()] for text, good in zip(texts, careful, strict=True) if good]
    assert found.image.reshape(-1, 4).tolist() == expected


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=5))
def test_any_bytes_are_a_row_or_a_fault(lines: list[bytes]):
    found = FORM.parse(Chunk(5, [*lines, GOOD]))
    assert sorted([*found.row.tolist(), *(row for row, _ in found.faults)]) == list(range(5, 6 + len(lines)))
    assert found.image[-1].tolist() == [[1, 20], [255, 0]]
    assert (found.label[-1], found.split[-1]) == (6, 1)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"6,1 2 3,Training", "it has 3 pixels, but 2x2 images have 4"),
        (b"6,1 2 3 4 5,Training", "it has 5 pixels, but 2x2 images have 4"),
        (b"6,,Training", "it has 0 pixels, but 2x2 images have 4"),
        (b"6,1 2 3 4", "it has 2 fields, but the header has 3"),
        (b"6,1,2 3 4,Training", "it has 4 fields, but the header has 3"),
        (b'6,"1 2, 3 4","Train,ing"', "its usage is 'Train,ing', not one of Training, PublicTest"),
        (b'6,"a, b",1 2 3 4,Training', "it has 4 fields, but the header has 3"),
        (b'6,a\rb,"a, b",1 2 3 4,Training', "it has 6 fields, but the header has 3"),
        (b"6,1 2 x3 4,Training", "its pixel 3 is 'x3', not a number"),
        (b"6,1 2 -3 4,Training", "its pixel 3 is '-3', not a number"),
        (b"6,1 2 3.5 4,Training", "its pixel 3 is '3.5', not a number"),
        (b"6,1 2\t3 4 5,Training", "its pixel 2 is '2\\t3', not a number"),
        (b"6,256 2 3 4,Training", "its pixel 1 is '256', not one of 0 to 255"),
        (b"6,1 2 3 300,Training", "its pixel 4 is '300', not one of 0 to 255"),
        (b"6,1 2 3 0004,Training", "its pixel 4 is '0004', not one of 0 to 255"),
        (b"7,1 2 3 4,Training", "its label is '7', not one of 0, 6"),
        (b"happy,1 2 3 4,Training", "its label is 'happy', not one of 0, 6"),
        (b"\xff,1 2 3 4,Training", "its label is '\\\\xff', not one of 0, 6"),
        (b"6,1 2 3 4,Test", "its usage is 'Test', not one of Training, PublicTest"),
    ],
)
def test_faults(line: bytes, reason: str):
    found = FORM.parse(Chunk(1, [GOOD, line, GOOD]))
    assert found.faults == [(2, reason)]
    assert found.row.tolist() == [1, 3]


def test_quotes_and_spaces_around_fields():
    found = FORM.parse(Chunk(1, [b'"0"," 1  20 255 0 ", Training ', GOOD]))
    assert found.faults == []
    assert found.image[0].tolist() == [[1, 20], [255, 0]]


def test_the_first_good_row_tells_the_size():
    form = Format(3, 0, 2, 1, FORM.labels, FORM.usages)
    lines = [b"6,1 2 3,Training", b"9,1 2 3 4,Training", GOOD]
    assert with_size(form, Chunk(1, lines)).size == 4
    assert form.parse(Chunk(1, lines[:1])).faults == [
        (1, "it has 3 pixels, which make no square image of 1 to 256 a side")
    ]


def test_chunks_count_rows():
    found = list(numbered([[b"a", b"b"], [], [b"c"]]))
    assert found == [Chunk(1, [b"a", b"b"]), Chunk(3, [b"c"])]


def test_fields_in_quotes_may_hold_commas():
    form = Format(4, 0, 2, 1, FORM.labels, FORM.usages, size=4)
    found = form.parse(
        Chunk(1, [b'0,1 20 255 0,Training,"a, ""b"""', b"6,1 2 3 4,Training,", b"6,1 2 3 4,Training,a,b"])
    )
    assert found.image[0].tolist() == [[1, 20], [255, 0]]
    assert found.faults == [(3, "it has 5 fields, but the header has 4")]


class Heard:
    def __init__(self) -> None:
        self.failures: list[tuple[str, str]] = []

    def failed(self, source: str, reason: str) -> None:
        self.failures.append((source, reason))

    def note(self, text: str) -> None:
        raise AssertionError(text)


def read_csv(tmp_path: Path, text: str | bytes) -> tuple[Heard, Block]:
    source = open_source(str(plant(tmp_path, {"f.csv": text}) / "f.csv"))
    heard = Heard()
    return heard, concatenate(get("fer2013").scan(source, Options()).blocks(heard))


def test_rows_of_a_file_are_counted_over_chunks_and_blank_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fercli.layouts.files._LINES", 64)
    rows = [f"{at % 7},{at % 256} 2 3 4,Training" for at in range(100)]
    rows[40] = "3,1 2 3,Training"
    rows[70] = rows[71] = "8,1 2 3 4,Training"
    heard, block = read_csv(tmp_path, "\ufeffemotion,pixels,Usage\r\n" + "\r\n\r\n".join(rows))
    assert heard.failures == [
        ("f.csv:41", "it has 3 pixels, but 2x2 images have 4"),
        ("f.csv:71", f"its label is '8', not one of 0, 1, 2, 3, 4, 5, 6, {', '.join(EMOTIONS)}"),
        ("f.csv:72", f"its label is '8', not one of 0, 1, 2, 3, 4, 5, 6, {', '.join(EMOTIONS)}"),
    ]
    good = [at for at in range(100) if at not in (40, 70, 71)]
    assert block["source"].tolist() == [f"f.csv:{at + 1}" for at in good]
    assert block["image"][:, 0, 0].tolist() == good
    assert block["label"].tolist() == [at % 7 for at in good]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("emotion,Usage\n1,2\n", "f.csv: it has no column pixels; its columns are emotion, usage"),
        ("pixels,Usage\n1,2\n", "f.csv: it has no column emotion; its columns are pixels, usage"),
        ("emotion,pixels,Usage\n", "f.csv has a header but no rows"),
    ],
)
def test_tables_without_columns_or_rows(text: str, told: str, tmp_path: Path):
    with pytest.raises(DataError) as caught:
        read_csv(tmp_path, text)
    assert str(caught.value) == told
