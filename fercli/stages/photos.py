"""Photo files to blocks: read in order, decoded in threads, dense where they are gray and of one size."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from ..layouts import Listing, Record, Report, Source
from ..ops.image import decode, digest
from ..ops.parallel import ordered_map
from ..store import SPLIT_CODES, Block, objects
from ..store.schema import ATTRIBUTE_PREFIX

#: Gray photos of one size up to this side are stored as pixels, all others as the files they are.
MAX_DENSE_SIDE = 256

_BATCH_FILES, _BATCH_BYTES = 32, 4 << 20  # what a thread decodes at a time


class NotDense(Exception):
    """A photo cannot join a dense store: it has colour, is large, or differs in size from those before it."""


class Photo(NamedTuple):
    """A photo that was decoded, which checks it, or the `error` why not. `image` is there if it is gray and small."""

    record: Record
    data: bytes = b""
    image: np.ndarray | None = None
    height: int = 0
    width: int = 0
    digest: bytes = b""
    error: str = ""


def blocks(source: Source, listing: Listing, dense: bool, report: Report, place: str = "") -> Iterator[Block]:
    """The photos of a listing in its order; bad ones are reported and left out. Their names are put behind `place`.

    Raises NotDense, if `dense`, at the first photo that needs its own size or colours.
    """
    for name, reason in listing.failures:
        report.failed(os.path.join(place, name), reason)
    columns = listing.columns
    for photos in ordered_map(_decode_all, _read(source, listing.records)):
        good = []
        for photo in photos:
            if photo.error:
                report.failed(os.path.join(place, photo.record.name), photo.error)
            else:
                good.append(photo)
        if good:
            names = objects(os.path.join(place, photo.record.name) for photo in good)
            yield {"source": names, **_told([photo.record for photo in good], columns), **_pixels(good, dense)}


def to_gray_if_equal(image: np.ndarray) -> np.ndarray:
    """(H, W) of an (H, W, 3) image whose channels are equal, as some gray scans are; others come back as they are."""
    if (
        image.ndim == 3
        and np.array_equal(image[..., 0], image[..., 1])
        and np.array_equal(image[..., 0], image[..., 2])
    ):
        return np.ascontiguousarray(image[..., 0])
    return image


def _read(source: Source, records: Iterable[Record]) -> Iterator[list[Photo]]:
    """The files' bytes in batches. One thread reads: opening many small files holds the interpreter lock."""
    batch, size = [], 0
    for record in records:
        try:
            photo = Photo(record, source.read(record.name))
        except DataError as error:
            photo = Photo(record, error=str(error))
        batch.append(photo)
        size += len(photo.data)
        if len(batch) == _BATCH_FILES or size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    yield batch


def _decode_all(photos: list[Photo]) -> list[Photo]:
    return [photo if photo.error else _decode(photo) for photo in photos]


def _decode(photo: Photo) -> Photo:
    try:
        image = to_gray_if_equal(decode(photo.data))
    except DataError as error:
        return Photo(photo.record, error=str(error))
    height, width = image.shape[:2]
    small = image.ndim == 2 and max(height, width) <= MAX_DENSE_SIDE
    return Photo(photo.record, photo.data, image if small else None, height, width, digest(image))


def _pixels(photos: Sequence[Photo], dense: bool) -> Block:
    digests = np.frombuffer(b"".join(photo.digest for photo in photos), np.uint8).reshape(-1, 16)
    if not dense:
        return {
            "encoded": objects(photo.data for photo in photos),
            "height": np.array([photo.height for photo in photos], np.int32),
            "width": np.array([photo.width for photo in photos], np.int32),
            "digest": digests,
        }
    if any(photo.image is None or photo.image.shape != photos[0].image.shape for photo in photos):
        raise NotDense
    return {"image": np.stack([photo.image for photo in photos]), "digest": digests}


def _told(records: Sequence[Record], columns: Sequence[str]) -> Block:
    """What the layout tells of the photos, as columns."""
    block: Block = {}
    for column in columns:
        if column == "label":
            block[column] = np.array([record.label for record in records], np.int16)
        elif column == "split":
            block[column] = np.array([SPLIT_CODES[record.split] for record in records], np.int8)
        elif column == "box":
            block[column] = np.array([record.box or (0, 0, 0, 0) for record in records], np.float32)
        elif column.startswith(ATTRIBUTE_PREFIX):
            name = column.removeprefix(ATTRIBUTE_PREFIX)
            block[column] = np.array([record.attributes.get(name, -1) for record in records], np.int16)
        else:
            block[column] = objects(getattr(record, column) for record in records)
    return block
