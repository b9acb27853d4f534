"""`fer detect`: faces found in photos, cropped to gray images of one size."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np

from .. import detectors
from ..errors import DataError, UsageError
from ..ops.align import aligned
from ..ops.geometry import face, overlap
from ..ops.image import decode, digests_of, to_gray
from ..ops.parallel import ordered_map
from ..spec import Spec, flag_of, option
from ..store import Block, Reader, Writer, file_digest, take
from ..text import counted
from .dense import GRADIENTS
from .runner import Log

#: Columns that are made anew; all others are those of the photo.
_MADE = ("image", "encoded", "height", "width", "parent", "digest", "hog")
_MADE_BY_SEARCH = ("box", "landmark", "score")
_SOURCES_TOLD = 3
#: Overlap (IoU) from which a face that was found is the one that the data tells of.
_SAME = 0.3

AUTO = "auto"
KEEP = ("largest", "center", "all")


@dataclass(frozen=True)
class SearchSpec(Spec):
    """How faces are found and cropped, for whichever stage looks for them."""

    detector: str = option(
        AUTO,
        "What finds the faces; none: each photo is a face; auto: mtcnn where its weights are at hand, else haar.",
        choices=(AUTO, *detectors.names()),
    )
    weights: str | None = option(None, "Weights of mtcnn, or the model that yunet is.", metavar="FILE")
    confidence: float | None = option(
        None,
        "Lowest score of a face: 0 to 1 for mtcnn and yunet (0.7 and 0.9 unless given), some -3 to 10 for haar (-1).",
    )
    align: bool = option(False, "Turn faces upright and place them by eyes, nose and mouth (mtcnn, yunet).")
    margin: float = option(
        0.0,
        "Share of the box to add on every side. The boxes of haar and mtcnn alone are how FER2013 is cropped.",
        low=0,
        high=2,
    )
    keep: str = option("largest", "Faces of a photo that become rows.", choices=KEEP)
    min_face: int = option(
        32, "Leave out faces whose longer side is less: they show little expression.", low=1, metavar="PX"
    )
    detect_every: int = option(
        6, "Frames of a video from one search for faces to the next; in between they are followed.", low=1
    )
    device: str = option(AUTO, "Where mtcnn computes.", choices=(AUTO, "cpu", "cuda"))


S = TypeVar("S", bound=SearchSpec)


@dataclass(frozen=True)
class DetectSpec(SearchSpec):
    """Settings of `fer detect`."""

    size: int = option(48, "Crops are SIZE x SIZE.", low=1, high=4096, metavar="PX")
    on_miss: str = option(
        "drop", "A photo without a face: left out, kept whole, or an error.", choices=("drop", "keep", "fail")
    )


class Found(NamedTuple):
    """What one photo gave: its faces, or why it could not be read."""

    crops: list[np.ndarray]  # (size, size) uint8 gray
    box: np.ndarray  # (n, 4) float32
    score: np.ndarray  # (n,) float32
    landmark: np.ndarray  # (n, 5, 2) float32, all 0 where the detector has none
    missed: bool = False  # no face in it
    error: str = ""
    untraced: bool = False  # its face lies where the data tells, and none was found there

    @classmethod
    def nothing(cls, missed: bool = False, error: str = "") -> "Found":
        """A photo without a face, or one that could not be read."""
        empty = [np.zeros((0, *shape), np.float32) for shape in ((4,), (), (5, 2))]
        return cls([], *empty, missed, error)


class Search:
    """Finds and crops the faces of a photo; safe in threads, each of which gets a detector of its own."""

    def __init__(self, spec: DetectSpec) -> None:
        """Raises UsageError: a detector without landmarks to align by, `--weights` for one that takes none, settings of
        a search where each photo is a face, or a GPU that is not there.
        """
        self.spec = spec = settled(spec, Log())
        self._own = threading.local()
        self._device, self._errors = _device(self.spec)
        with self._errors():
            detector = self._detector()
        self.whole = not detector.takes_margin  # every photo is a face
        self.has_landmarks = detector.has_landmarks
        for name in ("margin", "min_face", "confidence"):
            if self.whole and getattr(spec, name) != getattr(DetectSpec, name):
                raise UsageError(
                    f"{flag_of(name)} is about finding faces, and with --detector {self.spec.detector} each photo is "
                    f"one: leave it out"
                )
        if spec.align and not self.has_landmarks:
            raise UsageError(
                f"--align needs eyes, nose and mouth, which the detector {self.spec.detector} does not tell: "
                f"add --detector mtcnn or --detector yunet"
            )

    def __call__(self, photo: bytes | np.ndarray, told: np.ndarray | None = None) -> Found:
        """The faces of an encoded photo, or of an (H, W) or (H, W, 3) image, the largest first. Where the data
        tells the box (4,) of the one that the photo stands for, that face alone.
        """
        spec = self.spec
        try:
            image = decode(photo) if isinstance(photo, bytes) else photo
        except DataError as error:
            return Found.nothing(error=str(error))
        faces, traced = self.find(image), True
        if told is not None and not self.whole:
            faces, traced = self._of(faces, told)
        if not len(faces.box):
            if spec.on_miss != "keep":
                return Found.nothing(missed=True)
            return self.kept_whole(to_gray(image))
        return self.cropped(to_gray(image), faces)._replace(untraced=not traced)

    def find(self, image: np.ndarray) -> detectors.Faces:
        """All faces of an (H, W) or (H, W, 3) image, the largest first. Raises DataError: a GPU is full or gone."""
        with self._errors():
            return self._detector().detect(image)

    def _of(self, faces: detectors.Faces, told: np.ndarray) -> tuple[detectors.Faces, bool]:
        """Of some faces the one whose box the data tells (4,), and True; else the box itself with score 0, or nothing
        if it is smaller than faces are to be.
        """
        shared = overlap(told, faces.box)
        if len(shared) and shared.max() >= _SAME:
            one = [shared.argmax()]
            return detectors.Faces(*(None if values is None else values[one] for values in faces)), True
        count = int(told[2:].max() >= self.spec.min_face)
        return detectors.Faces(told[None][:count], np.zeros(count, np.float32)), False

    def kept(self, faces: detectors.Faces, gray: np.ndarray) -> np.ndarray:
        """Which of the faces of an (H, W) image become rows: their numbers, the first row's first."""
        if self.spec.keep == "all":
            return np.arange(len(faces.box))
        if self.spec.keep == "largest":
            return np.arange(min(1, len(faces.box)))
        away = faces.box[:, :2] + faces.box[:, 2:] / 2 - np.array(gray.shape[::-1]) / 2
        return np.hypot(*away.T).argsort(kind="stable")[:1]

    def cropped(self, gray: np.ndarray, faces: detectors.Faces) -> Found:
        """Those faces of an (H, W) image that are `kept`; there is at least one."""
        spec, kept = self.spec, self.kept(faces, gray)
        box, score = faces.box[kept], faces.score[kept]
        if faces.landmark is None:
            margin = 0.0 if self.whole else spec.margin
            crops = [face(gray, one, margin, spec.size) for one in box]
            return Found(crops, box, score, np.zeros((len(kept), 5, 2), np.float32))
        landmark = faces.landmark[kept]
        if spec.align:
            crops = [aligned(gray, *one, spec.margin, spec.size) for one in zip(box, landmark, strict=True)]
        else:
            crops = [face(gray, one, spec.margin, spec.size) for one in box]
        return Found(crops, box, score, landmark)

    def kept_whole(self, gray: np.ndarray) -> Found:
        """An (H, W) image without a face as one crop, whose box and score are 0."""
        everything = np.array([0, 0, gray.shape[1], gray.shape[0]], np.float32)
        crop = face(gray, everything, 0.0, self.spec.size)
        found = Found.nothing(missed=True)
        return Found([crop], *(np.zeros((1, *values.shape[1:]), np.float32) for values in found[1:4]), missed=True)

    def _detector(self) -> detectors.Detector:
        if not hasattr(self._own, "detector"):
            spec = self.spec
            self._own.detector = detectors.load(
                spec.detector, spec.min_face, spec.confidence, spec.weights, self._device
            )
        return self._own.detector


