"""The HTML report as text: what it holds, what it may load, and that names stay names."""

import base64
import dataclasses
import datetime as dt
import hashlib
import io
import json
import platform
import re
from html.parser import HTMLParser
from importlib import metadata, resources

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsanalyze.errors import ReportError, UsageError
from wsanalyze.metrics import METRICS
from wsanalyze.reports.csv_file import CsvReporter
from wsanalyze.reports.html import _SCRIPTS, HtmlReporter
from wsanalyze.reports.html_data import collect_plot_data
from wsanalyze.reports.html_lines import sign_of
from wsanalyze.reports.html_numbers import LARGEST_ERROR
from wsanalyze.reports.html_page import describe_page
from wsanalyze.reports.html_time import list_events
from wsanalyze.reports.palette import COLOURS, MARKS
from wsanalyze.reports.summary import pick_layers
from wsanalyze.reports.text import printable
from wsanalyze.series import Kind, Provenance, State
from wsanalyze.table import read_table

NOON = dt.datetime(2025, 1, 2, 12, 0, tzinfo=dt.UTC)
VOID = {"meta", "link", "input", "img", "br", "wbr", "hr"}
SIZES = [(0, 0), (0, 5), (3, 0), (1, 1), (1, 20), (40, 1), (40, 20)]


@dataclasses.dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    text: str = ""


