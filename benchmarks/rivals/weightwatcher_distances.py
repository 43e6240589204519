"""Distances by WeightWatcher between checkpoints, one after the other; it has no command for it.

python weightwatcher_distances.py CHECKPOINT...
"""

import importlib
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any


def main() -> None:
    """Print the mean distance of every pair."""
    watcher: Any = importlib.import_module("weightwatcher").WeightWatcher()
    load: Any = importlib.import_module("load_everything").load  # beside this script
    start = time.perf_counter()
    before = load(Path(sys.argv[1]))
    for _, path in pairwise(sys.argv[1:]):
        after = load(Path(path))
        print(watcher.distances(before, after, method="raw")[0])
        before = after
    print(f"measured in {time.perf_counter() - start:.3f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
