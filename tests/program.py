"""How the tests start `fer` in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from .warm import VARIABLE, asking

ROOT = Path(__file__).resolve().parents[1]

#: The program as users start it, for the tests of its start and of signals.
COLD = (sys.executable, "-m", "fercli")

#: Where modules are loaded already, see `warm`; "" where nothing is.
_ADDRESS = os.environ.get(VARIABLE, "")


def module(name: str) -> tuple[str, ...]:
    """`python -m NAME`, of which all that takes time is loaded already."""
    return (*asking(_ADDRESS), name) if _ADDRESS else (sys.executable, "-m", name)


#: The program for all other tests.
FER = module("fercli")

#: The variables of scripts in which `fer` is the program under test, and `python` has what it needs.
ENVIRON = os.environ | {
    "PATH": f"{Path(_ADDRESS or sys.executable).parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT),
    "LC_ALL": "C.UTF-8",  # of one that is not installed bash tells on standard error
}  # fmt: skip


def fer(*words: object, status: int = 0, stdin: bytes = b"") -> tuple[str, str]:
    """Standard output and error of a command that ends with `status`."""
    done = subprocess.run([*FER, *map(str, words)], cwd=ROOT, input=stdin, capture_output=True, timeout=600)
    assert done.returncode == status, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return done.stdout.decode(), done.stderr.decode()


def shell(line: str, folder: Path) -> subprocess.CompletedProcess:
    """What came of a line of bash in which `fer` is the program under test."""
    return subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, env=ENVIRON, timeout=600)
