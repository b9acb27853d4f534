"""Every option that more than one command has, declared once; and a stage's own options, taken from its Spec."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from ..errors import UsageError
from ..models.shipped import shipped
from ..spec import Spec, flag_of, is_multiple, nearest, value_type
from .console import Console

Command = Callable[..., Any]
S = TypeVar("S", bound=Spec)


def _console_flag(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def set_flag(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        console = ctx.ensure_object(Console)
        console.begin(ctx.info_name or "")
        if value:
            setattr(console, name, True)

    return set_flag


def _flag(*names: str, sets: str, help: str) -> Callable[[Command], Command]:
    return click.option(
        *names, is_flag=True, expose_value=False, is_eager=True, callback=_console_flag(sets), help=help
    )


quiet = _flag("-q", "--quiet", sets="quiet", help="No summary and no notes.")
verbose = _flag("-v", "--verbose", sets="verbose", help="Name every row that failed, not only the first few.")
debug = _flag("--debug", sets="debug", help="Show the traceback of an error.")
machine = _flag("--json", sets="machine", help="End with a summary in JSON on standard error.")


#: Bounds of a setting up to this are told: a user may well try what is beyond.
_NEAR = 360
#: What the metavars of settings that are paths have in them.
_PATH = re.compile(r"FILE|OUT|DIR|\.h5")


def files(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Lets the shell complete the names of files. (The type click.Path would also refuse some.)"""
    return [CompletionItem(incomplete, type="file")]


def given_value(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """The value of an option. Raises UsageError where it is empty, as a shell's variable that is not set leaves it."""
    if value == "":
        raise UsageError(f"{parameter.opts[0]} is empty: give it a value, or leave it out")
    return value


def a_file(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """As `given_value`, of an option that takes a file: a folder cannot be meant."""
    if value and value.endswith("/"):
        raise UsageError(f"{parameter.opts[0]} {value} is a folder: name a file in it")
    return given_value(ctx, parameter, value)


class Choice(click.Choice):
    """A choice that tells the nearest word."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word. Fails with a hint for any other."""
        if value not in self.choices:
            self.fail(f"there is no {value!r}; {nearest(str(value), list(self.choices))}", param, ctx)
        return super().convert(value, param, ctx)


def all_named(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """The inputs. Raises UsageError for one without a name, which else would be said to be missing."""
    if "" in values:
        raise UsageError("an input is empty, as a shell's variable that is not set leaves it: name a file or a folder")
    return values


inputs = click.argument("inputs", nargs=-1, metavar="[IN]...", shell_complete=files, callback=all_named)
output = click.option(
    "-o", "--output", default="-", metavar="OUT", shell_complete=files, callback=a_file,
    help="Store to write. [default: standard output]",
)  # fmt: skip
force = click.option("-f", "--force", is_flag=True, help="Run even if OUT is up to date, or a file of another kind.")
dry_run = click.option("-n", "--dry-run", is_flag=True, help="Only tell whether OUT would be written.")
on_error = click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="What a bad row does: fail the run, or be left out and counted (exit 4).",
)
model = click.option(
    "-m", "--model", metavar="MODEL", shell_complete=files, callback=given_value,
    help=f"Model store made by fer train, or one that comes with fercli: {', or '.join(shipped())}.",
)  # fmt: skip
files_from = click.option(
    "--files-from", metavar="FILE", shell_complete=files, callback=given_value, is_eager=True,  # before -0 asks for it
    help="Read the photos listed in FILE, one a line; -: stdin.",
)  # fmt: skip


def _of_a_list(ctx: click.Context, parameter: click.Parameter, value: bool) -> bool:
    if value and not ctx.params.get("files_from"):
        raise UsageError("-0 tells how the paths in a list end: add --files-from FILE, or - for standard input")
    return value


null = click.option(
    "-0",
    "--null",
    is_flag=True,
    callback=_of_a_list,
    help="Paths in --files-from end with a zero byte, not a line end.",
)


def console(command: Command) -> Command:
    """-q, -v and --debug."""
    return quiet(verbose(debug(command)))


def stage(spec: type[Spec]) -> Callable[[Command], Command]:
    """All that a stage over stores takes: IN and what `run` adds."""
    return lambda command: inputs(run(spec)(command))


def run(spec: type[Spec]) -> Callable[[Command], Command]:
    """What every stage takes that writes a store: OUT, its own settings, and how to run."""

    def decorate(command: Command) -> Command:
        for add in (console, machine, on_error, dry_run, force):
            command = add(command)
        return output(settings(spec)(command))

    return decorate


def settings(spec: type[Spec]) -> Callable[[Command], Command]:
    """The fields of a Spec as options. Those not given on the command line arrive as None (or as an empty tuple)."""

    def decorate(command: Command) -> Command:
        for field in reversed(spec.fields()):
            command = _spec_option(field)(command)
        return command

    return decorate


def given(spec: type[S], arguments: dict[str, Any], recipe: dict[str, Any] | None = None) -> S:
    """A Spec of the settings that were given, over those of a recipe, over its defaults."""
    names = [field.name for field in spec.fields()]
    chosen = {name: arguments[name] for name in names if arguments.get(name) not in (None, ())}
    return spec(**{**(recipe or {}), **chosen})


def _spec_option(field: dataclasses.Field) -> Callable[[Command], Command]:
    facts, flag, kind = field.metadata, flag_of(field.name), value_type(field)
    if kind is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", default=None, help=_help(field))
    choices = facts["choices"]
    return click.option(
        flag,
        field.name,
        type=Choice(choices) if choices else kind,
        multiple=is_multiple(field),
        default=None,
        metavar=facts["metavar"],
        shell_complete=files if _PATH.search(facts["metavar"] or "") else None,
        help=_help(field),
    )


def _help(field: dataclasses.Field) -> str:
    """The line of help of an option, with what its declaration tells besides."""
    facts, default = field.metadata, field.default
    told = [facts["help"]]
    if is_multiple(field):
        told.append("Repeatable.")
    if facts["high"] is not None and facts["high"] <= _NEAR:
        told.append(f"[{facts['low']:g} to {facts['high']:g}]")
    if isinstance(default, bool):
        default = "on" if default else "off"
    if default not in (None, (), ""):
        told.append(f"[default: {default}]")
    return " ".join(told)
