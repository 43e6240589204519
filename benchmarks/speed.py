"""How long an analysis takes and how much memory, beside the floor of the machine and the script one would write.

    python benchmarks/speed.py [--gigabytes 1] [--checkpoints 4] [--rounds 3] [--format safetensors] [--dtype float32]

Each round runs every way in turn on the same files, warm in the page cache: `cat` (the floor), `wsanalyze analyze` of
an empty run file, the same again with everything stored, and a ten-line script of torch and safetensors that computes
the same default metric. Printed are wall-clock and processor seconds, peak resident memory, and the ratio to the floor
of the same round (median, least and greatest).
"""

import argparse
import datetime as dt
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """
import sys
from safetensors import safe_open
files = sys.argv[1:]
for before, after in zip(files, files[1:]):
    with safe_open(before, "pt") as b, safe_open(after, "pt") as a:
        for name in b.keys():
            w, v = b.get_tensor(name), a.get_tensor(name)
            if w.ndim > 1:
                print(name, float((v - w).abs().sum() / w.abs().sum()))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command took: wall-clock and processor seconds, peak resident megabytes."""

    wall: float
    cpu: float
    peak_mb: float


def measure(command: list[str]) -> Cost:
    """Run a command with its output thrown away and see what it took."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:4])} ... ended with status {process.returncode}")
    return Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def run_rounds(folder: Path, rounds: int) -> dict[str, list[Cost]]:
    """Run every way once a round, the floor first."""
    files = [
        str(path) for path in sorted(folder.rglob("step_*"), key=lambda p: int(p.stem.split("_")[1])) if path.is_file()
    ]
    program = [sys.executable, "-m", "wsanalyze", "analyze", str(folder), "--run", str(folder / "bench.wsa"), "--quiet"]
    costs: dict[str, list[Cost]] = {}
    measure(["cat", *files])  # warms the page cache
    for _ in range(rounds):
        (folder / "bench.wsa").unlink(missing_ok=True)
        ways = {"cat": ["cat", *files], "wsanalyze": program, "wsanalyze, stored": program}
        if files[0].endswith(".safetensors"):
            ways["ten-line script"] = [sys.executable, "-c", SCRIPT, *files]
        for name, command in ways.items():
            costs.setdefault(name, []).append(measure(command))
    return costs


def print_table(costs: dict[str, list[Cost]]) -> None:
    """One line a way, as a Markdown table."""
    floor = costs["cat"]
    print("| way | wall s | CPU s | peak MB | wall / cat (median, least, greatest) |")
    print("|---|---|---|---|---|")
    for name, found in costs.items():
        ratios = [cost.wall / base.wall for cost, base in zip(found, floor, strict=True)]
        medians = [statistics.median(getattr(cost, part) for cost in found) for part in ("wall", "cpu", "peak_mb")]
        spread = f"{statistics.median(ratios):.1f} ({min(ratios):.1f}, {max(ratios):.1f})"
        print(f"| {name} | {medians[0]:.2f} | {medians[1]:.2f} | {medians[2]:.0f} | {spread} |")


def main() -> None:
    """Build a sequence, run the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of one checkpoint")
    parser.add_argument("--checkpoints", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--format", default="safetensors", choices=["safetensors", "sharded", "pt"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    options = parser.parse_args()
    make = Path(__file__).with_name("make_sequence.py")
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--gigabytes", options.gigabytes, "--checkpoints", options.checkpoints]
        arguments += ["--format", options.format, "--dtype", options.dtype]
        subprocess.run([sys.executable, make, folder, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
        print(f"{platform.machine()}, {os.cpu_count()} cores, {dt.datetime.now(dt.UTC):%Y-%m-%d}; ", end="")
        print(f"{options.checkpoints} x {options.gigabytes:g} GB, {options.dtype}, {options.format}")
        print_table(run_rounds(Path(folder), options.rounds))


if __name__ == "__main__":
    main()
