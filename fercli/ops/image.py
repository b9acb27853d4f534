"""Image files to arrays and back to plain facts: header, decode, gray, resize, digest.

An image is uint8, (H, W) gray or (H, W, 3) RGB; OpenCV's BGR stays where it is read or written. Errors are DataError
with a sentence that lacks the file's name, which the caller puts before it.

OpenCV's own log is silenced, because what it says comes back as an error. libjpeg and libpng write some complaints
straight to file descriptor 2, which cannot be redirected safely beside other threads; `header` and `_check_whole` find
nearly every broken file before those libraries see it.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from ..errors import DataError

# the name that it has in OpenCV 4.10, or else that of later ones; 0 is silent
(getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(0)

#: Height x width above which a file is refused before it is decoded: 100-megapixel cameras pass, bombs do not.
MAX_PIXELS = 120_000_000

_JPEG_END = b"\xff\xd9"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe")
#: Brands of ISO media files that hold photos (ISO/IEC 23008-12), and that of Canon's cameras.
_OF_PHONES = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    **dict.fromkeys((b"mif1", b"msf1"), "HEIF"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"crx ": "CR3",
}
_CUT_OFF = "the image is cut off before its end"


def header(data: bytes) -> tuple[str, int, int]:
    """Format name, height and width (pixels, as stored: before any EXIF rotation) of an image file, without decoding.

    Raises DataError: the file is empty, cut off, of an unknown format, or its size is zero or above MAX_PIXELS.
    """
    if not data:
        raise DataError("the file is empty (zero bytes)")
    name = _format(data)
    try:
        height, width = _SIZES[name](data)
    except (struct.error, IndexError):
        raise DataError(f"{_CUT_OFF} ({name}, {len(data)} bytes)") from None
    if height <= 0 or width <= 0:
        raise DataError(f"the {name} header declares an image of {width}x{height} pixels")
    if height * width > MAX_PIXELS:
        raise DataError(
            f"the {name} header declares {width}x{height} pixels, more than the {MAX_PIXELS:,} that are accepted"
        )
    return name, height, width


def decode(data: bytes) -> np.ndarray:
    """The image of a PNG, JPEG, BMP, GIF, TIFF or WebP file: (H, W) if the file is gray, else (H, W, 3) RGB, uint8.

    16 bits a channel are scaled to 8; EXIF orientation is applied; an animation gives its first frame; CMYK becomes
    RGB. Transparency is laid over white, as viewers and paper show it (the colours stored under transparent pixels are
    arbitrary; those of a TIFF are taken as they are). Holds no lock while it decodes, so threads run side by side.

    Raises DataError: all that `header` raises, a file that is cut off or damaged, and samples of 32 bits or more.
    """
    name, _, _ = header(data)
    _check_whole(name, data)
    flag = cv2.IMREAD_UNCHANGED if _has_alpha(name, data) else cv2.IMREAD_ANYCOLOR  # UNCHANGED ignores orientation
    file = _without_profile(data) if name == "PNG" else data
    try:
        image = cv2.imdecode(np.frombuffer(file, np.uint8), flag)
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f"the {name} data is damaged, cut off, or of a kind that OpenCV {cv2.__version__} cannot read")
    if flag == cv2.IMREAD_UNCHANGED:
        image = _orient(_over_white(image), _orientation(name, data))
        if name == "PNG" and data[25] in (0, 4):  # gray, or gray and alpha, which OpenCV makes four channels of
            return np.ascontiguousarray(image[..., 0]) if image.ndim == 3 else image
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def encode(image: np.ndarray, suffix: str) -> bytes:
    """The file of an (H, W) or (H, W, 3) RGB image in the format of a name's suffix, such as ".jpg".

    Raises DataError: OpenCV writes no such format, or the image is too large for it.
    """
    bgr = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    try:
        done, data = cv2.imencode(suffix, bgr, [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix in _JPEG_SUFFIXES else [])
    except cv2.error:
        done = False
    if not done:
        height, width = image.shape[:2]
        raise DataError(f"OpenCV {cv2.__version__} cannot write {width}x{height} pixels as {suffix}")
    return data.tobytes()


def to_gray(image: np.ndarray) -> np.ndarray:
    """(H, W) uint8 luma of an (H, W, 3) RGB image (0.299 R + 0.587 G + 0.114 B); a gray image comes back as it is."""
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image at (height, width): by area when it shrinks, which does not alias, else bilinear."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def digest(image: np.ndarray) -> bytes:
    """16-byte BLAKE2b of the shape and the pixels: equal for equal images, whatever file they came from."""
    state = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    state.update(np.ascontiguousarray(image))
    return state.digest()


def digests_of(images: Iterable[np.ndarray]) -> np.ndarray:
    """(N, 16) uint8: the digest of each image."""
    return np.frombuffer(b"".join(map(digest, images)), np.uint8).reshape(-1, 16)


def _format(data: bytes) -> str:
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == _PNG_SIGNATURE:
        return "PNG"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:2] == b"BM":
        return "BMP"
    if data[4:8] == b"ftyp" and data[8:12] in _OF_PHONES:
        raise DataError(f"{_OF_PHONES[data[8:12]]} images are not read: convert it to JPEG")
    if data[4:8] == b"ftyp" or data[:4] == b"\x1aE\xdf\xa3" or (data[:4] == b"RIFF" and data[8:12] == b"AVI "):
        raise DataError(
            "the file is a video, not a photo: a video has to be named, and its name to end as such, in .mp4"
        )
    raise DataError("the file is not a JPEG, PNG, BMP, GIF, TIFF or WebP image")


def _jpeg_frame(data: bytes) -> int:
    """Offset of the start-of-frame marker; thumbnails inside earlier segments are stepped over."""
    at = 2
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return at
        if data[at] != 0xFF or marker in (0xD9, 0xDA):
            raise DataError("the JPEG data is damaged: it has no frame header")
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _jpeg_size(data: bytes) -> tuple[int, int]:
    return struct.unpack_from(">HH", data, _jpeg_frame(data) + 5)


def _png_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def _gif_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return height, width


def _bmp_size(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # the OS/2 header
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(height), width  # a negative height means rows from the top


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        return int.from_bytes(struct.unpack_from("3s", data, 27)[0], "little") + 1, width
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return height & 0x3FFF, width & 0x3FFF


def _tiff_size(data: bytes) -> tuple[int, int]:
    tags = _tiff_tags(data)
    if 256 not in tags or 257 not in tags:
        raise DataError("the TIFF data is damaged: it does not declare its size")
    return tags[257], tags[256]


_SIZES = {
    "JPEG": _jpeg_size,
    "PNG": _png_size,
    "GIF": _gif_size,
    "BMP": _bmp_size,
    "WebP": _webp_size,
    "TIFF": _tiff_size,
}


def _tiff_tags(data: bytes) -> dict[int, int]:
    """First value of each short or long tag of the first directory of a TIFF (EXIF data is one too)."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    tags = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if kind in (3, 4):
            (tags[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
    return tags


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of the content of each chunk of a PNG up to its IEND; checks their sums."""
    view, at, name = memoryview(data), 8, b""
    while name != b"IEND":
        if at + 12 > len(data):
            raise DataError(f"{_CUT_OFF} (PNG, {len(data)} bytes)")
        length, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            raise DataError(f"{_CUT_OFF} (PNG, {len(data)} bytes)")
        (expected,) = struct.unpack_from(">I", data, at + 8 + length)
        if zlib.crc32(view[at + 4 : at + 8 + length]) != expected:
            raise DataError("the PNG data is damaged: a checksum does not match")
        yield name, at + 8, length
        at += 12 + length


def _without_profile(data: bytes) -> bytes:
    """A PNG without its colour profile, which OpenCV does not apply, and of many of which libpng complains."""
    for name, at, length in _png_chunks(data):
        if name == b"iCCP":
            return data[: at - 8] + data[at + length + 4 :]
        if name == b"IDAT":
            break
    return data


def _check_whole(name: str, data: bytes) -> None:
    """Refuse a file that is cut off: OpenCV may hand back such an image partly gray, without a word."""
    if name == "JPEG":
        cut = data.find(_JPEG_END, _jpeg_frame(data)) < 0
    elif name == "WebP":
        cut = len(data) < 8 + struct.unpack_from("<I", data, 4)[0]
    elif name == "PNG":
        cut = b"IDAT" not in [chunk for chunk, _, _ in _png_chunks(data)]
    else:
        cut = False  # OpenCV fails on these
    if cut:
        raise DataError(f"{_CUT_OFF} ({name}, {len(data)} bytes)")


def _has_alpha(name: str, data: bytes) -> bool:
    if name == "PNG":
        return data[25] in (4, 6) or data.find(b"tRNS", 33, data.find(b"IDAT")) > 0
    if name == "WebP":
        return (data[12:16] == b"VP8X" and bool(data[20] & 0x10)) or (data[12:16] == b"VP8L" and bool(data[24] & 0x10))
    return name == "GIF"


def _over_white(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8 of an image of 8 or 16 bits that may have an alpha channel: 255 - (255 - c) * alpha."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2 or image.shape[2] == 3:
        return image
    alpha = cv2.merge([image[..., 3]] * 3)
    return cv2.bitwise_not(cv2.multiply(cv2.bitwise_not(image[..., :3]), alpha, scale=1 / 255))


def _orientation(name: str, data: bytes) -> int:
    """The EXIF orientation (1 to 8) of a PNG or WebP file; 1, as stored, where it has none."""
    exif = b""
    if name == "PNG":
        exif = next((data[at : at + size] for chunk, at, size in _png_chunks(data) if chunk == b"eXIf"), b"")
    elif data[12:16] == b"VP8X" and data[20] & 0x08:
        at = data.find(b"EXIF", 30)
        exif = data[at + 8 :] if at > 0 else b""
    try:
        return _tiff_tags(exif.removeprefix(b"Exif\0\0")).get(274, 1)
    except (struct.error, IndexError):
        return 1


def _orient(image: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)