class Document(HTMLParser):
    """A parsed page: its elements in order, each with its text (scripts: their source), and the visible text."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.visible = ""
        self.comments: list[str] = []
        self._open: list[Element] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs))
        assert len(element.attributes) == len(attrs)
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag):
        assert self._open.pop().tag == tag

    def handle_data(self, data):
        for element in self._open:
            element.text += data
        if not {element.tag for element in self._open} & {"script", "style", "title"}:
            self.visible += data

    def handle_comment(self, data):
        self.comments.append(data)

    def all(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    def by_id(self, id_: str) -> Element:
        (element,) = (e for e in self.elements if e.attributes.get("id") == id_)
        return element

    @property
    def data(self):
        return json.loads(self.by_id("report-data").text)


def render(trends, command="") -> str:
    return HtmlReporter(clock=lambda: NOON, version="1.2.3", command=command).render(trends)


@pytest.fixture(params=["friendly", "hostile"])
def document(request, trends, hostile_trends):
    return Document(render(trends if request.param == "friendly" else hostile_trends))


# --- structure


def test_sections_stand_in_the_order_people_read_them(document):
    assert [e.attributes["id"] for e in document.all("section")] == [
        "events",
        "heatmap",
        "trends",
        "map",
        "depth",
        "time",
        "layers",
        "checkpoints",
        "skipped",
        "quality",
        "again",
    ]
    assert len(document.all("h1")) == 1
    assert [len(document.all(tag)) for tag in ("header", "nav", "main", "footer")] == [1, 1, 1, 1]


def test_ids_are_unique_and_every_reference_leads_somewhere(document):
    ids = [e.attributes["id"] for e in document.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in document.elements:
        for name in ("aria-labelledby", "for", "data-save"):
            if name in element.attributes:
                assert set(element.attributes[name].split()) <= set(ids)
        if element.tag == "a":
            assert element.attributes["href"].startswith("#")
            assert element.attributes["href"][1:] in ids


def test_every_plot_has_a_role_a_summary_and_a_line_for_readers_without_scripts(document):
    plots = [e for e in document.elements if e.attributes.get("class") == "plot"]
    assert len(plots) == 3 + 3 + 1 + 1
    for plot in plots:
        assert plot.attributes["role"] == "img"
        assert plot.attributes["aria-label"]
    assert len(document.all("noscript")) == 1 + len(plots)


def test_every_header_of_a_table_has_a_scope(document):
    headers = document.all("th")
    assert headers
    assert all(header.attributes["scope"] in {"col", "row"} for header in headers)


def test_text_and_tables_need_no_script(trends):
    visible = Document(render(trends)).visible
    for text in (
        *trends.headline,
        *trends.notes,
        *trends.series.names,
        *(cluster.summary for cluster in trends.clusters),
        *(cluster.makeup for cluster in trends.clusters),
        *(phase.text.rstrip(".") for phase in trends.phases),
        *(window.text for window in trends.windows),
        trends.depth.text,
        *(event.text for event in trends.all_events),
        *(skip.name for skip in trends.series.skips),
        *(record.label for record in trends.series.checkpoints),
        "the same weights as checkpoint-1500",
        "the file ends after 1.2 MB of 83.9 MB",
        trends.quality.text,
        trends.series.provenance.command,
        "wsanalyze 1.2.3",
        "2025-01-02 12:00 UTC",
        "21 of 23 checkpoints compared, 1 duplicate, 1 unreadable.",
        "20 not comparable",
    ):
        assert text in visible


def test_the_table_of_layers_has_a_line_for_each(trends):
    document = Document(render(trends))
    lines = [e for e in document.all("tr") if "data-layer" in e.attributes]
    assert [int(e.attributes["data-layer"]) for e in lines] == list(range(40))
    assert trends.series.names[5] in lines[5].text


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("change", ["as it is", "without clusters", "only states"])
def test_degenerate_trends_still_make_a_page(make_trends, example_module, unpack, size, change):
    trends = make_trends(*size)
    if change == "without clusters":
        trends = example_module.without_clusters(trends)
    if change == "only states":
        trends = example_module.only_states(trends)

    document = Document(render(trends))

    assert len(document.all("section")) == 11
    assert unpack(document.data["values"]).size == size[0] * size[1]


def test_one_component_makes_a_page(trends):
    one = dataclasses.replace(trends, points=trends.points[:, :1], explained=trends.explained[:1])
    assert [len(point) for point in Document(render(one)).data["points"]] == [1] * 40


def test_the_map_shows_no_rounding_and_opens_on_the_largest_kind(kind_trends):
    first, second, *others = kind_trends.kinds
    kinds = (first, dataclasses.replace(second, size=99), *others)
    points = kind_trends.points.copy()
    rows = [index for index, row in enumerate(kind_trends.series.rows) if str(row.kind) == second.kind]
    points[rows, 1] *= 1e-17
    data = Document(render(dataclasses.replace(kind_trends, points=points, kinds=kinds))).data
    assert data["kinds"][data["map"]] == second.kind
    assert {data["points"][index][1] for index in rows} == {None}
    assert any(point[1] is not None for point in data["points"])


def test_unchanged_cells_are_not_called_gaps(trends):
    touched = {"gap": ((1, 3), (3, 2), (39, 0))}
    section = next(e for e in Document(render(dataclasses.replace(trends, touched=touched))).all("section")[-2:])
    text = " ".join(section.text.split())
    assert "Gap2 cells without a number, filled for clustering" in text
    assert "Unchanged1 cell given a number for clustering" in text


def test_a_page_without_events_claims_no_more_than_that(trends):
    series = dataclasses.replace(trends.series, events=())
    (section,) = Document(render(dataclasses.replace(trends, series=series, events=()))).all("section")[:1]
    assert "No events:" in section.text
    assert "unusual" not in section.text


def test_the_page_of_a_table_speaks_of_no_weights(trends, tmp_path):
    path = tmp_path / "changes.csv"
    CsvReporter().write(trends, path)
    table = dataclasses.replace(trends, series=read_table(path))
    page, document = describe_page(table), Document(render(table))
    assert [fact.name for fact in page.facts] == ["layers", "changes", "trends"]
    assert {line.shape for line in page.layers} == set(document.data["layers"]["shape"]) == {"-"}
    assert "A table of 40 rows and 20 changes, steps 500 to 10000." in document.visible
    for word in ("tensor", "parameters matrices", "0 B", "21 checkpoints", "scalar"):
        assert word not in document.visible
    assert "parameters matrices" in Document(render(trends)).visible


# --- names stay names


def test_hostile_names_are_text(hostile_trends, hostile_names):
    document = Document(render(hostile_trends))

    assert {e.tag for e in document.elements}.isdisjoint({"img", "iframe", "object", "b", "br", "base"})
    assert {e.attributes["class"] for e in document.all("svg")} <= {"glyph", "glyph open"}
    assert len(document.all("script")) == len(_SCRIPTS) + 1
    assert len(document.all("style")) == 3
    assert document.comments == []
    for element in document.elements:
        assert not [name for name in element.attributes if name.startswith("on")]
        assert re.fullmatch(r"(--high: \d+px; --high-narrow: \d+px)?", element.attributes.get("style", ""))
    for name in hostile_names:
        assert printable(name) in document.visible


def test_no_control_character_reaches_the_page(hostile_trends):
    document = Document(render(hostile_trends))
    attributes = [value or "" for element in document.elements for value in element.attributes.values()]
    for text in (document.visible, document.all("title")[0].text, *attributes):
        assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", text) is None


@given(name=st.text(max_size=30))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_is_shown_as_its_printable_self(make_trends, name):
    trends = make_trends(1, 1)
    (row,) = trends.series.rows
    row = dataclasses.replace(row, name=name)
    document = Document(render(dataclasses.replace(trends, series=dataclasses.replace(trends.series, rows=(row,)))))

    assert document.data["layers"]["name"] == [printable(name)]
    assert document.all("tr")[1].text.startswith(printable(name))
    assert len(document.all("script")) == len(_SCRIPTS) + 1


# --- what it may load


def test_the_policy_comes_first_and_admits_exactly_what_the_page_holds(document):
    metas = document.all("meta")
    (policy,) = (m for m in metas if m.attributes.get("http-equiv") == "Content-Security-Policy")
    tags = [e.tag for e in document.elements]
    assert document.elements.index(policy) < min(tags.index("style"), tags.index("script"))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.attributes["content"].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data: blob:"
    assert "connect-src" not in rules

    def hashes(elements):
        return {f"'sha256-{base64.b64encode(hashlib.sha256(e.text.encode()).digest()).decode()}'" for e in elements}

    scripts = [e for e in document.all("script") if e.attributes.get("type") != "application/json"]
    assert len(scripts) == len(_SCRIPTS)
    assert set(rules["script-src"].split()) == hashes(scripts)
    assert set(rules["style-src"].split()) == hashes(document.all("style"))


def test_no_element_refers_to_anything_outside(document):
    for element in document.elements:
        for name in ("src", "href", "srcset", "action", "formaction", "poster", "data", "background", "ping"):
            value = element.attributes.get(name)
            assert value is None or value.startswith("#") or value == "data:,"
    for style in document.all("style"):
        assert "url(" not in style.text
        assert "@import" not in style.text


def test_no_script_could_end_its_element_early():
    folder = resources.files("wsanalyze.reports") / "templates"
    for name in _SCRIPTS:
        source = (folder / name).read_text(encoding="utf-8")
        assert re.search(r"</script|<!--|\r", source, re.IGNORECASE) is None, name


def test_the_licence_of_the_charting_library_lies_beside_it():
    licence = (resources.files("wsanalyze.reports") / "templates/vendor/plotly.js-LICENSE.txt").read_text()
    assert "MIT License" in licence


# --- the data


def test_the_data_are_json_without_characters_that_html_reads(hostile_trends):
    source = render(hostile_trends)
    block = re.search(r'id="report-data">(.*?)</script>', source, re.DOTALL).group(1)
    assert re.search("[<>&'\u2028\u2029]", block) is None
    assert json.loads(block)["layers"]["name"] == [printable(name) for name in hostile_trends.series.names]


def test_numbers_keep_their_digits(trends, unpack):
    data = collect_plot_data(trends)
    np.testing.assert_allclose(unpack(data["values"]), trends.values.ravel(), rtol=1e-6)
    json.dumps(data, allow_nan=False)
    low = data["clusters"][1]["low"]
    np.testing.assert_allclose(low, trends.clusters[1].low, rtol=5e-5)
    assert all(len(f"{abs(x):.9e}".partition("e")[0].rstrip("0").replace(".", "")) <= 5 for x in low)


def test_every_cell_with_a_state_is_listed_with_its_word(trends):
    states = trends.series.metric_states("rwc")
    data = collect_plot_data(trends)
    words = data["marks"]["words"]
    codes = np.frombuffer(base64.b64decode(data["marks"]["codes"]), dtype=np.uint8).reshape(states.shape)
    touched = {cell: word for word, cells in trends.touched.items() for cell in cells}
    for cell in np.ndindex(states.shape):
        state = states[cell]
        assert words[codes[cell]] == [None if state is None else str(state), touched.get(cell)]
    assert data["absolute"] == [[7, 0, pytest.approx(trends.series.absolute("rwc")[7, 0], rel=1e-4)]]


def test_events_have_their_places_among_the_changes(trends):
    checkpoints = len(trends.series.checkpoints)
    late = dataclasses.replace(trends.events[0], checkpoint=checkpoints, layer="gone")
    unplaced = dataclasses.replace(late, checkpoint=None, layer=None)
    found = list_events(dataclasses.replace(trends, events=(*trends.events, late, unplaced)))
    places = {(event["kind"], event["place"]) for event in found}
    assert {("nonfinite", 2), ("duplicate", 2.5), ("spike", 4), ("unreadable", 4.5)} <= places
    assert {("spike", 19.5), ("spike", None)} <= places
    assert [event["layer"] for event in found if event["place"] in {4, 19.5}] == [5, None]


def test_scripts_draw_the_marks_of_the_palette():
    source = (resources.files("wsanalyze.reports") / "templates/scripts/core.js").read_text(encoding="utf-8")
    assert json.loads(re.search(r"MARKS = (\[.*?\]);", source)[1]) == list(MARKS)
    assert f"NUM_COLOURS = {len(COLOURS)};" in source


# --- what it says


def test_clusters_differ_by_more_than_colour():
    signs = [sign_of(cluster) for cluster in range(8)]
    assert len({sign.mark for sign in signs}) == 8
    assert len({sign.text for sign in signs}) == 8
    assert sign_of(-1).text == "none"
    assert sign_of(-1, outlier=True).text == "outlier"


def test_the_median_leaves_states_out_and_counts_unchanged_as_zero(trends):
    page = describe_page(trends)
    highest = max(range(40), key=lambda row: page.layers[row].level or 0)
    assert highest == pick_layers(trends)[0].index
    new, never, unchanged = page.layers[2], page.layers[4], page.layers[39]
    assert new.level == pytest.approx(np.nanmedian(trends.values[2]))
    assert (never.level, never.last, never.last_text) == (None, None, "not comparable")
    assert trends.values[39, 0] == 0
    assert unchanged.level == pytest.approx(np.median(trends.values[39]))
    assert unchanged.states == "1 unchanged"


def test_skips_are_grouped_by_reason_the_most_frequent_first(hostile_trends):
    groups = describe_page(hostile_trends).skips
    assert len(groups[0].names) == 30
    assert sum(len(group.names) for group in groups) == len(hostile_trends.series.skips)


def test_many_events_are_folded(trends):
    (event, *_) = trends.events
    many = dataclasses.replace(trends, events=(event,) * 30)
    document = Document(render(many))
    assert "21 more events" in document.visible
    assert document.visible.count(event.text) == 30


def test_kinds_are_words(trends):
    assert str(Kind.CONV) in [e.text for e in Document(render(trends)).all("td")]


def test_the_log_is_told_in_words_and_drawn_where_there_is_a_change(trends, make_trends):
    words = "Loss 2.16 to 0.204, eval loss 1.78 to 0.225, learning rate 1.00e-5 to 0 by way of 5.00e-5"
    document = Document(render(trends))
    assert f"{words} (steps 100 to 10000).\n" in document.visible
    assert words.lower() in document.by_id("training-log").attributes["aria-label"]
    assert [curve["name"] for curve in document.data["log"]["curves"]] == ["loss", "eval_loss", "learning_rate"]

    still = make_trends(3, 0)
    series = dataclasses.replace(still.series, log=trends.series.log)
    document = Document(render(dataclasses.replace(still, series=series)))
    assert words in document.visible
    assert document.data["log"] is None
    assert "training-log" not in {e.attributes.get("id") for e in document.elements}

    document = Document(render(make_trends(3, 3)))
    assert document.data["log"] is None
    assert "trainer" not in document.visible


def test_unsure_members_are_marked_and_listed_with_their_confidence(trends):
    page = describe_page(trends)
    unsure = [row for row in range(40) if trends.labels[row] >= 0 and trends.confidence[row] < 0.7]
    assert {line.name for line in page.unsure} == {trends.series.names[row] for row in unsure}
    marked = [member for cluster in page.clusters for member in cluster.members if member.unsure is not None]
    assert {member.name: member.unsure for member in marked} == {
        trends.series.names[row]: trends.confidence[row] for row in unsure
    }
    items = [e.text for e in Document(render(trends)).all("li") if "unsure, " in e.text]
    assert len(items) == len(unsure)
    assert not any("0.70" in item for item in items)
    sure = dataclasses.replace(trends, confidence=np.where(trends.labels < 0, np.nan, 0.9))
    assert "unsure" not in Document(render(sure)).visible


@pytest.mark.parametrize(
    ("alone", "outliers", "told"),
    [
        ([4, 9], [9], "2 layers: 1 outlier, off every trend, and 1 that could not be clustered"),
        ([4], [], "1 layer: 1 that could not be clustered"),
        ([8, 9], [8, 9], "2 layers: 2 outliers, off every trend\n"),
    ],
)
def test_layers_in_no_cluster_are_counted_by_why(trends, alone, outliers, told):
    labels = np.where(np.isin(np.arange(40), alone), -1, 0)
    changed = dataclasses.replace(trends, labels=labels, outliers=np.isin(np.arange(40), outliers))
    assert told in Document(render(changed)).visible


def test_numbers_of_quality_that_there_are_none_of_are_left_out(trends):
    told = Document(render(trends)).visible
    assert "By chance≤ 0.5 % of simulated tables" in told
    assert all(word in told for word in ("Silhouette0.58", "Stability0.93"))
    none = dataclasses.replace(trends.quality, silhouette=None, stability=None, p_value=None)
    told = Document(render(dataclasses.replace(trends, quality=none))).visible
    assert "Clusters3 (chosen" in told
    assert not any(word in told for word in ("By chance", "Silhouette", "Stability"))


def test_kinds_have_titles_a_table_and_a_map_each(kind_trends, trends):
    document = Document(render(kind_trends))
    assert "Cluster 2 of pointwise: high throughout" in document.visible
    lines = [e.text for e in document.all("tr") if "well apart" in e.text]
    assert [re.match("[a-z]+", line)[0] for line in lines] == ["conv", "pointwise", "depthwise", "linear"]
    assert "each kind by itself" in document.visible
    options = [e.text for e in document.all("option")]
    assert [option for option in options if option in document.data["kinds"]] == document.data["kinds"]
    plain = Document(render(trends))
    assert "map-kind" not in {e.attributes.get("id") for e in plain.elements}
    assert plain.data["kinds"] == []


def test_depth_phases_and_windows_are_there_or_missed(trends, make_trends, unpack):
    document = Document(render(trends))
    depth = document.data["depth"]
    assert depth["first"] == depth["last"] == list(trends.depth.depths)
    np.testing.assert_allclose(unpack(depth["values"]), trends.depth.values.ravel(), rtol=1e-6)
    np.testing.assert_allclose(document.data["depth"]["centre"], trends.depth.centre, rtol=1e-4)
    assert document.data["phases"] == [10]
    assert "steps 0 to 5000" in document.visible
    line = next(e.text for e in document.all("tr") if e.text.startswith("steps 1000 to 3500"))
    assert line == f"steps 1000 to 350031{trends.windows[1].text}"
    small = Document(render(make_trends(3, 3)))
    assert small.data["depth"] is None
    assert "depth-plot" not in {e.attributes.get("id") for e in small.elements}
    for words in ("too few depths", "No change of course", "too few changes"):
        assert words in small.visible
        assert words not in document.visible


def test_the_commands_that_measured_and_reported_are_there_with_their_versions(trends):
    measured = trends.series.provenance.command
    again = "wsanalyze report x.wsa --html '<b>.html'"
    provenance = dataclasses.replace(trends.series.provenance, versions=(("numpy", "0.0.<1>"), ("torch", "0.0.2")))
    trends = dataclasses.replace(trends, series=dataclasses.replace(trends.series, provenance=provenance))
    commands = [e.text for e in Document(render(trends, again)).all("pre")]
    assert commands == [measured, again]
    visible = Document(render(trends, measured)).visible
    assert visible.count(measured) == 1
    assert "Measured and reported by" in visible
    assert "numpy 0.0.<1>, torch 0.0.2" in visible
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy", "scikit-learn"))
    assert f"Python {platform.python_version()}, wsanalyze 1.2.3, {packages}, plotly.js 4.1.1" in visible


def test_a_package_that_is_gone_and_a_command_that_never_was_are_left_out(trends, monkeypatch):
    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("wsanalyze.reports.making.version", version)
    nothing = dataclasses.replace(trends.series, provenance=Provenance())
    document = Document(render(dataclasses.replace(trends, series=nothing)))
    assert f"Python {platform.python_version()}, wsanalyze 1.2.3, plotly.js" in document.visible
    assert document.all("pre") == []
    assert "Measured" not in document.by_id("again").text


# --- writing


def test_400_layers_by_150_changes_stay_small(make_trends):
    page = render(make_trends(400, 150))
    assert len(page.encode()) < 8e6
    assert len(Document(page).data["metrics"]) > 3


def test_other_metrics_are_off_by_no_more_than_is_promised(trends, unpack):
    for its in collect_plot_data(trends)["metrics"]:
        exact = trends.series.metric(its["name"]).ravel()
        np.testing.assert_allclose(unpack(its["values"]), exact, rtol=LARGEST_ERROR, atol=0)


def test_more_cells_leave_the_other_metrics_out(trends, monkeypatch):
    monkeypatch.setattr("wsanalyze.reports.html_data._MAX_OTHER_CELLS", 40 * 20)
    data = collect_plot_data(trends)
    assert (data["metrics"], data["without"], data["not_had"]) == ([], "size", [])


def test_metrics_that_a_run_does_not_hold_are_named(trends):
    data = collect_plot_data(trends)
    names = {its["name"] for its in data["metrics"]}
    assert data["without"] == ""
    assert {"spectral", "rank"} <= set(data["not_had"])
    assert names | set(data["not_had"]) == set(METRICS) - {"rwc"}
    for name in data["not_had"]:
        with pytest.raises(UsageError):
            trends.series.metric(name)
    table = dataclasses.replace(trends, series=dataclasses.replace(trends.series, given={"rwc": trends.values}))
    assert collect_plot_data(table)["without"] == "table"


def test_the_same_trends_give_the_same_bytes(trends, make_trends):
    assert render(trends) == render(make_trends())


def test_writes_to_a_file_and_to_a_stream(trends, tmp_path):
    reporter = HtmlReporter(clock=lambda: NOON, version="1.2.3")
    stream = io.StringIO()

    reporter.write(trends, tmp_path / "report.html")
    reporter.write(trends, stream)

    assert (tmp_path / "report.html").read_bytes() == stream.getvalue().encode()
    assert reporter.suffix == ".html"


def test_a_path_that_cannot_be_written_is_named(trends, tmp_path):
    with pytest.raises(ReportError, match=r"missing.report\.html"):
        HtmlReporter(clock=lambda: NOON, version="1.2.3").write(trends, tmp_path / "missing" / "report.html")


def test_choices_of_the_program_stand_under_the_checkpoints(trends):
    text = render(trends)
    start, end = text.index('<section id="checkpoints"'), text.index('<section id="skipped"')
    assert "The order of the layers is that of the file." in text[start:end]


def test_nothing_to_compare_is_said_at_the_top(make_trends):
    page = describe_page(dataclasses.replace(make_trends(3, 0), headline=("No layer has a number.",)))
    assert page.headline == ("There is nothing to compare: a change needs two different checkpoints, and there is 1.",)


def test_grouped_rows_have_their_noun(trends):
    grouped = dataclasses.replace(trends, options=dataclasses.replace(trends.options, group="block"))
    assert "blocks" in {fact.name for fact in describe_page(grouped).facts}
    visible = Document(render(dataclasses.replace(grouped, headline=()))).visible
    assert "Change of every block" in visible
    assert "40 blocks by 20 changes" in visible
    assert "layers that" not in visible


def test_an_event_of_a_table_is_at_a_step(trends):
    series = dataclasses.replace(trends.series, given={"rwc": trends.values})
    of_table = describe_page(dataclasses.replace(trends, series=series)).events
    assert {event.where for event in of_table} == {"step 1500", "step 1750", "step 2500", "step 2750"}
    assert describe_page(trends).events[0].where.startswith("checkpoint-")


def test_other_medians_are_spoken_of_where_there_are_some(kind_trends):
    text = "Each kind is clustered by itself"
    assert f"{text}; the medians of its other clusters stay in grey." in Document(render(kind_trends)).visible
    alone = tuple(
        dataclasses.replace(part, quality=dataclasses.replace(part.quality, k=1)) for part in kind_trends.kinds
    )
    assert f"{text}. " in " ".join(Document(render(dataclasses.replace(kind_trends, kinds=alone))).visible.split())


def test_names_in_sentences_may_be_broken_where_their_parts_end(trends):
    name = "base_model.encoder.layer.2.lora_B.weight"
    html = render(dataclasses.replace(trends, headline=(f"Most changed {name} (0.23).",)))
    parts = "base_<wbr>model.<wbr>encoder.<wbr>layer.<wbr>2.<wbr>lora_<wbr>B.<wbr>weight"
    assert f"<p>Most changed {parts} (0.23).</p>" in html


@pytest.mark.parametrize(("size", "is_whole"), [(71, True), (72, False), (190, False)])
def test_a_name_in_a_sentence_of_more_than_80_characters_loses_its_middle(trends, size, is_whole):
    name = f"<i>.{'x' * size}.q"  # with what stands around it 80 characters, or more
    document = Document(render(dataclasses.replace(trends, headline=(f"Most changed ({name}).",))))
    told = next(element.text for element in document.elements if element.attributes.get("class") == "headline")
    titles = [element.attributes["title"] for element in document.elements if "title" in element.attributes]
    assert (told == f"Most changed ({name}).") == is_whole
    assert (name not in titles) == is_whole
    assert len(told) == len("Most changed ") + 80
    assert told.startswith("Most changed (<i>.xxx")
    assert told.endswith("xxx.q).")


@pytest.mark.parametrize(
    ("states", "told"),
    [
        ([], None),
        ([State.UNCHANGED], None),
        ([State.NONFINITE], "no number (nonfinite)"),
        ([State.RESIZED, State.UNCHANGED, State.NEW], "no number (new, resized)"),
        ([None], "no number"),
    ],
)
def test_the_legend_names_the_greys_that_there_are(trends, states, told):
    values = np.full(trends.values.shape, 0.1)
    found = np.full(values.shape, None, dtype=object)
    for row, state in enumerate(states):
        found[row, 2] = state
        values[row, 2] = 0.0 if state is State.UNCHANGED else np.nan
    series = dataclasses.replace(trends.series, given={"rwc": values}, states=found)
    document = Document(render(dataclasses.replace(trends, series=series)))
    text = " ".join(document.all("figcaption")[0].text.split()).partition("Marks above")[0]
    assert (
        text
        == " ".join(
            [
                "One line a layer, one column a change.",
                *(["unchanged"] if State.UNCHANGED in states else []),
                *([told] if told else []),
            ]
        )
        + " "
    )
