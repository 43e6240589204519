"""The address of the HTML report holds the view; what it asks for may be from anybody."""

import dataclasses

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

VIEW = "JSON.stringify({ ...report.view, at: '' })"


@pytest.fixture
def fragment_of(settle):
    """A function: what the address of a page holds, which follows a little later."""

    def read(page):
        settle(page)
        return page.evaluate("location.hash")

    return read


def test_a_link_opens_what_its_sender_saw(open_report, fragment_of, trends):
    page = open_report(trends)
    page.locator("#order").select_option("cluster")
    page.locator("#spacing").select_option("even")
    page.locator("#steps-from").select_option("3")
    page.locator("#steps-to").select_option("7")
    page.locator("#members").check()
    page.locator("#filter-kind").select_option("conv")
    page.locator("#filter-trend").select_option("1")
    page.locator("#search").fill("layer2 & <b>")
    page.locator("#search").fill("layer2")
    page.locator("#layer-table thead button", has_text="Median change").click()
    page.locator("#layer-table thead button", has_text="Median change").click()
    page.locator("#layer-table button.pick").nth(1).click()
    fragment, sent = fragment_of(page), page.evaluate(VIEW)
    shown = page.locator("#layer-table tbody th").all_text_contents()

    other = open_report(trends, fragment)

    assert other.evaluate(VIEW) == sent
    assert other.locator("#layer-table tbody th").all_text_contents() == shown
    expect(other.locator("#layer-page-title")).to_have_text(shown[1])
    assert other.locator("#order").input_value() == "cluster"
    assert other.locator("#search").input_value() == "layer2"
    assert other.locator("#members").is_checked()
    assert other.locator("#heatmap-plot").evaluate("(div) => div.layout.xaxis.range") == [2.5, 7.5]
    expect(other.locator("#layer-table th[aria-sort=descending]")).to_have_text("Median change")
    expect(other.locator("#link-note")).to_be_hidden()


def test_a_cluster_and_a_closed_page_are_in_the_link(open_report, fragment_of, trends):
    page = open_report(trends, "#cluster=2")
    expect(page.locator("#selected-text")).to_have_text("cluster 2, 12 layers")
    page.get_by_role("button", name="In no cluster").click()
    assert fragment_of(page) == "#cluster=none"
    page.locator("#layer-table button.pick").first.click()
    page.keyboard.press("Escape")
    assert fragment_of(page) == "#layer=conv1.weight&page=closed"
    again = open_report(trends, "#layer=conv1.weight&page=closed")
    expect(again.locator("#selected-text")).to_contain_text("conv1.weight")
    expect(again.locator("#layer-page")).to_be_hidden()


def test_a_layer_is_named_so_that_a_link_stays_right_where_rows_change(open_report, trends):
    name = trends.series.names[20]
    series = trends.series.select_rows(range(40))
    order = [*range(30, 40), *range(30)]
    moved = dataclasses.replace(
        trends,
        series=series.select_rows(order),
        points=trends.points[order],
        labels=trends.labels[order],
        confidence=trends.confidence[order],
        outliers=trends.outliers[order],
        clusters=(),
        touched={},
    )
    page = open_report(moved, f"#layer={name}")
    expect(page.locator("#layer-page-title")).to_have_text(name)
    assert page.evaluate("report.view.layer") == 30


def test_hostile_names_go_into_the_address_and_back(open_report, fragment_of, hostile_trends):
    for layer in (0, 9, 12, 14):
        page = open_report(hostile_trends)
        page.locator(f"#layer-table button.pick[data-layer='{layer}']").click()
        again = open_report(hostile_trends, fragment_of(page))
        assert again.evaluate("report.view.layer") == layer
        expect(again.locator("#link-note")).to_be_hidden()


