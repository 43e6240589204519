"""How the command line ends where something breaks in the middle: one line, the right status, and what was written."""

import json
import os
import signal
import subprocess
import sys

import pytest

from wsanalyze.errors import ReportError

BROKEN = "import sys\nsys.modules[sys.argv.pop(1)] = None\nfrom wsanalyze.cli import main\nsys.exit(main())"
# A signal within the making of a class, of which Python 3.11 makes a RuntimeError.
STOPPED = """
import functools, os, signal, sys
number, package = int(sys.argv.pop(1)), sys.argv.pop(1)
signal.signal(signal.SIGINT, signal.default_int_handler)
original = functools.cached_property.__set_name__
def stop(self, owner, name):
    if owner.__module__.startswith(package):
        functools.cached_property.__set_name__ = original
        os.kill(os.getpid(), number)
    return original(self, owner, name)
functools.cached_property.__set_name__ = stop
from wsanalyze.cli import main
sys.exit(main())
"""
NOT_HALF = "no file is half-written, those that were not written yet are as they were"


def run_script(script, *arguments):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr.splitlines()


@pytest.mark.skipif(os.name == "nt", reason="no such signals for a child")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_an_import_is_an_interrupt_and_ends_the_work(table, tmp_path, number, status):
    places = ("--json", tmp_path / "a.json", "--figures", tmp_path / "figures", "-q")
    found = run_script(STOPPED, int(number), "matplotlib", "trends", table, *places)
    assert found == (status, "", [f"wsanalyze: interrupted; {NOT_HALF}"])
    assert json.loads((tmp_path / "a.json").read_text())
    found = run_script(STOPPED, int(number), "matplotlib", "trends", table, *places[:-1])
    assert found == (status, "", [f"wrote {tmp_path / 'a.json'}", f"wsanalyze: interrupted; {NOT_HALF}"])
    assert list((tmp_path / "figures").iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ReportError("tensorboard cannot be imported"), ValueError()])
def test_an_interrupt_that_became_another_error_ends_the_work_too(wsanalyze, table, tmp_path, monkeypatch, error):
    def interrupted(*_arguments, **_options):
        raise error from KeyboardInterrupt()

    monkeypatch.setattr("wsanalyze.run.write_report", interrupted)
    status, out, err = wsanalyze("trends", table, "--html", tmp_path / "a.html", "--json", tmp_path / "a.json")
    assert (status, out, err) == (130, "", f"wsanalyze: interrupted; {NOT_HALF}\n")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("list", "interrupted"),
        ("pull", "interrupted; what was fetched is kept, the same command goes on from there"),
        ("analyze", "interrupted; what was measured is kept, the same command goes on from there"),
    ],
)
def test_what_is_said_of_an_interrupt_is_true_of_the_command(wsanalyze, tmp_path, monkeypatch, command, said):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    for place in ("listing.list_sequence", "pull.pull_sequence", "pipeline.measure_run"):
        monkeypatch.setattr(f"wsanalyze.{place}", interrupted)
    arguments = ("hf://org/repo", tmp_path) if command == "pull" else (tmp_path,)
    assert wsanalyze(command, *arguments) == (130, "", f"wsanalyze: {said}\n")


@pytest.mark.parametrize(("package", "option"), [("matplotlib", "figures"), ("jinja2", "html")])
def test_a_package_that_is_broken_costs_one_line_and_its_own_report(table, tmp_path, package, option):
    places = {name: tmp_path / f"a.{name}" for name in ("html", "json", "figures", "tensorboard")}
    arguments = [part for name, place in places.items() for part in (f"--{name}", place)]
    status, out, err = run_script(BROKEN, package, "trends", table, *arguments)
    lines = [f"wrote {place}" for name, place in places.items() if name != option]
    assert (status, [line for line in err if line.startswith("wrote")]) == (1, lines)
    assert err[-1].startswith(f"wsanalyze: cannot write the report {places[option]}: the package {package} cannot be ")
    assert "6 layers over 3 changes" in out


@pytest.mark.parametrize("package", ["sklearn", "rich"])
def test_without_what_all_reports_need_one_line_says_so(table, package):
    status, out, err = run_script(BROKEN, package, "trends", table)
    assert (status, out, len(err)) == (1, "", 1)
    assert err[0].startswith(f"wsanalyze: the package {package} cannot be imported (")
