"""The HTML report in a real browser: it opens from disk, says nothing on the console and asks nobody for anything."""

import dataclasses
import itertools

import numpy as np
import pytest
from playwright.sync_api import expect

from wsanalyze.reports.text import printable

pytestmark = pytest.mark.browser


def _shown_rows(page):
    return page.locator("#layer-table tbody tr:visible th").all_text_contents()


def _drawn_plots(page):
    return page.locator(".plot.js-plotly-plot").count()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_every_plot_is_drawn_and_nothing_overflows(open_report, trends, scheme, width):
    page = open_report(trends, color_scheme=scheme, viewport={"width": width, "height": 900})

    assert _drawn_plots(page) == 8
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    for svg in page.locator(".plot .main-svg").all():
        plot = svg.locator("xpath=ancestor::*[contains(@class, 'js-plotly-plot')]")
        assert svg.bounding_box()["width"] <= plot.bounding_box()["width"] + 1


def test_hostile_names_are_shown_as_text_in_the_page_and_in_the_plots(open_report, hostile_trends, hostile_names):
    page = open_report(hostile_trends)

    assert set(map(printable, hostile_names)) <= set(_shown_rows(page))
    labels = page.locator("#heatmap-plot .ytick").all_text_contents()
    assert "<script>alert(1)</script>.weight ●" in labels
    assert "<img src=x onerror=alert(3)> ●" in labels
    assert r"\x1b[2J\x1b]0;title\x07clear -" in labels
    assert page.locator("img, a[href^=javascript], svg a, main script").count() == 0


@pytest.mark.parametrize(("row", "text"), [(11, "<b>bold</b><br><a href="), (12, "%{y} %{customdata} ${x} {{ 7*7 }}")])
def test_hostile_names_are_shown_as_text_under_the_pointer(open_report, hostile_trends, row, text):
    page = open_report(hostile_trends)
    page.locator("#heatmap-plot").scroll_into_view_if_needed()
    area = page.locator("#heatmap-plot .xy > .nsewdrag").bounding_box()

    page.mouse.move(area["x"] + area["width"] * 10.5 / 20, area["y"] + area["height"] * (row + 0.5) / 40)

    expect(page.locator("#heatmap-plot .hoverlayer")).to_contain_text(text)


def test_the_pointer_tells_the_state_of_a_cell(open_report, trends):
    page = open_report(trends)
    page.locator("#heatmap-plot").scroll_into_view_if_needed()
    area = page.locator("#heatmap-plot .xy > .nsewdrag").bounding_box()

    page.mouse.move(area["x"] + area["width"] * 0.5 / 20, area["y"] + area["height"] * 7.5 / 40)

    hover = page.locator("#heatmap-plot .hoverlayer")
    expect(hover).to_contain_text("checkpoint-0 → checkpoint-500")
    expect(hover).to_contain_text("from zero, absolute change")


def test_search_keeps_the_layers_that_match(open_report, trends):
    page = open_report(trends)

    page.get_by_label("Search").fill("layer2 POINTWISE")

    expected = [row.name for row in trends.series.rows if "layer2" in row.name and row.kind == "pointwise"]
    assert _shown_rows(page) == expected
    expect(page.locator("#matches")).to_have_text(f"{len(expected)} of 40")


def test_search_finds_the_members_of_a_cluster(open_report, trends):
    page = open_report(trends)

    page.get_by_label("Search").fill("cluster 2")

    assert _shown_rows(page) == [trends.series.names[i] for i in trends.clusters[2].members]


def test_sorting_by_a_number_puts_layers_without_one_last_both_ways(open_report, trends):
    page = open_report(trends)
    header = page.locator("#layer-table thead th", has_text="Median change")
    without = trends.series.names[4]
    medians = {
        name: float(np.nanmedian(curve))
        for name, curve in zip(trends.series.names, trends.values, strict=True)
        if name != without
    }
    names = [row.name for row in trends.series.rows]

    header.get_by_role("button").click()
    ascending = _shown_rows(page)
    assert header.get_attribute("aria-sort") == "ascending"
    header.get_by_role("button").press("Enter")
    descending = _shown_rows(page)
    assert header.get_attribute("aria-sort") == "descending"

    assert sorted(ascending) == sorted(names)
    assert ascending == [*sorted(medians, key=medians.get), without]
    assert descending == [*sorted(medians, key=medians.get, reverse=True), without]
    assert page.locator("#layer-table [aria-sort]").count() == 1


