"""The program `fer`, and `python -m fercli`."""

import signal
from typing import NoReturn


def run() -> NoReturn:
    """Runs the program. An interrupt that comes while it is loaded ends it without a word, as it ends others."""
    raises = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if raises:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli import end, main

    if raises:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt as ended:  # between its first line or last and what answers it
        end(128 + getattr(ended, "number", signal.SIGINT))
    except SystemExit as ended:
        if ended.code > 128:  # threads may be busy still, whose end Python's own farewell would not wait for
            end(ended.code)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done, and was told
        raise


if __name__ == "__main__":
    run()
