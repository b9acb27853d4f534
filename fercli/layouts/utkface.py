"""UTKFace (Zhang et al. 2017): [age]_[gender]_[race]_[date&time].jpg, or .jpg.chip.jpg. It has no expression labels.

Gender is 0 male, 1 female; race 0 White, 1 Black, 2 Asian, 3 Indian, 4 others, as its authors coded them. A few
published names lack a field or have a wrong one: that attribute is then -1.
"""

import re

from ..errors import UsageError
from ..spec import nearest
from .base import Listing, Options, Record, mostly, named_records
from .source import Source

NAME = "utkface"
TITLE = "UTKFace, unlabelled; age, gender and race only with --attribute"
OPTIONS = ("attribute",)

_NAME = re.compile(r"(?:^|/)(?P<age>\d{1,3})_(?P<gender>\d?)_(?:(?P<race>\d)_)?\d{10,20}[^/]*\.jpg$")
_HIGHEST = {"age": 120, "gender": 1, "race": 4}


def matches(source: Source) -> bool:
    return mostly(source.photos, _NAME)


def scan(source: Source, options: Options) -> Listing:
    for name in options.attribute:
        if name not in _HIGHEST:
            raise UsageError(f"UTKFace has no attribute {name!r}; {nearest(name, list(_HIGHEST))}")

    def record(name: str, found: re.Match[str]) -> Record:
        return Record(name, attributes={kind: _value(kind, found[kind]) for kind in options.attribute})

    return named_records(source.photos, _NAME, "25_1_0_20170109213057986.jpg", record)


def _value(kind: str, text: str | None) -> int:
    return int(text) if text and int(text) <= _HIGHEST[kind] else -1
