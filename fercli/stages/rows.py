"""Prediction rows as text: JSON Lines, csv and tsv. One row a face, or a photo that has none or cannot be read."""

import codecs
import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ..errors import UsageError
from ..store import SPLITS, Block, block_rows, opened
from ..store.schema import HEAD_PREFIX, HEAD_PROBABILITY_PREFIX

NO_FACE = "no face"
UNSURE = "unsure"
FORMATS = ("jsonl", "csv", "tsv")
DELIMITERS = {"csv": ",", "tsv": "\t"}

Row = dict[str, Any]
#: What every row has without further heads.
_OF_ALL = ("source", "status", "box", "score", "label", "confidence", "probabilities", "error")
#: The columns that tables have for a box, and what those of probabilities begin with.
BOX, SHARE = ("x", "y", "width", "height"), "p_"
#: All that a row of photos may have without further heads, but for the columns `p_CLASS` of tables.
KEYS = frozenset((*_OF_ALL, *BOX))
#: What rows of videos have besides, and what rows of a store or of a video have.
OF_CLIPS = ("time", "frame", "track")
_OF_DATA = ("true_label", "split", *OF_CLIPS)
#: The classes of further heads by name.
Heads = Mapping[str, Sequence[str]]
NO_HEADS: Heads = MappingProxyType({})


def rows(block: Block, classes: Sequence[str], heads: Heads = NO_HEADS) -> Iterator[Row]:
    """One dict a row: source, status, box, score, label, confidence, probabilities, error.

    `status` is "ok", "no face", "error", or "unsure" where --abstain withheld the label. `box` is [x, y, width, height]
    in px of the photo, or None where the row is a face already. Rows of labelled data also have `true_label`, rows of
    split data `split`, and those of a video `time` (s), `frame` (from 0) and `track` (from 1). Each of `heads` adds, by
    its name, what the face is perceived as, and NAME_probabilities. What is unknown is None.
    """
    for i in range(block_rows(block)):
        code = int(block["predicted"][i])
        error = block["error"][i] if "error" in block else ""
        status = "ok" if code >= 0 else error if error in (NO_FACE, UNSURE) else "error"
        answered = status in ("ok", UNSURE)
        chances = [round(float(value), 6) for value in block["probability"][i]]
        row: Row = {
            "source": block["source"][i],
            "status": status,
            "box": _numbers(block["box"][i]) if "box" in block and block["box"][i].any() else None,
            "score": round(float(block["score"][i]), 4) if "score" in block and answered else None,
            "label": classes[code] if status == "ok" else None,
            "confidence": max(chances) if answered else None,
            "probabilities": dict(zip(classes, chances, strict=True)) if answered else None,
            "error": error if status == "error" and error else None,
        }
        if "label" in block:
            row["true_label"] = classes[block["label"][i]] if block["label"][i] >= 0 else None
        if "split" in block:
            row["split"] = SPLITS[block["split"][i]]
        if "time" in block:
            row["time"] = round(float(block["time"][i]), 3)
        if "frame" in block:
            row["frame"] = int(block["frame"][i])
        if "track" in block:
            row["track"] = int(block["track"][i]) or None
        for name, known in heads.items():
            row |= _further(name, known, block[HEAD_PREFIX + name][i], block[HEAD_PROBABILITY_PREFIX + name][i])
        yield row


def _further(name: str, classes: Sequence[str], code: int, probability: Iterable[float]) -> Row:
    """The part of a row that a further head answers."""
    chances = dict(zip(classes, (round(float(value), 6) for value in probability), strict=True))
    return {name: classes[code], f"{name}_probabilities": chances} if code >= 0 else dict.fromkeys(further_keys([name]))


def further_columns(heads: Heads) -> list[str]:
    """What the lines of tables have for further heads."""
    return [key for head, known in heads.items() for key in (head, *(f"{head}_{name}" for name in known))]


def further_keys(names: Iterable[str]) -> list[str]:
    """What rows have for further heads."""
    return [key for name in names for key in (name, f"{name}_probabilities")]


def _numbers(values: Any) -> list[float]:
    """Box coordinates with a tenth of a pixel, whole numbers without a point."""
    return [int(value) if float(value).is_integer() else round(float(value), 1) for value in values]


def text_of(
    form: str, classes: Sequence[str], begun: bool = False, heads: Heads = NO_HEADS
) -> Callable[[Block], bytes]:
    """A function from a block to its lines in one of FORMATS, to be called for one block after the other.

    `begun`: there are lines already, which these follow. Raises UsageError for a head that rows cannot tell.
    """
    for name in heads:
        if name in KEYS or name in _OF_DATA:
            raise UsageError(f"rows have a {name} already, so the head {name} goes into a store: add --format store")
    return json_lines(classes, heads) if form == "jsonl" else table(classes, DELIMITERS[form], begun, heads)