def test_the_order_of_the_heatmap_can_be_switched(open_report, trends):
    page = open_report(trends)

    page.get_by_label("Order of layers").select_option("cluster")

    marks = [label[-1] for label in page.locator("#heatmap-plot .ytick").all_text_contents()]
    assert marks == ["●"] * 12 + ["■"] * 13 + ["◆"] * 12 + ["-", "✳", "✳"]


def test_long_labels_of_checkpoints_keep_what_tells_them_apart(open_report, trends):
    checkpoints = tuple(
        dataclasses.replace(record, step=None, label=f"a-very-long-run-epoch-{10 + index}.pt")
        for index, record in enumerate(trends.series.checkpoints)
    )
    series = dataclasses.replace(trends.series, checkpoints=checkpoints)
    page = open_report(dataclasses.replace(trends, series=series))

    labels = page.locator("#heatmap-plot .xtick text").all_text_contents()
    ends = {str(10 + after) for _, after in series.pairs}
    assert labels
    assert set(labels) <= ends
    assert page.get_by_label("Horizontal axis").count() == 0


def test_members_are_drawn_on_demand(open_report, trends):
    page = open_report(trends)
    drawn = "(div) => div.data.filter(({ mode }) => mode !== 'none').length"
    before = page.locator("#cluster-0").evaluate(drawn)

    page.get_by_label("Show every layer").check()

    assert page.locator("#cluster-0").evaluate(drawn) == before + 1


@pytest.mark.parametrize("width", [1440, 390])
def test_the_log_lies_above_the_heatmap_on_its_axis(open_report, trends, width):
    page = open_report(trends, viewport={"width": width, "height": 900})

    log, heatmap = (
        page.evaluate(f"document.getElementById('{id_}').layout.xaxis") for id_ in ("training-log", "heatmap-plot")
    )
    assert log["range"] == heatmap["range"] == [-0.5, 19.5]
    above, below = (page.locator(f"#{id_} .xy > .nsewdrag").bounding_box() for id_ in ("training-log", "heatmap-plot"))
    if width > 500:
        assert above["x"] == pytest.approx(below["x"], abs=1)
        assert above["width"] == pytest.approx(below["width"], abs=1)
    else:  # names of layers would leave it no room
        assert above["width"] > below["width"] + 20
        assert above["height"] > 0.4 * page.locator("#training-log").bounding_box()["height"]
    assert above["y"] + above["height"] < below["y"]
    names = page.locator("#training-log .legendtext").all_text_contents()
    assert names == ["loss", "eval loss", "learning rate"]
    titles = "({ layout }) => ['yaxis', 'yaxis2'].map((name) => layout[name].title.text)"
    assert page.locator("#training-log").evaluate(titles) == ["loss (no unit)", "learning rate (no unit)"]
    traces = "(plot) => plot.data.map((trace) => [trace.name, trace.x[0], trace.x.at(-1), trace.yaxis])"
    assert page.locator("#training-log").evaluate(traces)[:3] == [
        ["learning rate", -0.4, 19, "y2"],
        ["eval loss", 0, 19, "y"],
        ["loss", -0.4, 19, "y"],
    ]


@pytest.mark.parametrize(
    "names", [["loss"], ["eval_loss"], ["learning_rate"], ["loss", "learning_rate"], ["grad_norm"], []]
)
@pytest.mark.parametrize("num_entries", [1, 60])
def test_a_log_of_any_kind_is_quiet(open_report, trends, names, num_entries):
    log = trends.series.log
    numbers = np.where(np.arange(num_entries) % 7, np.linspace(0, 1e-5, num_entries), np.nan)
    numbers[-1] = 0.0
    some = dataclasses.replace(
        log, steps=log.steps[:num_entries], until=log.until[:num_entries], values=dict.fromkeys(names, numbers)
    )
    page = open_report(dataclasses.replace(trends, series=dataclasses.replace(trends.series, log=some)))
    assert page.locator("#training-log.js-plotly-plot").count() == (bool(names) and names != ["grad_norm"])


