"""A writer that is killed, or whose disk is full: the old output is there or the new one whole, and nothing is left."""

import errno
import json
import os
import re
import resource
import stat
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fercli.cli import COMMANDS
from fercli.errors import DataError, UsageError
from fercli.store import check_writable, disk_errors, replacing, temporary_folder

from .killing import EARLY
from .program import FER, ROOT, module
from .stores import samples, write
from .trees import photo

KILLS = 50

#: How each command that writes a file is run here: its arguments, in which {} is the folder of the inputs.
WRITING = {
    "ingest": ["ingest", "{}/photos"],
    "detect": ["detect", "--detector", "none", "--size", "20", "{}/faces.h5"],
    "gradients": ["gradients", "{}/faces.h5"],
    "augment": ["augment", "--horizontal-flip", "{}/faces.h5"],
    "split": ["split", "--train", "0.6", "--val", "0.2", "--test", "0.2", "{}/faces.h5"],
    "train": ["train", "--epochs", "2", "--batch", "32", "--threads", "1", "--device", "cpu", "--resume", "{}/few.h5"],
    "predict": ["predict", "-m", "{}/model.h5", "--device", "cpu", "{}/few.h5"],
    "export": ["export", "--format", "safetensors", "{}/model.h5"],
}
READING = {"eval", "info"}
RUNNING = {"recipe"}  # the other commands