def _device(spec: DetectSpec) -> tuple[str, Callable[[], AbstractContextManager]]:
    """Where a detector computes, and what its errors are met with there."""
    if not detectors.find(spec.detector).takes_device:
        return "cpu", nullcontext
    from ..learn.device import choose_device, device_errors  # and with them torch, which others do without

    return str(choose_device(spec.device)), device_errors


def settled(spec: S, log: Log) -> S:
    """The settings with `auto` replaced, which is noted, by the detector that finds more true faces and fewer false
    ones: by its name in the provenance another one makes an output anew.
    """
    if spec.detector != AUTO:
        return spec
    log.note(f"faces are found with {detectors.best()}")
    return replace(spec, detector=detectors.best())


def weights_digest(spec: SearchSpec) -> list[str]:
    """The hex digest of the file that `--weights` names, which a search depends on; none without one."""
    return [] if spec.weights is None else [file_digest(spec.weights)]


def run(src: Reader, dst: Writer, spec: DetectSpec, log: Log) -> None:
    """One row a face, in the order of the photos and the largest first: `image` gray, `box`, `score`, `digest` of the
    crop, `parent` the photo's row; the other columns are the photo's. With the detector `none` so are `box`, `score`
    and `landmark`, where the store has them: its images are crops. Of a photo whose `box` the data tells, as where each
    face has a row of its own, the face there is taken and no other.

    A photo that cannot be decoded goes to `log.failed`. One that is kept without a face is cropped whole and has a box
    and a score of 0. Raises DataError: no photos, or a photo without a face under `--on-miss fail`.
    """
    photos = _photo_column(src)
    search = Search(spec)
    made = _MADE if search.whole else _MADE + _MADE_BY_SEARCH
    names = [photos, *(name for name in src.columns if name not in made)]
    told = ["box"] if photos == "encoded" and "box" in src.columns and not search.whole else []
    dst.start("samples", src.classes, ("gray",))
    if "augment" in src.documents:
        dst.document("augment", src.documents["augment"])
    log.total(src.rows)
    missed: list[str] = []
    first = untraced = 0
    for block in src.blocks([*names, *told]):
        boxes = told_boxes(block.pop("box") if told else None, len(block[photos]))
        # a thread decodes a photo and keeps its crops alone, so that few photos are in memory at a time
        found = list(ordered_map(lambda one: search(*one), zip(block.pop(photos), boxes, strict=True)))
        untraced += sum(one.untraced for one in found)
        missed += _report(found, _sources(src, block, first, len(found)), search.spec, log)
        dst.append(samples(found, block, first, search))
        first += len(found)
        log.advance(len(found))
    _tell(missed, src.rows, search.spec, log)
    if untraced:
        log.note(f"{counted(untraced, 'face')} cropped where the data tells: {finder(search.spec)} none there")