def test_a_log_without_steps_to_scale_is_drawn_between_the_checkpoints(open_report, trends):
    checkpoints = tuple(dataclasses.replace(record, step=None) for record in trends.series.checkpoints)
    series = dataclasses.replace(trends.series, checkpoints=checkpoints)
    page = open_report(dataclasses.replace(trends, series=series))
    assert page.get_by_label("Horizontal axis").count() == 0
    drawn = page.locator("#training-log").evaluate("(plot) => plot.data.map((trace) => trace.name)")
    assert drawn == ["learning rate", "eval loss", "loss", "events"]


def test_numbers_of_a_scale_are_written_in_one_style(open_report, trends):
    page = open_report(trends)
    texts = "(ticks) => report.tickTexts(ticks)"
    assert page.evaluate(texts, [1e-4, 1e-3, 0.5, 1, 2000]) == ["0.0001", "0.001", "0.5", "1", "2000"]
    assert page.evaluate(texts, [1e-5, 0.001, 0.25, 1, 1.5e7]) == ["1e-5", "1e-3", "2.5e-1", "1", "1.5e7"]


def test_no_plot_is_drawn_twice_since_there_is_room_for_what_stands_beside_it(open_report, trends, make_trends):
    for its in (trends, make_trends(300, 60)):
        page = open_report(its)
        # plotly.js counts where labels did not fit, so that it made room and drew again.
        drawn = "Array.from(document.querySelectorAll('.js-plotly-plot'), (div) => [div.id, div._fullLayout])"
        assert (
            page.evaluate(f"{drawn}.filter(([, its]) => '_redrawFromAutoMarginCount' in its).map(([id]) => id)") == []
        )


def test_zooming_brings_labels_that_were_left_out(open_report, make_trends):
    page = open_report(make_trends(300, 60))
    page.locator("#heatmap-plot").scroll_into_view_if_needed()
    area = page.locator("#heatmap-plot .xy > .nsewdrag").bounding_box()
    page.mouse.move(area["x"] + 5, area["y"] + 5)
    page.mouse.down()
    page.mouse.move(area["x"] + 200, area["y"] + 60, steps=4)
    page.mouse.up()

    expect(page.locator("#heatmap-plot .ytick", has_text="layer1.0.conv2.weight")).to_have_count(1)


def test_everything_but_the_plots_is_there_without_scripts(open_report, trends):
    page = open_report(trends, java_script_enabled=False)

    assert _shown_rows(page) == list(trends.series.names)
    notes = page.locator("noscript p:visible").all_text_contents()
    assert len(notes) == 1 + 8
    assert len([note for note in notes if "JavaScript" in note]) == 1
    assert page.locator("input:visible, select:visible, button:visible").count() == 0


def test_printing_uses_the_light_colours_and_the_screen_gets_its_own_back(open_report, trends):
    page = open_report(trends, color_scheme="dark")
    background = "document.querySelector('#scatter-plot').layout.paper_bgcolor"

    dark = page.evaluate(background)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    light = page.evaluate(background)
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")

    assert light == "#ffffff"
    assert page.evaluate(background) == dark != light


def test_a_printed_table_has_its_heads_and_fits_on_the_paper(open_report, trends):
    page = open_report(trends, viewport={"width": 718, "height": 1000})  # A4, less its margins
    page.emulate_media(media="print")
    heads = page.locator("#layer-table thead th")
    assert [head.strip() for head in heads.all_inner_texts()][:3] == ["Layer", "Kind", "Depth"]
    assert page.locator("#layer-table").bounding_box()["width"] <= 718


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (3, 0), (1, 1), (1, 20), (40, 1)])
def test_degenerate_trends_are_quiet(open_report, make_trends, example_module, size):
    trends = make_trends(*size)
    open_report(trends)
    open_report(example_module.without_clusters(trends))
    open_report(example_module.only_states(trends))


