"""The table of layers, its filters and what is taken out of it; and reports of more layers than lines."""

import csv
import dataclasses

import numpy as np
import pytest
from playwright.sync_api import expect

from wsanalyze.reports.text import printable
from wsanalyze.series import Kind

pytestmark = pytest.mark.browser


def shown_rows(page):
    return page.locator("#layer-table tbody tr:visible").evaluate_all("(rows) => rows.map((row) => +row.dataset.layer)")


def test_kind_cluster_and_state_filter_together_with_the_search(open_report, trends):
    page = open_report(trends)
    kinds = np.array([str(row.kind) for row in trends.series.rows])
    states = trends.series.metric_states("rwc")

    page.locator("#filter-kind").select_option("conv")
    assert shown_rows(page) == np.flatnonzero(kinds == "conv").tolist()
    page.locator("#filter-trend").select_option("1")
    assert shown_rows(page) == np.flatnonzero((kinds == "conv") & (trends.labels == 1)).tolist()
    page.locator("#filter-kind").select_option("")
    page.locator("#filter-trend").select_option("outlier")
    assert shown_rows(page) == np.flatnonzero(trends.outliers).tolist()
    page.locator("#filter-trend").select_option("")
    page.locator("#filter-state").select_option("any")
    any_state = np.flatnonzero((states != None).any(axis=1))  # noqa: E711 - elementwise
    assert shown_rows(page) == any_state.tolist()
    page.locator("#filter-state").select_option("resized")
    assert shown_rows(page) == [3]
    page.locator("#search").fill("nothing of that name")
    assert shown_rows(page) == []
    expect(page.locator("#matches")).to_have_text("0 of 40")


def test_members_of_a_cluster_are_shown_in_the_table_on_demand(open_report, trends):
    page = open_report(trends)
    page.locator("[data-card='1'] summary").click()
    page.locator("[data-card='1']").get_by_role("button", name="Show all in the table").click()
    assert shown_rows(page) == list(trends.clusters[1].members)
    assert page.locator("#layer-table").evaluate("(table) => table.getBoundingClientRect().top < innerHeight")


def read_download(page, tmp_path):
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    path = tmp_path / "rows.csv"
    download.value.save_as(path)
    return list(csv.reader(path.read_text(encoding="utf-8").splitlines()))


def test_the_rows_shown_are_downloaded_in_their_order(open_report, trends, tmp_path):
    page = open_report(trends)
    page.locator("#filter-trend").select_option("2")
    page.locator("#layer-table thead button", has_text="Median change").click()

    head, *lines = read_download(page, tmp_path)

    assert head[0] == "layer"
    assert [line[0] for line in lines] == [trends.series.names[row] for row in shown_rows(page)]
    medians = {trends.series.names[row]: np.nanmedian(trends.values[row]) for row in trends.clusters[2].members}
    for line in lines:
        assert float(line[6]) == pytest.approx(medians[line[0]], rel=1e-5)
    assert [float(line[6]) for line in lines] == sorted(float(line[6]) for line in lines)


def test_no_digit_is_written_that_the_page_does_not_hold(open_report, trends, tmp_path, monkeypatch):
    monkeypatch.setattr("wsanalyze.reports.html_numbers._MAX_EXACT", 10)
    page = open_report(trends)
    head, *lines = read_download(page, tmp_path)
    expect(page.locator("#said")).to_have_text("Downloaded: 40 layers, numbers to 3 digits (--csv: all).")
    assert "3 digits" in page.locator("#download-rows").get_attribute("title")
    assert head[6].endswith("(3 digits)")
    for line in lines:
        for text in line[6:8]:
            mantissa = text.partition("e")[0].replace(".", "").lstrip("0-")
            assert len(mantissa) <= 3
    medians = [float(line[6]) for line in lines if line[6]]
    exact = [np.nanmedian(curve) for curve in trends.values if np.isfinite(curve).any()]
    np.testing.assert_allclose(medians, exact, rtol=5.1e-3)


