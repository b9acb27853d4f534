"""Several processes: together they give what one gives, one of them writes, and none waits for one that is lost."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from fercli.cli import fer
from fercli.cli.console import Console
from fercli.errors import UsageError
from fercli.learn import ranks
from fercli.learn.device import choose_device
from fercli.ops import parallel
from fercli.stages.runner import Log, run_on_stores
from fercli.stages.train import TrainSpec, stage
from fercli.store import open_store
from tests import sharing
from tests.learning import assert_near, bands, write_bands
from tests.program import COLD, FER, module

torch.set_num_threads(1)

SECONDS = 120  # after which a run is taken to hang
# Plain descent: Adam divides by what is near nothing, and so makes a last bit that differs by the processor grow.
TRAIN = {"model": "njoku", "epochs": 3, "batch": 15, "dropout": 0.0, "optimizer": "sgd", "lr": 0.02}
TRAIN |= {"device": "cpu", "threads": 1, "seed": 4}


TORCHRUN, TWO = "torch.distributed.run", ("--standalone", "--nproc-per-node=2")


def warm(name, *arguments):
    """A command line for two processes, where torchrun and what it starts have loaded all that takes time already."""
    return [*module(TORCHRUN), *TWO, "--no-python", *module(name), *map(str, arguments)]


def run(line):
    """Exit status, standard output, and the lines of fer on standard error."""
    done = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, env=ENVIRON)
    print(done.stderr)  # pytest shows it where a test fails
    return done.returncode, done.stdout, said(done.stderr)


def alone(*arguments):
    """Runs a command in this process; its exit status."""
    return fer.main(list(map(str, arguments)), prog_name="fer", standalone_mode=False, obj=Console()) or 0


def said(text):
    return [line for line in text.splitlines() if line.startswith("fer ")]


#: The program, which gives up a process that does not answer sooner.
HASTY = module("tests.hasty")
ENVIRON = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[1])}


def flags(settings):
    return [text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", value)]


def history(path):
    with open_store(path, "model") as model:
        return {name: np.asarray(values) for name, values in model.arrays("history").items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_bands(tmp_path_factory.mktemp("data") / "bands.h5")


@pytest.fixture(scope="module")
def model(data):
    """A model that two processes have trained."""
    path = data.with_name("two.h5")
    status, out, lines = run(warm("fercli", "train", *flags(TRAIN), data, "-o", path))
    assert (status, out) == (0, "")
    assert [line.split(":")[1] for line in lines[:3]] == [f" epoch {epoch}/3" for epoch in (1, 2, 3)]  # said once
    assert len(lines) == 5
    return path


def test_steps_are_those_of_one_process():
    status, out, _ = run(warm("tests.sharing"))
    assert status == 0
    several, alone = json.loads(out), json.loads(json.dumps(sharing.found()))
    assert several.keys() == alone.keys()
    for name in ("answers", "blocks"):
        assert several.pop(name) == alone.pop(name)
    for name, values in alone.items():
        assert_near(several[name], values, 1e-4, 1e-5, name)


def test_training_is_that_of_one_process(model, data, tmp_path):
    spec, path = TrainSpec(**TRAIN), tmp_path / "one.h5"
    run_on_stores(stage(None), [str(data)], str(path), spec, Log())
    one, two = history(path), history(model)
    assert one.keys() == two.keys()
    for name, values in one.items():
        assert_near(two[name], values, 1e-4, 1e-5, name)
    assert run_on_stores(stage(None), [str(data)], str(model), spec, Log()).up_to_date
    assert sorted(path.name for path in model.parent.iterdir()) == ["bands.h5", "two.h5"]


def test_norms_are_estimated_as_by_one_process(data, tmp_path):
    settings = TRAIN | {"model": "zhao-separable", "epochs": 1, "lr": 0.0}  # so that the same weights are settled
    del settings["dropout"]  # of which it has none
    assert run(warm("fercli", "train", *flags(settings), "--precise-bn", data, "-o", tmp_path / "two.h5"))[0] == 0
    assert alone("train", *flags(settings), "--precise-bn", data, "-o", tmp_path / "one.h5") == 0
    with open_store(tmp_path / "one.h5", "model") as one, open_store(tmp_path / "two.h5", "model") as two:
        ours, theirs = one.arrays("weights"), two.arrays("weights")
        for name in ours:
            assert_near(theirs[name], ours[name], 1e-4, 1e-5, name)


def test_photos_are_labelled_once_and_in_order(model, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, image in enumerate(bands(70)[0]):
        cv2.imwrite(str(photos / f"{number:02}.png"), image)
    for number in (3, 40):
        (photos / f"{number:02}.png").write_bytes(b"bad")
    arguments = ["predict", "-m", str(model), "--detector", "none", "--precision", "float32", "--device", "cpu"]
    status, _, lines = run(warm("fercli", *arguments, photos, "-o", tmp_path / "two.csv"))
    assert alone(*arguments, photos, "-o", tmp_path / "one.csv") == 4
    assert status == 1  # of torchrun, whatever the process that writes ends with
    seconds = re.compile(r" \([0-9.]+ s\)")
    assert [seconds.sub("", line.replace("two.csv", "one.csv")) for line in lines] == [
        seconds.sub("", line) for line in said(capsys.readouterr().err)
    ]
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


def test_eval_labels_in_turns_and_tells_once(model, data, capsys):
    arguments = ["eval", "-m", str(model), str(data), "--split", "train", "--json"]
    status, out, lines = run(warm("fercli", *arguments))
    assert (status, lines, alone(*arguments)) == (0, [], 0)
    several, one = json.loads(out), json.loads(capsys.readouterr().out)
    for name in ("ece", "nll"):
        assert several.pop(name) == pytest.approx(one.pop(name), rel=1e-4)
    assert several == one


def test_more_processes_than_rows(tmp_path):
    """Started as users start it."""
    tiny = write_bands(tmp_path / "tiny.h5", train=2, val=3)
    start = [sys.executable, "-m", TORCHRUN, *TWO, "-m", "fercli"]
    status, _, lines = run([*start, "train", "--device", "cpu", tiny, "-o", tmp_path / "out.h5"])
    assert status == 1
    assert lines == [
        "fer train: error: 2 processes cannot share a step of 2 rows: "
        "type --nproc-per-node 1, or a larger --batch where there are more rows"
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.h5"]


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_run(data, tmp_path, victim):
    """The run ends at once, with a sentence and without an output; typed again it goes on."""
    out, checkpoint = tmp_path / "out.h5", tmp_path / "out.h5.checkpoint"
    settings = {**TRAIN, "epochs": 100_000}
    start = [sys.executable, "-m", TORCHRUN, *TWO, "--no-python", *FER]
    words = ["train", *map(str, flags(settings)), data, "-o", out]
    with subprocess.Popen([*start, *words], stderr=subprocess.PIPE, text=True, env=ENVIRON) as process:
        try:
            for line in process.stderr:
                if " epoch 2/" in line:
                    break
            os.kill(children(process.pid)[victim], signal.SIGKILL)
            began = time.monotonic()
            _, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    print(err)
    assert process.returncode == 1
    assert time.monotonic() - began < 25  # torchrun itself would wait 30 s for processes that do not end
    assert f"fer train: error: {ranks.LOST}" in said(err)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert [name for name in left if ".part-" not in name] == ["out.h5.checkpoint"]
    if victim:  # the process that writes has tidied up
        assert left == ["out.h5.checkpoint"]
        go_on(data, out, checkpoint)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_waits_for_the_others_can_be_ended(number):
    """Another may have ended before they met: torchrun then tells this one to end."""
    port = free_port()
    with started(FER, 0, port, "train", "none.h5", "-o", "out.h5") as process:
        wait_for_port(port)
        process.send_signal(number)
        _, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, said(err)) == (-number, [])


def test_who_waits_for_one_that_does_not_answer_can_be_ended(data, tmp_path):
    words = ["train", *flags({**TRAIN, "epochs": 100_000}), data, "-o", tmp_path / "out.h5"]
    port = free_port()
    with started(COLD, 1, port, *words) as silent, started(HASTY, 0, port, *words) as process:
        for line in process.stderr:
            if " epoch 2/" in line:
                break
        silent.send_signal(signal.SIGSTOP)
        time.sleep(1)  # in which it comes to wait, most likely
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert said(err)[-1] == f"fer train: error: {ranks.LOST}"
    left = [path.name for path in tmp_path.iterdir()]  # what it was writing is left as by a kill
    assert [name for name in left if ".part-" not in name] == ["out.h5.checkpoint"]


@contextlib.contextmanager
def started(program, rank, port, *words):
    """A process of a run of two, which torchrun knows nothing of."""
    place = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    line = [*program, *map(str, words)]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=ENVIRON | place) as process:
        try:
            yield process
        finally:
            process.kill()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for_port(port):
    """Returns when something listens there: the process has set up where all are to meet."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens at port {port}")


