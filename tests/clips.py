"""Small videos for the tests, and changes to their bytes that no encoder makes."""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from fercli.layouts.video import Clip, Frame
from fercli.ops.synthetic import draw_face

FACE = draw_face(np.random.default_rng(3), "happy", 96)
SAMPLES = (b"moov", b"trak", b"mdia", b"minf", b"stbl")  # where an MP4 file tells of its frames


def write_clip(path: Path, images: Iterable[np.ndarray], size: tuple[int, int] = (160, 120), rate: float = 10) -> Path:
    """A video of (H, W) gray or (H, W, 3) RGB images: MJPEG in an .avi, MPEG-4 in an .mp4."""
    code = cv2.VideoWriter_fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), code, rate, size)
    for image in images:
        writer.write(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image[..., ::-1].copy())
    writer.release()
    return path


def face_frames(count: int, size: tuple[int, int] = (320, 240)) -> Iterator[np.ndarray]:
    """(H, W) frames of a drawn face of 96 px that moves to the right by 2 px a frame."""
    patches = np.random.default_rng(4).integers(90, 160, (12, 16), np.uint8)
    for number in range(count):
        frame = cv2.resize(patches, size)
        frame[70:166, 60 + 2 * number : 156 + 2 * number] = FACE
        yield frame


def gray_frames(count: int, size: tuple[int, int] = (160, 120)) -> list[np.ndarray]:
    return [np.full(size[::-1], 100, np.uint8)] * count


def changed(data: bytes, path: Sequence[bytes], change: Callable[[bytes], bytes]) -> bytes:
    """An MP4 file with another content of the box at `path`."""
    head, *rest = path
    made, at = b"", 0
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + size]
        if name == head:
            content = changed(content, rest, change) if rest else change(content)
        made += struct.pack(">I4s", len(content) + 8, name) + content
        at += size
    return made


class Frames(Clip):
    """A clip of images that are in memory, or made as they are asked for; it may end in an error."""

    def __init__(self, images: Iterable[np.ndarray], rate: float = 10, error: Exception | None = None) -> None:
        super().__init__("clip.mp4")
        self._images, self._rate, self._error = images, rate, error

    def names(self) -> list[str]:
        return ["clip.mp4"]

    def digest(self, names: Iterable[str] = ()) -> str:
        return "00"

    def frames(self) -> Iterator[Frame]:
        for number, image in enumerate(self._images):
            yield Frame(number, number / self._rate, image)
        if self._error:
            raise self._error
