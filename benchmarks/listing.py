"""How long `wsanalyze list` takes: for the first time, and when everything was listed before.

    python benchmarks/listing.py [--checkpoints 200] [--tensors 400] [--rounds 5] [--formats safetensors pt]

For each format a sequence of many small tensors is made in a temporary folder, with a cache of its own. Printed are
wall-clock and processor seconds of whole processes, least and median over the rounds: the first listing with an empty
cache each time, the second with what the first one remembered. Files are warm in the page cache, and Python's own cache
of compiled modules is warm too, as it is for whoever runs the program twice. The floor is a process that only imports
NumPy.
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
from pathlib import Path

_SHAPE = (8, 16)


def make_sequence(folder: Path, checkpoints: int, tensors: int, file_format: str) -> None:
    """Save checkpoints of one network that differ in every weight, as `step_<n>`."""
    import numpy as np

    rng = np.random.default_rng(0)
    parts = (
        "attn.q_proj",
        "attn.k_proj",
        "attn.v_proj",
        "attn.out_proj",
        "mlp.up_proj",
        "mlp.down_proj",
        "ln_1",
        "ln_2",
    )
    names = [f"model.layers.{i // len(parts)}.{parts[i % len(parts)]}.weight" for i in range(tensors)]
    for index in range(checkpoints):
        weights = {name: rng.normal(size=_SHAPE).astype(np.float32) for name in names}
        step = (index + 1) * 100
        if file_format == "safetensors":
            from safetensors.numpy import save_file

            save_file(weights, folder / f"step_{step}.safetensors")
        else:
            import torch

            state = {name: torch.from_numpy(array) for name, array in weights.items()}
            torch.save({"model": state, "step": step}, folder / f"step_{step}.pt")


def time_process(arguments: list[str], cache: Path) -> tuple[float, float]:
    """Wall-clock and processor seconds of one Python process.

    Args:
        arguments: Of the interpreter.
        cache: The user's cache folder for it; beside it Python keeps compiled modules.
    """
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPYCACHEPREFIX": str(cache.parent / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environment) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with status {process.returncode}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime


def run_rounds(folder: Path, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Time the floor, first and second listings in turn; the round before the first is not counted."""
    listing = ["-m", "wsanalyze", "list", str(folder)]
    ways = {"floor": ["-c", "import numpy"], "first": listing, "second": listing}
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as room:
        for number in range(rounds + 1):
            cache = Path(room) / str(number)
            for way, arguments in ways.items():
                times = time_process(arguments, cache)
                if number:
                    found[way].append(times)
    return found


def main() -> None:
    """Make the sequences, run the rounds, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=200)
    parser.add_argument("--tensors", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--formats", nargs="+", default=["safetensors", "pt"], choices=["safetensors", "pt"])
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, {dt.datetime.now(dt.UTC):%Y-%m-%d}; ", end="")
    print(f"{options.checkpoints} checkpoints of {options.tensors} tensors")
    print("| format | listing | wall s (least, median) | CPU s (least, median) |")
    print("|---|---|---|---|")
    for file_format in options.formats:
        with tempfile.TemporaryDirectory() as folder:
            make_sequence(Path(folder), options.checkpoints, options.tensors, file_format)
            for way, times in run_rounds(Path(folder), options.rounds).items():
                columns = [f"{min(part):.2f}, {statistics.median(part):.2f}" for part in zip(*times, strict=True)]
                print(f"| {file_format} | {way} | {' | '.join(columns)} |", flush=True)


if __name__ == "__main__":
    main()