def test_no_cell_is_a_formula(open_report, hostile_trends, hostile_names, tmp_path):
    page = open_report(hostile_trends, permissions=["clipboard-read", "clipboard-write"])

    _, *lines = read_download(page, tmp_path)
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator("#said")).to_have_text("Copied: 40 layers.")
    copied = [line.split("\t") for line in page.evaluate("navigator.clipboard.readText()").split("\n")]

    names = [line[0] for line in lines]
    assert len(names) == 40
    for raw in hostile_names:
        name = printable(raw)
        assert (f"'{name}" if name[0] in "=+-@" else name) in names
    for table in (lines, copied[1:]):
        assert not [cell for line in table for cell in line if cell.startswith(("=", "+", "-", "@"))]
        assert {len(line) for line in table} == {9}
    assert [line[0] for line in copied[1:]] == names


def test_a_table_of_many_layers_has_pages(open_report, make_trends):
    trends = make_trends(1201, 6)
    page = open_report(trends)
    assert shown_rows(page) == list(range(500))
    expect(page.locator("#page-text")).to_have_text("Rows 1 to 500 of 1,201")
    page.get_by_role("button", name="Next rows").click()
    page.get_by_role("button", name="Next rows").click()
    assert shown_rows(page) == list(range(1000, 1201))
    expect(page.get_by_role("button", name="Next rows")).to_be_disabled()

    page.locator("#layer-table thead button", has_text="Depth").click()
    page.locator("#layer-table thead button", has_text="Depth").click()
    assert shown_rows(page) == list(range(1200, 700, -1))
    row = page.locator("#layer-table tbody tr").first.locator("th, td").all_text_contents()
    assert row[:5] == ["fc.weight", "head", "1200", "10\N{MULTIPLICATION SIGN}512", "◆ 2"]
    assert float(row[6]) == pytest.approx(np.median(trends.values[1200]), rel=5e-3)

    page.evaluate("report.selectLayer(3)")  # on the last page of this order
    expect(page.locator("#layer-table tr[aria-current] th")).to_have_text(trends.series.names[3])


def test_without_scripts_the_rest_of_the_layers_is_counted(open_report, make_trends):
    page = open_report(make_trends(1201, 6), java_script_enabled=False)
    assert page.locator("#layer-table tbody tr").count() == 500
    assert "701 more layers: see the CSV and JSON reports" in "".join(
        page.locator("noscript p:visible").all_text_contents()
    )
    assert page.get_by_text("200 more layers: the JSON report (--json) names them").count() > 0


def test_a_line_of_one_layer_is_named_like_it(open_report, make_trends):
    trends = make_trends(401, 6)
    page = open_report(trends)
    assert "2 neighbouring layers" in page.locator("#heatmap-note").text_content()
    assert trends.series.names[400] in page.locator("#heatmap-plot").evaluate("(plot) => plot.data[1].text.at(-1)[0]")
    labels = page.locator("#heatmap-plot .ytick").all_text_contents()
    assert len([label for label in labels if " +1 " in label]) == len(labels) - 1
    assert labels[-1].split()[:-1] == [trends.series.names[400]]


def test_many_layers_share_lines_until_one_zooms(open_report, make_trends):
    trends = make_trends(1201, 6)
    page = open_report(trends)
    heatmap = page.locator("#heatmap-plot")
    drawn = "(plot) => plot.data[1].z"

    # 1,201 layers in lines of 4, the last of 1.
    lines = np.array(heatmap.evaluate(drawn), float)
    assert lines.shape == (301, 6)
    measured = np.where(trends.series.metric_states("rwc") == None, trends.values, np.nan)  # noqa: E711 - elementwise
    for line in (3, 150, 299):
        expected = np.log10(np.nanmedian(measured[4 * line : 4 * line + 4], axis=0))
        np.testing.assert_allclose(lines[line], expected, atol=1e-6)
    expect(page.locator("#heatmap-note")).to_contain_text("Each line is the median of 4 neighbouring layers")

    heatmap.evaluate("(div) => div.scrollIntoView({ block: 'center' })")
    area = page.locator("#heatmap-plot .xy > .nsewdrag").bounding_box()
    place = area["x"] + area["width"] / 2, area["y"] + area["height"] * 602 / 1201
    page.mouse.move(*place)
    page.mouse.click(*place)
    expect(page.locator("#heatmap-note")).to_contain_text("4 layers of 1,201 shown.")
    zoomed = np.array(heatmap.evaluate(drawn), float)
    np.testing.assert_allclose(zoomed, np.log10(trends.values[600:604]), atol=1e-6)

    page.evaluate("report.selectLayer(900)")  # it is brought into sight
    expect(page.locator("#heatmap-note")).to_contain_text("4 layers of 1,201 shown.")
    assert heatmap.evaluate("(plot) => plot.layout.yaxis.range.some((end) => Math.abs(end - 900) < 4)")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Show all layers").click()
    expect(page.locator("#heatmap-note")).not_to_contain_text("shown")


