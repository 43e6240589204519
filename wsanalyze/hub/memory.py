"""What was asked of the Hub before and cannot change: the trees of commits, and short parts of files by their digests.

It is kept in the user's cache folder, and checksums tell where it was damaged. It never stands in for asking whether a
repository may be read: which commits there are is asked every time.
"""

import contextlib
import hashlib
import json
import re
import sqlite3
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from wsanalyze.hub.address import is_commit
from wsanalyze.store.cache_file import FAULTS, CacheFile

MAX_BYTES: Final = 256_000_000
MAX_ITEM_BYTES: Final = 16_000_000
_MAX_FILE_BYTES: Final = 2 * MAX_BYTES
_MAX_NEW_BYTES: Final = 32_000_000
_MANY_NEW_BYTES: Final = 4_000_000
_KEPT_SHARE: Final = 0.9
_SAVE_SECONDS: Final = 5.0
_SETTLED_SECONDS: Final = 86_400.0  # what was used within a day is not noted as used again
_NAME: Final = "hub.sqlite"
_FORMAT: Final = 1
_APPLICATION_ID: Final = 0x57534D31  # "WSM1"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|git:[0-9a-f]{40}")
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY, key TEXT, start INTEGER, size INTEGER, used REAL,
                                  checksum BLOB, value BLOB, UNIQUE (key, start));
