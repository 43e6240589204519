"""Text that comes from files, made safe to draw: no formula, no TeX, no character that the font has not."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from wsanalyze.reports.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend

INERT: Final[dict[str, Any]] = {"parse_math": False, "usetex": False}
"""Options of every text that is drawn: its dollars and backslashes are what they look like."""

_EXACT_SIZE: Final = 200  # at which letters are no wider or narrower than they are drawn
_SHARES: Final = (0.5, 0.6, 0.7, 0.8, 0.9)  # of a line, that may do for all of them
_AXIS_SHARE: Final = 0.84  # of the room, for the name of an axis: it is centred on less than all of it
_LETTER_WIDTH: Final = 0.62  # of the size of the font, for letters of DejaVu Sans at large


def drawable(texts: Iterable[str]) -> list[str]:
    r"""Make every character visible and replace those that the user's font has not by `\u5c42` and so on.

    Args:
        texts: Any texts, from anywhere.

    Returns:
        As many texts, each one line, all of which can be drawn without a warning.
    """
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties())).get_charmap()
    return ["".join(c if ord(c) in known else _escape(c) for c in printable(text)) for text in texts]


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def font_points(
    name: Literal["font.size", "axes.labelsize", "legend.fontsize", "xtick.labelsize", "ytick.labelsize"],
) -> float:
    """Size of a font in points, by the name of its entry in rcParams."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties

    return float(FontProperties(size=rcParams[name]).get_size_in_points())


def letters_in(points: float, size: float) -> int:
    """How many letters of a font of that size fit into a width in points."""
    return int(points / (_LETTER_WIDTH * size))


def text_points(text: str, size: float) -> float:
    """Width in points of a text in the user's font, of that size."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties()))
    font.set_size(_EXACT_SIZE, 72)
    font.set_text(text, 0.0)
    return float(font.get_width_height()[0]) / 64 * size / _EXACT_SIZE


def wrap_label(text: str, points: float, size: float) -> str:
    """A text in as many lines as it takes where each may be so many points wide, as even as may be; words are whole."""
    words = [(word, text_points(word, size)) for word in text.split(" ")]
    space = text_points("n n", size) - text_points("nn", size)
    lines = _break_words(words, points, space)
    for share in _SHARES:
        tighter = _break_words(words, share * points, space)
        if len(tighter) == len(lines):
            return "\n".join(tighter)
    return "\n".join(lines)


def _break_words(words: Sequence[tuple[str, float]], points: float, space: float) -> list[str]:
    """Lines of words of given widths."""
    lines, left = [words[0][0]], points - words[0][1]
    for word, width in words[1:]:
        if space + width <= left:
            lines[-1] += f" {word}"
            left -= space + width
        else:
            lines.append(word)
            left = points - width
    return lines


def name_axes(ax: "Axes", horizontal: str | None = None, vertical: str | None = None) -> None:
    """Name axes, in several lines where one would not fit beside what stands around them."""
    width, height = room_of(ax)
    size = font_points("axes.labelsize")
    if horizontal is not None:
        ax.set_xlabel(wrap_label(horizontal, _AXIS_SHARE * width, size), **INERT)
    if vertical is not None:
        ax.set_ylabel(wrap_label(vertical, _AXIS_SHARE * height, size), **INERT)


def room_of(ax: "Axes") -> tuple[float, float]:
    """Width and height in points that axes have together with what stands around them."""
    box, dpi = ax.get_window_extent(), ax.figure.dpi
    width, height = 72 * float(box.width) / dpi, 72 * float(box.height) / dpi
    if ax.figure.get_layout_engine() is None:
        return width, height
    # Not laid out yet: they have what the margins of a figure without a layout leave them.
    margins = ax.figure.subplotpars
    return width / (margins.right - margins.left), height / (margins.top - margins.bottom)


def quieten(legend: "Legend") -> None:
    """Let no text of a legend be taken for a formula."""
    for text in legend.get_texts():
        text.set(**INERT)


def write_note(ax: "Axes", text: str, *, alone: bool = False) -> None:
    """Say in the middle of axes why there is nothing in them.

    Args:
        ax: The axes.
        text: The reason.
        alone: Whether the axes have nothing to count either, and so no ticks.
    """
    from wsanalyze.reports.palette import MUTED
    from wsanalyze.reports.text import wrap_words

    if alone:
        ax.set_xticks([])
        ax.set_yticks([])
    width = max(16, letters_in(0.8 * room_of(ax)[0], font_points("font.size")))
    lines = wrap_words(drawable([text])[0], width, 6)
    ax.text(0.5, 0.5, "\n".join(lines), transform=ax.transAxes, ha="center", va="center", color=MUTED, **INERT)
