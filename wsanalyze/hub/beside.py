"""Windows of other runs, beside one's own: known by a note, taken away when their run file is gone."""

import contextlib
import json
import os
import platform
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wsanalyze.errors import StoreError
from wsanalyze.store.database import WriterLock

FILES: Final = "files"
COMING: Final = "coming"
NOTE: Final = "run.json"
_RUN: Final = "wsanalyze run file"
_HOST: Final = "host"
_MAX_NOTE_BYTES: Final = 100_000
_FORGOTTEN_SECONDS: Final = 30 * 86_400.0
"""A window of another machine, whose run file cannot be looked for here, goes when nothing came to it for so long."""


@dataclass(frozen=True, slots=True)
class WindowName:
    """What a window is called, and the run file that it serves."""

    name: str
    run: Path


def write_note(folder: Path, run: Path) -> None:
    """Write down in a window whose it is.

    Raises:
        OSError: If that cannot be written.
    """
    (folder / NOTE).write_text(json.dumps({_RUN: str(run), _HOST: platform.node()}), encoding="ascii")


def remove_forgotten(own: Path) -> None:
    """Take away the windows beside one's own whose run file is not there any more, and that nobody is using.

    Only what wsanalyze put there goes, in folders that carry its note. No link is followed.
    """
    for folder, run, host in _list_windows(own):
        if host != platform.node():
            if _is_forgotten(folder):
                _remove(folder)
        elif _is_gone(run):
            lock = None
            try:
                if run.parent.is_dir():  # else nobody can be writing there
                    lock = WriterLock(run)
                if _is_gone(run):
                    _remove(folder)
            except StoreError:
                continue
            finally:
                if lock is not None:
                    lock.release()


def weigh_others(own: Path) -> int:
    """How many bytes the windows beside one's own hold."""
    return sum(weigh(folder / part) for folder, _, _ in _list_windows(own) for part in (FILES, COMING))


def find_beside(own: Path, name: str, nbytes: int) -> Path | None:
    """A file that came to another window already."""
    for folder, _, _ in _list_windows(own):
        path = folder / FILES / name
        with contextlib.suppress(OSError):
            found = path.lstat()
            if _is_folder(path.parent) and stat.S_ISREG(found.st_mode) and found.st_size == nbytes:
                return path
    return None


def weigh(folder: Path) -> int:
    """How many bytes lie in a folder, those that are taken away meanwhile left out."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(place) / name).lstat().st_size
    return total


def _list_windows(own: Path) -> Iterator[tuple[Path, Path, str]]:
    """The other windows: their folder, run file and machine."""
    try:
        found = sorted(own.parent.iterdir())
    except OSError:
        return
    for folder in found:
        if folder != own and _is_folder(folder) and (note := _read_note(folder / NOTE)) is not None:
            yield folder, *note


def _read_note(path: Path) -> tuple[Path, str] | None:
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_NOTE_BYTES:
            return None
        note = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(note, dict):
        return None
    run, host = note.get(_RUN), note.get(_HOST)
    if not isinstance(run, str) or not isinstance(host, str) or not Path(run).is_absolute():
        return None
    return Path(run), host


def _is_gone(run: Path) -> bool:
    try:
        run.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        pass
    return False


def _is_forgotten(folder: Path) -> bool:
    times = []
    for path in (folder / NOTE, folder / FILES, folder / COMING):
        with contextlib.suppress(OSError):
            times.append(path.lstat().st_mtime)
    return time.time() - max(times, default=time.time()) > _FORGOTTEN_SECONDS


def _remove(folder: Path) -> None:
    for part in (FILES, COMING):
        if _is_folder(folder / part):
            shutil.rmtree(folder / part, ignore_errors=True)
    with contextlib.suppress(OSError):
        if {path.name for path in folder.iterdir()} <= {NOTE}:  # else what is left is tried again another time
            (folder / NOTE).unlink()
            folder.rmdir()


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False
