"""The command line: parses, calls one function, tells. The only place that prints or exits."""

import contextlib
import errno
import fcntl
import importlib
import os
import signal
import sys
import threading
from typing import NoReturn

import click

from .. import __version__, interrupts
from ..errors import DataError, FerError, GateFailed, cannot_write
from ..learn import ranks
from ..spec import nearest
from .console import Console, drop_output, say

#: Every command with its line of help. The modules are imported when called, so that `fer --help` loads neither torch
#: nor OpenCV. A command is one module of this package with a click command named `command`.
COMMANDS = {
    "ingest": "Read photos or a published data set into a store.",
    "detect": "Find faces and crop them.",
    "split": "Assign rows to train, val and test, or to folds.",
    "augment": "Add transformed copies of the training rows.",
    "gradients": "Add gradient channels or HOG features.",
    "train": "Train a network.",
    "predict": "Label faces in stores, photos and folders.",
    "export": "Write a model for other programs: ONNX or safetensors.",
    "eval": "Measure predictions, and gate on the figures.",
    "info": "Show what a store holds.",
    "recipe": "List, show and run published systems.",
}

#: Those that several processes, which torchrun has started, do together.
SHARED = ("train", "predict", "eval")

#: Seconds that a process which gives up another one has to say so.
_LAST_WORD = 5.0


class Stages(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return importlib.import_module(f".{name}", __package__).command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS:
            raise click.UsageError(f"there is no command {args[0]!r}; {nearest(args[0], list(COMMANDS))}", ctx)
        if args[0] not in SHARED:
            ranks.check_alone(f"fer {args[0]}", "leave torchrun out")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command. A reader of standard output that leaves early ends it well, where click would exit with 1;
        one of standard error does not end it, see `console.say`.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader, such as head, has all that it wanted
            drop_output()
            return 0
        except click.UsageError as error:
            if error.ctx is None and (name := ctx.invoked_subcommand):  # as of an option that lacks its value
                error.ctx = click.Context(self.get_command(ctx, name), ctx, info_name=name)
            raise
        except KeyboardInterrupt as error:  # before click tells of it on a terminal that may be gone
            say("")
            raise click.Abort from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Stages, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", message="fer %(version)s")
def fer() -> None:
    """Facial expression recognition in composable stages.

    Every stage reads and writes HDF5 stores, files or pipes:

    \b
      fer ingest photos/ | fer detect | fer train --recipe njoku -o model.h5
      fer predict -m model.h5 photos/ > labels.jsonl

    Exit codes: 0 done, 1 data or run error, 2 usage, 3 gate failed, 4 done but some rows failed, 130 interrupted,
    129 or 143 terminated.
    """


def main() -> NoReturn:
    """The console entry point."""
    _fill_closed_streams()
    console = Console()
    with interrupts.answered():
        status = _status(console)
    if ranks.size() == 1:
        sys.exit(status)
    end(status)


def end(status: int) -> NoReturn:
    """Ends the process without Python's own farewell, where threads that are still busy would abort it: those of
    torch.distributed, of a run that went well, or those whose work was interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed, or its reader has gone
            stream.flush()
    if status == 128 + signal.SIGINT:  # a shell ends a loop only where the interrupt ended the program itself
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(status)


def _fill_closed_streams() -> None:
    """Puts the null device where a standard stream is closed, so that no file that is opened takes its number.

    It is open for reading alone in place of standard output: what is written there is lost, and the system says so.
    """
    for number, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, flags)  # takes the lowest free number, which is the one of this stream
            setattr(sys, name, open(null, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115 - stays open


def _status(console: Console) -> int:
    def give_up() -> NoReturn:
        late = threading.Timer(_LAST_WORD, end, (1,))
        late.daemon = True
        late.start()
        console.error(ranks.LOST)  # which may wait too, for the process that knows what was told already
        end(1)

    try:
        _check_folder()
        ranks.join(give_up)
        status = fer.main(prog_name="fer", standalone_mode=False, obj=console)
        try:
            sys.stdout.flush()
        except BrokenPipeError:  # as in `invoke`, of what was left in the buffer
            drop_output()
        ranks.leave()
        return status if isinstance(status, int) else 0
    except (KeyboardInterrupt, click.Abort) as error:
        drop_output()  # what nobody has read till now
        number = getattr(error.__cause__ or error, "number", signal.SIGINT)  # an Abort comes of what came
        console.error("interrupted" if number == signal.SIGINT else "terminated")
        for one in interrupts.ENDING:  # nothing is left that it could end
            signal.signal(one, signal.SIG_IGN)
        return 128 + number  # as a shell tells it
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message())
        return error.exit_code
    except click.UsageError as error:
        console.usage_error(error)
        return error.exit_code
    except GateFailed as error:
        console.verdict(str(error))
        return error.exit_code
    except FerError as error:
        try:
            sys.stdout.flush()
        except OSError:  # the error tells of it, and Python would once more
            drop_output()
        return _told(console, error, str(error), error.exit_code)
    except MemoryError as error:
        return _told(console, error, "out of memory: pass fewer or smaller inputs", 1)
    except OSError as error:
        text = _of_system(error)  # before the stream is another
        drop_output()
        return _told(console, error, text, 1)
    except Exception as error:
        if ranks.terminated():
            return _told(console, error, ranks.LOST, 1)
        text = f"unexpected {type(error).__name__}: {error}; please report it with the output of --debug"
        return _told(console, error, text, 1)


def _check_folder() -> None:
    """Raises DataError where the working folder was deleted: libraries that torch loads would end the program there."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise DataError("the folder in which this runs is no longer there: cd to another") from None


def _of_system(error: OSError) -> str:
    """What the system's error says, and of what: where no file is named and space is short, of standard output."""
    if error.filename:
        return f"{error.filename}: {error.strerror}"
    closed = error.errno == errno.EBADF and not _is_open(1, os.O_WRONLY)
    if closed or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return str(cannot_write(error.errno, "standard output"))
    if error.errno == errno.EBADF and not _is_open(0, os.O_RDONLY):
        return "standard input cannot be read: give it with < or a pipe"
    return error.strerror or str(error)


def _is_open(number: int, way: int) -> bool:
    """Whether a stream is open for reading or writing, `way`."""
    return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE in (way, os.O_RDWR)


def _told(console: Console, error: Exception, text: str, status: int) -> int:
    if console.debug:
        import traceback

        say("".join(traceback.format_exception(error)).removesuffix("\n"))
    console.error(text)
    return status
