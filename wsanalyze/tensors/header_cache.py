"""What the headers of checkpoints said, remembered in the user's cache folder, so that listing them again opens none.

A checkpoint is known by the addresses and stamps of its files and by the version of the program; whatever of that
differs, it is read anew. Only what a listing needs is kept: names, dtypes, shapes and which names share bytes. Most
checkpoints of a sequence have the same structure, which is kept once. A cache that is damaged, or cannot be written, is
as good as none.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.files.base import FileRef
from wsanalyze.series import Skip
from wsanalyze.tensors.base import Piece, TensorInfo, TensorSet
from wsanalyze.tensors.dtypes import DTYPES
from wsanalyze.version import __version__

MAX_CHECKPOINTS: Final = 20_000
MAX_STRUCTURE_BYTES: Final = 4_000_000
MAX_CACHE_BYTES: Final = 64_000_000
_FORMAT: Final = 1
_BUSY_SECONDS: Final = 1.0
# A file written twice within the clock's step has one stamp for two contents.
_SETTLED_NS: Final = 2_000_000_000
_NOWHERE: Final = FileRef("", 0, "")
_SCHEMA: Final = f"""
PRAGMA synchronous = OFF;
BEGIN;
CREATE TABLE IF NOT EXISTS headers (key TEXT PRIMARY KEY, value TEXT, structure TEXT, checksum TEXT, added REAL);
CREATE TABLE IF NOT EXISTS structures (digest TEXT PRIMARY KEY, value TEXT, added REAL);
PRAGMA user_version = {_FORMAT};
COMMIT;
"""
# What a damaged file makes SQLite and Python say.
_DAMAGE: Final = (sqlite3.Error, OSError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError)

_Structure = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Headers:
    """What the headers of one checkpoint say.

    Attributes:
        tensors: Its tensors. Their pieces tell which of them share bytes, not where in which file those are.
        facts: Numbers in its files that say when it was saved.
        format: Layout of its files in words.
        fingerprint: Equal for equal headers and checksums.
        proven: Whether checksums cover all weights, so that equal fingerprints mean equal weights.
    """

    tensors: TensorSet
    facts: Mapping[str, int]
    format: str
    fingerprint: str
    proven: bool


class HeaderCache:
    """Remembers the headers of checkpoints, and shares tensor sets among those of one structure.

    Args:
        path: Where it lies; made on the first use. None to remember nothing beyond this object.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        self._shared: dict[_Structure, tuple[str, TensorSet]] = {}
        self._loaded: dict[str, TensorSet] = {}
        self._stored: set[str] = set()
        with contextlib.suppress(*_DAMAGE):
            self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Keep what was added, and let go of the file."""
        if self._database is None:
            return
        with contextlib.suppress(*_DAMAGE):
            if self._database.in_transaction:
                self._forget_oldest(self._database)
                self._database.commit()
        self._database.close()
        self._database = None

    def find(self, checkpoint: Checkpoint) -> Headers | None:
        """What the headers of a checkpoint said when its files were what they are now, or None."""
        if self._database is None:
            return None
        try:
            key = _key(checkpoint)
            query = "SELECT value, structure, checksum FROM headers WHERE key = ?"
            row = self._database.execute(query, (key,)).fetchone()
            if row is None or row[2] != _digest(f"{key}{row[0]}{row[1]}"):
                return None
            facts, form, fingerprint, proven = json.loads(row[0])
            return Headers(self._load(row[1]), facts, form, fingerprint, proven)
        except _DAMAGE:
            self._start_anew()
            return None

    def add(self, checkpoint: Checkpoint, headers: Headers) -> Headers:
        """Remember the headers of a checkpoint that was just read.

        Returns:
            The same with tensors that are shared among all checkpoints of the same structure.
        """
        structure = _simplify(headers.tensors)
        if structure is None:
            return headers
        known = self._shared.get(structure)
        if known is None:
            text = json.dumps(structure)
            known = self._shared[structure] = _digest(text), _restore(structure)
            self._store_structure(known[0], text)
        found = Headers(known[1], headers.facts, headers.format, headers.fingerprint, headers.proven)
        if known[0] in self._stored and _is_settled(checkpoint):
            self._store_headers(_key(checkpoint), found, known[0])
        return found

    def _connect(self) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self._path, timeout=_BUSY_SECONDS)
        try:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version not in (0, _FORMAT):
                raise ValueError("another version of the cache")
            database.executescript(_SCHEMA)
        except BaseException as error:
            database.close()
            if isinstance(error, sqlite3.OperationalError):  # busy, or read-only: it is not damaged
                raise
            if isinstance(error, _DAMAGE):
                self._path.unlink(missing_ok=True)
            raise
        self._database = database

    def _start_anew(self) -> None:
        """Throw a damaged cache away; nothing is lost that cannot be read again."""
        if self._database is not None:
            self._database.close()
            self._database = None
        with contextlib.suppress(*_DAMAGE):
            if self._path is not None:
                self._path.unlink(missing_ok=True)
            self._stored.clear()
            self._connect()

    def _load(self, digest: str) -> TensorSet:
        if digest not in self._loaded:
            assert self._database is not None  # noqa: S101 - asked by `find` only
            (text,) = self._database.execute("SELECT value FROM structures WHERE digest = ?", (digest,)).fetchone()
            if _digest(text) != digest:
                raise ValueError("not the structure that was stored")
            structure = _freeze(json.loads(text))
            known = self._shared.setdefault(structure, (digest, _restore(structure)))
            self._loaded[digest] = known[1]
            self._stored.add(digest)
        return self._loaded[digest]

    def _store_structure(self, digest: str, text: str) -> None:
        if self._database is None or len(text) > MAX_STRUCTURE_BYTES:
            return
        with contextlib.suppress(*_DAMAGE):
            row = (digest, text, time.time())
            self._database.execute("INSERT OR REPLACE INTO structures VALUES (?, ?, ?)", row)
            self._stored.add(digest)

    def _store_headers(self, key: str, headers: Headers, structure: str) -> None:
        if self._database is None:
            return
        with contextlib.suppress(*_DAMAGE):
            value = json.dumps([dict(headers.facts), headers.format, headers.fingerprint, headers.proven])
            row = (key, value, structure, _digest(f"{key}{value}{structure}"), time.time())
            self._database.execute("INSERT OR REPLACE INTO headers VALUES (?, ?, ?, ?, ?)", row)

    @staticmethod
    def _forget_oldest(database: sqlite3.Connection) -> None:
        """Keep the cache within its bounds: the checkpoints listed first go first."""
        database.execute(
            "DELETE FROM headers WHERE key NOT IN (SELECT key FROM headers ORDER BY added DESC LIMIT ?)",
            (MAX_CHECKPOINTS,),
        )
        database.execute("DELETE FROM structures WHERE digest NOT IN (SELECT structure FROM headers)")
        sizes = database.execute("SELECT digest, length(value) FROM structures ORDER BY added DESC").fetchall()
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
    return _digest(json.dumps([__version__, checkpoint.layout, checkpoint.prefixes, files]))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _is_settled(checkpoint: Checkpoint) -> bool:
    newest = max((file.mtime_ns for file in checkpoint.files), default=0)
    return time.time_ns() - newest > _SETTLED_NS


def _simplify(tensors: TensorSet) -> _Structure | None:
    """A tensor set as nested tuples in which runs of bytes are numbered, so that equal structures are equal tuples."""
    numbers: dict[tuple[str, int, int], int] = {}
    sets = []
    for weights, infos in tensors.infos.items():
        entries = []
        for name, info in infos.items():
            if info.derivation is not None:
                return None
            pieces = tuple(
                (
                    numbers.setdefault((p.file.url, p.file.start, p.offset), len(numbers)),
                    *(p.nbytes, p.strides, p.byteorder, p.corner, p.extent),
                )
                for p in info.pieces
            )
            entries.append((name, info.dtype, info.shape, pieces))
        sets.append((weights, tuple(entries)))
    return tensors.ordered, tuple((skip.name, skip.reason) for skip in tensors.skips), tuple(sets)


def _restore(structure: _Structure) -> TensorSet:
    """The tensor set of a structure, its pieces nowhere.

    Raises:
        ValueError: If it is no structure.
    """
    ordered, skips, sets = structure
    infos: dict[str, dict[str, TensorInfo]] = {}
    for weights, entries in sets:
        infos[weights] = {
            name: TensorInfo(name, dtype, shape, tuple(Piece(_NOWHERE, *piece) for piece in pieces))
            for name, dtype, shape, pieces in entries
        }
        if any(info.dtype not in DTYPES for info in infos[weights].values()):
            raise ValueError("a dtype that is not known")
    return TensorSet(infos, ordered, tuple(Skip(name, reason) for name, reason in skips))


def _freeze(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    return tuple(map(_freeze, value)) if isinstance(value, Sequence) and not isinstance(value, str) else value
