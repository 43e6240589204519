"""What a notebook shows of a run: its headline, its clusters and their curves, in HTML that loads nothing."""

import base64
import html
from typing import Final

import numpy as np

from wsanalyze.causes import explain_import
from wsanalyze.reports.figures.scale import near_ends
from wsanalyze.reports.figures.write import render_svg
from wsanalyze.reports.palette import MARKS, OUTLIER_MARK, colour_of
from wsanalyze.reports.summary import count_rows, describe_checkpoints, describe_size, explain_nothing
from wsanalyze.reports.text import format_number, printable
from wsanalyze.reports.trend_names import name_trend
from wsanalyze.trends.base import Trends

_WIDTH: Final = 6.0
_MOST_CLUSTERS: Final = 12


def render_summary(trends: Trends) -> str:
    """Trends in short: sentences, a table of the clusters, and their curves (without any, the heatmap).

    Args:
        trends: What to show; nothing in it needs to be printable.

    Returns:
        HTML without scripts or style sheets. The figure is an SVG image within it.
    """
    nothing = explain_nothing(trends)
    first, *others = [nothing] if nothing else [*trends.headline, trends.quality.text]
    parts = [f"<p><strong>{_text(first)}</strong> {_text(' '.join(others))}</p>"]
    parts += [f"<p>{_text(describe_size(trends))}; {_text(describe_checkpoints(trends.series))}.</p>"]
    if not nothing:
        parts += [_list_clusters(trends), _show_figure(trends)]
    return f"<div>{''.join(parts)}</div>"


def render_problem(what: str, why: str) -> str:
    """A run whose trends cannot be found, and why."""
    return f"<div><p><strong>{_text(what)}</strong></p><p>{_text(why)}</p></div>"


def _list_clusters(trends: Trends) -> str:
    largest = sorted(trends.clusters, key=lambda cluster: -cluster.size)[:_MOST_CLUSTERS]
    lines = [
        _line(
            MARKS[cluster.id % len(MARKS)],
            cluster.id,
            str(cluster.id),
            str(cluster.size),
            name_trend(cluster) if cluster.kind is None else f"{cluster.kind}: {name_trend(cluster)}",
            format_number(_find_level(cluster.median)),
        )
        for cluster in sorted(largest, key=lambda cluster: cluster.id)
    ]
    rest = len(trends.clusters) - len(largest)
    if rest:
        lines.append(_line("", -1, "", "", f"and {rest} smaller clusters", ""))
    alone = int((trends.labels < 0).sum())
    if alone:
        outliers = int((trends.outliers & (trends.labels < 0)).sum())
        lines.append(
            _line(OUTLIER_MARK, -1, "none", str(alone), f"{count_rows(trends, outliers)} unlike the others", "")
        )
    titles = "".join(f"<th>{title}</th>" for title in ("", "cluster", f"{trends.options.noun}s", "trend", "median"))
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _line(mark: str, cluster: int, *texts: str) -> str:
    cells = "".join(f'<td style="text-align:left">{_text(text)}</td>' for text in texts)
    return f'<tr><td style="color:{colour_of(cluster)}">{mark}</td>{cells}</tr>'


def _find_level(median: tuple[float | None, ...]) -> float | None:
    numbers = [value for value in median if value is not None]
    return float(np.median(numbers)) if numbers else None


def _show_figure(trends: Trends) -> str:
    name = "curves" if trends.clusters else "heatmap"
    try:
        image = base64.b64encode(render_svg(trends, name, _WIDTH)).decode()
    except Exception as error:
        why = explain_import(error)
        if why is None and isinstance(error, ValueError | OverflowError) and near_ends(trends.values):
            why = "numbers near the ends of floats, where an axis ends"
        if why is None:
            raise
        return f"<p>There is no figure: {_text(why)}.</p>"
    words = f"{name.capitalize()}: {describe_size(trends)}"
    return f'<img style="max-width:100%" alt="{_text(words)}" src="data:image/svg+xml;base64,{image}">'


def _text(text: str) -> str:
    return html.escape(printable(text))
