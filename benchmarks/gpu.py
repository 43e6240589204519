"""How fast an analysis on CUDA is beside the bus and the page cache: the slower of the two is its floor.

    python benchmarks/gpu.py [--gigabytes 2] [--checkpoints 8] [--kind bfloat16] [--folder DIR] [--rounds 5] [--cold]
                             [--processors N ...] [--no-commands]

Makes a sequence in a temporary folder, reads it once so that it is warm in the page cache, and measures in every round

- the bus: pinned memory of the host copied to the device,
- the page cache: the files read into pinned memory, by as many threads as the analysis may have,
- the sums on CUDA and on the CPU, in this process, where both have been used before,
- with `--cold` the disk: as the page cache, once the system was asked to let the files go.

Ratios are of one round, to the slower of bus and page cache in it. Once after the rounds it runs `wsanalyze analyze`
for each of both, unless `--no-commands` is given, which tells what the start of a device adds. Then the sums of the two
run files are compared: it ends with status 1 where they differ. `--processors` does it all on so many processors of the
machine, one number after the other. Without CUDA it says so, does nothing and ends with status 0. `--device cpu` tries
the script without one: no device is measured then.
"""

import argparse
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from processes import measure
from rounds import analyze_command, forget
from sequences import KINDS, Files, make_files
from tables import describe_machine, divide, make_table, show, show_spread

from wsanalyze.changes.devices import count_processors, find_kernels
from wsanalyze.changes.torch_kernel import TorchKernel
from wsanalyze.pipeline import AnalyzeOptions, measure_run
from wsanalyze.run import Run
from wsanalyze.sums import Sums

PIECE: Final = 2**24
TOLERANCE: Final = 1e-6
_NUM_COPIES: Final = 64
_TITLES: Final = ("what", "GB/s", "to the slower of bus and page cache")


@dataclass(slots=True)
class Rates:
    """GB/s of each round, by what was measured."""

    found: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, nbytes: int, seconds: float) -> None:
        """One round of something."""
        self.found.setdefault(name, []).append(nbytes / max(seconds, 1e-9) / 1e9)

    def make_rows(self) -> list[list[str]]:
        """Lines of the table: medians, least and greatest."""
        floors = [min(both) for both in zip(self.found["bus"], self.found["page cache"], strict=True)]
        return [[name, show_spread(rates), show_spread(divide(rates, floors))] for name, rates in self.found.items()]


def time_bus(device: str) -> tuple[int, float]:
    """Copy pinned memory to a device again and again; bytes and seconds."""
    here = torch.from_numpy(TorchKernel(device).allocate(PIECE)).fill_(1)
    there = torch.empty(PIECE, dtype=torch.uint8, device=device)
    there.copy_(here)
    _wait(device)
    started = time.perf_counter()
    for _ in range(_NUM_COPIES):
        there.copy_(here, non_blocking=True)
    _wait(device)
    return _NUM_COPIES * PIECE, time.perf_counter() - started


def time_files(paths: Sequence[Path], buffers: Sequence[NDArray[np.uint8]]) -> tuple[int, float]:
    """Read files into buffers, a thread for each of them; bytes and seconds.

    Args:
        paths: The files.
        buffers: uint8 arrays: what threads read into, piece after piece.
    """
    pieces = [(path, start) for path in paths for start in range(0, path.stat().st_size, len(buffers[0]))]
    done = [0] * len(buffers)

    def read(index: int) -> None:
        for path, start in pieces[index :: len(buffers)]:
            file = os.open(path, os.O_RDONLY)
            try:
                done[index] += os.preadv(file, [buffers[index].data], start)
            finally:
                os.close(file)

    threads = [threading.Thread(target=read, args=[index]) for index in range(len(buffers))]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done), time.perf_counter() - started