def test_every_command_is_covered():
    assert set(WRITING) | READING | RUNNING == set(COMMANDS)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with photos, stores of faces, and a model."""
    folder = tmp_path_factory.mktemp("inputs")
    for number in range(60):
        path = folder / "photos" / ("angry", "happy")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(number, (24, 24)))
    rows = samples(600, 24) | {"split": np.zeros(600, np.int8)}
    write(folder / "faces.h5", {name: rows[name] for name in ("image", "label", "split", "source")})
    rows = samples(48, 22) | {"split": (np.arange(48) >= 32).astype(np.int8)}
    write(folder / "few.h5", {name: rows[name] for name in ("image", "label", "split", "source")})
    done = fer(*arguments("train", folder), "-o", str(folder / "model.h5"))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return folder


def older_output(command, target):
    """Puts what a command may replace at `target`, and gives its bytes."""
    if target.suffix == ".csv":
        target.write_text("source,status\n")
    elif command == "train":
        write(target, kind="model", arrays={"trained_on": np.zeros((1, 16), np.uint8)})
    elif command == "predict":
        rows = {"probability": np.full((2, 3), 1 / 3, np.float32), "predicted": np.zeros(2, np.int16)}
        write(target, rows, kind="predictions")
    elif command == "export":
        header = json.dumps({"__metadata__": {"provenance": json.dumps([{"key": "older"}])}}).encode()
        target.write_bytes(len(header).to_bytes(8, "little") + header)
    else:
        write(target, samples(seed=9))
    return target.read_bytes()


def arguments(command, folder):
    return [word.format(folder) for word in WRITING[command]]


def fer(*words, **options):
    return subprocess.run([*FER, *words], capture_output=True, text=True, timeout=120, **options)


def killed(command, inputs, target, kills=KILLS, by="SIGKILL"):
    """What came of killing a command whose output is `target`, at so many random moments or at every step."""
    words = [*arguments(command, inputs), "-o", str(target)]
    job = {"arguments": words, "target": str(target), "kills": kills, "signal": by}
    done = subprocess.run(
        module("tests.killing"), cwd=ROOT, input=json.dumps(job), capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.parametrize("command", WRITING)
def test_killed_at_random_moments(tmp_path, inputs, command):
    target = tmp_path / "out.h5"
    older_output(command, target)
    seen = killed(command, inputs, target)
    assert (seen["first"], seen["last"], seen["same"], seen["left"]) == (0, 0, True, [])
    assert (seen["other"], seen["broken"]) == (0, 0)
    assert seen["old"] + seen["new"] == KILLS
    assert seen["old"] > 0
    assert seen["litter"] <= (2 if command == "train" else 1)  # each run takes away what the one before it left


@pytest.mark.parametrize("command", ["ingest", "split"])
def test_interrupted_at_random_moments(tmp_path, inputs, command):
    """An interrupt also leaves no sibling, unless it comes as that is made."""
    target = tmp_path / "out.h5"
    older_output(command, target)
    seen = killed(command, inputs, target, kills=25, by="SIGINT")
    assert (seen["first"], seen["last"], seen["same"], seen["left"]) == (0, 0, True, [])
    assert (seen["other"], seen["old"] + seen["new"]) == (0, 25)
    assert {130} <= set(seen["statuses"]) <= {0, 130, EARLY}
    assert seen["litter"] <= 1


@pytest.mark.parametrize(("command", "name"), [("split", "out.h5"), ("predict", "out.csv")])
def test_killed_at_every_step(tmp_path, inputs, command, name):
    target = tmp_path / name
    older_output(command, target)
    seen = killed(command, inputs, target, kills=None)
    assert (seen["first"], seen["last"], seen["same"], seen["left"]) == (0, 0, True, [])
    assert (seen["other"], seen["litter"]) == (0, 1)
    assert seen["old"] + seen["new"] == seen["steps"] + 1
    assert seen["old"] > 3
    assert seen["new"] >= 1


def test_an_output_is_on_the_disk_before_it_takes_its_place_and_its_folder_after(tmp_path, monkeypatch):
    target, seen = tmp_path / "out", []

    def sync(handle):
        seen.append((stat.S_ISDIR(os.fstat(handle).st_mode), target.read_bytes()))

    target.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", sync)
    with replacing(target) as part:
        part.write_bytes(b"new")
    assert seen == [(False, b"old"), (True, b"new")]


@pytest.mark.parametrize(
    ("refused", "code"),
    [("chmod", errno.EPERM), ("the folder's fsync", errno.EACCES), ("the folder's fsync", errno.EIO)],
)
def test_what_a_file_system_refuses_beside_the_bytes_loses_nothing(tmp_path, monkeypatch, refused, code):
    """One without modes; a folder into which one may put files alone; one of a network that knows no folders."""
    change, opened = os.chmod, os.open

    def denied(path, *arguments, call, when):
        if when(path):
            raise OSError(code, os.strerror(code))
        return call(path, *arguments)

    if refused == "chmod":
        monkeypatch.setattr(os, "chmod", partial(denied, call=change, when=lambda path: True))
    else:
        monkeypatch.setattr(os, "open", partial(denied, call=opened, when=os.path.isdir))
    with replacing(tmp_path / "out") as part:
        part.write_bytes(b"new")
    assert (tmp_path / "out").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["out"]


# --- the disk --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", WRITING)
def test_a_file_over_the_size_limit(tmp_path, inputs, command):
    target = tmp_path / "out.h5"
    older = older_output(command, target)
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # noqa: E731
    done = fer(*arguments(command, inputs), "-q", "-o", str(target), preexec_fn=limit)
    written = f"{target}.checkpoint" if command == "train" else str(target)
    assert done.stderr == f"fer {command}: error: {written} grew over the file size limit: raise it with ulimit -f\n"
    assert (done.returncode, done.stdout) == (1, "")
    assert target.read_bytes() == older
    assert os.listdir(tmp_path) == ["out.h5"]


def test_a_full_disk(tmp_path, inputs):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    try:
        target = disk / "out.h5"
        older = older_output("split", target)
        done = fer(*arguments("split", inputs), "-q", "-o", str(target))
        assert done.stderr == (
            f"fer split: error: no space left to write {target}: free some, or choose another place with -o\n"
        )
        assert done.returncode == 1
        assert target.read_bytes() == older
        assert os.listdir(disk) == ["out.h5"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_standard_output_on_a_full_disk(inputs):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*FER, *arguments("split", inputs), "-q"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.stderr == (
        "fer split: error: no space left to write standard output: free some, or choose another place with -o\n"
    )
    assert done.returncode == 1


def test_a_full_folder_for_temporary_files(inputs, tmp_path):
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # noqa: E731
    code = (
        "import fercli.store.write as write, sys; write.MEMORY_SPOOL = 1000; "
        "from fercli.cli import main; sys.argv = ['fer', *sys.argv[1:]]; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments("split", inputs), "-q"],
        capture_output=True, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}, preexec_fn=limit,
    )  # fmt: skip
    where = f"a temporary file in {tmp_path}"
    assert done.stderr == f"fer split: error: {where} grew over the file size limit: raise it with ulimit -f\n"
    assert (done.returncode, done.stdout) == (1, "")


#: Makes a store over and over, each time with the next call to its file going wrong; HDF5 2.0 may crash, or at the end.
EACH_CALL = """
import errno, os, signal, sys
from unittest import mock
import fercli.store.write as write
from fercli.errors import DataError
from tests import stores

