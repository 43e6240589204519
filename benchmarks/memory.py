"""What `--memory` promises: the peak of measuring above that of the same on a handful of numbers.

    python benchmarks/memory.py [--memory 32MB 128MB 512MB] [--cases float32 derived ...] [--megabytes 400]

Measuring alone, by the library: finding trends imports scikit-learn, whose 120 MB would hide what measuring takes. The
same on tiny checkpoints of the same kind imports whatever the other does, so that what is left is the work: buffers,
which `--memory` bounds, and what stands beside them. "over" is what goes beyond `--memory`; where it is negative the
work took less than allowed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from processes import measure
from tables import describe_machine, make_table, show

_STEPS: Final = 3
_COLUMNS: Final = 4096
_LARGE: Final = 2**22
_SMALL_TENSORS: Final = 20_000
_MEASURE: Final = (
    "import sys, wsanalyze; wsanalyze.analyze(sys.argv[1], run=sys.argv[2], memory=sys.argv[3], device='cpu')"
)
_TITLES: Final = ("case", "--memory", "peak MB", "of the program MB", "above MB", "over MB")


def make_plain(dtype: str) -> Callable[[int, int], dict[str, Any]]:
    """Makes checkpoints of matrices of one dtype, so many bytes in all."""

    def make(step: int, nbytes: int) -> dict[str, Any]:
        import torch

        size = torch.empty(0, dtype=getattr(torch, dtype)).element_size()
        rows = max(1, nbytes // size // _COLUMNS // 4)
        torch.manual_seed(step)
        base = [torch.randn(rows, min(_COLUMNS, max(8, nbytes // size // 4))) for _ in range(4)]
        return {f"blocks.{index}.weight": values.to(getattr(torch, dtype)) for index, values in enumerate(base)}

    return make


def make_small(step: int, nbytes: int) -> dict[str, Any]:
    """Makes checkpoints of many matrices of 1 KB."""
    import torch

    torch.manual_seed(step)
    count = _SMALL_TENSORS if nbytes > _LARGE else 8
    return {f"blocks.{index}.weight": torch.randn(16, 16) for index in range(count)}


def make_transposed(step: int, nbytes: int) -> dict[str, Any]:
    """Makes checkpoints of a matrix whose elements lie in another order in the second."""
    import torch

    torch.manual_seed(step)
    side = max(4, int((nbytes / 4 / 4) ** 0.5))
    values = [torch.randn(side, side) for _ in range(4)]
    return {f"blocks.{i}.weight": value.t() if step == 1 else value for i, value in enumerate(values)}


def make_derived(step: int, nbytes: int) -> dict[str, Any]:
    """Makes checkpoints of matrices that are a direction and a length."""
    found = {}
    for name, value in make_plain("float32")(step, nbytes).items():
        prefix = name.removesuffix("weight")
        found[f"{prefix}weight_v"] = value
        found[f"{prefix}weight_g"] = value.norm(dim=1, keepdim=True)
    return found


CASES: Final[dict[str, Callable[[int, int], dict[str, Any]]]] = {
    "float32": make_plain("float32"),
    "bfloat16": make_plain("bfloat16"),
    "float8": make_plain("float8_e4m3fn"),
    "complex128": make_plain("complex128"),
    "small": make_small,
    "transposed": make_transposed,
    "derived": make_derived,
}


def save(case: str, folder: Path, nbytes: int) -> None:
    """Save the checkpoints of a case, of so many bytes each, as torch files: they hold what safetensors cannot."""
    import torch

    for step in range(_STEPS):
        torch.save(CASES[case](step, nbytes), folder / f"step_{step}.pt")


def run_case(case: str, sizes: Sequence[str], nbytes: int) -> Iterator[list[str]]:
    """The rows of a case, one for each size of memory."""
    with tempfile.TemporaryDirectory() as large, tempfile.TemporaryDirectory() as tiny:
        for folder, num_bytes in ((large, nbytes), (tiny, 1)):  # in a process of its own: this one must stay small
            subprocess.run([sys.executable, __file__, "--save", case, folder, str(num_bytes)], check=True)
        for size in sizes:
            peaks = [_peak(Path(folder), size) for folder in (large, tiny)]
            above = peaks[0] - peaks[1]
            allowed = float(size.upper().removesuffix("MB"))
            yield [case, size, show(peaks[0], 0), show(peaks[1], 0), show(above, 0), show(above - allowed, 0)]


def _peak(folder: Path, size: str) -> float:
    with tempfile.TemporaryDirectory() as room:
        environment = {**os.environ, "XDG_CACHE_HOME": room, "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-c", _MEASURE, str(folder), str(Path(room) / "run.wsa"), size]
        return measure([command], environment).peak_mb


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", nargs="+", default=["32MB", "128MB", "512MB"], metavar="SIZE")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--megabytes", type=float, default=400.0, help="size of a checkpoint [%(default)s]")
    parser.add_argument("--save", nargs=3, metavar=("CASE", "FOLDER", "BYTES"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not all(size.upper().removesuffix("MB").isdecimal() for size in options.memory):
        parser.error("--memory takes sizes in MB, such as 32MB")
    return options


def main() -> None:
    """Measure all cases and print a table."""
    options = read_options()
    if options.save:
        case, folder, nbytes = options.save
        save(case, Path(folder), int(nbytes))
        return
    print(describe_machine(), flush=True)
    rows = [row for case in options.cases for row in run_case(case, options.memory, int(options.megabytes * 1_000_000))]
    print(make_table(_TITLES, rows))


if __name__ == "__main__":
    main()
