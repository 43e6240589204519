"""What the headers of checkpoints said, remembered in the user's cache folder, so that listing them again opens none.

A checkpoint is known by the addresses and stamps of its files and by the version of the program; whatever of that
differs, it is read anew. Only what a listing needs is kept: names, dtypes, shapes and which names share bytes. A cache
that is damaged is made anew, and one that is in use, or cannot be written, is as good as none.
"""

import contextlib
import json
import os
import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.store.cache_file import FAULTS, CacheFile
from wsanalyze.tensors.base import TensorSet
from wsanalyze.tensors.headers import Headers
from wsanalyze.tensors.structures import (
    Structure,
    digest_text,
    find_structure,
    parse_structure,
    restore_tensors,
    write_structure,
)
from wsanalyze.version import __version__

MAX_CHECKPOINTS: Final = 20_000
MAX_STRUCTURE_BYTES: Final = 16_000_000
MAX_CACHE_BYTES: Final = 64_000_000
_MAX_FILE_BYTES: Final = 256_000_000
_FORMAT: Final = 1
_APPLICATION_ID: Final = 0x57534831  # "WSH1"
# A file written twice within the clock's step has one stamp for two contents.
_SETTLED_NS: Final = 2_000_000_000
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS headers (key TEXT PRIMARY KEY, value TEXT, structure TEXT, checksum TEXT, added REAL);
CREATE TABLE IF NOT EXISTS structures (digest TEXT PRIMARY KEY, value TEXT, added REAL);
"""


class HeaderCache:
    """Remembers the headers of checkpoints, and shares tensor sets among those of one structure.

    What is added is written when it is closed, at once, so that it is in nobody's way before.

    Args:
        path: Where it lies; made on the first use. None to remember nothing beyond this object.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = CacheFile(path, _TABLES, _APPLICATION_ID, _FORMAT, _MAX_FILE_BYTES)
        self._shared: dict[Structure, tuple[str, TensorSet]] = {}
        self._digests: dict[str, TensorSet] = {}
        self._latest: tuple[TensorSet, tuple[str, TensorSet]] | None = None
        self._new: dict[str, tuple[str, str]] = {}
        self._new_structures: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what was added, and let go of the file."""
        if self._file.database is not None and self._new:
            with contextlib.suppress(*FAULTS):
                self._write(self._file.database)
        self._file.close()

    def find(self, checkpoint: Checkpoint) -> Headers | None:
        """What the headers of a checkpoint said when its files were what they are now, or None."""
        database = self._file.database
        if database is None:
            return None
        try:
            key = _key(checkpoint)
            query = "SELECT value, structure, checksum FROM headers WHERE key = ?"
            row = database.execute(query, (key,)).fetchone()
            if row is None or row[2] != digest_text(f"{key}{row[0]}{row[1]}"):
                return None
            tensors = self._load(row[1], database)
            return None if tensors is None else Headers(tensors, *json.loads(row[0]))
        except FAULTS as error:
            self._file.give_up(error)
            return None

    def add(self, checkpoint: Checkpoint, headers: Headers) -> Headers:
        """Remember the headers of a checkpoint that was just read.

        Returns:
            The same with tensors that are shared among all checkpoints of the same structure.
        """
        known = self._share(headers.tensors)
        if known is None:
            return headers
        digest, tensors = known
        if self._file.database is not None and _is_settled(checkpoint):
            value = json.dumps([dict(headers.facts), headers.format, headers.fingerprint, headers.proven])
            self._new[_key(checkpoint)] = value, digest
        return Headers(tensors, headers.facts, headers.format, headers.fingerprint, headers.proven)

    def _share(self, tensors: TensorSet) -> tuple[str, TensorSet] | None:
        """The digest of a structure, and the one tensor set for all that have it."""
        if self._latest is not None and self._latest[0] is tensors:
            return self._latest[1]
        structure = find_structure(tensors)
        if structure is None:
            return None
        known = self._shared.get(structure)
        if known is None:
            text = write_structure(structure)
            known = self._shared[structure] = digest_text(text), restore_tensors(structure)
            self._new_structures[known[0]] = text
        self._latest = tensors, known
        return known

    def _load(self, digest: str, database: sqlite3.Connection) -> TensorSet | None:
        """The tensor set of a structure that was stored; None where it is not there any more."""
        if digest not in self._digests:
            query = "SELECT value FROM structures WHERE digest = ? AND length(value) <= ?"
            row = database.execute(query, (digest, MAX_STRUCTURE_BYTES)).fetchone()
            if row is None:
                return None
            if digest_text(row[0]) != digest:
                raise ValueError("not the structure that was stored")
            structure = parse_structure(row[0])
            known = self._shared.setdefault(structure, (digest, restore_tensors(structure)))
            self._digests[digest] = known[1]
        return self._digests[digest]

    def _write(self, database: sqlite3.Connection) -> None:
        now = time.time()
        used = {digest for _, digest in self._new.values()}
        texts = {d: text for d, text in self._new_structures.items() if d in used and len(text) <= MAX_STRUCTURE_BYTES}
        database.execute("PRAGMA synchronous = OFF")
        database.execute("BEGIN IMMEDIATE")
        rows = [(digest, text, now) for digest, text in texts.items()]
        database.executemany("INSERT OR REPLACE INTO structures VALUES (?, ?, ?)", rows)
        kept = {digest for (digest,) in database.execute("SELECT digest FROM structures")}
        headers = [
            (key, value, digest, digest_text(f"{key}{value}{digest}"), now)
            for key, (value, digest) in self._new.items()
            if digest in kept
        ]
        database.executemany("INSERT OR REPLACE INTO headers VALUES (?, ?, ?, ?, ?)", headers)
        _forget_oldest(database)
        database.commit()


def _forget_oldest(database: sqlite3.Connection) -> None:
    """Keep the cache within its bounds: the checkpoints listed first go first."""
    database.execute(
        "DELETE FROM headers WHERE key NOT IN (SELECT key FROM headers ORDER BY added DESC LIMIT ?)",
        (MAX_CHECKPOINTS,),
    )
    database.execute("DELETE FROM structures WHERE digest NOT IN (SELECT structure FROM headers)")
    sizes = database.execute(
        "SELECT structure, length(structures.value) FROM headers JOIN structures ON digest = structure "
        "GROUP BY structure ORDER BY max(headers.added) DESC"
    ).fetchall()
    total = 0
    for digest, size in sizes:
        total += size
        if total > MAX_CACHE_BYTES:
            database.execute("DELETE FROM structures WHERE digest = ?", (digest,))
            database.execute("DELETE FROM headers WHERE structure = ?", (digest,))


def _key(checkpoint: Checkpoint) -> str:
    files = [
        (file.url if "://" in file.url else os.path.abspath(file.url), file.stamp, file.size, file.start)  # noqa: PTH100 - no links resolved
        for file in checkpoint.files
    ]
    return digest_text(json.dumps([__version__, checkpoint.layout, checkpoint.prefixes, files]))


def _is_settled(checkpoint: Checkpoint) -> bool:
    newest = max((file.mtime_ns for file in checkpoint.files), default=0)
    return time.time_ns() - newest > _SETTLED_NS
