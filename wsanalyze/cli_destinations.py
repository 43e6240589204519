"""Where the reports of a command line may go: what is refused before any work is done.

References:
    docs/cli.md, "Where reports go".
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from wsanalyze.cli_ending import ClosedOutput
from wsanalyze.errors import ReportError, UsageError
from wsanalyze.reports.places import Key, find_stream, identify

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wsanalyze.sources import Located

_Sort = Literal["file", "folder", "stream"]

STREAMED: Final = ("json", "csv", "markdown")
"""Reports that can go to standard output."""
_FOLDERS: Final = ("figures", "tensorboard")
_PLACES: Final = dict.fromkeys(("html", *STREAMED), "a file") | dict.fromkeys(_FOLDERS, "a folder")
_BESIDE_RUN: Final = ("", "-wal", "-shm", "-journal", ".lock")
_BESIDE_WEIGHTS: Final = ("config.json", "adapter_config.json", "model_index.json", "trainer_state.json")
_INDEX_SUFFIX: Final = ".index.json"


def check_destinations(options: dict[str, Any]) -> Destinations:
    """Refuse destinations that cannot be written or do not go together, before any work is done.

    What stands for standard output, such as `/dev/stdout`, becomes `-` in the options.

    Args:
        options: Those of the command, click's values by their names.

    Returns:
        The destinations, which tell whether they would replace something that is read.

    Raises:
        UsageError: If two reports go to one place, or one cannot go where it is to.
        ReportError: If a folder is not there, standard output is closed, or a package is missing that a report needs.
    """
    given = {name: options[name] for name in _PLACES if options.get(name) is not None}
    for name, place in given.items():
        if not place:
            raise UsageError(f"--{name} is empty: name {_PLACES[name]}")
        if place != "-" and find_stream(place) in _streams_of_output():
            options[name] = given[name] = "-"
    if options.get("open_page") and "html" not in given:
        raise UsageError("--open opens the page that --html FILE writes: give both")
    streamed = [name for name, place in given.items() if place == "-"]
    _check_streamed(streamed)
    if "tensorboard" in given:
        from wsanalyze.reports.tensorboard import check_tensorboard

        check_tensorboard()
    found = Destinations()
    if streamed or not options.get("quiet"):
        found.claim_output()
    for name, place in given.items():
        if name in _FOLDERS:
            _claim_folder(found, name, Path(place), options["metric"])
        elif place != "-":
            _claim_file(found, name, Path(place))
    return found


def find_run_path(place: str | None, destinations: Destinations) -> Path | None:
    """Where `--run` says that sums are kept, unless a report goes there; None where it does not say."""
    if place == "":
        raise UsageError("--run is empty: name a file")
    if place is None:
        return None
    destinations.spare_run(Path(place))
    return Path(place)


def _check_streamed(names: list[str]) -> None:
    """Refuse to write to standard output what cannot go there."""
    for name in names:
        if name not in STREAMED:
            raise UsageError(f"--{name} takes {_PLACES[name]}, not standard output")
    if len(names) > 1:
        options = " and ".join(f"--{name}" for name in names)
        raise UsageError(f"only one report can go to standard output, not {options}")
    if names and isinstance(sys.stdout, ClosedOutput):
        raise ReportError("standard output is closed: open it, or write the report to a file")


class _Claim(NamedTuple):
    """What is written to one place: the option that asks for it, its path, and what lies there."""

    words: str
    path: Path | None
    sort: _Sort


class Destinations:
    """The files that a command writes."""

    def __init__(self) -> None:
        self._claims: dict[Key, _Claim] = {}

    def claim(self, words: str, path: Path, *, folder: bool = False) -> None:
        """Note that a file is written.

        Args:
            words: The option that asks for it, with its value.
            path: The file.
            folder: Whether it is a folder instead, which others may write into as well.

        Raises:
            UsageError: If something else is written there.
        """
        sort: _Sort = "folder" if folder else "file" if find_stream(path) is None else "stream"
        self._note(_Claim(words, path, sort), identify(path))

    def claim_output(self) -> None:
        """Note that standard output is written to, which may be a file as well."""
        for number in () if isinstance(sys.stdout, ClosedOutput) else _streams_of_output():
            self._note(_Claim("standard output", None, "stream"), identify(f"/dev/fd/{number}"))

    def _note(self, claim: _Claim, keys: frozenset[Key]) -> None:
        for key in keys:
            other = self._claims.get(key)
            # Two streams may lead to one file, as 3>&1 does; what takes the place of a file leaves them with the old.
            shared = claim.sort != "file" and claim.sort == (other and other.sort) and key[0] != "stream"
            if other is not None and not shared:
                raise UsageError(f"{other.words} and {claim.words} go to one place: name another file")
        self._claims.update(dict.fromkeys(keys, claim))

    def spare(self, words: str, path: str | Path) -> None:
        """Refuse to write what is read.

        Args:
            words: What it is.
            path: Where it lies.

        Raises:
            UsageError: If that is where something is written.
        """
        self._refuse(words, identify(path))

    def _refuse(self, words: str, keys: Iterable[Key]) -> None:
        claim = next(filter(None, map(self._claims.get, keys)), None)
        if claim is not None:
            raise _refusal(claim, words)

    def spare_run(self, path: Path) -> None:
        """Refuse to write over a run file, or what belongs to it."""
        for place in dict.fromkeys((str(path), os.path.realpath(path))):
            for suffix in _BESIDE_RUN:
                self.spare(f"the run file {path}", place + suffix)

    def spare_checkpoints(self, located: Located, run: Path | None = None) -> None:
        """Refuse to write over weights, or what is read beside them.

        Args:
            located: The checkpoints that are read.
            run: The run file that they are measured into, which must be none of them either.

        Raises:
            UsageError: If something that is read would be replaced.
        """
        if run is not None:
            self.spare_run(run)
            self.claim(f"--run {run}", run)
        there = [claim for key, claim in self._claims.items() if key[0] == "file"]
        places = [(Path(os.path.realpath(claim.path)), claim) for claim in there if claim.path]
        beside = {_find_key(path.parent): claim for path, claim in places if _is_beside(path)}
        checkpoints = [c for c in (*located.base, *located.checkpoints) if not any(file.remote for file in c.files)]
        for checkpoint in checkpoints if there else ():
            for file in checkpoint.files:
                self._refuse(f"weights that are read ({file.url})", [_find_key(file.url)])
            for folder in checkpoint.folders if beside else ():
                if claim := beside.get(_find_key(str(folder))):
                    raise _refusal(claim, f"what is read of the checkpoint {checkpoint.label}")


def _refusal(claim: _Claim, words: str) -> UsageError:
    return UsageError(f"{claim.words} would take the place of {words}: name another file")


def _find_key(path: str | Path) -> Key:
    """What the disk knows a file or a folder by, in the form of `identify`; what no file has where there is none."""
    with suppress(OSError):
        found = os.stat(path)  # noqa: PTH116 - also of a path that is text
        return ("file", found.st_dev, found.st_ino)
    return ("none",)


def _is_beside(path: Path) -> bool:
    return path.name in _BESIDE_WEIGHTS or path.name.endswith(_INDEX_SUFFIX)


def _streams_of_output() -> tuple[int, ...]:
    """The number of the stream that is standard output, where it is one of the system."""
    try:
        return (sys.stdout.fileno(),)
    except (OSError, ValueError, AttributeError):
        return ()


def _claim_file(found: Destinations, name: str, path: Path) -> None:
    """Note that a report is written to a file, and refuse where there is no place for one."""
    cannot = f"cannot write the report {path}"
    number = find_stream(path)
    if number is not None:
        try:
            os.write(number, b"")
        except OSError as error:
            from wsanalyze.reports.files import explain_failure

            raise ReportError(f"{cannot}: {explain_failure(error)}") from error
    elif os.path.isdir(path):  # noqa: PTH112 - pathlib raises for a name too long
        raise ReportError(f"{cannot}: it is a folder; name a file in it")
    else:
        folder = Path(os.path.realpath(path)).parent if os.path.islink(path) else path.parent  # noqa: PTH114 - as above
        if not os.path.isdir(folder):  # noqa: PTH112 - as above
            wrong = (
                f"{folder} is no folder; name another" if folder.exists() else f"there is no folder {folder}; make it"
            )
            raise ReportError(f"{cannot}: {wrong}")
    found.claim(f"--{name} {path}", path)


def _claim_folder(found: Destinations, name: str, folder: Path, metric: str) -> None:
    """Note which files are written into a folder, and refuse where there can be none."""
    for place in (folder, *folder.parents):
        if os.path.isdir(place):  # noqa: PTH112 - pathlib raises for a name too long
            break
        if os.path.lexists(place):
            raise ReportError(f"cannot make the folder {folder} for --{name}: {place} is no folder; name another")
        found.claim(f"--{name} {folder}", place, folder=True)
    for path in _list_files(name, folder, metric):
        found.claim(f"--{name} {folder} ({path.name})", path)


def _list_files(name: str, folder: Path, metric: str) -> tuple[Path, ...]:
    """The files that a report puts into a folder; what it needs is loaded by then."""
    if name == "figures":
        from wsanalyze.reports.figures.write import list_figures

        return list_figures(folder)
    from wsanalyze.reports.tensorboard import find_events_file

    return (find_events_file(folder, metric),)
