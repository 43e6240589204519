"""What plots show is all there is, and what they say of it is so."""

import dataclasses

import numpy as np
import pytest
from playwright.sync_api import expect

from wsanalyze.reports.figures.scale import find_colours

pytestmark = pytest.mark.browser


def test_marks_of_what_is_selected_lie_beside_rows_that_they_would_hide(open_report, make_trends, settle):
    page = open_report(make_trends(300, 6), "#cluster=0")
    shapes = page.locator("#heatmap-plot").evaluate("(plot) => plot.layout.shapes")
    assert shapes
    for shape in shapes:
        assert shape["xsizemode"] == "pixel"
        assert (shape["xanchor"] == 0 and shape["x1"] <= 0) or (shape["xanchor"] == 1 and shape["x0"] >= 0)

    page.evaluate("report.update({ rows: [0, 19] })")
    settle(page)
    frames = "(plot) => plot.layout.shapes.filter((shape) => shape.x0 === 0 && shape.x1 === 1).length"
    assert page.locator("#heatmap-plot").evaluate(frames) > 0


def test_depths_that_are_unchanged_are_grey(open_report, trends):
    page = open_report(trends)
    heat, grey = page.locator("#depth-plot").evaluate("(plot) => plot.data.slice(0, 2).map((trace) => trace.z)")
    values = trends.depth.values
    still = np.argwhere(values == 0).tolist()
    assert still
    assert np.argwhere(np.array(grey, float) == 1).tolist() == still
    assert np.argwhere(np.isnan(np.array(heat, float))).tolist() == np.argwhere(~(values > 0)).tolist()
    expect(page.locator("#depth figcaption")).to_contain_text("unchanged")


def test_a_median_of_0_without_a_state_is_a_number(open_report, trends):
    given = np.where(np.arange(20) < 3, 0.0, trends.values)  # the median of a metric that may be 0
    series = dataclasses.replace(trends.series, given={"rwc": given})
    depth = dataclasses.replace(trends.depth, values=np.where(np.arange(20) < 3, 0.0, trends.depth.values))
    page = open_report(dataclasses.replace(trends, series=series, depth=depth))
    grey = page.locator("#depth-plot").evaluate("(plot) => plot.data[1].z")
    states = series.metric_states("rwc")
    assert np.nansum(np.array(grey, float)) == (states == "unchanged").sum() < (depth.values == 0).sum()


def _far_off(trends):
    """The same trends with an outlier, layer 9, that grows beyond all others."""
    values = trends.values.copy()
    values[9] = np.geomspace(1e-2, 1e9, values.shape[1])
    given = dataclasses.replace(trends.series, given={"rwc": values})
    return dataclasses.replace(trends, series=given)


def test_each_curve_in_no_cluster_is_inside_its_card_and_leaves_those_of_clusters_alone(open_report, trends):
    range_of = "(plot) => plot._fullLayout.yaxis.range"
    plain = open_report(trends).locator("#cluster-0").evaluate(range_of)
    page = open_report(_far_off(trends), f"#layer={trends.series.names[9]}")

    assert page.locator("#cluster-0").evaluate(range_of) == page.locator("#cluster-1").evaluate(range_of) == plain
    low, high = page.locator("#alone").evaluate(range_of)
    assert low < -2
    assert high > 9
    expect(page.locator("[data-card='-1']")).to_contain_text("On a scale of their own")
    expect(page.locator("[data-card='-1']")).to_contain_text("medians are in faint grey")


def test_no_curve_of_many_in_no_cluster_is_cut(open_report, make_trends):
    trends = make_trends(60, 20)
    far = trends.values.copy()
    far[:30] *= np.geomspace(1e-6, 1e6, 30)[:, np.newaxis]
    labels = np.where(np.arange(60) < 30, -1, trends.labels)
    series = dataclasses.replace(trends.series, given={"rwc": far})
    page = open_report(dataclasses.replace(trends, series=series, labels=labels))
    low, high = page.locator("#alone").evaluate("(plot) => plot._fullLayout.yaxis.range")
    shown = far[:30][far[:30] > 0]
    assert 10**low < shown.min()
    assert shown.max() < 10**high


def test_an_unchanged_cell_is_not_called_a_gap(open_report, trends):
    page = open_report(dataclasses.replace(trends, touched={"gap": ((39, 0), (1, 3))}))
    assert page.evaluate("report.cellWord(39, 0)") == "unchanged (0 has no logarithm: clustered by another number)"
    assert page.evaluate("report.cellWord(1, 3)") == "missing (a gap, filled for clustering)"


@pytest.mark.parametrize(("layer", "title"), [(9, "Curve"), (0, "Curve, on its cluster\u2019s band")])
def test_a_layer_in_no_cluster_has_no_band_to_lie_on(open_report, trends, layer, title):
    page = open_report(trends, f"#layer={trends.series.names[layer]}")
    expect(page.locator("[data-part=curve-title]")).to_have_text(title)


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_names_in_the_table_are_broken_after_dots_only_and_its_note_is_seen(open_report, trends, width):
    page = open_report(trends, viewport={"width": width, "height": 900})
    note = page.locator("#layers-note").bounding_box()
    assert note["x"] + note["width"] <= width
    parts = page.locator("#layer-table tbody th code").evaluate_all(
        """(all) => all.flatMap((code) => [...code.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE))
        .map((node) => {
          const range = document.createRange();
          range.selectNode(node);
          return range.getClientRects().length;
        })"""
    )
    assert len(parts) > 40
    assert set(parts) == {1}


