"""Text that comes from files, made safe to draw: no formula, no TeX, no character that the font has not."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Literal

from wsanalyze.reports.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend

INERT: Final[dict[str, Any]] = {"parse_math": False, "usetex": False}
"""Options of every text that is drawn: its dollars and backslashes are what they look like."""

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


def font_points(name: Literal["font.size", "legend.fontsize", "xtick.labelsize", "ytick.labelsize"]) -> float:
    """Size of a font in points, by the name of its entry in rcParams."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties

    return float(FontProperties(size=rcParams[name]).get_size_in_points())


def letters_in(points: float, size: float) -> int:
    """How many letters of a font of that size fit into a width in points."""
    return int(points / (_LETTER_WIDTH * size))


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


def write_note(ax: "Axes", text: str) -> None:
    """Say in the middle of axes why there is nothing in them."""
    from wsanalyze.reports.palette import MUTED
    from wsanalyze.reports.text import wrap_words

    width = max(16, letters_in(0.8 * room_of(ax)[0], font_points("font.size")))
    lines = wrap_words(drawable([text])[0], width, 6)
    ax.text(0.5, 0.5, "\n".join(lines), transform=ax.transAxes, ha="center", va="center", color=MUTED, **INERT)
