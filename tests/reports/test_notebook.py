import base64
import re
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from wsanalyze.reports.notebook import render_problem, render_summary


class Outline(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words += data


def read(text):
    outline = Outline()
    outline.feed(text)
    return outline


def test_a_run_is_shown_by_its_headline_its_clusters_and_their_curves(trends):
    outline = read(render_summary(trends))
    for words in (*trends.headline, trends.quality.text, "relative weight change of 40 layers over 20 changes"):
        assert words in outline.words
    for cluster in trends.clusters:
        assert cluster.summary in outline.words
    assert "2 layers unlike the others" in outline.words
    (source,) = [value for name, value in outline.attributes if name == "src"]
    kind, _, image = source.partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert ET.fromstring(base64.b64decode(image)).tag.endswith("svg")  # noqa: S314 - made above


def test_no_name_becomes_markup(hostile_trends):
    outline = read(render_summary(hostile_trends))
    assert set(outline.tags) <= {"div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "img"}
    assert {name for name, _ in outline.attributes} == {"style", "alt", "src"}
    problem = render_problem("<Run of <script>", "no & \x1b[2J")
    assert read(problem).tags == ["div", "p", "strong", "p"]
    assert "\\x1b[2J" in problem


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (3, 0), (1, 1), (40, 1)], ids=str)
def test_small_runs_are_shown(size, make_trends):
    assert render_summary(make_trends(*size)).endswith("</div>")


def test_runs_without_clusters_or_numbers_and_clusters_of_kinds_are_shown(trends, kind_trends, example_module):
    assert 'alt="Heatmap: ' in render_summary(example_module.without_clusters(trends))
    assert "No cell has a number" in render_summary(example_module.only_states(trends))
    assert "pointwise: high throughout" in render_summary(kind_trends)
    assert not re.search("nan|None", read(render_summary(kind_trends)).words)


def test_without_a_figure_the_rest_is_shown_and_why(trends, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    outline = read(render_summary(trends))
    assert "There is no figure: the package matplotlib cannot be imported (" in outline.words
    assert trends.headline[0] in outline.words
    assert "img" not in outline.tags


def test_only_numbers_near_the_ends_of_floats_are_a_reason_to_leave_the_figure_out(trends, monkeypatch):
    def refuse(*_):
        raise ValueError("Invalid vmin or vmax")

    monkeypatch.setattr("wsanalyze.reports.notebook.render_svg", refuse)
    with pytest.raises(ValueError, match="Invalid vmin"):
        render_summary(trends)
    monkeypatch.setattr("wsanalyze.reports.notebook.near_ends", lambda _values: True)
    assert "There is no figure: numbers near the ends of floats" in read(render_summary(trends)).words
