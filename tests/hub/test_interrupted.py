"""Runs over many revisions as processes: killed, stopped, watched; what they hold on disk and in memory."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.hub.runs import analyze, make_walk, on_hub, publish, same_sums, size_of, weigh
from wsanalyze.run import Run

SHAPES = {"a.weight": (300, 210), "b.weight": (410, 200), "c.weight": (90, 500)}
NUM = 20
PROGRAM = """
import signal, sys
from wsanalyze.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
status = main(sys.argv[1:])
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")] if sys.platform == "linux" else []
print("peak", *(line.split()[1] for line in peak))
sys.exit(status)
"""


@pytest.fixture
def start(hub, tmp_path):
    """Start an analysis of the Hub as a process, which is not left behind."""
    running = []

    def run(*options, source=None):
        command = [sys.executable, "-c", PROGRAM, "analyze", source or on_hub(), "--run", str(tmp_path / "far.wsa")]
        environment = hub.environment(tmp_path) | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        output = (tmp_path / f"output{len(running)}").open("w+")
        process = subprocess.Popen([*command, *options], env=environment, stdout=output, stderr=subprocess.STDOUT)
        running.append((process, output))
        return process

    yield run
    for process, output in running:
        process.kill()
        process.wait(30)
        output.close()


def said(tmp_path, number=0):
    return (tmp_path / f"output{number}").read_text()


def window_of(tmp_path):
    return tmp_path / "hf-home" / "wsanalyze"


@pytest.mark.parametrize("fetch", ["files", "ranges"])
def test_a_run_that_is_killed_goes_on_with_what_is_missing(hub, tmp_path, start, fetch):
    states = make_walk(NUM, SHAPES)
    states[4], states[15] = states[15], states[4]
    publish(hub, tmp_path / "run", states)
    one = weigh(tmp_path / "run") / NUM
    processes = []

    def kill():
        processes[0].kill()

    hub.faults.hang(0.02)  # so that what is sent was read, too, when it is killed
    hub.faults.run(kill, kinds=("data",), after=NUM + NUM // 2)
    processes.append(start("--fetch", fetch))
    assert processes[0].wait(60) == -signal.SIGKILL
    first = hub.log.bytes_sent()
    assert 9 * one < first < 13 * one
    hub.faults.clear()
    hub.log.clear()
    assert start("--fetch", fetch).wait(60) == 0, said(tmp_path, 1)
    assert first + hub.log.bytes_sent() < (NUM + 4) * one
    far = Run.open(tmp_path / "far.wsa").series
    same_sums(far, analyze(tmp_path / "run", tmp_path / "local.wsa"))
    undisturbed = analyze(on_hub(), tmp_path / "undisturbed.wsa", fetch=fetch)
    assert [event.text for event in far.events] == [event.text for event in undisturbed.events]
    assert [event.evidence["swapped"] for event in far.events if event.kind == "impostor"] == [[4, 15]]


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("fetch", ["files", "ranges"])
def test_a_run_that_is_stopped_says_so_and_leaves_nothing_about(hub, tmp_path, start, fetch):
    publish(hub, tmp_path / "run", make_walk(8, SHAPES))
    one = weigh(tmp_path / "run") / 8
    processes = []

    def stop():
        processes[0].send_signal(signal.SIGINT)

    hub.faults.hang(0.5, kinds=("data",), after=12, times=1)
    hub.faults.run(stop, kinds=("data",), after=12)
    before = {path.name for path in tmp_path.iterdir()}
    processes.append(start("--fetch", fetch))
    assert processes[0].wait(60) == 130, said(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} - before <= {"far.wsa", "output0", "hf-home", "cache"}
    left = [path for path in window_of(tmp_path).rglob("*") if path.is_file()]
    places = {path.relative_to(window_of(tmp_path)).parts[1] for path in left}
    assert places <= {"files", "coming", "run.json"}, left
    assert size_of(window_of(tmp_path)) <= (2.1 * one if fetch == "files" else 0)
    assert start("--fetch", fetch).wait(60) == 0
    same_sums(Run.open(tmp_path / "far.wsa").series, analyze(tmp_path / "run", tmp_path / "local.wsa"))


def test_two_checkpoints_at_most_lie_on_disk_and_one_in_the_end(hub, tmp_path):
    publish(hub, tmp_path / "run", make_walk(12))
    one = weigh(tmp_path / "run") / 12
    watcher = Watcher(tmp_path / "hf-home")
    with watcher:
        analyze(on_hub(), tmp_path / "far.wsa", fetch="files")
    assert 0.9 * one < watcher.peak < 2.2 * one  # of a busy machine the watcher sees less than there is
    (kept,) = (path for path in window_of(tmp_path).rglob("*") if path.is_file() and path.name != "run.json")
    assert kept.read_bytes() == (tmp_path / "run" / "step1100" / "model.safetensors").read_bytes()


def test_equal_shards_are_kept_while_there_is_room(hub, tmp_path):
    states = make_walk(8, frozen=("a.weight",), shapes=SHAPES)
    publish(hub, tmp_path / "run", states, "sharded")
    watcher = Watcher(tmp_path / "hf-home")
    with watcher:
        analyze(on_hub(), tmp_path / "far.wsa", fetch="files")
    two = size_of(tmp_path / "run" / "step0") + size_of(tmp_path / "run" / "step100")
    assert watcher.peak < 1.1 * two
    assert hub.log.bytes_sent() < 1.05 * weigh(tmp_path / "run")


@pytest.mark.skipif(sys.platform != "linux", reason="reads VmHWM")
@pytest.mark.parametrize("fetch", ["files", "ranges"])
def test_memory_stays_small_whatever_the_size(hub, tmp_path, start, fetch):
    shapes = {f"blocks.{index}.weight": (1250, 1000) for index in range(10)}
    publish(hub, tmp_path / "run", make_walk(6, shapes))
    assert weigh(tmp_path / "run") > 6 * 50_000_000
    assert start("--fetch", fetch).wait(120) == 0, said(tmp_path)
    (peak,) = (int(line.split()[1]) for line in said(tmp_path).splitlines() if line.startswith("peak"))
    assert peak * 1024 < 400e6


@pytest.mark.parametrize(
    ("fault", "status"),
    [("corrupt", 3), ("gated", 1), (None, 0)],
)
def test_the_status_says_how_it_went(hub, tmp_path, start, fault, status):
    repo = publish(hub, tmp_path / "run", make_walk(4, SHAPES))
    if fault == "corrupt":
        hub.faults.corrupt(revisions="step100", after=1)
    repo.gated = fault == "gated"
    assert start("--fetch", "files").wait(60) == status, said(tmp_path)
    assert "Traceback" not in said(tmp_path)
    if fault == "gated":
        assert len([line for line in said(tmp_path).splitlines() if "is gated" in line]) == 1


class Watcher:
    """Notes the most that lay in a folder while something ran."""

    def __init__(self, folder):
        self.folder, self.peak = folder, 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        while not self._done.is_set():
            self.peak = max(self.peak, size_of(self.folder / "wsanalyze"))
            time.sleep(0.001)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._done.set()
        self._thread.join()
