"""What a person at a terminal sees while the program works: progress and errors, on standard error."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from wsanalyze.progress import Progress

_PLAIN_SECONDS: Final = 10.0
_LONG_READ_BYTES: Final = 64_000_000
_TURN_SECONDS: Final = 0.0002


def print_error(message: str) -> None:
    """Print one line on standard error, with nothing in it that a terminal would obey."""
    from wsanalyze.reports.text import printable

    print(f"wsanalyze: {printable(message)}", file=sys.stderr)  # noqa: T201 - the console is its purpose


class ProgressDisplay:
    """Bars on a terminal, a plain line now and then elsewhere, nothing when told to be quiet.

    A `wsanalyze.progress.ProgressCallback` and a context manager.

    Args:
        quiet: Show nothing.
        no_color: Use no colour.
        warm_up: Import meanwhile what finding trends needs.
    """

    def __init__(self, *, quiet: bool = False, no_color: bool = False, warm_up: bool = True) -> None:
        self._quiet = quiet
        self._no_color = no_color
        self._bars: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._last_line = time.monotonic()
        self._warmed_up = not warm_up

    def __call__(self, progress: Progress, /) -> None:
        """Show how far the work is."""
        self._warm_up(progress)
        if self._quiet:
            return
        if progress.note:
            self._print_note(progress.note)
            return
        if not sys.stderr.isatty():
            self._print_line(progress)
            return
        bars = self._bars or self._start_bars()
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = bars.add_task(progress.stage, total=progress.total, text="")
        done = float(progress.done)
        bars.update(self._tasks[progress.stage], completed=done, total=progress.total, text=_describe(progress))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def _start_bars(self) -> RichProgress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True, no_color=self._no_color or None)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns, console=console, transient=True)
        self._bars.start()
        return self._bars

    def _print_note(self, note: str) -> None:
        from wsanalyze.reports.text import printable

        if self._bars is not None:
            self._bars.console.print(printable(note), markup=False, highlight=False)
        else:
            print(printable(note), file=sys.stderr, flush=True)  # noqa: T201 - the console is its purpose

    def _print_line(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last_line > _PLAIN_SECONDS:
            self._last_line = now
            print(f"{progress.stage}: {_describe(progress)}", file=sys.stderr, flush=True)  # noqa: T201 - as above

    def _warm_up(self, progress: Progress) -> None:
        """Import what trends need (two seconds of scikit-learn) while a long read keeps the disk busy."""
        if not self._warmed_up and progress.unit == "bytes" and progress.total > _LONG_READ_BYTES:
            self._warmed_up = True
            threading.Thread(target=_import_estimators, daemon=True).start()


def _describe(progress: Progress) -> str:
    from wsanalyze.reports.text import format_bytes

    if progress.unit == "bytes":
        return f"{format_bytes(progress.done)} of {format_bytes(progress.total)}"
    return f"{progress.done} of {progress.total} {progress.unit}"


def _import_estimators() -> None:
    interval = sys.getswitchinterval()
    # NumPy gives the interpreter up for a few microseconds at a time: by default it would wait 5 ms to get it back.
    sys.setswitchinterval(_TURN_SECONDS)
    try:
        import sklearn.cluster
        import sklearn.decomposition  # noqa: F401 - for its side effect: it is in sys.modules then
    finally:
        sys.setswitchinterval(interval)
