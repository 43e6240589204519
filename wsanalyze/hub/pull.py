"""A folder on disk that files of the Hub are brought to for good: whole ones under their names, or nothing.

Files come into a hidden folder on the same disk, are checked there and renamed: at any moment, a name stands for all
bytes of a file. A note remembers what was checked.
"""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from wsanalyze.errors import CheckpointError, SourceError
from wsanalyze.hub.client import HubClient
from wsanalyze.hub.digests import check_digest, name_digest
from wsanalyze.hub.partial import holds_partial
from wsanalyze.hub.pull_note import PullNote, size_of, stat_regular
from wsanalyze.hub.records import HubFile

_HIDDEN: Final = ".wsanalyze-pull"


class PullFolder:
    """Files of one repository in a folder; nothing is made before `prepare`.

    Args:
        path: The folder.
        client: What downloads.
        origin: What the folder is for, in a word: another origin is refused.

    Raises:
        SourceError: If it is no folder, cannot be looked at, or holds what comes from elsewhere.
    """

    def __init__(self, path: Path, client: HubClient, origin: str) -> None:
        self.path = path
        self._client = client
        self._hidden = path / _HIDDEN
        self._lock: sqlite3.Connection | None = None
        with self._explained():
            if path.exists() and not path.is_dir():
                raise SourceError(f"{path}: is no folder")
            self._note = PullNote(path, origin)

    def holds(self, name: str, file: HubFile) -> bool:
        """Whether a file is there already, byte for byte; what was not checked before is read.

        Args:
            name: Its path below the folder.
            file: What it is on the Hub.

        Raises:
            CheckpointError: If another stands there that was not put there by us, or was changed since.
        """
        path = self.path / name
        if self._note.is_left(name, file.entry.digest):
            return True
        if not os.path.lexists(path):
            return False
        found = stat_regular(path)
        if found is not None:
            known = self._note.digest_of(name, found)
            if known not in (None, file.entry.digest):
                return False  # ours, of another revision
            if known or (found.st_size == file.entry.size and self._check(path, file) is None):
                self._note.add(name, file.entry.digest, found)
                return True
        raise CheckpointError("is not the file that the Hub lists, and is not overwritten: move it away", path)

    def find(self, file: HubFile) -> Path | None:
        """Where the bytes of a file are in the folder already, under whatever name."""
        place = self._note.find(file.entry.digest)
        if place is not None and size_of(place) == file.entry.size:
            return place
        stored = self._stored(file)
        return stored if size_of(stored) == file.entry.size else None

    def can_link(self, file: HubFile) -> bool:
        """Whether a file in the user's cache lies on the same disk, so that it takes no room."""
        cached = self._client.find_cached(file)
        found = None if cached is None else stat_regular(cached)
        return found is not None and found.st_dev == _nearest(self.path).stat().st_dev

    @property
    def free_bytes(self) -> int:
        """Room on the disk of the folder."""
        with self._explained():
            return shutil.disk_usage(_nearest(self.path)).free

    def prepare(self) -> None:
        """Make the folder and keep others from writing there; what a download that was cut short left goes on.

        Raises:
            SourceError: If it cannot be written, or another process pulls into it.
        """
        with self._explained():
            self._store.mkdir(parents=True, exist_ok=True)
            self._lock_out()
            try:
                self._write_note()
            except BaseException:
                self.close()
                raise

    def fetch(self, file: HubFile, on_bytes: Callable[[int], None]) -> None:
        """Bring the bytes of a file into the folder, not under its name yet: from the user's cache, else the Hub.

        Raises:
            CheckpointError: If they cannot be had, or are not those that were listed.
            SourceError: If they cannot be written.
        """
        if self.find(file) is not None:
            return
        target = self._stored(file)
        cached = self._client.find_cached(file)
        if cached is not None:
            if self._check(cached, file) is not None:  # its own client would take it as it is
                raise CheckpointError(f"is damaged in the cache of the Hub: remove {cached}", file.url)
            with self._explained():
                self._link(cached.resolve(), target)
            on_bytes(file.entry.size)
            return
        with self._explained():
            self._coming.mkdir(exist_ok=True)
        try:
            path = self._client.download(file, self._coming, on_bytes)
        except SourceError as error:
            if isinstance(error.__cause__, OSError):
                raise self._explain(error.__cause__) from error
            raise
        problem = self._check(path, file)
        with self._explained():
            if problem is None:
                path.replace(target)
            else:
                path.unlink(missing_ok=True)  # the client would take it as it is
        if problem is not None:
            raise CheckpointError(problem, file.url)

    def place(self, name: str, file: HubFile, *, apart: bool = False) -> None:
        """Give a file that was fetched its name, as a link where others have its bytes too.

        Args:
            name: Its path below the folder.
            file: What it is on the Hub.
            apart: Whether it is to be no link.

        Raises:
            CheckpointError: If its bytes are not there any more.
            SourceError: If it cannot be written.
        """
        target, source = self.path / name, self.find(file)
        if source is None:
            raise CheckpointError("was taken away while it was pulled", target)
        with self._explained():
            target.parent.mkdir(parents=True, exist_ok=True)
            if source == self._stored(file):
                source.replace(target)
            else:
                self._link(source, target, copy=apart)
            self._note.add(name, file.entry.digest, target.stat())

    def leave_out(self, name: str) -> None:
        """Take a file away again that is not wanted, and note that it was there."""
        self._note.leave(name)
        with self._explained():
            (self.path / name).unlink(missing_ok=True)

    def save(self) -> None:
        """Write down what was checked."""
        with self._explained():
            self._write_note()

    def clear(self) -> None:
        """Let go of what was fetched and has no name: nothing, unless it was for what is not wanted any more."""
        for folder in (self._store, self._coming):
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Let others write there; what is hidden goes where nothing is kept in it for the next time."""
        with contextlib.suppress(OSError):
            self._store.rmdir()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if not self._store.exists() and not holds_partial(self._coming):
            shutil.rmtree(self._hidden, ignore_errors=True)

    def _lock_out(self) -> None:
        """A lock that ends with the process, however that ends; where the disk knows of none, there is none."""
        try:
            self._lock = sqlite3.connect(self._hidden / "lock", timeout=0, isolation_level=None)
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if self._lock is not None:
                self._lock.close()
            self._lock = None
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY:
                raise SourceError(f"{self.path}: another wsanalyze pull is writing there: wait for it") from error

    @property
    def _store(self) -> Path:
        return self._hidden / "files"

    @property
    def _coming(self) -> Path:
        return self._hidden / "coming"

    def _stored(self, file: HubFile) -> Path:
        return self._store / name_digest(file.entry.digest)

    def _check(self, path: Path, file: HubFile) -> str | None:
        try:
            return check_digest(path, file)
        except OSError as error:
            return f"cannot be read ({(error.strerror or str(error)).lower()})"

    def _link(self, source: Path, target: Path, *, copy: bool = False) -> None:
        """A second name of a file, or a copy where the disk has no links; whole from its first moment on."""
        waiting = self._hidden / "waiting"
        waiting.unlink(missing_ok=True)
        try:
            if not copy:
                os.link(source, waiting)
        except OSError:
            copy = True
        if copy:
            shutil.copyfile(source, waiting)
        waiting.replace(target)
        waiting.unlink(missing_ok=True)  # a rename to another name of the same file leaves both

    def _write_note(self) -> None:
        self._note.write(self._hidden / "note")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise self._explain(error) from error

    def _explain(self, error: OSError | ValueError) -> SourceError:
        text = (getattr(error, "strerror", None) or str(error)).lower()
        return SourceError(f"{self.path}: cannot be written ({text}); what is there stays, the same command goes on")


def _nearest(folder: Path) -> Path:
    """The folder itself, or the first above it that there is."""
    folder = folder.absolute()
    return next((path for path in (folder, *folder.parents) if path.exists()), folder)