def test_what_is_zoomed_is_in_the_link(open_report, fragment_of, trends, settle):
    page = open_report(trends)
    page.evaluate("report.update({ rows: [10, 19], order: 'cluster' })")
    for plot, (low, high) in (("cluster-0", (-2.25, 0.5)), ("depth-plot", (0.5, -2.25))):  # the first depth is on top
        page.evaluate(f"Plotly.relayout('{plot}', {{ 'yaxis.range[0]': {low}, 'yaxis.range[1]': {high} }})")
    page.evaluate(
        """Plotly.relayout('scatter-plot', { 'xaxis.range[0]': -1, 'xaxis.range[1]': 1.5,
        'yaxis.range[0]': -0.5, 'yaxis.range[1]': 0.25 })"""
    )
    fragment, sent = fragment_of(page), page.evaluate(VIEW)

    other = open_report(trends, fragment)

    assert other.evaluate(VIEW) == sent
    expect(other.locator("#link-note")).to_be_hidden()
    drawn = "(div) => [...div._fullLayout.xaxis.range, ...div._fullLayout.yaxis.range]"
    assert other.locator("#heatmap-plot").evaluate(drawn)[2:] == [19.5, 9.5]
    assert other.locator("#scatter-plot").evaluate(drawn) == [-1, 1.5, -0.5, 0.25]
    assert other.locator("#cluster-0").evaluate(drawn)[2:] == [-2.25, 0.5]
    assert other.locator("#depth-plot").evaluate(drawn)[2:] == [0.5, -2.25]
    # Rows are told by the names of their ends, which stay right where others are added.
    order = other.evaluate("report.data.orders.cluster")
    assert f"top={trends.series.names[order[10]]}&bottom={trends.series.names[order[19]]}" in fragment

    for plot in ("cluster-0", "scatter-plot"):
        page.evaluate(f"document.getElementById('{plot}').emit('plotly_doubleclick')")
    settle(page)
    left = fragment_of(page)
    assert "cluster-0" not in left
    assert "area" not in left
    assert "zoom=depth-plot" in left


def test_the_zoom_of_a_plot_of_a_layer_is_in_the_link_and_goes_with_the_layer(open_report, fragment_of, trends, settle):
    page = open_report(trends, "#layer=conv1.weight&zoom=layer-curve+-3.5+-0.5&zoom=layer-l2+-3+-1")
    expect(page.locator("#link-note")).to_be_hidden()
    drawn = "(div) => div._fullLayout.yaxis.range"
    assert page.locator("#layer-curve").evaluate(drawn) == [-3.5, -0.5]
    assert page.locator("#layer-l2").evaluate(drawn) == [-3, -1]
    page.get_by_role("button", name="Next", exact=True).click()
    settle(page)
    assert page.locator("#layer-curve").evaluate(drawn) != [-3.5, -0.5]
    assert "zoom" not in fragment_of(page)


def test_a_link_to_a_layer_shows_its_row_in_the_table(open_report, make_trends, settle):
    trends = make_trends(1201, 6)
    page = open_report(trends, f"#layer={trends.series.names[1100]}&sort=name")
    settle(page)
    row = page.locator("#layer-table tr[aria-current]")
    expect(row.locator("th")).to_have_text(trends.series.names[1100])
    box, place = page.locator(".scroll.tall").bounding_box(), row.bounding_box()
    assert box["y"] <= place["y"]
    assert place["y"] + place["height"] <= box["y"] + box["height"]


def test_the_page_of_the_table_is_in_the_link_where_it_is_another_than_that_of_the_layer(
    open_report, fragment_of, make_trends
):
    trends = make_trends(1201, 6)
    page = open_report(trends, f"#layer={trends.series.names[600]}")
    expect(page.locator("#page-text")).to_have_text("Rows 501 to 1,000 of 1,201")
    assert "tablepage" not in fragment_of(page)
    page.get_by_role("button", name="Next rows").click()
    assert "tablepage=3" in fragment_of(page)

    other = open_report(trends, fragment_of(page))
    expect(other.locator("#page-text")).to_have_text("Rows 1,001 to 1,201 of 1,201")
    other.evaluate("report.clearSelection()")
    expect(other.locator("#page-text")).to_have_text("Rows 1,001 to 1,201 of 1,201")
    assert fragment_of(other) == "#tablepage=3"
    other.locator("#search").fill("layer")
    assert fragment_of(other) == "#q=layer"


def test_steps_of_many_digits_keep_them_all(open_report, fragment_of, trends):
    checkpoints = tuple(
        dataclasses.replace(record, step=record.step and 10**17 + 1000 * record.step + 1)
        for record in trends.series.checkpoints
    )
    long = dataclasses.replace(trends, series=dataclasses.replace(trends.series, checkpoints=checkpoints))
    page = open_report(long)
    page.locator("#steps-from").select_option("3")
    page.locator("#steps-to").select_option("7")
    steps = [checkpoints[after].step for _, after in trends.series.pairs]
    expect(page.locator("#steps-text")).to_have_text(f"changes that end at steps {steps[3]} to {steps[7]}")
    fragment = fragment_of(page)
    assert fragment == f"#from={steps[3]}&to={steps[7]}"
    assert open_report(long, fragment).evaluate("report.view.steps") == [3, 7]


def test_layers_whose_names_look_alike_are_told_apart(open_report, fragment_of, trends):
    names = ["a (2)", "a\x00", r"a\x00", "a\x00 (2)", "a", r"a\x00 (3)"]
    rows = tuple(dataclasses.replace(row, name=name) for row, name in zip(trends.series.rows, names, strict=False))
    alike = dataclasses.replace(
        trends, series=dataclasses.replace(trends.series, rows=(*rows, *trends.series.rows[len(names) :]))
    )
    fragments = []
    for layer in range(len(names)):
        page = open_report(alike)
        page.locator(f"#layer-table button.pick[data-layer='{layer}']").click()
        fragments.append(fragment_of(page))
        assert open_report(alike, fragments[-1]).evaluate("report.view.layer") == layer
    assert len(set(fragments)) == len(names)


