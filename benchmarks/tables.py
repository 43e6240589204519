"""What the benchmarks print: the machine, spreads, tables in Markdown."""

import datetime as dt
import os
import platform
import shlex
import statistics
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

NOTHING: Final = "-"
DISTURBED: Final = 1.2
"""A floor of so many times the least one was disturbed by other work on the machine."""


def describe_machine() -> str:
    """The machine, the day and the command, in two lines."""
    processor = _find("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    memory = _find("/proc/meminfo", "MemTotal")
    size = f", {int(memory.split()[0]) * 1024 / 1e9:.0f} GB of memory" if memory else ""
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    day = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    return f"{platform.machine()}, {processor}, {os.cpu_count()} cores{size}; {system}; {day}\n{command}"


def show(value: float | None, digits: int = 2) -> str:
    """A number, or a dash where there is none."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def median_of(values: Iterable[float | None]) -> float | None:
    """The median of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def show_spread(values: Iterable[float | None], digits: int = 2) -> str:
    """Median, least and greatest of those that are known, as "1.23 (1.10, 1.50)"."""
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    return f"{show(statistics.median(known), digits)} ({show(min(known), digits)}, {show(max(known), digits)})"


def divide(values: Sequence[float | None], floors: Sequence[float | None]) -> list[float | None]:
    """Ratios of one round after the other; None where either is not known or the floor is 0."""
    pairs = zip(values, floors, strict=True)
    return [value / floor if value is not None and floor else None for value, floor in pairs]


def show_floor(name: str, seconds: Sequence[float]) -> str:
    """How even the floor was: what was measured beside an uneven one says little."""
    least = min(seconds)
    disturbed = sum(taken > DISTURBED * least for taken in seconds)
    told = f"{disturbed} of {len(seconds)} took more than {DISTURBED:g} times the least" if disturbed else "even"
    return f"{name}: {show_spread(seconds)} s; {told}"


def make_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _find(path: str, name: str) -> str | None:
    with suppress(OSError), Path(path).open(encoding="utf-8") as file:
        for line in file:
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return None
