"""A mouse drags on every plot, a finger on none; what is said of them is true of each."""

import dataclasses

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

BY_FINGER = {"has_touch": True, "is_mobile": True}


def _drag(page, plot, start, end):
    """Drag over a plot, from one share of its width to another."""
    page.locator(plot).scroll_into_view_if_needed()
    area = page.locator(f"{plot} .xy > .nsewdrag").bounding_box()
    height = area["y"] + area["height"] / 2
    page.mouse.move(area["x"] + area["width"] * start, height)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] * end, height, steps=4)
    page.mouse.up()


@pytest.mark.parametrize(
    ("width", "plot", "fragment"),
    [(1440, "#layer-curve", "#layer=fc.weight"), (1024, "#cluster-0", ""), (390, "#cluster-0", "")],
)
def test_a_mouse_zooms_plots_of_any_width_to_steps(open_report, trends, settle, width, plot, fragment):
    page = open_report(trends, fragment, viewport={"width": width, "height": 900})
    settle(page)
    assert page.locator(plot).evaluate("(div) => div.clientWidth") < 480
    _drag(page, plot, 0.3, 0.7)
    settle(page)
    expect(page.locator("#steps-text")).to_contain_text("changes that end at steps")
    assert "from=" in page.evaluate("location.hash")


def test_a_finger_scrolls_the_page_over_plots_of_any_width(open_report, trends):
    page = open_report(trends, viewport={"width": 1024, "height": 900}, **BY_FINGER)
    modes = page.locator(".plot.js-plotly-plot").evaluate_all("(all) => all.map((div) => div.layout.dragmode)")
    assert len(modes) == 8
    assert set(modes) == {False}


@pytest.mark.parametrize("by_finger", [False, True])
def test_the_hint_speaks_of_what_the_pointer_can_do(open_report, trends, by_finger):
    page = open_report(trends, viewport={"width": 390, "height": 844}, **(BY_FINGER if by_finger else {}))
    hint = page.locator("#heatmap .hint")
    assert ("drag to zoom" in hint.inner_text()) != by_finger
    assert ("Tap a cell" in hint.inner_text()) == by_finger
    bar = page.locator("#nothing-selected").inner_text()
    assert (
        bar == f"{'Tap' if by_finger else 'Click'} a cell, a point, a curve or an underlined name: every plot follows."
    )


def test_names_that_answer_are_underlined_and_no_others(open_report, trends):
    page = open_report(trends)
    line = "(all) => [...new Set(all.map((one) => getComputedStyle(one).textDecorationLine))]"
    assert page.locator("button.pick").evaluate_all(line) == ["underline"]
    assert page.locator("main code.name").evaluate_all(
        f"(all) => ({line})(all.filter((one) => !one.closest('button')))"
    ) == ["none"]


def test_steps_that_are_exchanged_are_told(open_report, trends, settle):
    page = open_report(trends)
    page.locator("#steps-from").select_option(label="3000")
    settle(page)
    page.locator("#steps-to").select_option(label="1000")
    expect(page.locator("#said")).to_have_text("From and to were exchanged.")
    settle(page)
    expect(page.locator("#steps-text")).to_have_text("changes that end at steps 1000 to 3000")


def test_a_single_change_is_one(open_report, trends, make_trends):
    page = open_report(trends, "#from=1000&to=1000")
    expect(page.locator("#steps-text")).to_have_text("the change that ends at step 1000")
    nowhere = make_trends(12, 6)
    records = tuple(dataclasses.replace(record, step=None) for record in nowhere.series.checkpoints)
    series = dataclasses.replace(nowhere.series, checkpoints=records)
    page = open_report(dataclasses.replace(nowhere, series=series), "#from=2&to=2")
    expect(page.locator("#steps-text")).to_have_text("change 2")
