"""Lines of few changes: they answer along their whole length, and what has no line says so."""

import dataclasses

import numpy as np
import pytest
from playwright.sync_api import expect

from wsanalyze.sums import SUM_NAMES, Sums

pytestmark = pytest.mark.browser

# Where a line of a plot lies on the screen: points at the given shares of the way from its first point to its second.
_ALONG = """(div, [find, shares]) => {
  const isOf = ({ customdata, hoverinfo, meta }) => (find.cluster === undefined
    ? customdata?.includes(find.layer) && hoverinfo !== "skip" : meta?.cluster === find.cluster);
  const trace = div.data.find(isOf);
  const first = find.cluster === undefined ? trace.customdata.indexOf(find.layer) : 0;
  const { xaxis, yaxis } = div._fullLayout;
  const box = div.getBoundingClientRect();
  const corner = [box.x + xaxis._offset, box.y + yaxis._offset];
  const [start, end] = [first, first + 1].map((at) => [xaxis.d2p(trace.x[at]), yaxis.d2p(trace.y[at])]);
  return shares.map((share) => corner.map((edge, at) => edge + start[at] + share * (end[at] - start[at])));
}"""
_TOLD = "(div) => (div._hoverdata ?? []).map((point) => point.text)"


@pytest.fixture
def point_along(wait_until):
    """A function: what a plot says where one points at shares of the way between the first two points of a line."""

    def point(page, plot, find, shares):
        drawn = page.locator(f"#{plot}")
        drawn.scroll_into_view_if_needed()
        told = []
        for x, y in drawn.evaluate(_ALONG, [find, shares]):
            page.mouse.move(0, 0)  # it says again what it said before
            wait_until(page, "return !document.getElementById(argument)._hoverdata?.length;", plot)
            page.mouse.move(x, y)
            wait_until(page, "return document.getElementById(argument)._hoverdata?.length;", plot)
            told.append(drawn.evaluate(_TOLD))
        return told

    return point


@pytest.mark.parametrize("num_changes", [2, 5])
@pytest.mark.parametrize("width", [1440, 390])
def test_a_line_of_few_changes_answers_along_its_whole_length(
    open_report, make_trends, point_along, num_changes, width
):
    trends = make_trends(12, num_changes)
    page = open_report(trends, viewport={"width": width, "height": 1000})
    shares = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    told = point_along(page, "cluster-0", {"cluster": 0}, shares)
    spans = [page.evaluate("(change) => report.spans[change]", change) for change in (0, 0, 0, 1, 1, 1)]
    assert all(len(texts) == 1 for texts in told)
    for [text], span in zip(told, spans, strict=True):
        assert span in text
        assert "<b>cluster 0</b>" in text


def test_a_click_between_the_points_of_a_line_selects_what_it_is_of(open_report, make_trends, point_along, settle):
    trends = make_trends(12, 2)
    page = open_report(trends)
    page.get_by_label("Show every layer").check()
    settle(page)
    # The highest there, on a scale of logarithms.
    member = max(
        trends.clusters[1].members, key=lambda row: trends.values[row, 0] ** 0.55 * trends.values[row, 1] ** 0.45
    )
    point_along(page, "cluster-1", {"layer": member}, [0.45])
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#selected-text")).to_contain_text(trends.series.names[member])
    settle(page)

    told = point_along(page, "layer-curve", {"layer": member}, [0.25, 0.75])
    assert [len(texts) for texts in told] == [1, 1]
    assert trends.series.names[member] in told[0][0]


def test_no_points_lie_along_lines_of_many_changes_or_out_of_sight(open_report, make_trends):
    page = open_report(make_trends(12, 150))
    count = "(div) => div.data.filter((trace) => trace.mode === 'none').reduce((all, trace) => all + trace.x.length, 0)"
    assert page.locator("#cluster-0").evaluate(count) < 300
    few = open_report(make_trends(12, 2), "#zoom=cluster-0 -1.000001 -1")
    assert few.locator("#cluster-0").evaluate(count) < 300


def _still(trends, layer):
    """The same trends where a layer, in no cluster, never changes."""
    values, states = trends.series.sums.values.copy(), trends.series.states.copy()
    for name in ("l1_delta", "sq_delta", "max_delta", "changed", "sign_flips", "rel_sum"):
        values[layer, :, SUM_NAMES.index(name)] = 0.0
    states[layer] = None
    labels = np.where(np.arange(len(trends.labels)) == layer, -1, trends.labels)
    series = dataclasses.replace(trends.series, sums=Sums(values), states=states)
    return dataclasses.replace(trends, series=series, labels=labels)


@pytest.mark.parametrize(
    ("layer", "note", "others"),
    [
        (10, "It never changed, so there is no curve.", "None of them has a number other than 0."),
        (4, "No change has a number, so there is no curve.", "None of them has a number."),
    ],
)
def test_a_layer_without_a_curve_says_why_once(open_report, trends, settle, layer, note, others):
    trends = _still(trends, 10)
    page = open_report(trends, f"#layer={trends.series.names[layer]}")
    panel = page.locator("#layer-page")
    expect(panel.locator("[data-part=curve-note]")).to_have_text(note)
    unmeasured = "Not measured: from-first, rotation, coherence, efficiency, spectral, rank; --metric NAME says why."
    expect(panel.locator("[data-part=others-note]")).to_have_text(f"{others} {unmeasured}")
    assert panel.locator("h4:visible").count() == 0
    assert panel.locator("h3:visible").all_text_contents() == ["Curve", "States", "Events", "Other metrics"]

    page.evaluate("report.selectLayer(0)")
    settle(page)
    expect(panel.locator("[data-part=curve-note]")).to_be_hidden()
    assert panel.locator("#layer-curve .main-svg").first.is_visible()
    assert panel.locator("h4:visible").count() >= 5


def test_metrics_without_a_curve_are_named_and_not_drawn(open_report, trends):
    sums = trends.series.sums.values.copy()
    sums[0, :, SUM_NAMES.index("sign_flips")] = 0.0
    series = dataclasses.replace(trends.series, sums=Sums(sums))
    page = open_report(dataclasses.replace(trends, series=series), f"#layer={trends.series.names[0]}")
    note = page.locator("[data-part=others-note]")
    expect(note).to_contain_text("0 at every change: flips.")
    assert all("flips" not in title for title in page.locator("#layer-page h4:visible").all_text_contents())


def test_the_layer_page_tells_its_lines_apart_as_the_other_plots_do(open_report, trends):
    page = open_report(trends, f"#layer={trends.series.names[0]}")
    ink = "(one) => getComputedStyle(one).color"
    colour = page.locator("#cluster-0-title .mark").evaluate(ink)
    assert page.locator("[data-part=facts] .mark").evaluate(ink) == colour
    key = page.locator("[data-part=curve-key]")
    expect(key).to_contain_text("this layer median of cluster 0 10th to 90th percentile")
    assert key.locator(".mark").evaluate_all(f"(all) => all.map({ink})") == [colour, colour]
    page.evaluate("report.selectLayer(9)")
    expect(key).to_be_hidden()
