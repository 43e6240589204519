"""Start-up time is a promise: what each command may import."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[1] / "fixtures"
MAIN = "from wsanalyze.cli import main\nassert main() == {status}"
# Some libraries are loaded part by part, so that importing their name is not enough to see what they bring along.
PARTS = {
    "scikit-learn": "import sklearn.cluster, threadpoolctl",
    "huggingface_hub": "from huggingface_hub import HfApi, errors, file_download\nimport tqdm.auto",
    "matplotlib": "import matplotlib.backends.backend_pdf, matplotlib.backends.backend_svg, matplotlib.style",
    "tensorboard": "import tensorboard.compat.proto.event_pb2, tensorboard.plugins.custom_scalar.layout_pb2",
    "rich": "import rich.console, rich.progress, rich.table, rich.text",
}
# torch, timm, safetensors, matplotlib, pandas, scipy, jinja2 and tensorboard are in no list but the one that says so.
READING = "click numpy filelock rich"
COMMANDS = {
    "--version": (0, "click"),
    "--help": (0, "click"),
    "-h": (0, "click"),
    "analyze --help": (0, "click"),
    "list --help": (0, "click"),
    "pull --help": (0, "click"),
    "report --help": (0, "click"),
    "trends --help": (0, "click"),
    "list {convnet}": (0, "click numpy platformdirs rich"),
    "list {transformer} --json {folder}/list.json": (0, "click numpy platformdirs rich"),
    "list {convnet} --json -": (0, "click numpy platformdirs"),
    "list {convnet} --plan --device cpu --json -": (0, "click numpy platformdirs"),
    "analyze {convnet} --run {folder}/new.wsa --device cpu": (0, f"{READING} scikit-learn"),
    "analyze {transformer} --run {folder}/new.wsa --device cpu --quiet": (0, f"{READING} scikit-learn"),
    "analyze {convnet} --run {folder}/new.wsa --device cpu --metric spectral": (0, f"{READING} scikit-learn"),
    "analyze {convnet} --run {run} --device cpu": (0, READING),
    "analyze {convnet} --run {run} --device cpu --quiet": (0, "click numpy filelock"),
    "analyze {convnet} --clusters 0": (2, "click numpy"),
    "analyze {folder}/nowhere": (1, "click numpy"),
    "report {run}": (0, "click numpy rich"),
    "report {run} --quiet": (0, "click numpy"),
    "report {run} --json -": (0, "click numpy"),
    "report {run} --csv - --markdown {folder}/report.md": (0, "click numpy"),
    "report {run} --html {folder}/report.html": (0, "click numpy rich jinja2"),
    "report {run} --figures {folder}/figures --quiet": (0, "click numpy matplotlib"),
    "report {run} --tensorboard {folder}/tb --quiet": (0, "click numpy tensorboard"),
    "report {run} --method paper": (0, "click numpy rich scikit-learn"),
    "trends {table}": (0, "click numpy rich scikit-learn"),
    "pull org/repo {folder}/run --dry-run": (1, "click numpy filelock platformdirs huggingface_hub"),  # there is no Hub
}


def import_by(code, *arguments):
    """Top-level packages, none of Python's own, that a fresh interpreter imports while it runs some code."""
    script = (
        f"import sys\nbefore = set(sys.modules)\n{code}\nsys.stdout.flush()\nprint()\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@functools.cache
def brought_by(library):
    """What a library imports by itself, its own name included."""
    return frozenset(import_by(PARTS.get(library, f"import {library}")))


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A run with its trends stored, and a table."""
    folder = tmp_path_factory.mktemp("imports")
    places = {"run": folder / "run.wsa", "table": folder / "table.csv", "convnet": FIXTURES / "digits-convnet"}
    command = "analyze {convnet} --run {run} --csv {table} --quiet".format_map(places)
    import_by(MAIN.format(status=0), *command.split())
    return {**places, "transformer": FIXTURES / "digits-transformer"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_imports_nothing_but_what_is_on_its_list(places, tmp_path, monkeypatch, command):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    status, libraries = COMMANDS[command]
    arguments = [part.format(folder=tmp_path, **places) for part in command.split()]
    allowed = {"wsanalyze"}.union(*map(brought_by, libraries.split()))
    imported = import_by(MAIN.format(status=status), *arguments)
    assert imported <= allowed, sorted(imported - allowed)
    # A list that allows more than is needed would hide what comes in later.
    for library in libraries.split():
        assert imported & brought_by(library), library


@pytest.mark.parametrize(
    ("code", "libraries"),
    [
        ("import wsanalyze", ""),
        ("import wsanalyze\nwsanalyze.WsAnalyzeError, wsanalyze.__version__", ""),
        ("import wsanalyze\nwsanalyze.analyze, wsanalyze.open_run, wsanalyze.read_table, wsanalyze.Run", "numpy"),
        ("import wsanalyze.cli, wsanalyze.console", "click"),
    ],
)
def test_the_library_imports_nothing_before_it_is_used(code, libraries):
    assert import_by(code) <= {"wsanalyze"}.union(*map(brought_by, libraries.split()))


def test_no_library_that_is_on_a_list_brings_torch():
    for library in {library for _, libraries in COMMANDS.values() for library in libraries.split()}:
        assert not brought_by(library) & {"torch", "timm", "safetensors", "matplotlib"} - {library}, library


def test_nothing_is_left_to_import_for_trends_and_their_report_once_it_was_done_ahead(places):
    code = f"""
import sys
from wsanalyze.console import import_estimators
from wsanalyze.run import Run
import_estimators()
ahead = set(sys.modules)
from wsanalyze.reports.terminal import TerminalReporter
for method in ("robust", "paper"):
    trends = Run(Run.open({str(places["run"])!r}).series).trends(method=method)
    TerminalReporter(version="0").write(trends, sys.stdout)
late = {{name for name in set(sys.modules) - ahead if name.startswith(("sklearn", "scipy", "threadpoolctl", "rich."))}}
assert not late, sorted(late)[:5]
"""
    import_by(code)
