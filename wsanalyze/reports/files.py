"""How reports reach the disk: whole or not at all."""

import errno
import os
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from wsanalyze.errors import ReportError
from wsanalyze.reports.base import Destination
from wsanalyze.reports.places import find_stream, is_replaceable

_TEMPORARY_PREFIX: Final = ".wsanalyze-"
_ADVICE: Final = {
    errno.ENOENT: "make its folder first",
    errno.ENOTDIR: "name a file in a folder",
    errno.EISDIR: "name a file",
    errno.EACCES: "get the right to write there, or name another place",
    errno.EPERM: "get the right to write there, or name another place",
    errno.EROFS: "name a place on another disk",
    errno.ENOSPC: "free some space, or name another place",
    errno.EDQUOT: "free some space, or name another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "mend its links, or name another place",
    errno.EBADF: "open that stream for writing, or name a file",
    errno.EPIPE: "see why its reader has gone",
}


def check_open(destination: Destination | None) -> None:
    """Refuse a stream that nothing can be written to; Python's standard output is None where it was closed.

    Raises:
        ReportError: If the stream is closed.
    """
    if destination is None or (not isinstance(destination, Path) and destination.closed):
        raise ReportError("standard output is closed: open it, or write the report to a file")


def write_text(text: str | Iterable[str], destination: Destination) -> None:
    r"""Write a report to a file, which is replaced in one step, or to an open text stream.

    A reader of the file never sees half a report: the text goes to a temporary file in the same folder that then
    takes the place of the old one. A link is followed, so that the file behind it is replaced, and the permissions
    of a file that is replaced are kept. The right to write into the folder is all that it takes: a file that is itself
    protected is replaced too, and hard links to it keep what it held. A device, a pipe or a stream that is open already
    (`/dev/stdout`, `/dev/fd/63`) is written to.

    Args:
        text: The report, or pieces of it; written as UTF-8, with `\n` line ends, lone surrogates (names of files that
            are not UTF-8) as `\udcXX`.
        destination: A path or an open text stream. A stream is flushed, not closed.

    Raises:
        ReportError: If it cannot be written; the message names the path.
    """
    check_open(destination)
    pieces = (text,) if isinstance(text, str) else text
    if not isinstance(destination, Path):
        destination.writelines(pieces)
        destination.flush()
        return
    write_bytes((piece.encode("utf-8", errors="backslashreplace") for piece in pieces), destination)


def write_bytes(content: Iterable[bytes], destination: Path) -> None:
    """Write a binary report (a figure), in pieces, to a file, which is replaced in one step as by `write_text`.

    Raises:
        ReportError: If it cannot be written; the message names the path.
    """
    try:
        number = find_stream(destination)
        if number is not None:
            _write_stream(number, content)
        elif is_replaceable(destination):
            _replace(Path(os.path.realpath(destination)), content)
        else:  # a folder raises what it is
            with destination.open("wb") as file:
                file.writelines(content)
    except OSError as error:
        raise ReportError(f"cannot write the report {destination}: {explain_failure(error)}") from error


def explain_failure(error: OSError) -> str:
    """Why something could not be written, and what to do about it."""
    return f"{error.strerror or error}; {_ADVICE.get(error.errno or 0, 'name another place')}"


def _write_stream(number: int, content: Iterable[bytes]) -> None:
    """Write to a stream that is open already, where it stands: behind what was printed to it before."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    with os.fdopen(os.dup(number), "wb") as file:
        file.writelines(content)


def _replace(target: Path, content: Iterable[bytes]) -> None:
    """Write a temporary file beside the target, and put it in its place."""
    handle, name = tempfile.mkstemp(prefix=_TEMPORARY_PREFIX, suffix=".tmp", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(content)
        # A temporary file is private to its owner; a report should have the permissions of any other new file.
        temporary.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_file_mode_mask())
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _file_mode_mask() -> int:
    """The umask of this process, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
