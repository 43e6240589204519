"""The report on paper."""

import pytest

pytestmark = pytest.mark.browser

PAPER = 680  # CSS pixels: 180 mm, less than A4 and Letter leave beside margins of 12 mm


def _right_ends(page):
    """Right ends of all plots, by name, from the left end of the report."""
    return page.locator("main .plot.js-plotly-plot, #layer-page .plot.js-plotly-plot").evaluate_all(
        """(all) => Object.fromEntries(all.map((div) => [div.id, div.layout.width
        + div.getBoundingClientRect().left - document.querySelector('main').getBoundingClientRect().left]))"""
    )


def test_plots_are_as_wide_as_the_paper_and_the_screen_gets_its_own_back(open_report, trends):
    page = open_report(trends, f"#layer={trends.series.names[3]}")
    before = _right_ends(page)

    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.set_viewport_size({"width": 703, "height": 1000})  # A4
    page.emulate_media(media="print")
    page.wait_for_timeout(400)  # longer than the page waits before it follows a new width
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
