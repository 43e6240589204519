"""Where checkpoints of the Hub go in a folder on disk, so that they are found there as the same sequence.

Names come from whoever made the repository: none of them leaves the folder, and none is one that a disk refuses.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.folder import find_checkpoints
from wsanalyze.checkpoints.names import read_name
from wsanalyze.checkpoints.order import order_checkpoints
from wsanalyze.checkpoints.tree import TreePath, list_file
from wsanalyze.checkpoints.units import INDEX_SUFFIXES, list_unit_of
from wsanalyze.checkpoints.weight_files import is_sidecar_folder
from wsanalyze.errors import CheckpointError, SourceError
from wsanalyze.files.base import FileRef
from wsanalyze.hub.address import HubAddress
from wsanalyze.hub.client import HubClient
from wsanalyze.hub.records import HubFile, Revision, TreeFile
from wsanalyze.hub.tree import HubTree

STATE: Final = "trainer_state.json"
_CONFIGS: Final = ("config.json", "adapter_config.json")
_OF_ALL: Final = (STATE, "model_index.json")
_MAX_NAME_CHARS: Final = 100
_MAX_PART_BYTES: Final = 200
_MAX_PARTS: Final = 32
_PART: Final = re.compile(r'[^/\\:*?"<>|\x00-\x1f\x7f\ud800-\udfff]+')
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$)(\..*)?", re.IGNORECASE)
_UNUSUAL: Final = re.compile(r"[^\w.=+@,-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Placed:
    """A checkpoint and its files on disk.

    Attributes:
        checkpoint: The checkpoint.
        folder: Name of its folder.
        files: Its files by their paths below that folder, with "/" between the parts; what is read first stands first.
        apart: The one of them that is a file of its own even where another checkpoint has its bytes too, or "".
    """

    checkpoint: Checkpoint
    folder: str
    files: Mapping[str, HubFile]
    apart: str = ""

    @property
    def nbytes(self) -> int:
        """Size of its files."""
        return sum(file.entry.size for file in self.files.values())


def list_files(checkpoint: Checkpoint, get: Callable[[FileRef], HubFile]) -> dict[str, HubFile]:
    """The files of a checkpoint and what an analysis reads beside them, by their paths in a folder of its own.

    Args:
        checkpoint: The checkpoint, which must not have a problem.
        get: Tells what a file is on the Hub.

    Raises:
        CheckpointError: If one has a name that no file may have here.
    """
    weights = [get(file) for file in checkpoint.files]
    parents = [PurePosixPath(file.entry.path).parent for file in weights]
    base = parents[0]
    while not all(parent.is_relative_to(base) for parent in parents):
        base = base.parent
    beside = _list_beside(checkpoint, base, parents)
    found = {str(place): get(list_file(path)) for path, place in beside if path.is_file()}
    found |= {str(PurePosixPath(file.entry.path).relative_to(base)): file for file in weights}
    for path, file in found.items():
        _check_path(path, file.url)
        _check_path(file.entry.path, file.url)
    return found


def _list_beside(
    checkpoint: Checkpoint, base: PurePosixPath, parents: Sequence[PurePosixPath]
) -> list[tuple[TreePath, PurePosixPath]]:
    """What may stand beside weights and is read along with them, each with its path below the checkpoint's folder."""
    root = checkpoint.folder
    while root.parent != root:
        root = root.parent
    urls = {file.url for file in checkpoint.files}
    tops = (*checkpoint.folders, _join(root, base))  # of two, the latter stays
    found = [(top / name, PurePosixPath(name)) for top in tops for name in _OF_ALL if (top / name).is_file()]
    for parent in dict.fromkeys(parents):
        folder, place = _join(root, parent), parent.relative_to(base)
        found += [(folder / name, place / name) for name in _CONFIGS]
        found += [(index, place / index.name) for index in _list_indices(folder, urls)]
    return found


def place_all(
    found: Sequence[tuple[Checkpoint, Mapping[str, HubFile]]], name: str, client: HubClient
) -> tuple[list[Placed], str | None]:
    """Name the folders: checkpoint-STEP where that tells all that the names on the Hub do, else after those names.

    Args:
        found: The checkpoints in order, each with its files.
        name: Name of the folder that holds all of them.
        client: What reads small files.

    Returns:
        The checkpoints in order, and how their order in the folder differs, or None where it does not.
    """
    checkpoints = [checkpoint for checkpoint, _ in found]
    steps = [c.step for c in checkpoints]
    plain = [
        c.label if c.step is None or steps.count(c.step) > 1 or _counts_epochs(c.label) else f"checkpoint-{c.step}"
        for c in checkpoints
    ]
    if any(c.stage for c in checkpoints):
        plain = [c.label for c in checkpoints]
    problem = None
    for names in (plain, [c.label for c in checkpoints]):
        folders = name_folders(names)
        placed = [Placed(c, folder, files) for (c, files), folder in zip(found, folders, strict=True)]
        problem = _find_difference(placed, name, client)
        if problem is None:
            return placed, None
    return placed, problem


