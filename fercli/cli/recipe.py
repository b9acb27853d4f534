"""`fer recipe`: the published systems that come with the package."""

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from .. import models
from ..errors import SOME_ROWS_FAILED, DataError, FerError, UsageError
from ..recipes import pipeline, recipe
from ..store import temporary_folder
from ..text import printable
from . import options
from .console import Console


def _recipes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Lets the shell complete the names of recipes, and those of files."""
    known = [CompletionItem(name) for name in recipe.names() if name.startswith(incomplete)]
    return known or options.files(ctx, parameter, incomplete)


@click.group("recipe")
def command() -> None:
    """Published systems: list them, show their settings, carry them out on data.

    A recipe is one that comes with the package, by NAME, or a TOML FILE of your own: a table [STAGE] a stage, with its
    long options, _ for -. fer recipe show prints one to begin with.

    \b
      fer recipe list
      fer recipe show njoku > own.toml
      fer recipe run njoku --data fer2013.tar.xz -o njoku/
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@options.console
def list_recipes(as_json: bool) -> None:
    """List the recipes, with the figures that their papers report."""
    _begin("list")
    rows = [_facts(recipe.load(name)) for name in recipe.names()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = [("recipe", "data", "model", "reported")]
    table += [(row["name"], row["data"], row["model"], _figures(row["reported"])) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip())


@command.command("show")
@click.argument("name", metavar="NAME|FILE", shell_complete=_recipes)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every default filled in.")
@options.console
def show(name: str, as_json: bool) -> None:
    """Show a recipe: the paper, its settings, what was not stated, what is left at its default, and the network.

    What is printed is a recipe itself.
    """
    _begin("show")
    loaded, text = recipe.load(name), recipe.text(name)
    settings = {stage: loaded.spec(stage).as_dict() for stage in loaded.pipeline}
    network = models.describe(settings["train"]["model"]) if "train" in settings else ""
    if as_json:
        facts = {"name": name, "paper": loaded.paper, "settings": settings, "toml": text, "network": network}
        click.echo(json.dumps(facts, indent=2, default=str))
        return
    click.echo(text.rstrip("\n"))
    click.echo("\n# Left at their defaults:")
    for stage, values in settings.items():
        for key, value in values.items():
            if key not in loaded.stages[stage]:
                click.echo(f"# {stage}.{key} = {json.dumps(value)}")
    if network:
        click.echo("\n# The network:")
        for line in network.splitlines():
            click.echo(f"# {line}".rstrip())


def _path(name: str) -> str:
    """A path that no command takes for a flag."""
    return f"./{name}" if name.startswith("-") and name != "-" else name


@command.command("run")
@click.argument("name", metavar="NAME|FILE", shell_complete=_recipes)
@click.option(
    "--data", "sources", multiple=True, required=True, metavar="SOURCE", shell_complete=options.files,
    help="Data to read; repeatable.",
)  # fmt: skip
@click.option(
    "-o", "--output", "folder", metavar="FOLDER", shell_complete=options.files, callback=options.given_value,
    help="Folder for the stores of all stages. [default: the recipe's name, or that of FILE without .toml]",
)  # fmt: skip
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="STAGE.SETTING=VALUE",
    help="Replace a setting of detect, split, augment, gradients or train, its long option with _ for -; repeatable.",
)
@click.option("--resume", is_flag=True, help="Go on with a training that was cut off.")
@options.on_error
@options.force
@click.option("-n", "--dry-run", is_flag=True, help="Read the data, and only print the commands for a shell.")
@options.console
def run(
    name: str, sources: tuple[str, ...], folder: str | None, assignments: tuple[str, ...],
    resume: bool, on_error: str, force: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Carry out a recipe: ingest the data, prepare it, train, predict, and evaluate.

    One whose [split] makes folds is cross-validated over them, and keeps the predictions and no model. One with
    [models] first carries out the recipes that train these, each in FOLDER/NAME; --set is not for them.

    Published weights that the training begins with are downloaded before the first stage, unless they are here already.

    Each stage is a command of its own from store to store in FOLDER, which without -o has the name of the recipe and
    lies in the current folder: ingest.h5, one store a stage, model.h5 and predictions.h5. --dry-run prints the
    commands, to be edited where they need an option that this one does not take. What is up to date is left alone, and
    the first stage that fails ends the run.

    \b
      fer recipe run njoku --data fer2013.tar.xz -o njoku/
      fer recipe run njoku --data synthetic:200 -o try/ --set train.epochs=1
      fer recipe run falahzadeh --data jaffe/
      fer recipe run falahzadeh --data jaffe/ -o jaffe-runs/ --set split.by=subject
      fer recipe run own.toml --data faces/ -o own/ --dry-run > own.sh && sh -e own.sh
    """
    console = _begin("run")
    folder = _path(folder or Path(name).stem)
    sources = tuple(map(_path, sources))
    loaded = pipeline.placed(recipe.load(name).changed(assignments), folder)
    pipeline.check(loaded, folder)  # before the work, not after
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise UsageError(f"{folder} is no folder: name one with -o")
    earlier = pipeline.before(loaded, sources, folder, resume, force, on_error)
    first = pipeline.ingest(loaded, sources, folder, force, on_error)
    if dry_run:
        data = _look_without_keeping(loaded, sources, on_error)
        steps = pipeline.steps(loaded, data, folder, resume, force, on_error)
        _print_script(["mkdir", "-p", folder], [*earlier, first, *steps], pipeline.detection(loaded, data))
        return
    pipeline.get_ready(loaded, folder, console.note, force)
    new = not os.path.exists(folder)
    Path(folder).mkdir(parents=True, exist_ok=True)
    try:
        failed = _carry_out([*earlier, first])
    except FerError:
        if new and not os.listdir(folder):
            os.rmdir(folder)
        raise
    _begin("run")
    data = pipeline.look(sources, folder)
    steps = pipeline.steps(loaded, data, folder, resume, force, on_error)
    if why := pipeline.detection(loaded, data):
        console.note(why)
    failed = _carry_out(steps) or failed
    if failed:
        click.get_current_context().exit(SOME_ROWS_FAILED)


def _begin(name: str) -> Console:
    """Names the command in what the console says, and gives the console."""
    console = click.get_current_context().find_object(Console)
    console.begin(f"recipe {name}")
    return console


def _carry_out(steps: Sequence[pipeline.Step]) -> bool:
    """Runs the commands as the shell would; what one raises ends all. Tells whether some left out rows that failed."""
    from . import fer

    root, failed = click.get_current_context().find_root(), False
    for step in steps:
        made = fer.get_command(root, step.command)
        try:
            with made.make_context(step.command, list(step.words), parent=root) as context:
                made.invoke(context)
        except click.exceptions.Exit as end:
            if end.exit_code != SOME_ROWS_FAILED:
                raise
            failed = True
        except (DataError, UsageError):
            told = f"this was {step.line}"
            if step.command in recipe.STAGES:
                told += f"; its settings go into fer recipe run as --set {step.command}.NAME=VALUE"
            click.get_current_context().find_object(Console).note(told)
            raise
    return failed


def _look_without_keeping(loaded: recipe.Recipe, sources: Sequence[str], on_error: str) -> pipeline.Contents:
    """What the data holds. Only a store tells whether pictures are dense faces, so one is made, and removed."""
    with temporary_folder() as folder:
        step = pipeline.ingest(loaded, sources, folder, on_error=on_error)
        _carry_out([pipeline.Step(step.command, (*step.words, "--quiet"))])
        _begin("run")
        return pipeline.look(sources, folder)


def _print_script(prepare: list[str], steps: Sequence[pipeline.Step], why: str) -> None:
    click.echo(shlex.join(prepare))
    if why:
        click.echo(f"# {printable(why)}")
    for step in steps:
        click.echo(f"{step.line} || [ $? -eq {SOME_ROWS_FAILED} ]" if "--on-error" in step.words else step.line)


def _facts(loaded: recipe.Recipe) -> dict[str, Any]:
    paper = loaded.paper
    model = loaded.spec("train").model
    return {
        "name": loaded.name, "authors": paper["authors"], "year": paper.get("year"), "data": paper["data"],
        "model": model, "reported": paper.get("reported", {}),
    }  # fmt: skip


def _figures(reported: dict[str, Any]) -> str:
    """The figures in words, without those of parts of the system, which are tables of their own."""
    return ", ".join(_figure(name, value) for name, value in reported.items() if not isinstance(value, dict))


def _figure(name: str, value: float) -> str:
    number = f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
    return f"{name.replace('_', ' ')} {number}{' %' if 'accuracy' in name else ''}"
