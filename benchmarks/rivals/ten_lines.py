"""The script one would write: relative change of every matrix between safetensors files, one after the other."""

import sys
import time
from itertools import pairwise

import torch  # noqa: F401 - else safe_open imports it, and imports are not counted
from safetensors import safe_open

start = time.perf_counter()
for before, after in pairwise(sys.argv[1:]):
    with safe_open(before, "pt") as b, safe_open(after, "pt") as a:
        for name in b.keys():  # noqa: SIM118 - it is no dict
            w, v = b.get_tensor(name), a.get_tensor(name)
            if w.ndim > 1:
                print(name, float((v - w).abs().sum() / w.abs().sum()))
print(f"measured in {time.perf_counter() - start:.3f} s", file=sys.stderr)
