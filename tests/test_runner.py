"""The runner: when a stage runs and when its output is current, what it records, and what a failure leaves behind."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from unittest import mock
from unittest.mock import Mock

import h5py
import numpy as np
import pytest

from fercli import __version__
from fercli.errors import DataError, UsageError
from fercli.spec import Spec, option
from fercli.stages import runner
from fercli.stages.runner import Log, Outcome, Stage, check_output, key, recorded_key, run_on_stores
from fercli.store import open_store

from .stages import write_again
from .stores import entry, samples, write


@dataclasses.dataclass(frozen=True)
class ShiftSpec(Spec):
    """Settings of a stage that adds a number to the pixels."""

    by: int = option(1, "What to add.")


class Counted:
    """A stage that counts how often it ran."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, src, dst, spec, log):
        self.runs += 1
        dst.start("samples", src.classes, src.channels)
        for block in src.blocks():
            bad = block["label"] < 0
            for source in block["source"][bad]:
                log.failed(source, "no label")
            kept = {name: values[~bad] for name, values in block.items()}
            dst.append(kept | {"image": kept["image"] + np.uint8(spec.by)})


@pytest.fixture
def source(tmp_path):
    good = samples() | {"label": np.zeros(6, np.int16)}
    return write(tmp_path / "in.h5", good, documents={"provenance": [entry()]})


@pytest.fixture
def target(tmp_path):
    return str(tmp_path / "out.h5")


def run(work, source, target, spec=None, *, on_error="fail", name="shift", **options):
    inputs = [source] if isinstance(source, str) else source
    return run_on_stores(Stage(name, work), inputs, target, spec or ShiftSpec(), Log(on_error), **options)


def test_a_run_tells_what_it_did_and_writes_it(source, target):
    work = Counted()
    assert run(work, source, target) == Outcome("shift", target, rows=6)
    with open_store([source]) as before, open_store(target) as after:
        assert (after.column("image") == before.column("image") + np.uint8(1)).all()


def test_an_output_that_is_current_is_left_alone(source, target):
    work = Counted()
    run(work, source, target)
    before = os.stat(target)
    again = run(work, source, target)
    assert (again.up_to_date, again.rows, work.runs) == (True, 0, 1)
    after = os.stat(target)  # reading it may move its time of access
    assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (before.st_ino, before.st_mtime_ns, before.st_mode)


def test_force_runs_again_and_gives_the_same_bytes(source, target):
    work = Counted()
    run(work, source, target)
    before = Path(target).read_bytes()
    assert not run(work, source, target, force=True).up_to_date
    assert work.runs == 2
    assert Path(target).read_bytes() == before


def change_input(source):
    write(source, samples(seed=1) | {"label": np.zeros(6, np.int16)})


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("setting", {"spec": ShiftSpec(by=2)}),
        ("stage", {"name": "other"}),
        ("input", change_input),
        ("version", lambda _: mock.patch("fercli.stages.runner.__version__", "99").start()),
        ("one input more", {"source": 2}),
    ],
)
def test_whatever_an_output_depends_on_makes_it_stale(source, target, what, change):
    work = Counted()
    run(work, source, target)
    if callable(change):
        change(source)
        change = {}
    if "source" in change:
        change = {"source": [source, shutil.copy(source, f"{source}.copy")]}
    try:
        assert not run(work, **{"source": source, "target": target} | change).up_to_date
        assert work.runs == 2
        assert run(work, **{"source": source, "target": target} | change).up_to_date
    finally:
        mock.patch.stopall()


def test_the_name_of_an_input_does_not_matter(source, target, tmp_path):
    work = Counted()
    run(work, source, target)
    moved = str(tmp_path / "moved.h5")
    os.rename(source, moved)
    assert run(work, moved, target).up_to_date


@pytest.mark.parametrize("there", ["model", "foreign"])
def test_what_the_stage_does_not_write_is_replaced_by_force_alone(source, target, there):
    if there == "model":
        write(target, kind="model", arrays={"trained_on": np.zeros((1, 16), np.uint8)})
    else:
        with h5py.File(target, "w") as other:
            other["weights"] = np.zeros(9)
    before = Path(target).read_bytes()
    with pytest.raises(UsageError) as caught:
        run(Counted(), source, target)
    assert (
        str(caught.value) == f"{target} is there and is no store of samples: name another file with -o, or add --force"
    )
    assert Path(target).read_bytes() == before
    assert run(Counted(), source, target, force=True).rows == 6


def test_an_output_that_cannot_be_read_is_not_replaced(source, target, monkeypatch):
    write(target, samples())
    monkeypatch.setattr(runner, "opened", Mock(side_effect=DataError(f"{target} cannot be read: Permission denied")))
    with pytest.raises(DataError, match=r"cannot be read: Permission denied$"):
        run(Counted(), source, target)


@pytest.mark.parametrize("there", [b"", "truncated", "no provenance"])
def test_an_output_that_is_no_complete_store_is_made_again(source, target, there):
    work = Counted()
    run(work, source, target)
    whole = Path(target).read_bytes()
    if there == "no provenance":
        write(target, samples())
    else:
        Path(target).write_bytes(whole[:-1] if there == "truncated" else there)
    assert recorded_key(target) is None
    assert not run(work, source, target).up_to_date
    assert Path(target).read_bytes() == whole


def test_a_dry_run_only_tells(source, target):
    work = Counted()
    assert run(work, source, target, dry_run=True).dry_run
    assert (work.runs, Path(target).exists()) == (0, False)
    run(work, source, target)
    told = run(work, source, target, dry_run=True)
    assert (told.up_to_date, told.dry_run, work.runs) == (True, False, 1)
    assert run(work, source, target, ShiftSpec(by=3), dry_run=True).dry_run
    assert run(work, source, target, force=True, dry_run=True).dry_run
    assert work.runs == 1


