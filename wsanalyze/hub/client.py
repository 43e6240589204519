"""The Hub's client: the questions that are asked of huggingface_hub; what fails comes out as one line, and no token.

Tokens, HF_ENDPOINT, HF_HOME, offline mode, proxies and certificates are those of huggingface_hub.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from wsanalyze.errors import CheckpointError, SourceError
from wsanalyze.hub.address import HubAddress
from wsanalyze.hub.cache import find_cached, list_cached, remember
from wsanalyze.hub.calls import PATIENCE_SECONDS, HubCalls
from wsanalyze.hub.digests import has_digest
from wsanalyze.hub.failures import (
    GoneError,
    UnreachableError,
    explain_disk,
    transport_library,
)
from wsanalyze.hub.huggingface import utils
from wsanalyze.hub.memory import HubMemory
from wsanalyze.hub.partial import Arrival, complete_partial, keep_partial, make_meter, measure_partial, small_chunks
from wsanalyze.hub.records import HubFile, Revision, TreeFile
from wsanalyze.progress import ProgressCallback, silent


class HubClient(HubCalls):
    """What is asked of the Hub.

    Args:
        progress: Told of waits.
        patience_seconds: How long a call is tried again.
        memory: The file that remembers what cannot change; None to remember nothing beyond this object.

    Attributes:
        memory: What was asked for earlier, and cannot change.
    """

    def __init__(
        self,
        progress: ProgressCallback = silent,
        patience_seconds: float = PATIENCE_SECONDS,
        memory: Path | None = None,
    ) -> None:
        super().__init__(progress, patience_seconds)
        self._api = self._hub.HfApi()
        self.memory = HubMemory(None if self.offline else memory, self._hub.constants.ENDPOINT)

    @property
    def home(self) -> Path:
        """The folder that the user gave to what comes from the Hub (HF_HOME)."""
        return Path(self._hub.constants.HF_HOME)

    def list_refs(self, address: HubAddress) -> tuple[list[Revision], list[Revision]]:
        """The branches and the tags of a repository.

        Raises:
            SourceError: If there is no such repository, it may not be read, or the Hub cannot be reached.
        """
        refs = self._call(str(address), self._api.list_repo_refs, address.repo, repo_type=address.kind)
        branches, tags = (
            [Revision(ref.name, ref.target_commit) for ref in kind] for kind in (refs.branches, refs.tags)
        )
        return branches, tags

    def find_revision(self, address: HubAddress, name: str) -> Revision:
        """Pin any revision: a branch, a tag, `refs/pr/1`, a commit or the beginning of its hash.

        Raises:
            SourceError: If there is none.
        """
        where = address.at(name)
        info = self._call(where, self._api.repo_info, address.repo, revision=name, repo_type=address.kind)
        if not info.sha:
            raise SourceError(f"{where}: the Hub does not say which commit it is")
        return Revision(name, info.sha)

    def list_commits(self, address: HubAddress, branch: str) -> list[Revision]:
        """The commits of a branch, the first one first.

        Raises:
            SourceError: If there is no such branch.
        """
        where = address.at(branch)
        found = self._call(
            where, self._api.list_repo_commits, address.repo, repo_type=address.kind, revision=branch or None
        )
        return [
            Revision(c.commit_id[:10], c.commit_id, "", (c.title or "").strip(), int(c.created_at.timestamp() * 1e9))
            for c in reversed(found)
        ]

    def list_tree(self, address: HubAddress, revision: Revision) -> list[TreeFile]:
        """All files of a revision's commit, from its tree alone; of one commit it is asked for once.

        Raises:
            CheckpointError: If the tree cannot be had.
        """
        of = address.kind, address.repo, revision.commit
        if (known := self.memory.find_tree(*of)) is not None:
            return [TreeFile(*entry) for entry in known]

        def read() -> list[TreeFile]:
            entries = self._api.list_repo_tree(
                address.repo, revision=revision.commit, repo_type=address.kind, recursive=True
            )
            return [
                TreeFile(e.path, e.size, f"sha256:{e.lfs.sha256}" if e.lfs else f"git:{e.blob_id}")
                for e in entries
                if isinstance(e, self._hub.hf_api.RepoFile)
            ]

        try:
            files = self._call(address.at(revision.name), read)
        except (GoneError, UnreachableError):
            raise
        except SourceError as error:
            raise CheckpointError(str(error)) from error
        if all(file.is_sound for file in files):  # else a proxy's page would be remembered
            self.memory.add_tree(*of, [(file.path, file.size, file.digest) for file in files])
        return files

    def find_cached(self, file: HubFile) -> Path | None:
        """See `wsanalyze.hub.cache.find_cached`."""
        return find_cached(file)

    def list_cached(self, address: HubAddress) -> dict[Revision, list[TreeFile]]:
        """See `wsanalyze.hub.cache.list_cached`."""
        return list_cached(address)

    def download(self, file: HubFile, folder: Path | None, on_bytes: Callable[[int], None]) -> Path:
        """Download a file with the Hub's own client, into a folder or, with None, into the user's cache.

        What came of it stays in the folder when this fails, or is stopped: the next try, here or later, asks for the
        rest alone where the server sends parts.

        Args:
            file: The file.
            folder: Where to; of nobody else's.
            on_bytes: Told of bytes, those that are in the folder already among them; of none twice.

        Returns:
            The file, somewhere in the folder. Its digest is not checked.

        Raises:
            CheckpointError: If it cannot be had.
            SourceError: If there is no room for it.
        """
        self.memory.save()  # this takes long, and may be stopped
        target, arrival = folder or self.home, Arrival(on_bytes)
        try:
            if folder is not None and folder.is_dir():
                keep_partial(folder)
            kept = 0 if folder is None else measure_partial(file, folder)
            path = self._call_for(file, lambda again: self._fetch(file, folder, arrival, again=again), arrival)
        except OSError as error:
            raise explain_disk(error, target, file.url, file.entry.size) from error
        except UnreachableError:
            raise
        except SourceError as error:
            raise CheckpointError(str(error)) from error
        self.traffic.add(num_bytes=file.entry.size - kept)
        if folder is None:
            remember(file)
        return path

    def _fetch(self, file: HubFile, folder: Path | None, arrival: Arrival, *, again: bool) -> Path:
        """One try to download a file: its rest where something is there or a try failed, else all of it."""
        if folder is not None and (measure_partial(file, folder) or (again and folder.is_dir())):
            path = complete_partial(file, folder, self, arrival)
            if path is not None:
                return path
        arrival.begin()
        place = {} if folder is None else {"local_dir": folder}
        with small_chunks():
            return Path(
                self._hub.hf_hub_download(
                    file.address.repo,
                    file.entry.path,
                    repo_type=file.address.kind,
                    revision=file.commit,
                    tqdm_class=make_meter(arrival, folder),
                    **place,
                )
            )

    @contextlib.contextmanager
    def open_range(self, file: HubFile, start: int, stop: int) -> Iterator[Any]:
        """Send one request for the bytes from `start` to `stop`: the response, its body not read yet.

        Raises:
            whatever the request raises: see `explain`.
        """
        if self.offline:
            raise self._hub.errors.OfflineModeIsEnabled("")
        url = self._hub.hf_hub_url(
            file.address.repo,
            file.entry.path,
            repo_type=file.address.kind,
            revision=file.commit,
            endpoint=self._hub.constants.ENDPOINT,
        )
        headers = {**utils().build_hf_headers(), "Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        with contextlib.ExitStack() as stack:
            request = self._session().stream("GET", url, headers=headers)
            with self._asking_for(file):
                response = stack.enter_context(request)
            utils().hf_raise_for_status(response)
            yield response

    def read_start(self, file: HubFile, nbytes: int) -> bytes:
        """The first bytes of a small file: a shard index, a configuration. Those of equal bytes are asked for once.

        Raises:
            CheckpointError: If they cannot be had, or are not those that the tree lists.
        """
        size = min(nbytes, file.entry.size)
        for start, known in self.memory.find_parts(file.entry.digest):
            if start == 0 and len(known) >= size:
                return known[:size]
        if cached := self.find_cached(file):
            with cached.open("rb") as handle:
                return handle.read(size)
        try:
            data = self._call_for(file, lambda _: self._read_start(file, size))
        except UnreachableError:
            raise
        except SourceError as error:
            raise CheckpointError(str(error)) from error
        self.traffic.add(num_bytes=len(data))
        if size == file.entry.size and not has_digest(data, file.entry.digest):
            raise CheckpointError(
                "its bytes are not those that the Hub lists (other sha): damaged on the way or on the server", file.url
            )
        self.memory.add_part(file.entry.digest, 0, data)
        return data

    def _read_start(self, file: HubFile, size: int) -> bytes:
        data = bytearray()
        with self.open_range(file, 0, size) as response:
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) >= size:
                    break
        if len(data) < size:
            raise transport_library().ReadError("the connection was cut")
        return bytes(data[:size])