def test_rows_stay_where_they_are_when_one_is_selected(open_report, trends):
    page = open_report(trends)
    heights = "(rows) => rows.map((row) => row.getBoundingClientRect().height)"
    before = page.locator("#layer-table tbody tr").evaluate_all(heights)
    page.evaluate("report.selectCluster(0)")
    assert page.locator("#layer-table tr.selected").count() == 12
    assert page.locator("#layer-table tbody tr").evaluate_all(heights) == before


def test_without_scripts_it_is_told_where_all_numbers_are(open_report, trends):
    page = open_report(trends, java_script_enabled=False)
    expect(page.locator("noscript p").first).to_contain_text("the CSV report (--csv) has every change")


@pytest.mark.parametrize(
    ("value", "sign"), [(1e9, "≥"), (1e-9, "≤"), (None, "")], ids=["far above", "far below", "near"]
)
def test_one_cell_far_off_leaves_the_colours_to_the_others_and_the_bar_says_so(open_report, make_trends, value, sign):
    trends = make_trends(30, 20)
    values = np.clip(trends.values, 0.01, 0.2)
    if value:
        values[7, 12] = value
    trends = dataclasses.replace(trends, series=dataclasses.replace(trends.series, given={"rwc": values}))
    heat = "(plot) => { const { zmin, zmax, colorbar } = plot.data[1]; return [zmin, zmax, colorbar.ticktext]; }"
    page = open_report(trends)
    low, high, texts = page.locator("#heatmap-plot").evaluate(heat)

    shown = find_colours(trends, values)
    assert [low, high] == pytest.approx(np.log10([shown.low, shown.high]), abs=1e-5)
    assert 10**low > 1e-8
    assert 10**high < 1e8
    assert {text[0] for text in texts if not text[0].isdigit()} == set(sign)


def _bar_ticks(page, plot):
    """The places of the numbers on the bar of a heatmap, in pixels along it, and the numbers; places ascend."""
    found = page.locator(plot).evaluate(
        """(div) => {
          const isLying = div.querySelector(".cbfills").getBoundingClientRect().width > 30;
          const place = (text) => (isLying ? text.getBoundingClientRect().left : -text.getBoundingClientRect().top);
          return [...div.querySelectorAll(".cbaxis text")].map((text) => [place(text), text.textContent]);
        }"""
    )
    places, texts = zip(*sorted(found), strict=True)
    return places, [float(text.lstrip("≤≥ ")) for text in texts]


@pytest.mark.parametrize(
    ("decades", "rows", "digits"), [(1.7, 40, "125"), (3, 12, "13"), (3.9, 40, "125"), (6, 12, "1"), (0.2, 40, None)]
)
@pytest.mark.parametrize("width", [1440, 390])
def test_the_bar_of_colours_has_as_many_round_numbers_as_it_has_room_for(
    open_report, make_trends, decades, rows, digits, width
):
    trends = make_trends(rows, 20)
    values = 0.9 * 10 ** np.linspace(-decades, 0, rows * 20).reshape(rows, 20)
    trends = dataclasses.replace(trends, series=dataclasses.replace(trends.series, given={"rwc": values}))
    page = open_report(trends, viewport={"width": width, "height": 1000})
    for plot in ("#heatmap-plot", "#depth-plot") if rows == 40 else ("#heatmap-plot",):
        places, ticks = _bar_ticks(page, plot)
        assert min(np.diff(places)) >= 20
        assert list(ticks) == sorted(set(ticks))
        assert len(ticks) >= 2
    if width == 1440 and digits:
        _, ticks = _bar_ticks(page, "#heatmap-plot")
        assert {f"{tick:e}"[0] for tick in ticks} == set(digits)
        assert len(ticks) >= 3


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("last", ["fc.weight", "fc"])
def test_an_end_that_all_names_share_is_left_out_of_all_labels_or_of_none(open_report, make_trends, width, last):
    trends = make_trends(12, 20)
    rows = trends.series.rows
    names = [f"encoder.layers.{index}.attention.weight" for index in range(11)] + [last]
    rows = tuple(dataclasses.replace(row, name=name) for row, name in zip(rows, names, strict=True))
    page = open_report(
        dataclasses.replace(trends, series=dataclasses.replace(trends.series, rows=rows)),
        viewport={"width": width, "height": 1000},
    )
    labels = page.locator("#heatmap-plot .ytick text").all_text_contents()
    is_short = width == 390 and last == "fc.weight"
    assert len(labels) == 12
    assert {"weight" in label for label in labels} == (
        {False} if is_short else {True} if "." in last else {True, False}
    )
    assert ("without “.weight”" in page.locator("#heatmap-note").text_content()) == is_short


def test_the_ends_of_the_colours_are_told_where_lines_are_put_together(open_report, make_trends):
    page = open_report(make_trends(450, 10))
    expect(page.locator("#heatmap-note")).to_contain_text("Colours end at ")
