"""Labels photos, or the rows of a store, and writes a row of text for each face while they stream by."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial

import numpy as np

from ..errors import UsageError
from ..interrupts import held
from ..layouts import Source
from ..layouts.files import is_image
from ..layouts.video import Clip
from ..learn import ranks
from ..store import Block, Reader, block_rows
from ..text import counted
from . import contact, predict
from .annotate import MARK, Pictures
from .contact import ContactSheet
from .dense import GRADIENTS
from .destination import ENDS, ENDS_OF_STORE, destination, early_end_told, while_read
from .faces import Batch, Photo, Unique, photos_in, relative
from .film import films
from .outputs import Labelled, Output, OutputSpec, check_apart, lying_in, made_in
from .predict import Predictor, PredictSpec, searches
from .remaining import compared, remaining_clips, remaining_photos
from .resume import Appended
from .rows import begins, header, rows, text_of
from .runner import Log, Outcome, check_replaced
from .sorting import RECORD, Sorted
from .video import tell_left_out


def run(
    src: Reader | Sequence[Source],
    model: str,
    output: str,
    form: str,
    spec: PredictSpec,
    wanted: OutputSpec,
    log: Log,
    *,
    force: bool = False,
    dry_run: bool = False,
) -> Outcome:
    """Labels photos, videos or the rows of a store by the store of a `model`, into a store or as rows of text, by the
    `form` of what is written.
    """
    if isinstance(src, Reader):
        predict.check_search(src, spec)
    elif spec.split:
        raise UsageError("--split chooses rows of a store, and photos are of no split: leave it out")
    else:
        tell_left_out(src, log)
    if form == "store":
        if wanted.any:
            raise UsageError("a store has no outputs beside it: write rows with --format jsonl, csv or tsv")
        return predict.store(src, model, output, spec, log, force=force, dry_run=dry_run)
    if dry_run:
        check(src, output, form, wanted, force)
        Predictor.load(model, spec)  # which says what is wrong with it
        return Outcome("predict", wanted.resume or output, dry_run=True)
    return write_rows(src, model, output, form, spec, wanted, log, force=force)


def write_rows(
    src: Reader | Sequence[Source],
    model: str,
    output: str,
    form: str,
    spec: PredictSpec,
    wanted: OutputSpec,
    log: Log,
    *,
    force: bool = False,
) -> Outcome:
    """Writes rows as lines while they come, and what else is wanted. A file takes its place when it is complete, or
    where the run ends early and nothing is there; one that is resumed grows. With `force` it may replace any other
    file, a contact sheet any other picture, and a film any other video.

    What is made of a photo is there before its rows are.
    """
    check(src, output, form, wanted, force)
    outcome = Outcome("predict", wanted.resume or output, failures=log.failures, facts=log.facts)
    if not ranks.writes():
        _help(src, model, spec, wanted, log)
        return outcome
    can_go_on, ends = not _needs_all(src, wanted), ENDS_OF_STORE if isinstance(src, Reader) else ENDS
    with early_end_told(output, wanted.resume, can_go_on, ends, outcome, log), ExitStack() as stack:
        write = None if wanted.resume else stack.enter_context(destination(output, ends, outcome))
        predictor = Predictor.load(model, spec)
        log.facts |= predictor.computed
        others, file = _others(src, output, wanted, predictor, log, force), None
        for other in others:
            stack.callback(other.stop)
        if wanted.resume:
            file = Appended(wanted.resume, form, predictor.classes, predictor.heads, _are_clips(src))
            write = stack.enter_context(file).append
        batches = stack.enter_context(closing(_batches(src, wanted, predictor, file, others, log)))
        if others:
            write = while_read(write, log)
        text = text_of(form, predictor.classes, file is not None and file.begun, predictor.heads)
        hidden = ("box",) if isinstance(src, Reader) and not searches(src, spec) else ()  # crops, in photos not at hand
        for photos, block in batches:
            if others:
                shown = {name: values for name, values in block.items() if name not in hidden}
                batch = _by_photo(photos, shown, predictor.classes)
                for other in others:
                    other.add(batch)
            lines = text(block)
            with held():  # so that they are whole, and counted
                write(lines)
                outcome.rows += block_rows(block)
        if not (outcome.rows or (file and file.begun)):
            write(header(form, getattr(src, "columns", ()), predictor.classes, predictor.heads))
        for other in others:
            log.note(other.close())
        if isinstance(src, Reader):
            src.check_unchanged()
    return outcome


def _help(src: Reader | Sequence[Source], model: str, spec: PredictSpec, wanted: OutputSpec, log: Log) -> None:
    """Labels this process's part for the process that writes."""
    predictor = Predictor.load(model, spec)
    stores = isinstance(src, Reader)
    blocks = predictor.over_store(src, log) if stores else predictor.over_photos(_photos(src, wanted), log)
    deque(blocks, maxlen=0)  # runs it: it yields nothing here


