"""The store format: names, types and shapes of everything in a file. SCHEMA.md says the same for readers."""

from dataclasses import dataclass

import numpy as np

FORMAT = "fercli"
VERSION = 1
KINDS = ("samples", "predictions", "model")
#: The attributes of the root group; no other object has any.
ATTRIBUTES = ("format", "version", "kind", "rows", "classes", "channels")
SPLITS = ("train", "val", "test")
SPLIT_CODES = {name: code for code, name in enumerate(SPLITS)}
#: JSON documents: one scalar string dataset each, beside the columns. Not attributes: those end at 64 KiB.
DOCUMENTS = ("provenance", "augment", "model", "heads")
#: Groups of free arrays that a model store holds, and its arrays outside a group.
ARRAY_GROUPS = ("weights", "history", "state")
ARRAYS = ("trained_on",)
ATTRIBUTE_PREFIX = "attribute/"
HEAD_PREFIX = "head/"
HEAD_PROBABILITY_PREFIX = "head_probability/"
#: The longest string that a string column holds, in bytes of UTF-8 (PATH_MAX on Linux).
MAX_STRING = 4096
#: HDF5 ends an attribute at 64 KiB, its own header included.
MAX_CLASSES_BYTES = 60_000

#: Names of the channels that an image may have.
CHANNELS = (("gray",), ("red", "green", "blue"), ("gray", "gx", "gy"))

NUMPY_TYPES = {
    "uint8": np.uint8, "int16": np.int16, "int32": np.int32, "int64": np.int64, "float32": np.float32,
    "float64": np.float64, "bool": np.bool_, "split": np.int8,
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One column: its type ("string" is fixed-length UTF-8), the shape of one row as text, and what it means.

    In a shape a number stands for itself, K for the number of classes, and any other letter for any size from 1.
    """

    dtype: str
    shape: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.dtype} of shape {self.shape or 'one value'} a row"

    def fits(self, row: tuple[int, ...], classes: int) -> bool:
        """Whether one row may have this shape in a store of so many classes."""
        if self.shape == "H,W[,C]":
            return len(row) in (2, 3) and min(row) > 0
        sizes = self.shape.split(",") if self.shape else []
        return len(sizes) == len(row) and all(map(_size_fits, sizes, row, [classes] * len(row)))


def _size_fits(declared: str, found: int, classes: int) -> bool:
    if declared == "K":
        return found == classes
    return found == int(declared) if declared.isdigit() else found > 0


COLUMNS = {
    "image": Column("uint8", "H,W[,C]", "dense pixels, H by W px; the attribute `channels` names the C channels"),
    "encoded": Column("bytes", "", "a photo's own JPEG, PNG, ... file"),
    "height": Column("int32", "", "height of the decoded photo, px"),
    "width": Column("int32", "", "width of the decoded photo, px"),
    "label": Column("int16", "", "index into `classes`; -1 is unlabelled"),
    "votes": Column("float32", "K", "share of the annotators' votes for each class"),
    "split": Column("split", "", "train, val or test"),
    "subject": Column("string", "", "the person shown"),
    "sequence": Column("string", "", "the clip or sequence that the image is from"),
    "frame": Column("int64", "", "number of the frame in its video, from 0"),
    "time": Column("float64", "", "when the frame is shown, seconds from the start of its video"),
    "track": Column("int32", "", "number of the face followed through its video, from 1; 0 without a face"),
    "source": Column(
        "string", "", "path within the data set (with the path of that, where rows are of several), or file and row"
    ),
    "parent": Column("int64", "", "row of the input that this row was made from"),
    "copy": Column("bool", "", "whether augmentation made the row from another: to train on, not to test on"),
    "digest": Column("uint8", "16", "identity of the picture that the row came from: equal for exact copies"),
    "box": Column("float32", "4", "face in the photo: x, y, width, height in px; all 0 without a face"),
    "landmark": Column("float32", "5,2", "x, y in px of eyes, nose and mouth corners"),
    "score": Column("float32", "", "the detector's confidence in the face; its scale is the detector's"),
    "hog": Column("float32", "D", "histogram of oriented gradients"),
    "fold": Column("int16", "", "cross-validation fold, from 0"),
    "probability": Column("float32", "K", "one probability a class; all 0 where there is no answer"),
    "predicted": Column("int16", "", "index into `classes`; -1 is no answer"),
    "seen": Column("bool", "", "whether the model was trained on this very picture"),
    "error": Column("string", "", "why a row has no answer; empty where it has one"),
}
#: Columns of a group, by what stands before their NAME.
GROUPED = {
    ATTRIBUTE_PREFIX: Column("int16", "", "another label of the row; -1 is unknown"),
    HEAD_PREFIX: Column("int16", "", "answer of a further head to attribute/NAME; -1 is no answer"),
    HEAD_PROBABILITY_PREFIX: Column(
        "float32", "D", "one probability a class of the head; all 0 where there is no answer"
    ),
}
#: N + 1 rising numbers beside `encoded`: row i is its bytes offset[i] to offset[i + 1].
OFFSET = "offset"


def column(name: str) -> Column | None:
    """The declaration of a column, or None for a name that the format does not know."""
    group, slash, _ = name.partition("/")
    return GROUPED.get(group + slash) if slash else COLUMNS.get(name)


def place(name: str) -> tuple[int, str]:
    """By which columns are sorted: as they are declared above, then those of groups by name."""
    return (list(COLUMNS).index(name), "") if name in COLUMNS else (len(COLUMNS), name)


def may_lack(kind: str, name: str) -> bool:
    """Whether one of several stores of a kind that are read as one may lack this column: its rows are -1 there."""
    return kind == "samples" and (name == "label" or name.startswith(ATTRIBUTE_PREFIX))


def columns_fault(names: set[str]) -> str:
    """What is wrong with these columns side by side; "" if nothing is."""
    if "encoded" in names and "image" in names:
        return "both image and encoded, and an image is either dense or a photo"
    missing = {"height", "width"} - names
    if "encoded" in names and missing:
        return f"encoded without {' and '.join(sorted(missing))}"
    return ""


def is_array(name: str) -> bool:
    """Whether the format has a place for a free array of this name."""
    group, _, rest = name.partition("/")
    return name in ARRAYS or (group in ARRAY_GROUPS and bool(rest) and "/" not in rest)


def channels_fit(channels: tuple[str, ...], row: tuple[int, ...]) -> bool:
    """Whether images of this shape may have these channels: (H, W) has one, (H, W, C) has C of them."""
    return channels in CHANNELS and len(channels) == (row[2] if len(row) == 3 else 1) and row[2:] != (1,)
