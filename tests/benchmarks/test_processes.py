"""What a command costs is that of all its processes together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the system has no /proc")
BUSY = "import time\nwhile time.process_time() < 0.3: pass"
HOLD = "import sys\nheld = bytearray(b'x' * 60_000_000)\nprint('ready', flush=True)\nsys.stdin.read()"


def measure(script, *codes, limit=None):
    return script.measure([[sys.executable, "-c", code] for code in codes], dict(os.environ), limit)


def test_seconds_of_children_count(script):
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BUSY!r}], check=True)\n{BUSY}"
    cost = measure(script, child)
    assert cost.cpu >= 0.6
    assert cost.wall >= 0.3


def test_commands_add_their_seconds_and_share_their_peak(script):
    large = "held = bytearray(b'x' * 400_000_000)"
    small = "import sys\nprint('measured 1 GB in 0.25 s', file=sys.stderr)"
    cost = measure(script, large, small)
    assert cost.peak_mb >= 400
    assert cost.measuring is None  # one of them did not say
    assert cost.rest is None
    assert measure(script, small, small).measuring == 0.5


@needs_proc
def test_memory_of_several_processes_is_added(script):
    code = "import subprocess, sys\n"
    code += f"child = subprocess.Popen([sys.executable, '-c', {HOLD!r}], stdout=subprocess.PIPE)\n"
    code += f"child.stdout.readline()\n{HOLD}"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"ready\n"
        seen = script.look_at_memory(parent.pid)
        parent.communicate()
    assert 120e6 <= seen.own <= seen.resident < 200e6


@needs_proc
def test_pages_of_mapped_files_are_told_apart(script, tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(bytes(50_000_000))
    code = f"import mmap\nfile = open({str(path)!r}, 'rb')\n"
    code += "mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)\n"
    code += f"sum(mapped[i] for i in range(0, len(mapped), 4096))\n{HOLD}"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        seen = script.look_at_memory(process.pid)
        process.communicate()
    assert 60e6 <= seen.own < 100e6
    assert seen.resident >= seen.own + 50e6


def test_memory_of_a_process_that_is_gone_is_nothing(script):
    assert script.look_at_memory(2**22 + 1) == script.Memory(0, 0)


def test_what_takes_too_long_is_ended_with_all_its_children(script, tmp_path):
    path = tmp_path / "pid"
    child = "import sys, time\ntime.sleep(600)"
    code = "import pathlib, subprocess, sys\n"
    code += f"child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
    code += f"pathlib.Path({str(path)!r}).write_text(str(child.pid))\nchild.wait()"
    with pytest.raises(script.TooSlowError):
        measure(script, code, limit=2)
    if path.exists():  # not on a machine that needs two seconds to get there
        assert not is_running(int(path.read_text()))


def is_running(pid):
    try:
        with Path(f"/proc/{pid}/stat").open(encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_failure_is_told_with_what_the_command_said(script):
    with pytest.raises(SystemExit, match="ended with status 3: no such tensor"):
        measure(script, "import sys\nprint('no such tensor', file=sys.stderr)\nsys.exit(3)")


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("measured 6.00 GB in 1.23 s (4.88 GB/s)\n", 1.23),
        ("reading 50 %\nmeasured 6.00 GB in 1.23 s (4.88 GB/s)\nwsanalyze: 3 layers skipped in 5 s\n", 1.23),
        ("measured in 0.500 s", 0.5),
        ("measured 1.00 GB in 1.00 s\nmeasured 1.00 GB in 2.00 s", 2.0),
        ("nothing was measured in 3 s", None),
        ("", None),
    ],
)
def test_seconds_are_found_in_the_report_of_the_program(script, told, seconds):
    assert script.find_measuring(told) == seconds