def told_boxes(boxes: np.ndarray | None, count: int) -> list[np.ndarray | None]:
    """For each of `count` photos the box (4,) of its face that a column (count, 4) tells, None where there is none."""
    return [None] * count if boxes is None else [box if box.any() else None for box in boxes]


def _photo_column(src: Reader) -> str:
    if "encoded" in src.columns:
        return "encoded"
    if "image" not in src.columns:
        raise DataError(f"{src.name} holds no images: make a store of them with fer ingest")
    if src.channels == GRADIENTS:
        raise DataError(f"{src.name} has gradient channels, in which no face is found: run fer detect before gradients")
    return "image"


def _sources(src: Reader, block: Block, first: int, count: int) -> list[str]:
    if "source" in block:
        return list(block["source"])
    return [f"{src.name} row {row}" for row in range(first, first + count)]


def _report(found: list[Found], sources: list[str], spec: DetectSpec, log: Log) -> list[str]:
    """Reports what could not be read; returns the sources of the photos without a face."""
    missed = []
    for one, source in zip(found, sources, strict=True):
        if one.error:
            log.failed(source, one.error)
        if one.missed and spec.on_miss == "fail":
            raise DataError(
                f"{source}: no face was found by the detector {spec.detector}; "
                f"leave such photos out with --on-miss drop, or keep them whole with --on-miss keep"
            )
        if one.missed:
            missed.append(source)
    return missed


def samples(found: Sequence[Found], block: Block, first: int, search: Search) -> Block:
    """The block of faces; `block` holds the columns that photos hand on to their faces."""
    of = np.repeat(np.arange(len(found)), [len(one.crops) for one in found])
    crops = [crop for one in found for crop in one.crops]
    rows = take(block, of)
    rows["image"] = np.array(crops, np.uint8).reshape(-1, search.spec.size, search.spec.size)
    rows["parent"] = of + first
    rows["digest"] = digests_of(crops)
    rows.setdefault("box", np.concatenate([one.box for one in found]))
    rows.setdefault("score", np.concatenate([one.score for one in found]))
    if search.has_landmarks:
        rows["landmark"] = np.concatenate([one.landmark for one in found])
    return rows


def _tell(missed: list[str], photos: int, spec: DetectSpec, log: Log) -> None:
    if not missed:
        return
    did = "were left out" if spec.on_miss == "drop" else "were kept whole"
    told = ", ".join(missed[:_SOURCES_TOLD]) + (", ..." if len(missed) > _SOURCES_TOLD else "")
    log.note(f"{len(missed):,} of {photos:,} photos show no face that {finder(spec)} and {did}: {told}")


def finder(spec: DetectSpec) -> str:
    """Who finds faces, in words: a choice of them is no fault of the detector's."""
    chooses = spec.confidence is not None or spec.min_face != DetectSpec.min_face
    return f"{spec.detector} finds{' with these settings' if chooses else ''}"
