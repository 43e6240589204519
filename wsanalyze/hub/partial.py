"""Downloads that were cut short: what came of them is kept, and only the rest is asked for."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wsanalyze.hub.digests import check_digest, name_digest
from wsanalyze.hub.failures import transport_library
from wsanalyze.hub.huggingface import library, utils
from wsanalyze.hub.records import HubFile
from wsanalyze.hub.stream import NoRangesError, check_response

if TYPE_CHECKING:
    from wsanalyze.hub.client import HubClient

_SUFFIX: Final = ".part"
_NUM_PARTS: Final = (3, 4)
"""Parts of the name of an unfinished file of the Hub's client: what for, its etag, a number or none, "incomplete"."""
_CHUNK_BYTES: Final = 65_536


class Arrival:
    """Counts the bytes of one file that arrive, over all tries: none is told twice.

    Attributes:
        most: How far the best try came.
    """

    def __init__(self, on_bytes: Callable[[int], None]) -> None:
        self.most = 0
        self._on_bytes = on_bytes
        self._now = 0

    def begin(self, num_bytes: int = 0) -> None:
        """Begin a try, with what is there already."""
        self._now = 0
        self.add(num_bytes)

    def add(self, num_bytes: int) -> None:
        """Tell of more bytes."""
        self._now += num_bytes
        if self._now > self.most:
            new, self.most = self._now - self.most, self._now
            self._on_bytes(new)


def holds_partial(folder: Path) -> bool:
    """Whether something in a folder is the beginning of a file."""
    return any(path.suffix in (_SUFFIX, ".incomplete") for path in folder.rglob("*"))


def keep_partial(folder: Path) -> None:
    """Set aside the beginnings of files that the Hub's client left in a folder, the longest of each.

    Args:
        folder: Where it downloaded to, and where they are kept.

    Raises:
        OSError: If they cannot be moved.
    """
    for path in sorted(folder.rglob("*.incomplete"), key=lambda path: path.stat().st_size):
        parts = path.name.split(".")
        if len(parts) in _NUM_PARTS and path.stat().st_size:
            target = _place(folder, parts[1])
            if not target.exists() or target.stat().st_size < path.stat().st_size:
                path.replace(target)
                continue
        path.unlink()


def measure_partial(file: HubFile, folder: Path) -> int:
    """How many bytes of a file were set aside in a folder; what is too long for it is taken away."""
    path = _place(folder, _etag(file))
    size = path.stat().st_size if path.is_file() else 0
    if size > file.entry.size:
        path.unlink()
        return 0
    return size


def complete_partial(file: HubFile, folder: Path, client: "HubClient", arrival: Arrival) -> Path | None:
    """Fetch the rest of a file by one request, from the last byte that was set aside on; what comes is kept.

    Args:
        file: The file.
        folder: Where its beginning is, if there is one.
        client: What asks.
        arrival: Told of bytes, those that are there already among them.

    Returns:
        The file, with the digest that is listed; None where the server sends whole files only, or the beginning was
        of other bytes: it is taken away.

    Raises:
        CheckpointError: If the server does not send what was asked for.
        OSError: If it cannot be written.
        whatever the request raises: if asked again, it goes on from there.
    """
    path, size = _place(folder, _etag(file)), file.entry.size
    done = measure_partial(file, folder)
    arrival.begin(done)
    try:
        with path.open("ab", buffering=0) as handle:
            while done < size:
                for chunk in _request(file, done, client):
                    handle.write(chunk)
                    done += len(chunk)
                    arrival.add(len(chunk))
    except NoRangesError:
        path.unlink()
        return None
    if check_digest(path, file) is not None:
        path.unlink()  # the client may fill a file in any order
        return None
    return path


def _request(file: HubFile, start: int, client: "HubClient") -> Iterator[bytes]:
    left = file.entry.size - start
    with client.open_range(file, start, file.entry.size) as response:
        check_response(response, file, start, file.entry.size)
        for chunk in response.iter_raw():
            yield chunk[:left]
            left -= len(chunk[:left])
    if left:
        raise transport_library().ReadError("the connection was cut")


@contextlib.contextmanager
def small_chunks() -> Iterator[None]:
    """Let the Hub's client write what comes at once: of a chunk that is cut it keeps nothing, and asks for it anew."""
    constants = library().constants
    before = constants.DOWNLOAD_CHUNK_SIZE
    constants.DOWNLOAD_CHUNK_SIZE = min(before, _CHUNK_BYTES)
    try:
        yield
    finally:
        constants.DOWNLOAD_CHUNK_SIZE = before


def make_meter(arrival: Arrival, folder: Path | None) -> type:
    """A progress bar for the Hub's client that shows nothing, tells of bytes and, where it ends early, keeps them."""

    class Meter(utils().tqdm):  # type: ignore[misc] # comes without types
        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - tqdm's
            kwargs["disable"] = True
            kwargs.pop("name", None)
            super().__init__(*args, **kwargs)

        def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
            if kind is not None and folder is not None:
                with contextlib.suppress(OSError):  # Windows moves no open file: it comes again
                    keep_partial(folder)  # the client takes it away when it leaves
            self.close()

        def update(self, n: float | None = 1) -> bool | None:
            arrival.add(int(n or 0))
            return None

    return Meter


def _etag(file: HubFile) -> str:
    return file.entry.digest.partition(":")[2]


def _place(folder: Path, etag: str) -> Path:
    return folder / (name_digest(etag) + _SUFFIX)
