"""How the command line ends: signals, and errors as one line and an exit status.

References:
    docs/cli.md, "Exit status".
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import click

from wsanalyze.causes import explain_import, find_interrupt
from wsanalyze.errors import WsAnalyzeError

if TYPE_CHECKING:
    from collections.abc import Iterator

STATUS_FAILED: Final = 1
STATUS_PARTLY: Final = 3
STATUS_INTERRUPTED: Final = 130
STATUS_TERMINATED: Final = 143
_GOES_ON: Final = "the same command goes on from there"
_KEPT: Final = {
    "analyze": f"; what was measured is kept, {_GOES_ON}",
    "pull": f"; what was fetched is kept, {_GOES_ON}",
    "report": "; no file is half-written, those that were not written yet are as they were",
    "trends": "; no file is half-written, those that were not written yet are as they were",
}
_LESS_MEMORY: Final = "read fewer checkpoints (--steps, --every) or rows (--layers), or allow less with --memory"


class _Termination(KeyboardInterrupt):
    """SIGTERM: whatever clears up after Ctrl-C clears up after it as well."""


class _InterruptedError(Exception):
    """Ctrl-C or SIGTERM, under a name that click does not know: it would print an empty line first.

    Args:
        command: The command that it ended.
    """

    def __init__(self, command: str | None) -> None:
        super().__init__(command)
        self.command = command or ""


class ClosedOutput(io.TextIOWrapper):
    """Takes the place of a stream that was closed before the program began: what is written to it goes nowhere."""

    def __init__(self) -> None:
        # Not closed in the end, of which Python would warn.
        nowhere = io.FileIO(os.open(os.devnull, os.O_WRONLY), "w", closefd=False)
        super().__init__(io.BufferedWriter(nowhere), encoding="utf-8")


class InterruptibleGroup(click.Group):
    """Commands that Ctrl-C ends as it ends everything else here: `explain` tells of it."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - whatever the command returns
        """Run the command, and keep click from answering an interrupt by itself."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, Exception) as error:
            if find_interrupt(error):
                raise _InterruptedError(ctx.invoked_subcommand) from error
            raise


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does, unless whoever runs us has other plans for it."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one must not hit the clearing up
    raise _Termination


def explain(error: Exception) -> tuple[str, int] | None:
    """One line and an exit status for an error that a user can do something about, None for a fault of the program."""
    interrupt = KeyboardInterrupt if isinstance(error, click.Abort) else find_interrupt(error)
    if interrupt:
        status = STATUS_TERMINATED if issubclass(interrupt, _Termination) else STATUS_INTERRUPTED
        return f"interrupted{_KEPT.get(getattr(error, 'command', ''), '')}", status
    match error:
        case WsAnalyzeError():
            return str(error), error.exit_status
        case click.ClickException():
            context = getattr(error, "ctx", None)
            advice = f" (see {context.command_path} --help)" if isinstance(context, click.Context) else ""
            return f"{error.format_message().rstrip('.')}{advice}", error.exit_code
        case MemoryError():
            return f"out of memory; {_LESS_MEMORY}", STATUS_FAILED
        case OSError(filename=None):
            drop_output()
            return f"standard output cannot be written ({(error.strerror or str(error)).lower()})", STATUS_FAILED
    broken = explain_import(error)
    return None if broken is None else (broken, STATUS_FAILED)


def tell(message: str, status: int) -> int:
    """Print a line on standard error; returns the status."""
    from wsanalyze.console import print_error

    print_error(message)
    return status


def drop_output() -> None:
    """Send what is left of our output nowhere: the flush at exit must not complain a second time."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
