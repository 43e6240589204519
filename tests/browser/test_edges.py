"""One change, and none at all: no axis and no number is made up."""

import dataclasses

import numpy as np
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("spacing", ["steps", "even"])
def test_of_one_change_the_axis_shows_its_step_only(open_report, make_trends, spacing):
    trends = make_trends(12, 1)
    page = open_report(trends, f"#spacing={spacing}&layer={trends.series.names[0]}")
    for plot in ("#cluster-0", "#layer-curve"):
        assert page.locator(f"{plot} .xtick text").all_text_contents() == ["500"]


def test_one_change_is_drawn_as_points(open_report, make_trends):
    trends = make_trends(12, 1)
    page = open_report(trends)
    assert page.locator("#cluster-0 .points path").count() == 3  # each median
    page.get_by_label("Show every layer").check()
    assert page.locator("#cluster-0 .points path").count() == 3 + len(trends.clusters[0].members)


def test_steps_that_lie_near_are_whole_numbers(open_report, make_trends):
    trends = make_trends(12, 3)
    checkpoints = tuple(
        dataclasses.replace(record, step=index) for index, record in enumerate(trends.series.checkpoints)
    )
    page = open_report(
        dataclasses.replace(trends, series=dataclasses.replace(trends.series, checkpoints=checkpoints), events=())
    )
    assert page.locator("#cluster-0 .xtick text").all_text_contents() == ["1", "2", "3"]


@pytest.mark.parametrize("width", [1440, 390])
def test_where_nothing_changed_no_axis_is_made_up(open_report, trends, width):
    zeros = np.zeros(trends.values.shape)
    level = tuple(zeros[0].tolist())
    cluster = dataclasses.replace(trends.clusters[0], low=level, median=level, high=level)
    page = open_report(
        dataclasses.replace(
            trends,
            series=dataclasses.replace(trends.series, given={"rwc": zeros}),
            clusters=(cluster,),
            labels=np.zeros(len(zeros), dtype=np.int64),
            depth=dataclasses.replace(trends.depth, values=np.zeros(trends.depth.values.shape)),
        ),
        viewport={"width": width, "height": 1000},
    )
    card = page.locator("[data-card='0']")
    expect(card).to_contain_text("There is no curve: every number is 0.")
    assert card.locator(".plot, [data-save]").count() == 0
    for plot in ("#heatmap-plot", "#depth-plot"):
        drawn = page.locator(plot)
        assert drawn.locator(".colorbar").count() == 0
        assert "ratio" not in drawn.text_content()


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("size", [(40, 20), (5, 3), (1, 20), (300, 20)])
def test_the_page_has_room_for_plots_before_they_are_drawn(open_report, make_trends, size, width):
    page = open_report(make_trends(*size), viewport={"width": width, "height": 1000})
    found = page.locator("main .plot").evaluate_all(
        """(all) => all.map((div) => [div.id, parseFloat(getComputedStyle(div).minHeight),
        div.querySelector(".main-svg").getBoundingClientRect().height])"""
    )
    assert len(found) >= 3
    for _, reserved, drawn in found:
        assert reserved <= drawn <= reserved + (1 if width == 1440 else 20)


def test_each_kind_has_room_for_its_map(open_report, kind_trends):
    page = open_report(kind_trends)
    drawn = page.locator("#scatter-plot .main-svg").first.bounding_box()["height"]
    reserved = page.locator("#scatter-plot").evaluate("(div) => parseFloat(getComputedStyle(div).minHeight)")
    assert reserved == drawn


def test_without_scripts_there_is_no_room_for_plots(open_report, trends):
    page = open_report(trends, java_script_enabled=False)
    assert page.locator(".plot").count() > 5
    assert page.locator(".plot:visible").count() == 0


@pytest.mark.parametrize(("rows", "width"), [(5, 1440), (40, 1440), (40, 390)])
def test_the_title_of_the_steps_keeps_away_from_their_numbers(open_report, make_trends, rows, width):
    page = open_report(make_trends(rows, 20), viewport={"width": width, "height": 1000})
    for plot in ("#heatmap-plot", "#depth-plot", "#cluster-0"):
        if not page.locator(plot).count():
            continue
        numbers = [text.bounding_box() for text in page.locator(f"{plot} .xtick text").all()]
        title, frame = page.locator(f"{plot} .xtitle").bounding_box(), page.locator(plot).bounding_box()
        assert 4 <= title["y"] - max(box["y"] + box["height"] for box in numbers) <= 8
        assert title["y"] + title["height"] < frame["y"] + frame["height"]
