"""Hostile files: each is refused with its sentence, and no other file is touched for it."""

import os
import random
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import pytest

from fercli.errors import DataError
from fercli.store import open_store

from .program import ROOT, module
from .stores import entry, photos, samples, write

KINDS = ("samples", "predictions", "model")


def read_all(path):
    """Opens a store and reads all that is in it."""
    with open_store(path, KINDS) as store:
        for _ in store.blocks():
            pass
        assert isinstance(store.documents, dict)
        assert isinstance(store.provenance, list)
        assert len(store.digest) == 32
        for name in store.array_names():
            store.array(name)


def refusal(path):
    with pytest.raises(DataError) as error:
        read_all(path)
    return str(error.value).removeprefix(str(path))


def hostile(path, change, **options):
    """A good store of samples, changed with plain h5py."""
    write(path, samples(), documents={"provenance": []})
    with h5py.File(path, "r+", **options) as file:
        change(file)
    return path


def put(name, **options):
    """A change that puts another dataset in place of one."""

    def change(file):
        if name in file:
            del file[name]
        file.create_dataset(name, **options)

    return change


def link(name, target):
    def change(file):
        if name in file:
            del file[name]
        file[name] = target

    return change


# --- other files -----------------------------------------------------------------------------------------------------


def virtual(file, other):
    layout = h5py.VirtualLayout((6,), "i2")
    layout[:] = h5py.VirtualSource(other, "label", (6,))
    del file["label"]
    file.create_virtual_dataset("label", layout)


def unlimited_virtual(file, other):
    """Its extent depends on the other file, which HDF5 opens as soon as it is asked for the shape."""
    layout = h5py.VirtualLayout((6,), "i2", maxshape=(None,))
    source = h5py.VirtualSource(other, "label", (6,), maxshape=(None,))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    del file["label"]
    file.create_virtual_dataset("label", layout)


def external(file, other):
    del file["label"]
    file.create_dataset("label", (6,), "i2", external=[(other, 0, 12)])


other_files = {
    " is refused: 'label' is an external link, and a store holds its own data": [
        lambda file, other: link("label", h5py.ExternalLink(other, "/label"))(file),
    ],
    " is refused: 'weights' is an external link, and a store holds its own data": [
        lambda file, other: link("weights", h5py.ExternalLink(other, "/"))(file),
    ],
    " is refused: 'weights/a' is an external link, and a store holds its own data": [
        lambda file, other: link("weights/a", h5py.ExternalLink(other, "/label"))(file),
    ],
    " is refused: 'label' keeps its data in another file (external storage)": [external],
    " is refused: 'label' is a virtual dataset, and a store holds its own data": [virtual, unlimited_virtual],
}


@pytest.mark.parametrize(("text", "change"), [(text, change) for text, all_ in other_files.items() for change in all_])
def test_no_other_file_is_touched(tmp_path, text, change):
    other = write(tmp_path / "other.h5", samples())
    path = hostile(tmp_path / "a.h5", lambda file: change(file, other))
    content = Path(other).read_bytes()
    os.utime(other, (1_000_000_000, 2_000_000_000))  # last read before it was last written: the next read is noted
    control = tmp_path / "control"
    control.write_bytes(content)
    os.utime(control, (1_000_000_000, 2_000_000_000))

    assert refusal(path) == text
    after = os.stat(other)
    assert (after.st_atime, after.st_mtime) == (1_000_000_000, 2_000_000_000)
    assert control.read_bytes() == content
    if os.stat(control).st_atime == 1_000_000_000:
        pytest.skip("this file system does not note when a file is read")
    assert Path(other).read_bytes() == content


# --- what the format does not hold -----------------------------------------------------------------------------------


def array_type(file):
    kind = h5py.h5t.array_create(h5py.h5t.NATIVE_INT16, (2,))
    del file["label"]
    h5py.h5d.create(file.id, b"label", kind, h5py.h5s.create_simple((6,)))


def time_type(file):
    del file["label"]
    h5py.h5d.create(file.id, b"label", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((6,)))


def holes(file):
    """One chunk reaches far beyond the rows, so that the storage is as large as what is declared."""
    put("digest", shape=(6, 16), maxshape=(6, None), dtype="u1", chunks=(1, 1000))(file)
    file["digest"][0] = 7


def reach(file):
    """Chains of groups 500 deep."""
    group = file
    for _ in range(500):
        group = group.create_group("weights")


def group_for_a_column(file):
    del file["label"]
    file["label/x"] = 1


def group_in_itself(file):
    file["weights"] = file.create_group("state")
    file["state/weights"] = file["weights"]


