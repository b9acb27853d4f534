"""The program `fer`, and `python -m fercli`."""

import signal
from typing import NoReturn


def run() -> NoReturn:
    """Runs the program. An interrupt that comes while it is loaded ends it without a word, as it ends others."""
    raises = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if raises:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli import main

    if raises:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main()


if __name__ == "__main__":
    run()
