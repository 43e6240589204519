import io
import re
import warnings
import xml.etree.ElementTree as ET

import matplotlib as mpl
import pytest
from PIL import Image

from wsanalyze.errors import ReportError
from wsanalyze.reports.figures.write import FIGURES, FORMATS, WIDTHS, FiguresReporter, render_svg, write_figures
from wsanalyze.table import read_table
from wsanalyze.trends.find import find_trends

ALLOWED = {
    "svg", "g", "path", "defs", "use", "clipPath", "rect", "image", "style", "metadata", "title", "text",
    "RDF", "Work", "type", "format", "creator", "Agent", "linearGradient",
}  # fmt: skip


@pytest.fixture(scope="module")
def written(example_trends_module, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures") / "new" / "folder"
    paths = write_figures(example_trends_module.example_trends(hostile=True), folder)
    return {path.name: path for path in paths}


def test_every_figure_in_every_width_and_format(written):
    assert set(written) == {f"{name}-{width}.{suffix}" for name in FIGURES for width in WIDTHS for suffix in FORMATS}
    assert {path.name for path in next(iter(written.values())).parent.iterdir()} == set(written)


def test_figures_are_as_wide_as_a_column_or_two(written):
    for name, inches in ((name, inches) for name in FIGURES for inches in WIDTHS.items()):
        width, expected = inches
        with Image.open(written[f"{name}-{width}.png"]) as image:
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
            assert image.size[0] == pytest.approx(300 * expected, abs=1)
        svg = ET.parse(written[f"{name}-{width}.svg"]).getroot()  # noqa: S314 - made above
        assert float(svg.get("width").removesuffix("pt")) == pytest.approx(72 * expected)
        box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ", written[f"{name}-{width}.pdf"].read_bytes())
        assert float(box[1]) == pytest.approx(72 * expected, abs=0.01)


def test_fonts_of_pdf_are_embedded_as_truetype(written):
    for name, path in written.items():
        if path.suffix == ".pdf":
            content = path.read_bytes()
            assert b"/FontFile2" in content, name
            assert b"/Type3" not in content, name


def test_svg_holds_outlines_and_no_markup_of_others(written):
    for path in written.values():
        if path.suffix != ".svg":
            continue
        root = ET.parse(path).getroot()  # noqa: S314 - made above
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert tags <= ALLOWED - {"text"}
        for element in root.iter():
            for key, value in element.attrib.items():
                assert not key.rpartition("}")[2].startswith("on")
                if key.endswith("href"):
                    assert value.startswith(("#", "data:image/png;base64,"))
        assert not [text for text in root.itertext() if "alert" in text or "@import" in text]
        assert "<!--" not in ET.tostring(root, encoding="unicode")


def test_the_same_trends_give_the_same_bytes_whatever_the_user_has_set(make_trends, monkeypatch):
    reporter = FiguresReporter(version="1.2.3")
    first = dict(reporter.render(make_trends(13, 7)))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "other", "savefig.bbox": "tight"}):
        assert dict(reporter.render(make_trends(13, 7))) == first
    assert b"1.2.3" in first["curves-1col.svg"]


def test_a_figure_is_rendered_alone(trends):
    svg = render_svg(trends, "curves", 6.0)
    assert ET.parse(io.BytesIO(svg)).getroot().get("width") == "432pt"  # noqa: S314 - made above


def test_a_file_in_the_place_of_the_folder_is_named(trends, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ReportError, match=r"cannot make the folder .*file"):
        write_figures(trends, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_what_else_lies_in_the_folder_stays_and_a_figure_that_cannot_be_written_is_named(make_trends, tmp_path):
    (tmp_path / "mine.svg").write_text("mine")
    (tmp_path / "heatmap-1col.svg").mkdir()
    with pytest.raises(ReportError, match=r"cannot write the report .*heatmap-1col\.svg"):
        write_figures(make_trends(3, 2), tmp_path)
    assert (tmp_path / "mine.svg").read_text() == "mine"


def test_ten_thousand_rows_are_files_of_bounded_size(make_trends):
    trends = make_trends(10_000, 300)
    assert len(render_svg(trends, "heatmap", 3.3)) < 2_000_000
    assert len(render_svg(trends, "scatter", 3.3)) < 2_000_000


@pytest.mark.parametrize(
    "numbers", ["5e-324,5e-324,5e-324", "1e-290,1e-290,1e-290", "1.7e308,1.7e308,0", "5e-324,1,1.7e308"]
)
@pytest.mark.parametrize("name", FIGURES)
def test_numbers_near_the_ends_of_floats_are_drawn(tmp_path, name, numbers):
    table = tmp_path / "table.csv"
    table.write_text(f"layer,1,2,3\na,{numbers}\nb,{numbers}\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert render_svg(find_trends(read_table(table)), name, 3.3)


@pytest.mark.parametrize("error", [ValueError("Invalid vmin or vmax"), OverflowError("too large")], ids=repr)
def test_what_matplotlib_cannot_draw_is_refused_in_one_line(trends, tmp_path, monkeypatch, error):
    def refuse(*_):
        raise error

    monkeypatch.setitem(FIGURES, "heatmap", refuse)
    with pytest.raises(ReportError) as caught:
        write_figures(trends, tmp_path)
    assert str(caught.value) == f"cannot draw the figures for {tmp_path}: numbers near the ends of floats ({error})"
