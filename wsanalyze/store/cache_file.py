"""SQLite files in the user's cache folder: what was learned once, and can be learned again.

One that is damaged is made anew; one that is in use, or cannot be written, is as good as none.
"""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

FAULTS: Final = (sqlite3.Error, OSError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError)
"""What a damaged file makes SQLite and Python say."""

_BUSY_SECONDS: Final = 1.0
_PRIVATE: Final = 0o600
# What SQLite says where nothing is wrong with the file itself.
_NO_DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_AUTH,
    }
)
_PRIMARY_CODE: Final = 0xFF


class CacheFile:
    """A database in the cache folder that nobody but the user reads, opened at once where that can be.

    Args:
        path: Where it lies; made on the first use. None for none.
        tables: Statements that make its tables.
        application_id: What marks a file as one of its kind.
        version: What marks a file as one of this make.
        max_bytes: A file that is larger is made anew.

    Attributes:
        database: The connection, which one thread at a time may use; None while there is no cache.
    """

    def __init__(self, path: Path | None, tables: str, application_id: int, version: int, max_bytes: int) -> None:
        self.database: sqlite3.Connection | None = None
        self._path = path
        self._tables = tables
        self._marks = [application_id, version]
        self._max_bytes = max_bytes
        with contextlib.suppress(*FAULTS):
            self._connect()

    def close(self) -> None:
        """Let go of the file."""
        if self.database is not None:
            self.database.close()
            self.database = None

    def give_up(self, error: BaseException) -> None:
        """Do without the cache; a damaged one is thrown away: nothing is lost that cannot be learned again."""
        self.close()
        if _is_damage(error) and self._path is not None:
            with contextlib.suppress(*FAULTS):
                self._path.unlink(missing_ok=True)
                self._connect()

    def _connect(self) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.database = self._open(self._path)
        except FAULTS as error:
            if not _is_damage(error):
                raise
            self._path.unlink(missing_ok=True)
            self.database = self._open(self._path)

    def _open(self, path: Path) -> sqlite3.Connection:
        """Open a cache, made where there is none.

        Raises:
            ValueError: If it is none, or one of another version.
        """
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, _PRIVATE))
        elif path.stat().st_size > self._max_bytes:
            raise ValueError("larger than a cache can become")
        database = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
        try:
            if database.execute("PRAGMA page_count").fetchone() == (0,):
                marks = f"PRAGMA application_id = {self._marks[0]}; PRAGMA user_version = {self._marks[1]};"
                database.executescript(f"BEGIN IMMEDIATE; {self._tables} {marks} COMMIT;")
            self._check_marks(database)
        except BaseException:
            database.close()
            raise
        return database

    def _check_marks(self, database: sqlite3.Connection) -> None:
        marks = [database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        if marks != self._marks:
            raise ValueError("not a cache, or one of another version")


def _is_damage(error: BaseException) -> bool:
    """Whether an error says that the file is of no use, and not that somebody else uses it or it cannot be reached."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return code is None or code & _PRIMARY_CODE not in _NO_DAMAGE
    return isinstance(error, FAULTS) and not isinstance(error, OSError)
