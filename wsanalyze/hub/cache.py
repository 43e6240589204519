"""The user's cache of the Hub, as huggingface_hub lays it out: what lies in it is not fetched, and known offline.

References:
    huggingface_hub's "Understand caching": blobs by hash, a folder of links for each commit, refs that name commits.
"""

import contextlib
import re
from pathlib import Path
from typing import Final

from wsanalyze.errors import SourceError
from wsanalyze.hub.address import HubAddress
from wsanalyze.hub.huggingface import library, storage_name
from wsanalyze.hub.records import HubFile, Revision, TreeFile

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def find_cached(file: HubFile) -> Path | None:
    """The copy of a file that is in the user's cache of the Hub already, under whatever revision."""
    digest = file.entry.digest.partition(":")[2]
    blob = _storage(file.address) / "blobs" / digest
    found = library().try_to_load_from_cache(
        file.address.repo, file.entry.path, revision=file.commit, repo_type=file.address.kind
    )
    for path in (blob, *([Path(found)] if isinstance(found, str) else [])):
        with contextlib.suppress(OSError):
            if path.stat().st_size == file.entry.size:
                return path
    return None


def list_cached(address: HubAddress) -> dict[Revision, list[TreeFile]]:
    """The revisions of a repository that the user's cache holds something of, and what it holds of each.

    Raises:
        SourceError: If it holds nothing of it.
    """
    found: dict[Revision, list[TreeFile]] = {}
    storage = _storage(address)
    snapshots = storage / "snapshots"
    names: dict[str, list[str]] = {}
    refs = storage / "refs"
    for path in sorted(refs.rglob("*")) if refs.is_dir() else ():
        if path.is_file():
            names.setdefault(path.read_text().strip(), []).append(path.relative_to(refs).as_posix())
    for folder in sorted(snapshots.iterdir()) if snapshots.is_dir() else ():
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        entries = [
            TreeFile(path.relative_to(folder).as_posix(), path.stat().st_size, _cached_digest(path)) for path in files
        ]
        for name in names.get(folder.name, [folder.name]):
            found[Revision(name, folder.name)] = entries
    if not found:
        raise SourceError(f"{address}: nothing of it is in the cache, and HF_HUB_OFFLINE forbids to ask the Hub")
    return found


def remember(file: HubFile) -> None:
    """Note in the user's cache which commit a name stands for, as the client does: it is known offline then."""
    if file.revision and not file.commit.startswith(file.revision):
        target = _storage(file.address) / "refs" / file.revision
        with contextlib.suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(file.commit)


def _storage(address: HubAddress) -> Path:
    return Path(library().constants.HF_HUB_CACHE) / storage_name(address.repo, address.kind)


def _cached_digest(path: Path) -> str:
    """The digest of a file in the cache: what its blob is called."""
    name = path.resolve().name
    if _SHA256.fullmatch(name):
        return f"sha256:{name}"
    return f"git:{name}" if re.fullmatch(r"[0-9a-f]{40}", name) else f"stat:{path.stat().st_mtime_ns}:{path}"
