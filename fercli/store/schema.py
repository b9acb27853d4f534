"""The store format: names, types and shapes of everything in a file. SCHEMA.md says the same for readers."""

from dataclasses import dataclass

import numpy as np

FORMAT = "fercli"
VERSION = 1
KINDS = ("samples", "predictions", "model")
SPLITS = ("train", "val", "test")
SPLIT_CODES = {name: code for code, name in enumerate(SPLITS)}
#: JSON documents: one scalar string dataset each, beside the columns. Not attributes: those end at 64 KiB.
DOCUMENTS = ("provenance", "augment", "model")
#: Groups of free arrays that a model store holds.
ARRAY_GROUPS = ("weights", "history", "state")
ARRAYS = ("trained_on",)
ATTRIBUTE_PREFIX = "attribute/"
#: The longest string that a string column holds, in bytes of UTF-8 (PATH_MAX on Linux).
MAX_STRING = 4096

#: Channel names by the number of channels an image has; gradients write the second form of three.
CHANNELS = (("gray",), ("red", "green", "blue"), ("gray", "gx", "gy"))


@dataclass(frozen=True)
class Column:
    """One column: its type ("string" is fixed-length UTF-8), the shape of one row as text, and what it means."""

    dtype: str
    shape: str
    meaning: str

    @property
    def dimensions(self) -> int:
        """Axes of one row; -1 where an image may have two or three."""
        if "[" in self.shape:
            return -1
        return len([part for part in self.shape.split(",") if part])


COLUMNS = {
    "image": Column("uint8", "H,W[,C]", "dense pixels; the attribute `channels` names the C channels"),
    "encoded": Column("bytes", "", "a photo's own JPEG, PNG, ... file; row i is bytes offset[i] to offset[i+1]"),
    "height": Column("int32", "", "height of the decoded photo, px"),
    "width": Column("int32", "", "width of the decoded photo, px"),
    "label": Column("int16", "", "index into `classes`; -1 is unlabelled"),
    "votes": Column("float32", "K", "share of the annotators' votes for each class"),
    "split": Column("split", "", "train, val or test"),
    "subject": Column("string", "", "the person shown"),
    "sequence": Column("string", "", "the clip or sequence the image is from"),
    "source": Column("string", "", "path within the data set, or file and row"),
    "parent": Column("int64", "", "row of the store that this row was made from"),
    "digest": Column("uint8", "16", "hash of shape and pixels: equal for exact copies"),
    "box": Column("float32", "4", "face in the photo: x, y, width, height in px; all 0 without a face"),
    "landmark": Column("float32", "5,2", "x, y in px of eyes, nose and mouth corners"),
    "score": Column("float32", "", "the detector's confidence in the face; its scale is the detector's"),
    "hog": Column("float32", "D", "histogram of oriented gradients"),
    "fold": Column("int16", "", "cross-validation fold, from 0"),
    "probability": Column("float32", "K", "one probability a class; all 0 where there is no answer"),
    "predicted": Column("int16", "", "index into `classes`; -1 is no answer"),
    "seen": Column("bool", "", "the model was trained on these very pixels"),
    "error": Column("string", "", "why a row has no answer; empty where it has one"),
}
ATTRIBUTE = Column("int16", "", "another label of the row; -1 is unknown")

NUMPY_TYPES = {
    "uint8": np.uint8, "int16": np.int16, "int32": np.int32, "int64": np.int64, "float32": np.float32,
    "bool": np.bool_, "split": np.int8,
}  # fmt: skip


def column(name: str) -> Column | None:
    """The declaration of a column, or None for a name that the format does not know."""
    return ATTRIBUTE if name.startswith(ATTRIBUTE_PREFIX) else COLUMNS.get(name)
