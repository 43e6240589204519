"""What was read and what was not: the first parts of the terminal report."""

from collections.abc import Sequence
from typing import Final

from wsanalyze.reports.summary import (
    count_states,
    describe_checkpoints,
    explain_nothing,
    find_name_prefix,
    find_unreadable_rows,
    group_skips,
)
from wsanalyze.reports.terminal_page import Page
from wsanalyze.reports.text import format_count
from wsanalyze.reports.training_log import describe_log
from wsanalyze.series import CheckpointRecord
from wsanalyze.trends.base import Trends

_LABEL_WIDTH: Final = 10
_MAX_REASONS: Final = 4
_MAX_NAMED: Final = 30
_MAX_LABEL_LINES: Final = 6
_MAX_CHOICES: Final = 20


def add_checkpoints(page: Page, trends: Trends) -> None:
    """Which checkpoints were compared, which were not and why, and what was noted on the way."""
    series = trends.series
    page.add_heading("Checkpoints")
    if series.provenance.source:
        _add_list(page, "from", series.provenance.source, 3)
    page.add_item("read", describe_checkpoints(series), label_width=_LABEL_WIDTH)
    labels = page.shorten_names([record.label for record in series.checkpoints], page.item_room(_LABEL_WIDTH) - 1)
    page.add_item("in order", _list_ends(labels), label_width=_LABEL_WIDTH, max_lines=6)
    log = describe_log(series.log)
    if log:
        page.add_item("log", log, label_width=_LABEL_WIDTH)
    _add_left_out(page, series.checkpoints, "duplicate", num_reasons=_MAX_REASONS, num_labels=3)
    _add_left_out(page, series.checkpoints, "unreadable", num_reasons=_MAX_NAMED, num_labels=_MAX_NAMED, style="red")
    prefix = find_name_prefix(trends)
    rows = [name.removeprefix(prefix) for name in find_unreadable_rows(series)]
    if rows:
        lead = f"{format_count(len(rows), 'tensor')} in some checkpoint: "
        _add_list(page, "unreadable", rows, _MAX_NAMED, lead=lead, style="red", max_lines=12)
    states = count_states(trends)
    if states and not explain_nothing(trends):
        page.add_item("states", f"{', '.join(states)} of {series.states.size} cells", label_width=_LABEL_WIDTH)
    if prefix:
        page.add_item("names", f"in lists and tables without {prefix}", label_width=_LABEL_WIDTH)
    notes = series.provenance.notes
    for note in notes[:_MAX_CHOICES]:
        page.add_item("note", note, label_width=_LABEL_WIDTH, max_lines=8)
    if len(notes) > _MAX_CHOICES:
        text = f"and {format_count(len(notes) - _MAX_CHOICES, 'more note', 'more notes')}"
        page.add_item("note", text, label_width=_LABEL_WIDTH)


def _add_list(
    page: Page,
    label: str,
    names: Sequence[str],
    limit: int,
    *,
    lead: str = "",
    tail: str = "",
    style: str = "",
    max_lines: int = 3,
) -> None:
    """An item with as many names as fit and how many more there are."""
    text = page.join_names(names, limit, page.item_room(_LABEL_WIDTH), max_lines, lead=lead, tail=tail)
    page.add_item(label, text, label_width=_LABEL_WIDTH, style=style, max_lines=max_lines)


def _list_ends(labels: list[str]) -> str:
    first, last = 3, 2
    if len(labels) <= first + last + 1:
        return ", ".join(labels)
    return ", ".join([*labels[:first], "...", *labels[-last:]])


def _add_left_out(
    page: Page,
    records: tuple[CheckpointRecord, ...],
    status: str,
    *,
    num_reasons: int,
    num_labels: int,
    style: str = "",
) -> None:
    """Checkpoints that take no part, those with the same reason together."""
    groups: dict[str, list[str]] = {}
    for record in records:
        if record.status == status:
            groups.setdefault(record.reason or "no reason known", []).append(record.label)
    for reason, labels in list(groups.items())[:num_reasons]:
        _add_list(page, status, labels, num_labels, tail=f": {reason}", style=style, max_lines=_MAX_LABEL_LINES)
    rest = sum(len(labels) for labels in list(groups.values())[num_reasons:])
    if rest:
        page.add_item(status, f"and {rest} more", label_width=_LABEL_WIDTH, style=style)


def add_skipped(page: Page, trends: Trends) -> None:
    """Which tensors are in no row, those with the same reason together."""
    groups = group_skips(trends.series)
    if not groups:
        return
    page.add_heading(f"Skipped: {format_count(len(trends.series.skips), 'tensor')}")
    prefix = find_name_prefix(trends)
    for reason, names in groups[:_MAX_REASONS]:
        shown = [name.removeprefix(prefix) for name in names]
        _add_list(page, str(len(names)), shown, 3, lead=f"{reason}: ")
    rest = groups[_MAX_REASONS:]
    if rest:
        text = f"for {format_count(len(rest), 'other reason')}"
        page.add_item(str(sum(len(names) for _, names in rest)), text, label_width=_LABEL_WIDTH)
