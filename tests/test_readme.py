"""The README's code runs as printed, and names only commands and options that exist."""

import ast
import importlib
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from fercli.cli import COMMANDS

from .program import ENVIRON, ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "examples" / "reproduce" / "README.md"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path, language: str) -> list[str]:
    return [text for tag, text in BLOCK.findall(document.read_text()) if tag == language]


def test_readme_blocks_run_in_order(tmp_path):
    """All shell blocks but the two that install run as one script, as a newcomer would type them."""
    script = "".join(text for text in blocks(ROOT / "README.md", "sh") if "pip install" not in text)
    assert script.count("fer ") >= 9
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path, env=ENVIRON, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "source,status" in done.stdout


def test_install_blocks_are_those_of_ci():
    """What continuous integration runs is what the README prints."""
    ci = (ROOT / ".ci" / "run").read_text()
    first, second = (text.strip() for text in blocks(ROOT / "README.md", "sh") if "pip install" in text)
    assert first == "pip install . && examples/quickstart.sh"
    assert "pip install --quiet . && examples/quickstart.sh" in ci
    assert second == "pip install '.[test]' && python -m pytest -n 2"
    assert "pip install --quiet '.[test]' && python -m pytest -n 2" in ci


def test_benchmarks_are_printed_with_what_they_take():
    documents = [ROOT / "fercli" / "weights" / "MODEL_CARD.md", *ROOT.glob("examples/**/*.md"), ROOT / "README.md"]
    text = "\n".join(path.read_text() for path in documents)
    printed = re.findall(r"`python\s+-m\s+tests\.benchmarks\.([^`]+)`", text)
    assert len(printed) > 20
    for name, *words in map(str.split, printed):
        usage = ast.get_docstring(ast.parse((ROOT / "tests" / "benchmarks" / f"{name}.py").read_text()))
        taken = re.search(rf"^ *python -m tests\.benchmarks\.{name}\b(.*)$", usage, re.MULTILINE)[1]
        assert len(taken.partition("[")[0].split()) <= len(words) <= len(taken.split()), (name, words)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_printed_option_exists(document):
    lines = [
        line
        for tag, text in BLOCK.findall(document.read_text())
        if tag != "text"
        for line in re.split(r"[\n|;]|&&", text)
    ]
    calls = [shlex.split(line, comments=True) for line in lines if line.strip().startswith("fer ")]
    assert calls
    for _, name, *words in calls:
        assert name in COMMANDS
        command = importlib.import_module(f"fercli.cli.{name}").command
        command = getattr(command, "commands", {}).get(words[0] if words else "", command)  # such as fer recipe run
        known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        for word in words:
            if word.startswith("-") and word != "-":
                assert word.split("=")[0] in known | {"-h", "--help"}, f"fer {name} has no {word}"


def test_every_command_is_in_the_table_of_stages():
    text = (ROOT / "README.md").read_text()
    for name in COMMANDS:
        assert f"| `fer {name}` |" in text
