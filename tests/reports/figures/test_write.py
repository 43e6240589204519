import errno
import io
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from wsanalyze.errors import ReportError
from wsanalyze.reports.figures.write import (
    FIGURES,
    FORMATS,
    WIDTHS,
    FiguresReporter,
    list_figures,
    make_figure,
    render_svg,
    use_style,
    write_figures,
)
from wsanalyze.run import Run
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


def test_what_else_lies_in_the_folder_stays_and_what_cannot_be_written_is_named(make_trends, tmp_path):
    (tmp_path / "mine.svg").write_text("mine")
    blocked = ["heatmap-1col.svg", "curves-2col.pdf"]
    for name in blocked:
        (tmp_path / name).mkdir()
    with pytest.raises(ReportError) as caught:
        write_figures(make_trends(3, 2), tmp_path)
    assert str(caught.value) == (
        f"cannot write 2 of 24 figures in {tmp_path}: heatmap-1col.svg, curves-2col.pdf (Is a directory; name a file); "
        "the others are written"
    )
    assert (tmp_path / "mine.svg").read_text() == "mine"
    written = [path for path in tmp_path.iterdir() if path.is_file() and path.name != "mine.svg"]
    assert {path.name for path in written} == {path.name for path in list_figures(tmp_path)} - set(blocked)
    assert all(path.stat().st_size > 1000 for path in written)


def test_a_full_disk_is_told_in_one_line(make_trends, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ReportError) as caught:
        write_figures(make_trends(3, 2), tmp_path)
    assert str(caught.value) == (
        f"cannot write 24 of 24 figures in {tmp_path}: heatmap-1col.svg, heatmap-1col.pdf, heatmap-1col.png and 21 "
        "more (No space left on device; free some space, or name another place)"
    )


def test_ten_thousand_rows_are_files_of_bounded_size(make_trends):
    trends = make_trends(10_000, 300)
    assert len(render_svg(trends, "heatmap", 3.3)) < 2_000_000
    assert len(render_svg(trends, "scatter", 3.3)) < 2_000_000


NEAR_ENDS = ["5e-324,5e-324,5e-324", "1e-290,1e-290,1e-290", "1.7e308,1.7e308,0", "5e-324,1,1.7e308"]


@pytest.mark.parametrize("numbers", NEAR_ENDS)
@pytest.mark.parametrize("name", FIGURES)
def test_of_numbers_near_the_ends_of_floats_a_figure_says_that_there_is_no_axis_for_them(tmp_path, name, numbers):
    table = tmp_path / "table.csv"
    table.write_text(f"layer,1,2,3\na,{numbers}\nb,{numbers}\n")
    run = Run.from_table(table)
    trends = run.trends()
    assert render_svg(trends, name, 3.3)
    with use_style():
        ax = make_figure(trends, name, 3.3).axes[0]
    texts = " ".join(text.get_text() for text in ax.texts).split()
    assert ("beyond" in texts or "few" in texts) == (name != "scatter")
    assert not ax.images
    assert not ax.collections or name == "scatter"
    plotted = getattr(run.plot, name)()
    plotted.figure.canvas.draw()
    plt.close(plotted.figure)


@pytest.mark.parametrize("error", [ValueError("Invalid vmin or vmax"), OverflowError("too large")], ids=repr)
def test_only_of_such_numbers_is_a_figure_refused_and_the_others_are_written(trends, tmp_path, monkeypatch, error):
    def refuse(*_):
        raise error

    monkeypatch.setitem(FIGURES, "heatmap", refuse)
    with pytest.raises(type(error)):  # a fault
        write_figures(trends, tmp_path)
    table = tmp_path / "table.csv"
    table.write_text("layer,1,2,3\na,1e300,1,2\nb,1,2,3\n")
    with pytest.raises(ReportError) as caught:
        write_figures(find_trends(read_table(table)), tmp_path)
    assert str(caught.value) == (
        f"cannot write 6 of 24 figures in {tmp_path}: heatmap-1col.svg, heatmap-1col.pdf, heatmap-1col.png and 3 more "
        f"(numbers near the ends of floats: {error}); the others are written"
    )


DRAW = """
import hashlib, sys
from wsanalyze.reports.figures.write import FiguresReporter
from wsanalyze.run import Run
run = Run.from_table(sys.argv[1])
files = dict(FiguresReporter(version="1").render(run.trends()))
print(hashlib.sha256(b"".join(files.values())).hexdigest())
print("<img" in run._repr_html_())
import matplotlib, os
print(os.environ.get("MPLBACKEND"), matplotlib.rcParams._get_backend_or_none())
"""


def test_figures_do_not_depend_on_what_opens_windows(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("layer,1,2,3\na,1,2,3\nb,3,2,1\n")
    others = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    found = {}
    for backend in (None, "nonsense", "svg", "module://matplotlib_inline.backend_inline"):
        chosen = {} if backend is None else {"MPLBACKEND": backend}
        command = [sys.executable, "-W", "error", "-c", DRAW, table]
        done = subprocess.run(command, env=others | chosen, capture_output=True, text=True, check=True)
        digest, image, left = done.stdout.splitlines()
        found[backend] = digest, image, done.stderr
        # What it was told holds for pyplot none the less.
        assert left == f"{backend} {None if backend == 'nonsense' else backend}"
    assert set(found.values()) == {(found[None][0], "True", "")}
