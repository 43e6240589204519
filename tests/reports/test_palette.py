import re
from importlib.resources import files

from wsanalyze.reports import html_lines, palette


def read_style():
    """The custom properties of the page on a light ground: the first of each name."""
    text = files("wsanalyze.reports").joinpath("templates/report.css").read_text()
    found = {}
    for name, colour in re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", text):
        found.setdefault(name, colour)
    return found


def test_page_and_figures_have_the_same_colours():
    style = read_style()
    numbered = sorted((name for name in style if re.fullmatch(r"c\d+", name)), key=lambda name: int(name[1:]))
    assert tuple(style[name] for name in numbered) == palette.COLOURS
    for name in ("alone", "state", "unchanged", "text", "muted", "rule"):
        assert style[name] == getattr(palette, name.upper())


def test_page_and_figures_have_the_same_marks():
    signs = [html_lines.sign_of(cluster) for cluster in range(20)]
    assert [sign.mark for sign in signs] == [palette.MARKS[n % len(palette.MARKS)] for n in range(20)]
    assert [sign.colour for sign in signs] == [f"c{palette.COLOURS.index(palette.colour_of(n))}" for n in range(20)]
    assert html_lines.sign_of(-1, outlier=True).mark == palette.OUTLIER_MARK
    assert palette.colour_of(-1) == palette.ALONE


def luminance(colour):
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_every_colour_shows_on_white():
    # 3 to 1 is what WCAG 2.1 asks of graphics; two of the colours are a little lighter, and no mark is told by its own.
    for colour in palette.COLOURS:
        assert 1.05 / (luminance(colour) + 0.05) > 2.8