@pytest.mark.parametrize("limit", [250_000, 10])
def test_the_page_unpacks_what_was_packed(open_report, trends, monkeypatch, limit):
    monkeypatch.setattr("wsanalyze.reports.html_numbers._MAX_EXACT", limit)
    page = open_report(trends)
    numbers = page.evaluate("Array.from(report.values, (value) => (Number.isNaN(value) ? null : value))")
    np.testing.assert_allclose(np.array(numbers, float), trends.values.ravel(), rtol=1e-6 if limit > 10 else 2e-4)


ROBERTA = "base_model.model.roberta.encoder."


def test_the_table_fits_its_box_though_names_are_long(open_report, settle, trends, kind_trends, example_module):
    for its in (trends, kind_trends):
        page = open_report(example_module.with_prefix(its, ROBERTA))
        settle(page)
        assert max(map(len, page.locator("#layer-table tbody .name").all_text_contents())) > 50
        for width in (1440, 1200, 1024):
            page.set_viewport_size({"width": width, "height": 900})
            room, needed = page.locator("#layers .scroll").evaluate("(box) => [box.clientWidth, box.scrollWidth]")
            assert needed <= room


def test_columns_that_tell_nothing_are_left_out(open_report, trends):
    heads = "(all) => all.map((head) => head.textContent.trim())"
    page = open_report(trends)
    shown = page.locator("#layer-table thead th:visible").evaluate_all(heads)
    assert shown == [
        *("Layer", "Kind", "Depth", "Shape", "Cluster"),
        *("Confidence", "Median change", "Last change", "Curve", "States"),
    ]

    one = np.where(trends.labels < 0, -1, 0)
    rows = tuple(dataclasses.replace(row, kind=Kind.OTHER) for row in trends.series.rows)
    series = dataclasses.replace(
        trends.series, rows=rows, given={"rwc": trends.values}, states=np.full(trends.values.shape, None)
    )
    bare = dataclasses.replace(trends, labels=one, clusters=trends.clusters[:1], series=series)
    page = open_report(bare)
    shown = page.locator("#layer-table thead th:visible").evaluate_all(heads)
    assert shown == ["Layer", "Depth", "Cluster", "Median change", "Last change", "Curve"]
    cells = page.locator("#layer-table tbody tr").first.locator("th, td")
    assert cells.locator("visible=true").count() == len(shown)


def test_a_layer_without_another_cluster_to_be_in_has_no_confidence(open_report, trends):
    page = open_report(dataclasses.replace(trends, clusters=trends.clusters[:1]), f"#layer={trends.series.names[1]}")
    assert set(page.locator("#layer-table tbody tr td:nth-child(6)").all_text_contents()) == {"-"}
    expect(page.locator("#layer-page [data-part=facts]")).to_contain_text("Confidence-")
    assert page.evaluate("report.layers.confidence.every((value) => value === null)")


TELEPHONE = {"width": 390, "height": 844}


def test_on_a_telephone_a_line_has_its_name_beside_whatever_is_in_sight(open_report, settle, trends, example_module):
    page = open_report(example_module.with_prefix(trends, ROBERTA), viewport=TELEPHONE)
    settle(page)
    box = page.locator("#layers .scroll")
    heads = page.locator("#layer-table thead th:visible")
    assert heads.evaluate_all("(all) => all.map((head) => head.textContent.trim())") == [
        *("Layer", "Cluster", "Median change", "Curve", "States"),
    ]
    left, right = box.evaluate("(box) => [box.getBoundingClientRect().left, box.getBoundingClientRect().right]")
    curve = page.locator("#layer-table tbody td.curve svg").first.bounding_box()
    assert curve["x"] + curve["width"] <= right + 1

    assert box.evaluate("(box) => { box.scrollLeft = 1e4; return box.scrollLeft; }") > 0
    name = page.locator("#layer-table tbody th").first.bounding_box()
    assert left <= name["x"]
    assert name["width"] < (right - left) / 2
    head = heads.first.bounding_box()
    assert head["x"] == pytest.approx(name["x"], abs=1)


