"""One selection of the HTML report, which every plot and the table follow."""

import numpy as np
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

LAYER = 16
NUM_CHANGES = 20


def area_of(page, plot):
    """The box of what a plot draws, on the screen."""
    page.locator(f"#{plot}").evaluate("(div) => div.scrollIntoView({ block: 'center' })")
    return page.locator(f"#{plot} .xy > .nsewdrag").bounding_box()


def click_cell(page, row, change, num_rows=40):
    area = area_of(page, "heatmap-plot")
    x = area["x"] + area["width"] * (change + 0.5) / NUM_CHANGES
    y = area["y"] + area["height"] * (row + 0.5) / num_rows
    page.mouse.move(x, y)
    page.mouse.click(x, y)


def click_point(page, layer):
    find = """(plot, layer) => {
        const index = plot.data.findIndex((trace) => trace.customdata?.includes(layer));
        return [index, plot.data[index].customdata.indexOf(layer)];
    }"""
    trace, point = page.locator("#scatter-plot").evaluate(find, layer)
    area_of(page, "scatter-plot")
    box = page.locator("#scatter-plot .scatterlayer .trace").nth(trace).locator(".point").nth(point).bounding_box()
    place = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*place)
    page.mouse.click(*place)


def click_curve(page, value):
    """Click where the curve of a layer in no cluster is at its change 10."""
    area = area_of(page, "alone")
    find = """(plot, value) => {
        const { xaxis, yaxis } = plot._fullLayout;
        return [xaxis.d2p(plot.data[0].x[10]), yaxis.d2p(value)];
    }"""
    x, y = page.locator("#alone").evaluate(find, value)
    page.mouse.move(area["x"] + x, area["y"] + y)
    page.mouse.click(area["x"] + x, area["y"] + y)


def click_name(page, layer):
    page.locator(f"#layer-table button.pick[data-layer='{layer}']").click()


