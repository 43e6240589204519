"""Files in the user's cache of the Hub are checked once, before their weights are taken for those that are listed."""

import threading
from pathlib import Path

from wsanalyze.errors import CheckpointError
from wsanalyze.hub.digests import check_digest
from wsanalyze.hub.memory import HubMemory
from wsanalyze.hub.records import HubFile


class CheckedFiles:
    """Which files were found to be what they are called. Safe to use from threads.

    Args:
        memory: Where that is remembered from one run to the next.
    """

    def __init__(self, memory: HubMemory) -> None:
        self._memory = memory
        self._sound: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def check(self, path: Path, file: HubFile) -> None:
        """See that a file has the bytes that are listed, unless it was seen before and did not change since.

        Raises:
            CheckpointError: If it has others, or cannot be read.
        """
        key = str(path), file.entry.digest
        with self._lock:
            if key in self._sound:
                return
            try:
                stamp = _stamp(path)
                if not self._memory.is_checked(file.entry.digest, stamp):
                    if check_digest(path, file) is not None:
                        raise CheckpointError(f"is damaged in the cache of the Hub: remove {path}", file.url)
                    self._memory.add_checked(file.entry.digest, stamp)
            except OSError as error:
                raise CheckpointError(f"cannot be read ({(error.strerror or str(error)).lower()})", path) from error
            self._sound.add(key)

    def add(self, path: Path, file: HubFile) -> None:
        """Note that a file was checked when it came."""
        with self._lock:
            self._memory.add_checked(file.entry.digest, _stamp(path))
            self._sound.add((str(path), file.entry.digest))

    def close(self) -> None:
        """Write down what was checked."""
        self._memory.close()


def _stamp(path: Path) -> str:
    found = path.stat()
    return f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{path.resolve()}"
