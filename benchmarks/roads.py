"""What each road through the same bands takes: compiled code that reads by itself, Python that reads for it, NumPy.

    python benchmarks/roads.py DIR [--rounds 5]

DIR holds checkpoints (`make_sequence.py` writes some). Each round walks all its matrices by every road, and prints
seconds and the ratio to `cat` of the same files just before: all in the page cache, nothing stored. "Small bands" hands
out 4 MB of a checkpoint at a time, not 16.
"""

import argparse
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tables import describe_machine

from wsanalyze.changes.base import Kernel
from wsanalyze.changes.compiled import CompiledKernel
from wsanalyze.changes.devices import count_processors
from wsanalyze.changes.kernels import NumpyKernel
from wsanalyze.changes.places import Places
from wsanalyze.changes.plan import BAND_BYTES, DEFAULT_MEMORY_BYTES, make_plan
from wsanalyze.changes.stream import stream_changes
from wsanalyze.choosing import SequenceOptions
from wsanalyze.files.local import LocalFiles
from wsanalyze.layers.match import match_layers
from wsanalyze.progress import silent
from wsanalyze.sequence import open_sequence
from wsanalyze.sources import locate_checkpoints


class AskedFiles(LocalFiles):
    """Files that want to be asked for every byte, as those of the Hub do: compiled code cannot read them by itself."""


Road = tuple[Callable[[], LocalFiles], Callable[[int], Kernel], int, int]


def list_roads() -> dict[str, Road]:
    """Every road by name: files, kernel, threads, bytes of a band."""
    threads = count_processors()
    return {
        f"compiled code reads, {threads} threads": (LocalFiles, lambda _: CompiledKernel(), threads, BAND_BYTES),
        "the same, one thread": (LocalFiles, lambda _: CompiledKernel(), 1, BAND_BYTES),
        "the same, small bands": (LocalFiles, lambda _: CompiledKernel(), threads, 2**22),
        f"Python reads, {threads} threads": (AskedFiles, lambda _: CompiledKernel(), threads, BAND_BYTES),
        "the same, with small bands": (AskedFiles, lambda _: CompiledKernel(), threads, 2**22),
        f"NumPy, {threads} threads": (LocalFiles, lambda _: NumpyKernel(), threads, BAND_BYTES),
    }


@contextmanager
def timed(found: list[float]) -> Iterator[None]:
    """Note how long something took."""
    started = time.perf_counter()
    yield
    found.append(time.perf_counter() - started)


def main() -> None:
    """Walk by every road and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with LocalFiles() as files:
        sequence = open_sequence(locate_checkpoints([str(options.folder)]), SequenceOptions(), files, {}, silent)
    members = [member for member in sequence.members if member.alive]
    match = match_layers([m.tensors for m in members], [m.checkpoint.label for m in members], ordered=True)
    places = Places.of(match)
    needed = np.ones((len(match.rows), len(match.pairs)), dtype=np.bool_)
    paths = [file.url for member in members for file in member.checkpoint.files]
    cat = shutil.which("cat") or parser.error("there is no `cat` here to compare with")
    taken: dict[str, list[float]] = {}
    floors: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for name, (make_files, make_kernel, threads, band) in list_roads().items():
            with timed(floors.setdefault(name, [])):
                subprocess.run([cat, *paths], stdout=subprocess.DEVNULL, check=True)
            plan = make_plan(places, match.pairs, needed, DEFAULT_MEMORY_BYTES, threads, band)
            with timed(taken.setdefault(name, [])), make_files() as source:
                for _batch in stream_changes(plan, places, source, make_kernel, lambda _: None):
                    pass
    print(describe_machine())
    print("| road | s (median) | times `cat` (median, least, greatest) |\n|---|---|---|")
    for name, seconds in taken.items():
        ratios = [a / b for a, b in zip(seconds, floors[name], strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})"
        print(f"| {name} | {statistics.median(seconds):.2f} | {spread} |")


if __name__ == "__main__":
    main()