@pytest.mark.parametrize("width", [1440, 390])
def test_a_long_name_of_a_metric_is_not_cut_off(open_report, trends, width):
    name = "cosine of the angle between successive changes of all weights"
    series = dataclasses.replace(trends.series, given={name: trends.values})
    named = dataclasses.replace(trends, series=series, options=dataclasses.replace(trends.options, metric=name))
    page = open_report(named, viewport={"width": width, "height": 900})

    assert page.locator("#cluster-0 .ytitle tspan").count() > 1
    for plot in ("#cluster-0", "#alone", "#heatmap-plot", "#depth-plot", "#scatter-plot"):
        frame = page.locator(plot).bounding_box()
        for title in page.locator(
            f"{plot} .xtitle, {plot} .ytitle, {plot} .cbtitle text, {plot} .annotation text"
        ).all():
            box = title.bounding_box()
            assert frame["x"] - 1 <= box["x"]
            assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
            assert frame["y"] - 1 <= box["y"]
            assert box["y"] + box["height"] <= frame["y"] + frame["height"] + 1


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("name", ["rwc", "cosine of the angle between successive changes of all weights"])
def test_titles_stand_outside_of_what_is_drawn(open_report, trends, width, name):
    series = dataclasses.replace(trends.series, given={name: trends.values})
    named = dataclasses.replace(trends, series=series, options=dataclasses.replace(trends.options, metric=name))
    page = open_report(named, viewport={"width": width, "height": 900})

    for plot in ("#cluster-0", "#heatmap-plot", "#depth-plot"):
        area = page.locator(f"{plot} .nsewdrag").first.bounding_box()
        title = page.locator(f"{plot} .xtitle").bounding_box()
        assert title["y"] >= area["y"] + area["height"]
    page.locator("#heatmap-plot").scroll_into_view_if_needed()
    notes = [note.bounding_box() for note in page.locator("#heatmap-plot .annotation text").all()]
    bar = page.locator("#heatmap-plot .cbfills").bounding_box()
    for above, below in itertools.pairwise([*reversed(notes), bar]):
        assert above["y"] + above["height"] <= below["y"] + 1 or above["x"] + above["width"] <= below["x"]


def test_depth_shows_the_metric_and_its_centre(open_report, trends):
    page = open_report(trends)
    drawn = page.locator("#depth-plot").evaluate("(plot) => plot.data.map((trace) => [trace.type, trace.y])")

    assert [kind for kind, _ in drawn] == ["heatmap", "heatmap", "scatter", "scatter", "scatter"]
    assert drawn[0][1] == drawn[1][1] == list(trends.depth.depths)
    first, last = trends.depth.depths[0], trends.depth.depths[-1]
    np.testing.assert_allclose(drawn[2][1], first + trends.depth.centre * (last - first), rtol=1e-4)


def test_phases_are_parted_where_they_meet(open_report, trends):
    page = open_report(trends)
    place = "document.querySelector('#cluster-0').layout.shapes.map((shape) => shape.x0)"

    page.get_by_label("Horizontal axis").select_option("even")
    assert page.evaluate(place) == [9.5]
    page.get_by_label("Horizontal axis").select_option("steps")
    assert page.evaluate(place) == [5000]


def test_each_kind_has_a_map_of_its_own(open_report, kind_trends, settle):
    page = open_report(kind_trends)
    names = "document.querySelector('#scatter-plot').data.map((trace) => trace.name)"

    assert page.locator("#map-kind").evaluate("(list) => list.selectedOptions[0].text") == "pointwise"
    assert all(name.startswith(("cluster 2", "cluster 3", "outlier")) for name in page.evaluate(names))
    page.locator("#map-kind").select_option("linear")
    settle(page)
    assert [name[:9] for name in page.evaluate(names)][:2] == ["cluster 6", "cluster 7"]


@pytest.mark.parametrize(("share", "title"), [(0.18, "component 2"), (1e-16, "layer, first on top")])
@pytest.mark.parametrize("width", [1440, 390])
def test_a_component_that_is_but_rounding_is_not_drawn(open_report, trends, share, title, width):
    page = open_report(
        dataclasses.replace(trends, explained=np.array([0.8, share])), viewport={"width": width, "height": 900}
    )
    is_flat = share < 0.1

    assert page.locator("#scatter-plot .ytitle").text_content().startswith(title)
    lead = page.locator("#map .lead").text_content()
    assert ("Only one component stood out" in lead) == is_flat
    assert ("close together" in lead) != is_flat
    if is_flat:
        labels = page.locator("#scatter-plot .ytick text").all()
        names = [label.text_content() for label in labels]
        heights = sorted(label.bounding_box()["y"] for label in labels)
        assert set(names) <= {name.removesuffix(".weight" if width == 390 else "") for name in trends.series.names}
        assert len(names) >= 10
        assert min(np.diff(heights)) >= 12
