"""Rounds: every way in turn on the same files, the floor of the machine right before each."""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from processes import Cost, TooSlowError, measure
from sequences import Files

_RUN: Final = "bench.wsa"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to do the work: its commands, run one after the other, and whether nothing may be stored before."""

    name: str
    commands: Sequence[Sequence[str]]
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One way in one round: the floor right before it, and what it took."""

    floor: Cost
    cost: Cost


def analyze_command(folder: Path, room: Path, *options: str) -> list[str]:
    """The command that analyzes a folder, its run file in a room of its own."""
    return [sys.executable, "-m", "wsanalyze", "analyze", str(folder), "--run", str(room / _RUN), *options]


def run_rounds(
    files: Files, ways: Sequence[Way], rounds: int, room: Path, limit: float | None = None
) -> tuple[dict[str, list[Sample]], list[str]]:
    """Run every way once a round, each right behind the floor.

    Returns:
        Samples by name, and a line for each way that took longer than the limit: it is not run again.
    """
    environment = {**os.environ, "XDG_CACHE_HOME": str(room / "cache"), "HF_HUB_OFFLINE": "1"}
    cat = [["cat", *map(str, files.weights)]]
    samples: dict[str, list[Sample]] = {way.name: [] for way in ways}
    slow: dict[str, str] = {}
    measure(cat, environment)  # warms the page cache
    for _ in range(rounds):
        for way in ways:
            if way.name in slow:
                continue
            if way.fresh:
                forget(room)
            floor = measure(cat, environment)
            try:
                samples[way.name].append(Sample(floor, measure(way.commands, environment, limit)))
            except TooSlowError:
                slow[way.name] = f"{way.name}: took more than {limit:g} s"
    return samples, list(slow.values())


def forget(room: Path) -> None:
    """Remove what wsanalyze stored: the run file, and what it remembers of headers."""
    for path in room.glob(f"{_RUN}*"):
        path.unlink()
    shutil.rmtree(room / "cache", ignore_errors=True)
