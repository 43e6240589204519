"""What measuring a listed sequence would take: bytes, requests, memory and time."""

from dataclasses import dataclass

from wsanalyze.files.base import ByteSource
from wsanalyze.hub.plan import REQUESTS_A_FILE, REQUESTS_A_RANGE
from wsanalyze.hub.session import HubSession
from wsanalyze.layers.base import RowMatch
from wsanalyze.reports.listing import ListedFetch, ListedPlan


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How measuring is planned: options of `analyze`.

    Attributes:
        device: "auto", "cpu", "cuda" or "cuda:N".
        memory_bytes: Memory allowed for buffers.
        probe_seconds: How long weights may be read to find out how fast that is.
    """

    device: str
    memory_bytes: int
    probe_seconds: float = 0.5


class Planner:
    """Plans measuring, with what would compute the sums.

    Raises:
        UsageError: If the device or the memory cannot be had.
        MeasureError: If there is no such device.
    """

    def __init__(self, options: PlanOptions) -> None:
        from wsanalyze.changes.devices import find_kernels
        from wsanalyze.changes.plan import check_memory

        check_memory(options.memory_bytes)
        self._options = options
        self._kernels = find_kernels(options.device)

    def plan(self, match: RowMatch | None, source: ByteSource, hub: HubSession | None) -> ListedPlan:
        """What measuring all cells would take; of what lies on the Hub nothing is fetched to find out."""
        from wsanalyze.changes.estimate import Estimate, estimate_measuring

        options, kernels = self._options, self._kernels
        found = Estimate(0, 0, 0, 0)
        if match is not None:
            far = hub is not None
            seconds = options.probe_seconds
            found = estimate_measuring(match, source, kernels, options.memory_bytes, far=far, probe_seconds=seconds)
        return ListedPlan(
            found.nbytes,
            found.num_bands,
            found.num_threads,
            kernels.name,
            found.memory_bytes,
            options.memory_bytes,
            found.seconds,
            found.probe.nbytes,
            found.probe.seconds,
            found.problem,
            None if hub is None or match is None else _plan_fetch(match, hub, found.num_runs or 0),
        )


def _plan_fetch(match: RowMatch, hub: HubSession, num_runs: int) -> ListedFetch:
    """What an analysis would fetch: files that are not on disk yet."""
    from wsanalyze.hub.ranges import HEADED

    files = {
        piece.file.stamp: piece.file
        for tensors in match.tensors
        for info in tensors
        if info is not None
        for piece in info.pieces
    }
    missing = [file for file in files.values() if not hub.files.at_hand(file)]
    in_parts = hub.files.ranges.supported and all(file.url.endswith(HEADED) for file in missing)
    return ListedFetch(
        len(missing),
        sum(file.size for file in missing),
        len(missing) * REQUESTS_A_FILE,
        num_runs * REQUESTS_A_RANGE if in_parts else None,
    )