def test_on_a_telephone_nothing_out_of_sight_makes_a_line_tall(open_report, kind_trends):
    records = tuple(
        dataclasses.replace(record, origin=f"/home/somebody/runs/of/a/project/{'part/' * 20}{record.label}")
        for record in kind_trends.series.checkpoints
    )
    series = dataclasses.replace(kind_trends.series, checkpoints=records)
    page = open_report(dataclasses.replace(kind_trends, series=series), viewport=TELEPHONE)

    read = page.locator("#checkpoints tbody tr:not(.left-out)")
    assert max(read.evaluate_all("(rows) => rows.map((row) => row.offsetHeight)")) < 60  # two lines of text
    room, needed = page.locator("#quality .scroll").evaluate("(box) => [box.clientWidth, box.scrollWidth]")
    assert needed <= room


@pytest.mark.parametrize("order", ["depth", "cluster"])
def test_no_two_rows_of_the_heatmap_have_one_label(open_report, make_trends, order):
    trends = make_trends(24, 6)
    names = [f"encoder.{f'the_block_{row}_of_a_long_name.' * 6}weight" for row in range(24)]
    rows = tuple(dataclasses.replace(row, name=name) for row, name in zip(trends.series.rows, names, strict=True))
    trends = dataclasses.replace(trends, series=dataclasses.replace(trends.series, rows=rows))
    page = open_report(trends, f"#order={order}", viewport=TELEPHONE)
    labels = [label.split(" ") for label in page.locator("#heatmap-plot .ytick").all_text_contents()]
    names = [" ".join(label[:-1]) for label in labels]  # less the mark of the cluster
    assert len(names) == len(set(names)) == 24
    assert max(map(len, names)) <= 20
    depths = page.evaluate(f"report.data.orders.{order}.map((layer) => report.layers.depth[layer])")
    with_depth = [(name, depth) for name, depth in zip(names, depths, strict=True) if name.endswith(")")]
    assert len(with_depth) > 5
    assert all(name.endswith(f" ({depth})") for name, depth in with_depth)
    expect(page.locator("#heatmap-note")).to_contain_text("A number in brackets is the depth")


def test_labels_that_differ_have_no_depths(open_report, trends, example_module):
    page = open_report(example_module.with_prefix(trends, ROBERTA), viewport=TELEPHONE)
    assert not [label for label in page.locator("#heatmap-plot .ytick").all_text_contents() if "(" in label]
    expect(page.locator("#heatmap-note")).not_to_contain_text("depth")


def _from_files(trends, sources, folder):
    """Checkpoints read from files of a folder."""
    records = tuple(
        dataclasses.replace(record, origin=f"{folder}/checkpoint_{place}.pth")
        for place, record in enumerate(trends.series.checkpoints)
    )
    provenance = dataclasses.replace(trends.series.provenance, source=sources)
    series = dataclasses.replace(trends.series, checkpoints=records, provenance=provenance)
    return dataclasses.replace(trends, series=series)


def _count_lines(cells):
    count = "(name) => new Set(Array.from(name.getClientRects(), ({ top }) => top)).size"
    return set(cells.locator(".name").evaluate_all(f"(all) => all.map({count})"))


@pytest.mark.parametrize("width", [1440, 390])
def test_the_origin_of_a_checkpoint_is_one_line_without_the_folder_of_the_title(open_report, trends, width):
    page = open_report(_from_files(trends, ("runs/snake/",), "runs/snake"), viewport={"width": width, "height": 900})
    cells = page.locator("#checkpoints td.path")
    assert cells.all_text_contents() == [f"checkpoint_{place}.pth" for place in range(len(trends.series.checkpoints))]
    assert cells.first.get_attribute("title") == "runs/snake/checkpoint_0.pth"
    assert _count_lines(cells) == {1}


def test_of_several_folders_a_checkpoint_has_its_whole_path_in_one_line_of_a_telephone(open_report, trends):
    page = open_report(_from_files(trends, ("runs/a", "runs/b_of_some_length"), "runs/a"), viewport=TELEPHONE)
    cells = page.locator("#checkpoints td.path")
    assert cells.first.text_content() == "runs/a/checkpoint_0.pth"
    assert _count_lines(cells) == {1}