def check(src: Reader | Sequence[Source], output: str, form: str, wanted: OutputSpec, force: bool) -> None:
    """Raises before any work for outputs that cannot be, or that would replace what fer predict has not written."""
    if wanted.sort_by and not wanted.sort_into:
        raise UsageError("--sort-by tells how photos get into a folder: name that with --sort-into DIR")
    if wanted.resume:
        ranks.check_alone("going on with a file", "leave torchrun or --resume out")
    if _are_clips(src):
        ranks.check_alone("labelling a video", "leave torchrun out")
    if wanted.resume and output != "-":
        raise UsageError(f"-o {output} and --resume {wanted.resume} both take the rows: leave one of them out")
    if isinstance(src, Reader):
        for flag, value in (("--sort-into", wanted.sort_into), ("--resume", wanted.resume)):
            if value:
                raise UsageError(f"{flag} is for photos, and {src.name} is a store: name the photos themselves")
    elif _are_clips(src):
        if wanted.sort_into:
            raise UsageError(f"--sort-into is for photos, and {src[0].path} is none: leave it out")
        if wanted.resume and (reason := _needs_all(src, wanted)):
            raise UsageError(f"--resume leaves out what is labelled, and {reason}: leave one of the two out")
    else:
        check_apart(src, wanted.folders)
    if not force and output != "-":
        check_replaced(output, f"file of rows in {form}", lambda: begins(output, form))
    if wanted.contact_sheet:
        photos = () if isinstance(src, Reader) or _are_clips(src) else photos_in(src)
        contact.check_sheet(wanted.contact_sheet, photos, force)


def _are_clips(src: Reader | Sequence[Source]) -> bool:
    return not isinstance(src, Reader) and isinstance(src[0], Clip)


def _needs_all(src: Reader | Sequence[Source], wanted: OutputSpec) -> str:
    """Why a run cannot go on with the rows of an earlier one; "" if it can."""
    if isinstance(src, Reader):
        return "rows of a store are labelled all at once"
    if not _are_clips(src):
        return ""
    if any(clip.live for clip in src):
        return "a camera never shows the same again"
    if wanted.annotate or wanted.contact_sheet:
        return "--annotate and --contact-sheet take the frames of all videos"
    return ""


def _photos(sources: Sequence[Source], wanted: OutputSpec, log: Log | None = None) -> Iterator[Photo]:
    """The photos to label, without those that this or an earlier run has made; told to `log`. UsageError: no others."""
    own = [path for path in (*wanted.folders.values(), wanted.contact_sheet) if path]
    is_own = lying_in(own)
    older = [path for path in made_in(sources, (MARK, RECORD)) if not is_own(path)]
    is_older = lying_in(older)
    given = left_out = made_earlier = 0
    for photo in photos_in(sources):
        given += 1
        if photo.path and is_own(photo.path):
            left_out += 1
        elif photo.path and is_older(photo.path):
            made_earlier += 1
        else:
            yield photo
    where = f"in {' and '.join(own)}, where this run writes"
    earlier = f"in {' and '.join(older)}, where an earlier run wrote"
    hint = "name such a folder itself to label what is in it"
    if left_out == given:
        raise UsageError(f"all photos lie {where}: name another place for that")
    if left_out + made_earlier == given:
        raise UsageError(f"all {'other ' if left_out else ''}photos lie {earlier}: {hint}")
    if left_out and log:
        log.note(f"{counted(left_out, 'photo')} {where}, left out")
    if made_earlier and log:
        log.note(f"{counted(made_earlier, 'photo')} {earlier}, left out: {hint}")


