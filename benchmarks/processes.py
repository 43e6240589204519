"""What a command costs: wall-clock and processor seconds, peak memory, of all its processes together.

Memory is looked at while the command runs, on Linux; elsewhere only the largest of its processes is known. Whoever
imports this should stay small: until a new process has loaded its program, it counts with the memory of its parent.
"""

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import IO, Final

_MEASURED: Final = re.compile(r"^measured\b.*\bin ([\d.]+) s\b", re.MULTILINE)
_LOOK_SECONDS: Final = 0.01
_LOOK_SHARE: Final = 20
_MAX_TOLD_CHARS: Final = 500


class TooSlowError(Exception):
    """A command did not end within the seconds it was given, and was ended."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took.

    Attributes:
        wall: Seconds from its start to its end.
        cpu: Processor seconds, user and system, of the process and of all below it that were waited for.
        peak_mb: Most memory resident at one time, in MB of 10^6 bytes, pages of files that it maps included.
        own_mb: The same without pages of files, which the system takes back when it needs them; None if not known.
        measuring: Seconds of reading and computing as the command itself reports them; None if it does not.
    """

    wall: float
    cpu: float
    peak_mb: float
    own_mb: float | None = None
    measuring: float | None = None

    @property
    def rest(self) -> float | None:
        """Seconds of the process that are no measuring."""
        return None if self.measuring is None else self.wall - self.measuring


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of some processes at one time: bytes resident, and bytes of those that are no pages of files."""

    resident: int = 0
    own: int = 0


def measure(commands: Sequence[Sequence[str]], environment: Mapping[str, str], limit: float | None = None) -> Cost:
    """Run commands one after the other, their output thrown away, and see what they took together.

    Args:
        commands: Each with its arguments.
        environment: What they see of it.
        limit: Seconds given to all of them; None for no limit.

    Returns:
        Sums of seconds, and the larger of the peaks.

    Raises:
        TooSlowError: If they did not end within the limit.
        SystemExit: If one ends with another status than 0.
    """
    costs: list[Cost] = []
    for command in commands:
        left = None if limit is None else limit - sum(cost.wall for cost in costs)
        costs.append(_measure_one(command, environment, left))
    own = [cost.own_mb for cost in costs if cost.own_mb is not None]
    measuring = [cost.measuring for cost in costs if cost.measuring is not None]
    return Cost(
        sum(cost.wall for cost in costs),
        sum(cost.cpu for cost in costs),
        max(cost.peak_mb for cost in costs),
        max(own) if len(own) == len(costs) else None,
        sum(measuring) if len(measuring) == len(costs) else None,
    )


def find_measuring(told: str) -> float | None:
    """Seconds of measuring in what a command wrote on standard error: "measured 6.00 GB in 1.23 s (4.88 GB/s)"."""
    found = _MEASURED.findall(told)
    return float(found[-1]) if found else None


def look_at_memory(pid: int) -> Memory:
    """Memory of a process and of all below it, now; pages that several of them share are counted once.

    Returns:
        Zeros where nothing can be known: the process has ended, or the system has no /proc.
    """
    pids = _list_tree(pid)
    if len(pids) == 1:
        return _read_memory(f"/proc/{pid}/status", {"VmRSS"}, {"RssAnon", "RssShmem"})
    found = [_read_memory(f"/proc/{one}/smaps_rollup", {"Pss"}, {"Pss_Anon", "Pss_Shmem"}) for one in pids]
    return Memory(sum(memory.resident for memory in found), sum(memory.own for memory in found))


def _measure_one(command: Sequence[str], environment: Mapping[str, str], limit: float | None) -> Cost:
    with tempfile.TemporaryFile() as told:
        start = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=told, env=environment, start_new_session=True
        ) as process:
            watch = _Watch(process.pid)
            watch.start()
            alarm = _Alarm(process.pid, limit)
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:  # a session of its own does not hear of Ctrl-C
                alarm.ring()
                raise
            finally:
                wall = time.perf_counter() - start
                alarm.cancel()
                watch.end()
            process.returncode = os.waitstatus_to_exitcode(status)
        text = _read_back(told)
    if alarm.rung:
        raise TooSlowError(" ".join(command))
    if process.returncode:
        name = " ".join(command[:4])
        raise SystemExit(f"{name} ... ended with status {process.returncode}: {text[-_MAX_TOLD_CHARS:].strip()}")
    largest = usage.ru_maxrss / 1e6 * (1 if sys.platform == "darwin" else 1024)
    peak, own = watch.most.resident / 1e6, watch.most.own / 1e6
    return Cost(wall, usage.ru_utime + usage.ru_stime, max(largest, peak), own or None, find_measuring(text))


class _Watch(threading.Thread):
    """Looks at the memory of a process and all below it, again and again, and keeps the most it saw."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.most = Memory()
        self._pid = pid
        self._ended = threading.Event()

    def run(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            start = time.perf_counter()
            seen = look_at_memory(self._pid)
            self.most = Memory(max(self.most.resident, seen.resident), max(self.most.own, seen.own))
            # Looking must not cost what is measured: many pages take long to be counted.
            pause = max(_LOOK_SECONDS, _LOOK_SHARE * (time.perf_counter() - start))

    def end(self) -> None:
        self._ended.set()
        self.join()


class _Alarm:
    """Ends a process that leads a session of its own, with all that belong to it, once its seconds are over."""

    def __init__(self, pid: int, seconds: float | None) -> None:
        self.rung = False
        self._pid = pid
        self._timer = threading.Timer(max(0.0, seconds or 0.0), self.ring)
        self._timer.daemon = True
        if seconds is not None:
            self._timer.start()

    def ring(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._pid, SIGKILL)
            self.rung = True

    def cancel(self) -> None:
        self._timer.cancel()


def _read_back(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _list_tree(pid: int) -> list[int]:
    found = [pid]
    for one in found:  # grows as it goes
        with suppress(OSError):  # it may end at any moment
            for path in Path(f"/proc/{one}/task").glob("*/children"):
                found += map(int, path.read_text(encoding="ascii").split())
    return found


def _read_memory(path: str, resident: set[str], own: set[str]) -> Memory:
    numbers: dict[str, int] = {}
    with suppress(OSError), Path(path).open(encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, rest = line.partition(":")
            if name in resident or name in own:
                numbers[name] = int(rest.split()[0]) * 1024
    total = [sum(numbers.get(name, 0) for name in names) for names in (resident, own)]
    return Memory(*total)
