"""The Hub's client: the only user of huggingface_hub. What it raises comes out as one line, and no token with it.

Tokens, HF_ENDPOINT, HF_HOME, offline mode, proxies and certificates are those of huggingface_hub: this module sends
every request through its session. What that does not do is added here: a time limit for every request, retries of
every call under one limit for all of them, and a count of what was asked for.
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from wsanalyze.errors import CheckpointError, SourceError
from wsanalyze.hub.address import HubAddress
from wsanalyze.hub.cache import find_cached, list_cached, remember
from wsanalyze.hub.failures import (
    GoneError,
    UnreachableError,
    asked_wait,
    describe,
    explain,
    explain_disk,
    has_answer,
    is_of_disk,
    is_of_one_file,
    is_resized,
    tell_cause,
    transport_library,
)
from wsanalyze.hub.library import library, utils
from wsanalyze.hub.memory import HubMemory, has_digest
from wsanalyze.hub.records import HubFile, Revision, TreeFile
from wsanalyze.progress import Progress, ProgressCallback, silent

PATIENCE_SECONDS: Final = 900.0
"""How long a call is tried again, in all, before it is given up."""
_FIRST_PATIENCE: Final = 10.0
"""The same while the Hub was not reached at all: a network that is not there does not come by waiting."""
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 30.0
_MAX_RESIZED: Final = 3
_CONNECT_SECONDS: Final = 10.0
_READ_SECONDS: Final = 30.0

_Result = TypeVar("_Result")


@dataclass(slots=True)
class Traffic:
    """What was asked of the Hub: requests sent (redirects followed among them) and bytes of files received."""

    num_requests: int = 0
    num_bytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, num_requests: int = 0, num_bytes: int = 0) -> None:
        """Count some more."""
        with self.lock:
            self.num_requests += num_requests
            self.num_bytes += num_bytes


class HubClient:
    """What is asked of the Hub, each call tried again until it succeeds, fails for good, or patience is at an end.

    Args:
        progress: Told of waits.
        patience_seconds: How long a call is tried again.
        memory: The file that remembers what cannot change; None to remember nothing beyond this object.

    Attributes:
        traffic: What was asked for so far.
        memory: What was asked for earlier, and cannot change.
    """

    def __init__(
        self,
        progress: ProgressCallback = silent,
        patience_seconds: float = PATIENCE_SECONDS,
        memory: Path | None = None,
    ) -> None:
        self._hub = library()
        self._api = self._hub.HfApi()
        self._progress = progress
        self._patience = patience_seconds
        self.traffic = Traffic()
        self.memory = HubMemory(None if self.offline else memory, self._hub.constants.ENDPOINT)
        self._reached = False
        self._lock = threading.Lock()
        self._random = random.Random(0)  # noqa: S311 - spreads waits, hides nothing
        utils().logging.set_verbosity_error()  # every failure comes back as one line of ours

    @property
    def offline(self) -> bool:
        """Whether nothing may be asked (HF_HUB_OFFLINE=1)."""
        return bool(self._hub.is_offline_mode())

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

        Raises:
            CheckpointError: If it cannot be had.
            SourceError: If there is no room for it.
        """

        def fetch() -> Path:
            place = {} if folder is None else {"local_dir": folder}
            return Path(
                self._hub.hf_hub_download(
                    file.address.repo,
                    file.entry.path,
                    repo_type=file.address.kind,
                    revision=file.commit,
                    tqdm_class=_make_meter(on_bytes),
                    **place,
                )
            )

        self.memory.save()  # this takes long, and may be stopped
        target = folder or self.home
        try:
            path = self._call(file.url, fetch)
        except OSError as error:
            raise explain_disk(error, target, file.url, file.entry.size) from error
        except UnreachableError:
            raise
        except SourceError as error:
            raise CheckpointError(str(error)) from error
        self.traffic.add(num_bytes=file.entry.size)
        if folder is None:
            remember(file)
        return path

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
        with self._session().stream("GET", url, headers=headers, timeout=_READ_SECONDS) as response:
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
            data = self._call(file.url, self._read_start, file, size)
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

    def retry(self, where: str, started: float, attempt: int, error: Exception) -> None:
        """Wait before a call is tried again, or raise what the error means where that is of no use.

        Args:
            where: What was asked for.
            started: When it was first tried, by `time.monotonic`.
            attempt: How often it was tried before.
            error: What came of it.

        Raises:
            WsAnalyzeError: If it failed for good, or for too long.
        """
        if (told := explain(where, error)) is not None:
            raise told from tell_cause(error)
        wait = asked_wait(error)
        if wait is None:
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0**attempt) * self._random.uniform(0.75, 1.25)
        patience = self._patience if self._reached or has_answer(error) else min(self._patience, _FIRST_PATIENCE)
        hopeless = is_resized(error) and attempt >= _MAX_RESIZED
        if hopeless or wait > patience - (time.monotonic() - started):
            tries = "once" if attempt == 0 else f"{attempt + 1} times"
            kind = SourceError if is_of_one_file(error) else UnreachableError
            raise kind(f"{where}: {describe(error)}; asked {tries}: try again later") from tell_cause(error)
        with self._lock:
            self._progress(Progress("waiting for the Hub", 0, max(1, round(wait)), "seconds"))
        time.sleep(wait)

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

    def _call(self, where: str, ask: Callable[..., _Result], *arguments: object, **options: object) -> _Result:
        started, attempt = time.monotonic(), 0
        while True:
            self._session()
            try:
                result = ask(*arguments, **options)
            except Exception as error:
                if isinstance(error, OSError) and is_of_disk(error):
                    raise
                self.retry(where, started, attempt, error)
                attempt += 1
            else:
                self._reached = True
                return result

    def _session(self) -> Any:  # noqa: ANN401 - httpx.Client, or httpx2's
        """The session of huggingface_hub, made to count its requests and to wait for none of them for ever."""
        session = utils().get_session()
        hooks = session.event_hooks["request"]
        with self._lock:
            if self._note not in hooks:
                hooks.append(self._note)
        return session

    def _note(self, request: Any) -> None:  # noqa: ANN401 - httpx.Request
        self.traffic.add(num_requests=1)
        limits = request.extensions.get("timeout") or {}
        request.extensions["timeout"] = {
            name: limits.get(name) or (_CONNECT_SECONDS if name == "connect" else _READ_SECONDS)
            for name in ("connect", "read", "write", "pool")
        }


def _make_meter(on_bytes: Callable[[int], None]) -> type:
    """A progress bar for the client that shows nothing and tells of bytes."""

    class Meter(utils().tqdm):  # type: ignore[misc] # comes without types
        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - tqdm's
            kwargs["disable"] = True
            kwargs.pop("name", None)
            super().__init__(*args, **kwargs)

        def update(self, n: float | None = 1) -> bool | None:
            on_bytes(int(n or 0))
            return None

    return Meter
