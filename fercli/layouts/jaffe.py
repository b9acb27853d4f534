"""JAFFE (Lyons et al. 1998): 213 TIFFs of ten women. KA.AN1.39.tiff is subject, expression, repetition, number."""

import re

from ..labels import EMOTIONS, JAFFE_CODES
from .base import Listing, Options, Record, mostly, named_records
from .source import Source

NAME = "jaffe"
TITLE = "JAFFE: KA.AN1.39.tiff"
OPTIONS = ()

_NAME = re.compile(rf"(?:^|/)([A-Z]{{2}})\.({'|'.join(JAFFE_CODES)})\d\.\d{{1,3}}\.\w+$")


def matches(source: Source) -> bool:
    return mostly(source.photos, _NAME)


def scan(source: Source, options: Options) -> Listing:
    def record(name: str, found: re.Match[str]) -> Record:
        return Record(name, EMOTIONS.index(JAFFE_CODES[found[2]]), subject=found[1])

    return named_records(source.photos, _NAME, "KA.AN1.39.tiff", record, EMOTIONS)
