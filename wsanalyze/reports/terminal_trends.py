"""What moves together and what stands out: the middle of the terminal report."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from wsanalyze.reports.course import SURE, find_rivalled, find_unsure, name_unsure
from wsanalyze.reports.summary import StandoutLayer, count_rows, find_ends, find_name_prefix, name_row, pick_layers
from wsanalyze.reports.terminal_page import INDENT, Cell, Page
from wsanalyze.reports.text import format_count, format_number, sparkline, text_width
from wsanalyze.reports.trend_names import count_trends, name_trend
from wsanalyze.sentences import list_names
from wsanalyze.trends.base import Cluster, Trends

_WIDE: Final = 120  # columns from which on tables have more of them
_NUMBER_WIDTH: Final = 8
_SURE_WIDTH: Final = len("confidence")
_GAP: Final = 2
_FEWEST_COLUMNS: Final = 12
_MAX_CLUSTERS: Final = 10
_MAX_OF_KINDS: Final = 16
_MAX_MEMBERS: Final = 8
_UNSURE_WIDTH: Final = len(" (0.00 in 00) and 10000 more")


def add_clusters(page: Page, trends: Trends) -> None:
    """A table of the clusters with their members, who is unsure of its own, and who is in none."""
    if not trends.clusters:
        page.add_paragraph(f"No {name_row(trends)} is in a cluster.")
        return
    _add_table(page, trends)
    _add_unsure(page, trends)
    prefix = find_name_prefix(trends)
    alone = [
        name.removeprefix(prefix) for name, label in zip(trends.series.names, trends.labels, strict=True) if label < 0
    ]
    if alone:
        lead = f"{count_rows(trends, len(alone))} in no cluster: "
        text = page.join_names(alone, _MAX_MEMBERS, page.width - INDENT, 3, lead=lead)
        page.add_paragraph(text, style="dim", max_lines=3)
    marks = page.marks
    scale, still = ("linear", "") if trends.options.linear else ("log", f"{marks.zero} unchanged, ")
    page.add_paragraph(f"Curves: {scale} scale, each with its own; {still}{marks.gap} no number.", style="dim")


def _add_table(page: Page, trends: Trends) -> None:
    shown = trends.clusters[: _MAX_OF_KINDS if trends.kinds else _MAX_CLUSTERS]
    num_changes = len(trends.series.pairs)
    noun = f"{name_row(trends)}s"
    sure = [_SURE_WIDTH] * (page.width >= _WIDE and bool(find_rivalled(trends)))
    fixed = INDENT + 3 + len(noun) + 2 * _NUMBER_WIDTH + 5 * _GAP + sum(sure) + _GAP * len(sure)
    longest = max(text_width(page.shorten(name_trend(cluster), page.width)) for cluster in shown)
    words, curve = _share_width(page.width - fixed, longest, num_changes)
    widths = (3, len(noun), words, curve, _NUMBER_WIDTH, _NUMBER_WIDTH, *sure)
    _add_row(page, ("", noun, count_trends(trends)[1], "median", "start", "end", "confidence"), widths, "dim")
    kind = None
    for cluster in shown:
        if cluster.kind is not None and cluster.kind != kind:
            page.add_paragraph(f"{cluster.kind}:", style="bold", max_lines=1)
        kind = cluster.kind
        median = np.array([np.nan if value is None else value for value in cluster.median])
        line = sparkline(median, curve, ascii=page.ascii, linear=trends.options.linear)
        start, end = map(format_number, find_ends(cluster.median))
        confidence = _describe_confidence(trends, cluster)
        _add_row(page, (str(cluster.id), str(cluster.size), name_trend(cluster), line, start, end, confidence), widths)
        _add_members(page, trends, cluster)
    rest = trends.clusters[len(shown) :]
    if rest:
        num_rows = count_rows(trends, sum(cluster.size for cluster in rest))
        page.add_paragraph(
            f"and {format_count(len(rest), 'more cluster', 'more clusters')} with {num_rows}", style="dim"
        )


def _describe_confidence(trends: Trends, cluster: Cluster) -> str:
    """How clearly the members belong there, in the median; "-" where there is nowhere else."""
    if cluster.id not in find_rivalled(trends):
        return "-"
    known = trends.confidence[list(cluster.members)]
    known = known[np.isfinite(known)]
    return f"{np.median(known):.2f}" if known.size else "-"


def _add_unsure(page: Page, trends: Trends) -> None:
    """Rows that could as well be elsewhere, as many as fit."""
    unsure = find_unsure(trends)
    if not unsure:
        return
    prefix, names = find_name_prefix(trends), trends.series.names
    shown = unsure[:_MAX_MEMBERS]
    room = page.width - INDENT - _UNSURE_WIDTH
    shortened = page.shorten_names([names[layer.index].removeprefix(prefix) for layer in shown], room)
    lead = f"{count_rows(trends, len(unsure))} unsure (confidence below {SURE}): "
    told = [*name_unsure(trends, shown, shortened), *[""] * (len(unsure) - len(shown))]
    text = page.join_names(told, _MAX_MEMBERS, page.width - INDENT, 3, lead=lead)
    page.add_paragraph(text, style="dim", max_lines=3)


def _share_width(room: int, longest: int, num_changes: int) -> tuple[int, int]:
    """Columns for words and for a curve: words have what they need, the curve what is left but a readable part."""
    fewest = min(max(num_changes, len("median")), _FEWEST_COLUMNS, room // 2)
    words = min(max(longest, len("trend")), max(1, room - fewest))
    return words, max(1, min(max(num_changes, len("median")), room - words))


def _add_row(page: Page, texts: tuple[str, ...], widths: tuple[int, ...], style: str = "") -> None:
    """A line of the table of clusters, as many of its texts as there are widths: numbers to the right, words left."""
    rights = (True, True, False, False, True, True, True)
    styles = ("bold", "", "", "cyan", "", "", "")
    lines = (1, 1, 4, 1, 1, 1, 1)
    page.add_cells(
        [
            Cell(text, width, style or own, right, max_lines)
            for text, width, own, right, max_lines in zip(texts, widths, styles, rights, lines, strict=False)
        ]
    )


def _add_members(page: Page, trends: Trends, cluster: Cluster) -> None:
    """What the members are, and a line or two with as many of their names as fit."""
    prefix, names = find_name_prefix(trends), trends.series.names
    indent = INDENT + 3 + _GAP + len(f"{name_row(trends)}s") + _GAP  # below the trend
    members = [names[index].removeprefix(prefix) for index in cluster.members]
    text = page.join_names(members, _MAX_MEMBERS, page.width - indent, 2)
    full = [names[index] for index in cluster.members]
    if cluster.makeup and cluster.makeup not in (text, ", ".join(full), list_names(full)):
        page.add_paragraph(cluster.makeup, indent=indent, max_lines=2)
    page.add_paragraph(text, indent=indent, style="dim", max_lines=2)


def _describe_layers(
    trends: Trends, picked: Sequence[StandoutLayer], *, wide: bool
) -> tuple[list[list[Cell]], list[list[Cell]]]:
    """Columns of the table of layers, each with its title first: those left of the curve, and those right of it.

    Where there is room for it, each layer has its kind, its cluster and its ends as well.
    """
    reasons = ["", *(layer.reason for layer in picked)]
    left = [_make_column(reasons, "dim")]
    right = [["median", *(format_number(layer.level) for layer in picked)]]
    if wide:
        indices = [layer.index for layer in picked]
        labels = trends.labels[indices].tolist()
        left.append(_make_column(["kind", *(str(trends.series.rows[index].kind) for index in indices)]))
        left.append(_make_column(["cluster", *("-" if label < 0 else str(label) for label in labels)], right=True))
        ends = [("start", "end"), *(map(format_number, find_ends(trends.values[index])) for index in indices)]
        right += [list(column) for column in zip(*ends, strict=True)]
    return left, [[Cell(text, _NUMBER_WIDTH, right=True) for text in texts] for texts in right]


def _make_column(texts: Sequence[str], style: str = "", *, right: bool = False) -> list[Cell]:
    width = max(map(len, texts))
    return [Cell(text, width, style, right) for text in texts]


def add_layers(page: Page, trends: Trends) -> None:
    """A table of the rows that a reader should look at."""
    picked = pick_layers(trends)
    if not picked:
        return
    page.add_heading(f"{name_row(trends).capitalize()}s that stand out, by their median")
    values, prefix = trends.values, find_name_prefix(trends)
    full = [trends.series.names[layer.index].removeprefix(prefix) for layer in picked]
    longest = max(text_width(page.shorten(name, page.width)) for name in full)
    for wide in (True, False) if page.width >= _WIDE else (False,):
        left, right = _describe_layers(trends, picked, wide=wide)
        room = page.width - INDENT - sum(column[0].width + _GAP for column in (*left, *right)) - _GAP
        words, curve = _share_width(room, max(map(text_width, page.shorten_names(full, room))), values.shape[1])
        if words >= longest:  # whole names come before more columns
            break
    names = [Cell(name, words) for name in (name_row(trends), *page.shorten_names(full, words))]
    marks = [sparkline(values[layer.index], curve, ascii=page.ascii, linear=trends.options.linear) for layer in picked]
    curves = [Cell(line, curve, "cyan") for line in ("curve", *marks)]
    header, *lines = zip(left[0], names, *left[1:], curves, *right, strict=True)
    if wide:
        page.add_cells([replace(cell, style="dim") for cell in header])
    for cells in lines:
        page.add_cells(cells)
    num_hidden = int(trends.outliers.sum()) - sum("outlier" in layer.reason for layer in picked)
    if num_hidden > 0:
        page.add_paragraph(f"and {format_count(num_hidden, 'more outlier', 'more outliers')}", style="dim")