def keep_apart(placed: Sequence[Placed], equal: Mapping[str, Collection[str]]) -> list[Placed]:
    """Say which files must not be links: where all of them are, the first of equal checkpoints is taken, right or not.

    Args:
        placed: The checkpoints in order.
        equal: For the origin of each checkpoint that is to be kept of several equal ones, the origins of the others.
    """
    found: list[Placed] = []
    for one in placed:
        copies = equal.get(one.checkpoint.origin, ())
        before = any(other.checkpoint.origin in copies for other in found)
        digests = {file.stamp for file in one.checkpoint.files}
        weights = {path: file for path, file in one.files.items() if file.entry.digest in digests}
        apart = min(weights, key=lambda path: weights[path].entry.size) if before else ""
        found.append(replace(one, apart=apart))
    return found


def name_folders(names: Sequence[str]) -> list[str]:
    """Names of folders for any names: plain, short, visible, and all different on any disk."""
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        plain = _UNUSUAL.sub("-", name).strip("-_. ")[:_MAX_NAME_CHARS].rstrip("-_. ")
        if not plain or _DEVICES.fullmatch(plain) or is_sidecar_folder(plain):
            plain = f"revision-{plain}" if plain else "revision"
        unique, number = plain, 0
        while unique.lower() in taken:
            digest = hashlib.blake2b(f"{number}:{name}".encode("utf-8", "backslashreplace"), digest_size=4).hexdigest()
            unique, number = f"{plain}-at-{digest}", number + 1
        taken.add(unique.lower())
        found.append(unique)
    return found


def _counts_epochs(label: str) -> bool:
    units = read_name(label).units
    return "epoch" in units and "step" not in units


def _join(root: TreePath, path: PurePosixPath) -> TreePath:
    for part in path.parts:
        root = root / part
    return root


def _list_indices(folder: TreePath, urls: set[str]) -> list[TreePath]:
    """The indices in a folder that name shards which are among the files."""
    indices = [path for path in folder.iterdir() if path.name.endswith(INDEX_SUFFIXES) and path.is_file()]
    return [index for index in indices if {str(path) for path in list_unit_of(index).files} & urls]


def _check_path(path: str, url: str) -> None:
    parts = path.split("/")
    for part in parts:
        refused = (
            not _PART.fullmatch(part)
            or part != part.rstrip(". ")
            or len(part.encode()) > _MAX_PART_BYTES
            or _DEVICES.fullmatch(part)
        )
        if refused or len(parts) > _MAX_PARTS:
            raise CheckpointError("has a name that no file can have on every disk: it is not fetched", url)


def _find_difference(placed: Sequence[Placed], name: str, client: HubClient) -> str | None:
    """How what would be found in the folder differs from the sequence on the Hub."""
    tree = _PlannedTree(placed, name, client)
    try:
        found = order_checkpoints(find_checkpoints(tree.root), {}).checkpoints
    except SourceError as error:
        return str(error)
    there = [(c.step, sorted(file.stamp for file in c.files), c.problem) for c in found]
    here = [(p.checkpoint.step, sorted(file.stamp for file in p.checkpoint.files), None) for p in placed]
    return None if there == here else "analyze orders them otherwise there, since nothing in their names tells it"


class _PlannedTree(HubTree):
    """The files as they would lie in the folder, less the notes of trainers: one that does not agree is left out."""

    def __init__(self, placed: Sequence[Placed], name: str, client: HubClient) -> None:
        self._origins = {f"{p.folder}/{path}": file for p in placed for path, file in p.files.items() if path != STATE}
        entries = [TreeFile(path, file.entry.size, file.entry.digest) for path, file in self._origins.items()]
        super().__init__(HubAddress(name), Revision(name, ""), entries, client)

    def read_start(self, file: HubFile, nbytes: int) -> bytes:
        """See `HubTree.read_start`."""
        return super().read_start(self._origins[file.entry.path], nbytes)
