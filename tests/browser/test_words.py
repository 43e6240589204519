"""Words beside plots: they say what is drawn, and lines end where they should."""

import dataclasses

import numpy as np
import pytest
from playwright.sync_api import expect

from wsanalyze.reports.names import split_names
from wsanalyze.series import State

pytestmark = pytest.mark.browser

TELEPHONE = {"width": 390, "height": 844}


def test_the_colon_of_a_title_stays_with_its_cluster(open_report, trends):
    page = open_report(trends, viewport=TELEPHONE)
    titles = page.locator(".card h3 .together")
    assert titles.all_text_contents() == [f"{mark} Cluster {id_}:" for id_, mark in enumerate("●■◆")]
    for title in titles.all():
        assert title.evaluate("(one) => one.getClientRects().length") == 1
        assert title.evaluate("(one) => getComputedStyle(one).whiteSpace") == "nowrap"


def test_a_title_of_a_name_is_broken_where_a_part_ends(open_report, trends, example_module):
    long = example_module.with_prefix(trends, "base_model.model.roberta.encoder.attention.")
    name = long.series.names[3]
    page = open_report(long, f"#layer={name}", viewport=TELEPHONE)
    title = page.locator("#layer-page-title")
    expect(title).to_have_text(name)
    ends = """(title) => { const found = [];
        for (const node of title.childNodes) if (node.nodeType === 3) { const range = document.createRange();
            range.selectNodeContents(node); found.push(range.getClientRects().length); }
        return found; }"""
    lines = title.evaluate(ends)
    assert len(lines) == len(split_names(name)) > 8
    assert set(lines) == {1}  # no part lies on two lines


@pytest.mark.parametrize("is_apart", [True, False])
def test_a_scale_of_their_own_is_spoken_of_where_it_is(open_report, trends, is_apart):
    given = trends.values.copy()
    given[trends.outliers] = given[trends.labels >= 0][0] * (1e4 if is_apart else 1)
    series = dataclasses.replace(trends.series, given={"rwc": given})
    page = open_report(dataclasses.replace(trends, series=series))
    card = page.locator("[data-card='-1']")
    assert ("On a scale of their own" in card.text_content()) == is_apart
    ranges = [page.locator(plot).evaluate("(div) => div.layout.yaxis.range") for plot in ("#alone", "#cluster-0")]
    assert (ranges[0] != ranges[1]) == is_apart


def test_what_is_not_drawn_of_those_in_no_cluster_is_told(open_report, trends):
    given = trends.values.copy()
    alone = np.flatnonzero(trends.labels < 0)
    given[alone[0]], given[alone[1]] = np.nan, 0.0
    labels = trends.labels.copy()
    labels[alone[2:]] = 0
    series = dataclasses.replace(trends.series, given={"rwc": given})
    page = open_report(dataclasses.replace(trends, series=series, labels=labels))
    told = "Not drawn: 1 layer without a number, 1 layer without a value above 0."
    expect(page.locator("[data-card='-1'] p.muted").nth(1)).to_have_text(
        f"The clusters\u2019 medians are in faint grey. {told}"
    )
    assert page.locator("#alone .annotation").count() == 0


def test_the_title_of_the_lines_says_what_their_marks_are(open_report, trends, settle):
    page = open_report(trends)
    titles = page.locator("#heatmap-plot .annotation")
    assert "layer (by depth) and the mark of its cluster" in titles.all_text_contents()
    page.get_by_label("Order of layers").select_option("cluster")
    settle(page)
    assert "layer (by cluster) and its mark" in titles.all_text_contents()


@pytest.mark.parametrize(
    ("width", "title"), [(1440, "training step after the change (evenly spaced)"), (390, "step (evenly spaced)")]
)
def test_an_axis_that_is_evenly_spaced_says_so(open_report, trends, width, title):
    page = open_report(
        trends, f"#spacing=even&layer={trends.series.names[3]}", viewport={"width": width, "height": 900}
    )
    for plot in ("#heatmap-plot", "#cluster-0", "#depth-plot", "#layer-curve", "#layer-rwc-elementwise"):
        expect(page.locator(f"{plot} .xtitle")).to_have_text(
            "training step after the change (evenly spaced)" if plot.startswith("#layer") and width > 400 else title
        )
    expect(page.locator("#training-log .xtitle")).to_have_text(
        "training step (aligned with the columns below)" if width > 400 else "training step"
    )


@pytest.mark.parametrize("has_lost", [True, False])
@pytest.mark.parametrize("has_unchanged", [True, False])
def test_the_greys_over_depth_are_explained_where_there_are_any(open_report, trends, has_lost, has_unchanged):
    values, states = np.abs(trends.values), np.full(trends.values.shape, None, dtype=object)
    values[~(values > 0)] = 0.1
    if has_unchanged:
        values[3], states[3] = 0.0, State.UNCHANGED
    if has_lost:
        values[5, 2] = np.nan
    series = dataclasses.replace(trends.series, given={"rwc": values}, states=states)
    depth = dataclasses.replace(trends.depth, depths=tuple(range(len(values))), values=values)
    page = open_report(dataclasses.replace(trends, series=series, depth=depth))
    assert page.locator("#depth-unchanged").is_visible() == has_unchanged
    assert page.locator("#depth-lost").is_visible() == has_lost
