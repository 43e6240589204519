"""What a pull notes in its folder: which files were checked, so that they need not be read again."""

import contextlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wsanalyze.errors import SourceError

NOTE_NAME: Final = ".wsanalyze-pull.json"
_FORMAT: Final = 1
_MAX_BYTES: Final = 200_000_000


@dataclass(frozen=True, slots=True)
class _Known:
    """What a file was when it was checked."""

    digest: str
    size: int
    mtime_ns: int

    def is_of(self, found: os.stat_result) -> bool:
        return (self.size, self.mtime_ns) == (found.st_size, found.st_mtime_ns)


class PullNote:
    """The note of a folder; a damaged one is taken for none.

    Args:
        folder: The folder.
        origin: What it is for, in a word.

    Raises:
        SourceError: If the folder holds what comes from elsewhere.
        OSError: If it cannot be read.
    """

    def __init__(self, folder: Path, origin: str) -> None:
        self._folder = folder
        self._origin = origin
        self._known: dict[str, _Known] = {}
        self._left: dict[str, str] = {}
        self._places: dict[str, Path] = {}
        path = folder / NOTE_NAME
        if size_of(path) > _MAX_BYTES:
            return
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError, FileNotFoundError):
            self._read(path)

    def digest_of(self, name: str, found: os.stat_result) -> str | None:
        """The digest of a file that is as it was when it was checked; None for any other."""
        known = self._known.get(name)
        return known.digest if known is not None and known.is_of(found) else None

    def find(self, digest: str) -> Path | None:
        """Where a file of that digest is."""
        return self._places.get(digest)

    def is_left(self, name: str, digest: str) -> bool:
        """Whether a file was fetched and is not wanted."""
        return self._left.get(name) == digest

    def add(self, name: str, digest: str, found: os.stat_result) -> None:
        """Note a file that was checked."""
        self._known[name] = _Known(digest, found.st_size, found.st_mtime_ns)
        self._places[digest] = self._folder / name

    def leave(self, name: str) -> None:
        """Note that a file is not wanted."""
        known = self._known.pop(name, None)
        if known is not None:
            self._left[name] = known.digest
            self._places.pop(known.digest, None)

    def write(self, waiting: Path) -> None:
        """Write it down, under a name of its own first.

        Raises:
            OSError: If it cannot be written.
        """
        files = {name: [known.digest, known.size, known.mtime_ns] for name, known in self._known.items()}
        data = {"format": _FORMAT, "origin": self._origin, "files": files, "left": self._left}
        waiting.write_text(json.dumps(data), "utf-8")
        waiting.replace(self._folder / NOTE_NAME)

    def _read(self, path: Path) -> None:
        data = json.loads(path.read_text("utf-8"))
        if data["format"] != _FORMAT:
            return
        origin, files, left = str(data["origin"]), dict(data["files"]), dict(data["left"])
        known = {str(n): _Known(str(digest), int(size), int(mtime)) for n, (digest, size, mtime) in files.items()}
        if origin != self._origin:
            raise SourceError(f"{self._folder}: holds what was pulled from {origin}: name another folder")
        self._known, self._left = known, {str(name): str(digest) for name, digest in left.items()}
        for name, one in known.items():
            found = stat_regular(self._folder / name)
            if found is not None and one.is_of(found):
                self._places[one.digest] = self._folder / name


def stat_regular(path: Path) -> os.stat_result | None:
    """What a regular file is; None where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def size_of(path: Path) -> int:
    """Size of a regular file; -1 where there is none."""
    found = stat_regular(path)
    return -1 if found is None else found.st_size
