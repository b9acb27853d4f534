"""Drawing on pictures: boxes, labels and the probabilities of classes, in sizes that follow the picture.

Images are uint8, (H, W) gray or (H, W, 3) RGB; lengths are px. Text is drawn with OpenCV's strokes, which know ASCII
alone: accents are dropped and other letters become question marks.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from .image import to_gray

Colour = tuple[int, int, int]
Rect = tuple[int, int, int, int]  # x, y, width, height

#: Colours of classes in their order: those of Okabe and Ito (2008), which the colour-blind can tell apart too.
PALETTE: tuple[Colour, ...] = (
    (213, 94, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66),
    (86, 180, 233), (230, 159, 0), (235, 235, 235), (0, 114, 178),
)  # fmt: skip
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
#: Height of a capital letter as a share of the picture's size and of the face's, its least, and the least that can be
#: read, to which a text shrinks that has no room, px.
_OF_PICTURE, _OF_FACE, _LEAST, _LEGIBLE = 0.022, 0.13, 9, 6
#: Between these shares of a face's height are its eyes and mouth, which no label covers.
_EYES, _CHIN = 0.25, 0.85
#: Pictures are enlarged until their shorter side is this long, unless the longer one would leave the second.
_READABLE, _LONGEST = 300, 1200
_PANEL_OPACITY = 0.7
#: The ground of a sheet, and how far a lossy format may take it from that.
_PAPER, _CODED = 32, 16
#: With more faces than this their panels would hide the picture.
_PANELS = 12


class Face(NamedTuple):
    """What is drawn of a face."""

    box: Sequence[float]  # x, y, width, height; empty: the whole picture
    label: str
    chances: Mapping[str, float]  # probability of every class, in the model's order
    track: int | None = None


class _Tag(NamedTuple):
    """The line of text of a face, and where it stands."""

    text: str
    height: int  # of its capital letters
    place: Rect


def annotated(image: np.ndarray, faces: Sequence[Face], note: str = "") -> np.ndarray:
    """(H', W', 3) RGB: a copy of the image with each face's box, number, label and probabilities.

    A small image is enlarged by a whole number, so that the words have room. Labels stay inside the picture and cover
    no other label and of a face no more than hair or neck; one that has no such place is left out, as is the panel of
    all probabilities, which has none among many faces. `note` stands in the upper left corner, if it can be read there.
    """
    factor = magnification(*image.shape[:2])
    canvas = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image.copy()
    if factor > 1:
        canvas = cv2.resize(canvas, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    height, width = canvas.shape[:2]
    boxes = [_box(face, factor, width, height) for face in faces]
    colours = [_colour(face) for face in faces]
    for box, colour in zip(boxes, colours, strict=True):
        _outline(canvas, box, colour)
    size = _letters(boxes, width, height)
    taken: list[Rect] = []
    for number, (face, colour) in enumerate(zip(faces, colours, strict=True)):
        tag = _tag(face, size, number, boxes, taken, width, height)
        if tag:
            taken.append(tag.place)
            _draw_tag(canvas, tag, colour, _surest(face))
    for face, box in zip(faces, boxes, strict=True) if len(faces) <= _PANELS else ():
        panel = _panel(face, max(_LEAST, round(0.8 * size)), box, _rects([*boxes, *taken]), width, height)
        if panel:
            taken.append(panel.place)
            _draw_panel(canvas, panel, face)
    size = _fitting(note, _letters([], width, height), width, height)
    if note and size:
        _draw_tag(canvas, _Tag(note, size, (0, 0, *_room(note, size))), PALETTE[6], 0.0)
    return canvas


def magnification(height: int, width: int) -> int:
    """How many times a picture of this size is enlarged before it is drawn on."""
    short, long = min(height, width), max(height, width)
    return max(1, min(-(-_READABLE // short), _LONGEST // long))


def sheet(groups: Sequence[tuple[str, Sequence[tuple[np.ndarray, str]]]], side: int, columns: int) -> np.ndarray:
    """(H, W, 3) RGB: one group below the other, each a title and its (side, side, 3) images, a line of text under each.

    The sheet is `columns` images wide.
    """
    gap, line = side // 12, side // 4
    cell = side + line
    rows = [-(-len(images) // columns) for _, images in groups]
    width = columns * (side + gap) + gap
    canvas = np.full((sum(line + gap + count * (cell + gap) for count in rows) + gap, width, 3), _PAPER, np.uint8)
    top = gap
    for (title, images), count in zip(groups, rows, strict=True):
        _write(canvas, title, _fitting(title, line // 2, width - 2 * gap, cell), (gap, top + line - line // 4), WHITE)
        top += line + gap
        for place, (image, text) in enumerate(images):
            x, y = gap + place % columns * (side + gap), top + place // columns * (cell + gap)
            canvas[y : y + side, x : x + side] = image
            size = _fitting(text, line // 2, side, cell)
            _write(canvas, text, size, (x, y + side + line - line // 4), (200, 200, 200))
        top += count * (cell + gap)
    return canvas


def is_sheet(image: np.ndarray, side: int, columns: int) -> bool:
    """Whether an image, decoded from whatever format, looks like a `sheet`: its width, and its empty margin."""
    gap = side // 12
    margin = gap // 2
    edges = (image[:margin], image[-margin:], image[:, :margin], image[:, -margin:])
    return image.shape[1] == columns * (side + gap) + gap and all(
        (abs(edge.astype(int) - _PAPER) <= _CODED).all() for edge in edges
    )


def _box(face: Face, factor: int, width: int, height: int) -> Rect:
    """The part of a face's box that lies in the picture, in whole px of the enlarged picture."""
    if not len(face.box):
        return 0, 0, width, height
    x, y, w, h = (value * factor for value in face.box)
    left, top = (round(min(max(value, 0), end - 1)) for value, end in ((x, width), (y, height)))
    right, bottom = (round(min(max(value, 1), end)) for value, end in ((x + w, width), (y + h, height)))
    return left, top, max(1, right - left), max(1, bottom - top)


