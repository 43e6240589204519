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
from wsanalyze.hub.digests import has_digest
from wsanalyze.hub.failures import (
    RETRIED_STATUSES,
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
from wsanalyze.hub.huggingface import library, utils
from wsanalyze.hub.memory import HubMemory
from wsanalyze.hub.partial import Arrival, complete_partial, keep_partial, make_meter, measure_partial, small_chunks
from wsanalyze.hub.records import HubFile, Revision, TreeFile
from wsanalyze.progress import Progress, ProgressCallback, silent

PATIENCE_SECONDS: Final = 900.0
"""How long a call is tried again, in all, before it is given up."""
_FIRST_PATIENCE: Final = 10.0
"""The same while the Hub was not reached at all: a network that is not there does not come by waiting."""
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 30.0
_MAX_RESIZED: Final = 3
_LIFE_BYTES: Final = 65_536
"""What must come of a file until it is tried again as long as at first."""
_CONNECT_SECONDS: Final = 10.0
_READ_SECONDS: Final = 30.0

_Result = TypeVar("_Result")


@dataclass(slots=True)
class Traffic:
    """What was asked of the Hub: requests sent (redirects followed among them) and bytes of files received.

    `num_whole` counts what came to its end: files, and parts of files.
    """

    num_requests: int = 0
    num_bytes: int = 0
    num_whole: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, num_requests: int = 0, num_bytes: int = 0, num_whole: int = 0) -> None:
        """Count some more."""
        with self.lock:
            self.num_requests += num_requests
            self.num_bytes += num_bytes
            self.num_whole += num_whole


class _Asking(threading.local):
    """What the thread at hand asks for: nobody else's requests are meddled with.

    Attributes:
        active: Whether a request of ours is on its way.
        answered: Whether the last try got an answer, of whatever kind.
        refused: What the server said where it is to be asked again later.
        file: The file that it was for, if it was for one.
    """

    active = False
    answered = False
    refused: Exception | None = None
    file: HubFile | None = None


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
        self._asking = _Asking()
        self._cut: tuple[HubFile, int] | None = None
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
            request = self._session().stream("GET", url, headers=headers, timeout=_READ_SECONDS)
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
        answered = self._asking.answered or has_answer(error)
        patience = self._patience if self._reached or answered else min(self._patience, _FIRST_PATIENCE)
        hopeless = is_resized(error) and attempt >= _MAX_RESIZED
        if hopeless or wait > patience - (time.monotonic() - started):
            tries = "once" if attempt == 0 else f"{attempt + 1} times"
            raise self._blame(error)(f"{where}: {describe(error)}; asked {tries}: try again later") from tell_cause(
                error
            )
        with self._lock:
            self._progress(Progress("waiting for the Hub", 0, max(1, round(wait)), "seconds"))
        time.sleep(wait)

    def _blame(self, error: Exception) -> type[SourceError]:
        """Whether a failure is that of one file, or of all: of two files in a row that are cut, the way is to blame."""
        asking = self._asking
        if is_of_one_file(error):
            return SourceError
        if asking.file is None or not asking.answered or has_answer(error):
            return UnreachableError
        with self._lock:
            before, self._cut = self._cut, (asking.file, self.traffic.num_whole)
        another = before is not None and before[0] != asking.file and before[1] == self.traffic.num_whole
        return UnreachableError if another else SourceError

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
        return self._repeat(where, None, lambda _: ask(*arguments, **options), None)

    def _call_for(self, file: HubFile, ask: Callable[[bool], _Result], arrival: Arrival | None = None) -> _Result:
        result = self._repeat(file.url, file, ask, arrival)
        self.traffic.add(num_whole=1)
        return result

    def _repeat(
        self, where: str, file: HubFile | None, ask: Callable[[bool], _Result], arrival: Arrival | None
    ) -> _Result:
        """Ask until there is a result, which it is told whether it failed before; a file that gets on is no failure."""
        started, attempt, before, again = time.monotonic(), 0, 0, False
        while True:
            self._session()
            try:
                with self._asking_for(file):
                    result = ask(again)
            except Exception as error:
                if isinstance(error, OSError) and is_of_disk(error):
                    raise
                if arrival is not None and arrival.most >= before + _LIFE_BYTES:
                    started, attempt, before = time.monotonic(), 0, arrival.most
                self.retry(where, started, attempt, error)
                attempt, again = attempt + 1, True
            else:
                self._reached = True
                return result

    @contextlib.contextmanager
    def _asking_for(self, file: HubFile | None) -> Iterator[None]:
        """Mark the requests of this thread as ours; one in another counts for that."""
        asking = self._asking
        before = asking.active
        asking.active = True
        if not before:
            asking.answered, asking.refused, asking.file = False, None, file
        try:
            yield
        finally:
            asking.active = before

    def _session(self) -> Any:  # noqa: ANN401 - httpx.Client, or httpx2's
        """The session of huggingface_hub, made to count its requests and to wait for none of them for ever."""
        session = utils().get_session()
        hooks = session.event_hooks
        with self._lock:
            for kind, hook in (("request", self._note), ("response", self._heed)):
                if hook not in hooks[kind]:
                    hooks[kind].append(hook)
        return session

    def _heed(self, response: Any) -> None:  # noqa: ANN401 - httpx.Response
        """Raise what may pass, before huggingface_hub waits for it in silence and beyond our patience."""
        if self._asking.active:
            self._asking.answered = True
            if response.status_code in RETRIED_STATUSES:
                told = f"status {response.status_code}"
                self._asking.refused = self._hub.errors.HfHubHTTPError(told, response=response)
                raise self._asking.refused

    def _note(self, request: Any) -> None:  # noqa: ANN401 - httpx.Request
        if self._asking.active and self._asking.refused is not None:
            raise self._asking.refused  # the client would ask a second time at once
        self.traffic.add(num_requests=1)
        limits = request.extensions.get("timeout") or {}
        request.extensions["timeout"] = {
            name: limits.get(name) or (_CONNECT_SECONDS if name == "connect" else _READ_SECONDS)
            for name in ("connect", "read", "write", "pool")
        }
