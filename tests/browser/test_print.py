"""The report on paper."""

import dataclasses

import pytest
from playwright.sync_api import expect

from wsanalyze.series import TrainingLog

pytestmark = pytest.mark.browser

PAPER = 680  # CSS pixels: 180 mm, less than A4 and Letter leave beside margins of 12 mm


def _right_ends(page):
    """Right ends of all plots, by name, from the left end of the report."""
    return page.locator("main .plot.js-plotly-plot, #layer-page .plot.js-plotly-plot").evaluate_all(
        """(all) => Object.fromEntries(all.map((div) => [div.id, div.layout.width
        + div.getBoundingClientRect().left - document.querySelector('main').getBoundingClientRect().left]))"""
    )


def test_plots_are_as_wide_as_the_paper_and_the_screen_gets_its_own_back(open_report, trends, settle):
    page = open_report(trends, f"#layer={trends.series.names[3]}")
    before = _right_ends(page)

    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.set_viewport_size({"width": 703, "height": 1000})  # A4
    page.emulate_media(media="print")
    settle(page)
    on_paper = _right_ends(page)
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 1440, "height": 1000})
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")

    assert set(on_paper) == set(before)
    assert max(on_paper.values()) <= 703
    assert on_paper["heatmap-plot"] == on_paper["depth-plot"] == PAPER
    assert on_paper["cluster-0"] > PAPER - 40
    assert _right_ends(page) == before


def test_heads_that_sort_are_text_and_swatches_keep_their_colours(open_report, trends):
    page = open_report(trends)
    page.emulate_media(media="print")

    # Chromium leaves boxes of buttons out of the heads that it repeats on each page.
    heads = page.locator("#layer-table thead button")
    assert set(heads.evaluate_all("(all) => all.map((one) => getComputedStyle(one).display)")) == {"contents"}
    swatches = page.locator(".swatch")
    exact = "(all) => all.map((one) => getComputedStyle(one).printColorAdjust)"
    assert set(swatches.evaluate_all(exact)) == {"exact"}


@pytest.fixture
def print_out(open_report, settle):
    """A function that opens a report as Chromium prints it on A4, with margins of 12 mm."""

    def open_printed(trends):
        page = open_report(trends)
        settle(page)
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        page.set_viewport_size({"width": 703, "height": 1000})
        page.emulate_media(media="print")
        return page

    return open_printed


@pytest.mark.parametrize("prefix", ["", "base_model.model.roberta.encoder."])
def test_nothing_is_wider_than_the_paper_since_all_would_be_shrunk(
    print_out, trends, kind_trends, example_module, prefix
):
    for its in (trends, kind_trends):
        page = print_out(example_module.with_prefix(its, prefix))
        assert page.evaluate("document.documentElement.scrollWidth") == 703


def test_long_names_take_two_lines_of_the_printed_table_at_most(print_out, trends, example_module):
    one = example_module.with_prefix(trends, "base_model.model.roberta.encoder.")
    page = print_out(dataclasses.replace(one, clusters=one.clusters[:1]))
    lines = page.locator("#layer-table tbody .name")
    heights = lines.evaluate_all(
        "(all) => all.map((name) => name.offsetHeight / parseFloat(getComputedStyle(name).fontSize))"
    )
    assert max(heights) < 2 * 1.7


def test_words_stay_with_their_plots(print_out, trends):
    page = print_out(trends)
    style = "(all, name) => all.map((one) => getComputedStyle(one)[name])"
    assert set(page.locator(".lead, p.muted").evaluate_all(style, "breakInside")) == {"avoid"}
    assert set(page.locator(".lead, h2, h3, #layers-note").evaluate_all(style, "breakAfter")) == {"avoid"}
    for section in ("#map", "#depth"):
        assert page.locator(f"{section} .lead, {section} figure").count() == 2
        assert page.locator(section).evaluate_all(style, "breakInside") == ["avoid"]
    assert page.locator("#heatmap .hint").is_hidden()  # nobody points at paper


