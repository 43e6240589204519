"""How time and memory grow with the size of the model, the number of its tensors, and the number of checkpoints.

    python benchmarks/scaling.py [--sweeps sizes tensors checkpoints] [--sizes 0.25 0.5 1 2 4] [--tensors 100 1000 ...]
                                 [--checkpoints 2 4 8 16 32 64] [--rounds 3] [--disk 13]

Each row is `wsanalyze analyze` of a new sequence with nothing stored, files warm in the page cache where they fit, with
`cat` of the same files right before it. Printed are medians over the rounds, and for the ratio to `cat` the least and
the greatest as well. "per GB" is the time of measuring by the bytes read, as a ratio to that of the first row: 1 where
time is linear in bytes.

What stands in for size, because neither the disk nor the page cache holds 24 GB several times:

- sizes: six checkpoints that are made of three versions of each shard, so that all of them differ and every byte is
  read and compared, but only half of them takes room. Where three do not fit into --disk either, files are sparse: all
  but one tensor are holes. The memory they take is that of others; their time says less, since zeros that are read for
  the first time come from no page cache.
- checkpoints: the same with 16 versions of a model of 0.25 GB.
- tensors: 20 checkpoints of matrices of 1 KB; nothing stands in for anything.
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rounds import Sample, Way, analyze_command, run_rounds
from sequences import Files, run_script
from tables import describe_machine, divide, make_table, median_of, show, show_floor, show_spread

MAX_GIGABYTES: Final = 24.0
_SIZE_CHECKPOINTS: Final = 6
_SIZE_VERSIONS: Final = 3
_SMALL_CHECKPOINTS: Final = 20
_COUNT_GIGABYTES: Final = 0.25
_COUNT_VERSIONS: Final = 16
_TITLES: Final = (
    "model", "tensors", "checkpoints", "read GB", "files", "measuring s", "whole s", "CPU s", "peak MB",
    "measuring / cat", "per GB",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One row: what the table calls it, and the options of stand_ins.py that make it."""

    model: str
    checkpoints: int
    files: str
    options: Sequence[str]
    tensors: int = 492


def plan_sizes(sizes: Sequence[float], disk: float) -> Iterator[Case]:
    """Models of so many GB, sparse where their versions are larger than the disk allowed."""
    for size in sizes:
        whole = size * _SIZE_VERSIONS <= disk
        options = ["--versions", str(_SIZE_VERSIONS)] if whole else ["--sparse"]
        files = f"{_SIZE_VERSIONS} versions" if whole else "sparse"
        yield Case(f"{size:g} GB", _SIZE_CHECKPOINTS, files, ["--gigabytes", str(size), *options])


def plan_tensors(counts: Sequence[int], _: float) -> Iterator[Case]:
    """Models of so many tensors of 1 KB."""
    for count in counts:
        yield Case(f"{count * 1024 / 1e6:,.3g} MB", _SMALL_CHECKPOINTS, "all", ["--small", str(count)], count)


def plan_checkpoints(counts: Sequence[int], _: float) -> Iterator[Case]:
    """So many checkpoints of one model."""
    for count in counts:
        options = ["--gigabytes", str(_COUNT_GIGABYTES), "--versions", str(_COUNT_VERSIONS)]
        yield Case(f"{_COUNT_GIGABYTES:g} GB", count, f"{min(count, _COUNT_VERSIONS)} versions", options)


SWEEPS: Final[dict[str, Callable[..., Iterator[Case]]]] = {
    "sizes": plan_sizes,
    "tensors": plan_tensors,
    "checkpoints": plan_checkpoints,
}


def run_case(case: Case, rounds: int) -> tuple[list[Sample], float]:
    """Make the sequence of a row, measure it, remove it; also its size in GB."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as room:
        run_script("stand_ins.py", folder, "--checkpoints", str(case.checkpoints), *case.options)
        files = Files.find(Path(folder))
        way = Way("wsanalyze", [analyze_command(files.folder, Path(room))], fresh=True)
        samples, _ = run_rounds(files, [way], rounds, Path(room))
        return samples[way.name], files.nbytes / 1e9


def time_of(samples: Sequence[Sample]) -> float:
    """Seconds of measuring, or of the whole process where it does not say; the median."""
    measuring = median_of(sample.cost.measuring for sample in samples)
    return measuring or median_of(sample.cost.wall for sample in samples) or math.nan


def make_row(case: Case, samples: Sequence[Sample], gigabytes: float, first: float) -> list[str]:
    """One line of the table.

    Args:
        case: What was measured.
        samples: One for each round.
        gigabytes: What was read.
        first: Seconds per GB of the first row.
    """
    costs, walls = [sample.cost for sample in samples], [sample.floor.wall for sample in samples]
    measuring = [cost.measuring for cost in costs]
    return [
        case.model,
        f"{case.tensors:,}",
        str(case.checkpoints),
        show(gigabytes),
        case.files,
        show(median_of(measuring)),
        show(median_of(cost.wall for cost in costs)),
        show(median_of(cost.cpu for cost in costs)),
        show(median_of(cost.peak_mb for cost in costs), 0),
        show_spread(divide(measuring, walls)),
        show(time_of(samples) / gigabytes / first),
    ]


def run_sweep(name: str, cases: Sequence[Case], rounds: int) -> None:
    """Measure the rows of a sweep and print its table."""
    rows: list[list[str]] = []
    floors = []
    first = None
    for case in cases:
        samples, gigabytes = run_case(case, rounds)
        first = first or time_of(samples) / gigabytes
        rows.append(make_row(case, samples, gigabytes, first))
        floor = [sample.floor.wall for sample in samples]
        floors.append(show_floor(f"cat, {case.model} of {case.tensors:,} tensors x {case.checkpoints}", floor))
        if all(sample.cost.measuring is None for sample in samples):
            floors.append("no seconds of measuring were reported: per GB is of the whole process")
    print(f"\n{name}, rounds: {rounds}\n", make_table(_TITLES, rows), "", *floors, sep="\n", flush=True)


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", nargs="+", choices=SWEEPS, default=list(SWEEPS))
    parser.add_argument("--sizes", nargs="+", type=float, metavar="GB", default=[0.25, 0.5, 1.0, 2.0, 4.0])
    parser.add_argument("--tensors", nargs="+", type=int, metavar="N", default=[100, 1000, 5000, 20000])
    parser.add_argument("--checkpoints", nargs="+", type=int, metavar="N", default=[2, 4, 8, 16, 32, 64])
    parser.add_argument("--rounds", type=int, default=3, help="[%(default)s]")
    parser.add_argument("--disk", type=float, default=13.0, metavar="GB", help="room for a sequence [%(default)s]")
    options = parser.parse_args(arguments)
    if not all(0 < size <= MAX_GIGABYTES for size in options.sizes):
        parser.error(f"--sizes must be above 0 and at most {MAX_GIGABYTES:g}")
    if min(options.tensors) < 1 or options.rounds < 1:
        parser.error("--tensors and --rounds must be at least 1")
    if not all(2 <= count <= _COUNT_VERSIONS**2 for count in options.checkpoints):  # noqa: PLR2004 - before and after
        parser.error(f"--checkpoints must be from 2 to {_COUNT_VERSIONS**2}")
    return options


def main() -> None:
    """Run each sweep and print its table."""
    options = read_options()
    print(describe_machine(), flush=True)
    for name in options.sweeps:
        run_sweep(name, list(SWEEPS[name](getattr(options, name), options.disk)), options.rounds)


if __name__ == "__main__":
    main()
