"""Photos in, prediction rows out: searched, cropped and classified as they stream by, faces of many photos a batch."""

import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, DeviceGone
from ..layouts.archive import Archive
from ..layouts.files import IMAGE_SUFFIXES, Folder, Source
from ..layouts.video import is_video
from ..ops.image import digests_of, header
from ..ops.parallel import cores, ordered_map
from ..store import Block, Reader, objects
from ..store.schema import HEAD_PREFIX
from .detect import Found, Search, told_boxes
from .rows import NO_FACE
from .runner import Log

#: Photos whose faces are classified together, and pixels of them from which there are fewer: few enough that the first
#: rows appear soon, and that an interrupt costs little.
PHOTOS, PIXELS = 32, 30_000_000

#: Crops (n, S, S) uint8 and their digests (n, 16) to the columns digest, probability, predicted and seen.
Answer = Callable[[np.ndarray, np.ndarray], Block]


@dataclass(frozen=True)
class Photo:
    """A photo to label: what to call it, how to get its file's bytes or its pixels, and columns that its rows carry.

    `name` is a relative path for what is made of it, which no other photo of the run has; `path` is its file, where it
    has one of its own. `told` (4,) is the box of the face that the photo is a row for, where the data tells it.
    """

    source: str
    read: Callable[[], bytes | np.ndarray]
    carried: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    path: str = ""
    told: np.ndarray | None = None


#: A batch of photos, and the block of all their rows.
Batch = tuple[list[Photo], Block]


