"""How to run what people would run instead: scripts that stand here, and programs where they are installed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from sequences import Files

_HERE: Final = Path(__file__).parent
_MEMORY_SHARE: Final = 0.6

Commands = list[list[str]]


@dataclass(frozen=True, slots=True)
class Rival:
    """One of them.

    Attributes:
        name: What the table calls it.
        forms: The formats that it reads.
        make: Makes its commands from the sequence, the program or interpreter found, and a folder for links.
        program: What must be there: a program on the path, or a module of the interpreter.
        module: Whether it is a module.
    """

    name: str
    forms: Sequence[str]
    make: Callable[[Files, str, Path], Commands]
    program: str
    module: bool = False


def _script(name: str) -> Callable[[Files, str, Path], Commands]:
    return lambda files, python, _: [[python, str(_HERE / name), *map(str, files.checkpoints)]]


def _pairs_of_folders(*options: str) -> Callable[[Files, str, Path], Commands]:
    """One command for each pair: that is how these programs are run."""

    def make(files: Files, program: str, links: Path) -> Commands:
        folders = [str(_as_folder(path, links)) for path in files.checkpoints]
        return [[program, *options, before, after] for before, after in pairwise(folders)]

    return make


def _pairs_of_files(*options: str, last: Sequence[str]) -> Callable[[Files, str, Path], Commands]:
    def make(files: Files, program: str, _: Path) -> Commands:
        return [[program, *options, str(b), str(a), *last] for b, a in pairwise(files.checkpoints)]

    return make


SCRIPT: Final = "ten-line script"

RIVALS: Final = (
    Rival(SCRIPT, ("safetensors",), _script("ten_lines.py"), "torch", module=True),
    Rival("load everything", ("safetensors", "sharded", "pt"), _script("load_everything.py"), "torch", module=True),
    Rival("weightscope", ("safetensors", "sharded"), _pairs_of_folders("diff"), "weightscope"),
    Rival("sft-cli", ("safetensors",), _pairs_of_files("diff", last=["--delta"]), "sft"),
    Rival(
        "WeightWatcher",
        ("safetensors", "sharded", "pt"),
        _script("weightwatcher_distances.py"),
        "weightwatcher",
        module=True,
    ),
    Rival("modeldelta", ("safetensors", "sharded"), _pairs_of_folders("-q"), "modeldelta"),
)


def find_rivals(files: Files, links: Path, venv: Path | None) -> tuple[dict[str, Commands], list[str]]:
    """Those that can be run on a sequence here.

    Args:
        files: The sequence.
        links: A folder for links, for those that want folders.
        venv: A virtual environment to look into besides this interpreter's own.

    Returns:
        Commands by name, and a line for each that is left out.
    """
    ways: dict[str, Commands] = {}
    notes = []
    available = _available_bytes()
    for rival in RIVALS:
        program = _find_module(rival.program, venv) if rival.module else _find_program(rival.program, venv)
        if files.form not in rival.forms:
            notes.append(f"{rival.name}: does not read {files.form}")
        elif program is None:
            notes.append(f"{rival.name}: not installed")
        elif rival.name == "load everything" and available and files.nbytes > _MEMORY_SHARE * available:
            notes.append(f"{rival.name}: {files.nbytes / 1e9:.1f} GB do not fit into the memory of this machine")
        else:
            ways[rival.name] = rival.make(files, program, links)
    return ways, notes


def _find_program(name: str, venv: Path | None) -> str | None:
    folders = [str(venv / "bin")] if venv else []
    return shutil.which(name, path=os.pathsep.join([*folders, str(Path(sys.executable).parent), os.defpath]))


def _find_module(name: str, venv: Path | None) -> str | None:
    """The interpreter that has a module, this one before the other; nothing is imported."""
    look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is None)"
    for python in (Path(sys.executable), *([venv / "bin" / "python"] if venv else [])):
        if not python.exists():
            continue
        if subprocess.run([python, "-c", look], check=False, capture_output=True).returncode == 0:
            return str(python)
    return None


def _as_folder(checkpoint: Path, links: Path) -> Path:
    """A folder that holds a checkpoint: its own, or one of a link to its file."""
    if checkpoint.is_dir():
        return checkpoint
    link = links / checkpoint.stem / f"model{checkpoint.suffix}"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(checkpoint.resolve())
    return link.parent


def _available_bytes() -> int | None:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if sys.platform == "darwin" else _meminfo()
    except (OSError, ValueError):
        return None


def _meminfo() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
