"""What every report in the registry promises."""

import io
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from wsanalyze.errors import ReportError
from wsanalyze.reports import REPORTERS

NAMES = sorted(REPORTERS)
DARK = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def make(name):
    return REPORTERS[name](lambda: datetime(2024, 5, 17, 12, 0, tzinfo=UTC), "1.2.3", "wsanalyze report x.wsa")


def render(name, trends):
    stream = io.StringIO()
    make(name).write(trends, stream)
    return stream.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_and_a_stream_get_the_same_text(name, trends, tmp_path):
    reporter = make(name)
    path = tmp_path / f"report{reporter.suffix}"
    path.write_text("what was there before")
    reporter.write(trends, path)
    assert path.read_bytes().decode() == render(name, trends)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_trends_give_the_same_bytes(name, make_trends):
    assert render(name, make_trends(13, 7)) == render(name, make_trends(13, 7))


@pytest.mark.parametrize("name", NAMES)
def test_a_path_that_cannot_be_written_is_named(name, trends, tmp_path):
    path = tmp_path / "no such folder" / "report"
    with pytest.raises(ReportError, match=re.escape(str(path))):
        make(name).write(trends, path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(0, 0), (0, 5), (3, 0), (1, 1), (2, 1), (1, 9), (12, 6)], ids=str)
def test_small_runs_are_reported(name, size, make_trends):
    text = render(name, make_trends(*size))
    assert text
    assert text.endswith("\n") or name == "html"


@pytest.mark.parametrize("name", NAMES)
def test_runs_without_clusters_or_numbers_are_reported(name, trends, example_module):
    assert render(name, example_module.without_clusters(trends))
    text = render(name, example_module.only_states(trends))
    assert not re.search(r"\b(nan|NaN|inf|Infinity)\b", text) or name == "html"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "html"])
def test_no_character_is_one_that_acts_or_hides(name, hostile_trends):
    assert not DARK.search(render(name, hostile_trends))


def test_no_name_becomes_a_script(hostile_trends):
    assert "<script>alert" not in render("html", hostile_trends)


def modules_after(code):
    """The modules that are loaded after some code in a fresh interpreter."""
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_a_report_is_loaded_when_it_is_made():
    loaded = modules_after("import wsanalyze.reports")
    assert "wsanalyze.reports" in loaded
    assert not loaded & {"numpy", "rich", "jinja2", "wsanalyze.reports.terminal"}


@pytest.mark.parametrize("module", ["terminal", "markdown", "json_file", "csv_file"])
def test_what_is_slow_to_load_is_loaded_late(module):
    loaded = modules_after(f"import wsanalyze.reports.{module}")
    assert "wsanalyze.reports.summary" in loaded or module.endswith("_file")
    assert not loaded & {"rich", "jinja2", "sklearn", "scipy", "matplotlib", "torch", "safetensors"}