@pytest.mark.parametrize(
    ("fragment", "told"),
    [
        ("zoom=cluster-0+1e999+2", "zoom “cluster-0 1e999 2”"),
        ("zoom=scatter-plot+1+2&zoom=__proto__+1+2", "zoom “scatter-plot 1 2”, zoom “__proto__ 1 2”"),
        ("area=1+2+3&tablepage=2&top=nobody", "top “nobody”, area “1 2 3”, tablepage “2”"),
        ("layer=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E", "layer “<img src=x onerror=alert(1)>”"),
        ("layer=</script><script>alert(1)</script>", "layer “</script><script>alert(1)</script>”"),
        ("layer=a%00b%E2%80%AEc%0A", r"layer “a\u0000b\u202ec\u000a”"),
        ("layer=" + "x" * 5000, "…"),
        ("cluster=99&order=__proto__&sort=constructor", "cluster “99”, order “__proto__”, sort “constructor”"),
        ("from=1e9&to=-5&spacing=javascript:alert(1)", "from “1e9”, to “-5”, spacing “javascript:alert(1)”"),
        (
            "kind=conv'\"><svg onload=alert(1)>&in=7&state=toString",
            "kind “conv'\"><svg onload=alert(1)>”, in “7”, state “toString”",
        ),
        ("%E0%A4%A=%&layer=%FF", "layer “\ufffd”"),
        ("layers=1&__proto__=2&page=open", "“layers”, “__proto__”, page “open”"),
        ("from=5000&to=1000", "from “5000” back to “1000”"),
        ("top=fc.weight&bottom=conv1.weight", "top “fc.weight” below “conv1.weight”"),
        ("zoom=cluster-0+1+-1&zoom=depth-plot+1+2&area=1+0+0+1", "zoom “cluster-0 1 -1”, zoom “depth-plot 1 2”, area"),
        ("nowhere", "“nowhere”"),
        ("at=nowhere", "at “nowhere”"),
    ],
)
def test_what_a_link_asks_for_in_vain_is_told_as_text_and_nothing_runs(open_report, trends, fragment, told):
    page = open_report(trends, f"#{fragment}")

    note = page.locator("#link-note")
    expect(note).to_contain_text(told)
    assert len(note.text_content()) < 400
    assert page.locator("#link-note *").count() == 0
    expect(page.locator("#selected")).to_be_hidden()
    assert page.evaluate("report.view.order + report.view.sort + report.view.kind") == "depth"
    assert page.locator("#layer-table tbody tr").count() == 40


def test_a_zoom_beyond_all_numbers_is_not_drawn(open_report, trends):
    page = open_report(trends, "#zoom=cluster-0+-1e15+1e15&zoom=training-log+1e300+-1e300&area=-1e300+1e300+-1+1")
    low, high = page.locator("#cluster-0").evaluate("(div) => div._fullLayout.yaxis.range")
    assert -10 < low < high < 10


def test_a_link_that_is_pasted_into_an_open_page_is_followed(open_report, trends):
    page = open_report(trends)
    page.evaluate("location.hash = '#layer=conv1.weight&from=1000&to=2000'")
    expect(page.locator("#layer-page-title")).to_have_text("conv1.weight")
    expect(page.locator("#steps-text")).to_have_text("changes that end at steps 1000 to 2000")
    page.evaluate("location.hash = '#cluster=0'")
    expect(page.locator("#selected-text")).to_contain_text("cluster 0")
    expect(page.locator("#steps-chip")).to_be_hidden()


def test_a_jump_to_a_section_keeps_the_view(open_report, fragment_of, trends):
    page = open_report(trends, "#cluster=1")
    page.get_by_role("navigation").get_by_role("link", name="How sure").click()
    assert fragment_of(page) == "#at=quality&cluster=1"
    top = "document.getElementById('quality').getBoundingClientRect().top"
    assert 0 <= page.evaluate(top) < 1000

    again = open_report(trends, "#at=quality&cluster=1", viewport={"width": 1440, "height": 500})
    assert 0 <= again.evaluate(top) < 500
    expect(again.locator("#selected-text")).to_contain_text("cluster 1")


def test_the_link_is_copied(open_report, trends):
    page = open_report(trends, "#cluster=1", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#said")).to_have_text("Copied: a link to this view.")
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    assert page.url.endswith("#cluster=1")
