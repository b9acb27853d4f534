"""Seconds and peak memory of the whole command `fer ingest`, over csv files and folders of 30,000 and 300,000 rows.

    python -m tests.benchmarks.ingest [PHOTOS]

PHOTOS is FER2013 as an archive or a folder of JPEGs; without it, faces are drawn. Rows are repeated as often as it
takes. The inputs need 4 GB in the temporary folder.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import cv2

from fercli.layouts import Options, open_source, synthetic
from fercli.ops.image import decode

CSV_ROWS = (30_000, 35_887, 300_000)
FOLDER_ROWS = (28_709, 300_000)
_DRAWN = 2000
#: Run by a process of its own: a child's peak memory counts that of the process which it was forked from.
_WATCH = """
import json, os, sys, time
start = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(json.dumps([time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
sys.exit(os.waitstatus_to_exitcode(status))
"""


def main(arguments: Sequence[str]) -> None:
    files = photos(arguments[0]) if arguments else drawn()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for rows in CSV_ROWS:
            measure(f"csv, {rows:,} rows", write_csv(place / "fer2013.csv", files, rows), place / "out.h5", _runs(rows))
        for rows in FOLDER_ROWS:
            measure(
                f"folder, {rows:,} JPEGs", write_folder(place / f"{rows}", files, rows), place / "out.h5", _runs(rows)
            )


def photos(path: str) -> list[bytes]:
    source = open_source(path)
    return [source.read(name) for name in source.photos]


def drawn() -> list[bytes]:
    table = synthetic.scan(open_source(f"synthetic:{_DRAWN}"), Options())
    return [cv2.imencode(".jpg", image)[1].tobytes() for block in table.blocks(None) for image in block["image"]]


def write_csv(path: Path, files: Sequence[bytes], rows: int) -> Path:
    """FER2013's csv with as many rows, 8.2 kB each."""
    texts = [" ".join(map(str, decode(data).ravel().tolist())) for data in files[: min(rows, 10_000)]]
    with open(path, "w") as file:
        file.write("emotion,pixels,Usage\n")
        for row, text in enumerate(islice(cycle(texts), rows)):
            file.write(f"{row % 7},{text},Training\n")
    return path


def write_folder(folder: Path, files: Sequence[bytes], rows: int) -> Path:
    """Seven class folders of JPEGs; repeated ones are links, which take no room."""
    for name in range(7):
        (folder / str(name)).mkdir(parents=True)
    for row in range(rows):
        path, first = folder / str(row % 7) / f"{row:06}.jpg", row % len(files)
        if row == first:
            path.write_bytes(files[row])
        else:
            os.link(folder / str(first % 7) / f"{first:06}.jpg", path)
    return folder


def _runs(rows: int) -> int:
    return 3 if rows < 100_000 else 1


def watch(command: Sequence[str]) -> tuple[float, float, int]:
    """Seconds, seconds of processor time and peak memory (kB) of a `fer` command."""
    words = [sys.executable, "-c", _WATCH, sys.executable, "-m", "fercli", *command]
    return tuple(json.loads(subprocess.check_output(words)))


def measure(what: str, source: Path, target: Path, runs: int) -> None:
    """Runs the command as a person would, and prints what the quickest run took. The first one warms the file cache."""
    command = ["ingest", "--force", "-q", str(source), "-o", str(target)]
    seconds, processor, peak = min(watch(command) for _ in range(runs))
    print(f"{what:<24}{seconds:8.2f} s{processor:8.2f} s of processor{peak / 1024:8.0f} MB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
