"""The report on paper."""

import dataclasses

import pytest

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
