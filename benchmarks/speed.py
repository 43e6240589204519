"""How long an analysis takes and how much memory, beside the floor of the machine and what one would run instead.

    python benchmarks/speed.py [--gigabytes 1] [--checkpoints 6] [--rounds 5] [--sequences float32 bfloat16 sharded pt]

Makes each sequence in turn in a temporary folder and runs every way on it, round after round, on files that are warm in
the page cache: `wsanalyze analyze` of an empty run file with each of the metrics that need sums of their own, the same
with everything stored, a ten-line script of torch and safetensors, one that loads everything first, and the programs of
others where they are installed (`--rivals VENV` names an environment of theirs). Right before each of them goes the
floor: `cat` of the same files. Ratios are to that floor; of all rounds median, least and greatest are printed.

"measuring" is what the program or script itself says it spent on reading and computing, without its imports and its
report; "rest" is all else of the process. Peak memory is that of all processes of a way together; in brackets without
the pages of files that are mapped into memory. Nothing is left out of the spread: the last lines say how even the floor
was.
"""

import argparse
import math
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from processes import Cost
from rivals.commands import SCRIPT, find_rivals
from rounds import Sample, Way, analyze_command, run_rounds
from sequences import KINDS, Files, make_files
from tables import describe_machine, divide, make_table, median_of, show, show_floor, show_spread

DEFAULT: Final = "wsanalyze"
METRICS: Final = ("from-first", "coherence")
"""Metrics that need more than neighbouring checkpoints, each a way of its own where `analyze --help` has it. Spectral
norms take thirty times as long (docs/method.md): not in a table of rounds."""

_TITLES: Final = ("way", "wall s", "CPU s", "peak MB", "measuring s", "rest s", "wall / cat", "measuring / cat")


def find_ways(files: Files, room: Path, venv: Path | None) -> tuple[list[Way], list[str]]:
    """All ways that can be run here, and a line for each that cannot.

    Args:
        files: The sequence.
        room: A folder for run files and links.
        venv: Another virtual environment to look for rivals in.
    """
    command = analyze_command(files.folder, room)
    told = subprocess.run([*command, "--help"], check=True, capture_output=True, text=True).stdout
    metrics = [name for name in METRICS if name in told.replace("\n", " ").replace(",", " ").split()]
    ways = [Way(DEFAULT, [command], fresh=True), Way(f"{DEFAULT}, all stored", [command])]
    ways += [Way(f"{DEFAULT} --metric {name}", [[*command, "--metric", name]], fresh=True) for name in metrics]
    rivals, notes = find_rivals(files, room / "links", venv)
    return [*ways, *(Way(name, commands) for name, commands in rivals.items())], notes


def make_rows(samples: Mapping[str, Sequence[Sample]]) -> list[list[str]]:
    """The lines of the table: the floor, then each way that was run."""
    floors = [sample.floor for found in samples.values() for sample in found]
    rows = [make_row("cat", floors, floors)]
    for name, found in samples.items():
        if found:
            rows.append(make_row(name, [sample.cost for sample in found], [sample.floor for sample in found]))
    return rows


def make_row(name: str, costs: Sequence[Cost], floors: Sequence[Cost]) -> list[str]:
    """One line of the table; seconds and memory are medians."""
    walls, own = [floor.wall for floor in floors], median_of(cost.own_mb for cost in costs)
    measuring = [cost.measuring for cost in costs]
    return [
        name,
        show(median_of(cost.wall for cost in costs)),
        show(median_of(cost.cpu for cost in costs)),
        show(median_of(cost.peak_mb for cost in costs), 0) + (f" ({show(own, 0)})" if own else ""),
        show(median_of(measuring)),
        show(median_of(cost.rest for cost in costs)),
        show_spread(divide([cost.wall for cost in costs], walls)),
        show_spread(divide(measuring, walls)),
    ]


def compare(samples: Mapping[str, Sequence[Sample]]) -> list[str]:
    """What is asked of wsanalyze beside the script: lines of ratios within the same round."""
    ours, theirs = samples.get(DEFAULT, ()), samples.get(SCRIPT, ())
    if not ours or len(ours) != len(theirs):
        return []
    faster = divide([one.cost.measuring for one in theirs], [one.cost.measuring for one in ours])
    memory = divide([one.cost.peak_mb for one in ours], [one.cost.peak_mb for one in theirs])
    own = divide([one.cost.own_mb for one in ours], [one.cost.own_mb for one in theirs])
    whole = divide([one.cost.wall for one in theirs], [one.cost.wall for one in ours])
    return [
        f"{DEFAULT} measures {show_spread(faster)} times as fast as the {SCRIPT}, whole process {show_spread(whole)}",
        f"its peak memory is {show_spread(memory)} of the script's, without mapped files {show_spread(own)}",
    ]


def bench(files: Files, kind: str, options: argparse.Namespace) -> None:
    """Run the ways on one sequence and print what they took."""
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        ways, notes = find_ways(files, room, options.rivals)
        chosen = [way for way in ways if options.ways is None or way.name in options.ways]
        if not chosen:
            raise SystemExit(f"--ways: none of them can be run on {kind}; there are {', '.join(w.name for w in ways)}")
        samples, slow = run_rounds(files, chosen, options.rounds, room, options.limit)
    num, gigabytes = len(files.checkpoints), files.nbytes / 1e9
    print(f"\n{kind}: {num} x {gigabytes / num:.3g} GB, {files.form}, rounds: {options.rounds}\n")
    print(make_table(_TITLES, make_rows(samples)))
    floors = [sample.floor.wall for found in samples.values() for sample in found]
    lines = [*compare(samples), *([show_floor("cat", floors)] if floors else []), *slow]
    print("", *lines, *(notes if options.ways is None else ()), sep="\n", flush=True)


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of one checkpoint [%(default)s]")
    parser.add_argument("--checkpoints", type=int, default=6, help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="[%(default)s]")
    parser.add_argument("--sequences", nargs="+", choices=KINDS, default=["float32", "bfloat16", "sharded", "pt"])
    parser.add_argument("--folder", type=Path, help="measure the sequence in this folder, make none")
    parser.add_argument("--ways", nargs="+", metavar="WAY", help="only these, by the names in the table")
    parser.add_argument("--rivals", type=Path, metavar="VENV", help="a virtual environment in which rivals are")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds given to one way [%(default)s]")
    options = parser.parse_args(arguments)
    if not 0 < options.gigabytes < math.inf or options.checkpoints < 2:  # noqa: PLR2004 - before and after
        parser.error("--gigabytes must be above 0, --checkpoints at least 2")
    if options.rounds < 1 or not options.limit > 0:
        parser.error("--rounds must be at least 1, --limit above 0")
    return options


def main() -> None:
    """Make each sequence, run the rounds, print the tables."""
    options = read_options()
    print(describe_machine(), flush=True)
    if options.folder is not None:
        bench(Files.find(options.folder), str(options.folder), options)
        return
    for kind in options.sequences:
        with tempfile.TemporaryDirectory() as folder:
            bench(make_files(Path(folder), kind, options.gigabytes, options.checkpoints), kind, options)


if __name__ == "__main__":
    main()