def _colour(face: Face) -> Colour:
    names = list(face.chances)
    return PALETTE[names.index(face.label) % len(PALETTE)] if face.label in names else PALETTE[6]


def _letters(boxes: Sequence[Rect], width: int, height: int) -> int:
    """Height of the letters in a picture: of its size and of that of most of its faces."""
    sizes = [_OF_PICTURE * (width * height) ** 0.5]
    if boxes:
        sizes.append(_OF_FACE * float(np.median([min(w, h) for _, _, w, h in boxes])))
    return max(_LEAST, round(min(sizes)))


def _stroke(height: int) -> int:
    return max(1, round(height / 12))


def _outline(canvas: np.ndarray, box: Rect, colour: Colour) -> None:
    """A line of the colour along the inside of the box, between two dark ones, so that it shows on any ground."""
    x, y, w, h = box
    size = min(_letters([], canvas.shape[1], canvas.shape[0]), min(w, h) // 8)
    line = max(2, size // 6)
    dark = line // 2
    for outset, thickness, ink in ((dark, dark, BLACK), (-line, dark, BLACK), (0, line, colour)):
        rows = canvas[max(0, y - outset) : max(0, y + h + outset)]
        ground = rows[:, max(0, x - outset) : max(0, x + w + outset)]
        for part in (ground[:, :thickness], ground[:, -thickness:], ground[:thickness], ground[-thickness:]):
            part[:] = ink


def _surest(face: Face) -> float:
    return max(face.chances.values(), default=1.0)


def _tag(
    face: Face, size: int, number: int, boxes: Sequence[Rect], taken: Sequence[Rect], width: int, height: int
) -> _Tag | None:
    """The label of face `number`, as near to its box as it is free; None if nowhere.

    Where there is little room it goes without the probability, and at last over the hair or the neck of another face.
    """
    name = face.label if face.track is None else f"#{face.track} {face.label}"
    own, cores = [_core(boxes[number])], [_core(box) for box in boxes]
    clear = _rects([*boxes[:number], *boxes[number + 1 :], *own, *taken])
    for text, others in ((f"{name} {_surest(face):.0%}", clear), (name, clear), (name, _rects([*cores, *taken]))):
        letters = _fitting(text, size, width, height)
        wide, high = _room(text, letters)
        for spot in ((*place, wide, high) for place in _spots(boxes[number], wide, high, width) if letters):
            if _inside(spot, width, height) and _clear(spot, others):
                return _Tag(text, letters, spot)
    return None


def _spots(box: Rect, wide: int, high: int, width: int) -> Iterator[tuple[int, int]]:
    """Where a label of this size may begin: above its box, below, at its sides, inside at the top or at the foot."""
    x, y, w, h = box
    across = (min(x, width - wide), max(0, x + w - wide))  # from the left edge on, or up to the right one
    yield from ((left, top) for left in across for top in (y - high, y + h))
    yield from ((left, top) for top in (y, y + h - high) for left in (x + w, x - wide))
    yield from ((left, top) for top in (y, y + h - high) for left in across)


def _core(box: Rect) -> Rect:
    """The part of a face that must be seen."""
    x, y, w, h = box
    return x, y + round(_EYES * h), w, max(1, round((_CHIN - _EYES) * h))


def _panel(face: Face, size: int, box: Rect, taken: np.ndarray, width: int, height: int) -> _Tag | None:
    """Where all probabilities of a face fit beside it; None if nowhere. The text is the widest name."""
    x, y, w, h = box
    widest = max(face.chances, key=lambda name: _text_width(name, size), default="")
    wide, high = _text_width(widest, size) + 7 * size, round((1.7 * len(face.chances) + 0.8) * size)
    gap = size // 2
    for left, top in (
        (x + w + gap, y), (x - wide - gap, y), (x + w + gap, y + h - high), (x - wide - gap, y + h - high),
        (x, y + h + gap), (x, y - high - gap), (x, y + h + 4 * gap), (x, y - high - 4 * gap),
    ):  # fmt: skip
        spot = (left, top, wide, high)
        if _inside(spot, width, height) and _clear(spot, taken):
            return _Tag(widest, size, spot)
    return None


def _draw_tag(canvas: np.ndarray, tag: _Tag, colour: Colour, share: float) -> None:
    """Text on a ground of the colour; a bar at its foot is as long as the share."""
    x, y, wide, high = tag.place
    canvas[y : y + high, x : x + wide] = colour
    ink = BLACK if to_gray(np.array([[colour]], np.uint8))[0, 0] > 110 else WHITE
    bar = max(1, tag.height // 5)
    if share:
        canvas[y + high - bar : y + high, x : x + wide] = 32
        canvas[y + high - bar : y + high, x : x + round(share * wide)] = WHITE
    _write(canvas, tag.text, tag.height, (x + tag.height // 2, y + tag.height // 2 + tag.height), ink)


def _draw_panel(canvas: np.ndarray, panel: _Tag, face: Face) -> None:
    """A line a class: its name, and a bar as long as its probability."""
    x, y, wide, high = panel.place
    ground, size = canvas[y : y + high, x : x + wide], panel.height
    ground[:] = (ground * (1 - _PANEL_OPACITY)).astype(np.uint8)
    start = _text_width(panel.text, size) + size
    for row, (name, chance) in enumerate(face.chances.items()):
        top = y + round((0.6 + 1.7 * row) * size)
        _write(canvas, name, size, (x + size // 2, top + size), WHITE)
        left, length = x + start, wide - start - size // 2
        canvas[top : top + size, left : left + length] = canvas[top : top + size, left : left + length] // 2 + 40
        canvas[top : top + size, left : left + max(1, round(chance * length))] = PALETTE[row % len(PALETTE)]


def _write(canvas: np.ndarray, text: str, height: int, origin: tuple[int, int], colour: Colour) -> None:
    """Text whose line begins at `origin`; none where its height is 0."""
    if not height:
        return
    scale = cv2.getFontScaleFromHeight(_FONT, height, 1)
    cv2.putText(canvas, plain(text), origin, _FONT, scale, colour, _stroke(height), cv2.LINE_AA)


def plain(text: str) -> str:
    """The text in ASCII: without accents, other letters as question marks."""
    bare = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" else "?" for letter in bare)


def _text_width(text: str, height: int) -> int:
    scale = cv2.getFontScaleFromHeight(_FONT, height, 1)
    return cv2.getTextSize(plain(text), _FONT, scale, _stroke(height))[0][0]


def _room(text: str, height: int) -> tuple[int, int]:
    """Width and height of the ground of a line of text: half a letter around it, and room for its bar."""
    return _text_width(text, height) + height, height + 2 * (height // 2) + max(1, height // 5) + height // 4


def _sizes(height: int) -> Iterator[int]:
    while height >= _LEGIBLE:
        yield height
        height = height * 9 // 10


def _fitting(text: str, most: int, width: int, height: int) -> int:
    """The height of the largest letters up to `most` whose ground fits into so many px; 0: none that can be read do."""
    rooms = ((size, _room(text, size)) for size in _sizes(most))
    return next((size for size, (wide, high) in rooms if wide <= width and high <= height), 0)


def _rects(found: Sequence[Rect]) -> np.ndarray:
    """(N, 4)."""
    return np.array(found, int).reshape(-1, 4)


def _inside(rect: Rect, width: int, height: int) -> bool:
    x, y, wide, high = rect
    return x >= 0 and y >= 0 and x + wide <= width and y + high <= height


def _clear(rect: Rect, others: np.ndarray) -> bool:
    """Whether a rectangle shares no more than an edge with any of others (N, 4)."""
    x, y, wide, high = rect
    left, top, across, down = others.T
    return not ((x < left + across) & (left < x + wide) & (y < top + down) & (top < y + high)).any()
