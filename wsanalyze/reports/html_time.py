"""The time axes of the HTML report: the changes, and where events lie among them."""

from collections.abc import Mapping
from typing import Any, Final

from wsanalyze.reports.html_marks import mark_of
from wsanalyze.reports.text import printable
from wsanalyze.series import ChangeSeries
from wsanalyze.trends.base import Trends

_MAX_EVENTS: Final = 2000
_LARGEST_EXACT: Final = 2**53
"""Up to which the numbers of JavaScript are exact."""


def list_changes(series: ChangeSeries) -> list[dict[str, Any]]:
    """Each change with the labels of its checkpoints and the step of the later one, as text too where it is long."""
    checkpoints = series.checkpoints
    return [
        {
            "from": printable(checkpoints[before].label),
            "to": printable(checkpoints[after].label),
            **_write_step(checkpoints[after].step),
        }
        for before, after in series.pairs
    ]


def _write_step(step: int | None) -> dict[str, Any]:
    if step is None or abs(step) <= _LARGEST_EXACT:
        return {"step": step}
    return {"step": step, "exact": str(step)}


def list_events(trends: Trends) -> list[dict[str, Any]]:
    """Events as marks on time axes, those of the whole sequence first where there are too many.

    Returns:
        JSON values: the `kind` and the `text` of each, the index of its `layer` or None, and its `place` on an axis
        on which the later side of change p lies at p and the `symbol` that marks it there, both None where it is of no
        checkpoint. What is seen at a checkpoint that no change ends at lies halfway before the next, or half a change
        after the last.
    """
    series = trends.series
    rows = {name: row for row, name in enumerate(series.names)}
    ends = {after: place for place, (_, after) in enumerate(series.pairs)}
    events = sorted(trends.all_events, key=lambda event: event.layer is not None)[:_MAX_EVENTS]
    return [
        {
            "kind": printable(event.kind),
            "layer": None if event.layer is None else rows.get(event.layer),
            "place": None if event.checkpoint is None else _find_place(event.checkpoint, ends),
            "text": printable(event.text),
            "symbol": None if (mark := mark_of(event)) is None else mark.symbol,
        }
        for event in events
    ]


def _find_place(checkpoint: int, ends: Mapping[int, int]) -> float:
    if checkpoint in ends:
        return ends[checkpoint]
    later = [place for after, place in ends.items() if after > checkpoint]
    return min(later) - 0.5 if later else len(ends) - 0.5
