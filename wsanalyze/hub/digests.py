"""Digests of files as the Hub lists them: "sha256:..." of a large file's bytes, "git:..." of a small one's blob.

References:
    git's "Git Internals - Git Objects": a blob's hash is that of `blob SIZE`, a zero byte and its bytes.
"""

import hashlib
import re
from pathlib import Path
from typing import Any, Final

from wsanalyze.hub.records import HubFile

_BLOCK_BYTES: Final = 2**20
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|git:[0-9a-f]{40}")
_PLAIN: Final = re.compile(r"((sha256|git):)?[0-9a-f]{40,64}")


def name_digest(digest: str) -> str:
    """What a file is called on disk after its digest; after a hash of it where it is none: servers say anything.

    Args:
        digest: The digest, with or without its kind.

    Returns:
        A name that is a path's last part on every system; another for another digest.
    """
    if not _PLAIN.fullmatch(digest):
        digest = f"other-{hashlib.sha256(digest.encode('utf-8', 'surrogateescape')).hexdigest()}"
    return digest.replace(":", "-")


def has_digest(data: bytes, digest: str) -> bool:
    """Whether a file of these bytes has a digest; True of digests of another kind, which tell nothing."""
    if not _DIGEST.fullmatch(digest):
        return True
    found = _begin(digest, len(data))
    found.update(data)
    return bool(found.hexdigest() == digest.partition(":")[2])


def check_digest(path: Path, file: HubFile) -> str | None:
    """What is wrong with a file that was downloaded, or None: the client checks nothing but the size.

    Raises:
        OSError: If it cannot be read.
    """
    size = path.stat().st_size
    if size != file.entry.size:
        return f"came with {size} bytes, {file.entry.size} are listed: it was changed or cut on the way"
    found = _begin(file.entry.digest, size)
    if found is None:
        return None
    room = bytearray(_BLOCK_BYTES)
    view = memoryview(room)
    with path.open("rb", buffering=0) as handle:
        while count := handle.readinto(room):
            found.update(view[:count])
    if found.hexdigest() != file.entry.digest.partition(":")[2]:
        return "its bytes are not those that the Hub lists (other sha): damaged on the way or on the server"
    return None


def _begin(digest: str, size: int) -> Any:  # noqa: ANN401 - hashlib names no type for all of its hashes
    """The hash that a digest is of, for a file of a size; None for a digest of another kind."""
    kind = digest.partition(":")[0]
    if kind == "sha256":
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if kind == "git" else None