WAYS = {
    "a cell": (lambda page, layer, _: click_cell(page, layer, 12), LAYER),
    "a point": (lambda page, layer, _: click_point(page, layer), LAYER),
    "a curve": (lambda page, layer, trends: click_curve(page, float(trends.values[layer, 10])), 38),
    "a name": (lambda page, layer, _: click_name(page, layer), LAYER),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_layer_that_is_clicked_anywhere_is_selected_everywhere(open_report, trends, way, settle):
    page = open_report(trends)
    act, layer = WAYS[way]

    act(page, layer, trends)

    name, cluster = trends.series.names[layer], trends.labels[layer]
    expect(page.locator("#selected-text")).to_contain_text(name)
    expect(page.locator("#announced")).to_contain_text(f"Selected: {name}")
    expect(page.locator("#layer-table tr[aria-current] th")).to_have_text(name)
    expect(page.locator("#layer-page-title")).to_have_text(name)
    expect(page.locator(".card.selected")).to_have_attribute("data-card", str(cluster))
    settle(page)
    frames = page.locator("#heatmap-plot").evaluate("(plot) => plot.layout.shapes.map((one) => [one.y0, one.y1])")
    assert frames
    assert all(frame == [layer - 0.5, layer + 0.5] for frame in frames)
    assert page.locator("#scatter-plot").evaluate("(plot) => plot.data.at(-1).name") == "selected"
    ring = page.locator("#scatter-plot").evaluate("(plot) => [plot.data.at(-1).x, plot.data.at(-1).y]")
    np.testing.assert_allclose(np.ravel(ring), trends.points[layer], rtol=1e-4)
    heights = page.locator("#depth-plot").evaluate("(plot) => plot.layout.annotations.map((note) => note.y)")
    assert trends.series.rows[layer].depth in heights


def test_a_row_that_is_selected_moves_into_sight_in_the_table_but_the_page_stays(open_report, trends, settle):
    page = open_report(trends, viewport={"width": 1440, "height": 700})
    click_cell(page, 36, 3)
    expect(page.locator("#selected-text")).to_contain_text(trends.series.names[36])
    settle(page)

    box = page.locator(".scroll.tall").bounding_box()
    row = page.locator("#layer-table tr[aria-current]").bounding_box()
    assert box["y"] <= row["y"]
    assert row["y"] + row["height"] <= box["y"] + box["height"]
    assert page.locator("#heatmap-plot").evaluate("(div) => div.getBoundingClientRect().top < innerHeight")


def test_a_cluster_is_selected_by_its_name_and_let_go_again(open_report, trends, settle):
    page = open_report(trends)
    members = set(trends.clusters[1].members)

    page.get_by_role("button", name="Cluster 1").click()

    expect(page.locator("#selected-text")).to_have_text("cluster 1, 13 layers")
    expect(page.locator(".card.selected")).to_have_attribute("data-card", "1")
    marked = page.locator("#layer-table tr[aria-current]").evaluate_all(
        "(rows) => rows.map((row) => +row.dataset.layer)"
    )
    assert set(marked) == members
    settle(page)
    shapes = page.locator("#heatmap-plot").evaluate("(plot) => plot.layout.shapes.map((one) => [one.y0, one.y1])")
    covered = {row for low, high in shapes for row in range(int(low + 0.5), int(high + 0.5))}
    assert covered == members
    assert page.locator("#scatter-plot").evaluate("(plot) => plot.data.at(-1).name") == "selected"
    assert page.locator("#scatter-plot").evaluate("(plot) => plot.data.at(-1).x.length") == len(members)

    page.get_by_role("button", name="Cluster 1").click()
    expect(page.locator("#selected")).to_be_hidden()
    expect(page.locator("#layer-table tr[aria-current]")).to_have_count(0)


def test_the_map_follows_to_the_kind_of_what_is_selected(open_report, kind_trends, settle):
    page = open_report(kind_trends)
    kinds = [str(row.kind) for row in kind_trends.series.rows]
    layer = next(row for row, kind in enumerate(kinds) if kind == "linear" and kind_trends.labels[row] >= 0)
    ring = "document.getElementById('scatter-plot').data.at(-1)"
    assert page.locator("#map-kind").input_value() == "1"

    click_name(page, layer)
    expect(page.locator("#map-kind option:checked")).to_have_text("linear")
    settle(page)
    assert page.evaluate(f"{ring}.name") == "selected"
    np.testing.assert_allclose(np.ravel(page.evaluate(f"[{ring}.x, {ring}.y]")), kind_trends.points[layer], rtol=1e-4)

    page.get_by_role("button", name="Cluster 3").click()
    expect(page.locator("#map-kind option:checked")).to_have_text(kind_trends.clusters[3].kind)
    settle(page)
    assert page.evaluate(f"{ring}.x.length") == len(kind_trends.clusters[3].members)


def test_a_map_that_was_chosen_beside_a_selection_is_in_the_link(open_report, kind_trends, settle):
    kinds = [str(row.kind) for row in kind_trends.series.rows]
    layer = kinds.index("linear")
    page = open_report(kind_trends, f"#layer={kind_trends.series.names[layer]}&page=closed")
    expect(page.locator("#map-kind option:checked")).to_have_text("linear")
    page.locator("#map-kind").select_option("0")
    settle(page)

    again = open_report(kind_trends, page.evaluate("location.hash"))
    assert again.locator("#map-kind").input_value() == "0"
    assert again.evaluate("report.view.layer") == layer


def test_what_was_clicked_is_not_covered_by_the_page_of_the_layer(open_report, trends, settle):
    page = open_report(trends, viewport={"width": 1440, "height": 700})
    button = page.locator(f"#layer-table button.pick[data-layer='{LAYER}']")
    button.evaluate("(one) => one.scrollIntoView({ block: 'end' })")
    button.click()
    settle(page)
    name, panel = button.bounding_box(), page.locator("#layer-page").bounding_box()
    assert name["y"] + name["height"] < panel["y"]


def test_escape_closes_the_layer_page_first_and_then_clears(open_report, trends):
    page = open_report(trends)
    click_name(page, LAYER)
    expect(page.locator("#layer-page")).to_be_visible()

    page.keyboard.press("Escape")
    expect(page.locator("#layer-page")).to_be_hidden()
    expect(page.locator("#selected")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#selected")).to_be_hidden()
    expect(page.locator("#announced")).to_have_text("Nothing is selected.")


def test_the_selection_is_cleared_by_its_button(open_report, trends, settle):
    page = open_report(trends)
    page.get_by_role("button", name="Cluster 0").click()
    page.get_by_role("button", name="Clear selection").click()
    expect(page.locator("#selected")).to_be_hidden()
    settle(page)
    assert page.locator("#heatmap-plot").evaluate("(plot) => plot.layout.shapes.length") == 0


def ranges(page):
    plots = ("heatmap-plot", "training-log", "depth-plot", "cluster-0", "alone")
    return {plot: page.locator(f"#{plot}").evaluate("(div) => div.layout.xaxis.range") for plot in plots}


def assert_shows(found, first, last):
    """Each axis shows the changes `first` to `last`, which end at 500 times one more."""
    for plot in ("heatmap-plot", "training-log", "depth-plot"):
        assert found[plot] == [first - 0.5, last + 0.5]
    for plot in ("cluster-0", "alone"):
        low, high = found[plot]
        assert 500 * first < low <= 500 * (first + 1) < 500 * (last + 1) <= high < 500 * (last + 2)


def test_steps_that_one_zooms_to_are_those_of_every_plot(open_report, trends, settle):
    page = open_report(trends)
    before = ranges(page)
    area = area_of(page, "heatmap-plot")
    column = area["width"] / NUM_CHANGES

    page.mouse.move(area["x"] + 3.8 * column, area["y"] + 100)
    page.mouse.down()
    page.mouse.move(area["x"] + 10.7 * column, area["y"] + 101, steps=4)
    page.mouse.up()

    expect(page.locator("#steps-text")).to_have_text("changes that end at steps 2500 to 5500")
    assert_shows(ranges(page), 4, 10)
    area = area_of(page, "heatmap-plot")
    page.mouse.dblclick(area["x"] + 100, area["y"] + 100)
    expect(page.locator("#steps-chip")).to_be_hidden()
    settle(page)
    assert ranges(page) == before
    expect(page.locator("#selected")).to_be_hidden()


def test_zooming_a_curve_zooms_the_others(open_report, trends):
    page = open_report(trends)
    area = area_of(page, "cluster-0")
    to_pixel = "(plot, step) => plot._fullLayout.xaxis.d2p(step)"
    left, right = (page.locator("#cluster-0").evaluate(to_pixel, step) for step in (1900, 5100))

    page.mouse.move(area["x"] + left, area["y"] + 40)
    page.mouse.down()
    page.mouse.move(area["x"] + right, area["y"] + 41, steps=4)
    page.mouse.up()

    expect(page.locator("#steps-text")).to_have_text("changes that end at steps 2000 to 5000")
    assert_shows(ranges(page), 3, 9)


def test_steps_can_be_chosen_by_keyboard(open_report, trends):
    page = open_report(trends)
    page.locator("#steps-from").select_option("2500")
    page.locator("#steps-to").select_option("5500")
    assert_shows(ranges(page), 4, 10)
    page.get_by_role("button", name="Show all steps").click()
    assert page.locator("#steps-from").input_value() == "0"


def test_the_table_is_used_by_keyboard(open_report, trends):
    page = open_report(trends)
    button = page.locator("#layer-table button.pick").nth(4)
    button.focus()
    page.keyboard.press("Enter")

    expect(page.locator("#layer-page-title")).to_be_focused()
    page.keyboard.press("Escape")
    expect(button).to_be_focused()


def test_events_are_marked_on_every_axis_of_time(open_report, trends):
    page = open_report(trends)
    find = """(div) => {
        const { x, text, marker } = div.data.find((trace) => trace.name === "events");
        return [x, text, marker.symbol];
    }"""
    plots = ("heatmap-plot", "training-log", "depth-plot", "cluster-0", "alone")
    strips = {plot: page.locator(f"#{plot}").evaluate(find) for plot in plots}
    x, texts, symbols = strips["heatmap-plot"]
    assert x == [2, 2.5, 4, 4.5]
    assert "holds the same weights as checkpoint-1500" in texts[1]
    assert "changes 40 times" in texts[2]
    assert len(set(symbols)) == 4
    assert strips["training-log"] == strips["depth-plot"] == strips["heatmap-plot"]
    # Events of single layers stand with their cluster, those of checkpoints everywhere.
    # There is no room for four marks on a card.
    assert strips["cluster-0"][0] == [1625, 2625]
    assert [text.partition("<br>")[0] for text in strips["cluster-0"][1]] == ["<b>2 events</b>"] * 2
    assert strips["alone"][0] == [1750, 2750]