rows, target = stores.samples(2000, 24), sys.argv[1]

class Failing(write.Sink):
    def _write_all(self, data):
        left.pop() if left else error()
        super()._write_all(data)

class Interrupted(write.Sink):
    def seek(self, *place):
        left.pop() if left else signal.raise_signal(signal.SIGINT)
        return super().seek(*place)

def error():
    raise OSError(errno.ENOSPC, "")

for sink, told in ((Failing, DataError), (Interrupted, KeyboardInterrupt)):
    outcomes = set()
    for calls in range(10**6):
        left = [None] * calls
        try:
            with mock.patch.object(write, "Sink", sink):
                stores.write(target, rows, documents={"provenance": []})
            break
        except told as found:
            outcomes.add(str(found))
        assert not os.listdir(os.path.dirname(target))
    print(sink.__name__, calls > 20, outcomes, flush=True)
    stores.write(target + ".whole", rows, documents={"provenance": []})
    assert open(target, "rb").read() == open(target + ".whole", "rb").read()
    os.remove(target), os.remove(target + ".whole")
"""


def test_every_call_that_writes_may_fail_or_be_interrupted(tmp_path):
    target = tmp_path / "out.h5"
    done = subprocess.run([sys.executable, "-c", EACH_CALL, str(target)], cwd=ROOT, capture_output=True, text=True)
    told = f"no space left to write {target}: free some, or choose another place with -o"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Failing True {{'{told}'}}\nInterrupted True {{''}}\n"


# --- replacing -------------------------------------------------------------------------------------------------------


def test_a_target_is_replaced_and_keeps_its_permissions(tmp_path):
    target = tmp_path / "out"
    with replacing(target) as part:
        assert part.parent == tmp_path
        part.write_text("one")
    mask = os.umask(0o022)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask
    target.chmod(0o640)
    with replacing(target) as part:
        part.write_text("two")
    assert target.read_text() == "two"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_failure_leaves_the_target_and_no_sibling(tmp_path):
    target = tmp_path / "out"
    target.write_text("old")

    def fail():
        with replacing(target) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to("there/out")
    for text in ("one", "two"):  # it points at nothing at first
        with replacing(link) as part:
            part.write_text(text)
        assert link.is_symlink()
        assert (tmp_path / "there" / "out").read_text() == text


def test_siblings_of_dead_writers_go_and_those_of_living_ones_stay(tmp_path):
    target, odd = tmp_path / "out", tmp_path / "o[u]*t"
    (tmp_path / ".out.part-dead").touch()
    (tmp_path / ".out.part-other.h5").touch()
    (tmp_path / ".out2.part-dead").touch()
    (tmp_path / ".o[u]*t.part-dead").touch()
    with replacing(target) as first:
        with replacing(target) as second:
            assert {name.name for name in tmp_path.iterdir() if name.name.startswith(".out.")} == {
                first.name, second.name
            }  # fmt: skip
            second.write_text("second")
        first.write_text("first")
    with replacing(odd) as part:
        part.write_text("odd")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "o[u]*t", ".out2.part-dead"}
    assert target.read_text() == "first"


@pytest.mark.parametrize("name", ["a\nb", "ü" * 100, "\udcff.h5", " ", "-", ".hidden"])
def test_odd_names(tmp_path, name):
    with replacing(tmp_path / name) as part:
        part.write_text("x")
    assert os.listdir(tmp_path) == [name]


def test_a_name_that_leaves_no_room_for_a_sibling(tmp_path):
    target = tmp_path / ("ü" * 127 + "x")  # 255 bytes
    with replacing(target) as first, replacing(target) as second:
        assert first.exists()
        stale = tmp_path / f"{first.name}-dead"
        stale.touch()
        second.write_text("x")
    with replacing(target) as third:
        assert not stale.exists()
        third.write_text("y")
    assert os.listdir(tmp_path) == [target.name]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG])
def test_a_temporary_folder_that_is_full(code, monkeypatch):
    def fail():
        with temporary_folder() as folder:
            made.append(folder)
            with disk_errors(Path(folder, "p.h5")):
                raise OSError(code, "")

    made = []
    with pytest.raises(DataError) as error:
        fail()
    where = f"a temporary file in {tempfile.gettempdir()}"
    assert str(error.value) == {
        errno.ENOSPC: f"no space left to write {where}: free some, or choose another place with TMPDIR",
        errno.EFBIG: f"{where} grew over the file size limit: raise it with ulimit -f",
    }[code]  # fmt: skip
    assert not os.path.exists(made[0])


def test_another_error_in_a_temporary_folder_is_told_as_it_is():
    with pytest.raises(DataError, match=r"^there are no rows$"), temporary_folder():
        raise DataError("there are no rows")


def test_a_full_folder_for_what_eval_labels(inputs, tmp_path):
    """Its predictions are a file for a while."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # noqa: E731
    words = ("eval", "-q", "-m", f"{inputs}/model.h5", f"{inputs}/few.h5", "--split", "all")
    done = fer(*words, preexec_fn=limit)
    where = f"a temporary file in {tempfile.gettempdir()}"
    assert done.stderr == f"fer eval: error: {where} grew over the file size limit: raise it with ulimit -f\n"
    assert (done.returncode, done.stdout) == (1, "")


