"""Image files: what is read, how it comes out, and what is refused in which words."""

import base64
import contextlib
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fercli.errors import DataError
from fercli.ops import image

#: 8x8 px of one red, CMYK with inverted inks as Adobe writes them.
CMYK_JPEG = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAQCwwODAoQDg0OEhEQExgoGhgWFhgxIyUdKDozPTw5Mzg3QEhcTkBEV0U3OFBtUVdfYmdoZz5NcXlwZHhc"
    "ZWdj/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABUAAQEAAAAAAAAAAAAAAAAAAAYH/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAA4EQwBNAFkASwAA"
    "PwCgDQ0Yv//Z"
)
#: 4x3 px, a red frame and then a blue one.
ANIMATED_GIF = base64.b64decode(
    "R0lGODdhBAADAIEAAP8AAAAAAAAAAAAAACwAAAAABAADAAAICAABCBxIUGBAACH5BAEAAAEALAAAAAAEAAMAgQAA/wAAAAAAAAAAAAgIAAEIHEhQ"
    "YEAAOw=="
)
#: EXIF data whose only tag is orientation 6: the picture is to be turned by 90 degrees clockwise.
EXIF_6 = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 274, 3, 1, 6, 0) + b"\0\0\0\0"


def picture(height: int = 24, width: int = 40, channels: int = 3) -> np.ndarray:
    """A smooth picture of which no two corners are alike."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [20 + x * 200 // width, 240 - y * 200 // height, (x + 2 * y) * 200 // (width + 2 * height)]
    return np.stack(planes[:channels], axis=-1).astype(np.uint8).squeeze()


def encode(extension: str, array: np.ndarray, *parameters: int) -> bytes:
    """`array` is gray or BGR[A], as OpenCV has it."""
    done, data = cv2.imencode(extension, array, parameters)
    assert done
    return data.tobytes()


def png(header: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of an IHDR content and further chunks."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in [(b"IHDR", header), *chunks, (b"IEND", b"")])


def jpeg_with(segment: bytes, jpeg: bytes) -> bytes:
    """The JPEG with one more APP1 segment after its start."""
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


FORMATS = {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".tiff": "TIFF", ".webp": "WebP"}


@pytest.mark.parametrize(("extension", "name"), FORMATS.items())
@pytest.mark.parametrize("channels", [1, 3])
def test_every_format_gives_its_header_and_its_pixels(extension: str, name: str, channels: int) -> None:
    plain = picture(channels=channels)
    data = encode(extension, plain if channels == 1 else plain[..., ::-1])
    assert image.header(data) == (name, 24, 40)
    found = image.decode(data)
    expected = plain if channels == 3 or extension != ".webp" else np.stack([plain] * 3, axis=-1)  # no gray WebP
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    tolerance = 12 if extension in (".jpg", ".webp") else 0
    assert np.abs(found.astype(int) - expected).max() <= tolerance


def test_animated_gif_gives_its_first_frame() -> None:
    assert image.header(ANIMATED_GIF) == ("GIF", 3, 4)
    if not cv2.haveImageWriter("made.gif"):
        pytest.skip("this OpenCV was built without GIF")
    assert image.decode(ANIMATED_GIF).tolist() == [[[255, 0, 0]] * 4] * 3


def test_cmyk_becomes_rgb() -> None:
    found = image.decode(CMYK_JPEG)
    assert found.shape == (8, 8, 3)
    red, green, blue = found.reshape(-1, 3).mean(axis=0)
    assert red > 200
    assert max(green, blue) < 70


@pytest.mark.parametrize("extension", [".png", ".tiff"])
def test_sixteen_bits_are_scaled_to_eight(extension: str) -> None:
    deep = np.arange(0, 65536, 257, np.uint16).reshape(16, 16)
    assert image.decode(encode(extension, deep)).tolist() == np.arange(256).reshape(16, 16).tolist()


def test_transparency_is_laid_over_white() -> None:
    bgra = np.zeros((1, 3, 4), np.uint8)
    bgra[0, :, 3] = 0, 128, 255
    bgra[0, :, 2] = 200  # red
    expected = [[[255, 255, 255], [227, 127, 127], [200, 0, 0]]]
    assert image.decode(encode(".png", bgra)).tolist() == expected
    deep = bgra.astype(np.uint16) * 257
    assert image.decode(encode(".png", deep)).tolist() == expected
    lossless = encode(".webp", bgra, cv2.IMWRITE_WEBP_QUALITY, 101)
    assert image.decode(lossless).tolist() == expected


def test_gray_with_alpha_stays_gray() -> None:
    rows = zlib.compress(b"\0" + bytes([100, 255, 100, 0]))
    data = png(struct.pack(">IIBBBBB", 2, 1, 8, 4, 0, 0, 0), (b"IDAT", rows))
    assert image.decode(data).tolist() == [[100, 255]]


def test_exif_orientation_is_applied() -> None:
    plain = picture(channels=1)
    turned = np.rot90(plain, -1)
    jpeg = jpeg_with(b"Exif\0\0" + EXIF_6, encode(".jpg", plain, cv2.IMWRITE_JPEG_QUALITY, 100))
    assert image.header(jpeg) == ("JPEG", 24, 40)
    found = image.decode(jpeg)
    assert found.shape == (40, 24)
    assert np.abs(found.astype(int) - turned).max() <= 3


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (6, 4)])
def test_a_colour_profile_of_a_png_changes_nothing_and_nothing_is_said(kind: int, channels: int, capfd):
    header = struct.pack(">IIBBBBB", 3, 2, 8, kind, 0, 0, 0)
    row = bytes(range(0, 80 * channels, 80))
    pixels = (b"IDAT", zlib.compress(2 * (b"\0" + 3 * row)))
    profile = (b"iCCP", b"ICC Profile\0\0" + zlib.compress(b"no profile"))
    assert np.array_equal(image.decode(png(header, profile, pixels)), image.decode(png(header, pixels)))
    assert capfd.readouterr().err == ""


def test_exif_orientation_is_applied_beside_transparency() -> None:
    pixels = b"\0" + bytes([10, 20, 30, 255, 40, 50, 60, 255])  # one row of two pixels
    ihdr = struct.pack(">IIBBBBB", 2, 1, 8, 6, 0, 0, 0)
    data = png(ihdr, (b"eXIf", EXIF_6), (b"IDAT", zlib.compress(pixels)))
    assert image.decode(data).tolist() == [[[10, 20, 30]], [[40, 50, 60]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_are_those_of_opencv(orientation: int) -> None:
    plain = picture(6, 9)
    jpeg = encode(".jpg", plain[..., ::-1], cv2.IMWRITE_JPEG_QUALITY, 100)
    exif = EXIF_6.replace(b"\0\x06\0\0", bytes([0, orientation, 0, 0]))
    stored = image.decode(jpeg)
    assert np.array_equal(image.decode(jpeg_with(b"Exif\0\0" + exif, jpeg)), image._orient(stored, orientation))


def test_thumbnail_in_exif_is_stepped_over() -> None:
    thumbnail = encode(".jpg", picture(8, 8, 1))
    data = jpeg_with(b"Exif\0\0" + thumbnail, encode(".jpg", picture(channels=1)))
    assert image.header(data) == ("JPEG", 24, 40)
    with pytest.raises(DataError, match="cut off"):  # although the thumbnail's end marker is there
        image.decode(data[:-2])


def test_bytes_behind_a_jpeg_are_no_harm() -> None:
    data = encode(".jpg", picture()) + bytes(range(256)) * 8  # phones append a short film
    assert image.decode(data).shape == (24, 40, 3)


VIDEO = "the file is a video, not a photo: a video has to be named, and its name to end as such, in .mp4"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the file is empty (zero bytes)"),
        (b"\0\0\0\x18ftypheic" + bytes(12), "HEIC images are not read: convert it to JPEG"),
        (b"\0\0\0\x1cftypavif" + bytes(12), "AVIF images are not read: convert it to JPEG"),
        (b"\0\0\0\x1cftyphevc" + bytes(12), "HEIC images are not read: convert it to JPEG"),
        (b"\0\0\0\x18ftypcrx " + bytes(12), "CR3 images are not read: convert it to JPEG"),
        (b"\0\0\0\x1cftypisom" + bytes(12), VIDEO),
        (b"\x1aE\xdf\xa3" + bytes(12), VIDEO),
        (b"RIFF\0\0\0\0AVI " + bytes(12), VIDEO),
        (b"GIF8", "the file is not a JPEG, PNG, BMP, GIF, TIFF or WebP image"),
        (b"<html>", "the file is not a JPEG, PNG, BMP, GIF, TIFF or WebP image"),
        (b"\xff\xd8\xff\xe0", "the image is cut off before its end (JPEG, 4 bytes)"),
        (b"\xff\xd8\xff\xd9", "the JPEG data is damaged: it has no frame header"),
        (b"II*\0", "the image is cut off before its end (TIFF, 4 bytes)"),
        (b"II*\0\x08\0\0\0\0\0", "the TIFF data is damaged: it does not declare its size"),
        (b"BM" + bytes(24), "the BMP header declares an image of 0x0 pixels"),
        (
            png(struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)),
            "the PNG header declares 50000x50000 pixels, more than the 120,000,000 that are accepted",
        ),
        (
            b"GIF89a" + struct.pack("<HH", 65535, 65535),
            "the GIF header declares 65535x65535 pixels, more than the 120,000,000 that are accepted",
        ),
    ],
)
def test_a_file_that_is_no_image_is_refused_by_its_header(data: bytes, sentence: str) -> None:
    for function in (image.header, image.decode):
        with pytest.raises(DataError) as caught:
            function(data)
        assert str(caught.value) == sentence


def test_damage_is_named() -> None:
    data = bytearray(encode(".png", picture()))
    data[60] ^= 1
    with pytest.raises(DataError) as caught:
        image.decode(bytes(data))
    assert str(caught.value) == "the PNG data is damaged: a checksum does not match"
    with pytest.raises(DataError) as caught:
        image.decode(encode(".tiff", np.ones((4, 4), np.float32)))
    assert (
        str(caught.value)
        == f"the TIFF data is damaged, cut off, or of a kind that OpenCV {cv2.__version__} cannot read"
    )


@pytest.mark.parametrize("extension", FORMATS)
def test_a_cut_off_file_is_refused_wherever_it_is_cut(extension: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = encode(extension, picture(8, 9)[..., ::-1])
    for length in range(len(data)):
        with pytest.raises(DataError):
            image.decode(data[:length])
    assert capfd.readouterr() == ("", "")


@settings(max_examples=300, deadline=None)
@given(
    extension=st.sampled_from(sorted(FORMATS)),
    position=st.floats(0, 1, exclude_max=True),
    patch=st.binary(min_size=1, max_size=8),
)
def test_damaged_bytes_give_an_image_or_a_sentence(extension: str, position: float, patch: bytes) -> None:
    data = bytearray(encode(extension, picture(8, 9)[..., ::-1]))
    at = int(position * len(data))
    data[at : at + len(patch)] = patch
    with mock.patch.object(image, "MAX_PIXELS", 1_000_000), contextlib.suppress(DataError):
        found = image.decode(bytes(data))
        assert found.dtype == np.uint8
        assert found.ndim in (2, 3)


@given(st.binary(max_size=64))
def test_any_bytes_give_an_image_or_a_sentence(data: bytes) -> None:
    with contextlib.suppress(DataError):
        image.decode(data)


def test_threads_give_what_one_thread_gives() -> None:
    files = [encode(".jpg", np.roll(picture(48, 48, 1), shift, axis=1)) for shift in range(48)] * 8
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(image.decode, files))
    assert all(np.array_equal(one, image.decode(data)) for one, data in zip(found, files, strict=True))


def test_gray_is_luma_and_gray_stays() -> None:
    assert image.to_gray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)).tolist() == [[76, 150, 29]]
    gray = picture(channels=1)
    assert image.to_gray(gray) is gray


def test_resize_means_areas_and_keeps_what_has_the_size() -> None:
    board = np.array([[0, 100], [200, 100]], np.uint8)
    assert image.resize(board, 1, 1).tolist() == [[100]]
    assert image.resize(board, 2, 2) is board
    assert image.resize(picture(), 48, 30).shape == (48, 30, 3)


def test_digest_is_of_shape_and_pixels() -> None:
    plain = picture(4, 6, 1)
    assert len(image.digest(plain)) == 16
    assert image.digest(plain) == image.digest(plain.copy(order="F"))
    assert image.digest(plain) != image.digest(plain.reshape(6, 4))
    changed = plain.copy()
    changed[3, 5] ^= 1
    assert image.digest(plain) != image.digest(changed)


def test_real_photos(shared_data) -> None:
    sizes = {"multi_face.jpg": (667, 1000, 3), "BWPictureHuman.jpg": (1912, 2560)}
    for name, shape in sizes.items():
        data = (shared_data / "photos" / name).read_bytes()
        assert image.header(data) == ("JPEG", *shape[:2])
        assert image.decode(data).shape == shape
        with pytest.raises(DataError, match="cut off"):
            image.decode(data[: len(data) // 2])
