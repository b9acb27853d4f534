"""CK+48: frames of CK+ cropped to 48x48, in class folders: anger/S010_004_00000017.png."""

import re

from ..labels import EMOTIONS_CONTEMPT, canonical
from . import folder
from .base import Listing, Options, mostly
from .source import Source

NAME = "ck48"
TITLE = "CK+48: anger/S010_004_00000017.png"
OPTIONS = ()

_NAME = re.compile(r"(?:^|/)((S\d{3})_\d{3})_\d{8}\.png$")


def matches(source: Source) -> bool:
    names = source.photos
    return mostly(names, _NAME) and any(canonical(part) in EMOTIONS_CONTEMPT for part in names[0].split("/")[:-1])


def scan(source: Source, options: Options) -> Listing:
    listing = folder.scan(source, options)
    for at, record in enumerate(listing.records):
        if found := _NAME.search(record.name):
            listing.records[at] = record._replace(subject=found[2], sequence=found[1])
    return listing