def label_photos(photos: Iterable[Photo], search: Search, answer: Answer, log: Log) -> Iterator[Block]:
    """Prediction blocks: one row a face, the photos in order and each one's largest face first.

    A photo without a face, or one that cannot be read, has one row with predicted -1 and the reason in `error`; the
    latter is reported as failed too. `parent` is the photo's number.
    """

    def look(photo: Photo) -> _Looked:
        try:
            data = photo.read()
            return _Looked(photo, search(data, photo.told), _pixels(data))
        except DeviceGone:
            raise
        except DataError as error:
            return _Looked(photo, Found.nothing(error=str(error)))

    first = 0
    for batch in _batches(ordered_map(look, photos, ahead=max(2, PHOTOS // cores())), log):
        for photo, found in batch:
            if found.error:
                log.failed(photo.source, found.error)
        yield rows_of(batch, first, search.spec.size, answer)
        first += len(batch)


class _Looked(NamedTuple):
    """A photo that was searched, what it gave, and its pixels."""

    photo: Photo
    found: Found
    pixels: int = 0


def _pixels(data: bytes | np.ndarray) -> int:
    """Height x width of an encoded photo or of an image. DataError: the file tells none."""
    height, width = header(data)[1:] if isinstance(data, bytes) else data.shape[:2]
    return height * width


def _batches(searched: Iterable[_Looked], log: Log) -> Iterator[list[tuple[Photo, Found]]]:
    """Photos whose faces are classified together. One ends after every PHOTOS photos, and earlier where they are large.

    Moves the progress with each photo: a batch of large ones takes long.
    """
    batch: list[tuple[Photo, Found]] = []
    pixels = 0
    for number, one in enumerate(searched, 1):
        log.advance(1)
        batch.append((one.photo, one.found))
        pixels += one.pixels
        if number % PHOTOS == 0 or pixels >= PIXELS:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def rows_of(batch: list[tuple[Photo, Found]], first: int, size: int, answer: Answer) -> Block:
    """The rows of some photos, of which the first is number `first`."""
    photos, found = zip(*batch, strict=True)
    faces = np.array([len(one.crops) for one in found])
    of = np.repeat(np.arange(len(batch)), np.maximum(faces, 1))  # photo of each row
    answered = faces[of] > 0
    crops = [crop for one in found for crop in one.crops]
    digests = digests_of(crops)
    answers = answer(np.array(crops, np.uint8).reshape(-1, size, size), digests)
    answers["box"] = np.concatenate([one.box for one in found])
    answers["score"] = np.concatenate([one.score for one in found])
    block = {name: _spread(values, answered) for name, values in answers.items()}
    for name in block:
        if name == "predicted" or name.startswith(HEAD_PREFIX):
            block[name][~answered] = -1
    reasons = [one.error or (NO_FACE if one.missed else "") for one in found]
    carried = {name: np.array([photo.carried[name] for photo in photos])[of] for name in photos[0].carried}
    return {
        "source": objects(photos[photo].source for photo in of),
        "error": objects(reasons[photo] for photo in of),
        "parent": of + first,
        **carried,
        **block,
    }


def _spread(values: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """Values of the answered rows in their places among all rows, 0 elsewhere."""
    spread = np.zeros((len(answered), *values.shape[1:]), values.dtype)
    spread[answered] = values
    return spread


def photos_in(sources: Sequence[Source]) -> Iterator[Photo]:
    """The photos of folders, archives and lists, called by the paths under which the person finds them. A folder inside
    that cannot be listed is one that cannot be read.

    Raises DataError for a folder or an archive without a photo, and for what is drawn.
    """
    unique = Unique()
    for source in sources:
        if isinstance(source, Folder | Archive):
            if not source.photos and not source.unlisted:
                raise DataError(f"{source.path} holds no photos: fer predict reads {', '.join(IMAGE_SUFFIXES)}")
            root = source.path.rstrip("/")
            inside = f"{os.path.basename(os.path.abspath(source.path))}/" if len(sources) > 1 else ""
            for name in source.photos:
                path = f"{root}/{name}" if isinstance(source, Folder) else ""
                yield Photo(f"{root}/{name}", partial(source.read, name), {}, unique(inside + name, root), path)
            for name, reason in source.unlisted.items():
                yield Photo(f"{root}/{name}", partial(_unlisted, reason), name=unique(inside + name, root))
            continue
        if not source.names():
            raise DataError(f"{source.path} is no photo: draw it into a store with fer ingest, and label that")
        for name in source.names():
            called = name if source.flat else source.path
            path = called if os.path.isfile(called) else ""
            read = partial(_no_photo, called) if is_video(called) or _is_list(called) else partial(source.read, name)
            yield Photo(called, read, {}, unique(relative(called), called), path)


def photos_of(
    src: Reader, rows: np.ndarray | None, numbers: np.ndarray, label: np.ndarray | None, attributes: Sequence[str]
) -> Iterator[Photo]:
    """The photos in `rows` of a store (None: all), whose `numbers` (n,) these are, one by one.

    Their rows carry split, `attributes` and, where `label` (N,) has those of all rows, the label.
    """
    pixels = "encoded" if "encoded" in src.columns else "image"
    wanted = (pixels, "source", "split", *attributes, *(("box",) if pixels == "encoded" else ()))
    columns = [name for name in wanted if name in src.columns]
    first = 0
    for block in src.blocks(columns, rows):
        told = told_boxes(block.get("box"), len(block[pixels]))
        for place, photo in enumerate(block[pixels]):
            row = int(numbers[first + place])
            carried = {name: block[name][place] for name in ("split", *attributes) if name in block}
            if label is not None:
                carried["label"] = label[row]
            source = block["source"][place] if "source" in block else f"row {row}"
            yield Photo(source, lambda photo=photo: photo, carried, told=told[place])
        first += len(block[pixels])


def _unlisted(reason: str) -> bytes:
    raise DataError(f"it is a folder that cannot be listed: {reason}")


def _is_list(name: str) -> bool:
    """Whether a file's name says that it lists photos, or is a table of them."""
    return name.lower().endswith((".csv", ".tsv", ".txt"))


def _no_photo(name: str) -> bytes:
    if is_video(name):
        raise DataError("it is a video: name it as IN")
    raise DataError("it is no photo: a list of paths is read with --files-from, a labelled data set by fer ingest")


def relative(path: str) -> str:
    """A path below whatever folder it is joined to: as it is, or its last part if it leads elsewhere."""
    plain = os.path.normpath(path)
    return os.path.basename(plain) if os.path.isabs(plain) or plain.startswith("..") else plain


class Unique:
    """Tells names apart: one that another photo has, or that no file system takes, gets a suffix made of where its
    photo comes from. Some file systems tell neither large letters from small ones nor the two forms of an accent.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def __call__(self, name: str, origin: str) -> str:
        if _folded(name) in self._taken or _is_too_long(name):
            name = told_apart(name, os.fsencode(origin))
        self._taken.add(_folded(name))
        return name


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def told_apart(name: str, by: bytes) -> str:
    """A name with a suffix made of some bytes, cut to the 255 bytes that file systems take."""
    stem, suffix = os.path.splitext(name)
    end = f"-{hashlib.blake2b(by, digest_size=4).hexdigest()}{suffix}"
    while _is_too_long(stem + end) and os.path.basename(stem):
        stem = stem[:-1]
    return stem + end


def _is_too_long(name: str) -> bool:
    return len(os.fsencode(os.path.basename(name))) > 255
