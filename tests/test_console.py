"""What is shown of work that goes on and of what it took; and that libraries are imported while a processor is idle."""

import io
import sys
import threading

import pytest

from wsanalyze import console
from wsanalyze.console import ProgressDisplay, WarmUp, describe_effort
from wsanalyze.progress import Effort, Progress
from wsanalyze.waiting import Waiting


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


# Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told how late it is."""
    times = [1000.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: times[0])
    return times


@pytest.fixture
def open_terminal(monkeypatch):
    """Make standard error a terminal, and return it; from within a test, for pytest takes it back before."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def open_terminal():
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return open_terminal


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys, clock):
    with ProgressDisplay() as display:
        for done in range(100):
            display(Progress("reading", done, 100, "checkpoints"))
        clock[0] += 11
        display(Progress("reading", 100, 100, "checkpoints"))
        display(Progress("measuring", 1_000_000_000, 5_000_000_000, "bytes"))  # stored already: no sign of speed
        clock[0] += 20
        display(Progress("measuring", 3_000_000_000, 5_000_000_000, "bytes"))
        display(Progress("measuring", 4_000_000_000, 5_000_000_000, "bytes"))
    assert capsys.readouterr().err.splitlines() == [
        "reading: 100 of 100 checkpoints",
        "measuring: 3.00 GB of 5.00 GB, 100 MB/s, 20 s left",
    ]


def test_a_terminal_that_overwrites_nothing_gets_lines(open_terminal, clock, monkeypatch):
    terminal = open_terminal()
    monkeypatch.setenv("TERM", "dumb")
    with ProgressDisplay() as display:
        clock[0] += 11
        display(Progress("measuring", 0, 5, "checkpoints"))
    assert terminal.getvalue() == "measuring: 0 of 5 checkpoints\n"


def test_names_of_files_act_on_no_terminal(open_terminal, clock):
    terminal = open_terminal()
    with ProgressDisplay(no_color=True) as display:
        for done in (0, 5):
            clock[0] += 1
            display(Progress("downloading [red]\x1b[2J\u202e.bin", done, 10, "bytes"))
            display(Progress("", 0, 0, "", note="note [b]\x1b[2J"))
    shown = terminal.getvalue()
    assert r"[red]\x1b[2J\u202e.bin" in shown
    assert r"note [b]\x1b[2J" in shown
    assert "\x1b[2J" not in shown
    assert "5.00 B/s" not in shown
    assert "5 B of 10 B, 5 B/s, 1.0 s left" in shown


def test_bars_that_are_full_make_room(open_terminal):
    open_terminal()
    with ProgressDisplay() as display:
        for index in range(50):
            display(Progress(f"downloading {index}", 10, 10, "bytes"))
        assert sum(task.visible for task in display._bars.tasks) == 1


# Waiting


def test_what_is_done_at_once_is_not_told(open_terminal):
    terminal = open_terminal()
    with Waiting("finding trends"):
        pass
    assert terminal.getvalue() == ""


def test_what_takes_long_is_told_and_cleared_away(open_terminal, monkeypatch):
    terminal = open_terminal()
    monkeypatch.setattr("wsanalyze.waiting._SHOWN_AFTER_SECONDS", 0.0)
    with Waiting("finding trends") as waiting:
        waiting._timer.join()
    assert "finding trends" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2K")  # its line is empty again


@pytest.mark.parametrize("quiet", [False, True])
def test_without_a_terminal_one_line_says_that_it_takes_long(capsys, monkeypatch, quiet):
    monkeypatch.setattr("wsanalyze.waiting._PRINTED_AFTER_SECONDS", 0.0)
    with Waiting("finding trends", quiet=quiet) as waiting:
        if not quiet:
            waiting._timer.join()
    assert capsys.readouterr().err == ("" if quiet else "finding trends ...\n")