def test_the_map_of_a_kind_says_whose_it_is(print_out, kind_trends):
    page = print_out(kind_trends)
    assert page.locator("#map-kind").is_hidden()
    legend = page.locator("#scatter-plot .legendtext").all_text_contents()
    assert legend[0].startswith("cluster 2 of pointwise: ")
    assert page.locator("#scatter-note").inner_text() == "The map of pointwise, one of 4 kinds that have one each."


def test_paper_has_margins_of_its_own(open_report, trends):
    page = open_report(trends)
    rules = """() => Array.from(document.styleSheets[0].cssRules)
        .filter((rule) => rule instanceof CSSPageRule).map((rule) => rule.style.margin)"""
    assert page.evaluate(rules) == ["12mm"]


A4, LETTER = 1032, 965  # CSS pixels between margins of 12 mm, from top to bottom


def _heatmap_boxes(page):
    """Top and bottom of the heatmap with its caption, and the top of its section, from the top of the paper."""
    return page.evaluate(
        """() => {
            const boxOf = (one) => one.getBoundingClientRect();
            const { top, bottom } = boxOf(document.querySelector('#heatmap-plot').closest('figure'));
            return [top, bottom, boxOf(document.querySelector('#heatmap')).top].map((at) => at + scrollY);
        }"""
    )


def test_a_heatmap_that_does_not_fit_below_the_headline_has_a_page_of_its_own_with_all_names(print_out, make_trends):
    page = print_out(make_trends(74, 3))
    _, bottom, section = _heatmap_boxes(page)
    assert bottom - section <= LETTER
    assert page.locator("#heatmap-plot .ytick").count() == 74
    lines = page.locator("#heatmap-plot").evaluate("(plot) => plot._fullLayout._size.h / 74")
    assert lines >= page.locator("#heatmap-plot").evaluate("(plot) => plot.layout.yaxis.tickfont.size")


@pytest.mark.parametrize(("num_layers", "least"), [(24, 240), (400, 320)])
def test_a_heatmap_takes_what_the_first_page_has_left(print_out, make_trends, num_layers, least):
    its = make_trends(num_layers, 6)
    series = dataclasses.replace(its.series, events=(), log=TrainingLog())
    page = print_out(dataclasses.replace(its, events=(), series=series))
    top, bottom, _ = _heatmap_boxes(page)
    assert top < bottom <= A4
    assert page.locator("#heatmap-plot").evaluate("(plot) => plot._fullLayout._size.h") >= least


def test_the_screen_gets_the_height_of_its_heatmap_and_its_closed_lists_back(open_report, make_trends, settle):
    page = open_report(make_trends(74, 3))
    settle(page)
    height = "(plot) => plot.layout.height"
    before = page.locator("#heatmap-plot").evaluate(height)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#heatmap-plot").evaluate(height) < before
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("#heatmap-plot").evaluate(height) == before
    assert page.locator(".card details[open]").count() == 0
    expect(page.locator("nav")).to_be_visible()  # what hides it is for paper only


def test_few_members_are_printed_and_of_many_there_is_no_empty_list(print_out, trends):
    page = print_out(trends)
    few = [cluster for cluster in trends.clusters if len(cluster.members) <= 12]
    assert 0 < len(few) < len(trends.clusters)
    for cluster in trends.clusters:
        card = page.locator(f"[data-card='{cluster.id}']")
        assert card.locator("summary").is_hidden()
        assert card.locator("li:visible").count() == (len(cluster.members) if cluster in few else 0)


def test_facts_are_one_line_of_paper(print_out, trends):
    page = print_out(trends)
    tops = page.locator(".facts div").evaluate_all("(all) => all.map((fact) => fact.offsetTop)")
    assert len(tops) == 6
    assert len(set(tops)) == 1