def let_go(paths: Sequence[Path]) -> None:
    """Ask the system to forget what it keeps of files; it need not."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def compare_sums(ours: Sums, theirs: Sums) -> float:
    """The largest difference between two sets of sums, relative to the second.

    That of the dot product is relative to the product of the norms. Where only one of the two was measured, or counts
    differ, it is infinite.
    """
    worst = 0.0
    for name in ("n", "n_valid", "nonfinite_before", "nonfinite_after", "changed", "sign_flips", "rel_n"):
        if not np.array_equal(ours[name], theirs[name], equal_nan=True):
            return math.inf
    for name in ("l1_delta", "l1_before", "l1_after", "sq_delta", "sq_before", "sq_after", "max_delta", "rel_sum"):
        worst = max(worst, _differ(ours[name], theirs[name], theirs[name]))
    scale = np.sqrt(theirs["sq_before"] * theirs["sq_delta"])
    return max(worst, _differ(ours["dot_before_delta"], theirs["dot_before_delta"], scale))


def time_sums(files: Files, place: Path, device: str) -> tuple[int, float]:
    """Measure all of it in this process; bytes and seconds."""
    place.mkdir(exist_ok=True)
    forget(place)
    effort = measure_run([str(files.folder)], place / "bench.wsa", AnalyzeOptions(device=device)).effort
    return (effort.nbytes, effort.seconds) if effort else (0, 0.0)


def bench(files: Files, options: argparse.Namespace, room: Path) -> float:
    """Run the rounds and print what they took; how far the sums of the two devices are apart."""
    device = options.device
    kernels = find_kernels(device)
    buffers = [TorchKernel(device).allocate(PIECE) for _ in range(kernels.num_threads)]
    print(f"{kernels.name}; {kernels.num_threads} threads", flush=True)
    ways = {f"sums on {device}": (room / "first", device), "sums on the CPU": (room / "second", "cpu")}
    time_files(files.weights, buffers)  # warms the page cache
    for way in ways.values():
        time_sums(files, *way)
    rates = Rates()
    for _ in range(options.rounds):
        rates.add("bus", *time_bus(device))
        rates.add("page cache", *time_files(files.weights, buffers))
        for name, way in ways.items():
            rates.add(name, *time_sums(files, *way))
        if options.cold:
            let_go(files.weights)
            rates.add("disk", *time_files(files.weights, buffers))
            time_files(files.weights, buffers)
    print("", make_table(_TITLES, rates.make_rows()), "", sep="\n", flush=True)
    environment = {**os.environ, "XDG_CACHE_HOME": str(room / "cache"), "HF_HUB_OFFLINE": "1"}
    for place, where in ways.values() if options.commands else ():
        forget(place)
        cost = measure([analyze_command(files.folder, place, "--device", where)], environment)
        print(f"analyze --device {where}: {cost.wall:.2f} s, of them measuring {show(cost.measuring)}", flush=True)
    ours, theirs = (Run.open(next(place.glob("*.wsa"))).series.sums for place, _ in ways.values())
    return compare_sums(ours, theirs)


@contextmanager
def limit_processors(count: int | None) -> Iterator[None]:
    """Let this thread, and all threads and processes that it starts, have so many processors; None for all."""
    if count is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0, help="size of one checkpoint [%(default)s]")
    parser.add_argument("--checkpoints", type=int, default=8, help="[%(default)s]")
    parser.add_argument("--kind", choices=KINDS, default="bfloat16", help="[%(default)s]")
    parser.add_argument("--folder", type=Path, help="measure the sequence in this folder, make none")
    parser.add_argument("--rounds", type=int, default=5, help="[%(default)s]")
    parser.add_argument("--processors", type=int, nargs="+", metavar="N", help="on so many, one after the other [all]")
    parser.add_argument("--no-commands", dest="commands", action="store_false", help="leave out whole commands")
    parser.add_argument("--cold", action="store_true", help="measure the disk as well")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="[%(default)s]")
    options = parser.parse_args(arguments)
    if not 0 < options.gigabytes < math.inf or options.checkpoints < 2:  # noqa: PLR2004 - before and after
        parser.error("--gigabytes must be above 0, --checkpoints at least 2")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if min(options.processors or [1]) < 1:
        parser.error("--processors must be at least 1")
    return options


def main() -> None:
    """Make the sequence, run the rounds, compare the sums."""
    options = read_options()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("torch finds no CUDA device here: nothing was measured")
        return
    print(describe_machine())
    if options.device == "cuda":
        print(", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())))
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        if options.folder is None:
            files = make_files(room / "sequence", options.kind, options.gigabytes, options.checkpoints)
        else:
            files = Files.find(options.folder)
        print(f"{len(files.checkpoints)} checkpoints, {files.nbytes / 1e9:.2f} GB, rounds: {options.rounds}")
        for count in options.processors or [None]:
            with limit_processors(count):
                print(f"processors: {count_processors()}, of {os.cpu_count()}")
                worst = max(worst, bench(files, options, room))
    print(f"sums of {options.device} and of the CPU differ by {worst:.1e} at most; {TOLERANCE:g} is allowed")
    if worst > TOLERANCE:
        raise SystemExit(1)


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _differ(ours: NDArray[np.float64], theirs: NDArray[np.float64], scale: NDArray[np.float64]) -> float:
    apart = np.abs(ours - theirs)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where((apart == 0) | (np.isnan(ours) & np.isnan(theirs)), 0.0, apart / np.abs(scale))
    return math.inf if np.isnan(relative).any() else float(relative.max(initial=0.0))


if __name__ == "__main__":
    main()