def json_lines(classes: Sequence[str], heads: Heads = NO_HEADS) -> Callable[[Block], bytes]:
    """A function from a block to its JSON Lines."""

    def text(block: Block) -> bytes:
        return "".join(json.dumps(row) + "\n" for row in rows(block, classes, heads)).encode()

    return text


def header(form: str, columns: Sequence[str], classes: Sequence[str], heads: Heads = NO_HEADS) -> bytes:
    """What tells in one of FORMATS that there are no rows: the first line of a table, and nothing in JSON Lines.

    `columns` are those of the data.
    """
    if form == "jsonl":
        return b""
    lines: list[str] = []
    told = [key for key, column in zip(_OF_DATA, ("label", *_OF_DATA[1:]), strict=True) if column in columns]
    none = dict.fromkeys((*_OF_ALL, *told, *further_keys(heads)))
    csv.writer(_Lines(lines), delimiter=DELIMITERS[form]).writerow(_flat(none, classes, heads))
    return "".join(lines).encode()


def beginning(form: str) -> bytes:
    """What a file of rows in one of FORMATS begins with."""
    return b'{"source": "' if form == "jsonl" else f"source{DELIMITERS[form]}status".encode()


def begins(path: str, form: str) -> bool:
    """Whether a file begins as one of rows in one of FORMATS does, perhaps behind the mark that spreadsheets put there.

    Raises DataError where it cannot be read.
    """
    with opened(path) as file:
        return file.read(64).removeprefix(codecs.BOM_UTF8).startswith(beginning(form))


def table(
    classes: Sequence[str], delimiter: str, begun: bool = False, heads: Heads = NO_HEADS
) -> Callable[[Block], bytes]:
    """A function from a block to csv or tsv lines; the first call begins with the header, unless it is `begun`.

    A file name that is not UTF-8 is written as the bytes it has.
    """
    started = begun

    def text(block: Block) -> bytes:
        nonlocal started
        lines: list[str] = []
        writer = csv.writer(_Lines(lines), delimiter=delimiter)
        for row in rows(block, classes, heads):
            flat = _flat(row, classes, heads)
            if not started:
                writer.writerow(flat)
                started = True
            writer.writerow(flat.values())
        return "".join(lines).encode("utf-8", "surrogateescape")

    return text


class _Lines:
    """Where `csv` writes lines that end in "\\n". It quotes a "\\r" within a field only where lines end in that too."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def write(self, line: str) -> None:
        self._lines.append(line.removesuffix("\r\n") + "\n")


def _flat(row: Row, classes: Sequence[str], heads: Heads) -> Row:
    """A row without nesting: the box as x, y, width, height, a column `p_CLASS` a class and `NAME_CLASS` of a head."""
    box, chances = row["box"] or [None] * 4, row["probabilities"] or {}
    nested = ("box", "probabilities", "error", *further_keys(heads))
    flat = {key: value for key, value in row.items() if key not in nested}
    flat |= dict(zip(BOX, box, strict=True))
    flat |= {SHARE + name: chances.get(name) for name in classes}
    for head, known in heads.items():
        told = row[f"{head}_probabilities"] or {}
        flat |= dict(zip(further_columns({head: known}), (row[head], *map(told.get, known)), strict=True))
    return flat | {"error": row["error"]}


def from_flat(flat: Row, classes: Sequence[str]) -> Row:
    """The row of photos that a line of a table tells. Raises ValueError, KeyError: the line is of something else."""
    answered = flat["status"] in ("ok", UNSURE)
    box = [float(flat[name]) for name in BOX if flat[name]]
    return {
        "source": flat["source"],
        "status": flat["status"],
        "box": box or None,
        "label": flat["label"] or None,
        "confidence": float(flat["confidence"]) if answered else None,
        "probabilities": {name: float(flat[SHARE + name]) for name in classes} if answered else None,
        "error": flat["error"] or None,
    }


def is_sound(row: Row, classes: Sequence[str]) -> bool:
    """Whether a row that was read holds values that can be shown beside others, and that some run may have written."""
    right = row["label"] in classes if row["status"] == "ok" else row["label"] is None
    if row["status"] in ("ok", UNSURE):
        right = right and _is_number(row["confidence"]) and row["probabilities"] is not None
    box = () if row["box"] is None else row["box"]
    return right and isinstance(box, Sequence) and len(box) in (0, 4) and all(map(_is_number, box))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
