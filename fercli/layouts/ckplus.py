"""CK+ in its original tree (Lucey et al. 2010): sequences of frames that begin neutral and end at the peak.

cohn-kanade-images/S005/001/S005_001_00000001.png and Emotion/S005/001/S005_001_00000011_emotion.txt, which holds a code
as a float. 327 of the 593 sequences have a label.
"""

import re
from collections import defaultdict

from ..errors import DataError
from ..labels import CKPLUS_CODES, ordered
from .base import Listing, Options, Record, mostly, text_lines
from .source import Source

NAME = "ckplus"
TITLE = "CK+ in its original tree; the last --frames of each labelled sequence"
OPTIONS = ("frames", "neutral_first")

_FRAME = re.compile(r"(?:^|/)(S\d{3})/(\d{3})/(\1_\2)_\d{8}\.png$")
_LABEL = re.compile(r"(?:^|/)(S\d{3})/(\d{3})/(\1_\2)_\d{8}_emotion\.txt$")


def matches(source: Source) -> bool:
    return mostly([name for name in source.names() if name.endswith(".png")], _FRAME)


def scan(source: Source, options: Options) -> Listing:
    frames, labels = defaultdict(list), {}
    for name in source.names():
        if found := _FRAME.search(name):
            frames[found[3]].append(name)
        elif found := _LABEL.search(name):
            labels[found[3]] = name
    if not labels:
        raise DataError(f"{source.path} holds no *_emotion.txt: put CK+'s Emotion folder beside its images")
    neutral = ("neutral",) if options.neutral_first else ()
    classes = ordered([name for name in CKPLUS_CODES.values() if name != "neutral" or neutral])
    listing = Listing(classes, [])
    for sequence, name in sorted(labels.items()):
        _add(listing, sequence, sorted(frames.pop(sequence, [])), name, _emotion(source, name), options)
    if frames:
        listing.notes.append(f"sequences left out, having no label: {len(frames)}")
    return listing


def _add(listing: Listing, sequence: str, frames: list[str], label: str, emotion: str, options: Options) -> None:
    if emotion not in listing.classes:
        listing.failures.append((label, f"it holds {emotion!r}, not one of the codes 1 to {max(CKPLUS_CODES)}"))
        return
    if not frames:
        listing.failures.append((label, f"there is no frame of the sequence {sequence}"))
        return
    peak = frames[-options.frames :]
    chosen = [(name, emotion) for name in peak]
    if options.neutral_first and frames[0] not in peak:
        chosen.insert(0, (frames[0], "neutral"))
    subject = sequence.partition("_")[0]
    for name, shown in chosen:
        record = Record(name, listing.classes.index(shown), subject=subject, sequence=sequence)
        listing.records.append(record)


def _emotion(source: Source, name: str) -> str:
    """The emotion that a label file holds; its text, if that is no code."""
    text = " ".join(text_lines(source, name)).strip()
    try:
        return CKPLUS_CODES.get(float(text), text)
    except ValueError:
        return text
