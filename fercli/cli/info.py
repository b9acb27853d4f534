"""`fer info`: what a store holds."""

import json
from collections.abc import Iterable
from typing import Any

import click

from ..errors import UsageError
from ..models.shipped import model_path
from ..stages import inspect
from ..stages.runner import Log
from ..store import open_store
from ..text import counted, printable
from . import options
from .console import Console

_KINDS = ("samples", "predictions", "model")


@click.command("info")
@options.inputs
@click.option("--count", is_flag=True, help="Print the number of rows only.")
@click.option("--classes", is_flag=True, help="Print the classes only, one a line.")
@click.option("--history", is_flag=True, help="Print how a model was trained, a line an epoch, only.")
@click.option("--verify", is_flag=True, help="Read everything and check it against its digests.")
@click.option("--json", "as_json", is_flag=True, help="Print all facts, or with --history that, as JSON.")
@options.console
def command(inputs: tuple[str, ...], count: bool, classes: bool, history: bool, verify: bool, as_json: bool) -> None:
    """Show what a store holds: rows, classes, columns, and the stages that made it. Several count as one table of rows.
    The models that come with fercli are default and fast.

    \b
      fer info faces.h5
      fer info --count faces.h5
      fer info --history model.h5
      fer info default
      fer ingest photos/ | fer info --verify
    """
    alone = [f"--{name}" for name, typed in (("count", count), ("classes", classes), ("history", history)) if typed]
    if len(alone) > 1:
        raise UsageError(f"{' and '.join(alone)} print one thing only, each: leave {' and '.join(alone[1:])} out")
    with open_store(tuple(map(model_path, inputs)) or ("-",), _KINDS) as store:
        if verify:
            console = click.get_current_context().find_object(Console)
            rows = inspect.verify(store, Log("fail", console))
            console.summary(f"{store.name} is sound, {counted(rows, 'row')} read", {"rows": rows}, [])
        if count:
            click.echo(store.rows)
        elif classes:
            click.echo("\n".join(map(printable, store.classes)))
        elif history:
            series = inspect.history(store)
            click.echo(json.dumps(series, indent=2) if as_json else _history(series))
        elif as_json:
            click.echo(json.dumps(inspect.describe(store), indent=2))
        elif not verify:
            click.echo(_text(inspect.describe(store)))


def _text(facts: dict[str, Any]) -> str:
    """The facts as a page of text."""
    name = printable(facts["name"])
    lines = [f"{name}: {facts['kind']}, {counted(facts['rows'], 'row')}"]
    if facts["kind"] == "model":
        lines = [f"{name}: model {facts['model'].get('name', '')}, {facts['parameters']:,} parameters"]
        lines += [
            f"classes     {' '.join(map(printable, facts['classes']))}",
            *_card(facts["model"], facts["channels"]),
        ]
    else:
        lines += _table(facts["counts"])
        lines += ["columns     " + ", ".join(_column(name, shape) for name, shape in facts["columns"].items())]
        if facts["channels"]:
            lines += ["channels    " + " ".join(map(printable, facts["channels"]))]
    return "\n".join([*lines, *_chain(facts["provenance"])])


def _card(model: dict[str, Any], channels: list[str]) -> list[str]:
    """What the network takes, and how good its epoch was in validation."""
    size, metrics = model.get("size"), model.get("metrics", {})
    lines = [f"takes       {size}x{size} {' '.join(map(printable, channels))}"]
    if "validation_accuracy" in metrics:
        rows = counted(metrics["validation_rows"], "row")
        accuracy = metrics["validation_accuracy"]
        lines.append(f"kept        epoch {metrics['epoch']}, accuracy {accuracy:.4f} on {rows} of validation")
    if losses := model.get("losses"):
        lines.append(f"int8        log loss {losses['int8']:.4f} in validation, float32 {losses['float32']:.4f}")
    lines += [_head(head) for head in model.get("heads", [])]
    return lines


def _history(series: dict[str, list[float]]) -> str:
    """A table of all epochs."""
    lines = ["epoch" + "".join(f"{printable(name):>21}" for name in series)]
    for epoch, values in enumerate(zip(*series.values(), strict=True), start=1):
        lines.append(f"{epoch:>5}" + "".join(f"{value:>21.4g}" for value in values))
    return "\n".join(lines)


def _head(head: dict[str, Any]) -> str:
    return printable(f"head        {head['name']}: {' '.join(head['classes'])}")


def _column(name: str, shape: list[int]) -> str:
    return f"{name} {'x'.join(map(str, shape))}" if shape else name


def _table(counts: dict[str, dict[str, int]]) -> list[str]:
    if not counts:
        return []
    names = list(dict.fromkeys(name for row in counts.values() for name in row))
    width = max(len(printable(name)) for name in [*names, "total"]) + 2

    def line(head: str, cells: Iterable[str]) -> str:
        return f"{head:<{width}}" + "".join(f"{cell:>9}" for cell in cells)

    totals = (f"{sum(row.values()):,}" for row in counts.values())
    rows = (line(printable(name), (f"{row.get(name, 0):,}" for row in counts.values())) for name in names)
    return [line("", counts), *rows, line("total", totals)]


def _chain(provenance: list[dict[str, Any]]) -> list[str]:
    """The stages behind the data, one a line, with the settings that are not empty."""
    lines = []
    for place, entry in enumerate(provenance):
        settings = " ".join(
            f"{key}={value}" for key, value in entry["spec"].items() if value not in (None, "", [], False)
        )
        head = "made by" if place == 0 else "then"
        rows = [counted(entry["rows"], "row")] if entry["stage"] != "train" else []
        failed = [f"{entry['failed']:,} failed"] if entry["failed"] else []
        how = [f"in {entry['precision']} on {entry.get('device')}"] if "precision" in entry else []
        facts = ", ".join([*rows, *failed, *how, f"version {entry['version']}"])
        lines.append(printable(f"{head:<12}fer {entry['stage']} ({facts}) {settings}".rstrip()))
    return lines