def _batches(
    src: Reader | Sequence[Source],
    wanted: OutputSpec,
    predictor: Predictor,
    file: Appended | None,
    others: Sequence[Output],
    log: Log,
) -> Iterator[Batch]:
    """What is labelled, beside its rows, without what is in the file that is gone on with."""
    if isinstance(src, Reader):
        return _of_store(src, predictor, log)
    if _are_clips(src):
        clips, anew = remaining_clips(src, file, log) if file else (src, None)
        batches = predictor.over_clips(clips, log, pictures=bool(others))
    elif file:
        photos, anew = remaining_photos(list(_photos(src, wanted, log)), file, others, log)
        batches = _of_photos(photos, predictor, log)
    else:
        log.total(sum(1 for _ in _photos(src, wanted, log)))
        batches, anew = _of_photos(_photos(src, wanted), predictor, log), None
    return compared(batches, anew, wanted.resume, predictor.classes, log) if anew else batches


def _others(
    src: Reader | Sequence[Source], output: str, wanted: OutputSpec, predictor: Predictor, log: Log, force: bool
) -> list[Output]:
    """The outputs beside the rows."""
    made: list[Output] = []
    if wanted.annotate:
        clips = _are_clips(src)
        made.append(films(wanted.annotate, src, output, log, force) if clips else Pictures(wanted.annotate, log))
    if wanted.contact_sheet:
        made.append(ContactSheet(wanted.contact_sheet, predictor.classes, log))
    if wanted.sort_into:
        made.append(Sorted(wanted.sort_into, wanted.sort_by or "copy", predictor.classes, log))
    return made


def _of_photos(photos: Iterable[Photo], predictor: Predictor, log: Log) -> Iterator[Batch]:
    """Photos beside their rows. Each block holds all rows of the photos that it begins, and `parent` counts these."""
    given: deque[Photo] = deque()

    def remembered() -> Iterator[Photo]:
        for photo in photos:
            given.append(photo)
            yield photo

    first = 0
    for block in predictor.over_photos(remembered(), log):
        end = int(block["parent"][-1]) + 1
        yield [given.popleft() for _ in range(end - first)], block
        first = end


def _of_store(src: Reader, predictor: Predictor, log: Log) -> Iterator[Batch]:
    """Rows of a store; the photos are read only if they are asked for."""
    unique = Unique()
    for block in predictor.over_store(src, log):
        places = np.flatnonzero(np.diff(block["parent"], prepend=-1))
        photos = []
        for place in places:
            source = block["source"][place]
            name = relative(source) if is_image(source) else f"{relative(source)}.png"
            read = partial(_pixels, src, int(block["parent"][place]))
            photos.append(Photo(source, read, name=unique(name, str(block["parent"][place]))))
        yield photos, block


def _pixels(src: Reader, row: int) -> bytes | np.ndarray:
    """The photo or the gray face of a row."""
    column = "encoded" if "encoded" in src.columns else "image"
    value = src.column(column, row, row + 1)[0]
    return value[..., 0] if column == "image" and src.channels == GRADIENTS else value


def _by_photo(photos: Sequence[Photo], block: Block, classes: Sequence[str]) -> list[Labelled]:
    found = zip(block["parent"].tolist(), rows(block, classes), strict=True)
    groups = itertools.groupby(found, key=lambda pair: pair[0])
    return [Labelled(photo, [row for _, row in group]) for photo, (_, group) in zip(photos, groups, strict=True)]
