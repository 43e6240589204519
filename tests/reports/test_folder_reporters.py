"""What every report that is a folder promises."""

import re
from datetime import UTC, datetime

import pytest

from wsanalyze.errors import ReportError
from wsanalyze.reports import FOLDER_REPORTERS

NAMES = sorted(FOLDER_REPORTERS)


@pytest.fixture(params=NAMES)
def reporter(request):
    return FOLDER_REPORTERS[request.param](lambda: datetime(2024, 5, 17, 12, 0, tzinfo=UTC), "1.2.3")


def read_all(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_is_made_and_holds_what_is_returned(reporter, make_trends, tmp_path):
    folder = tmp_path / "new" / "folder"
    paths = reporter.write(make_trends(6, 3), folder)
    assert sorted(paths) == sorted(path for path in folder.rglob("*") if path.is_file())
    assert all(path.stat().st_size > 100 for path in paths)


def test_what_is_written_again_is_the_same_and_what_else_is_there_stays(reporter, make_trends, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    reporter.write(make_trends(6, 3), tmp_path)
    first = read_all(tmp_path)
    reporter.write(make_trends(6, 3), tmp_path)
    assert read_all(tmp_path) == first
    assert first["mine.txt"] == b"mine"


def test_a_folder_that_cannot_be_written_is_named(reporter, make_trends, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ReportError, match=re.escape(str(tmp_path / "file"))):
        reporter.write(make_trends(3, 2), tmp_path / "file")


@pytest.mark.parametrize("size", [(0, 0), (1, 1)], ids=str)
def test_small_runs_are_reported(reporter, make_trends, tmp_path, size):
    assert reporter.write(make_trends(*size), tmp_path)


def test_names_of_layers_name_no_file(reporter, make_trends, tmp_path):
    names = {path.name for path in reporter.write(make_trends(12, 6, hostile=True), tmp_path)}
    assert names == {path.name for path in reporter.write(make_trends(12, 6), tmp_path)}
