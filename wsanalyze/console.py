"""What a person at a terminal sees while the program works: progress and errors, on standard error."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from wsanalyze.progress import Effort, Progress

_PLAIN_SECONDS: Final = 10.0
_LEAST_PACE_SECONDS: Final = 0.5
_TURN_SECONDS: Final = 0.0002
_WATCH_SECONDS: Final = 0.1
_LEAST_IDLE: Final = 0.5
_USED_BY_TRENDS: Final = (
    "sklearn.cluster",
    "sklearn.decomposition",
    "sklearn.metrics",
    "sklearn.neighbors",
    "scipy.ndimage",
    "threadpoolctl",
    "wsanalyze.reports.terminal",
    "rich.console",
    "rich.text",
)


def print_error(message: str) -> None:
    """Print one line on standard error, with nothing in it that a terminal would obey."""
    from wsanalyze.reports.text import printable

    print(f"wsanalyze: {printable(message)}", file=sys.stderr)  # noqa: T201 - the console is its purpose


def describe_effort(effort: Effort) -> str:
    """What measuring took, in a line that scripts may read: `measured 6.00 GB in 1.23 s (4.88 GB/s)`."""
    from wsanalyze.reports.text import format_bytes

    if not effort.nbytes:
        return "measured nothing: all of it was stored already"
    rate = format_bytes(round(effort.nbytes / max(effort.seconds, 1e-9)))
    decimals = 3 if effort.seconds < 1 else 2
    return f"measured {format_bytes(effort.nbytes)} in {effort.seconds:.{decimals}f} s ({rate}/s)"


class ProgressDisplay:
    """Bars on a terminal, a plain line now and then elsewhere, nothing when told to be quiet.

    A `wsanalyze.progress.ProgressCallback` and a context manager.

    Args:
        quiet: Show nothing.
        no_color: Use no colour.
        warm_up: Import meanwhile what finding trends needs, where that slows nothing down.
    """

    def __init__(self, *, quiet: bool = False, no_color: bool = False, warm_up: bool = False) -> None:
        self._quiet = quiet
        self._no_color = no_color
        self._bars: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._paces: dict[str, _Pace] = {}
        self._last_line = time.monotonic()
        self._warm_up = WarmUp() if warm_up else None

    def __call__(self, progress: Progress, /) -> None:
        """Show how far the work is."""
        if self._warm_up is not None and progress.unit == "bytes":
            self._warm_up.watch(_Times.now())
        if self._quiet:
            return
        if progress.note:
            self._print_note(progress.note)
            return
        pace = self._paces.setdefault(progress.stage, _Pace(progress, time.monotonic()))
        if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":  # nothing can be overwritten
            self._print_line(progress, pace)
            return
        bars = self._bars or self._start_bars()
        if progress.stage not in self._tasks:
            self._add_bar(bars, progress)
        text = pace.describe(progress, time.monotonic())
        bars.update(self._tasks[progress.stage], completed=float(progress.done), total=progress.total, text=text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def _start_bars(self) -> RichProgress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(stderr=True, no_color=self._no_color or None)
        # The bar takes what the words leave.
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(None),
            TextColumn("{task.fields[text]}", markup=False),
        )
        self._bars = Progress(*columns, console=console, transient=True)
        self._bars.start()
        return self._bars

    def _add_bar(self, bars: RichProgress, progress: Progress) -> None:
        """A bar for another stage, in place of those that are full: there may be one for each file."""
        from wsanalyze.reports.text import printable

        for task in bars.tasks:
            if task.finished:
                bars.update(task.id, visible=False)
        self._tasks[progress.stage] = bars.add_task(printable(progress.stage), total=progress.total, text="")

    def _print_note(self, note: str) -> None:
        from wsanalyze.reports.text import printable

        if self._bars is not None:
            self._bars.console.print(printable(note), markup=False, highlight=False)
        else:
            print(printable(note), file=sys.stderr, flush=True)  # noqa: T201 - the console is its purpose

    def _print_line(self, progress: Progress, pace: _Pace) -> None:
        from wsanalyze.reports.text import printable

        now = time.monotonic()
        if now - self._last_line > _PLAIN_SECONDS:
            self._last_line = now
            text = pace.describe(progress, now)
            print(f"{printable(progress.stage)}: {text}", file=sys.stderr, flush=True)  # noqa: T201 - as above


class _Pace:
    """How fast a stage goes, from its first report on: what was done before took no time.

    Args:
        first: The first report.
        now: Seconds of a clock.
    """

    def __init__(self, first: Progress, now: float) -> None:
        self._done = first.done
        self._since = now

    def describe(self, progress: Progress, now: float) -> str:
        """How much is done, and, once that can be told, how fast and how long the rest takes."""
        from wsanalyze.reports.text import format_bytes, format_seconds

        done, seconds = progress.done - self._done, now - self._since
        rate = done / seconds if done > 0 and seconds >= _LEAST_PACE_SECONDS else None
        rest = progress.total - progress.done
        left = [f"{format_seconds(rest / rate)} left"] if rate and rest > 0 else []
        if progress.unit == "bytes":
            speed = [f"{format_bytes(round(rate))}/s"] if rate else []
            return ", ".join([f"{format_bytes(progress.done)} of {format_bytes(progress.total)}", *speed, *left])
        return ", ".join([f"{progress.done} of {progress.total} {progress.unit}", *left])


class _Times(NamedTuple):
    """Seconds of the clock, of all processors in this process, and of the calling thread."""

    clock: float
    process: float
    thread: float

    @classmethod
    def now(cls) -> Self:
        return cls(time.perf_counter(), time.process_time(), time.thread_time())


class WarmUp:
    """Imports what trends need (a second of scikit-learn) while bytes are read, once that leaves a processor idle.

    Where reading and computing keep every processor busy, an import beside them takes from them as much as it saves,
    and where the calling thread computes by itself, the two hinder each other at the interpreter's lock.

    Args:
        num_processors: Processors that there are; those that this process may use where None.
    """

    def __init__(self, num_processors: int | None = None) -> None:
        self._num_processors = num_processors or _count_processors()
        self._since: _Times | None = None
        self.started = False

    def watch(self, now: _Times) -> None:
        """Look at how busy the process was since the last look, and start the import where it was idle enough."""
        if self.started:
            return
        if self._since is None:
            self._since = now
            return
        clock, process, thread = (after - before for before, after in zip(self._since, now, strict=True))
        if clock < _WATCH_SECONDS:
            return
        self._since = now
        if min(1 - thread / clock, self._num_processors - process / clock) >= _LEAST_IDLE:
            self.started = True
            threading.Thread(target=import_estimators, daemon=True).start()


def _count_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def import_estimators() -> None:
    """Import what finding trends and showing them on a terminal import when they are first used."""
    interval = sys.getswitchinterval()
    # Threads that read give the interpreter up for less than the 5 ms that they would wait to get it back by default.
    sys.setswitchinterval(_TURN_SECONDS)
    try:
        with suppress(Exception):  # whoever needs it says what is wrong with it
            for name in _USED_BY_TRENDS:
                import_module(name)
    finally:
        sys.setswitchinterval(interval)
