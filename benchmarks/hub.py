"""What a sequence on the Hub costs: time, memory, disk, requests and bytes, read whole or in parts, against a folder.

    python benchmarks/hub.py [--checkpoints 20] [--megabytes 50] [--format safetensors] [--copies 2]

Makes a sequence, serves it from the test Hub of tests/hub on this machine, a branch for each checkpoint and some copies
besides, and runs `wsanalyze analyze` as a process of its own: on the folder, by whole files in a rolling window, and by
ranges. Printed are wall-clock seconds, peak memory, the most that lay on disk at any time (looked at every 20 ms), and
what the server counted: requests, and bytes of weights sent over those that are needed. The sums of all three must be
the same, bit for bit. The network is this machine's own: seconds say what the program costs, not what the Hub does.
"""

import argparse
import datetime as dt
import importlib
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
_LOOK_SECONDS = 0.02
_NUM_TENSORS = 112
_CONVERT = """
import sys, pathlib, torch, safetensors.torch
for path in pathlib.Path(sys.argv[1]).iterdir():
    torch.save(safetensors.torch.load_file(path), path.with_suffix(".pt"))
    path.unlink()
"""
_WAYS = ("folder", "files", "ranges")


class DiskWatch(threading.Thread):
    """Looks how much lies below a folder, again and again.

    Attributes:
        peak: The most that was seen, in bytes.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._folder = folder
        self._ended = threading.Event()

    def run(self) -> None:
        """Look until told to end."""
        while not self._ended.wait(_LOOK_SECONDS):
            self.peak = max(self.peak, self._measure())

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join()

    def _measure(self) -> int:
        sizes = {}
        for place, _, names in os.walk(self._folder):
            for name in names:
                with suppress(OSError):
                    found = Path(place, name).stat()
                    sizes[found.st_dev, found.st_ino] = found.st_size  # one that is renamed meanwhile is seen twice
        return sum(sizes.values())


def run_way(command: list[str], environment: dict[str, str], home: Path) -> dict[str, float]:
    """Run one analysis: its seconds, peak memory and peak disk in MB."""
    watch = DiskWatch(home)
    watch.start()
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    watch.end()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return {"seconds": wall, "memory": usage.ru_maxrss / 1024, "disk": watch.peak / 1e6}


def make_sequence(folder: Path, checkpoints: int, megabytes: float, form: str) -> None:
    """Make a sequence by processes of their own: what they take would be counted as every later process's peak."""
    size = ["--checkpoints", str(checkpoints), "--gigabytes", str(megabytes / 1000), "--tensors", str(_NUM_TENSORS)]
    script = Path(__file__).with_name("make_sequence.py")
    subprocess.run([sys.executable, script, folder, *size], check=True, stdout=subprocess.DEVNULL)
    if form == "pt":  # by torch itself, which lays its archives out in a way of its own
        subprocess.run([sys.executable, "-c", _CONVERT, folder], check=True)


def serve(hub: Any, folder: Path, num_copies: int) -> int:  # noqa: ANN401 - tests come without types
    """Make a repository of a folder's checkpoints, some of them twice; returns the bytes of all distinct files."""
    repo = hub.add_repo("bench/sequence")
    files = sorted(folder.iterdir(), key=lambda path: int("".join(filter(str.isdigit, path.stem))))
    for path in files:
        step = int("".join(filter(str.isdigit, path.stem)))
        repo.commit(f"step{step}", {f"model{path.suffix}": path}, replace=True)
    last = int("".join(filter(str.isdigit, files[-1].stem)))
    for copy in range(num_copies):  # beyond the end: the copies are not where they belong
        name = f"step{last + 1000 * (copy + 1)}"
        repo.commit(name, {f"model{files[copy + 1].suffix}": files[copy + 1]}, replace=True)
    return sum(path.stat().st_size for path in files)


def main() -> None:
    """Parse options, run the ways, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=20)
    parser.add_argument("--megabytes", type=float, default=50)
    parser.add_argument("--format", choices=["safetensors", "pt"], default="safetensors")
    parser.add_argument("--copies", type=int, default=2)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    make_hub: Any = importlib.import_module("tests.hub.server").HubServer
    from wsanalyze.run import Run
    from wsanalyze.sums import SUM_NAMES

    ways = _WAYS if options.format == "safetensors" else _WAYS[:2]
    with tempfile.TemporaryDirectory() as room, closing(make_hub()) as hub:
        folder = Path(room, "sequence")
        make_sequence(folder, options.checkpoints, options.megabytes, options.format)
        nbytes = serve(hub, folder, options.copies)
        today = dt.datetime.now(tz=dt.UTC).date()
        print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, {today}")
        size = f"{options.checkpoints} checkpoints of {options.megabytes:g} MB as {options.format}"
        print(f"{size}, {options.copies} copies")
        titles = ("seconds", "memory MB", "disk MB", "checkpoints", "requests", "sent/needed")
        print(" ".join((f"{'way':8}", *(f"{title:>11}" for title in titles))))
        sums = {}
        for way in ways:
            home, run = Path(room, f"home-{way}"), Path(room, f"{way}.wsa")
            home.mkdir()
            environment = {**os.environ, **hub.environment(home), "XDG_CACHE_HOME": str(home / "cache")}
            source = str(folder) if way == "folder" else "hf://bench/sequence"
            command = [sys.executable, "-m", "wsanalyze", "analyze", source, "--run", str(run), "--quiet"]
            hub.log.clear()
            cost = run_way([*command, *([] if way == "folder" else ["--fetch", way])], environment, home)
            records = hub.log.records()
            sent = sum(record.sent for record in records if record.kind == "data")
            numbers = (cost["seconds"], cost["memory"], cost["disk"], cost["disk"] / options.megabytes, len(records))
            cells = [f"{number:11.2f}" for number in (*numbers, sent / nbytes)]
            print(" ".join((f"{way:8}", *cells)))
            series = Run.open(run).series
            sums[way] = [series.sums[name] for name in SUM_NAMES]
        same = all(
            np.array_equal(one, other, equal_nan=True)
            for way in ways[1:]
            for one, other in zip(sums["folder"], sums[way], strict=True)
        )
        print(f"sums of all ways are {'the same' if same else 'NOT THE SAME'}")
        if not same:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
