"""Lines of few changes: they answer along their whole length, and what has no line says so."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

# Where a line of a plot lies on the screen: points at the given shares of the way from its first point to its second.
_ALONG = """(div, [find, shares]) => {
  const trace = div.data.find((one) => (find.cluster === undefined ? one.customdata?.includes(find.layer) && one.hoverinfo !== "skip" : one.meta?.cluster === find.cluster));
  const first = find.cluster === undefined ? trace.customdata.indexOf(find.layer) : 0;
  const { xaxis, yaxis, _size } = div._fullLayout;
  const box = div.getBoundingClientRect();
  const [start, end] = [first, first + 1].map((at) => [xaxis.d2p(trace.x[at]), yaxis.d2p(trace.y[at])]);
  return shares.map((share) => [0, 1].map((at) => [box.x + xaxis._offset, box.y + yaxis._offset][at] + start[at] + share * (end[at] - start[at])));
}"""
_TOLD = "(div) => (div._hoverdata ?? []).map((point) => point.text)"


def _point_along(page, plot, find, shares):
    """What a plot says where one points at those shares of the way between the first two points of a line."""
    drawn = page.locator(plot)
    drawn.scroll_into_view_if_needed()
    told = []
    for x, y in drawn.evaluate(_ALONG, [find, shares]):
        page.mouse.move(x, y)
        page.wait_for_timeout(120)  # plotly.js looks at most every 50 ms
        told.append(drawn.evaluate(_TOLD))
    return told


@pytest.mark.parametrize("num_changes", [2, 5])
@pytest.mark.parametrize("width", [1440, 390])
def test_a_line_of_few_changes_answers_along_its_whole_length(open_report, make_trends, num_changes, width):
    trends = make_trends(12, num_changes)
    page = open_report(trends, viewport={"width": width, "height": 1000})
    shares = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    told = _point_along(page, "#cluster-0", {"cluster": 0}, shares)
    spans = [page.evaluate("(change) => report.spans[change]", change) for change in (0, 0, 0, 1, 1, 1)]
    assert all(len(texts) == 1 for texts in told)
    for [text], span in zip(told, spans, strict=True):
        assert span in text
        assert "<b>cluster 0</b>" in text


def test_a_click_between_the_points_of_a_line_selects_what_it_is_of(open_report, make_trends, settle):
    trends = make_trends(12, 2)
    page = open_report(trends)
    page.get_by_label("Show every layer").check()
    settle(page)
    # The highest there, on a scale of logarithms.
    member = max(
        trends.clusters[1].members, key=lambda row: trends.values[row, 0] ** 0.55 * trends.values[row, 1] ** 0.45
    )
    _point_along(page, "#cluster-1", {"layer": member}, [0.45])
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#selected-text")).to_contain_text(trends.series.names[member])

    told = _point_along(page, "#layer-curve", {"layer": member}, [0.25, 0.75])
    assert [len(texts) for texts in told] == [1, 1]
    assert trends.series.names[member] in told[0][0]


def test_no_points_lie_along_lines_of_many_changes_or_out_of_sight(open_report, make_trends):
    page = open_report(make_trends(12, 150))
    count = "(div) => div.data.filter((trace) => trace.mode === 'none').reduce((all, trace) => all + trace.x.length, 0)"
    assert page.locator("#cluster-0").evaluate(count) < 300
    few = open_report(make_trends(12, 2), "#zoom=cluster-0 -1.000001 -1")
    assert few.locator("#cluster-0").evaluate(count) < 300
