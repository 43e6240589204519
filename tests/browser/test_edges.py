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
