"""Calls of the Hub: each tried again until it succeeds, fails for good, or patience is at an end; and all counted.

huggingface_hub sends the requests. What it does not do is added through its session: a time limit for every request,
retries under one limit for all of them, which are told of, and a count of what was asked for. Requests that others
send through it in the same process are counted, and not meddled with.
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from wsanalyze.errors import SourceError
from wsanalyze.hub.failures import (
    RETRIED_STATUSES,
    UnreachableError,
    asked_wait,
    describe,
    explain,
    has_answer,
    is_of_disk,
    is_of_one_file,
    is_resized,
    tell_cause,
)
from wsanalyze.hub.huggingface import library, utils
from wsanalyze.hub.partial import Arrival
from wsanalyze.hub.records import HubFile
from wsanalyze.progress import Progress, ProgressCallback

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


class HubCalls:
    """Asks the Hub, with patience.

    Args:
        progress: Told of waits.
        patience_seconds: How long a call is tried again.

    Attributes:
        traffic: What was asked for so far.
    """

    def __init__(self, progress: ProgressCallback, patience_seconds: float) -> None:
        self._hub = library()
        self._progress = progress
        self._patience = patience_seconds
        self.traffic = Traffic()
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
