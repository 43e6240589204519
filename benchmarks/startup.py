"""How long the commands take that read no weights, beside a Python that does nothing.

    python benchmarks/startup.py [--layers 400] [--changes 150] [--rounds 11]

Each round runs every way in turn on a terminal of its own: the floor (`python -c pass`), `--version`, `--help`,
`analyze --help`, `import wsanalyze`, and a stored run reported to the terminal and as a page. That run is made here:
sums of layers that follow a few courses, in a real run file, with its trends stored. Printed are wall-clock seconds of
whole processes (median, least, greatest), and what is asked of some of them. Files are warm in the page cache, and
Python's own cache of compiled modules is warm too, as it is for whoever runs the program twice.
"""

import argparse
import datetime as dt
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsanalyze.series import ChangeSeries, CheckpointRecord, Kind, Row
from wsanalyze.store.run_file import RunFile
from wsanalyze.sums import SUM_NAMES, Sums

ASKED = {"--version": 0.15, "--help": 0.15, "import wsanalyze": 0.05, "report": 0.8}
_PARTS = (("attn.q_proj", Kind.ATTENTION_Q), ("attn.out_proj", Kind.ATTENTION_OUT), ("mlp.up_proj", Kind.MLP_UP))
_SIDE = 512


def draw_changes(layers: int, changes: int, seed: int = 0) -> NDArray[np.float64]:
    """Relative changes that fall, rise and fall, or stay, by turns, with noise and a few spikes.

    Returns:
        float64 of shape (layers, changes), all positive.
    """
    rng = np.random.default_rng(seed)
    time_passed = np.linspace(0.0, 1.0, changes)
    courses = np.stack([-3.0 * time_passed, -4.0 * (time_passed - 0.4) ** 2, np.zeros(changes), -5.0 * time_passed])
    logs = courses[np.arange(layers) % len(courses)] + rng.normal(0.0, 0.1, (layers, changes))
    logs[rng.random(logs.shape) < 1 / 500] += 3.0
    return 0.02 * np.exp(logs)


def make_run(path: Path, layers: int, changes: int) -> None:
    """Write a run file as an analysis would leave it, before any trends are found in it."""
    rows = []
    for index in range(layers):
        depth, (part, kind) = index // len(_PARTS), _PARTS[index % len(_PARTS)]
        block = f"model.layers.{depth}"
        rows.append(Row(f"{block}.{part}.weight", f"{block}.{part}", block, kind, index, (_SIDE, _SIDE)))
    records = [CheckpointRecord(i * 500, f"checkpoint-{i * 500}", f"run/{i * 500}") for i in range(changes + 1)]
    pairs = tuple((index, index + 1) for index in range(changes))
    identities = [f"side {index}" for index in range(changes + 1)]
    found = draw_changes(layers, changes)
    with RunFile.create(path, source="made up") as store:
        store.check_use("weights", "model")
        for layer, pair in np.ndindex(found.shape):
            store.add(rows[layer].name, identities[pair], identities[pair + 1], _make_sums(float(found[layer, pair])))
        states = np.full(found.shape, None, dtype=object)
        unmeasured = Sums.unmeasured(*found.shape)
        store.save_series(ChangeSeries(tuple(records), tuple(rows), pairs, unmeasured, states), identities)


def _make_sums(change: float) -> Sums:
    """The sums of a square matrix of normal weights that changed by that much, in no direction of theirs."""
    n, l1, square = float(_SIDE**2), 0.016 * _SIDE**2, 0.0004 * _SIDE**2
    known = {"n": n, "n_valid": n, "changed": n, "sign_flips": change * n / 4, "rel_sum": change * n, "rel_n": n}
    known |= {"l1_before": l1, "l1_after": l1, "l1_delta": change * l1, "max_delta": change * 0.08}
    known |= {"sq_before": square, "sq_after": square, "sq_delta": change**2 * square}
    return Sums(np.array([known.get(name, 0.0) for name in SUM_NAMES]))


def time_on_terminal(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Wall-clock seconds of a process that writes to a terminal.

    Raises:
        SystemExit: If it does not end with status 0.
    """
    ours, theirs = os.openpty()
    reader = threading.Thread(target=_drain, args=(ours,))
    reader.start()
    start = time.perf_counter()
    status = subprocess.call(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment)
    took = time.perf_counter() - start
    os.close(theirs)
    reader.join()
    os.close(ours)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    return took


def _drain(terminal: int) -> None:
    """Read what is written to a terminal until nobody can write to it any more."""
    with suppress(OSError):
        while os.read(terminal, 65536):
            pass


def run_rounds(folder: Path, layers: int, changes: int, rounds: int) -> dict[str, list[float]]:
    """Time every way once a round; the round before the first, which stores the trends, is not counted."""
    run, page = folder / "run.wsa", folder / "report.html"
    make_run(run, layers, changes)
    program = [sys.executable, "-m", "wsanalyze"]
    ways = {
        "floor": [sys.executable, "-c", "pass"],
        "--version": [*program, "--version"],
        "--help": [*program, "--help"],
        "analyze --help": [*program, "analyze", "--help"],
        "import wsanalyze": [sys.executable, "-c", "import wsanalyze"],
        "report": [*program, "report", str(run)],
        "report --html": [*program, "report", str(run), "--html", str(page)],
    }
    compiled = {"PYTHONPYCACHEPREFIX": str(folder / "compiled"), "XDG_CACHE_HOME": str(folder / "cache")}
    environment = {**os.environ, **compiled, "TERM": "xterm-256color", "COLUMNS": "100"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    found: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, command in ways.items():
            took = time_on_terminal(command, environment)
            if number:
                found[way].append(took)
    return found


def main() -> None:
    """Make the run, time every way, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=400)
    parser.add_argument("--changes", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, {dt.datetime.now(dt.UTC):%Y-%m-%d}; ", end="")
    print(f"a run of {options.layers} layers over {options.changes} changes, {options.rounds} rounds")
    print("| way | wall s (median, least, greatest) | asked |")
    print("|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for way, times in run_rounds(Path(folder), options.layers, options.changes, options.rounds).items():
            asked = f"{ASKED[way]:.2f}" if way in ASKED else ""
            print(f"| {way} | {statistics.median(times):.3f}, {min(times):.3f}, {max(times):.3f} | {asked} |")


if __name__ == "__main__":
    main()
