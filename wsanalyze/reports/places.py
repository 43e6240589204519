"""Where a path leads: to which file, whatever name it is called by, or to a stream that is open already."""

import os
import stat
from pathlib import Path
from typing import Final

Key = tuple[str | int, ...]
"""Something that tells one file from all others; its first item says what."""

_MOST_LINKS: Final = 40
_OWN_STREAMS: Final = ("/proc/self/fd", "/proc/thread-self/fd", "/dev/fd")


def find_stream(path: str | Path) -> int | None:
    """The stream that a path stands for, such as `/dev/stdout` or what a shell makes of `>(command)`.

    Links are followed up to the stream and no further: the file behind it is open at some place, and must neither be
    opened again nor be replaced.

    Args:
        path: Any path, also a link.

    Returns:
        Its number (a file descriptor of this process, which may be closed); None where the path names anything else.
    """
    if os.name != "posix":
        return None
    streams = {os.path.realpath(folder) for folder in _OWN_STREAMS}
    place = os.fspath(path)
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(place)
        folder = os.path.realpath(folder)
        if folder in streams and name.isascii() and name.isdecimal():
            return int(name)
        place = os.path.join(folder, name)  # noqa: PTH118 - a path that may hold anything
        if not os.path.islink(place):  # noqa: PTH114 - pathlib raises for a name too long
            return None
        place = os.path.join(folder, os.readlink(place))  # noqa: PTH115, PTH118
    return None


def identify(path: str | Path) -> frozenset[Key]:
    """What tells a file by whatever name: two paths lead to one file where they share any of it.

    Args:
        path: A path, of a file that need not be there.

    Returns:
        The path without links, and what the disk knows the file by; nothing of a device or a pipe, which can be
        written to by any number of names.
    """
    number = find_stream(path)
    try:
        found = os.stat(path) if number is None else os.fstat(number)  # noqa: PTH116 - as above
    except (OSError, ValueError):
        found = None
    keys: set[Key] = set() if number is None else {("stream", number)}
    if number is None and (found is None or stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        keys.add(("path", os.path.normcase(os.path.realpath(path))))
    if found is not None and found.st_ino and (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        keys.add(("file", found.st_dev, found.st_ino))
    return frozenset(keys)


def is_replaceable(path: str | Path) -> bool:
    """Whether a file can be put in the place of what a path names: a file, or nothing, on an ordinary disk."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - as above
    except (FileNotFoundError, NotADirectoryError):
        return True
    folder = os.path.dirname(os.path.join(os.getcwd(), path))  # noqa: PTH118, PTH109, PTH120 - as above
    return stat.S_ISREG(mode) and not os.path.realpath(folder).startswith("/proc/")
