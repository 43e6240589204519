"""The sequences that are measured: made in a process of its own, or somebody's folder."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KINDS: Final = {
    "float32": ("safetensors", "float32"),
    "bfloat16": ("safetensors", "bfloat16"),
    "sharded": ("sharded", "float32"),
    "pt": ("pt", "float32"),
    "sharded-bfloat16": ("sharded", "bfloat16"),
    "pt-bfloat16": ("pt", "bfloat16"),
}
"""Kinds of sequences: format and dtype, as make_sequence.py takes them."""

_SUFFIXES: Final = (".safetensors", ".pt")
_HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Files:
    """A sequence on disk.

    Attributes:
        folder: Where it lies.
        checkpoints: A file or a folder of shards each, by step.
        weights: All files of weights, in the same order.
    """

    folder: Path
    checkpoints: tuple[Path, ...]
    weights: tuple[Path, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all of it; what stands in several places counts as often."""
        return sum(path.stat().st_size for path in self.weights)

    @property
    def form(self) -> str:
        """The format: "safetensors", "sharded" or "pt"."""
        first = self.checkpoints[0]
        return "sharded" if first.is_dir() else first.suffix.removeprefix(".")

    @classmethod
    def find(cls, folder: Path) -> "Files":
        """Find the checkpoints of a folder: files or folders whose names end in a step.

        Raises:
            SystemExit: If there are not two of them.
        """
        found = [path for path in folder.iterdir() if path.suffix in _SUFFIXES or path.is_dir()]
        steps = {int(number[0]): path for path in found if (number := re.findall(r"\d+$", path.stem))}
        checkpoints = tuple(steps[step] for step in sorted(steps))
        if len(checkpoints) < 2:  # noqa: PLR2004 - before and after
            raise SystemExit(f"{folder}: holds no two checkpoints named like step_100.safetensors or checkpoint-100/")
        shards = [sorted(path.glob("*.safetensors")) if path.is_dir() else [path] for path in checkpoints]
        return cls(folder, checkpoints, tuple(file for files in shards for file in files))


def make_files(folder: Path, kind: str, gigabytes: float, checkpoints: int) -> Files:
    """Make a sequence, by a process of its own so that this one stays small.

    Raises:
        SystemExit: If it cannot be made; what is wrong was told on standard error.
    """
    form, dtype = KINDS[kind]
    options = ["--gigabytes", str(gigabytes), "--checkpoints", str(checkpoints), "--format", form, "--dtype", dtype]
    run_script("make_sequence.py", str(folder), *options)
    return Files.find(folder)


def run_script(name: str, *arguments: str) -> None:
    """Run a script that stands beside this one.

    Raises:
        SystemExit: If it fails; what is wrong was told on standard error.
    """
    done = subprocess.run([sys.executable, str(_HERE / name), *arguments], check=False, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(done.returncode)
