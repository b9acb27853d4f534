"""Small data sets in the exact published formats, and archives of them."""

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from fercli.labels import CKPLUS_CODES, EMOTIONS, JAFFE_CODES, RAFDB_CODES
from fercli.ops.synthetic import draw_face
from fercli.ops.synthetic_person import draw_identity

ARCHIVES = ("zip", "tar", "tar.xz", "tar.gz", "tar.bz2")


def photo(shade: int = 100, size: tuple[int, ...] = (48, 48), suffix: str = ".png") -> bytes:
    """A photo file of one shade with a corner of another, of size (H, W) or (H, W, 3)."""
    image = np.full(size, shade, np.uint8)
    image[: size[0] // 2, : size[1] // 2] = 255 - shade
    done, data = cv2.imencode(suffix, image)
    assert done
    return data.tobytes()


def plant(root: Path, files: dict[str, bytes | str]) -> Path:
    """Writes files below a folder, which is made."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def faces(count: int, per_person: int) -> Iterator[tuple[int, str, bytes]]:
    """Photos of drawn heads, (256, 256) PNG files: each with the number of its person and its expression.

    The expressions take turns, so that seven photos in a row show them all.
    """
    for number in range(count):
        person, expression = number // per_person, EMOTIONS[number % len(EMOTIONS)]
        who = draw_identity(np.random.Generator(np.random.PCG64([1, 0, person])))
        image = np.full((256, 256), 120, np.uint8)
        image[43:213, 43:213] = draw_face(np.random.Generator(np.random.PCG64([1, 1, number])), expression, 170, who)
        done, data = cv2.imencode(".png", image)
        assert done
        yield person, expression, data.tobytes()


def plant_jaffe(root: Path, count: int) -> Path:
    """JAFFE's tree of so many photos, fourteen a person."""
    codes = {name: code for code, name in JAFFE_CODES.items()}
    files = {}
    for number, (person, expression, data) in enumerate(faces(count, 14)):
        name = f"{'KNMUY'[person]}A.{codes[expression]}{number % 14 // 7 + 1}.{number}.tiff"
        files[f"jaffe/{name}"] = data
    return plant(root, files)


def plant_ckplus(root: Path, sequences: int) -> Path:
    """CK+'s tree of so many labelled sequences of two frames, two sequences a person, and a neutral beginning."""
    codes = {name: code for code, name in CKPLUS_CODES.items()}
    files: dict[str, bytes | str] = {}
    for number, (person, expression, data) in enumerate(faces(sequences, 2)):
        shown = expression if expression != "neutral" else "contempt"
        place = f"S{person + 5:03}/{number % 2 + 1:03}"
        for frame in (1, 2):
            files[f"cohn-kanade-images/{place}/{place.replace('/', '_')}_{frame:08}.png"] = data
        files[f"Emotion/{place}/{place.replace('/', '_')}_00000002_emotion.txt"] = f"   {codes[shown]:.7e}\n"
    return plant(root, files)


def plant_fer2013(root: Path, count: int) -> Path:
    """FER2013's folders of so many faces, one in four for validation, all expressions in both."""
    files = {}
    for number, (_, expression, data) in enumerate(faces(count, 7)):
        image = cv2.resize(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE), (48, 48))
        part = "validation" if number // 7 % 4 == 3 else "train"
        files[f"{part}/{expression}/{number}.png"] = cv2.imencode(".png", image)[1].tobytes()
    return plant(root, files)


def plant_rafdb(root: Path, count: int) -> Path:
    """RAF-DB's tree of so many aligned photos, one in four to test on, with annotations: even people male, odd female,
    and of one in ten photos nobody was sure."""
    codes = {name: code for code, name in RAFDB_CODES.items()}
    files: dict[str, bytes | str] = {}
    labels = ""
    for number, (person, expression, data) in enumerate(faces(count, 7)):
        name = f"test_{number:04}" if number % 4 == 3 else f"train_{number:05}"
        gender = 2 if number % 10 == 9 else person % 2
        labels += f"{name}.jpg {codes[expression]}\n"
        files[f"basic/Image/aligned/{name}_aligned.jpg"] = smaller(data, 100)
        files[f"basic/Annotation/manual/{name}_manu_attri.txt"] = "50.0\t50.0\n" * 5 + f"{gender}\n0\n2\n"
    return plant(root, files | {"basic/EmoLabel/list_patition_label.txt": labels})


def plant_utkface(root: Path, count: int) -> Path:
    """UTKFace's folder of so many photos: even people male, odd female."""
    files = {
        f"UTKFace/{20 + number}_{person % 2}_0_201701091505{number:05}.jpg.chip.jpg": smaller(data, 200)
        for number, (person, _, data) in enumerate(faces(count, 7))
    }
    return plant(root, files)


def smaller(data: bytes, side: int) -> bytes:
    """A photo file in colour, of a side of so many px."""
    image = cv2.resize(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), (side, side))
    done, data = cv2.imencode(".jpg", np.rint(image * (0.7, 0.8, 1.0)))
    assert done
    return data.tobytes()


def pack(folder: Path, kind: str) -> Path:
    """An archive beside a folder, of what the folder holds."""
    target = folder.with_name(f"{folder.name}.{kind}")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if kind == "zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in paths:
                archive.write(path, path.relative_to(folder))
    else:
        with tarfile.open(target, f"w:{kind.removeprefix('tar').removeprefix('.')}") as archive:
            for path in paths:
                archive.add(path, str(path.relative_to(folder)))
    return target


def tar_of(target: Path, *members: tarfile.TarInfo, content: bytes = b"") -> Path:
    """A tar of members as they are, each regular one with the same content."""
    with tarfile.open(target, "w") as archive:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return target


def pixels(count: int, start: int = 0) -> str:
    """Decimal pixels as FER2013 writes them."""
    return " ".join(str((start + number) % 256) for number in range(count))