def many_names_of_one(file):
    file["weights/a"] = np.zeros(1000)
    for number in range(100):
        file[f"weights/{number}"] = file["weights/a"]


other_link = " is refused: 'label' is a soft link, and a store holds its own data"
no_part = " is refused: {!r} is no part of the format".format
no_type = " is refused: 'label' has the type {}, no plain number or string".format
filters = " is refused: 'label' has filters (compression), which stores do not use"
attribute = " is refused: {} has an attribute {!r}, which is no part of the format".format
long_attribute = " is refused: the file has an attribute {!r} that is no short plain value".format
rows = np.zeros(6, np.int16)

refused = [
    (link("label", h5py.SoftLink("/split")), other_link),
    (link("label", h5py.SoftLink("/nowhere")), other_link),
    (link("weights/a", h5py.SoftLink("/")), other_link.replace("label", "weights/a")),
    (put("colour", data=rows), no_part("colour")),
    (lambda file: file.create_group("x"), no_part("x")),
    (lambda file: file.__setitem__("x", file["/"]), no_part("x")),
    (lambda file: file["/"].__setitem__("weights", file["/"]), attribute("'weights'", "channels")),
    (group_in_itself, " is refused: 'state/weights' is a group, and has no place there"),
    (reach, " is refused: 'weights/weights' is a group, and has no place there"),
    (put("attribute/a/b", data=rows), " is refused: 'attribute/a' is a group, and has no place there"),
    (group_for_a_column, " is refused: 'label' is a group, and has no place there"),
    (put("weights", data=rows), " is refused: 'weights' is a dataset, and has no place there"),
    (link("label", np.dtype("f4")), " is refused: 'label' is a datatype, and has no place there"),
    (link("weights/a", np.dtype("f4")), " is refused: 'weights/a' is a datatype, and has no place there"),
    (put("label", shape=(6,), dtype=h5py.ref_dtype), no_type("object")),
    (put("label", shape=(6,), dtype=h5py.regionref_dtype), no_type("object")),
    (put("label", shape=(6,), dtype=h5py.vlen_dtype("i2")), no_type("object")),
    (put("label", shape=(6,), dtype=h5py.string_dtype()), no_type("object")),
    (put("label", shape=(6,), dtype="i2,i2"), no_type("[('f0', '<i2'), ('f1', '<i2')]")),
    (put("label", shape=(6,), dtype="V2"), no_type("|V2")),
    (put("label", shape=(6,), dtype="c8"), no_type("complex64")),
    (array_type, no_type("('<i2', (2,))")),
    (time_type, " is damaged: make it again"),
    (put("label", data=rows, compression="gzip"), filters),
    (put("label", data=rows, compression="lzf"), filters),
    (put("label", data=rows, chunks=True, shuffle=True), filters),
    (put("label", data=rows, chunks=True, fletcher32=True), filters),
    (put("label", data=rows, chunks=True, scaleoffset=0), filters),
    (put("label", data=h5py.Empty("i2")), " is refused: 'label' is without shape and data"),
    (put("image", shape=(6, 2**31, 2), dtype="u1", chunks=(1, 16, 2)),
     " is refused: 'image' declares 25,769,803,776 bytes, and the file holds at most 0 for it"),
    (put("image", shape=(2**17, 2**17), dtype="u1"),
     " is refused: 'image' declares 17,179,869,184 bytes, and the file holds at most 0 for it"),
    (put("provenance", shape=(), dtype="S2000000000"),
     " is refused: 'provenance' declares 2,000,000,000 bytes, and the file holds at most 0 for it"),
    (put("label", shape=(6,), dtype="i2", chunks=(3,)),
     " is refused: 'label' declares 12 bytes, and the file holds at most 0 for it"),
    (holes, " is refused: 'digest' has holes: parts of it were never written"),
    (lambda file: file["label"].attrs.__setitem__("unit", 1), attribute("'label'", "unit")),
    (lambda file: file.create_group("state").attrs.__setitem__("unit", 1), attribute("'state'", "unit")),
    (lambda file: file.attrs.__setitem__("unit", 1), attribute("the file", "unit")),
    (lambda file: file.attrs.__setitem__("classes", ["a", "b"]), long_attribute("classes")),
    (lambda file: file.attrs.__setitem__("kind", "samples"), long_attribute("kind")),
    (lambda file: file.attrs.__setitem__("rows", 6.0), long_attribute("rows")),
    (lambda file: file.attrs.__setitem__("rows", np.zeros((1, 1), int)), long_attribute("rows")),
    (lambda file: file.attrs.__setitem__("rows", file["label"].ref), long_attribute("rows")),
]  # fmt: skip


