"""What measuring took, in a line; and when the libraries that trends need are imported: while a processor is idle."""

import sys
import threading

import pytest

from wsanalyze import console
from wsanalyze.console import ProgressDisplay, WarmUp, describe_effort
from wsanalyze.progress import Effort, Progress


@pytest.mark.parametrize(
    ("effort", "told"),
    [
        (Effort(6_000_000_000, 1.2345), "measured 6.00 GB in 1.23 s (4.86 GB/s)"),
        (Effort(960, 0.0021), "measured 960 B in 0.002 s (457 kB/s)"),
        (Effort(24_000_000_000_000, 4321.06), "measured 24.0 TB in 4321.06 s (5.55 GB/s)"),
        (Effort(1, 0.0), "measured 1 B in 0.000 s (1.00 GB/s)"),  # a clock that does not tick as fast
        (Effort(0, 0.0), "measured nothing: all of it was stored already"),
    ],
)
def test_what_measuring_took_is_told_in_one_line(effort, told):
    assert describe_effort(effort) == told


@pytest.fixture
def imports(monkeypatch):
    """How often the import was started."""
    done, before = [], set(threading.enumerate())
    monkeypatch.setattr(console, "import_estimators", lambda: done.append(threading.current_thread().daemon))
    yield done
    for thread in set(threading.enumerate()) - before:
        thread.join(10)


def watch(warm_up, *looks):
    """Let a warm-up look once a second while the process and the calling thread use those processors."""
    now = console._Times(100.0, 50.0, 10.0)
    warm_up.watch(now)
    for process, thread in looks:
        now = console._Times(now.clock + 1.0, now.process + process, now.thread + thread)
        warm_up.watch(now)


@pytest.mark.parametrize(
    ("num_processors", "process", "thread", "starts"),
    [
        (2, 2.0, 0.05, False),  # both read and compute
        (2, 1.0, 1.0, False),  # the calling thread computes: an import would keep it from its interpreter
        (2, 1.0, 0.05, True),  # one reads, and one has nothing to do
        (2, 0.4, 0.1, True),  # both wait for a disk
        (1, 0.3, 0.3, True),  # the only one waits for a disk
        (1, 1.0, 0.05, False),
        (64, 8.0, 0.2, True),  # memory has no room for more than a few
        (64, 8.0, 0.9, False),
    ],
)
def test_trends_are_prepared_where_a_processor_is_idle(imports, num_processors, process, thread, starts):
    warm_up = WarmUp(num_processors)
    watch(warm_up, *[(process, thread)] * 3)
    assert warm_up.started is starts
    assert len(imports) == starts


def test_what_was_busy_is_looked_at_again(imports):
    warm_up = WarmUp(2)
    watch(warm_up, *[(2.0, 0.0)] * 20, (0.5, 0.0), (0.5, 0.0))
    assert imports == [True]


def test_a_moment_tells_nothing(imports):
    warm_up = WarmUp(2)
    for index in range(10):
        warm_up.watch(console._Times(1 + index / 1000, 0.0, 0.0))
    assert not imports


def test_a_library_that_is_broken_is_told_of_by_whoever_needs_it(monkeypatch):
    interval = sys.getswitchinterval()
    monkeypatch.setattr(console, "_USED_BY_TRENDS", ("json", "no_such_library"))
    console.import_estimators()
    assert sys.getswitchinterval() == interval


def test_there_are_processors():
    assert WarmUp()._num_processors >= 1


@pytest.mark.parametrize(
    ("asked", "unit", "starts"), [(True, "bytes", 1), (True, "checkpoints", 0), (False, "bytes", 0)]
)
def test_a_display_prepares_trends_only_where_it_was_asked_to_and_bytes_are_read(
    imports, monkeypatch, asked, unit, starts
):
    monkeypatch.setattr(console, "_WATCH_SECONDS", 0.0)
    monkeypatch.setattr(console, "_LEAST_IDLE", -1e9)
    display = ProgressDisplay(quiet=True, warm_up=asked)
    for done in range(5):
        display(Progress("measuring", done, 5, unit))
    assert len(imports) == starts
