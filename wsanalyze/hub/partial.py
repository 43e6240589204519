"""Downloads that were cut short by a kill: what came of them is kept, and only the rest is asked for."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from wsanalyze.hub.client import HubClient
from wsanalyze.hub.ranges import RangeReader
from wsanalyze.hub.records import HubFile
from wsanalyze.hub.stream import NoRangesError

_SUFFIX: Final = ".part"
_BLOCK_BYTES: Final = 2**20
_NUM_PARTS: Final = 4
"""How many parts the name of an unfinished file of the Hub's client has: what for, its etag, a number, "incomplete"."""


def keep_partial(coming: Path, store: Path) -> None:
    """Set aside the beginnings of files that the Hub's client left in a folder, the longest of each.

    Args:
        coming: Where it downloaded to.
        store: Where they are kept.

    Raises:
        OSError: If they cannot be moved.
    """
    for path in sorted(coming.rglob("*.incomplete"), key=lambda path: path.stat().st_size):
        parts = path.name.rsplit(".", _NUM_PARTS - 1)
        if len(parts) == _NUM_PARTS and path.stat().st_size:
            target = _place(store, parts[1])
            if not target.exists() or target.stat().st_size < path.stat().st_size:
                path.replace(target)


def complete_partial(file: HubFile, store: Path, client: HubClient, on_bytes: Callable[[int], None]) -> Path | None:
    """Fetch the rest of a file that was set aside, from its last byte on.

    Args:
        file: The file.
        store: Where its beginning is.
        client: What asks.
        on_bytes: Told of bytes, those that are there already among them.

    Returns:
        The file, not checked yet; None where there is no beginning, or the server sends whole files only.

    Raises:
        CheckpointError: If the rest cannot be had.
        SourceError: If the Hub is out of reach.
        OSError: If it cannot be written.
    """
    path = _place(store, file.entry.digest.partition(":")[2])
    size = file.entry.size
    if not path.is_file():
        return None
    done = path.stat().st_size
    if done > size:
        path.unlink()
        return None
    reader = RangeReader(client)
    reader.expect(file, [(done, size - done)])
    on_bytes(done)
    room = memoryview(bytearray(_BLOCK_BYTES))
    try:
        with path.open("ab") as handle:
            while done < size:
                block = room[: min(len(room), size - done)]
                reader.read_into(file, done, block)
                handle.write(block)
                done += len(block)
                on_bytes(len(block))
    except NoRangesError:
        path.unlink()
        return None
    finally:
        reader.close()
    return path


def _place(store: Path, etag: str) -> Path:
    return store / (hashlib.blake2b(etag.encode("utf-8", "backslashreplace"), digest_size=20).hexdigest() + _SUFFIX)