@pytest.mark.parametrize(("change", "text"), refused)
def test_what_the_format_does_not_hold_is_refused(tmp_path, change, text):
    assert refusal(hostile(tmp_path / "a.h5", change)) == text


def test_one_array_under_many_names_is_refused(tmp_path):
    path = hostile(tmp_path / "a.h5", many_names_of_one)
    size = path.stat().st_size
    assert refusal(path).startswith(" is refused: 'weights/")
    assert " declares 8,000 bytes, and the file holds at most " in refusal(path)
    assert int(refusal(path).split("at most ")[1].split(" ")[0].replace(",", "")) < min(8000, size)


def test_an_attribute_longer_than_64_kib_is_not_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file.attrs.update(format=np.bytes_("fercli"), version=1, kind=np.bytes_("samples"), rows=0)
        file.attrs["classes"] = np.full(70_000, b"x")
    assert refusal(tmp_path / "a.h5") == long_attribute("classes")


def test_more_objects_than_a_store_has_are_refused(tmp_path):
    def change(file):
        for number in range(21):
            file[f"weights/{number}"] = 0

    path = hostile(tmp_path / "a.h5", change)
    read_all(path)
    with mock.patch("fercli.store.audit._MAX_OBJECTS", 20):
        assert refusal(path) == " is refused: 'weights/' holds more than 20 objects"
    with mock.patch("fercli.store.audit._MAX_OBJECTS", 5):
        assert refusal(path) == " is refused: the file holds more than 5 objects"


def test_a_file_that_begins_elsewhere_is_no_store(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512):
        pass
    assert refusal(tmp_path / "a.h5") == " is not a fercli store (not HDF5): make samples with fer ingest"


def test_a_sound_store_passes(tmp_path):
    """What is refused above is refused for the change: the store itself is read, and so is one made by plain h5py."""
    read_all(hostile(tmp_path / "a.h5", lambda file: None))
    read_all(hostile(tmp_path / "b.h5", put("label", data=rows)))
    read_all(hostile(tmp_path / "c.h5", put("label", data=rows, chunks=(4,)), libver="latest"))


# --- damage ----------------------------------------------------------------------------------------------------------

ROUNDS = 700


def test_damaged_bytes_never_crash():
    """In a process of its own, as a fault in libhdf5 would end it."""
    done = subprocess.run(module("tests.test_audit"), cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.returncode == 0
    outcomes = dict(zip(("read", "refused"), map(int, done.stdout.split()), strict=True))
    assert sum(outcomes.values()) == ROUNDS
    assert min(outcomes.values()) > ROUNDS // 10


def fuzz(folder):
    """Opens stores with a few bytes or a few whole numbers changed; counts those that are read and refused."""
    chain = {"provenance": [entry(), entry("detect")]}
    weights = {
        "weights/a": np.ones((3, 4), np.float32),
        "history/loss": np.ones(5),
        "trained_on": np.ones((5, 16), "u1"),
    }
    sound = [
        write(folder / "rows.h5", samples(20) | {"attribute/age": np.zeros(20, np.int16)}, documents=chain),
        write(folder / "photos.h5", photos(*[b"abc" * size for size in range(20)]), documents=chain),
        write(folder / "model.h5", kind="model", arrays=weights, documents=chain | {"model": {"name": "x"}}),
    ]
    sound = [Path(path).read_bytes() for path in sound]
    rng, outcomes = random.Random(0), Counter()
    with open(folder / "damaged.h5", "w+b") as file:
        for number in range(ROUNDS):
            data = bytearray(sound[number % len(sound)])
            for _ in range(rng.choice([1, 2, 5])):
                damage(data, rng)
            file.seek(0)
            file.write(data)
            file.truncate()
            file.flush()
            try:
                read_all(folder / "damaged.h5")
                outcomes["read"] += 1
            except DataError:
                outcomes["refused"] += 1
    return outcomes


def damage(data, rng):
    """Changes a number of 1 to 8 bytes to another that means something: none, all ones, an address in the file."""
    width = rng.choice([1, 2, 4, 8])
    at = rng.randrange(0, len(data) - width, width)
    values = [0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), rng.randrange(len(data)), rng.getrandbits(8 * width)]
    data[at : at + width] = (rng.choice(values) % 2 ** (8 * width)).to_bytes(width, "little")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        found = fuzz(Path(name))
    print(found["read"], found["refused"])
