"""Which kernel to take: the same reading and summing by each candidate, whole processes beside the floor.

    python benchmarks/kernels.py [--gigabytes 0.1 1 6 24] [--rounds 5] [--folder DIR]

Each size is a sequence of six checkpoints of float32, made by make_sequence.py; what is larger than 6 GB is a sequence
of 6 GB or less that is read several times in one process, since a page cache is finite. Every candidate is run once
before the rounds: their sums must agree, and what compiles itself has done so. What is not installed is left out and
named.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from rounds import Sample, Way, run_rounds
from sequences import Files, make_files
from tables import describe_machine, divide, make_table, median_of, show, show_floor, show_spread

CANDIDATES: Final = {
    "numpy-processes": ("NumPy, two processes", "numpy"),
    "numpy-threads": ("NumPy, two threads", "numpy"),
    "numba-threads": ("numba, two threads", "numba"),
    "c-threads": ("C, two threads", "wsanalyze.changes._sums"),
}
"""By the name that kernel_walks.py has for it: what it is called here, and the module that it needs."""
CHECKPOINTS: Final = 6
LARGEST: Final = 6.0
"""GB of a sequence that is not read twice."""

_HERE: Final = Path(__file__).parent
_TITLES: Final = ("GB", "way", "wall s", "CPU s", "peak MB", "wall / cat")
_AGREE: Final = 1e-6


def find_candidates() -> tuple[list[str], list[str]]:
    """Names of candidates that can be run here, and a line for each that cannot."""
    missing = {name: module for name, (_, module) in CANDIDATES.items() if find_spec(module) is None}
    notes = [f"{CANDIDATES[name][0]}: {module} is not installed" for name, module in missing.items()]
    return [name for name in CANDIDATES if name not in missing], notes


def prepare(folder: Path, gigabytes: float) -> tuple[Files, int]:
    """A sequence for so many gigabytes, made unless it is there; its files and how often they are to be read."""
    repeat = math.ceil(gigabytes / LARGEST)
    size = gigabytes / repeat
    place = folder / f"{size:g}"
    files = Files.find(place) if place.exists() else make_files(place, "float32", size / CHECKPOINTS, CHECKPOINTS)
    return replace(files, weights=files.weights * repeat), repeat


def make_way(name: str, folder: Path, repeat: int) -> Way:
    """The walk of one candidate over one sequence, as a process."""
    script = str(_HERE / "kernel_walks.py")
    return Way(CANDIDATES[name][0], [[sys.executable, script, name, str(folder), "--repeat", str(repeat)]])


def check(ways: Sequence[Way]) -> None:
    """Run each way once and compare what it finds.

    Raises:
        SystemExit: If two ways do not find the same sums.
    """
    first: list[float] = []
    for way in ways:
        told = subprocess.run(way.commands[0], check=True, stdout=subprocess.PIPE, text=True).stdout
        found = [value for sums in json.loads(told) for value in sums]
        first = first or found
        if not all(math.isclose(a, b, rel_tol=_AGREE) for a, b in zip(first, found, strict=True)):
            raise SystemExit(f"{way.name} finds other sums than {ways[0].name}")


def make_rows(gigabytes: float, samples: Mapping[str, Sequence[Sample]]) -> list[list[str]]:
    """The lines of one size: the floor, then each way; medians."""
    floors = [sample.floor for found in samples.values() for sample in found]
    costs = {name: [sample.cost for sample in found] for name, found in samples.items()}
    walls = {name: [sample.floor.wall for sample in found] for name, found in samples.items()}
    rows = []
    for name, taken in {"cat": floors, **costs}.items():
        wall = median_of(cost.wall for cost in taken)
        cpu = median_of(cost.cpu for cost in taken)
        peak = median_of(cost.peak_mb for cost in taken)
        ratio = show_spread(divide([cost.wall for cost in taken], walls[name])) if name in walls else "1"
        rows.append([f"{gigabytes:g}", name, show(wall), show(cpu), show(peak, 0), ratio])
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the candidates for the kernel as whole processes.")
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[0.1, 1.0, 6.0, 24.0], help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="[%(default)s]")
    parser.add_argument("--folder", type=Path, help="keep the sequences here and take those that are here")
    options = parser.parse_args()
    names, notes = find_candidates()
    print(describe_machine(), *notes, sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as room:
        os.environ["NUMBA_CACHE_DIR"] = str(Path(room, "numba"))
        rows = []
        for gigabytes in options.gigabytes:
            files, repeat = prepare(options.folder or Path(room), gigabytes)
            ways = [make_way(name, files.folder, repeat) for name in names]
            check(ways)
            samples, _ = run_rounds(files, ways, options.rounds, Path(room))
            rows += make_rows(gigabytes, samples)
            floors = [sample.floor.wall for found in samples.values() for sample in found]
            print(show_floor(f"cat of {gigabytes:g} GB", floors), flush=True)
    print(make_table(_TITLES, rows))


if __name__ == "__main__":
    main()
