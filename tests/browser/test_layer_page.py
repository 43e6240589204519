"""The page of a layer."""

import dataclasses
import re

import numpy as np
import pytest
from playwright.sync_api import expect

from wsanalyze.reports.text import printable

pytestmark = pytest.mark.browser


def test_it_shows_the_layer_against_its_cluster(open_report, trends):
    name = trends.series.names[8]
    page = open_report(trends, f"#layer={name}")
    panel = page.locator("#layer-page")

    facts = dict(
        panel.locator("[data-part=facts] > div").evaluate_all(
            "(all) => all.map((one) => [...one.children].map((part) => part.textContent))"
        )
    )
    assert facts["Kind"] == str(trends.series.rows[8].kind)
    assert facts["Cluster"] == "● cluster 0"
    assert facts["Confidence"] == f"{trends.confidence[8]:.2f}"
    assert float(facts["Median change"]) == pytest.approx(np.nanmedian(trends.values[8]), rel=5e-3)
    curves = page.locator("#layer-curve").evaluate("(plot) => plot.data.map((trace) => trace.y)")
    np.testing.assert_allclose(np.array(curves[1], float), trends.clusters[0].median, rtol=1e-4)
    np.testing.assert_allclose(np.array(curves[3][:-1], float), trends.values[8], rtol=1e-6)
    expect(panel.locator("[data-part=states]")).to_contain_text(
        "nonfinite: checkpoint-1000 to checkpoint-1500 (1 change)"
    )
    expect(panel.locator("[data-part=events]")).to_contain_text("is not finite")


def test_it_shows_the_other_metrics_as_they_are(open_report, trends):
    page = open_report(trends, f"#layer={trends.series.names[12]}")
    titles = page.locator("#layer-page h4:visible")
    expect(titles.first).to_contain_text("mean elementwise relative change (rwc-elementwise)")
    for index, title in enumerate(titles.all_text_contents()):
        metric = re.search(r"\(([a-z0-9-]+)\)", title)[1]
        drawn = page.locator("#layer-page h4:visible + .plot").nth(index)
        curve = drawn.evaluate("(plot) => plot.data[0].y")
        exact = trends.series.metric(metric)[12]
        shown = np.array(curve, float)
        np.testing.assert_allclose(shown, np.where(exact > 0, exact, np.nan), rtol=1e-3)
    assert titles.count() >= 5


def test_its_numbers_can_be_read_without_pointing(open_report, trends, settle):
    name = trends.series.names[8]
    page = open_report(trends, f"#layer={name}")
    page.locator("#layer-page summary").focus()
    page.keyboard.press("Enter")
    rows = page.locator("#layer-page table tbody tr")
    series = trends.series
    expect(rows).to_have_count(len(series.pairs))

    cells = rows.evaluate_all("(all) => all.map((row) => [...row.cells].map((cell) => cell.textContent))")
    states = series.metric_states()[8]
    for (span, text), pair, value, state in zip(cells, series.pairs, trends.values[8], states, strict=True):
        assert span == " → ".join(printable(series.checkpoints[place].label) for place in pair)
        if state:
            assert text.startswith(state)
        else:
            assert float(text.split()[0]) == pytest.approx(value, rel=6e-3)

    page.get_by_role("button", name="Next", exact=True).click()
    settle(page)
    assert rows.first.locator("td").text_content().startswith(f"{trends.values[9][0]:.3g}"[:3])


def test_its_buttons_turn_to_the_neighbours_and_to_the_cluster(open_report, trends):
    page = open_report(trends, f"#layer={trends.series.names[0]}")
    title = page.locator("#layer-page-title")
    page.get_by_role("button", name="Next", exact=True).click()
    expect(title).to_have_text(trends.series.names[1])
    page.get_by_role("button", name="Previous", exact=True).click()
    page.get_by_role("button", name="Previous", exact=True).click()
    expect(title).to_have_text(trends.series.names[-1])
    page.get_by_role("button", name="Select cluster 2").click()
    expect(page.locator("#layer-page")).to_be_hidden()
    expect(page.locator("#selected-text")).to_contain_text("cluster 2")


@pytest.mark.parametrize("layer", [0, 11, 12, 17])
def test_hostile_names_are_text_on_it(open_report, hostile_trends, hostile_names, layer):
    page = open_report(hostile_trends, viewport={"width": 390, "height": 800})
    page.locator(f"#layer-table button.pick[data-layer='{layer}']").click()
    expect(page.locator("#layer-page-title")).to_have_text(printable(hostile_names[layer]))
    assert page.locator("#layer-page").locator("img, b, a, script").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    panel = page.locator("#layer-page")
    assert panel.evaluate("(one) => one.scrollWidth <= one.clientWidth")


def test_it_is_printed_below_the_report(open_report, trends):
    page = open_report(trends, f"#layer={trends.series.names[3]}")
    page.emulate_media(media="print")
    main, panel = page.locator("main").bounding_box(), page.locator("#layer-page").bounding_box()
    assert panel["y"] >= main["y"] + main["height"]
    assert page.locator("#layer-page button:visible").count() == 0
    assert page.locator("#selected-text").is_visible()
    assert page.locator("#copy-link").is_hidden()


def test_a_report_too_large_for_all_metrics_says_so(open_report, trends, monkeypatch):
    monkeypatch.setattr("wsanalyze.reports.html_data._MAX_OTHER_CELLS", 100)
    page = open_report(trends, f"#layer={trends.series.names[3]}")
    expect(page.locator("[data-part=others-note]")).to_have_text(
        "They would make this file too large. --metric NAME shows one."
    )
    assert page.locator("#layer-page h4").count() == 0


def test_the_page_of_a_table_says_that_it_has_no_other_metric(open_report, trends):
    series = dataclasses.replace(trends.series, given={"rwc": trends.values})
    page = open_report(dataclasses.replace(trends, series=series), f"#layer={trends.series.names[3]}")
    expect(page.locator("[data-part=others-note]")).to_have_text("A table holds this metric only.")
    assert page.locator("#layer-page h4").count() == 0
