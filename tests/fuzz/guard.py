"""A process in which nothing may happen but reading: what a payload would do is reported, and ends it.

The hook of a process cannot be taken off, so it belongs into a child. `armed` switches it.
"""

import codecs
import contextlib
import faulthandler
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

MAX_MEMORY_BYTES: Final = 2**30
MAX_SECONDS: Final = 5.0
_FORBIDDEN: Final = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.startfile", "os.kill",
    "os.remove", "os.rename", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.chmod", "os.chown", "os.truncate",
    "os.putenv", "os.chdir", "subprocess.", "pty.", "socket.", "urllib.", "http.", "ftplib.", "smtplib.", "shutil.",
    "tempfile.", "exec", "import", "code.__new__", "function.__new__", "pickle.find_class", "marshal.", "ctypes.",
    "webbrowser.", "cpython.run_", "sqlite3.", "mmap.", "builtins.input", "builtins.breakpoint", "sys.addaudithook",
    "sys.setprofile",
)  # fmt: skip
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CODECS: Final = (
    "ascii", "utf-8", "latin-1", "cp437", "raw-unicode-escape", "idna", "utf-16", "utf-16-le", "utf-16-be", "utf-32",
    "utf-32-le", "utf-32-be",
)  # fmt: skip


class ForbiddenError(BaseException):
    """Something happened that no reader does. Not an Exception: nothing on the way may swallow it."""


class Guard:
    """Watches a process through its audit events, once `install` was called.

    Args:
        folder: The only place from which files may be read while it is armed, or None for nowhere.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = None if folder is None else os.path.realpath(folder)
        self.violations: list[str] = []
        self._armed = False

    def install(self) -> None:
        """Put the hook in place, for good, and load what readers load late."""
        for name in _CODECS:
            codecs.lookup(name)
        sys.addaudithook(self._hook)

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Watch what is done inside.

        Raises:
            ForbiddenError: If anything forbidden was done, also if whoever did it has gone on.
        """
        self.violations.clear()
        self._armed = True
        try:
            yield
        finally:
            self._armed = False
            if self.violations:
                raise ForbiddenError(", ".join(self.violations[:4]))

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._armed:
            return
        if event == "open":
            fault = self._judge_open(*args)
        elif event == "compile":  # ast.literal_eval parses, and "<unknown>" is what it calls its text
            fault = None if args[1:] == ("<unknown>",) else f"compile {args!r:.100}"
        else:
            fault = f"{event} {args!r:.100}" if event.startswith(_FORBIDDEN) else None
        if fault:
            self.violations.append(fault)
            self._armed = False
            raise ForbiddenError(fault)

    def _judge_open(self, path: object, mode: str | None, flags: int) -> str | None:
        if flags & _WRITING or (mode and set(mode) & set("wxa+")):
            return f"open {path!r:.100} for writing"
        if self.folder is not None and isinstance(path, str | bytes | os.PathLike):
            found: str = os.path.realpath(os.fsdecode(path))
            if found.startswith(f"{self.folder}{os.sep}"):
                return None
        return f"open {path!r:.100}"


def limit_memory(num_bytes: int = MAX_MEMORY_BYTES) -> None:
    """Allow the process so much address space above what it takes now; more is a MemoryError."""
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + num_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def watch_time(log: int) -> None:
    """Let the process die of SIGPROF, with a traceback to the descriptor, once `restart_clock`'s time has run out."""
    faulthandler.register(signal.SIGPROF, file=log, all_threads=False, chain=True)


def restart_clock(seconds: float = MAX_SECONDS) -> None:
    """Give the input at hand so many seconds of processor time: a busy machine makes nothing a hang."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
