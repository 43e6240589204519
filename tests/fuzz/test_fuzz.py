"""What the fuzzer found stays mended, and a few seconds of it find nothing new.

Each reader is fuzzed in a process of its own with a gigabyte of memory and five seconds for an input, which may do
nothing but read: see guard.py. `make fuzz` does the same for longer.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CORPUS = HERE.parent / "corpus"
DOCUMENT = HERE.parents[1] / "docs" / "fuzzing.md"
READERS = (
    "pickle", "safetensors", "torch", "torchscript", "sb3", "npz", "legacy", "onnx", "shards", "trainer", "adapter",
    "dcp", "zero3", "slices",
)  # fmt: skip


@pytest.fixture(scope="session")
def seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    subprocess.run([sys.executable, str(HERE / "seeds.py"), str(folder)], check=True)
    return folder


@pytest.fixture
def fuzz(seeds, tmp_path):
    def run(reader, *options):
        command = [sys.executable, str(HERE / "fuzz.py"), "--reader", reader, "--seeds", str(seeds)]
        command += ["--found", str(tmp_path / "found"), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("reader", READERS)
def test_what_was_found_before_is_read_or_refused_in_one_line(fuzz, reader):
    done = fuzz(reader, "--replay")
    assert done.returncode == 0, done.stdout + done.stderr
    inputs = int(re.search(rf"^{reader} +(\d+)", done.stdout, re.MULTILINE)[1])
    assert inputs > len(list((CORPUS / reader).glob("*")))  # and the honest ones


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_a_few_seconds_find_nothing(fuzz, reader):
    done = fuzz(reader, "--engine", "plain", "--seconds", "2")
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_that_was_found_is_left_to_be_understood():
    assert not list((CORPUS / "found").glob("*"))
    assert {path.name for path in CORPUS.iterdir()} <= set(READERS)


def test_the_long_run_of_every_reader_is_on_record():
    rows = re.findall(r"^\| (\w+) \| \w+ \| [\d,]+ \| (\d+) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert [reader for reader, _ in rows] == list(READERS)
    assert all(int(seconds) > 0 for _, seconds in rows)


def run_script(script, *arguments):
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(HERE)!r})\n{script}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "payload",
    [
        "os.system('true')",
        "subprocess.run(['true'])",
        "exec('1')",
        "open('/dev/null', 'w')",
        "os.open('/dev/null', os.O_RDWR)",
        "open('/etc/hostname')",
        "import antigravity",
        "pickle.loads(NAMED)",
        "os.rename('a', 'b')",
        "\n    try: exec('1')\n    except BaseException: pass",
    ],
)
def test_the_guard_sees(payload):
    script = f"""
import os, pickle, subprocess
from guard import ForbiddenError, Guard
NAMED = pickle.dumps(print)
def payload(): {payload}
guard = Guard()
guard.install()
with guard.armed(): pass
try:
    with guard.armed(): payload()
except ForbiddenError as error: print("seen")
"""
    done = run_script(script)
    assert done.stdout == "seen\n", done.stderr


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("raise ValueError('x')", "FOUND pickle-.*: ValueError"),
        ("raise CheckpointError('two\\nlines')", "FOUND pickle-.*: a message of several"),
        ("bytearray(2**31)", "FOUND pickle-.*: MemoryError"),
        ("exec('1')", "FOUND pickle-.*: ForbiddenError"),
        ("while True: pass", ""),  # ends the process, and its parent keeps the input
    ],
)
def test_the_fuzzer_finds(tmp_path, fault, told):
    script = f"""
import child, dataclasses, guard, targets
from wsanalyze.errors import CheckpointError
def run(data, folder):
    {fault}
targets.TARGETS["pickle"] = dataclasses.replace(targets.TARGETS["pickle"], run=run)
child.restart_clock = lambda seconds=0.5: guard.restart_clock(seconds)
child._MINIMISE_SECONDS = 0.1
child.Session.warm_up = lambda self, data: None
sys.exit(child.main())
"""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "honest").write_bytes(b"N.")
    (tmp_path / "box").write_bytes(bytes(16 * 20_000 + 12))
    options = ("--engine", "plain", "--seconds", "0.5", "--work", tmp_path, "--found", tmp_path / "found")
    done = run_script(script, "pickle", *options, "--corpus", tmp_path / "corpus")
    if told:
        assert re.search(told, done.stderr), done.stderr
    else:
        assert done.returncode < 0
        assert "in run" in (tmp_path / "hang").read_text()
