"""Rows of a csv whose pixels are decimal numbers, read as arrays of bytes: no number is parsed by itself.

A chunk of lines takes the fast way, which finds the ends of all numbers at once; if anything in it is amiss, each of
its lines is looked at in turn, so that every wrong row is told by number and reason.
"""

import csv
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_SLICE = 16  # rows of 48x48 whose text and temporaries stay in cache and below the size that malloc maps afresh
_MAX_SIDE = 256


class Chunk(NamedTuple):
    """Whole lines of a csv; the first is data row `first` (from 1)."""

    first: int
    lines: list[bytes]


class Rows(NamedTuple):
    """The good rows of a chunk, and (row, reason) of the others. Rows count from 1 without the header."""

    row: np.ndarray  # (N,) int64
    image: np.ndarray  # (N, S, S) uint8
    label: np.ndarray  # (N,) int16
    split: np.ndarray  # (N,) int8; 0 where the format tells no usage
    faults: list[tuple[int, str]]


@dataclass(frozen=True)
class Format:
    """Which column is which, what the words of two of them mean, and how many pixels a row has (0: not known yet).

    `usage` is None where there is no such column.
    """

    columns: int
    label: int
    usage: int | None
    pixels: int
    labels: Mapping[bytes, int]
    usages: Mapping[bytes, int]
    size: int = 0

    @property
    def side(self) -> int:
        """Height and width of an image."""
        return _side(self.size)

    def fields(self, line: bytes) -> tuple[bytes, bytes | None, bytes] | None:
        """Label, usage and pixels of a line; None if it has not as many fields as the header."""
        parts = line.split(b",")
        if len(parts) != self.columns:
            parts = _unquoted(line)
            if len(parts) != self.columns:
                return None
        usage = None if self.usage is None else parts[self.usage].strip(b' "')
        return parts[self.label].strip(b' "'), usage, parts[self.pixels].strip(b' "')

    def fault(self, line: bytes) -> str:
        """Why a line is no row, in words; empty if it is one."""
        fields = self.fields(line)
        if fields is None:
            return f"it has {len(_unquoted(line))} fields, but the header has {self.columns}"
        label, usage, pixels = fields
        if label not in self.labels:
            return f"its label is {_shown(label)}, not one of {', '.join(map(bytes.decode, self.labels))}"
        if usage is not None and usage not in self.usages:
            return f"its usage is {_shown(usage)}, not one of {', '.join(map(bytes.decode, self.usages))}"
        numbers = [number for number in pixels.split(b" ") if number]
        for at, number in enumerate(numbers, start=1):
            if not number.isdigit():
                return f"its pixel {at} is {_shown(number)}, not a number"
            if len(number) > 3 or int(number) > 255:
                return f"its pixel {at} is {_shown(number)}, not one of 0 to 255"
        if not self.size and not _side(len(numbers)):
            return f"it has {len(numbers)} pixels, which make no square image of 1 to {_MAX_SIDE} a side"
        if self.size and len(numbers) != self.size:
            return f"it has {len(numbers)} pixels, but {self.side}x{self.side} images have {self.size}"
        return ""

    def parse(self, chunk: Chunk) -> Rows:
        """The rows of a chunk, whose size must be known."""
        rows = np.arange(chunk.first, chunk.first + len(chunk.lines))
        parsed = self._fast(chunk.lines)
        if parsed is not None:
            return Rows(rows, *parsed, [])
        reasons = [self.fault(line) for line in chunk.lines]
        good = [at for at, reason in enumerate(reasons) if not reason]
        image, label, split = self._fast([chunk.lines[at] for at in good])
        faults = [(chunk.first + at, reason) for at, reason in enumerate(reasons) if reason]
        return Rows(rows[good], image, label, split, faults)

    def _fast(self, lines: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Image, label, split of lines; None if any of them has a fault."""
        fields = [self.fields(line) for line in lines]
        if None in fields:
            return None
        label = [self.labels.get(field[0]) for field in fields]
        split = [0 if self.usage is None else self.usages.get(field[1]) for field in fields]
        if None in label or None in split:
            return None
        image = np.empty((len(lines), self.size), np.uint8)
        for start in range(0, len(lines), _SLICE):
            texts = [field[2] for field in fields[start : start + _SLICE]]
            if not parse_decimals(texts, image[start : start + _SLICE]):
                return None
        return image.reshape(len(lines), self.side, self.side), np.array(label, np.int16), np.array(split, np.int8)


def parse_decimals(texts: Sequence[bytes], out: np.ndarray) -> bool:
    """Writes numbers of 0 to 255 parted by spaces, one text a row, into `out` (N, P) uint8.

    False, with `out` undefined, unless every text is exactly P such numbers of at most three digits, and neither begins
    nor ends with a space.
    """
    text = np.frombuffer(b" ".join(texts) + b" ", np.uint8)
    digit = text - np.uint8(ord("0"))  # other characters wrap round to 10 and above
    is_digit = digit < 10
    if np.count_nonzero(is_digit) + np.count_nonzero(text == ord(" ")) != len(text):
        return False
    digit *= is_digit
    ends = np.flatnonzero(is_digit[:-1] > is_digit[1:])  # of all numbers: the last digit before a space
    last = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1) - 2  # of each text
    count = out.shape[1]
    if len(ends) != out.size or not np.array_equal(ends[count - 1 :: count], last):
        return False
    pair = is_digit[1:] & is_digit[:-1]  # two digits in a row, by the place of the first
    if (pair[2:] & pair[:-2]).any():  # four in a row
        return False
    hundreds = digit[:-2] * pair[1:]
    value = digit.copy()
    value[1:] += digit[:-1] * np.uint8(10)
    value[2:] += hundreds * np.uint8(100)
    # 256 to 299 have wrapped round to less than 100, though they have hundreds
    if hundreds.max(initial=0) > 2 or ((hundreds > 0) & (value[2:] < 100)).any():
        return False
    np.take(value, ends.reshape(out.shape), out=out, mode="clip")  # "raise" would copy
    return True


def numbered(batches: Iterable[list[bytes]]) -> Iterator[Chunk]:
    """Batches of lines with the number of their first row."""
    first = 1
    for lines in filter(None, batches):
        yield Chunk(first, lines)
        first += len(lines)


def with_size(form: Format, chunk: Chunk) -> Format:
    """The format with the number of pixels that the first good row of a chunk has; 0 if it has no good row."""
    for line in chunk.lines:
        if not form.fault(line):
            size = len(form.fields(line)[2].split())
            return dataclasses.replace(form, size=size)
    return form


def _unquoted(line: bytes) -> list[bytes]:
    """The fields of a line of which quoted ones may hold commas (RFC 4180)."""
    try:
        (fields,) = csv.reader([line.decode("latin-1")], skipinitialspace=True)
    except csv.Error:  # a carriage return within, or a very long field
        return line.split(b",")
    return [field.encode("latin-1") for field in fields]


def _side(size: int) -> int:
    """Side of a square of that many pixels; 0 if there is none."""
    side = math.isqrt(size)
    return side if side * side == size and side <= _MAX_SIDE else 0


def _shown(field: bytes) -> str:
    """A field as the person may see it in the file, cut short."""
    return repr(field[:20].decode("utf-8", "backslashreplace"))
