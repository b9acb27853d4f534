"""A `python -m` that starts at once. Loading torch takes seconds, and the tests start some hundreds of commands: here
one process loads it all, when it is first asked, and forks a child for each command.

`python warm.py ADDRESS MODULE WORDS...` asks for one. The child has its folder, variables, mask, open files and limit
of their size; it stays as the child's shadow, which passes signals on, ends as the child ends, and takes the child with
it when it is killed.
`python -m tests.warm NUMBER` answers at the socket that it was given as a descriptor of that number. Linux alone.
"""

import array
import contextlib
import json
import os
import resource
import signal
import socket
import struct
import sys

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)

#: The variable that tells the processes of a test run the address. Beside the socket lies a program `fer`.
VARIABLE = "FER_TESTS_WARM"

#: Descriptors from here on are no command's own.
HIGH = 300


# --- who asks: nothing is loaded here that takes time -----------------------------------------------------------------


def ask(address, module, words):
    """Has a module run, and ends as it does."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until there is a child to pass them to
    server = socket.socket(socket.AF_UNIX)
    server.connect(address)
    own = server.fileno()
    kept = [number for number in map(int, os.listdir("/proc/self/fd")) if number != own and inheritable(number)]
    mask = os.umask(0)
    told = {"module": module, "words": words, "environ": dict(os.environ), "umask": mask, "files": kept}
    told["size"] = resource.getrlimit(resource.RLIMIT_FSIZE)
    send(server, json.dumps(told).encode(), [os.open(".", os.O_PATH), *kept])
    for number in kept:  # a reader of what the command writes waits for nobody else
        os.close(number)
    (child,) = struct.unpack("i", server.recv(4))
    for number in SIGNALS:
        signal.signal(number, lambda received, _: os.kill(child, received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    (status,) = struct.unpack("i", server.recv(4))
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def inheritable(number):
    with contextlib.suppress(OSError):  # that of the folder listed, which is closed again
        return os.get_inheritable(number)
    return False


def send(to, data, files):
    numbers = array.array("i", files)
    to.sendmsg([struct.pack("i", len(data))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])
    to.sendall(data)


# --- who answers ------------------------------------------------------------------------------------------------------


def start():
    """Starts who answers, and names the address in VARIABLE; returns what ends it."""
    import shlex
    import shutil
    import subprocess
    import tempfile

    folder = tempfile.mkdtemp(prefix="fer-tests-")
    address, program = os.path.join(folder, "socket"), os.path.join(folder, "fer")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        command = [sys.executable, "-m", __name__, str(listening.fileno())]
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, pass_fds=[listening.fileno()], start_new_session=True,
            cwd=os.path.dirname(os.path.dirname(__file__)),
        )  # fmt: skip
    with open(program, "w") as file:
        file.write(f'#!/bin/sh\nexec {shlex.join([*asking(address), "fercli"])} "$@"\n')
    os.chmod(program, 0o755)
    os.environ[VARIABLE] = address

    def end():
        server.stdin.close()
        server.wait()
        shutil.rmtree(folder)

    return end


def asking(address):
    """The beginning of a command line that asks."""
    return [sys.executable, "-IS", __file__, address]


def serve(number):
    """Answers until standard input ends, which the one who started it holds."""
    import select

    listening, loaded = socket.socket(fileno=number), False
    while 0 not in select.select([0, listening], [], [])[0]:
        connection, _ = listening.accept()
        if not loaded:
            load()
            loaded = True
        if os.fork() == 0:
            listening.close()
            answer(connection)
        connection.close()


def load():
    """Loads all that any command loads."""
    import importlib
    import pkgutil

    import fercli

    from . import offline

    for module in pkgutil.walk_packages(fercli.__path__, "fercli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    importlib.import_module("torch._dynamo")  # which the first optimiser loads
    importlib.import_module("tqdm")
    os.fsync = lambda _: None  # as in conftest
    offline.stay()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who answer


def answer(connection):
    """Forks the command, and tells of its end to the one who asked; who leaves has it killed."""
    import select

    told, (folder, *files) = receive(connection)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        become(told, folder, files)
    for number in (folder, *files):
        os.close(number)
    watched = os.pidfd_open(child)
    connection.sendall(struct.pack("i", child))
    if connection in select.select([connection, watched], [], [])[0]:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        connection.sendall(struct.pack("i", os.waitstatus_to_exitcode(status)))
    os._exit(0)


def receive(connection):
    """What `send` sent: the data and the descriptors, which are high."""
    data, rights, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(4 * 250))
    numbers = array.array("i")
    for _, _, packed in rights:
        numbers.frombytes(packed)
    (length,) = struct.unpack("i", data)
    with connection.makefile("rb") as stream:
        told = json.loads(stream.read(length))
    import fcntl

    high = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, HIGH) for number in numbers]
    for number in numbers:
        os.close(number)
    return told, high


def become(told, folder, files):
    """Runs the command as if it had been started by the one who asked."""
    os.closerange(0, HIGH)
    for number, high in zip(told["files"], files, strict=True):
        os.dup2(high, number)
    os.fchdir(folder)
    os.umask(told["umask"])
    resource.setrlimit(resource.RLIMIT_FSIZE, told["size"])
    os.environ.clear()
    os.environ.update(told["environ"])
    sys.argv = [told["module"], *told["words"]]
    for number, (name, mode, errors) in enumerate(
        (("stdin", "r", "strict"), ("stdout", "w", "strict"), ("stderr", "w", "backslashreplace"))
    ):
        known = number in told["files"]
        setattr(sys, name, open(number, mode, errors=errors, closefd=False) if known else None)  # noqa: SIM115
    sys.stderr and sys.stderr.reconfigure(line_buffering=True)
    import runpy

    try:
        runpy.run_module(told["module"], run_name="__main__", alter_sys=True)
        sys.stdout.flush()
        sys.exit()
    except SystemExit as end:
        import atexit

        atexit._run_exitfuncs()
        os._exit(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    os._exit(1)


if __name__ == "__main__":
    if __package__:
        serve(int(sys.argv[1]))
    else:
        ask(sys.argv[1], sys.argv[2], sys.argv[3:])
