"""Published weights, downloaded when they are asked for, and only then, to a folder where they stay."""

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import DataError, UsageError
from ..store import cached, digest_of, replacing

WORD = "imagenet"  # by which --init asks for them
TIMEOUT = 30  # seconds without a byte


@dataclass(frozen=True)
class Published:
    """A weights file: where it is, and the first digits of its SHA-256."""

    url: str
    sha256: str

    @property
    def path(self) -> Path:
        """Where it is kept here."""
        return cached(self.url.rpartition("/")[2])


#: Weights for ImageNet by the model that takes them. This one is torchvision's (BSD-3-Clause), 244 MB.
IMAGENET = {
    "alexnet-torchvision": Published("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "7be5be79"),
}


def of(model: str) -> Published:
    """The ImageNet weights of a model. Raises UsageError where there are none."""
    if model not in IMAGENET:
        raise UsageError(f"no ImageNet weights are published for {model}: type --model {' or '.join(IMAGENET)}")
    return IMAGENET[model]


def fetch(wanted: Published, tell: Callable[[str], None]) -> Path:
    """The file, downloaded unless it is here already. Raises DataError: offline, or not the file that was published."""
    path = wanted.path
    if path.exists():
        if not _hash(path).startswith(wanted.sha256):
            raise DataError(f"{path} is not the file that was published: remove it, and it will be downloaded again")
        return path
    tell(f"downloading {wanted.url} to {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path.parent} cannot be made: {error.strerror}") from error
    with replacing(path) as part:
        _download(wanted, part)
        if not _hash(part).startswith(wanted.sha256):
            raise DataError(f"{wanted.url} gave another file than was published: get it elsewhere and put it at {path}")
    return path


def _download(wanted: Published, part: Path) -> None:
    try:
        answer = urllib.request.urlopen(wanted.url, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()  # it is the server's answer too
        raise _undelivered(wanted, error.reason) from error
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise _undelivered(wanted, getattr(error, "reason", None) or error) from error
    with answer, open(part, "wb") as file:
        while chunk := _read(wanted, answer):
            file.write(chunk)


def _read(wanted: Published, answer: BinaryIO) -> bytes:
    try:
        return answer.read(1 << 20)
    except (OSError, http.client.HTTPException) as error:
        raise _undelivered(wanted, error) from error


def _undelivered(wanted: Published, reason: object) -> DataError:
    said = getattr(reason, "strerror", None) or reason
    return DataError(f"{wanted.url} cannot be downloaded ({said}): get it elsewhere and put it at {wanted.path}")


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return digest_of(file, hashlib.sha256())
