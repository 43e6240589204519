"""The database under a run file: its tables, its lock, its texts, and what SQLite complains of in one line."""

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import StoreError
from wsanalyze.sums import SUM_NAMES

SUFFIX: Final = ".wsa"
FORMAT: Final = 1
_APPLICATION_ID: Final = 0x57534131  # "WSA1"
_BUSY_SECONDS: Final = 30.0
SUM_COLUMNS: Final = ", ".join(SUM_NAMES)
_SUM_TYPES: Final = ", ".join(f"{name} REAL NOT NULL" for name in SUM_NAMES)
_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE fingerprints (url TEXT, stamp TEXT, fingerprint TEXT NOT NULL, PRIMARY KEY (url, stamp)) WITHOUT ROWID;
CREATE TABLE tensors (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE sides (id INTEGER PRIMARY KEY, identity TEXT UNIQUE NOT NULL);
CREATE TABLE cells (tensor INTEGER, before INTEGER, after INTEGER, {_SUM_TYPES}, checksum INTEGER NOT NULL,
                    PRIMARY KEY (before, after, tensor)) WITHOUT ROWID;
CREATE TABLE segments (tensor INTEGER, before INTEGER, after INTEGER, segment INTEGER, {_SUM_TYPES},
                       checksum INTEGER NOT NULL, PRIMARY KEY (tensor, before, after, segment)) WITHOUT ROWID;
CREATE TABLE checkpoints (position INTEGER PRIMARY KEY, step INTEGER, label TEXT, origin TEXT, status TEXT,
                          reason TEXT, format TEXT, nbytes INTEGER, side INTEGER);
CREATE TABLE layers (position INTEGER PRIMARY KEY, name TEXT, module TEXT, block TEXT, kind TEXT, depth INTEGER,
                     shape TEXT, tensor INTEGER);
CREATE TABLE pairs (position INTEGER PRIMARY KEY, before INTEGER, after INTEGER);
CREATE TABLE states (layer INTEGER, pair INTEGER, state TEXT, PRIMARY KEY (layer, pair)) WITHOUT ROWID;
CREATE TABLE skips (position INTEGER PRIMARY KEY, name TEXT, reason TEXT);
CREATE TABLE events (position INTEGER PRIMARY KEY, kind TEXT, layer TEXT, checkpoint INTEGER, text TEXT, evidence TEXT);
CREATE TABLE trends (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID;
CREATE VIEW changes AS
  SELECT layers.name AS layer, b.step AS step_before, a.step AS step_after, l1_delta / nullif(l1_before, 0) AS rwc,
         {SUM_COLUMNS}
  FROM pairs JOIN checkpoints b ON b.position = pairs.before JOIN checkpoints a ON a.position = pairs.after
  JOIN layers JOIN cells ON cells.tensor = layers.tensor AND cells.before = b.side AND cells.after = a.side
  ORDER BY layers.position, pairs.position;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {FORMAT};
COMMIT;
"""  # noqa: S608 - own column names
# Came later within the same format: a run file from before gets it when it is measured into again.
_ADDED: Final = """
CREATE TABLE IF NOT EXISTS facts (side INTEGER, key TEXT, value BLOB NOT NULL, checksum INTEGER NOT NULL,
                                  PRIMARY KEY (side, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS norms (tensor INTEGER, before INTEGER, after INTEGER, norm2_delta REAL NOT NULL,
                                  norm2_before REAL NOT NULL, relative_error REAL NOT NULL, checksum INTEGER NOT NULL,
                                  PRIMARY KEY (before, after, tensor)) WITHOUT ROWID;
"""
# A text from a file name may hold lone surrogates, which UTF-8 has no bytes for.
_SURROGATES: Final = "surrogatepass"
_DAMAGED: Final = ("malformed", "no such table", "no such column", "decode to UTF-8", "NOT NULL", "corrupt")
_IO_ADVICE: Final = "; what was measured is kept, mend that and run the same command again"


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """Open the database of a run file.

    Args:
        path: Where it lies.
        create: Whether to make its tables where there is no file, or an empty one.

    Raises:
        StoreError: If it is no run file, of another version, or cannot be read or made.
    """
    with explain_errors(path):
        if path.is_dir():
            raise StoreError(f"{path}: is a folder, not a run file; name a file")
        if not create and not path.exists():
            raise StoreError(f"{path}: no such run file; `wsanalyze analyze` makes one")
        if path.exists():
            if not path.is_file():
                raise StoreError(f"{path}: is no file but a device or a pipe; name a run file")
            # SQLite does not say why it cannot. To open the file here would drop the locks that it holds elsewhere.
            if not os.access(path, os.R_OK):
                raise StoreError(f"{path}: cannot be read (permission denied); get the right to, or name another file")
        database = sqlite3.connect(path, timeout=_BUSY_SECONDS)
        try:
            # Asked of SQLite, not of the disk: a killed first start may have left half a file, which is rolled back.
            (num_pages,) = database.execute("PRAGMA page_count").fetchone()
            if create and num_pages == 0:
                database.executescript(_SCHEMA)
            _check_format(database, path)
            if create:
                database.executescript(_ADDED)
        except BaseException:
            database.close()
            raise
    return database


def _check_format(database: sqlite3.Connection, path: Path) -> None:
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION_ID:
        raise StoreError(f"{path}: is not a run file; name another file")
    if version != FORMAT:
        raise StoreError(
            f"{path}: is a run file of format {version}, this wsanalyze reads format {FORMAT}; "
            "use the wsanalyze that made it, or analyze anew with another --run"
        )


class WriterLock:
    """Held by the one process that measures into a run file: an empty file beside it, which goes with the process.

    Args:
        path: The run file.

    Raises:
        StoreError: If another process holds it, or the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        import filelock

        # The lock must be the same whatever link leads to the file.
        self._path = Path(f"{os.path.realpath(path)}.lock")
        self._lock = filelock.FileLock(self._path, timeout=0)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except filelock.Timeout:
            raise StoreError(
                f"{path}: another wsanalyze is writing to it; wait for it, or choose another --run"
            ) from None
        except (OSError, NotImplementedError) as error:
            raise StoreError(f"{path}: cannot be written ({_say(error)}); choose another place with --run") from error

    def release(self) -> None:
        """Let others write, and take the lock's own file away (Windows cannot, and leaves it)."""
        with contextlib.suppress(OSError):
            self._path.unlink()  # while it is held: filelock notices a lock on a file that is gone
        self._lock.release()


@contextlib.contextmanager
def explain_errors(path: Path) -> Iterator[None]:
    """Translate what SQLite says, and what a damaged file makes Python say, into one line that tells what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        # A damaged schema is quoted with its line ends.
        raise StoreError(f"{path}: {_explain(' '.join(str(error).split()))}") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be used ({_say(error)})") from error
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, why: object) -> StoreError:
    """The error of a run file that is damaged."""
    return StoreError(f"{path}: is damaged ({why}); delete it and analyze again")


def _explain(text: str) -> str:
    if "not a database" in text:
        return "is not a run file; name another file"
    if "full" in text:
        return "the disk is full; what was measured is kept, free some space and run the same command again"
    if "locked" in text:
        return "another program is using it; try again later"
    if "readonly" in text:
        return "cannot be written (no right to write); choose another place with --run"
    if any(sign in text for sign in _DAMAGED):
        return f"is damaged ({text}); delete it and analyze again"
    return f"cannot be used ({text}){_IO_ADVICE if 'disk I/O' in text else ''}"


def _say(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).lower()


def checksum_sums(key: tuple[int, ...], values: NDArray[np.float64]) -> int:
    """A checksum over a row of sums and its key, so that a flipped bit does not become a number.

    Args:
        key: Tensor, sides and segment.
        values: float64 array: its sums, or its norms.
    """
    return zlib.crc32(np.asarray(values, dtype="<f8").tobytes(), zlib.crc32(repr(key).encode()))


def encode_text(text: str | None) -> Any:  # noqa: ANN401 - what SQLite takes
    """Text as SQLite can hold it: as UTF-8, or as a blob where it has lone surrogates."""
    if text is None or text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", _SURROGATES)
    return text


def decode_text(value: Any) -> Any:  # noqa: ANN401 - what SQLite gives
    """Text as it was before `encode_text`."""
    return value.decode("utf-8", _SURROGATES) if isinstance(value, bytes) else value


def get_meta(database: sqlite3.Connection, key: str) -> str | None:
    """A value that is noted for the whole file, or None."""
    found = database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if found is None else str(decode_text(found[0]))


def put_meta(database: sqlite3.Connection, key: str, value: str) -> None:
    """Note a value for the whole file."""
    database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, encode_text(value)))
