"""The contract of every command, for whatever commands there are."""

import contextlib
import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import click
import h5py
import numpy as np
import pytest

import fercli
from fercli.cli import COMMANDS, fer, main
from fercli.store import open_store

from .program import COLD, FER, shell
from .stores import samples, stdin_file, stdin_pipe, write
from .trees import photo

#: What makes each command work on the store S, and where it needs one, the model M.
SETTINGS = {
    "ingest": [],
    "detect": ["--detector", "none", "--size", "24"],
    "gradients": [],
    "augment": ["--horizontal-flip"],
    "split": ["--train", "0.5", "--val", "0.5", "--test", "0"],
    "train": ["--epochs", "1", "--threads", "1", "--device", "cpu"],
    "predict": ["-m", "M", "--device", "cpu", "--format", "store"],
    "export": ["--format", "safetensors"],
    "eval": ["-m", "M", "--split", "val"],
    "info": [],
}
STAGES = tuple(name for name in COMMANDS if name != "recipe")  # which has commands of its own
WRITING = tuple(name for name in STAGES if name not in ("eval", "info"))
STORE_READING = tuple(name for name in STAGES if name != "ingest")


def test_every_command_is_covered():
    assert set(SETTINGS) == set(STAGES)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A folder with a store of faces S, a model M trained on it, and photos."""
    folder = tmp_path_factory.mktemp("cli")
    rows = samples(40, 24) | {"split": (np.arange(40) >= 20).astype(np.int8)}
    kept = ("image", "label", "split", "source", "digest")
    write(folder / "S", {name: rows[name] for name in kept}, documents={"provenance": []})
    for number in range(3):
        (folder / "photos").mkdir(exist_ok=True)
        (folder / "photos" / f"{number}.png").write_bytes(photo(number, (24, 24)))
    done = subprocess.run(
        [*FER, "train", *SETTINGS["train"], "-q", folder / "S", "-o", folder / "M"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


class Done:
    """What a command gave."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err.decode()


@pytest.fixture
def call(capfdbinary, monkeypatch):
    """Runs `fer` within this process; standard input is a pipe into which `stdin` flows."""

    def run(*words, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["fer", *map(str, words)])
        capfdbinary.readouterr()
        with stdin_pipe(stdin), pytest.raises(SystemExit) as end:
            main()
        out, err = capfdbinary.readouterr()
        assert b"Traceback" not in err
        return Done(end.value.code, out, err)

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return run


def words_of(command, folder, *inputs):
    """A command with the settings that make it work, over inputs of its kind."""
    settings = [str(folder / word) if word == "M" else word for word in SETTINGS[command]]
    return [command, *settings, *map(str, inputs)]


def input_of(command, folder):
    return folder / {"ingest": "photos", "export": "M"}.get(command, "S")


# --- help -------------------------------------------------------------------------------------------------------------


