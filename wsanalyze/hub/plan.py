"""How files on the Hub are read: whole ones in a rolling window, or the bytes that are needed and no others."""

from dataclasses import dataclass
from typing import Final

from wsanalyze.errors import SourceError, UsageError

FETCHES: Final = ("auto", "files", "ranges")
"""Ways to read, as people choose them."""

_SMALL_SHARE: Final = 0.5
"""Where less than this of the files is needed, the needed bytes are asked for alone."""
REQUESTS_A_FILE: Final = 3
REQUESTS_A_RANGE: Final = 2


@dataclass(frozen=True, slots=True)
class Demand:
    """What is to be read, and what there is room for.

    Attributes:
        num_files: Files that are not on disk yet, equal ones counted once.
        file_bytes: Their size.
        needed_bytes: How much of them is needed.
        num_runs: How many range requests would fetch that.
        pair_bytes: Size of the largest two checkpoints that are compared.
        free_bytes: Room on the disk.
        can_range: Whether what is needed can be asked for alone: the server sends parts, and headers say where.
        keep: Whether the files are wanted on disk afterwards.
        can_write: Whether files can be put there.
        others_bytes: What windows of other runs hold beside it.
    """

    num_files: int
    file_bytes: int
    needed_bytes: int
    num_runs: int
    pair_bytes: int
    free_bytes: int
    can_range: bool
    keep: bool = False
    can_write: bool = True
    others_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and the sentence that says so."""

    whole_files: bool
    text: str


def choose_walk(demand: Demand, fetch: str, folder: str) -> Choice:
    """Choose between whole files and ranges.

    Args:
        demand: What is to be read.
        fetch: "auto", or what the user insists on.
        folder: Where whole files go.

    Raises:
        SourceError: If there is no way: no room for two checkpoints, and ranges cannot be had.
        UsageError: If ranges are insisted on and cannot be had.
    """
    room = demand.file_bytes if demand.keep else demand.pair_bytes
    fits = demand.can_write and room <= demand.free_bytes
    if fetch == "ranges" and not demand.can_range:
        raise UsageError(
            "--fetch ranges needs safetensors and a server that sends parts of files; this is read with --fetch files"
        )
    if fetch == "ranges":
        return _ranges(demand, "as was asked")
    few = demand.needed_bytes < _SMALL_SHARE * demand.file_bytes
    if fetch == "auto" and not demand.keep and demand.can_range and (few or not fits):
        lack = "there is no room for two checkpoints in {}" if demand.can_write else "{} cannot be written"
        why = "less than half of the files is needed" if few else lack.format(folder)
        return _ranges(demand, why)
    if not fits:
        raise SourceError(f"{folder}: {_say_lack(demand, room)}")
    why = (
        "as was asked"
        if fetch == "files"
        else "they are to be kept"
        if demand.keep
        else "most of their bytes are needed"
        if demand.can_range
        else "they cannot be read in parts"
    )
    num = demand.num_files
    return Choice(
        whole_files=True,
        text=f"reads {num} whole {'file' if num == 1 else 'files'} from the Hub, {say_size(demand.file_bytes)} in "
        f"about {num * REQUESTS_A_FILE} requests, with at most {say_size(room)} on disk"
        f"{'' if demand.keep else ' at a time'}: {why}",
    )


def _say_lack(demand: Demand, room: int) -> str:
    """Why there can be no whole files, and what to do."""
    advice = "or use --fetch ranges" if demand.can_range else "since this cannot be read in parts"
    if not demand.can_write:
        return f"cannot be written: set HF_HOME to a folder that can, {advice}"
    others = hint = ""
    if demand.others_bytes:
        others = f", {say_size(demand.others_bytes)} beside it are held for other runs"
        hint = " (what is held for a run goes with its run file)"
    return (
        f"{say_size(room)} are needed for {'all files' if demand.keep else 'two checkpoints'} and "
        f"{say_size(demand.free_bytes)} are free{others}: free some{hint}, "
        f"set HF_HOME to a larger disk, {advice}"
    )


def _ranges(demand: Demand, why: str) -> Choice:
    return Choice(
        whole_files=False,
        text=f"reads parts of files from the Hub, {say_size(demand.needed_bytes)} of {say_size(demand.file_bytes)} in "
        f"about {demand.num_runs * REQUESTS_A_RANGE} requests, and stores none: {why}",
    )


def say_size(nbytes: int) -> str:
    """A number of bytes, as people read it."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if nbytes >= size:
            return f"{nbytes / size:.{1 if nbytes < 100 * size else 0}f} {unit}"
    return f"{nbytes / 1000:.1f} kB"
