"""Marks of events: told apart by shape, shown where they are listed, and none on another."""

import dataclasses
import itertools

import pytest

from wsanalyze.series import Event

pytestmark = pytest.mark.browser

KINDS = (
    "spike",
    "frozen",
    "wakes",
    "dead",
    "nonfinite",
    "dtype",
    "duplicate",
    "impostor",
    "unreadable",
    "missing-steps",
    "resized",
    "renamed",
    "tied",
    "phase",
    "confounded",
    "of a kind to come",
)
PLOTS = ("heatmap-plot", "training-log", "depth-plot", "cluster-0", "alone")


def _with_events(trends, events):
    series = dataclasses.replace(trends.series, events=())
    return dataclasses.replace(trends, series=series, events=tuple(events))


def _marks(page, plot):
    """Places on the screen, outlines and texts of the marks above a plot, from left to right."""
    return page.locator(f"#{plot}").evaluate(
        """(div) => {
          const trace = div.data.find((one) => one.meta?.events);
          const index = div.data.filter((one) => one.mode?.includes("markers") && one.meta?.events).indexOf(trace);
          const paths = [...div.querySelectorAll(".xy9 .points path")];
          return paths.map((path, at) => {
            const box = path.getBoundingClientRect();
            return [(box.left + box.right) / 2, path.getAttribute("d"), trace.text[at]];
          });
        }"""
    )


def test_each_kind_has_a_mark_of_its_own_which_is_in_the_list(open_report, make_trends):
    trends = make_trends(12, 20)
    pairs = trends.series.pairs
    events = [Event(kind, None, pairs[place][1], f"text {kind}") for place, kind in enumerate(KINDS)]
    page = open_report(_with_events(trends, events))
    listed = page.locator("#events .badge").evaluate_all(
        """(all) => all.map((badge) => [badge.textContent.trim(), badge.querySelector("svg").ariaHidden,
        badge.querySelector("path").getAttribute("d"), badge.querySelector("svg").classList.contains("open")])"""
    )
    drawn = _marks(page, "heatmap-plot")
    assert [kind for kind, *_ in listed] == list(KINDS)
    assert {hidden for _, hidden, *_ in listed} == {"true"}
    assert [path for *_, path, _ in listed] == [path for _, path, _ in drawn]
    assert len({(path, is_open) for *_, path, is_open in listed}) == len(KINDS)
    symbols = page.locator("#heatmap-plot").evaluate("(div) => div.data.find((one) => one.meta?.events).marker.symbol")
    assert [symbol.endswith("-open") for symbol in symbols] == [is_open for *_, is_open in listed]
    assert page.locator("#heatmap figcaption .glyph").is_visible()


def test_an_event_of_no_checkpoint_has_no_mark(open_report, trends):
    page = open_report(_with_events(trends, [Event("confounded", None, None, "Levels follow size.")]))
    assert page.locator("#events .glyph").count() == 0


@pytest.mark.parametrize("width", [1440, 390])
def test_marks_do_not_lie_on_one_another_at_any_zoom(open_report, make_trends, settle, width):
    trends = make_trends(40, 150)
    events = [
        Event(kind, None, trends.series.pairs[place][1], f"{kind} at {place}.")
        for place, kind in [(5, "frozen"), (6, "duplicate"), (7, "spike"), (7, "spike"), (40, "phase"), (140, "dead")]
    ]
    page = open_report(_with_events(trends, events), viewport={"width": width, "height": 1000})
    plots = PLOTS
    for plot in plots:
        marks = _marks(page, plot)
        assert all(after[0] - before[0] >= 11 for before, after in itertools.pairwise(marks))
        assert any("at 40." in text for *_, text in marks)
    if width == 390:
        first = _marks(page, "heatmap-plot")[0]
        assert first[2].startswith("<b>4 events</b>")
        assert all(f"{kind} at" in first[2] for kind in ("frozen", "duplicate", "spike"))
        star = page.locator("#heatmap figcaption .glyph path").get_attribute("d")
        assert first[1] == star

    page.evaluate("report.update({ steps: [0, 12] })")
    settle(page)
    for plot in plots:
        marks = _marks(page, plot)
        assert all(after[0] - before[0] >= 11 for before, after in itertools.pairwise(marks))
        assert [text.partition(" at ")[0].rpartition(">")[2] for *_, text in marks][:2] == ["frozen", "duplicate"]
        assert marks[2][2].startswith("<b>2 events</b>")