def go_on(data, out, checkpoint):
    done = history(checkpoint)
    epochs = len(done["loss"])
    status, _, lines = run(warm("fercli", "train", *flags({**TRAIN, "epochs": epochs + 1}), data, "-o", out))
    assert status == 0
    assert lines[0] == f"fer train: resuming after epoch {epochs} of {epochs + 1}"
    after = history(out)
    assert {name: values[:-1].tolist() for name, values in after.items()} == {
        name: values.tolist() for name, values in done.items()
    }
    assert not checkpoint.exists()


def children(parent):
    """Process ids of the run's processes by their rank."""
    found = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == parent:
                variables = dict(
                    one.split("=", 1) for one in (folder / "environ").read_text().split("\0") if "=" in one
                )
                if "RANK" in variables:
                    found[int(variables["RANK"])] = int(folder.name)
    return found


@pytest.fixture
def two(monkeypatch):
    """This process as one of two."""
    monkeypatch.setattr(ranks, "_run", ranks._Run(rank=1, size=2, place=1, neighbours=2))


@pytest.mark.usefixtures("two")
def test_each_process_needs_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    text = "2 processes need a GPU each, and torch sees 1 on this machine: type --nproc-per-node 1"
    for name in ("cuda", "auto"):
        with pytest.raises(UsageError, match=f"^{re.escape(text)}$"):
            choose_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"^--device cuda needs an NVIDIA GPU, and torch sees none on this machine"):
        choose_device("cuda")


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(("said", "threads"), [("1", 8), ("3", 3)])
def test_processes_share_the_cores_of_a_machine(monkeypatch, tmp_path, said, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(parallel, "_QUOTA", tmp_path / "none")
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    before = torch.get_num_threads()
    torch.set_num_threads(int(said))
    try:
        ranks._share_cores()
        assert torch.get_num_threads() == threads == parallel.cores()
    finally:
        torch.set_num_threads(before)


@pytest.mark.usefixtures("two")
def test_what_one_process_does_alone():
    with pytest.raises(UsageError) as caught:
        ranks.check_alone("fer ingest", "leave torchrun out")
    assert str(caught.value) == "fer ingest is the work of one process, and this run has 2: leave torchrun out"


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("rows", range(9, 17))
def test_a_step_is_shared_without_a_rest(monkeypatch, rows, size):
    """Each row is in one share, and the partners of a row are in its own: reversed, the share is that of the others."""
    from fercli.learn.shared import places

    shares = []
    for rank in range(size):
        monkeypatch.setattr(ranks, "_run", ranks._Run(rank=rank, size=size))
        shares.append(places(rows, torch.device("cpu")))
        assert shares[-1].flip(0).tolist() == (rows - 1 - shares[-1]).tolist()
    assert sorted(torch.cat(shares).tolist()) == list(range(rows))
