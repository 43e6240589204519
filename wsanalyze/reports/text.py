"""Text that is safe to show and short enough to fit: names from files made harmless, numbers, sparklines."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Characters that Python calls printable and that show nothing: a name could hide in them, or behind them.
_BLANK: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, range(0xFE00, 0xFE10)))
    + "".join(map(chr, range(0xE0100, 0xE01F0)))
)
_WIDE: Final = frozenset("WF")
_SMALLEST_PLAIN: Final = 1e-3
_LARGEST_PLAIN: Final = 1e5
_BYTE_UNITS: Final = ("kB", "MB", "GB", "TB", "PB", "EB")
# A curve that stays within this factor is drawn flatter than the full height, so that noise does not look like a trend.
_SMALLEST_RANGE: Final = 4.0
_SMALLEST_SPAN: Final = 0.5


@dataclass(frozen=True, slots=True)
class SparklineMarks:
    """The characters of a sparkline.

    Attributes:
        levels: From the lowest to the highest.
        zero: A value of exactly 0, which has no place on a log scale.
        gap: No number.
    """

    levels: str
    zero: str
    gap: str


BLOCK_MARKS: Final = SparklineMarks("▁▂▃▄▅▆▇█", "_", "·")
ASCII_MARKS: Final = SparklineMarks("12345678", "0", ".")


def printable(text: str, encoding: str = "utf-8") -> str:
    r"""Make every character visible and inert.

    Control codes, line ends, bidirectional overrides, zero-width and blank characters, spaces other than the plain
    one, unassigned code points and lone surrogates become `\x1b`, `\u202e` and so on.

    Args:
        text: Any text, from anywhere.
        encoding: What the text must be written in; characters that it does not have are made visible likewise.

    Returns:
        One line of printable characters; a text that is so already is returned as it is.
    """
    shown = text
    if not (text.isprintable() and _BLANK.isdisjoint(text)):
        shown = "".join(c if c.isprintable() and c not in _BLANK else _escape(c) for c in text)
    return shown.encode(encoding, errors="backslashreplace").decode(encoding)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def text_width(text: str) -> int:
    """Columns that a printable text takes in a terminal at most: two for wide characters, one for all others."""
    return len(text) + sum(unicodedata.east_asian_width(character) in _WIDE for character in text)


def shorten(text: str, width: int, ellipsis: str = "…") -> str:
    """Take the middle out of a text that is too wide; both ends of a layer's name tell it from others.

    Args:
        text: A printable text.
        width: Columns that there are, at least 0.
        ellipsis: What stands for the middle.

    Returns:
        The text itself where it fits, else its start and its end around the ellipsis; never wider than `width`.
    """
    if text_width(text) <= width:
        return text
    room = width - text_width(ellipsis)
    if room <= 0:
        return _take(ellipsis, width)
    tail = _take(text[::-1], room // 2)[::-1]
    return _take(text, room - text_width(tail)) + ellipsis + tail


def wrap_words(text: str, width: int, max_lines: int, ellipsis: str = "…") -> list[str]:
    """Break a text into lines between its words.

    Args:
        text: A printable text.
        width: Columns of a line, at least 1.
        max_lines: Lines that there are, at least 1.
        ellipsis: What stands for text that is left out.

    Returns:
        1 to `max_lines` lines, none wider than `width`. A word wider than a line loses its own middle, a text that
        needs more lines its end: words never run together.
    """
    lines: list[str] = []
    used = width
    for word in text.split(" "):
        shown = shorten(word, width, ellipsis)
        needed = text_width(shown)
        if lines and used + 1 + needed <= width:
            lines[-1] += f" {shown}"
            used += 1 + needed
        else:
            lines.append(shown)
            used = needed
    if len(lines) <= max_lines:
        return lines
    return [*lines[: max_lines - 1], _cut_end(lines[max_lines - 1], width, ellipsis)]


def _cut_end(line: str, width: int, ellipsis: str) -> str:
    """The line with an ellipsis for what would follow, without its last words where there is no room."""
    while text_width(line) + 1 + text_width(ellipsis) > width:
        line, space, _ = line.rpartition(" ")
        if not space:
            return _take(ellipsis, width)
    return f"{line} {ellipsis}"


def _take(text: str, width: int) -> str:
    """The longest start of a text that fits."""
    used = 0
    for index, character in enumerate(text):
        used += text_width(character)
        if used > width:
            return text[:index]
    return text


def format_number(value: float | None) -> str:
    """Three significant digits, readable from far: `0.0123`, `1.23`, `4567`, `1.23e-5`; `-` for no number."""
    if value is None or not np.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    power = int(exponent)
    if not _SMALLEST_PLAIN <= abs(float(f"{value:.2e}")) < _LARGEST_PLAIN:
        return f"{mantissa}e{power}"
    return f"{value:.{max(0, 2 - power)}f}"


def format_bytes(num_bytes: int) -> str:
    """A size in decimal units, three significant digits: `999 B`, `1.23 MB`, `45.6 GB`."""
    size, unit = float(num_bytes), "B"
    for larger in _BYTE_UNITS:
        # 999.5 of a unit would be rounded to four digits
        if abs(size) < 999.5:  # noqa: PLR2004
            break
        size, unit = size / 1000.0, larger
    if unit == "B":
        return f"{num_bytes} B"
    power = int(f"{size:.2e}".partition("e")[2])
    return f"{size:.{max(0, 2 - power)}f} {unit}"


def format_share(share: float) -> str:
    """A share in percent, as one says it: `0.5 %`, `2.5 %`, `12 %`, `0 %`."""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.2g} %"  # noqa: PLR2004 - two digits


def format_seconds(seconds: float) -> str:
    """A time in two significant digits, as one says what is not known better: `0.012 s`, `4.6 s`, `79 s`, `3.1 h`."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= 2 * size or unit == "s":
            amount = float(f"{seconds / size:.1e}")
            return f"{amount:.{0 if amount >= 10 else 1}f} {unit}" if amount >= 1 else f"{amount:.2g} {unit}"  # noqa: PLR2004
    raise AssertionError  # seconds are last


