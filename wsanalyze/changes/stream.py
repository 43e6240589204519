"""Bands walked by threads: what they measure comes out in one place, in whatever order it was measured."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import Final

from wsanalyze.changes.base import Band, Batch, Kernel
from wsanalyze.changes.places import Places
from wsanalyze.changes.plan import Plan
from wsanalyze.changes.walk import BandWalker
from wsanalyze.files.base import ByteSource

_LOOK_SECONDS: Final = 0.1
_MAX_WAITING: Final = 4
"""Most results that wait to be kept, for each thread: nobody runs ahead of what a kill would leave."""


def stream_changes(
    plan: Plan,
    places: Places,
    source: ByteSource,
    make_kernel: Callable[[int], Kernel],
    on_bytes: Callable[[int], None],
) -> Iterator[Batch]:
    """Walk all bands of a plan and yield what is measured.

    Args:
        plan: The bands, and how many threads walk them.
        places: Where the tensors lie.
        source: Where the bytes come from; asked by all threads at once where the plan has several.
        make_kernel: Makes the kernel of the Nth thread, in that thread.
        on_bytes: Told how many bytes were read, now and then; called in the thread that iterates.

    Yields:
        The sums of segments, one batch for each band and pair.

    Raises:
        FailedCheckpointError: If a checkpoint cannot be read, or was changed meanwhile.
    """
    small = [band for band in plan.bands if band.nbytes <= plan.room]
    large = [band for band in plan.bands if band.nbytes > plan.room]
    if plan.num_threads > 1 and len(small) > 1:
        yield from _Threads(plan, places, source, make_kernel, small).run(on_bytes)
        small = []
    if small or large:
        walker = BandWalker(places, plan, source, make_kernel(0), on_bytes)
        for band in (*small, *large):
            yield from walker.walk(band)


class _Threads:
    """Threads that take one band after another, and the queue that they put what they measured in."""

    def __init__(
        self,
        plan: Plan,
        places: Places,
        source: ByteSource,
        make_kernel: Callable[[int], Kernel],
        bands: Sequence[Band],
    ) -> None:
        self._plan = plan
        self._places = places
        self._source = source
        self._make_kernel = make_kernel
        self._bands = iter(bands)
        self._taking = threading.Lock()
        self._stopped = threading.Event()
        # Either a batch, a number of bytes that were read, or None from a thread that has ended.
        self._results: Queue[Batch | int | None] = Queue(_MAX_WAITING * plan.num_threads)

    def run(self, on_bytes: Callable[[int], None]) -> Iterator[Batch]:
        num_threads = self._plan.num_threads
        with ThreadPoolExecutor(num_threads, thread_name_prefix="band") as pool:
            try:
                threads = [pool.submit(self._work, index) for index in range(num_threads)]
                num_running = num_threads
                while num_running:
                    try:
                        result = self._results.get(timeout=_LOOK_SECONDS)
                    except Empty:
                        if self._stopped.is_set() and all(thread.done() for thread in threads):
                            break
                        continue
                    if result is None:
                        num_running -= 1
                    elif isinstance(result, int):
                        on_bytes(result)
                    else:
                        yield result
            finally:
                self._stopped.set()  # and then no thread waits for room in the queue any more
            for thread in threads:
                thread.result()

    def _work(self, index: int) -> None:
        try:
            walker = BandWalker(self._places, self._plan, self._source, self._make_kernel(index), self._put)
            while (band := self._take()) is not None:
                for batch in walker.walk(band):
                    self._put(batch)
                    if self._stopped.is_set():
                        return
        except BaseException:
            self._stopped.set()  # the others need not go on
            raise
        finally:
            self._put(None)

    def _put(self, result: Batch | int | None) -> None:
        """Hand on a result, unless nobody wants any."""
        while not self._stopped.is_set():
            with suppress(Full):
                self._results.put(result, timeout=_LOOK_SECONDS)
                return

    def _take(self) -> Band | None:
        with self._taking:
            return None if self._stopped.is_set() else next(self._bands, None)
