"""The run file: a SQLite database that takes sums in as they are measured and gives series out.

A cell is keyed by the tensor and the identities of the two sides that it was computed from, so that whatever was
measured once is never measured again, and nothing measured from other weights is ever taken for it. Every commit
survives a kill.

References:
    docs/architecture.md, "The run file"; docs/decisions/0002-the-run-file-is-sqlite.md.
"""

import contextlib
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import StoreError
from wsanalyze.metrics import Span
from wsanalyze.series import ChangeSeries
from wsanalyze.store.database import (
    SUM_COLUMNS,
    WriterLock,
    checksum_sums,
    connect,
    damaged,
    decode_text,
    encode_text,
    explain_errors,
    get_meta,
    put_meta,
)
from wsanalyze.store.series_tables import forget_series, read_series, read_spans, write_series
from wsanalyze.sums import SUM_NAMES, Sums

_COMMIT_SECONDS: Final = 0.5
_PLACES: Final = ", ".join("?" * (len(SUM_NAMES) + 1))


class RunFile:
    """One run file. Open it with `RunFile.create` to measure or `RunFile.open` to report.

    Args:
        path: Where it lies.
        database: An open connection.
        lock: Held as long as the file is open for measuring, else None.
        new: Whether the file was not there before.
    """

    def __init__(
        self, path: Path, database: sqlite3.Connection, lock: WriterLock | None = None, *, new: bool = False
    ) -> None:
        self.path = path
        self._database = database
        self._lock = lock
        self._new = new
        self._tensors: dict[str, int] = {}
        self._sides: dict[str, int] = {}
        self._last_commit = time.monotonic()
        self._segments: dict[tuple[int, ...], dict[int, Sums]] = {}  # not handed to the database yet
        self._begun: dict[tuple[int, ...], int] = {}  # of how many segments of a tensor the database was told
        self._completed: set[tuple[int, ...]] = set()  # tensors that were measured in segments, all of them there

    @classmethod
    def create(cls, path: Path, *, source: str) -> Self:
        """Open a run file for measuring, making it where there is none.

        Args:
            path: Where it lies or is to lie.
            source: What is measured; a file made for something else is refused.

        Raises:
            StoreError: If it is no run file, of another version or source, in use, or cannot be written.
        """
        lock = WriterLock(path)
        try:
            new = not os.path.lexists(path)
            run = cls(path, connect(path, create=True), lock, new=new)
        except BaseException:
            lock.release()
            raise
        try:
            run.check_use("source", source)
        except BaseException:
            run.close()
            raise
        return run

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a run file for reports.

        Raises:
            StoreError: If there is none, or it is no run file, or of another version.
        """
        return cls(path, connect(path, create=False))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Keep what was measured and let go of the file; one that was made for nothing is taken away again."""
        try:
            unused = False
            with contextlib.suppress(sqlite3.Error, StoreError):
                self._write_segments()
                self._database.commit()
                unused = self._new and self._is_unused()
            self._database.close()
            if unused:
                with contextlib.suppress(OSError):
                    self.path.unlink()
        finally:
            if self._lock is not None:
                self._lock.release()

    def check_use(self, key: str, value: str) -> None:
        """Refuse a file that was made for something else; note what a new one is made for.

        Args:
            key: "source" or "weights".
            value: What it is to be used for.

        Raises:
            StoreError: If it was made for another value.
        """
        with explain_errors(self.path):
            stored = get_meta(self._database, key)
            if stored is None:
                put_meta(self._database, key, value)
                self._database.commit()
        if stored is not None and stored != value:
            raise StoreError(
                f"{self.path}: was made for {key} {stored!r}, not {value!r}; choose another place with --run"
            )

    # Measuring

    def fingerprints(self) -> dict[tuple[str, str], str]:
        """Fingerprints of files by (url, stamp), so that files that have not changed need not be sampled again."""
        with explain_errors(self.path):
            rows = self._database.execute("SELECT url, stamp, fingerprint FROM fingerprints").fetchall()
        return {(decode_text(url), stamp): fingerprint for url, stamp, fingerprint in rows}

    def add_fingerprints(self, found: Mapping[tuple[str, str], str]) -> None:
        """Remember fingerprints of files."""
        rows = [(encode_text(url), stamp, fingerprint) for (url, stamp), fingerprint in found.items()]
        with explain_errors(self.path):
            self._database.executemany("INSERT OR REPLACE INTO fingerprints VALUES (?, ?, ?)", rows)
            self._database.commit()

    def measured(self, before: str, after: str) -> set[str]:
        """Names of the tensors whose change between two sides is complete."""
        query = "SELECT name FROM cells JOIN tensors ON id = tensor WHERE before = ? AND after = ?"
        sides = (self._side(before), self._side(after))
        with explain_errors(self.path):
            return {decode_text(name) for (name,) in self._database.execute(query, sides)}

    def count_changed(self, before: str, after: str) -> int:
        """Elements that differ between two sides, of all tensors measured."""
        query = "SELECT total(changed) FROM cells WHERE before = ? AND after = ?"
        sides = (self._side(before), self._side(after))
        with explain_errors(self.path):
            return int(self._database.execute(query, sides).fetchone()[0])

    def add(self, tensor: str, before: str, after: str, sums: Sums) -> None:
        """Take in the sums of a whole tensor; committed now and then."""
        self.add_all([tensor], before, after, sums.values[None])

    def add_all(self, tensors: Sequence[str], before: str, after: str, sums: NDArray[np.float64]) -> None:
        """Take in the sums of several whole tensors between the same sides: float64 array of shape (R, 16)."""
        sides = (self._side(before), self._side(after))
        # Infinities of both signs that met in a sum of products: an overflow like any other, and NULL to SQLite.
        values = np.where(np.isnan(sums), np.inf, sums)
        keys = [(self._tensor(tensor), *sides) for tensor in tensors]
        rows = [
            (*key, *numbers, checksum_sums(key, row))
            for key, numbers, row in zip(keys, values.tolist(), values, strict=True)
        ]
        with explain_errors(self.path):
            self._database.executemany(f"INSERT OR REPLACE INTO cells VALUES (?, ?, ?, {_PLACES})", rows)  # noqa: S608
        self._commit_now_and_then()

    def add_segment(self, tensor: str, before: str, after: str, segment: int, num_segments: int, sums: Sums) -> None:
        """Take in the sums of one segment of a tensor; once all are there, their total becomes the tensor's.

        Segments whose tensor is complete before the next commit never get to the disk.
        """
        key = (self._tensor(tensor), self._side(before), self._side(after))
        if key in self._completed:  # by what an earlier run had stored of it
            return
        parts = self._segments.setdefault(key, {})
        parts[segment] = sums
        if len(parts) < num_segments <= len(parts) + self._begun.get(key, 0):
            parts = self._read_segments(key) | parts
        if len(parts) == num_segments:
            self._insert("cells", key, Sums.of(parts[index] for index in sorted(parts)))
            del self._segments[key]
            self._completed.add(key)
            if self._begun.pop(key, 0):
                with explain_errors(self.path):
                    self._database.execute("DELETE FROM segments WHERE tensor = ? AND before = ? AND after = ?", key)
        self._commit_now_and_then()

    def _read_segments(self, key: tuple[int, ...]) -> dict[int, Sums]:
        """Segments of an unfinished tensor that were committed."""
        query = f"SELECT segment, checksum, {SUM_COLUMNS} FROM segments WHERE tensor = ? AND before = ? AND after = ?"  # noqa: S608 - own column names
        parts = {}
        with explain_errors(self.path):
            for index, checksum, *values in self._database.execute(query, key):
                parts[index] = Sums(np.array(values, dtype=np.float64))
                if checksum != checksum_sums((*key, index), parts[index].values):
                    raise damaged(self.path, "the sums of a segment are not those that were written")
        return parts

    def _write_segments(self) -> None:
        """Hand segments of unfinished tensors to the database."""
        for key, parts in self._segments.items():
            for index, sums in parts.items():
                self._insert("segments", (*key, index), sums)
            self._begun[key] = self._begun.get(key, 0) + len(parts)
        self._segments.clear()

    def measured_norms(self, before: str, after: str) -> set[str]:
        """Names of the tensors whose spectral norms between two sides are there."""
        query = "SELECT name FROM norms JOIN tensors ON id = tensor WHERE before = ? AND after = ?"
        sides = (self._side(before), self._side(after))
        with explain_errors(self.path):
            return {decode_text(name) for (name,) in self._database.execute(query, sides)}

    def add_norms(self, tensor: str, before: str, after: str, norms: Sequence[float]) -> None:
        """Take in the spectral norms of the change and of the weights before, and their relative error."""
        key = (self._tensor(tensor), self._side(before), self._side(after))
        values = np.array(norms, dtype=np.float64)
        values[np.isnan(values)] = np.inf  # beyond float64, and NULL to SQLite
        with explain_errors(self.path):
            row = (*key, *values.tolist(), checksum_sums(key, values))
            self._database.execute("INSERT OR REPLACE INTO norms VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self._commit_now_and_then()

    def measured_segments(self, tensor: str, before: str, after: str) -> set[int]:
        """Segments of an unfinished tensor that are there already."""
        key = (self._tensor(tensor), self._side(before), self._side(after))
        query = "SELECT segment FROM segments WHERE tensor = ? AND before = ? AND after = ?"
        with explain_errors(self.path):
            found = {segment for (segment,) in self._database.execute(query, key)}
        if found:
            self._begun[key] = len(found)
        return found | self._segments.get(key, {}).keys()

    def drop_side(self, identity: str) -> None:
        """Forget everything that was computed from a checkpoint that turned out bad."""
        side = self._side(identity)
        with explain_errors(self.path):
            forget_series(self._database)
            for parts in [key for key in self._segments if side in key[1:]]:
                del self._segments[parts]
            self._completed = {key for key in self._completed if side not in key[1:]}
            for table in ("cells", "segments", "norms"):
                self._database.execute(f"DELETE FROM {table} WHERE before = ? OR after = ?", (side, side))  # noqa: S608
            self._database.execute("DELETE FROM facts WHERE side = ?", (side,))
            self._database.commit()

    def find_fact(self, identity: str, key: str) -> bytes | None:
        """What was found out about one side under a key, or None where nothing that can be trusted was."""
        side = self._side(identity)
        with explain_errors(self.path):
            query = "SELECT value, checksum FROM facts WHERE side = ? AND key = ?"
            found = self._database.execute(query, (side, key)).fetchone()
            intact = found and found[1] == zlib.crc32(f"{side} {key}".encode(), zlib.crc32(found[0]))
        return found[0] if intact else None

    def add_fact(self, identity: str, key: str, value: bytes) -> None:
        """Remember something that was found out about one side; it is found out again where it is lost."""
        side = self._side(identity)
        checksum = zlib.crc32(f"{side} {key}".encode(), zlib.crc32(value))
        with explain_errors(self.path):
            self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", (side, key, value, checksum))

    def commit(self) -> None:
        """Make everything taken in so far survive a kill."""
        self._write_segments()
        with explain_errors(self.path):
            self._database.commit()
        self._last_commit = time.monotonic()

    # Reporting

    def save_series(self, series: ChangeSeries, identities: Sequence[str | None]) -> None:
        """Write down what the sequence is: records, rows, pairs, states; its sums are there already.

        Args:
            series: The series.
            identities: For each of its checkpoints, the identity of the side, or None where it takes no part.
        """
        sides = [None if identity is None else self._side(identity) for identity in identities]
        tensors = [self._tensor(row.name) for row in series.rows]
        with explain_errors(self.path):
            write_series(self._database, series, sides, tensors)
            self._database.commit()

    def load_series(self) -> ChangeSeries:
        """The series as it was last measured.

        Raises:
            StoreError: If no analysis has ended yet, or the file is damaged.
        """
        with explain_errors(self.path):
            series = read_series(self._database)
        if series is None:
            raise StoreError(f"{self.path}: holds no finished analysis yet; run the same `wsanalyze analyze` again")
        return series

    def spans(self) -> set[Span]:
        """Which spans were measured when an analysis last ended; newer cells of theirs may be missing."""
        with explain_errors(self.path):
            return set(read_spans(self._database))

    def find_trends(self, key: str) -> dict[str, Any] | None:
        """Trends stored under a key, or None where there are none that can be read."""
        query = "SELECT value, checksum FROM trends WHERE key = ?"
        with contextlib.suppress(sqlite3.Error, ValueError, TypeError):
            found = self._database.execute(query, (key,)).fetchone()
            if found is not None and found[1] == zlib.crc32(found[0].encode()):
                return dict(json.loads(found[0]))
        return None

    def add_trends(self, key: str, value: Mapping[str, Any]) -> None:
        """Store trends under a key, at once or not at all: they can be found again."""
        text = json.dumps(value)
        try:
            self._database.execute("PRAGMA busy_timeout = 0")
            row = (key, text, zlib.crc32(text.encode()))
            self._database.execute("INSERT OR REPLACE INTO trends VALUES (?, ?, ?)", row)
            self._database.commit()
        except sqlite3.Error:
            self._database.rollback()

    # Rows

    def _is_unused(self) -> bool:
        """Whether nothing was ever measured into the file."""
        if get_meta(self._database, "provenance") is not None:
            return False
        query = "SELECT EXISTS (SELECT 1 FROM cells) OR EXISTS (SELECT 1 FROM segments)"
        return not self._database.execute(query).fetchone()[0]

    def _insert(self, table: str, key: tuple[int, ...], sums: Sums) -> None:
        # Infinities of both signs that met in a sum of products: an overflow like any other, and NULL to SQLite.
        values = np.where(np.isnan(sums.values), np.inf, sums.values)
        row = (*key, *values.tolist(), checksum_sums(key, values))
        places = ", ".join("?" * len(key))
        with explain_errors(self.path):
            self._database.execute(f"INSERT OR REPLACE INTO {table} VALUES ({places}, {_PLACES})", row)  # noqa: S608

    def _commit_now_and_then(self) -> None:
        if time.monotonic() - self._last_commit > _COMMIT_SECONDS:
            self.commit()

    def _tensor(self, name: str) -> int:
        return self._number(self._tensors, "tensors", "name", encode_text(name))

    def _side(self, identity: str) -> int:
        return self._number(self._sides, "sides", "identity", identity)

    def _number(self, known: dict[Any, int], table: str, column: str, value: Any) -> int:  # noqa: ANN401 - text as stored
        if value not in known:
            with explain_errors(self.path):
                self._database.execute(f"INSERT OR IGNORE INTO {table} ({column}) VALUES (?)", (value,))  # noqa: S608
                query = f"SELECT id FROM {table} WHERE {column} = ?"  # noqa: S608 - own names
                (known[value],) = self._database.execute(query, (value,)).fetchone()
        return known[value]
