"""KDEF (Lundqvist et al. 1998): AF01ANS.JPG is session A, woman 01, angry, straight. All five angles are taken."""

import re

from ..labels import EMOTIONS, KDEF_CODES
from .base import Listing, Options, Record, mostly, named_records
from .source import Source

NAME = "kdef"
TITLE = "KDEF: AF01ANS.JPG"
OPTIONS = ()

_NAME = re.compile(rf"(?:^|/)[AB]([FM]\d\d)({'|'.join(KDEF_CODES)})(?:FL|HL|S|HR|FR)\.jpe?g$", re.IGNORECASE)


def matches(source: Source) -> bool:
    return mostly(source.photos, _NAME)


def scan(source: Source, options: Options) -> Listing:
    def record(name: str, found: re.Match[str]) -> Record:
        return Record(name, EMOTIONS.index(KDEF_CODES[found[2].upper()]), subject=found[1].upper())

    return named_records(source.photos, _NAME, "AF01ANS.JPG", record, EMOTIONS)
