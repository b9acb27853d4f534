"""The errors a user can meet. Each message says what was found, where, and what to type instead."""


class FerError(Exception):
    """Base of every error that is shown as one sentence; `exit_code` is the process's exit status."""

    exit_code = 1


class DataError(FerError):
    """The data, or the run over it, is wrong (exit 1)."""

    exit_code = 1


class DeviceGone(DataError):
    """A GPU no longer answers: no fault of the row at hand, and the rows after it would fail too (exit 1)."""


class UsageError(FerError):
    """The command was put wrongly (exit 2)."""

    exit_code = 2


class GateFailed(FerError):
    """A measured figure lies beyond the bound that was asked for (exit 3)."""

    exit_code = 3


SOME_ROWS_FAILED = 4
INTERRUPTED = 130