def test_help_lists_the_commands(call):
    done = call("-h")
    assert (done.status, done.err) == (0, "")
    assert done.out == call("--help").out
    for name, text in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(text)}$", done.out.decode(), re.MULTILINE)


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version(call, flag):
    done = call(flag)
    assert (done.status, done.out.decode(), done.err) == (0, f"fer {fercli.__version__}\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_and_explains_each_option(call, command):
    done = call(command, "-h")
    assert (done.status, done.err) == (0, "")
    assert done.out == call(command, "--help").out
    text = done.out.decode()
    assert text.startswith(f"Usage: fer {command} ")
    assert re.search(rf"^ +(.+ \| )?fer {command} ", text, re.MULTILINE)
    found = fer.get_command(None, command)
    for option in found.params:
        assert isinstance(option, click.Argument) or option.help, option.name
        for flag in [] if isinstance(option, click.Argument) else option.opts:
            assert flag in text
    assert found.help


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_in_help_are_parsed(command):
    """Not run, but every option in them exists and takes what it is given."""
    examples = re.findall(r"^  (.*fer .+)$", fer.get_command(None, command).help, re.MULTILINE)
    assert examples
    assert any(f"fer {command} " in line for line in examples)
    for line in examples:
        for part in line.split(" | "):
            words = shlex.split(part.split(" > ")[0])
            if words[0] == "fer":
                fer.get_command(None, words[1]).make_context(words[1], words[2:])


# --- misuse -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option(call, command):
    done = call(command, "--nonsense")
    assert (done.status, done.out) == (2, b"")
    told = re.escape(f"fer {command}: error: No such option") + r":? '?--nonsense'?\.?( .+)?\n"
    assert re.fullmatch(told + re.escape(f"try: fer {command} --help\n"), done.err)


def test_an_unknown_command(call):
    done = call("detekt")
    assert (done.status, done.out) == (2, b"")
    assert done.err == "fer: error: there is no command 'detekt'; did you mean 'detect'?\ntry: fer --help\n"


@pytest.mark.parametrize("command", [name for name in STAGES if name != "info"])
def test_an_option_without_its_value(call, command):
    parameters = fer.get_command(None, command).params
    option = next(one.opts[0] for one in parameters if isinstance(one, click.Option) and not one.is_flag)
    done = call(command, option)
    assert (done.status, done.out) == (2, b"")
    assert done.err == f"fer {command}: error: Option '{option}' requires an argument.\ntry: fer {command} --help\n"


# --- input that will not do -------------------------------------------------------------------------------------------


def test_nothing_to_ingest(call):
    done = call("ingest")
    assert (done.status, done.out) == (2, b"")
    assert done.err == (
        "fer ingest: error: there is nothing to ingest: name a data set, an archive, a csv or photos, or --files-from\n"
    )
    done = call("ingest", "--files-from", "-")
    assert (done.status, done.err) == (1, "fer ingest: error: standard input lists no photos\n")


@pytest.mark.parametrize("command", STORE_READING)
def test_an_empty_stream(call, stores, command):
    done = call(*words_of(command, stores))
    assert (done.status, done.out) == (1, b"")
    assert done.err == (
        f"fer {command}: error: nothing arrived on standard input: the stage before this one failed or wrote nothing\n"
    )


@pytest.mark.parametrize("command", STORE_READING)
def test_a_truncated_stream(call, stores, command):
    data = (stores / "S").read_bytes()
    for length in (10, len(data) // 2, len(data) - 1):
        done = call(*words_of(command, stores), stdin=data[:length])
        assert (done.status, done.out) == (1, b"")
        assert done.err == (
            f"fer {command}: error: standard input is truncated or damaged ({length:,} bytes): make it again\n"
        )


@pytest.mark.parametrize("command", STAGES)
def test_a_missing_file(call, stores, command):
    done = call(*words_of(command, stores, "none\nsuch"))
    assert (done.status, done.out) == (1, b"")
    takes_photos = command in ("ingest", "predict")
    told = ": it cannot be read: No such file or directory" if takes_photos else " does not exist"
    assert done.err == f"fer {command}: error: none\\nsuch{told}\n"


@pytest.mark.parametrize("command", [name for name in STORE_READING if name != "predict"])
def test_a_file_of_something_else(call, stores, tmp_path, command):
    (tmp_path / "text").write_text("label,pixels\n")
    done = call(*words_of(command, stores, tmp_path / "text"))
    assert (done.status, done.out) == (1, b"")
    hint = "make a model with fer train" if command == "export" else "make samples with fer ingest"
    assert done.err == f"fer {command}: error: {tmp_path}/text is not a fercli store (not HDF5): {hint}\n"


@pytest.mark.parametrize("command", [name for name in STORE_READING if name != "info"])
def test_a_store_of_another_kind(call, stores, command):
    other, told = "M", "holds model, not samples: make samples with fer ingest"
    if command == "export":
        other, told = "S", "holds samples, not model: make a model with fer train"
    done = call(*words_of(command, stores, stores / other))
    assert (done.status, done.out) == (1, b"")
    assert done.err == f"fer {command}: error: {stores}/{other} {told}\n"


@pytest.mark.parametrize("command", STORE_READING)
def test_a_store_of_a_newer_version(call, stores, tmp_path, command):
    shutil.copy(stores / "S", tmp_path / "new")
    with h5py.File(tmp_path / "new", "r+") as file:
        file.attrs["version"] = np.int64(2)
    done = call(*words_of(command, stores, tmp_path / "new"))
    assert (done.status, done.out) == (1, b"")
    assert done.err == (
        f"fer {command}: error: {tmp_path}/new has store version 2 and this fer reads up to 1: install a newer fercli\n"
    )


@pytest.mark.parametrize("command", STORE_READING)
def test_a_hostile_store(call, stores, tmp_path, command):
    shutil.copy(stores / "S", tmp_path / "bad")
    with h5py.File(tmp_path / "bad", "r+") as file:
        del file["label"]
        file["label"] = h5py.ExternalLink(str(stores / "S"), "/label")
    done = call(*words_of(command, stores, tmp_path / "bad"))
    assert (done.status, done.out) == (1, b"")
    assert done.err == (
        f"fer {command}: error: {tmp_path}/bad is refused: 'label' is an external link, "
        f"and a store holds its own data\n"
    )


# --- output that will not do ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", WRITING)
def test_outputs_that_are_refused(call, stores, tmp_path, command):
    source = input_of(command, stores)
    for target, status, text in (
        ("none/out.h5", 1, "the folder {0}/none of the output out.h5 does not exist: mkdir -p {0}/none"),
        ("", 2, "{0} is a folder: name a file in it, such as -o {0}/out.h5"),
        ("/dev/null", 2, "/dev/null is no regular file: leave -o out to write to standard output"),
    ):
        done = call(*words_of(command, stores, source, "-o", tmp_path / target))
        assert (done.status, done.out) == (status, b"")
        assert done.err == f"fer {command}: error: {text.format(tmp_path)}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", WRITING)
def test_the_input_is_not_the_output(call, stores, tmp_path, command):
    name = "photo.png" if command == "ingest" else "S.h5"
    shutil.copy(stores / "photos" / "0.png" if command == "ingest" else stores / "S", tmp_path / name)
    before = (tmp_path / name).read_bytes()
    done = call(*words_of(command, stores, tmp_path / name, "-o", tmp_path / name))
    assert (done.status, done.out) == (2, b"")
    assert done.err == (
        f"fer {command}: error: {tmp_path}/{name} is both input and output: name another file with -o\n"
    )
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "--files-from", "OUT"],
        ["ingest", "--files-from", "OUT"],
        ["ingest", "PHOTO", "--ferplus", "OUT"],
        ["train", "S", "--init", "OUT"],
        ["train", "S", "--teacher", "M", "--teacher", "OUT"],
        ["detect", "S", "--weights", "OUT"],
    ],
)
def test_what_a_setting_names_is_not_the_output(call, stores, tmp_path, words):
    out = tmp_path / "out.h5"
    out.write_text(f"{stores}/photos/0.png\n")
    places = {"OUT": out, "S": stores / "S", "M": stores / "M", "PHOTO": stores / "photos" / "0.png"}
    done = call(*[places.get(word, word) for word in words], "-o", out)
    assert (done.status, done.out) == (2, b"")
    assert done.err.splitlines()[-1] == (
        f"fer {words[0]}: error: {out} is both input and output: name another file with -o"
    )
    assert out.read_text() == f"{stores}/photos/0.png\n"


