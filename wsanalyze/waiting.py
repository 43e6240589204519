"""What a person sees while work cannot tell how far it is: a line on standard error, once it takes long."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.progress import Progress as RichProgress

_SHOWN_AFTER_SECONDS: Final = 1.0
_PRINTED_AFTER_SECONDS: Final = 10.0


class Waiting:
    """A line with the time that passed on a terminal, one plain line elsewhere; nothing for what is done at once.

    A context manager around the work.

    Args:
        stage: What is being done, in a word or two ("finding trends").
        quiet: Show nothing.
        no_color: Use no colour.
    """

    def __init__(self, stage: str, *, quiet: bool = False, no_color: bool = False) -> None:
        self._stage = stage
        self._no_color = no_color
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._lock = threading.Lock()
        self._over = False
        self._bars: RichProgress | None = None
        self._timer: threading.Timer | None = None
        if not quiet:
            self._timer = threading.Timer(_SHOWN_AFTER_SECONDS if self._live else _PRINTED_AFTER_SECONDS, self._show)
            self._timer.daemon = True

    def __enter__(self) -> Self:
        if self._timer is not None:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._over = True
            if self._bars is not None:
                self._bars.stop()

    def _show(self) -> None:
        with self._lock:
            if self._over:
                return
            if self._live:
                self._start_line()
            else:
                print(f"{self._stage} ...", file=sys.stderr, flush=True)  # noqa: T201 - to a person, as in console.py

    def _start_line(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        console = Console(stderr=True, no_color=self._no_color or None)
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        self._bars = Progress(*columns, console=console, transient=True)
        self._bars.add_task(self._stage, total=None)
        self._bars.start()