def refusal(target):
    with pytest.raises((DataError, UsageError)) as error:
        check_writable(target)
    with pytest.raises(type(error.value)) as again, replacing(target):
        pass
    assert str(again.value) == str(error.value)
    return str(error.value)


def test_targets_that_are_refused(tmp_path):
    assert refusal(tmp_path) == f"{tmp_path} is a folder: name a file in it, such as -o {tmp_path}/out.h5"
    assert refusal(tmp_path / "no" / "out.h5") == (
        f"the folder {tmp_path}/no of the output out.h5 does not exist: mkdir -p {tmp_path}/no"
    )
    for special in ("/dev/null", "/dev/full"):
        assert refusal(Path(special)) == f"{special} is no regular file: leave -o out to write to standard output"
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_folder_that_cannot_be_written():
    """As root, who may write anywhere, in the place of another user."""
    root = os.getuid() == 0
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o555)
        try:
            if root:
                os.setresuid(65534, 65534, 0)
            text = refusal(Path(name) / "out.h5")
        finally:
            if root:
                os.setresuid(0, 0, 0)
            os.chmod(name, 0o755)
    assert text == f"the folder {name} of the output out.h5 cannot be written: choose another with -o"


def test_an_error_of_another_file_is_not_told_as_one_of_the_target(tmp_path):
    def read_nothing():
        with replacing(tmp_path / "out"):
            (tmp_path / "none").read_text()

    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "none"))):
        read_nothing()

    def fill(code):
        with replacing(tmp_path / "out"):
            raise OSError(code, os.strerror(code))

    for code, text in (
        (errno.ENOSPC, "no space left to write {}: free some, or choose another place with -o"),
        (errno.EDQUOT, "no space left to write {}: free some, or choose another place with -o"),
        (errno.EFBIG, "{} grew over the file size limit: raise it with ulimit -f"),
        (errno.EIO, "{} could not be written: Input/output error"),
    ):
        with pytest.raises(DataError) as error:
            fill(code)
        assert str(error.value) == text.format(tmp_path / "out")
    with pytest.raises(BrokenPipeError):
        fill(errno.EPIPE)
