"""Shared fixtures."""

import fcntl
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from . import offline, warm

# pytest -n 2 has a process a core: threads of torch in each, and in the commands that it starts, would wait for one
# another (243 instead of 220 s over seven of these files)
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("COLUMNS", None)  # which some shells export, and what is wrapped depends on

# no example fails because the machine was busy, and every run has the same ones
settings.register_profile("fercli", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fercli")

# what was written outlives a process that is killed, whether it waits for the disk or not; no machine is killed here
# (pytest -n 2 tests/test_{store,runner,crossval,atomic}.py: 109 s instead of 118); commands that start cold wait
os.fsync = lambda _: None
offline.stay()

for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    # a shell's background job ignores interrupts, nohup that a terminal closes, and so would every command that the
    # tests start and interrupt
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    if sys.platform == "linux" and not hasattr(config, "workerinput"):  # before its processes start, which share it
        config.add_cleanup(warm.start())


@pytest.fixture(scope="session")
def fer2013(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real data as `fer ingest` stores it, made by the first of the test processes that needs it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # which they share
    path = folder / "fer2013.h5"
    from .program import fer  # it looks for what pytest_configure starts

    with open(folder / "fer2013.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            fer("ingest", shared_data / "fer2013.tar.xz", "-o", path)
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; the test is skipped, visibly, where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real data is not beside the checkout")
    return SHARED_DATA
