"""The shortest script: load all checkpoints, then compare.

    python load_everything.py CHECKPOINT...

A checkpoint is a safetensors or torch file, or a folder of safetensors shards.
"""

import sys
import time
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file


def load(path: Path) -> dict[str, torch.Tensor]:
    """Load the weights of one checkpoint."""
    if path.is_dir():
        return {
            name: tensor for shard in sorted(path.glob("*.safetensors")) for name, tensor in load_file(shard).items()
        }
    if path.suffix == ".safetensors":
        return load_file(path)
    weights: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)["model"]
    return weights


def main() -> None:
    """Print the relative change of every matrix."""
    start = time.perf_counter()
    states = [load(Path(argument)) for argument in sys.argv[1:]]
    for before, after in pairwise(states):
        for name, weights in before.items():
            if weights.ndim > 1:
                print(name, float((after[name] - weights).abs().sum() / weights.abs().sum()))
    print(f"measured in {time.perf_counter() - start:.3f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
