"""`fer predict`: the class probabilities of faces under a trained model, for stores and for photos."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import detectors
from ..errors import DataError, UsageError
from ..layouts import Source
from ..layouts.video import Clip
from ..learn import ranks
from ..ops.image import digests_of
from ..ops.parallel import buffered
from ..ops.views import VIEWS
from ..spec import flag_of, option
from ..store import SPLIT_CODES, SPLITS, Block, Reader, Writer, block_rows, objects, open_store
from ..store.schema import ATTRIBUTE_PREFIX
from ..text import counted
from .answering import Answering, withhold
from .dense import pieces
from .detect import AUTO, KEEP, DetectSpec, Search, SearchSpec, settled, weights_digest
from .faces import PHOTOS, Photo, label_photos, photos_in, photos_of
from .fitting import channels_of, check_fit, past, translated
from .runner import Log, Outcome, Stage, run
from .sharing import merged, mine
from .tracks import Smoothing
from .video import label_clips

if TYPE_CHECKING:
    from ..learn.modelstore import Model

#: Crops whose answers become a block, where a pass takes no more: few enough that the first rows appear soon.
_ROWS = 512
#: Blocks of answers that wait to be written while those behind them are made, by kind of device. A CPU never waits.
_AHEAD = {"cuda": 2}
#: Columns that a prediction takes over from its face.
_KEPT = ("source", "split", "copy", "box", "score", "frame", "time", "track")


@dataclass(frozen=True)
class PredictSpec(SearchSpec):
    """Settings of `fer predict`."""

    detector: str = option(
        AUTO,
        "What finds the faces; none: each photo is a face, as auto has it in stores of crops; in photos auto is mtcnn "
        "where its weights are at hand, else haar.",
        choices=(AUTO, *detectors.names()),
    )
    margin: float | None = option(
        None, "Share of the box to add on every side. [default: as the model's faces were cropped]", low=0, high=2
    )
    align: bool | None = option(
        None, "Turn faces upright and place them by their landmarks. [default: as the model's faces were]"
    )
    keep: str = option("all", "Faces of a photo that become rows.", choices=KEEP)
    split: str | None = option(None, "Only these rows of a store.", choices=SPLITS)
    smooth: float = option(
        0.0, "Average the probabilities of a face in a video over about these seconds; 0: each frame alone.", low=0
    )
    heads: tuple[str, ...] = option(
        (), "Also answer by this head of a model that was trained with it, such as gender.", metavar="NAME"
    )
    tta: str = option(
        "none",
        "Average the answers to each face and its mirror image (flip), or to ten views, turned and resized a little "
        "too (ten), which takes ten times as long.",
        choices=tuple(VIEWS),
    )
    abstain: float = option(0.0, "Give no label where the highest probability is below this.", low=0, high=1)
    batch: int | None = option(None, "Faces a pass through the network. [default: 64 on a CPU, 1024 on a GPU]", low=1)
    precision: str = option(
        AUTO,
        "Arithmetic of the network; auto is int8 on a CPU with AVX2 and no AMX, for a model that was as good in it "
        "when it was calibrated (those that come with fercli were), else bfloat16 where the hardware has it.",
        choices=(AUTO, "float32", "bfloat16", "int8"),
    )  # fmt: skip
    device: str = option(AUTO, "Where the network runs, and mtcnn.", choices=(AUTO, "cpu", "cuda"))


def store(
    src: Reader | Sequence[Source],
    model: str,
    output: str,
    spec: PredictSpec,
    log: Log,
    *,
    force: bool = False,
    dry_run: bool = False,
) -> Outcome:
    """Writes a store of predictions for the rows of a store, or for photos, in the classes of the model."""
    if not isinstance(src, Reader) or searches(src, spec):
        spec = settled(spec, log)
    with open_store(model, "model") as found:  # to the end: what answers is what the digest is of

        def digests() -> list[str]:
            inputs = src.digests if isinstance(src, Reader) else [source.digest(source.names()) for source in src]
            return [*inputs, found.digest, *weights_digest(spec)]

        def stage(src: Reader | Sequence[Source], dst: Writer, spec: PredictSpec, log: Log) -> None:
            predictor = Predictor.of(found, spec)
            log.facts |= predictor.computed
            dst.start("predictions", predictor.classes)
            for block in predictions(src, predictor, log):
                dst.append(block)
            if spec.heads:
                heads = predictor.heads.items()
                dst.document("heads", [{"name": name, "classes": list(classes)} for name, classes in heads])

        chain = src.provenance if isinstance(src, Reader) else ()
        return run(
            Stage("predict", stage, writes="predictions"), src, output, spec, log,
            digests=digests, chain=chain, force=force, dry_run=dry_run,
        )  # fmt: skip


def searches(src: Reader, spec: PredictSpec) -> bool:
    """Whether faces are searched in the rows of a store, or are its rows: `auto` leaves crops as they are."""
    return "encoded" in src.columns or spec.detector not in (AUTO, "none")


def check_search(src: Reader, spec: PredictSpec) -> None:
    """Raises UsageError for a setting of the search for faces where a store holds faces that were found already."""
    if searches(src, spec):
        return
    for field in SearchSpec.fields():
        if field.name not in ("detector", "device") and getattr(spec, field.name) != getattr(PredictSpec, field.name):
            raise UsageError(
                f"{flag_of(field.name)} is about finding faces, and {src.name} holds faces already: leave it out"
            )


def heads_told(model: str, data: Reader) -> tuple[str, ...]:
    """The further heads of a model store whose answers the samples can be compared with."""
    from ..learn.modelstore import read_card

    with open_store(model, "model") as found:
        return tuple(head.name for head in read_card(found).heads if ATTRIBUTE_PREFIX + head.name in data.columns)


def predictions(src: Reader | Sequence[Source], predictor: "Predictor", log: Log) -> Iterator[Block]:
    """Prediction blocks for the rows of a store, or for photos."""
    if isinstance(src, Reader):
        return predictor.over_store(src, log)
    if isinstance(src[0], Clip):
        return (block for _, block in predictor.over_clips(src, log))
    return predictor.over_photos(photos_in(src), log)


class Predictor:
    """A model with all that it takes to answer: how faces are cropped, and what is made of the crops.

    `heads` are the classes of the further heads that are to answer, by name.
    """

    def __init__(self, model: "Model", spec: PredictSpec) -> None:
        """Raises UsageError: `--tta` for a model that reads more than pixels."""
        self.model, self.spec = model, spec
        self.answering = Answering(model, spec.batch, spec.tta)
        self.classes, self.heads = self.answering.classes, self.answering.heads

    @classmethod
    def load(cls, path: str | Path, spec: PredictSpec) -> "Predictor":
        """The predictor of a model store made by `fer train`. Raises DataError, or UsageError for `--device`."""
        with open_store(path, "model") as src:
            return cls.of(src, spec)

    @classmethod
    def of(cls, src: Reader, spec: PredictSpec) -> "Predictor":
        """The predictor of an open model store. Raises as `load`."""
        from ..learn.device import choose_device, choose_precision, compute_exactly
        from ..learn.modelstore import load, read_card

        device = choose_device(spec.device)
        dtype = choose_precision(spec.precision, device, read_card(src).int8_serves)
        if spec.precision == "float32":
            compute_exactly()
        return cls(load(src, device, dtype, spec.heads), spec)

    @property
    def computed(self) -> dict[str, str]:
        """Where it computes, and in which arithmetic."""
        from ..learn.device import precision_name

        return {"device": self._kind, "precision": precision_name(self.model.dtype)}

    @property
    def _kind(self) -> str:
        """Of the device that answers."""
        return self.model.device.type

    @property
    def _piece(self) -> int:
        """Crops of a store whose answers become a block."""
        return max(_ROWS, self.answering.batch)

    def over_store(self, src: Reader, log: Log) -> Iterator[Block]:
        """Prediction blocks for the rows of a store: one row a crop, or as `over_photos` where it holds photos.

        Raises DataError: no rows of the split asked for, images that the model does not take, labels that it lacks.
        """
        rows = self._rows(src)
        label = translated(self.model, src, rows) if "label" in src.columns else None
        log.total(src.rows if rows is None else len(rows))
        if searches(src, self.spec):
            yield from self._over_photos_of(src, rows, label, log)
        else:
            answered, ahead = self.over_crops(src, _shared(src, rows, self._piece), label, log), _AHEAD.get(self._kind)
            yield from merged(buffered(answered, ahead) if ahead else answered, log)

    def over_crops(self, src: Reader, rows: np.ndarray | None, label: np.ndarray | None, log: Log) -> Iterator[Block]:
        """Prediction blocks for the crops in `rows` of a store, None for all.

        `label` (N,) int16 has the labels of all its rows among the model's classes, None where it has no labels.
        """
        check_fit(self.model, src)
        smoothing = Smoothing(self.spec.smooth)
        if self.spec.smooth and not {"track", "time"} <= set(src.columns):
            raise UsageError(f"--smooth averages over the time of a video, and {src.name} has none: leave it out")
        if self.spec.smooth:
            ranks.check_alone("--smooth", "leave torchrun out")
        numbers = np.arange(src.rows) if rows is None else rows
        wanted = (*_KEPT, *self._attributes, *self.model.columns, "digest")
        columns = [name for name in wanted if name in src.columns]
        first = 0
        with closing(buffered(src.blocks(columns, rows), 1)) as read:
            for block in (piece for whole in read for piece in pieces(whole, self._piece, first)):
                inputs = [block.pop(name) for name in self.model.columns]
                digest = block["digest"] if "digest" in block else digests_of(inputs[0])
                parent = numbers[first : first + len(digest)]
                if label is not None:
                    block["label"] = label[parent]
                if "source" not in block:
                    block["source"] = objects(f"row {row}" for row in parent)
                answered = smoothing({**block, **self.answering.of_inputs(inputs, digest), "parent": parent})
                yield withhold(answered, self.spec.abstain)
                first += len(digest)
                log.advance(len(digest))

    def over_photos(self, photos: Iterable[Photo], log: Log) -> Iterator[Block]:
        """Prediction blocks for photos: see `faces.label_photos`; of several processes, those of all in process 0."""
        if ranks.size() == 1:
            return self._label(photos, log)
        known = list(photos)
        numbers = mine(len(known), PHOTOS)
        return merged(_numbered(self._label((known[number] for number in numbers), log), numbers), log)

    def _label(self, photos: Iterable[Photo], log: Log) -> Iterator[Block]:
        if self.spec.smooth:
            raise UsageError("--smooth averages over the time of a video, and photos have none: leave it out")
        found = label_photos(photos, self._search(log), self.answering.of_crops, log)
        return (withhold(block, self.spec.abstain) for block in found)

    def over_clips(
        self, clips: Sequence[Clip], log: Log, pictures: bool = False
    ) -> Iterator[tuple[list[Photo], Block]]:
        """The frames of videos beside their prediction blocks: see `video.label_clips`."""
        ranks.check_alone("labelling a video", "leave torchrun out")
        search, smooth = self._search(log), self.spec.smooth
        found = label_clips(clips, search, self.answering.of_crops, self.classes, smooth, log, pictures)
        return ((photos, withhold(block, self.spec.abstain)) for photos, block in found)

    @property
    def _attributes(self) -> list[str]:
        """The columns with which the answers of its heads are to be compared."""
        return [ATTRIBUTE_PREFIX + name for name in self.heads]

    def _search(self, log: Log) -> Search:
        """Finds faces and crops them as those that the model was trained on; notes what `auto` came to."""
        spec, size = settled(self.spec, log), self.model.card.size
        cropped = next(past(self.model.provenance, "detect", DetectSpec), DetectSpec(size=size))
        resized = next(channels_of(self.model.provenance), None)
        detector = detectors.find(spec.detector)
        if not detector.takes_margin:  # the photos are faces, cropped by whoever gives them
            cropped = replace(cropped, align=DetectSpec.align, margin=DetectSpec.margin)
        elif spec.align is None and cropped.align and not detector.has_landmarks:
            raise UsageError(
                f"the model was trained on faces turned upright by eyes, nose and mouth, which {spec.detector} does "
                f"not tell: type fer predict with --detector mtcnn or --detector yunet, or with --no-align"
            )
        asked = {field.name: getattr(spec, field.name) for field in SearchSpec.fields()}
        for name in ("align", "margin"):
            asked[name] = getattr(cropped, name) if asked[name] is None else asked[name]
        size = cropped.size if resized and resized.size == size else size  # as then, with what is lost by it
        return Search(DetectSpec(**asked, size=size))

    def _rows(self, src: Reader) -> np.ndarray | None:
        """Row numbers of the split asked for; None for all."""
        if self.spec.split is None:
            return None
        if "split" not in src.columns:
            raise DataError(f"{src.name} has no splits: leave --split out, or assign them with fer split")
        rows = np.flatnonzero(src.column("split") == SPLIT_CODES[self.spec.split])
        if not len(rows):
            raise DataError(f"{src.name} has no rows of {self.spec.split}: fer info {src.name} shows what it has")
        return rows

    def _over_photos_of(
        self, src: Reader, rows: np.ndarray | None, label: np.ndarray | None, log: Log
    ) -> Iterator[Block]:
        own = _shared(src, rows, PHOTOS)
        numbers = np.arange(src.rows) if own is None else own
        photos = photos_of(src, own, numbers, label, self._attributes)
        further = 0
        for block in merged(_numbered(self._label(photos, log), numbers), log):
            further += block_rows(block) - len(np.unique(block["parent"]))
            yield block
        if further and label is not None:
            log.note(
                f"{counted(further, 'further face')} of labelled photos bear the photo's label too, and fer eval "
                f"counts them: --keep largest keeps one a photo"
            )


def _shared(src: Reader, rows: np.ndarray | None, turn: int) -> np.ndarray | None:
    """Those of `rows` of a store (None: all) that this process labels; None for all, see `sharing.mine`."""
    if ranks.size() == 1:
        return rows
    return (np.arange(src.rows) if rows is None else rows)[mine(src.rows if rows is None else len(rows), turn)]


def _numbered(blocks: Iterator[Block], numbers: np.ndarray) -> Iterator[Block]:
    """Blocks whose `parent` counts some photos, with the photos' `numbers` (n,) instead."""
    for block in blocks:
        yield {**block, "parent": numbers[block["parent"]]}
