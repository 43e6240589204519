"""Where the reports of a command line go: folders, the browser, and the lines that say where everything is."""

import json
import os
import re
import shlex
import subprocess
import sys
import webbrowser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsanalyze.cli_reports import describe_command, open_page

COMMAND = [sys.executable, "-W", "error", "-m", "wsanalyze"]
SCREENS = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
NO_SCREEN = {name: value for name, value in os.environ.items() if name not in SCREENS}


def run_alone(*arguments, **environment):
    """Run the command line in a process of its own, without a screen but for what is given."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, env=NO_SCREEN | environment, capture_output=True, text=True, check=False)


# The browser


@pytest.fixture
def browser(tmp_path):
    """A command that notes what it is asked to open."""
    if os.name == "nt":
        pytest.skip("a shell script")
    script = tmp_path / "browser.sh"
    script.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/opened"\n')
    script.chmod(0o755)
    return script


@pytest.mark.parametrize("quiet", [(), ("--quiet",), ("--json", "-")], ids=str)
def test_the_page_that_was_written_is_opened(table, browser, tmp_path, quiet):
    page = tmp_path / "a page, 100 %.html"
    done = run_alone("trends", table, "--html", page, "--open", *quiet, BROWSER=str(browser))
    assert done.returncode == 0
    assert (tmp_path / "opened").read_text().splitlines() == [page.as_uri()]
    assert "browser" not in done.stderr


@pytest.mark.parametrize("browser", ["", " ", "/no/such/browser", "'", "false"], ids=repr)
def test_without_a_browser_one_line_says_where_the_page_is(table, tmp_path, browser):
    page = tmp_path / "page.html"
    done = run_alone("trends", table, "--html", page, "--open", "--quiet", BROWSER=browser, PATH="/bin", TERM="dumb")
    if sys.platform in ("darwin", "win32"):
        pytest.skip("there is always a browser")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"there is no browser here to open the page with: {page}\n"
    assert page.stat().st_size > 1000


def test_a_page_that_was_not_written_is_not_opened(wsanalyze, table, tmp_path):
    status, _, err = wsanalyze("trends", table, "--html", tmp_path / "no" / "page.html", "--open")
    assert (status, len(err.splitlines())) == (1, 1)


def test_a_browser_of_the_terminal_is_not_started_unasked(monkeypatch, tmp_path):
    for name in SCREENS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(webbrowser, "open", lambda url: pytest.fail(f"opened {url}"))
    assert not open_page(tmp_path / "page.html")


# How it is made again


def test_a_page_says_what_asked_for_it_with_the_home_as_one_types_it(wsanalyze, table, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    page = tmp_path / "my page.html"
    assert wsanalyze("trends", table, "--html", page, "--seed", 3)[0] == 0
    command = "wsanalyze trends ~/table.csv --html ~/&#39;my page.html&#39; --seed 3"
    assert f"<code>{command}</code>" in page.read_text()


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")
@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("ab ~/$'\"\\*\n#=-", min_size=1), min_size=1), st.sampled_from(["/", "/a", "/a b/~", "~"]))
def test_a_shell_reads_the_arguments_back(arguments, home):
    arguments += [home, f"{home}/a b", f"{home}/", f"{home}x"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", home)
        command = describe_command(arguments)
    script = command.replace("wsanalyze", "printf '%s\\0'", 1)
    done = subprocess.run(["/bin/sh", "-c", script], env={"HOME": home}, capture_output=True, text=True, check=True)
    assert done.stdout.split("\0")[:-1] == arguments
    assert f"~/{shlex.quote('a b')}" in command or home in ("/", "~")


# What was written


def test_beside_a_report_on_standard_output_lines_on_standard_error_say_what_was_written(wsanalyze, table, tmp_path):
    status, out, err = wsanalyze("trends", table, "--json", "-", "--html", tmp_path / "a.html")
    assert (status, err) == (0, f"wrote {tmp_path / 'a.html'}\n")
    assert json.loads(out)
    assert wsanalyze("trends", table, "--json", "-", "--html", tmp_path / "a.html", "--quiet")[2] == ""


# Folders


def test_scalars_for_tensorboard_are_written_and_named_on_the_last_lines(wsanalyze, table, tmp_path):
    status, out, err = wsanalyze("trends", table, "--tensorboard", tmp_path / "tb", "--csv", tmp_path / "a.csv")
    assert status == 0
    assert "6 layers over 3 changes" in out
    assert err.splitlines() == [f"wrote {tmp_path / 'a.csv'}", f"wrote {tmp_path / 'tb'}"]
    assert list((tmp_path / "tb" / "wsanalyze-rwc").iterdir())


def test_figures_are_written_and_named_on_the_last_lines(wsanalyze, table, tmp_path):
    status, _, err = wsanalyze("trends", table, "--figures", tmp_path / "figures")
    assert (status, err) == (0, f"wrote {tmp_path / 'figures'}\n")
    assert {path.suffix for path in (tmp_path / "figures").iterdir()} == {".svg", ".pdf", ".png"}


@pytest.mark.parametrize("option", ["--figures", "--tensorboard"])
def test_a_folder_that_cannot_be_written_is_named_and_the_other_reports_are_there(wsanalyze, table, tmp_path, option):
    folder = tmp_path / ("x" * 300)
    status, out, err = wsanalyze("trends", table, option, folder, "--json", tmp_path / "a.json")
    assert status == 1
    assert err.splitlines()[0] == f"wrote {tmp_path / 'a.json'}"
    assert re.match(f"wsanalyze: .*{re.escape(str(folder))}", err.splitlines()[-1])
    assert out
    assert (tmp_path / "a.json").stat().st_size > 100


@pytest.mark.parametrize("option", ["--html", "--figures", "--tensorboard"])
def test_what_is_no_stream_goes_to_none(wsanalyze, table, option):
    status, out, err = wsanalyze("trends", table, option, "-")
    assert (status, out) == (2, "")
    assert re.fullmatch(rf"wsanalyze: {option} takes a (file|folder), not standard output\n", err)


def test_without_tensorboard_one_line_says_how_to_get_it_before_any_work(wsanalyze, tmp_path, monkeypatch):
    monkeypatch.setattr("wsanalyze.reports.tensorboard.find_spec", lambda _name: None)
    status, out, err = wsanalyze("analyze", tmp_path / "nowhere", "--tensorboard", tmp_path / "tb")
    assert (status, out) == (1, "")
    assert err == 'wsanalyze: --tensorboard needs the package tensorboard: pip install "wsanalyze[tensorboard]"\n'
    assert not (tmp_path / "tb").exists()
