"""Files on a local or mounted disk, read by position."""

import errno
import os
import stat
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from wsanalyze.errors import CheckpointError, SourceError
from wsanalyze.files.base import FileRef

if sys.platform != "win32":
    import resource

_MAX_OPEN_FILES: Final = 128
_MANY_FILES: Final = 4096
_FILES_ON_WINDOWS: Final = 512
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def stat_file(path: str | Path) -> FileRef:
    """List one file.

    Raises:
        CheckpointError: If there is none, or it is a folder, a pipe or a device.
    """
    try:
        found = Path(path).stat()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have (NUL, half a surrogate)
        raise CheckpointError(f"cannot be read ({_explain(error)})", path) from error
    if not stat.S_ISREG(found.st_mode):
        raise CheckpointError("is not a regular file", path)
    return FileRef(str(path), found.st_size, _stamp(found), found.st_mtime_ns)


@dataclass(slots=True, eq=False)
class _OpenFile:
    """A file that is open, and how many are reading it right now."""

    descriptor: int
    num_readers: int = 0


class LocalFiles:
    """The ByteSource of local files. Keeps a bounded number of them open; threads read from it side by side."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, str], _OpenFile] = OrderedDict()
        self._most_idle = min(_MAX_OPEN_FILES, count_allowed_files() // 4) - 1
        self._lock = threading.Lock()

    def read_into(self, file: FileRef, offset: int, buffer: memoryview) -> None:
        """See `ByteSource.read_into`."""
        with self.open(file) as descriptor:
            try:
                done = 0
                while done < len(buffer):
                    count = _read_at(descriptor, buffer[done:], file.start + offset + done)
                    if count == 0:
                        raise CheckpointError("ends too early: truncated or still being written", file.url)
                    done += count
            except OSError as error:
                raise CheckpointError(f"cannot be read ({_explain(error)})", file.url) from error

    def prepare(self, files: Sequence[FileRef]) -> None:
        """See `ByteSource.prepare`: the disk is quick."""

    def expect(self, file: FileRef, spans: Sequence[tuple[int, int]]) -> None:
        """See `ByteSource.expect`: the system reads ahead by itself."""

    def verify(self, file: FileRef) -> None:
        """See `ByteSource.verify`."""
        with self.open(file) as descriptor:
            if _read_stamp(descriptor, file) != file.stamp:
                raise CheckpointError("was changed while it was being read", file.url)

    def close(self) -> None:
        """See `ByteSource.close`."""
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1].descriptor)

    @contextmanager
    def open(self, file: FileRef) -> Iterator[int]:
        """The descriptor of a file, which stays open meanwhile.

        Raises:
            CheckpointError: If it cannot be opened, or is not the one that was listed.
        """
        with self._lock:
            entry = self._find_open(file)
            entry.num_readers += 1
        try:
            yield entry.descriptor
        finally:
            with self._lock:
                entry.num_readers -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _find_open(self, file: FileRef) -> _OpenFile:
        key = file.url, file.stamp  # another file may stand under the same name by now
        entry = self._open.get(key)
        if entry is not None:
            self._open.move_to_end(key)
            return entry
        descriptor = self._open_anew(file)
        try:
            stamp = _read_stamp(descriptor, file)
        except CheckpointError:
            os.close(descriptor)
            raise
        if stamp != file.stamp:
            os.close(descriptor)
            raise CheckpointError("was changed since it was listed", file.url)
        self._close_idle(self._most_idle)
        entry = self._open[key] = _OpenFile(descriptor)
        return entry

    def _open_anew(self, file: FileRef) -> int:
        for keep in (self._most_idle, 0):
            try:
                return os.open(file.url, _FLAGS)
            except (OSError, ValueError) as error:
                if getattr(error, "errno", None) not in (errno.EMFILE, errno.ENFILE):
                    raise CheckpointError(f"cannot be read ({_explain(error)})", file.url) from error
            if keep:
                self._close_idle(0)
        raise SourceError(f"{file.url}: too many files are open: allow more of them (ulimit -n)")

    def _close_idle(self, keep: int) -> None:
        """Close files that nobody reads, those first that were not asked for lately, until so many are open."""
        for key in [key for key, entry in self._open.items() if not entry.num_readers]:
            if len(self._open) <= keep:
                break
            os.close(self._open.pop(key).descriptor)


def count_allowed_files() -> int:
    """How many files this process may have open at once."""
    if sys.platform == "win32":
        return _FILES_ON_WINDOWS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MANY_FILES if soft == resource.RLIM_INFINITY else soft


def allow_many_files() -> None:
    """Let this process have so many files open as all its threads can use, where the system lets it."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else min(_MANY_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


_seeking: Final = threading.Lock()


def _read_positional(descriptor: int, buffer: memoryview, offset: int) -> int:
    return os.preadv(descriptor, [buffer], offset)


def _read_after_seek(descriptor: int, buffer: memoryview, offset: int) -> int:
    """For Windows, which has no positional read: a lock makes the pair of calls one."""
    with _seeking:
        os.lseek(descriptor, offset, os.SEEK_SET)
        data = os.read(descriptor, len(buffer))
    buffer[: len(data)] = data
    return len(data)


_read_at: Final = _read_positional if hasattr(os, "preadv") else _read_after_seek


def _read_stamp(descriptor: int, file: FileRef) -> str:
    try:
        return _stamp(os.fstat(descriptor))
    except OSError as error:  # a network's file system may have lost the file
        raise CheckpointError(f"cannot be read ({_explain(error)})", file.url) from error


def _stamp(found: os.stat_result) -> str:
    # ctime catches a file that was rewritten with its old modification time put back. Windows keeps the time of
    # creation there, which does no harm.
    return f"{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}:{found.st_ino}"


def _explain(error: OSError | ValueError) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return (reason or str(error)).lower()
