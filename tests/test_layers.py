"""The house: each layer imports only those below it, and what belongs to one layer stays in it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import fercli

ROOT = Path(fercli.__file__).parent

LAYERS = {
    "__main__": 7, "cli": 6,
    "recipes": 5,
    "stages": 4,
    "learn": 3,
    "layouts": 2, "detectors": 2, "models": 2,
    "ops": 1, "store": 1,
    "errors": 0, "interrupts": 0, "labels": 0, "spec": 0, "text": 0, "__init__": 0,
}  # fmt: skip

#: Modules from outside that one part of the house keeps to itself.
KEPT = {"click": "cli", "tqdm": "cli", "h5py": "store"}
#: Calls that only the command line makes.
SPOKEN = ("print", "input", "exit", "quit", "sys.exit", "os._exit")


class Import(NamedTuple):
    """An import of a module, by its full name, as it stands in a line of code."""

    module: str
    line: int


def imports(tree: ast.AST, package: str) -> Iterator[Import]:
    """Every import in a module of `package`, those within functions too; what is relative is resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolved(node.module or "", node.level, package)
            yield Import(base, node.lineno)
            yield from (Import(f"{base}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in ("importlib.import_module", "import_module", "__import__"):
            yield Import(dynamic(node, package), node.lineno)


def resolved(module: str, level: int, package: str) -> str:
    if not level:
        return module
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *([module] if module else [])])


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def dynamic(node: ast.Call, package: str) -> str:
    """What a call imports, as far as the code tells: `f".{name}", __package__` is a module of its own package."""
    name, anchor = written(node.args[0], package), [written(argument, package) for argument in node.args[1:]]
    module = name.lstrip(".")
    if name.startswith(".") and anchor == [package]:
        return resolved(module, len(name) - len(module), package)
    return "unknown" if name.startswith((".", "*")) else name


def written(node: ast.expr, package: str) -> str:
    """The text that an expression makes, with * for what only the run tells."""
    if isinstance(node, ast.JoinedStr):
        return "".join(written(part, package) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return written(node.value, package)
    if isinstance(node, ast.Name) and node.id in ("__package__", "__name__"):
        return package
    return str(node.value) if isinstance(node, ast.Constant) else "*"


def part_of(module: str) -> str:
    """The part of the house that a module of fercli belongs to."""
    names = module.split(".")
    return names[1] if len(names) > 1 else "__init__"


def breaches(root: Path) -> list[str]:
    """What in the package at `root` breaks the rules, one line each."""
    found = []
    for path in sorted(root.rglob("*.py")):
        inner = path.relative_to(root).with_suffix("").parts
        part = inner[0]
        package = ".".join((root.name, *inner[:-1]))
        tree = ast.parse(path.read_text())
        found += [f"{'/'.join(inner)}.py:{line}: {text}" for line, text in faults(tree, part, package)]
    return found


def faults(tree: ast.AST, part: str, package: str) -> Iterator[tuple[int, str]]:
    if part not in LAYERS:
        yield 1, f"{part} has no layer"
        return
    house = package.split(".")[0]
    for module, line in imports(tree, package):
        top = module.split(".")[0]
        if KEPT.get(top, part) != part:
            yield line, f"only {KEPT[top]} imports {top}"
        elif module == "unknown":
            yield line, "imports what only the run tells"
        elif top == house and module != house:
            other = part_of(module)
            if other == "*":
                yield line, f"{part} (L{LAYERS[part]}) imports * (above all)"
            if other not in LAYERS:
                continue  # a name within fercli/__init__.py
            if other != part and LAYERS[other] >= max(LAYERS[part], 1):  # what is at the bottom may use its like
                yield line, f"{part} (L{LAYERS[part]}) imports {other} (L{LAYERS[other]})"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) in SPOKEN and LAYERS[part] < 6:
            yield node.lineno, f"only cli calls {called(node)}"


def test_no_layer_imports_one_above_or_beside_it():
    assert breaches(ROOT) == []


def test_every_part_of_the_house_has_a_layer_and_the_other_way_round():
    parts = {path.stem for path in ROOT.glob("*.py")} | {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert parts == set(LAYERS)


planted = {
    "ops/x.py": [
        ("from ..store import open_store", "ops (L1) imports store (L1)"),
        ("def f():\n    from fercli.stages.runner import run", "ops (L1) imports stages (L4)"),
        ("import fercli.cli", "ops (L1) imports cli (L6)"),
        ("from .. import learn", "ops (L1) imports learn (L3)"),
        ("import h5py", "only store imports h5py"),
        ("from h5py import File", "only store imports h5py"),
        ("print(1)", "only cli calls print"),
        ("import importlib\nimportlib.import_module('..cli.x', __package__)", "ops (L1) imports cli (L6)"),
        ("import importlib\nimportlib.import_module(f'..stages.{name}', __package__)", "ops (L1) imports stages (L4)"),
        ("import importlib\nimportlib.import_module(f'..{name}', __package__)", "ops (L1) imports * (above all)"),
        ("import importlib\nimportlib.import_module('.x', package)", "imports what only the run tells"),
        ("import importlib\nimportlib.import_module(name)", "imports what only the run tells"),
        ("import importlib\nimportlib.import_module('fercli.cli')", "ops (L1) imports cli (L6)"),
    ],
    "stages/x.py": [
        ("import click", "only cli imports click"),
        ("from tqdm.auto import tqdm", "only cli imports tqdm"),
        ("import sys\nsys.exit(1)", "only cli calls sys.exit"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..recipes import recipe",
         "stages (L4) imports recipes (L5)"),
    ],
    "models/deep/x.py": [
        ("from ...detectors import haar", "models (L2) imports detectors (L2)"),
        ("from ... import stages", "models (L2) imports stages (L4)"),
    ],
    "labels.py": [("from .store import Reader", "labels (L0) imports store (L1)")],
    "extra.py": [("", "extra has no layer")],
}  # fmt: skip


@pytest.mark.parametrize(("where", "code", "text"), [(w, *case) for w, cases in planted.items() for case in cases])
def test_a_planted_breach_is_found(tmp_path, where, code, text):
    path = tmp_path / "fercli" / where
    path.parent.mkdir(parents=True)
    path.write_text(code)
    found = breaches(tmp_path / "fercli")
    assert {line.split(": ", 1)[1] for line in found} == {text}


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("cli/x.py", "import click, sys\nfrom ..stages import runner\nprint(1)\nsys.exit(1)"),
        ("stages/x.py", "from ..store import Reader\nfrom .runner import Log\nfrom .. import __version__"),
        ("store/x.py", "import h5py\nfrom ..errors import DataError\nfrom . import schema"),
        ("models/__init__.py", "import importlib\nimportlib.import_module(f'.{name}', __package__)"),
        ("labels.py", "from .errors import DataError"),
    ],
)
def test_what_is_allowed_is_no_breach(tmp_path, where, code):
    path = tmp_path / "fercli" / where
    path.parent.mkdir(parents=True)
    path.write_text(code)
    assert breaches(tmp_path / "fercli") == []


LOADED = """
import sys
from fercli.cli import main
sys.argv = ["fer", "{flag}"]
try:
    main()
finally:
    print(*sorted(set(sys.modules) & {{"torch", "cv2", "h5py", "tqdm", "numpy"}}), file=sys.stderr)
"""


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_load_nothing_heavy(flag):
    code = LOADED.format(flag=flag)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "\n")
