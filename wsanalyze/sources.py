"""What people name as a source: folders, files and globs on disk, and addresses of the Hub; one base beside them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.folder import FolderSource
from wsanalyze.errors import SourceError
from wsanalyze.hub.address import guess_address, is_hub_address, parse_address
from wsanalyze.hub.session import HubSession

_MAIN: Final = "main"
_MAX_NAMED: Final = 4


@dataclass(frozen=True, slots=True)
class Located:
    """Checkpoints that were found, not opened yet.

    Attributes:
        sources: What the user named.
        checkpoints: Those of all sources, in the order given.
        base: The one that goes before all others, where one was named.
        notes: Sentences on what the sources hold besides.
    """

    sources: tuple[str, ...]
    checkpoints: tuple[Checkpoint, ...]
    base: tuple[Checkpoint, ...] = ()
    notes: tuple[str, ...] = ()


def locate_checkpoints(sources: Sequence[str], base: str | None = None, hub: HubSession | None = None) -> Located:
    """Find the checkpoints of all sources; no weight is opened.

    Args:
        sources: Paths, globs and addresses of the Hub.
        base: A source that holds one checkpoint, put before the first.
        hub: What asks the Hub, where a source lies there.

    Raises:
        SourceError: If a source does not exist, holds no checkpoint, or is of a kind that is not read.
    """
    found: list[Checkpoint] = []
    notes: list[str] = []
    placed = False
    for source in sources:
        located, said = _locate(source, hub)
        if len(sources) > 1 and len(located) == 1 and is_hub_address(source) and located[0].label == _MAIN:
            located = [replace(located[0], label=f"{_MAIN} (final)")]  # asked for beside the others: it is their last
            placed = True
        found += located
        notes += said
    if placed:
        notes = [note for note in notes if not note.startswith(f"{_MAIN} is left out: ")]
    first: Sequence[Checkpoint] = ()
    if base is not None:
        first, _ = _locate(base, hub)
        if len(first) > 1:
            names = ", ".join(checkpoint.label for checkpoint in first[:_MAX_NAMED])
            raise SourceError(f"--base {base}: holds {len(first)} checkpoints, name one of them: {names}")
    return Located(tuple(sources), tuple(_tell_apart(found)), tuple(first), tuple(dict.fromkeys(notes)))


def _tell_apart(found: Sequence[Checkpoint]) -> Sequence[Checkpoint]:
    """Name the repository of those on the Hub that others elsewhere are called like: no folder tells them apart."""
    places: dict[str, set[str]] = {}
    for checkpoint in found:
        places.setdefault(checkpoint.label, set()).add(_name_repository(checkpoint))
    return [
        replace(checkpoint, label=f"{checkpoint.label} ({repository})")
        if len(places[checkpoint.label]) > 1 and (repository := _name_repository(checkpoint))
        else checkpoint
        for checkpoint in found
    ]


def _name_repository(checkpoint: Checkpoint) -> str:
    return parse_address(checkpoint.origin).repo if is_hub_address(checkpoint.origin) else ""


def _locate(source: str, hub: HubSession | None) -> tuple[Sequence[Checkpoint], Sequence[str]]:
    if not source:
        raise SourceError("a source is empty: name a folder of checkpoints")
    if is_hub_address(source) and hub is not None:
        return hub.locate(source)
    if "://" in source:
        raise SourceError(f"{source}: only files, folders and hf:// are read; download it first")
    try:
        return FolderSource(source).checkpoints(), ()
    except SourceError as error:
        guess = None if os.path.lexists(source) else guess_address(source)
        if guess is None:
            raise
        raise SourceError(f"{error} (on the Hub: {guess})") from None
