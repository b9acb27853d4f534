"""Small data sets in the exact published formats, and archives of them."""

import io
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np

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
