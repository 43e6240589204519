"""What a long piece of work tells whoever waits for it: a callback, silent by default, and what it took in the end."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Progress:
    """One report of progress.

    Attributes:
        stage: What is being done, in a word or two ("reading headers", "measuring").
        done: Units done so far.
        total: Units in all.
        unit: What is counted: "checkpoints" or "bytes".
        note: A sentence that is worth keeping on the screen, or "".
    """

    stage: str
    done: int
    total: int
    unit: str
    note: str = ""


@dataclass(slots=True)
class Effort:
    """What it took to read weights, compute their sums and keep them.

    Attributes:
        nbytes: Bytes that were read.
        seconds: How long that was, by the wall clock.
    """

    nbytes: int = 0
    seconds: float = 0.0


class ProgressCallback(Protocol):
    """Called now and then from the thread that does the work; must return quickly and not raise."""

    def __call__(self, progress: Progress, /) -> None:
        """Take note of `progress`."""


def silent(progress: Progress, /) -> None:
    """Ignore all progress."""
    del progress
