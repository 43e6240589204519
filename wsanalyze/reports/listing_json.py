"""The list of checkpoints as JSON, for programs."""

from typing import Any, Final

from wsanalyze.reports.base import Destination
from wsanalyze.reports.files import write_text
from wsanalyze.reports.json_text import dump_document
from wsanalyze.reports.listing import ListedCheckpoint, ListedPlan, Listing

FORMAT_VERSION: Final = 1
"""Raised by any change that is not additive."""


def write_json(listing: Listing, version: str, destination: Destination) -> None:
    """Write a listing as JSON; the format is in docs/cli.md.

    Raises:
        ReportError: If it cannot be written.
    """
    document = {
        "format": FORMAT_VERSION,
        "wsanalyze": version,
        "source": listing.source,
        "weights": listing.weights,
        "params": listing.params,
        "checkpoints": [_checkpoint(checkpoint) for checkpoint in listing.checkpoints],
        "rows": {"some": listing.num_rows, "all": listing.num_everywhere},
        "skipped": [{"name": skip.name, "reason": skip.reason} for skip in listing.skips],
        "events": [
            {"kind": e.kind, "layer": e.layer, "checkpoint": e.checkpoint, "text": e.text, "evidence": dict(e.evidence)}
            for e in listing.events
        ],
        "notes": listing.notes,
    }
    if listing.plan is not None:
        document["plan"] = _plan(listing.plan)
    write_text(dump_document(document.items()), destination)


def _checkpoint(checkpoint: ListedCheckpoint) -> dict[str, Any]:
    return {
        "step": checkpoint.step,
        "label": checkpoint.label,
        "origin": checkpoint.origin,
        "status": checkpoint.status,
        "reason": checkpoint.reason,
        "format": checkpoint.format,
        "nbytes": checkpoint.nbytes,
        "tensors": checkpoint.num_tensors,
        "rows": checkpoint.num_rows,
        "dtypes": dict(checkpoint.dtypes),
    }


def _plan(plan: ListedPlan) -> dict[str, Any]:
    probed = {"nbytes": plan.probe_bytes, "seconds": plan.probe_seconds} if plan.probe_bytes else None
    return {
        "nbytes": plan.nbytes,
        "bands": plan.num_bands,
        "threads": plan.num_threads,
        "kernel": plan.kernel,
        "memory": {"buffers": plan.buffer_bytes, "allowed": plan.memory_bytes},
        "seconds": plan.seconds,
        "probe": probed,
        "problem": plan.problem,
        "hub": None
        if plan.fetch is None
        else {
            "files": plan.fetch.num_files,
            "nbytes": plan.fetch.nbytes,
            "requests": {"files": plan.fetch.file_requests, "ranges": plan.fetch.range_requests},
        },
    }
