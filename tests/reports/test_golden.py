"""Whole reports, compared with ones that somebody has read.

After a change that is meant, run the tests with WSANALYZE_UPDATE_GOLDEN=1 and read the difference.
"""

import io
import os
import re
from pathlib import Path

import pytest

from wsanalyze.reports.json_file import JsonReporter
from wsanalyze.reports.markdown import MarkdownReporter
from wsanalyze.reports.terminal import TerminalReporter

FOLDER = Path(__file__).with_name("golden")
CASES = {
    "terminal.txt": (TerminalReporter(version="1.2.3", width=80), {}),
    "terminal_hostile.txt": (TerminalReporter(version="1.2.3", width=80), {"hostile": True}),
    "terminal_two_checkpoints.txt": (
        TerminalReporter(version="1.2.3", width=80),
        {"num_layers": 4, "num_changes": 1},
    ),
    "terminal_by_kind.txt": (TerminalReporter(version="1.2.3", width=80), {}),
    "markdown.md": (MarkdownReporter(version="1.2.3"), {}),
    "markdown_by_kind.md": (MarkdownReporter(version="1.2.3"), {}),
    "report.json": (JsonReporter(version="1.2.3"), {"num_layers": 12, "num_changes": 6}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_report_is_as_it_was_read(name, make_trends, example_module):
    reporter, arguments = CASES[name]
    trends = make_trends(**arguments)
    stream = io.StringIO()
    reporter.write(example_module.by_kind(trends) if "by_kind" in name else trends, stream)
    text = round_numbers(stream.getvalue())
    path = FOLDER / name
    if os.environ.get("WSANALYZE_UPDATE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    assert text == path.read_text(encoding="utf-8")


def round_numbers(text):
    """Nine digits: the last ones of an exponential function differ between machines."""
    return re.sub(r"\d+\.\d{9,}(e-?\d+)?", lambda match: f"{float(match[0]):.9g}", text)