def test_nothing_is_made_of_an_input_that_changes_meanwhile(source, target):
    def work(src, dst, spec, log):
        Counted()(src, dst, spec, log)
        write_again(Path(source))

    with pytest.raises(DataError) as error:
        run(work, source, target)
    assert str(error.value) == f"{source} changed while it was read: type the same command again"
    assert not Path(target).exists()


def test_provenance_is_a_chain(source, target, tmp_path):
    run(Counted(), source, target)
    second = str(tmp_path / "second.h5")
    run(Counted(), target, second, ShiftSpec(by=5), name="again")
    with open_store(source) as first, open_store(target) as middle, open_store(second) as last:
        assert last.provenance == [
            entry(),
            {
                "stage": "shift", "spec": {"by": 1}, "version": __version__, "inputs": [first.digest], "rows": 6,
                "failed": 0, "key": key("shift", ShiftSpec(), [first.digest]),
            },
            {
                "stage": "again", "spec": {"by": 5}, "version": __version__, "inputs": [middle.digest], "rows": 6,
                "failed": 0, "key": key("again", ShiftSpec(by=5), [middle.digest]),
            },
        ]  # fmt: skip
    assert str(tmp_path) not in Path(second).read_bytes().decode("latin-1")


def test_rows_that_fail_are_counted_and_named(tmp_path, target):
    source = write(tmp_path / "in.h5", samples())  # rows 0 and 4 have no label
    outcome = run(Counted(), source, target, on_error="skip")
    assert outcome.failures == [("photo 0.jpg", "no label"), ("photo 4.jpg", "no label")]
    assert outcome.rows == 4
    assert json.loads(json.dumps(outcome.as_dict()))["failures"] == [
        {"source": "photo 0.jpg", "reason": "no label"}, {"source": "photo 4.jpg", "reason": "no label"},
    ]  # fmt: skip
    with open_store(target) as store:
        assert (store.provenance[-1]["rows"], store.provenance[-1]["failed"]) == (4, 2)


def test_an_output_that_lacks_rows_is_made_again(tmp_path, target):
    """So that the failure is told each time, and mended rows come in."""
    source, work = write(tmp_path / "in.h5", samples()), Counted()
    for _ in range(2):
        outcome = run(work, source, target, on_error="skip")
        assert (outcome.up_to_date, len(outcome.failures)) == (False, 2)
    assert work.runs == 2


def test_a_row_that_fails_ends_a_run_that_is_to_fail(tmp_path, source, target):
    run(Counted(), source, target)
    before = Path(target).read_bytes()
    bad = write(tmp_path / "bad.h5", samples())
    with pytest.raises(DataError) as error:
        run(Counted(), bad, target)
    assert str(error.value) == "photo 0.jpg: no label; leave such rows out with --on-error skip"
    assert Path(target).read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["bad.h5", "in.h5", "out.h5"]


def test_a_stage_without_rows_is_an_error(source, target):
    with pytest.raises(DataError, match=r"^fer shift found no rows to write$"):
        run(lambda *_: None, source, target)
    assert not Path(target).exists()


@pytest.mark.parametrize("link", ["same", "symbolic", "hard", "relative"])
def test_an_output_that_is_an_input_is_refused(source, tmp_path, monkeypatch, link):
    target = {"same": source, "relative": "in.h5"}.get(link, str(tmp_path / "link.h5"))
    monkeypatch.chdir(tmp_path)
    if link == "symbolic":
        os.symlink(source, target)
    elif link == "hard":
        os.link(source, target)
    before = Path(source).read_bytes()
    with pytest.raises(UsageError) as error:
        run(Counted(), ["-", source], target)
    assert str(error.value) == f"{target} is both input and output: name another file with -o"
    assert Path(source).read_bytes() == before


@pytest.mark.parametrize("name", ["a.jpg", "A.PNG", "clip.mp4"])
def test_an_output_named_as_a_photo_or_a_video_is_refused(source, tmp_path, name):
    (tmp_path / name).write_bytes(b"a picture")  # as behind -o *.jpg
    with pytest.raises(UsageError) as error:
        run(Counted(), [source], str(tmp_path / name))
    assert str(error.value) == (
        f"{tmp_path}/{name} has the name of a photo or video, and what is written is neither: name it otherwise"
    )
    assert (tmp_path / name).read_bytes() == b"a picture"


def test_an_output_that_cannot_be_written_is_refused_before_the_input_is_read(tmp_path):
    for name, kind, text in (
        ("none/out.h5", DataError, "the folder {0}/none of the output out.h5 does not exist: mkdir -p {0}/none"),
        ("", UsageError, "{0} is a folder: name a file in it, such as -o {0}/out.h5"),
    ):
        with pytest.raises(kind) as error:
            check_output(["missing.h5"], str(tmp_path / name))
        assert str(error.value) == text.format(tmp_path)
    check_output(["missing.h5", "-"], "-")


def test_silence_is_an_interface():
    log = Log()
    for told in (log.note, log.total, log.advance):
        assert told("x") is None
    assert log.failures == []


def test_the_log_hands_on_to_the_interface():
    heard = mock.Mock()
    log = Log("skip", heard)
    log.note("a")
    log.total(3)
    log.advance(2)
    log.failed("x", "y")
    assert heard.mock_calls == [mock.call.note("a"), mock.call.total(3), mock.call.advance(2)]
    assert log.failures == [("x", "y")]
