"""Where the reports of a command line may go: nothing that is read or written is replaced by something else."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wsanalyze.store.run_file import RunFile

COMMAND = [sys.executable, "-W", "error", "-m", "wsanalyze"]
REPORTS = ("--html", "--json", "--csv", "--markdown")
posix = pytest.mark.skipif(os.name != "posix", reason="links and streams are those of POSIX")


@pytest.fixture
def source(tmp_path, save_sequence, make_states):
    """Checkpoints in folders of their own, each with what a trainer noted."""
    folder = save_sequence(tmp_path / "flat", make_states(3))
    for path in sorted(folder.iterdir()):
        checkpoint = tmp_path / "run" / path.stem.replace("step_", "checkpoint-")
        checkpoint.mkdir(parents=True)
        path.rename(checkpoint / "model.safetensors")
        (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": int(path.stem[5:])}))
    return tmp_path / "run"


@pytest.fixture
def run_path(tmp_path, source, wsanalyze):
    assert wsanalyze("analyze", source, "--run", tmp_path / "run.wsa", "-q") == (0, "", "")
    return tmp_path / "run.wsa"


@pytest.fixture
def refused(wsanalyze, tmp_path):
    """Run a command line that is refused in one line before anything is done; returns the line."""

    def run(status, *arguments):
        before = read_all(tmp_path)
        found, out, err = wsanalyze(*arguments)
        assert (found, out, len(err.splitlines())) == (status, "", 1), err
        assert read_all(tmp_path) == before
        return err.removeprefix("wsanalyze: ")

    return run


def read_all(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def links_to(path):
    """Names of a file: its own, a link, a hard link, and one by a linked folder."""
    folder = path.parent / "names"
    folder.mkdir()
    (folder / "link").symlink_to(path)
    (folder / "hard").hardlink_to(path)
    (folder / "up").symlink_to(path.parent)
    return path, folder / "link", folder / "hard", folder / "up" / path.name


# What is read


@posix
@pytest.mark.parametrize("option", REPORTS)
def test_a_report_does_not_take_the_place_of_its_run_file(refused, run_path, option):
    for name in links_to(run_path):
        for given in (run_path, name):
            said = refused(2, "report", given, option, name)
            assert said == f"{option} {name} would take the place of the run file {given}: name another file\n"
    for beside in ("-wal", "-journal", "-shm", ".lock"):
        assert "would take the place of the run file" in refused(2, "report", run_path, option, f"{run_path}{beside}")
    RunFile.open(run_path).close()


@pytest.mark.parametrize("option", REPORTS)
def test_a_report_does_not_take_the_place_of_the_run_file_that_is_made(refused, source, run_path, tmp_path, option):
    for run in (run_path, tmp_path / "new.wsa"):
        assert "the place of the run file" in refused(2, "analyze", source, "--run", run, option, run)
    other = tmp_path / "figures" / "heatmap-1col.svg"
    assert "--figures" in refused(2, "analyze", source, "--run", other, "--figures", tmp_path / "figures")


def test_a_report_does_not_take_the_place_of_the_run_file_that_is_chosen(refused, source, tmp_path, monkeypatch):
    monkeypatch.setattr("wsanalyze.pipeline.default_run_path", lambda *_: tmp_path / "chosen.wsa")
    said = refused(2, "analyze", source, "--html", tmp_path / "chosen.wsa")
    assert "the place of the run file" in said


@posix
@pytest.mark.parametrize("option", REPORTS)
def test_a_report_does_not_take_the_place_of_its_table(refused, table, option):
    for name in links_to(table):
        said = refused(2, "trends", table, option, name)
        assert said == f"{option} {name} would take the place of the table {table}: name another file\n"


@posix
@pytest.mark.parametrize("command", ["analyze", "list"])
def test_a_report_does_not_take_the_place_of_weights_or_what_lies_beside_them(refused, source, tmp_path, command):
    run = ("--run", tmp_path / "new.wsa") if command == "analyze" else ()
    weights = source / "checkpoint-1" / "model.safetensors"
    for name in links_to(weights):
        assert "would take the place of weights that are read" in refused(2, command, source, *run, "--json", name)
    base = shutil.copy(weights, tmp_path / "base.safetensors")
    assert "of weights" in refused(2, command, source, *run, "--base", base, "--json", base)
    state = weights.with_name("trainer_state.json")
    assert "what is read of the checkpoint checkpoint-1" in refused(2, command, source, *run, "--json", state)


def test_sums_are_not_kept_in_place_of_weights(refused, source):
    empty = source / "checkpoint-1" / "model.safetensors"
    empty.write_bytes(b"")
    assert "--run" in refused(2, "analyze", source, "--run", empty)


def test_reports_may_lie_among_checkpoints_and_be_written_again(wsanalyze, source, tmp_path):
    for _ in range(2):
        places = (source / "report.json", source / "checkpoint-1" / "config.json")
        for place in places:
            assert wsanalyze("analyze", source, "--run", tmp_path / "a.wsa", "-q", "--json", place)[0] in (0, 2)
    assert json.loads(places[0].read_text())["format"] == 1


# What is written


def test_two_reports_do_not_go_to_one_file(refused, run_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = refused(2, "report", run_path, "--html", "x", "--csv", f"../{tmp_path.name}/./x")
    assert said == f"--html x and --csv ../{tmp_path.name}/x go to one place: name another file\n"
    Path("figs").mkdir()
    said = refused(2, "report", run_path, "--figures", "figs", "--html", "figs/depth-2col.pdf")
    assert said == "--html figs/depth-2col.pdf and --figures figs (depth-2col.pdf) go to one place: name another file\n"
    events = Path("figs", "wsanalyze-rwc", "events.out.tfevents.0000000000.wsanalyze")
    events.parent.mkdir()
    assert "go to one place" in refused(2, "report", run_path, "--tensorboard", "figs", "--html", events)
    for folder in ("new", "new/folder"):
        assert "go to one place" in refused(2, "report", run_path, "--figures", folder, "--html", "new")


@posix
def test_two_figures_do_not_go_to_one_file(refused, run_path, tmp_path):
    (tmp_path / "figs").mkdir()
    (tmp_path / "figs" / "curves-1col.svg").symlink_to("curves-2col.svg")
    assert "go to one place" in refused(2, "report", run_path, "--figures", tmp_path / "figs")


def test_folders_may_be_shared(wsanalyze, table, tmp_path):
    both = ("--figures", tmp_path / "new", "--tensorboard", tmp_path / "new")
    assert wsanalyze("trends", table, *both, "-q") == (0, "", "")
    assert wsanalyze("trends", table, *both, "-q", "--json", tmp_path / "new" / "a.json") == (0, "", "")
    assert len(list((tmp_path / "new").iterdir())) == 24 + 1 + 1


@posix
def test_any_number_of_reports_may_go_nowhere(wsanalyze, table):
    nowhere = [part for option in REPORTS for part in (option, "/dev/null")]
    assert wsanalyze("trends", table, *nowhere, "-q") == (0, "", "")
    assert Path("/dev/null").is_char_device()


# Places that are not there


@pytest.mark.parametrize("command", ["analyze", "report"])
def test_a_folder_that_is_not_there_is_told_before_anything_is_done(refused, source, run_path, tmp_path, command):
    given = {"analyze": (source, "--run", tmp_path / "new.wsa"), "report": (run_path,)}[command]
    folder = tmp_path / "nowhere"
    said = refused(1, command, *given, "--html", folder / "a.html")
    assert said == f"cannot write the report {folder / 'a.html'}: there is no folder {folder}; make it\n"
    said = refused(1, command, *given, "--json", run_path / "a.json")
    assert said == f"cannot write the report {run_path / 'a.json'}: {run_path} is no folder; name another\n"
    said = refused(1, command, *given, "--json", tmp_path)
    assert said == f"cannot write the report {tmp_path}: it is a folder; name a file in it\n"
    for option in ("--figures", "--tensorboard"):
        for place in (run_path, run_path / "figs"):
            said = refused(1, command, *given, option, place)
            assert said == f"cannot make the folder {place} for {option}: {run_path} is no folder; name another\n"


@posix
def test_a_link_to_a_folder_that_is_not_there(refused, table, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "file")
    assert "there is no folder" in refused(1, "trends", table, "--csv", tmp_path / "link")
    assert "is no folder" in refused(1, "trends", table, "--figures", tmp_path / "link")
    (tmp_path / "good").symlink_to(tmp_path / "new.csv")


@pytest.mark.parametrize("option", [*REPORTS, "--figures", "--tensorboard", "--run"])
def test_an_empty_name_is_wrong_usage(refused, source, option, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    kind = "folder" if option in ("--figures", "--tensorboard") else "file"
    run = () if option == "--run" else ("--run", "a.wsa")
    assert refused(2, "analyze", source, *run, option, "") == f"{option} is empty: name a {kind}\n"
    if option == "--json":
        assert refused(2, "list", source, option, "") == "--json is empty: name a file\n"


# Streams that are open already


def shell(script, **more):
    command = shlex.join(COMMAND)
    done = subprocess.run(
        ["/bin/bash", "-c", f'wsanalyze() {{ {command} "$@"; }}\n{script}'],
        capture_output=True,
        text=True,
        check=False,
        **more,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def here(table, tmp_path, monkeypatch):
    if os.name != "posix" or not Path("/bin/bash").exists():
        pytest.skip("needs bash")
    monkeypatch.chdir(tmp_path)
    assert shell(f"wsanalyze trends {table.name} -q --csv right.csv") == (0, "", "")
    return (tmp_path / "right.csv").read_text()


def test_standard_output_by_its_name_is_a_dash(here):
    for name in ("/dev/stdout", "/dev/fd/1", "link"):
        Path("link").unlink(missing_ok=True)
        Path("link").symlink_to("/dev/stdout")
        assert shell(f"wsanalyze trends table.csv --csv {name} | cat") == (0, here, "")
        assert shell(f"echo before > log; wsanalyze trends table.csv --csv {name} >> log") == (0, "", "")
        assert Path("log").read_text() == f"before\n{here}"
        status, _, err = shell(f"wsanalyze trends table.csv --csv {name} --json -")
        assert (status, "only one report" in err) == (2, True)
    assert shell("wsanalyze trends table.csv --html /dev/stdout")[0] == 2


def test_what_a_shell_makes_of_a_command_is_written_to(here):
    assert shell("wsanalyze trends table.csv -q --csv >(cat > copy); wait $!") == (0, "", "")
    assert Path("copy").read_text() == here
    assert shell("wsanalyze trends table.csv -q --csv /dev/fd/3 3>&1 | cat") == (0, here, "")
    assert shell("wsanalyze trends table.csv -q --csv /dev/stderr") == (0, "", here)
    script = "exec 3> log; echo before >&3; wsanalyze trends table.csv -q --csv /dev/fd/3; echo after >&3"
    assert shell(script) == (0, "", "")
    assert Path("log").read_text() == f"before\n{here}after\n"


@pytest.mark.usefixtures("here")
def test_a_file_is_not_replaced_under_a_stream():
    for script in (
        "wsanalyze trends table.csv --json log >> log",
        "wsanalyze trends table.csv --csv - --json log >> log",
        "wsanalyze trends table.csv -q --csv /dev/fd/3 --json log 3>> log",
        "wsanalyze trends table.csv -q --csv /dev/fd/3 --json /dev/fd/3 3>> log",
    ):
        Path("log").write_text("before\n")
        status, out, err = shell(script)
        assert (status, out, Path("log").read_text()) == (2, "", "before\n")
        assert "go to one place" in err
    status, out, err = shell("wsanalyze trends table.csv -q --json log >> log")
    assert (status, out, err) == (0, "", "")


@pytest.mark.usefixtures("here")
def test_a_stream_that_is_not_open_for_writing_is_told_before_anything_is_done():
    for script in (
        "wsanalyze trends table.csv --csv /dev/fd/3 3>&-",
        "wsanalyze trends table.csv --csv /dev/fd/0 </dev/null",
    ):
        status, out, err = shell(script)
        assert (status, out) == (1, "")
        assert "open that stream for writing, or name a file" in err


@pytest.mark.usefixtures("here")
def test_a_report_to_standard_output_that_is_closed_is_an_error():
    for name in ("-", "/dev/stdout"):
        for option in ("--csv", "--json", "--markdown"):
            status, out, err = shell(f"wsanalyze trends table.csv {option} {name} >&-")
            assert (status, out) == (1, "")
            assert err == "wsanalyze: standard output is closed: open it, or write the report to a file\n"
    assert shell("wsanalyze trends table.csv -q --csv a.csv >&-") == (0, "", "")
    np.save("a.npy", np.ones((2, 2)))
    status, _, err = shell("wsanalyze list . --json - >&-")
    assert (status, err) == (1, "wsanalyze: standard output is closed: open it, or write the report to a file\n")
