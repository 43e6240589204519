"""A summary in Markdown, for a model card or a pull request."""

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar, Final

import numpy as np

from wsanalyze.reports.base import Destination
from wsanalyze.reports.files import write_text
from wsanalyze.reports.names import shorten_names
from wsanalyze.reports.summary import (
    count_rows,
    count_unreadable,
    describe_checkpoints,
    describe_place,
    describe_quality,
    describe_size,
    explain_nothing,
    find_ends,
    find_name_prefix,
    group_skips,
    name_row,
    pick_events,
    pick_layers,
)
from wsanalyze.reports.text import format_count, format_number, printable, shorten, sparkline
from wsanalyze.reports.training_log import describe_log
from wsanalyze.trends.base import Trends

_CURVE_WIDTH: Final = 24
_NAME_WIDTH: Final = 60
_SENTENCE_WIDTH: Final = 400
_MAX_CLUSTERS: Final = 20
_MAX_EVENTS: Final = 10
_MAX_REASONS: Final = 6
_MAX_CHOICES: Final = 20

_WORD: Final = re.compile(r"(\(?)(.*?)([.,;:?!%)]*)")
# Everything else is put in code, where no mention, link, reference, markup, mathematics or table can begin.
_PLAIN: Final = re.compile(r"[^\W_]+(?:[.,;%'=/-][^\W_]+)*|[=/-]?")
_ACTIVE: Final = re.compile(r"www\.|gh-\d|(?=\d*[a-f])[0-9a-f]{7,}$", re.IGNORECASE)
_LIST_START: Final = re.compile(r"\d+[.)]|[=-]")


class MarkdownReporter:
    """Writes a summary of a screen or two that GitHub and the Hugging Face Hub show as it is meant.

    Text from files cannot mention people, link, open HTML or break a table: whatever is not a plain word is shown
    as code.

    Args:
        version: Version of wsanalyze.
    """

    suffix: ClassVar[str] = ".md"

    def __init__(self, *, version: str) -> None:
        self._version = version

    def write(self, trends: Trends, destination: Destination) -> None:
        """Write the report; see `Reporter.write`."""
        size, options = describe_size(trends), trends.options
        maker = f"Made with wsanalyze {prose(self._version)}"
        sections = [
            f"## {prose(size[:1].upper() + size[1:])}",
            *_format_trends(trends),
            _format_layers(trends),
            _format_events(trends),
            _format_reading(trends),
            f"{maker}: {code(options.metric)}, {code(options.method)}, seed {options.seed}.",
        ]
        write_text("\n\n".join(section for section in sections if section) + "\n", destination)


def code(text: str, width: int = _NAME_WIDTH) -> str:
    r"""Text as inline code that ends where it should and lies in one cell of a table.

    A backtick would end the code and a bar the cell, whatever stands before it, so they become `\x60` and `\x7c`.
    """
    shown = printable(text).replace("`", r"\x60").replace("|", r"\x7c")
    return f"`{shorten(shown, width) or ' '}`"


def prose(text: str) -> str:
    """A sentence whose plain words stay as they are and whose other words become code."""
    words = shorten(printable(text), _SENTENCE_WIDTH).split()
    if words and _LIST_START.fullmatch(words[0]):
        words[0] = code(words[0])
        return " ".join([words[0], *map(_tame_word, words[1:])])
    return " ".join(map(_tame_word, words))


def _tame_word(word: str) -> str:
    """The word itself where nothing can be read into it, else its inner part as code."""
    matched = _WORD.fullmatch(word)
    opening, inner, closing = matched.groups() if matched else ("", word, "")
    if not _PLAIN.fullmatch(inner) or _ACTIVE.match(inner):
        inner = code(inner)
    return f"{opening}{inner}{closing}"


def _format_table(header: Sequence[str], rows: Iterable[Sequence[str]], alignment: str) -> str:
    rules = {"l": "---", "r": "---:"}
    lines = [header, [rules[side] for side in alignment], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _format_trends(trends: Trends) -> list[str]:
    nothing = explain_nothing(trends)
    sections = [" ".join(prose(sentence) for sentence in ((nothing,) if nothing else trends.headline))]
    if nothing or not trends.clusters:
        return sections
    rows = []
    for cluster in trends.clusters[:_MAX_CLUSTERS]:
        median = np.array([np.nan if value is None else value for value in cluster.median])
        start, end = map(format_number, find_ends(cluster.median))
        curve = code(sparkline(median, _CURVE_WIDTH, linear=trends.options.linear))
        rows.append([str(cluster.id), str(cluster.size), prose(cluster.summary), curve, start, end])
    sections.append(
        _format_table(("cluster", f"{name_row(trends)}s", "trend", "median curve", "start", "end"), rows, "rrllrr")
    )
    remarks = [prose(describe_quality(trends.quality))]
    rest = trends.clusters[_MAX_CLUSTERS:]
    if rest:
        remarks.append(f"{format_count(len(rest), 'more cluster')} not shown.")
    alone = int((trends.labels < 0).sum())
    if alone:
        remarks.append(f"{count_rows(trends, alone)} in no cluster.")
    sections.append(" ".join(remarks))
    return sections


def _format_layers(trends: Trends) -> str:
    if explain_nothing(trends):
        return ""
    values, names, prefix = trends.values, trends.series.names, find_name_prefix(trends)
    picked = pick_layers(trends)
    shown = shorten_names([printable(names[layer.index].removeprefix(prefix)) for layer in picked], _NAME_WIDTH)
    lines = [
        [
            layer.reason,
            code(name),
            code(sparkline(values[layer.index], _CURVE_WIDTH, linear=trends.options.linear)),
            format_number(layer.level),
        ]
        for layer, name in zip(picked, shown, strict=True)
    ]
    if not lines:
        return ""
    noun = name_row(trends)
    table = _format_table(("", noun, "curve", "median"), lines, "lllr")
    remark = f"\n\nNames without {code(prefix)}." if prefix else ""
    return f"### {noun.capitalize()}s that stand out\n\n{table}{remark}"


def _format_events(trends: Trends) -> str:
    events, rest = pick_events(trends, _MAX_EVENTS)
    if not events:
        return ""
    lines = []
    for event in events:
        place = describe_place(trends.series, event.checkpoint)
        lines.append(f"- {prose(place)}: {prose(event.text)}" if place else f"- {prose(event.text)}")
    if rest:
        lines.append(f"- and more: {prose(', '.join(rest))}")
    return "### Events\n\n" + "\n".join(lines)


def _format_reading(trends: Trends) -> str:
    """What was read and what was not, folded into a few bullets."""
    series = trends.series
    lines = [f"- {prose(describe_checkpoints(series))}"]
    log = describe_log(series.log)
    if log:
        lines.append(f"- trainer's log: {prose(log)}")
    groups = group_skips(series)
    lines += [
        f"- skipped {format_count(len(names), 'tensor')}: {prose(reason)}" for reason, names in groups[:_MAX_REASONS]
    ]
    rest = sum(len(names) for _, names in groups[_MAX_REASONS:])
    if rest:
        lines.append(f"- skipped {format_count(rest, 'tensor')} for other reasons")
    unreadable = count_unreadable(series)
    if unreadable:
        lines.append(f"- {unreadable}")
    notes = series.provenance.notes
    lines += [f"- {prose(note)}" for note in notes[:_MAX_CHOICES]]
    if len(notes) > _MAX_CHOICES:
        lines.append(f"- and {format_count(len(notes) - _MAX_CHOICES, 'more note', 'more notes')}")
    return "### What was read\n\n" + "\n".join(lines)
