"""Prediction rows as text: JSON Lines, csv and tsv. One row a face, or a photo that has none or cannot be read."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..store import SPLITS, Block, block_rows

NO_FACE = "no face"
UNSURE = "unsure"
FORMATS = ("jsonl", "csv", "tsv")
DELIMITERS = {"csv": ",", "tsv": "\t"}

Row = dict[str, Any]


def rows(block: Block, classes: Sequence[str]) -> Iterator[Row]:
    """One dict a row: source, status, box, score, label, confidence, probabilities, error.

    `status` is "ok", "no face", "error", or "unsure" where --abstain withheld the label. `box` is [x, y, width, height]
    in px of the photo, or None where the row is a face already. Rows of labelled data also have `true_label`, rows of
    split data `split`, and those of a video `time` (s), `frame` (from 0) and `track` (from 1). What is unknown is None.
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
        yield row


def _numbers(values: Any) -> list[float]:
    """Box coordinates with a tenth of a pixel, whole numbers without a point."""
    return [int(value) if float(value).is_integer() else round(float(value), 1) for value in values]


def text_of(form: str, classes: Sequence[str], begun: bool = False) -> Callable[[Block], bytes]:
    """A function from a block to its lines in one of FORMATS, to be called for one block after the other.

    `begun`: there are lines already, which these follow.
    """
    return json_lines(classes) if form == "jsonl" else table(classes, DELIMITERS[form], begun)


def json_lines(classes: Sequence[str]) -> Callable[[Block], bytes]:
    """A function from a block to its JSON Lines."""

    def text(block: Block) -> bytes:
        return "".join(json.dumps(row) + "\n" for row in rows(block, classes)).encode()

    return text


def table(classes: Sequence[str], delimiter: str, begun: bool = False) -> Callable[[Block], bytes]:
    """A function from a block to csv or tsv lines; the first call begins with the header, unless it is `begun`.

    A file name that is not UTF-8 is written as the bytes it has.
    """
    started = begun

    def text(block: Block) -> bytes:
        nonlocal started
        out = io.StringIO()
        writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
        for row in rows(block, classes):
            flat = _flat(row, classes)
            if not started:
                writer.writerow(flat)
                started = True
            writer.writerow(flat.values())
        return out.getvalue().encode("utf-8", "surrogateescape")

    return text


def _flat(row: Row, classes: Sequence[str]) -> Row:
    """A row without nesting: the box as x, y, width, height and one column `p_CLASS` a class."""
    box, chances = row["box"] or [None] * 4, row["probabilities"] or {}
    flat = {key: value for key, value in row.items() if key not in ("box", "probabilities", "error")}
    flat |= dict(zip(("x", "y", "width", "height"), box, strict=True))
    flat |= {f"p_{name}": chances.get(name) for name in classes}
    return flat | {"error": row["error"]}


def from_flat(flat: Row, classes: Sequence[str]) -> Row:
    """The row of photos that a line of a table tells. Raises ValueError, KeyError: the line is of something else."""
    answered = flat["status"] in ("ok", UNSURE)
    box = [float(flat[name]) for name in ("x", "y", "width", "height") if flat[name]]
    return {
        "source": flat["source"],
        "status": flat["status"],
        "box": box or None,
        "label": flat["label"] or None,
        "confidence": float(flat["confidence"]) if answered else None,
        "probabilities": {name: float(flat[f"p_{name}"]) for name in classes} if answered else None,
        "error": flat["error"] or None,
    }
