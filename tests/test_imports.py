"""Start-up time is a promise: what each command may import."""

import subprocess
import sys
from pathlib import Path

import pytest

CONVNET = Path(__file__).parents[1] / "fixtures" / "digits-convnet"
READING = {"torch", "safetensors", "huggingface_hub", "timm"}
FINDING = {"sklearn", "scipy", "pandas", "matplotlib"}
HEAVY = READING | FINDING | {"numpy", "rich", "jinja2"}


def imported_by(code, *arguments):
    """Top-level packages that a fresh interpreter has imported after running some code."""
    script = (
        f"import sys\n{code}\nsys.stdout.flush()\nprint()\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    )
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


MAIN = "from wsanalyze.cli import main\nassert main() == 0"


def test_the_package_itself_imports_nothing():
    assert not imported_by("import wsanalyze") & (HEAVY | {"click", "wsanalyze.api"})


@pytest.mark.parametrize("argument", ["--help", "--version", "-h"])
def test_help_and_version_import_nothing_heavy(argument):
    assert not imported_by(MAIN, argument) & HEAVY


@pytest.mark.parametrize("command", ["analyze", "list", "report", "trends"])
def test_help_of_a_command_imports_nothing_heavy(command):
    assert not imported_by(MAIN, command, "--help") & HEAVY


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    return tmp_path_factory.mktemp("imports") / "run.wsa"


def test_measuring_on_the_cpu_imports_no_torch(run_path):
    imported = imported_by(MAIN, "analyze", CONVNET, "--run", run_path, "--device", "cpu")
    assert not imported & {"torch", "timm", "huggingface_hub", "matplotlib"}
    assert "sklearn" in imported  # else the next test would prove nothing


@pytest.mark.parametrize(
    "reports", [(), ("--json", "a.json"), ("--html", "a.html"), ("--csv", "a.csv", "--markdown", "a.md")]
)
def test_a_stored_run_is_reported_without_the_libraries_that_made_it(run_path, tmp_path, reports):
    if not run_path.exists():
        imported_by(MAIN, "analyze", CONVNET, "--run", run_path, "--quiet")
    places = [tmp_path / name if "." in name else name for name in reports]
    assert not imported_by(MAIN, "report", run_path, *places) & (READING | FINDING)


def test_wrong_usage_is_told_without_measuring_anything():
    code = "from wsanalyze.cli import main\nassert main() == 2"
    assert not imported_by(code, "analyze", CONVNET, "--clusters", "0") & {"torch", "sklearn", "scipy", "rich"}


@pytest.mark.parametrize("name", ["digits-convnet", "digits-transformer"])
def test_a_list_imports_neither_what_reads_nor_what_finds(name, tmp_path):
    for _ in range(2):  # from the headers, then from what was listed before
        imported = imported_by(MAIN, "list", CONVNET.with_name(name), "--json", tmp_path / "list.json")
        assert not imported & (READING | FINDING | {"jinja2"})