def format_count(count: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun: `1 layer`, `12 layers`, `0 layers`."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def join_some(names: Sequence[str], limit: int, total: int | None = None) -> str:
    """The first names and how many more there are, of those given or of a total: `a, b and 3 more`."""
    rest = (len(names) if total is None else total) - limit
    if rest <= 0:
        return ", ".join(names)
    return f"{', '.join(names[:limit])} and {rest} more" if limit else f"{rest} more"


def sparkline(values: ArrayLike, width: int, *, ascii: bool = False, linear: bool = False) -> str:  # noqa: A002 - the word for it
    """A curve in one line of text, on a log scale of its own.

    The lowest and the highest value lie a factor of 4 apart at least, so that a flat curve looks flat. A curve with
    negative values, of a metric that has a sign, is drawn on a linear scale.

    Args:
        values: The curve, length P; NaN where there is no number.
        width: Columns that there are. A longer curve is resampled: each column is the mean of the logarithms of the
            values of its part.
        ascii: Whether to use digits, 1 lowest and 8 highest, instead of blocks.
        linear: Whether the values are from -1 to 1 and 0 is one like any other: a linear scale, on which the lowest and
            the highest value lie half a unit apart at least.

    Returns:
        min(P, width) characters: `_` (ASCII: `0`) where the value is 0, `·` (ASCII: `.`) where there is none.
    """
    marks = ASCII_MARKS if ascii else BLOCK_MARKS
    curve = np.asarray(values, dtype=np.float64).ravel()
    curve = np.where(np.isfinite(curve), curve, np.nan)
    signed = linear or bool((curve < 0).any())
    heights = curve if signed else np.log(np.where(curve > 0, curve, np.nan))
    bins = np.array_split(np.arange(len(curve)), min(len(curve), max(width, 0)) or 1)
    columns = np.array([_mean(heights[part]) for part in bins])
    levels = _levels(columns, len(marks.levels), _SMALLEST_SPAN * linear if signed else np.log(_SMALLEST_RANGE))
    return "".join(
        marks.levels[int(level)] if np.isfinite(level) else marks.zero if (curve[part] == 0).any() else marks.gap
        for part, level in zip(bins, levels, strict=True)
        if len(part)
    )[: max(width, 0)]


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of the finite values; NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float((finite / finite.size).sum()) if finite.size else np.nan  # in this order nothing overflows


def _levels(heights: NDArray[np.float64], num_levels: int, smallest_range: float) -> NDArray[np.float64]:
    """Levels from 0 to num_levels - 1; NaN stays NaN."""
    finite = heights[np.isfinite(heights)]
    if not finite.size:
        return heights
    low, high = float(finite.min()), float(finite.max())
    # halves, because the difference of two large numbers of either sign may overflow
    middle, reach = low / 2 + high / 2, max(high / 2 - low / 2, smallest_range / 2)
    share = (heights - middle) / reach if reach > 0 else heights * 0
    return np.clip(np.floor((share + 1) / 2 * num_levels), 0, num_levels - 1)