def on_terminal(words, stdin=None, **environment):
    """Runs `fer` with a terminal as standard output and error; returns its status and what the terminal shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    child = subprocess.Popen(
        [*FER, *map(str, words)], stdin=stdin or subprocess.DEVNULL, stdout=theirs, stderr=theirs,
        env={name: value for name, value in os.environ.items() if name != "NO_COLOR"} | environment,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    return child.wait(), shown.decode().replace("\r\n", "\n")


def test_the_loss_within_an_epoch_stands_beside_the_bar(tmp_path):
    subprocess.run([*FER, "ingest", "synthetic:300", "-q", "-o", tmp_path / "faces.h5"], check=True)
    words = (
        "train",
        "--model",
        "zhao-separable",
        "--epochs",
        "1",
        "--batch",
        "2",
        "--threads",
        "1",
        "-o",
        tmp_path / "m.h5",
    )
    status, shown = on_terminal([*words, tmp_path / "faces.h5"])
    assert status == 0
    losses = re.findall(r"epoch 1/1: loss (\d\.\d{4})\]", shown)
    assert losses
    assert 0.1 < float(losses[-1]) < 3


@pytest.mark.parametrize("command", ["split", "ingest"])
def test_no_store_is_written_to_a_terminal(stores, command):
    status, shown = on_terminal(words_of(command, stores, input_of(command, stores)), NO_COLOR="1")
    assert status == 2
    assert shown.endswith(
        f"fer {command}: error: a store is binary and standard output is a terminal: add -o FILE.h5, or pipe it on\n"
    )
    assert "HDF" not in shown


@pytest.mark.parametrize("command", STORE_READING)
def test_a_terminal_is_not_read(capfdbinary, monkeypatch, stores, command):
    ours, theirs = pty.openpty()
    monkeypatch.setattr(sys, "argv", ["fer", *words_of(command, stores)])
    with stdin_file(os.fdopen(theirs, "rb")), pytest.raises(SystemExit) as end:
        main()
    os.close(ours)
    thing = "photos, a folder or a store" if command == "predict" else "a store, or pipe one in"
    text = f"fer {command}: error: standard input is a terminal: name {thing}\n"
    assert (end.value.code, capfdbinary.readouterr().err.decode()) == (2, text)


# --- runs that go well ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", STAGES)
def test_quiet_is_silent(call, stores, tmp_path, command):
    words = words_of(command, stores, input_of(command, stores), "-q")
    if command in WRITING:
        done = call(*words, "-o", tmp_path / "out.h5")
        assert (done.status, done.out, done.err) == (0, b"", "")
        assert (tmp_path / "out.h5").exists()
    else:
        done = call(*words)
        assert (done.status, done.err) == (0, "")
        assert done.out


@pytest.mark.parametrize("command", WRITING)
def test_the_cache(call, stores, tmp_path, command):
    source, target = input_of(command, stores), tmp_path / "out.h5"
    words = words_of(command, stores, source, "-o", target)
    told = re.compile(rf"fer {command}: {re.escape(str(target))} (.+) \(\d+\.\d s\)")

    def last(done):
        assert (done.status, done.out) == (0, b"")
        return told.fullmatch(done.err.splitlines()[-1])[1]

    assert last(call(*words, "-n")) == "would be written"
    assert not target.exists()
    first = call(*words)
    assert re.fullmatch(
        rf"fer {command}: (\d+ rows|the model) to {re.escape(str(target))} \(\d+\.\d s\)", first.err.splitlines()[-1]
    )
    os.utime(target, (1e9, 1e9))
    before, written = target.read_bytes(), os.stat(target).st_mtime_ns
    assert last(call(*words)) == "is up to date"
    assert last(call(*words, "--dry-run")) == "is up to date"
    assert os.stat(target).st_mtime_ns == written
    assert call(*words, "--force").status == 0
    assert os.stat(target).st_mtime_ns > written
    assert target.read_bytes() == before  # the same command, the same bytes
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("command", WRITING)
def test_a_machine_reads_the_summary(call, stores, tmp_path, command):
    target = tmp_path / "out.h5"
    done = call(*words_of(command, stores, input_of(command, stores), "--json", "-o", target))
    facts = json.loads(done.err)
    assert {name: facts[name] for name in ("stage", "output", "up_to_date", "dry_run", "failures")} == {
        "stage": command, "output": str(target), "up_to_date": False, "dry_run": False, "failures": [],
    }  # fmt: skip
    assert facts["rows"] == {"train": 0, "export": 0, "ingest": 3, "augment": 60}.get(command, 40)
    if command == "train":
        with open_store(target, "model") as model:
            assert facts["metrics"] == model.documents["model"]["metrics"]


@pytest.mark.parametrize("command", [name for name in WRITING if name not in ("ingest", "train")])
def test_a_stream_gives_what_a_file_gives(call, stores, tmp_path, command):
    source = input_of(command, stores)
    assert call(*words_of(command, stores, source, "-o", tmp_path / "out.h5")).status == 0
    done = call(*words_of(command, stores), stdin=source.read_bytes())
    assert done.status == 0
    assert done.out == (tmp_path / "out.h5").read_bytes()
    assert done.err.splitlines()[-1].startswith(f"fer {command}: ")


def test_stages_flow_through_a_real_pipe(stores, tmp_path):
    line = "fer ingest -q photos | fer detect -q --detector none --size 24 | fer gradients -q | fer info --count"
    done = shell(line, stores)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")
    done = shell(f"fer split -q --folds 2 < S > {tmp_path}/out && fer info --count - < {tmp_path}/out", stores)
    assert (done.returncode, done.stdout, done.stderr) == (0, "40\n", "")


def test_a_stage_that_fails_fails_the_pipe(stores):
    done = shell("fer detect -q none.h5 | fer info", stores)  # without pipefail
    assert (done.returncode, done.stdout) == (1, "")
    assert sorted(done.stderr.splitlines()) == [
        "fer detect: error: none.h5 does not exist",
        "fer info: error: nothing arrived on standard input: the stage before this one failed or wrote nothing",
    ]


# --- rows that fail ---------------------------------------------------------------------------------------------------


@pytest.fixture
def bad_photos(stores, tmp_path):
    shutil.copytree(stores / "photos", tmp_path / "photos")
    (tmp_path / "photos" / "bad.png").write_bytes(photo(9, (24, 24))[:60])
    return tmp_path / "photos"


def test_a_bad_photo_ends_ingest_or_is_counted(call, bad_photos, tmp_path):
    words = ["ingest", bad_photos, "-o", tmp_path / "out.h5"]
    done = call(*words)
    assert (done.status, (tmp_path / "out.h5").exists()) == (1, False)
    assert re.fullmatch(
        r"fer ingest: error: \S*bad\.png: .+; leave such rows out with --on-error skip", done.err.splitlines()[-1]
    )
    for _ in range(2):  # the second run does not take the first for a success
        done = call(*words, "--on-error", "skip")
        assert done.status == 4
        assert re.fullmatch(r"fer ingest: 3 rows to \S+, 1 failed \(\d+\.\d s\)", done.err.splitlines()[-1])
        assert re.search(r"^fer ingest: failed: \S*bad\.png: .+$", done.err, re.MULTILINE)
    done = call(*words, "--on-error", "skip", "-q")
    assert done.status == 4
    assert re.fullmatch(r"fer ingest: failed: \S*bad\.png: .+\n", done.err)  # told even so


def test_a_bad_photo_has_a_row_in_predictions(call, stores, bad_photos):
    done = call("predict", "-m", stores / "M", "--device", "cpu", "--detector", "none", bad_photos)
    assert done.status == 4
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "error"]
    assert rows[-1]["error"]
    assert "1 failed" in done.err.splitlines()[-1]


def test_a_failed_gate(call, stores):
    done = call(*words_of("eval", stores, stores / "S"), "--min", "accuracy=1")
    assert done.status == 3
    assert re.fullmatch(
        r"fer eval: gate failed: accuracy is 0\.\d+ on val \(\d+ rows\), below the required 1\n", done.err
    )
    assert call(*words_of("eval", stores, stores / "S"), "--min", "accuracy=0").status == 0


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["--baseline", "none.json"], 1, "none.json cannot be read: No such file or directory"),
        (["--min", "recall.hapy=0.5"], 2, "--min recall.hapy: there is no class 'hapy'; did you mean 'recall.happy'?"),
    ],
)
def test_what_a_gate_lacks_is_told_before_the_model_labels(call, stores, monkeypatch, words, status, told):
    monkeypatch.setattr("fercli.stages.predict.store", None)
    done = call(*words_of("eval", stores, stores / "S"), *words)
    assert (done.status, done.err) == (status, f"fer eval: error: {told}\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--min", "f1.happy=0.5"], "f1.happy cannot be judged: val has no row labelled 'happy'"),
        (["--min", "macro_f1=0.5"], "macro_f1 cannot be judged: it is a mean over classes, and val has no row labelled "
                                    "'happy' or 'neutral'; gate on accuracy or on the f1.CLASS of the others"),
        (["--baseline", "BASE"], "{0}/BASE is of train and {0}/angry.h5 of val: choose one with --split"),
        ([], "{0}/angry.h5 has no column label: there is nothing to compare the predictions with"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_told_before_the_model_labels(call, stores, tmp_path, monkeypatch, words, told):
    base = call("eval", "-m", stores / "M", stores / "S", "--split", "train", "--json")
    (tmp_path / "BASE").write_bytes(base.out)
    rows = samples(40, 24) | {"split": (np.arange(40) >= 20).astype(np.int8)}
    rows["label"][20:] = 0  # angry
    kept = ("image", "label", "split", "source") if words else ("image", "split", "source")
    write(tmp_path / "angry.h5", {name: rows[name] for name in kept}, documents={"provenance": []})
    monkeypatch.setattr("fercli.stages.predict.store", None)
    words = [tmp_path / word if word == "BASE" else word for word in words]
    done = call("eval", "-m", stores / "M", tmp_path / "angry.h5", "--split", "val", *words)
    assert (done.status, done.err) == (1, f"fer eval: error: {told.format(tmp_path)}\n")


def test_a_working_folder_that_is_gone(stores, tmp_path):
    done = shell(f"mkdir gone; cd gone; rmdir ../gone; exec python -m fercli info {stores}/S", tmp_path)
    assert done.stderr == "fer: error: the folder in which this runs is no longer there: cd to another\n"
    assert (done.returncode, done.stdout) == (1, "")


# --- the terminal -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [["predict", "-m", "M", "--device", "cpu", "S"], ["info", "S"], ["split", "--folds", "2", "S"]]
)
def test_a_reader_that_leaves_early(stores, words):
    done = shell(f"fer {shlex.join(words)} -q | head -c 1 > /dev/null; exit ${{PIPESTATUS[0]}}", stores)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "status", "made"),
    [
        (["train", "--epochs", "3", "--device", "cpu", "S", "-o", "out.h5"], 0, True),
        (["split", "--folds", "2", "S", "-o", "out.h5", "--json"], 0, True),
        (["info", "--debug", "none.h5"], 1, False),
        (["info", "--no-such-option"], 2, False),
        ([], 2, False),
    ],
)
def test_a_reader_of_the_messages_that_leaves_early(stores, tmp_path, words, status, made):
    reading, writing = os.pipe()
    os.close(reading)
    words = [str(stores / word) if word == "S" else word for word in words]
    with os.fdopen(writing, "wb") as messages:
        done = subprocess.run([*FER, *words], stdout=subprocess.PIPE, stderr=messages, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, b"")
    assert os.listdir(tmp_path) == (["out.h5"] if made else [])
    assert not made or subprocess.run([*FER, "info", "out.h5"], cwd=tmp_path, capture_output=True).returncode == 0


def test_both_streams_in_one_pipe_whose_reader_leaves(stores, tmp_path):
    line = f"fer train --epochs 3 --device cpu {stores}/S -o out.h5 2>&1 | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = shell(line, tmp_path)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")
    assert os.listdir(tmp_path) == ["out.h5"]


def test_colours_and_how_to_have_none(stores):
    text = "fer info: {}: none.h5 does not exist\n"
    assert on_terminal(["info", "none.h5"]) == (1, text.format("\x1b[31m\x1b[1merror\x1b[0m"))
    assert on_terminal(["info", "none.h5"], NO_COLOR="1") == (1, text.format("error"))


def test_progress_is_for_terminals(stores, tmp_path):
    words = words_of("gradients", stores, stores / "S", "-f", "-o", tmp_path / "out.h5")
    _, shown = on_terminal(words, NO_COLOR="1")
    assert "\r" in shown
    _, shown = on_terminal([*words, "-q"], NO_COLOR="1")
    assert shown == ""


def wait_for_reading(child):
    """Until a command has read the first byte of its input, and waits for more."""
    os.write(child.stdin.fileno(), b"x")
    wait_until(lambda: child.poll() is not None or not any(fcntl.ioctl(child.stdin, termios.FIONREAD, bytes(4))))


def wait_until(reached):
    deadline = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "told"),
    [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated"), (signal.SIGHUP, "terminated")],
)
@pytest.mark.parametrize("command", ["ingest", "split"])
def test_an_interrupt(command, number, told):
    child = subprocess.Popen(
        [*COLD, command, *({"ingest": ["--files-from", "-"], "split": ["--folds", "2"]}[command])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for_reading(child)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    status = -number if number == signal.SIGINT else 128 + number
    assert (child.returncode, out, err) == (status, "", f"\nfer {command}: error: {told}\n")


def test_an_interrupt_ends_the_loop_of_a_shell_too():
    loop = f"for number in 1 2; do echo $number; {shlex.join(COLD)} split --folds 2; done; echo went on"
    child = subprocess.Popen(
        ["bash", "-c", loop], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    wait_for_reading(child)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (-signal.SIGINT, "1\n", "\nfer split: error: interrupted\n")


def test_two_interrupts_that_come_together_are_one():
    child = subprocess.Popen(
        [*COLD, "ingest", "--files-from", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for_reading(child)
    child.send_signal(signal.SIGINT)
    time.sleep(0.005)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (-signal.SIGINT, "\nfer ingest: error: interrupted\n")


def test_the_exit_code_where_nothing_can_be_told():
    with open("/dev/full", "w") as full:
        child = subprocess.Popen([*COLD, "ingest", "--files-from", "-"], stdin=subprocess.PIPE, stderr=full)
    wait_for_reading(child)
    child.send_signal(signal.SIGHUP)
    child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGHUP


def test_an_interrupt_while_the_program_is_loaded(tmp_path):
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(fercli.__file__).parents[1]}"}
    done = subprocess.run([*COLD, "info"], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_what_is_terminated_leaves_no_temporary_files(stores, tmp_path_factory):
    """Though it is told twice, as timeout does."""
    tmp_path = tmp_path_factory.mktemp("temporary")
    env = os.environ | {"TMPDIR": str(tmp_path)}
    with open_store(stores / "S") as few:
        block = next(few.blocks())
        many = write(
            tmp_path_factory.mktemp("many") / "faces.h5", *[block] * 500, classes=few.classes, channels=few.channels
        )
    words = ["eval", "-m", str(stores / "M"), many, "--split", "all"]
    child = subprocess.Popen([*COLD, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    while not any(tmp_path.glob("*/.*")) and child.poll() is None:  # the folder has its first file
        time.sleep(0.001)
    child.terminate()
    child.terminate()
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (143, "", "\nfer eval: error: terminated\n")
    assert list(tmp_path.iterdir()) == []


def test_a_traceback_is_shown_on_demand(stores, monkeypatch, capfdbinary):
    monkeypatch.setattr(sys, "argv", ["fer", "info", "--debug", "none.h5"])
    with pytest.raises(SystemExit, match="1"):
        main()
    shown = capfdbinary.readouterr().err.decode()
    assert shown.startswith("Traceback (most recent call last):\n")
    assert shown.endswith("fer info: error: none.h5 does not exist\n")


def test_rows_go_to_devices_and_pipes_too(stores, tmp_path):
    words = f"predict -q -m {stores}/M --device cpu --detector none {stores}/photos"
    done = shell(f"fer {words} -o /dev/null && fer {words} -o >(cat > {tmp_path}/piped)", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    whole = shell(f"fer {words}", tmp_path).stdout
    wait_until(lambda: (tmp_path / "piped").read_text() == whole)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ingest", ""], "an input is empty, as a shell's variable that is not set leaves it: name a file or a folder"),
        (["predict", "", "photo.png"], "an input is empty, as a shell's variable that is not set leaves it: "
                                       "name a file or a folder"),
    ],
)  # fmt: skip
def test_an_input_without_a_name(call, words, told):
    done = call(*words)
    assert (done.status, done.out, done.err) == (2, b"", f"fer {words[0]}: error: {told}\n")


@pytest.mark.parametrize(
    ("line", "status", "told"),
    [
        ("info {S} >&-", 1, "fer info: error: standard output is closed: send it to a file or a pipe\n"),
        ("predict -q -m {M} {S} >&-", 1, "fer predict: error: standard output is closed: "
                                         "send it to a file or a pipe\n"),
        ("info {S} > /dev/full", 1, "fer info: error: no space left to write standard output: free some, or choose "
                                     "another place\n"),
        ("predict -q -m {M} --detector none {photo} > /dev/full", 1, "fer predict: error: no space left to write "
            "standard output: free some, or choose another place with -o\n"),
        ("predict -q -m {M} {S} > /dev/full", 1, "fer predict: error: no space left to write standard output: "
                                                "free some, or choose another place with -o\n"),
        ("info 0> {out}", 1, "fer info: error: standard input cannot be read: give it with < or a pipe\n"),
        ("split -q --folds 2 {S} -o {out} >&-", 0, ""),
        ("split --folds 2 {S} -f -o {out} 2>&-", 0, ""),
        ("split --folds 2 <&-", 1, "fer split: error: nothing arrived on standard input: "
                                   "the stage before this one failed or wrote nothing\n"),
        ("predict -m {M} <&-", 1, "fer predict: error: nothing arrived on standard input: "
                                  "the stage before this one failed or wrote nothing\n"),
    ],
)  # fmt: skip
def test_a_standard_stream_that_is_closed_or_full(stores, tmp_path, line, status, told):
    line = line.format(S=stores / "S", M=stores / "M", photo=stores / "photos" / "0.png", out=tmp_path / "out.h5")
    done = subprocess.run(["bash", "-c", f"{shlex.join(COLD)} {line}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (status, told)


def test_no_command_shows_the_help(call):
    done = call()
    assert (done.status, done.out) == (2, b"")
    assert done.err == call("-h").out.decode()


def test_all_failed_rows_are_named_on_demand(call, tmp_path):
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(photo() if number == 7 else b"")
    few = call("ingest", "--on-error", "skip", tmp_path, "-f", "-o", tmp_path / "out.h5")
    assert [line for line in few.err.splitlines() if "failed: " in line][5:] == [
        "fer ingest: failed: 2 more; -v names all"
    ]
    every = call("ingest", "--on-error", "skip", "-v", tmp_path, "-f", "-o", tmp_path / "out.h5")
    assert [line for line in every.err.splitlines() if "failed: " in line] == [
        f"fer ingest: failed: {number}.png: the file is empty (zero bytes)" for number in range(7)
    ]


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["synthetic:3"], 1, "synthetic:3 is no photo: draw it into a store with fer ingest, and label that"),
        (["--split", "val", "PHOTO"], 2, "--split chooses rows of a store, and photos are of no split: leave it out"),
    ],
)
def test_what_predict_cannot_label(call, stores, words, status, told):
    words = [stores / "photos" / "0.png" if word == "PHOTO" else word for word in words]
    done = call("predict", "-m", stores / "M", "--device", "cpu", *words)
    assert (done.status, done.out, done.err) == (status, b"", f"fer predict: error: {told}\n")


@pytest.mark.parametrize("command", ["ingest", "predict"])
def test_zero_bytes_end_the_paths_of_a_list(call, stores, tmp_path, command):
    told = "-0 tells how the paths in a list end: add --files-from FILE, or - for standard input"
    words = [command, *(["-m", stores / "M", "--device", "cpu"] if command == "predict" else ["-o", tmp_path / "out"])]
    done = call(*words, "-0", stores / "photos" / "0.png")
    assert (done.status, done.out, done.err) == (2, b"", f"fer {command}: error: {told}\n")
    assert call(*words, "-0", "--files-from", "-", stdin=os.fsencode(stores / "photos" / "0.png")).status == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(call, monkeypatch, shell):
    monkeypatch.setenv("_FER_COMPLETE", f"{shell}_source")
    done = call()
    assert (done.status, done.err) == (0, "")
    assert "_FER_COMPLETE" in done.out.decode()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("fer ", list(COMMANDS)),
        ("fer in", ["ingest", "info"]),
        ("fer detect --on-m", ["--on-miss"]),
        ("fer detect --on-miss ", ["drop", "keep", "fail"]),
        ("fer info S", ["S"]),
        ("fer ingest S", ["S"]),
        ("fer split -o S", ["S"]),
        ("fer train --init S", ["S"]),
        ("fer predict --annotate S", ["S"]),
        ("fer recipe run --data S", ["S"]),
        ("fer recipe show S", ["S"]),
        ("fer recipe show nj", ["njoku"]),
        ("fer predict -m S", ["S"]),
        ("fer eval --baseline S", ["S"]),
    ],
)
def test_completion(call, monkeypatch, line, found):
    monkeypatch.setenv("_FER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    answers = [one.split(",") for one in call().out.decode().split()]
    assert [one for _, one in answers] == found
    assert {kind for kind, _ in answers} == {"file" if found == ["S"] else "plain"}


def test_a_completion_script_works_in_bash(tmp_path):
    """bash itself reads the script and asks for the words."""
    script = (
        'eval "$(_FER_COMPLETE=bash_source fer)"; COMP_WORDS=(fer in); COMP_CWORD=1; '
        '_fer_completion fer in fer; echo "${COMPREPLY[@]}"'
    )
    done = shell(script, tmp_path)
    assert (done.stdout, done.stderr) == ("ingest info\n", "")


def test_names_that_are_not_text(call, stores, tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xffe\n.h5"))
    assert call("split", "--folds", "2", stores / "S", "-o", odd).status == 0
    done = call("info", odd)
    assert (done.status, done.err) == (0, "")
    assert done.out.decode().startswith(f"{tmp_path}/f\\udcffe\\n.h5: samples, 40 rows\n")
    assert call("info", f"{odd}x").err == f"fer info: error: {tmp_path}/f\\udcffe\\n.h5x does not exist\n"