"""

_Listed = tuple[str, int, str]
_Packed = tuple[int, bytes]  # size, and the bytes compressed


class HubMemory:
    """Trees and parts of files, within bounds: what was not used for the longest time goes first.

    What is new is written now and then and when it is closed. Safe to use from threads, and to use again once closed.

    Args:
        path: Where it lies; None to remember nothing beyond this object.
        endpoint: The Hub that all of it comes from.
    """

    def __init__(self, path: Path | None, endpoint: str) -> None:
        self._path = path
        self._endpoint = endpoint
        self._file: CacheFile | None = None
        self._new: OrderedDict[str, dict[int, _Packed]] = OrderedDict()
        self._new_bytes = 0
        self._used: set[int] = set()
        self._saved_at = time.monotonic()
        self._lock = threading.Lock()

    def find_tree(self, kind: str, repo: str, commit: str) -> list[_Listed] | None:
        """The files of a commit, (path, size, digest) each; None where they are not known."""
        found = self._find(self._key("tree", kind, repo, commit))
        return [(path, size, digest) for path, size, digest in json.loads(found[0][1])] if found else None

    def add_tree(self, kind: str, repo: str, commit: str, files: Sequence[_Listed]) -> None:
        """Remember the files of a commit, unless it is called by something else than its hash."""
        if is_commit(commit):
            self._add(self._key("tree", kind, repo, commit), 0, json.dumps(files).encode())

    def find_parts(self, digest: str) -> list[tuple[int, bytes]]:
        """What is known of the bytes of a file, by its digest: (offset, bytes) each, in order; they may overlap."""
        return self._find(self._key("part", digest)) if _DIGEST.fullmatch(digest) else []

    def add_part(self, digest: str, start: int, data: bytes | bytearray | memoryview) -> None:
        """Remember bytes of a file from an offset on."""
        if _DIGEST.fullmatch(digest):
            self._add(self._key("part", digest), start, data)

    def is_checked(self, digest: str, stamp: str) -> bool:
        """Whether a file on disk was found to have a digest; its stamp says which file, and when it was written."""
        return bool(self._find(self._key("checked", digest, stamp)))

    def add_checked(self, digest: str, stamp: str) -> None:
        """Remember that a file on disk has a digest."""
        self._add(self._key("checked", digest, stamp), 0, b"")

    def save(self) -> None:
        """Write what is new."""
        with self._lock:
            self._save()

    def close(self) -> None:
        """Write what is new, and let go of the file."""
        with self._lock:
            self._save()
            if self._file is not None:
                self._file.close()
            self._file = None

    def _key(self, *names: str) -> str:
        return hashlib.blake2b(json.dumps([self._endpoint, *names]).encode(), digest_size=16).hexdigest()

    def _find(self, key: str) -> list[tuple[int, bytes]]:
        with self._lock:
            found: dict[int, _Packed] = {}
            database = self._open()
            if database is not None:
                try:
                    found = self._load(key, database)
                except FAULTS as error:
                    self._give_up(error)
            found |= self._new.get(key, {})
        return [(start, _unpack(*item)) for start, item in sorted(found.items())]

    def _load(self, key: str, database: sqlite3.Connection) -> dict[int, _Packed]:
        """What the file holds under a key.

        Raises:
            ValueError: If that is not what was written.
        """
        found = {}
        query = "SELECT id, start, size, used, checksum, value FROM items WHERE key = ? AND size <= ?"
        for row, start, size, used, checksum, value in database.execute(query, (key, MAX_ITEM_BYTES)):
            if checksum != _sum(key, start, size, value):
                raise ValueError("not what was remembered")
            found[start] = size, value
            if time.time() - used > _SETTLED_SECONDS:
                self._used.add(row)
        return found

    def _add(self, key: str, start: int, data: bytes | bytearray | memoryview) -> None:
        if len(data) > MAX_ITEM_BYTES:
            return
        value = zlib.compress(data, level=1)
        with self._lock:
            items = self._new.setdefault(key, {})
            self._new_bytes += len(value) - len(items.get(start, (0, b""))[1])
            items[start] = len(data), value
            waited = time.monotonic() - self._saved_at
            if self._new_bytes > _MANY_NEW_BYTES or waited > _SAVE_SECONDS:
                self._save()
            while self._new_bytes > _MAX_NEW_BYTES:
                _, items = self._new.popitem(last=False)
                self._new_bytes -= sum(len(value) for _, value in items.values())

    def _open(self) -> sqlite3.Connection | None:
        if self._file is None:
            self._file = CacheFile(self._path, _TABLES, _APPLICATION_ID, _FORMAT, _MAX_FILE_BYTES)
        return self._file.database

    def _give_up(self, error: BaseException) -> None:
        self._used.clear()
        if self._file is not None:
            self._file.give_up(error)

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if not self._new and not self._used:
            return
        database = self._open()
        if database is None:
            return
        try:
            self._write(database)
        except FAULTS as error:
            with contextlib.suppress(*FAULTS):
                database.rollback()
            self._give_up(error)
        else:
            self._new.clear()
            self._new_bytes = 0
            self._used.clear()

    def _write(self, database: sqlite3.Connection) -> None:
        now = time.time()
        database.execute("PRAGMA synchronous = OFF")
        database.execute("BEGIN IMMEDIATE")
        database.executemany("UPDATE items SET used = ? WHERE id = ?", [(now, row) for row in self._used])
        database.executemany(
            "INSERT OR REPLACE INTO items (key, start, size, used, checksum, value) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (key, start, size, now, _sum(key, start, size, value), value)
                for key, items in self._new.items()
                for start, (size, value) in items.items()
            ],
        )
        _forget_oldest(database)
        database.commit()


def default_memory_path() -> Path:
    """The file in the user's cache folder that remembers the Hub."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("wsanalyze", appauthor=False)) / _NAME


def _forget_oldest(database: sqlite3.Connection) -> None:
    """Keep the memory within its bounds, with some room for what comes next."""
    (total,) = database.execute("SELECT ifnull(sum(length(value)), 0) FROM items").fetchone()
    if total <= MAX_BYTES:
        return
    for row, nbytes in database.execute("SELECT id, length(value) FROM items ORDER BY used, id").fetchall():
        database.execute("DELETE FROM items WHERE id = ?", (row,))
        total -= nbytes
        if total <= _KEPT_SHARE * MAX_BYTES:
            break


def _sum(key: str, start: int, size: int, value: Any) -> bytes:  # noqa: ANN401 - whatever the file holds
    digest = hashlib.blake2b(f"{key}:{start}:{size}:".encode(), digest_size=16)
    digest.update(value)
    return digest.digest()


def _unpack(size: int, value: bytes) -> bytes:
    data = zlib.decompressobj().decompress(value, max(1, size))
    assert len(data) == size  # noqa: S101 - its checksum was right
    return data
