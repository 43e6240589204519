"""The command line as people and scripts meet it: statuses, reports, one line for an error, never a traceback."""

import contextlib
import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

from wsanalyze.cli import main
from wsanalyze.errors import WsAnalyzeError
from wsanalyze.store.run_file import RunFile
from wsanalyze.trends import find
from wsanalyze.version import __version__

CONVNET = Path(__file__).parents[1] / "fixtures" / "digits-convnet"
MEASURED = r"measured (\d\S* \w+) in \d+\.\d+ s \(\d\S* \w+/s\)\n"
COMMAND = [sys.executable, "-W", "error", "-m", "wsanalyze"]
HOSTILE = (
    "<script>alert(1)</script>.weight",
    "\x1b[2J\x1b[31mcleared.weight",
    "[red]x[/red].weight",
    "two\nlines.weight",
    "=cmd|' /C calc'!A0.weight",
    "a|b`c`*d*.weight",
    "\u202eoverride.weight",
    "x" * 500 + ".weight",
)


@pytest.fixture
def fails(wsanalyze):
    """Run a command line that goes wrong: nothing on standard output, one line on standard error, which is returned."""

    def run(status, *arguments):
        found, out, err = wsanalyze(*arguments)
        assert found == status, err
        assert out == ""
        assert err.endswith("\n")
        assert len(err.splitlines()) == 1
        assert err.startswith("wsanalyze: ")
        return err

    return run


@pytest.fixture
def source(save_sequence, make_states, tmp_path):
    shapes = {f"blocks.{index}.fc.weight": (6, 5) for index in range(8)}
    return save_sequence(tmp_path / "run", make_states(5, shapes), [0, 10, 20, 30, 40])


@pytest.fixture
def run_path(tmp_path):
    return tmp_path / "run.wsa"


@pytest.fixture
def measured(source, run_path, wsanalyze):
    assert wsanalyze("analyze", source, "--run", run_path, "--quiet") == (0, "", "")
    return run_path


# The main job


def test_analyze_prints_a_report(wsanalyze, source, run_path):
    status, out, err = wsanalyze("analyze", source, "--run", run_path)
    assert status == 0
    assert out.startswith(f"wsanalyze {__version__}: relative weight change of 8 layers over 4 changes")
    assert re.fullmatch(MEASURED + re.escape(f"run kept in {run_path}\n"), err)
    assert "\x1b" not in out


def test_analyze_tells_what_measuring_took_until_all_is_stored(wsanalyze, source, run_path, tmp_path):
    first = wsanalyze("analyze", source, "--run", run_path, "--json", tmp_path / "first.json")[2].splitlines()
    again = wsanalyze("analyze", source, "--run", run_path, "--json", "-")[2].splitlines()
    assert re.fullmatch(MEASURED, f"{first[0]}\n")[1] == "4.80 kB"  # 5 checkpoints of 8 rows of 30 numbers
    assert again == ["measured nothing: all of it was stored already", f"run kept in {run_path}"]
    assert wsanalyze("analyze", source, "--run", run_path, "--quiet") == (0, "", "")
    for report in ("--json", "--markdown"):
        assert "measured nothing" not in wsanalyze("report", run_path, report, "-")[1]


def test_nothing_is_said_of_measuring_where_there_is_nothing_to_compare(wsanalyze, source, run_path):
    status, _, err = wsanalyze("analyze", source / "step_40.safetensors", "--run", run_path)
    assert (status, err) == (0, f"run kept in {run_path}\n")


def test_a_list_tells_the_plan_where_it_is_asked_for(wsanalyze, fails, source):
    status, out, err = wsanalyze("list", source, "--plan", "--device", "cpu", "--memory", "64MB")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "plan    reads 4.80 kB, each byte once, in 1 band by 1 thread" in out
    assert "--memory allows 64.0 MB" in out
    assert "time    about " in out
    status, out, _ = wsanalyze("list", source, "--plan", "--json", "-", "--device", "cpu")
    plan = json.loads(out)["plan"]
    assert (plan["nbytes"], plan["bands"], plan["threads"], plan["hub"], plan["problem"]) == (4800, 1, 1, None, None)
    assert plan["memory"]["buffers"] <= plan["memory"]["allowed"] == 128_000_000
    assert 0 < plan["probe"]["nbytes"] <= 4800
    assert "plan" not in json.loads(wsanalyze("list", source, "--json", "-")[1])
    assert "give both" in fails(2, "list", source, "--memory", "64MB")
    assert "give both" in fails(2, "list", source, "--device", "cpu")
    assert "--memory must be at least 32MB" in fails(2, "list", source, "--plan", "--memory", "1MB")
    assert "nothing to measure" in wsanalyze("list", source / "step_0.safetensors", "--plan")[1]


def test_report_shows_a_stored_run_again(wsanalyze, measured, source):
    shutil.rmtree(source)
    status, out, err = wsanalyze("report", measured)
    assert (status, err) == (0, "")
    assert "8 layers over 4 changes" in out


def test_quiet_prints_nothing_and_writes_what_was_asked_for(wsanalyze, source, run_path, tmp_path):
    page = tmp_path / "page.html"
    assert wsanalyze("analyze", source, "--run", run_path, "--quiet", "--html", page) == (0, "", "")
    assert page.stat().st_size > 1000
    assert wsanalyze("report", run_path, "-q") == (0, "", "")


def test_every_report_at_once(wsanalyze, measured, tmp_path):
    names = {"html": "a.html", "json": "a.json", "csv": "a.csv", "markdown": "a.md"}
    arguments = [part for option, name in names.items() for part in (f"--{option}", tmp_path / name)]
    status, out, err = wsanalyze("report", measured, *arguments)
    assert status == 0
    assert "8 layers" in out
    assert err.splitlines() == [f"wrote {tmp_path / name}" for name in names.values()]
    assert all((tmp_path / name).stat().st_size > 100 for name in names.values())


@pytest.mark.parametrize("option", ["json", "csv", "markdown"])
def test_a_dash_is_standard_output_and_then_no_terminal_report(wsanalyze, measured, tmp_path, option):
    status, out, err = wsanalyze("report", measured, f"--{option}", "-")
    assert (status, err) == (0, "")
    wsanalyze("report", measured, f"--{option}", tmp_path / "file", "-q")
    assert out == (tmp_path / "file").read_text(encoding="utf-8")


def test_report_gives_the_report_json_of_analyze(wsanalyze, run_path, tmp_path):
    first, second, third = (tmp_path / name for name in ("first.json", "second.json", "third.json"))
    assert wsanalyze("analyze", CONVNET, "--run", run_path, "--json", first, "-q")[0] == 0
    assert wsanalyze("report", run_path, "--json", second, "-q")[0] == 0
    assert first.read_bytes() == second.read_bytes()
    document = json.loads(first.read_text())
    assert document["format"] == 1
    assert document["command"] == f"wsanalyze analyze {CONVNET} --run {run_path} --json {first} -q"
    assert [checkpoint["step"] for checkpoint in document["checkpoints"]][-1] == 1000
    stem = next(layer for layer in document["layers"] if layer["name"] == "stem.conv.weight")
    assert stem["states"] == [None] * 7 + ["unchanged"] * 3
    assert stem["change"][7:] == [0.0, 0.0, 0.0]
    assert wsanalyze("report", run_path, "--json", third, "--metric", "angle", "-q")[0] == 0
    assert json.loads(third.read_text())["metric"] == "angle"


@pytest.mark.parametrize("metric", ["rwc", "rwc-elementwise", "l2", "angle", "flips", "changed", "rate", "rate-linear"])
def test_every_metric(wsanalyze, measured, metric):
    status, out, _ = wsanalyze("report", measured, "--metric", metric, "--json", "-", "--clusters", "2")
    assert status == 0
    document = json.loads(out)
    assert document["metric"] == metric
    assert all(value is not None for layer in document["layers"] for value in layer["change"])


@pytest.mark.parametrize("by", ["module", "block", "kind"])
def test_groups(wsanalyze, measured, by):
    status, out, _ = wsanalyze("report", measured, "--group", by, "--json", "-")
    assert status == 0
    assert len(json.loads(out)["layers"]) == {"module": 8, "block": 8, "kind": 2}[by]  # the last linear one is a head


@pytest.mark.parametrize(
    "options", [("--method", "paper"), ("--features", "both", "--clusters", "3"), ("--seed", "7"), ("--window", "2")]
)
def test_options_of_trends(wsanalyze, measured, options):
    assert wsanalyze("report", measured, *options)[0] == 0


@pytest.mark.parametrize("command", ["analyze", "report", "trends"])
def test_options_of_trends_are_in_the_document(wsanalyze, source, measured, tmp_path, command):
    wsanalyze("report", measured, "--csv", tmp_path / "table.csv", "-q")
    given = {"analyze": (source, "--run", measured), "report": (measured,), "trends": (tmp_path / "table.csv",)}
    for options, by_kind, window in ((("--by-kind",), True, None), (("--window", "3"), False, 3)):
        status, out, _ = wsanalyze(command, *given[command], *options, "--seed", "4", "--json", "-")
        assert status == 0
        document = json.loads(out)
        assert document["seed"] == 4
        assert (document["options"]["by_kind"], document["options"]["window"]) == (by_kind, window)
        assert sum(part["size"] for part in document["kinds"]) == (8 if by_kind else 0)


def test_help_names_every_method(wsanalyze):
    words = re.findall(r"\w+", wsanalyze("report", "--help")[1])
    assert set(find.METHODS) <= set(words)


def test_options_of_reading(wsanalyze, source, run_path):
    options = ("--steps", "10:40", "--every", "2", "--layers", r"blocks\.[0-3]\.", "--params", "all", "--memory", "1GB")
    status, out, _ = wsanalyze("analyze", source, "--run", run_path, *options, "--device", "cpu", "--json", "-")
    document = json.loads(out)
    assert status == 0
    assert [checkpoint["step"] for checkpoint in document["checkpoints"]] == [10, 30, 40]
    assert len(document["layers"]) == 4


def test_the_renames_that_are_suggested_let_a_base_compare(wsanalyze, source, run_path, make_states, save_sequence):
    shapes = {f"net.blocks.{index}.fc.weight": (6, 5) for index in range(8)}
    base = save_sequence(run_path.parent / "base", make_states(1, shapes, seed=5)) / "step_0.safetensors"
    command = ("analyze", source, "--run", run_path, "--base", base, "--json", "-")
    (renamed,) = [event for event in json.loads(wsanalyze(*command)[1])["events"] if event["kind"] == "renamed"]
    options = re.search(r": (--rename .*) would compare them", renamed["text"])[1]
    document = json.loads(wsanalyze(*command, *shlex.split(options))[1])
    assert document["changes"] == [{"from": i, "to": i + 1} for i in range(5)]
    assert document["checkpoints"][0]["label"] == "step_0 (base)"
    assert document["checkpoints"][0]["step"] is None
    assert len(document["layers"]) == 8
    assert None not in {layer["change"][0] for layer in document["layers"]}


def test_several_sources_in_the_order_given(wsanalyze, source, run_path):
    paths = [source / f"step_{step}.safetensors" for step in (20, 0, 10)]
    status, out, _ = wsanalyze("analyze", *paths, "--order", "given", "--run", run_path, "--json", "-")
    assert status == 0
    assert [checkpoint["step"] for checkpoint in json.loads(out)["checkpoints"]] == [20, 0, 10]


def test_the_main_job_in_a_process_of_its_own(source, run_path):
    done = subprocess.run([*COMMAND, "analyze", source, "--run", run_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "8 layers over 4 changes" in done.stdout
    assert re.fullmatch(MEASURED + re.escape(f"run kept in {run_path}\n"), done.stderr)


def test_the_version(wsanalyze):
    assert wsanalyze("--version") == (0, f"wsanalyze {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [("--help",), ("-h",), ("analyze", "--help"), ("report", "-h"), ("trends", "--help")]
)
def test_help(wsanalyze, arguments):
    status, out, err = wsanalyze(*arguments)
    assert (status, err) == (0, "")
    assert out.startswith("Usage: wsanalyze")


def test_a_bare_command_shows_help(wsanalyze):
    status, out, err = wsanalyze()
    assert status == 2
    assert "Usage: wsanalyze" in out + err


# Wrong usage: status 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("analyze",), "Missing argument 'SOURCE...' (see wsanalyze analyze --help)"),
        (("analyze", "SOURCE", "--frobnicate"), "No such option '--frobnicate'"),
        (("frobnicate",), "No such command 'frobnicate'"),
        (("analyze", "SOURCE", "--metric", "speed"), "no metric named 'speed': choose one of rwc, rwc-elementwise"),
        (("analyze", "SOURCE", "--method", "magic"), "no method named 'magic': choose one of robust, paper"),
        (("analyze", "SOURCE", "--features", "size"), "no features named 'size'"),
        (("analyze", "SOURCE", "--clusters", "0"), "--clusters takes auto or a number from 1 on, not '0'"),
        (("analyze", "SOURCE", "--clusters", "many"), "--clusters takes auto or a number"),
        (("analyze", "SOURCE", "--clusters", "9" * 5000), "--clusters takes auto or a number"),
        (("analyze", "SOURCE", "--seed", "-1"), "-1 is no seed"),
        (("analyze", "SOURCE", "--seed", "x"), "'x' is not a valid integer"),
        (("analyze", "SOURCE", "--group", "size"), "cannot group by 'size': choose one of module, block, kind"),
        (("analyze", "SOURCE", "--by-kind", "--group", "kind"), "--by-kind clusters the rows that --group kind adds"),
        (("analyze", "SOURCE", "--by-kind", "--window", "4"), "--by-kind finds no trends within the windows of"),
        (("analyze", "SOURCE", "--window", "1"), "a window of 1 has no trend in it: ask for 2 changes or more"),
        (("analyze", "SOURCE", "--window", "x"), "'x' is not a valid integer"),
        (("analyze", "SOURCE", "--memory", "lots"), "--memory takes a size such as 64MB or 1GiB, not 'lots'"),
        (("analyze", "SOURCE", "--memory", "1MB"), "--memory must be at least 32MB"),
        (("analyze", "SOURCE", "--every", "0"), "0 is not in the range x>=1"),
        (("analyze", "SOURCE", "--steps", "5:1"), "--steps '5:1' ends before it begins"),
        (("analyze", "SOURCE", "--steps", "soon"), "--steps takes a range such as 100:500"),
        (("analyze", "SOURCE", "--layers", "["), "--layers '[' is no regular expression"),
        (("analyze", "SOURCE", "--params", "few"), "'few' is not one of 'matrices', 'all'"),
        (("analyze", "SOURCE", "--weights", "best"), "'best' is not one of"),
        (("analyze", "SOURCE", "--order", "random"), "'random' is not one of"),
        (("analyze", "SOURCE", "--device", "abacus"), "--device takes auto, cpu, cuda or cuda:N, not 'abacus'"),
        (("analyze", "SOURCE", "--json", "-", "--csv", "-"), "only one report can go to standard output"),
        (("analyze", "SOURCE", "--html", "-"), "--html takes a file"),
        (("analyze", "SOURCE", "--open"), "--open opens the page that --html FILE writes: give both"),
        (("analyze", "SOURCE", "--rename", "a"), "--rename takes OLD=NEW"),
        (("analyze", "SOURCE", "--rename", "(=b"), "--rename (=b: missing ), unterminated subpattern"),
        (("analyze", "SOURCE", "--rename", ".*=b"), "--rename .*=b gives two tensors the name"),
        (("report", "RUN", "--clusters", "0"), "--clusters takes auto"),
        (("trends", "TABLE", "--json", "-", "--markdown", "-"), "only one report"),
    ],
)  # fmt: skip
def test_wrong_usage(fails, source, run_path, arguments, said):
    arguments = [str(source) if argument == "SOURCE" else argument for argument in arguments]
    run = ("--run", run_path) if arguments[0] == "analyze" else ()
    assert said in fails(2, *arguments, *run)
    assert not run_path.exists()


def test_a_metric_that_the_run_cannot_give(fails, save_sequence, make_states, tmp_path):
    states = make_states(2)
    folder = save_sequence(tmp_path / "run", states, ["best", "worst"])
    paths = [folder / "step_best.safetensors", folder / "step_worst.safetensors"]
    said = fails(2, "analyze", *paths, "--order", "given", "--run", tmp_path / "a.wsa", "--metric", "rate", "-q")
    assert "'rate' needs increasing step numbers, and this sequence has none: choose rwc" in said


# Nothing could be done: status 1


def test_sources_that_hold_nothing(fails, tmp_path, run_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").write_text("nothing to see")
    for source, said in (
        (tmp_path / "nowhere", "no such file or folder"),
        (tmp_path / "no*where", "the pattern matches no checkpoint"),
        (tmp_path / "empty", "holds no checkpoint"),
        (tmp_path / "text", "holds no checkpoint"),
        (tmp_path / "text" / "notes.txt", "is neither a safetensors nor a torch file"),
        ("hf://org/repo", "hf://org/repo"),
        ("~nobody-of-that-name/run", "~nobody-of-that-name/run"),
    ):
        assert said in fails(1, "analyze", source, "--run", run_path)
    assert not list(tmp_path.glob("*.wsa*"))


def test_none_that_can_be_read(fails, source, run_path):
    for path in source.iterdir():
        path.write_bytes(os.urandom(1000))
    assert "none of 5 checkpoints can be read" in fails(1, "analyze", source, "--run", run_path)


def test_checkpoints_of_two_models(fails, save_sequence, make_states, tmp_path, run_path):
    states = make_states(1, {"encoder.weight": (3, 3)}) + make_states(1, {"decoder.weight": (3, 3)})
    said = fails(1, "analyze", save_sequence(tmp_path / "run", states), "--run", run_path)
    assert "no layer in common" in said
    assert "encoder.weight" in said


def test_rows_that_are_not_there(fails, source, run_path):
    assert "--layers 'head' matches no tensor" in fails(1, "analyze", source, "--run", run_path, "--layers", "head")


def test_two_sequences_in_one_folder(fails, source, run_path, tmp_path):
    shutil.copytree(source, tmp_path / "both" / "one")
    shutil.copytree(source, tmp_path / "both" / "two")
    assert "holds 2 sequences" in fails(1, "analyze", tmp_path / "both", "--run", run_path)


def test_a_device_that_is_not_there(fails, source, run_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "use --device cpu" in fails(1, "analyze", source, "--run", run_path, "--device", "cuda")


def test_run_files_that_cannot_be_used(fails, source, measured, tmp_path):
    import sqlite3

    (tmp_path / "text.wsa").write_text("hello " * 1000)
    other = sqlite3.connect(tmp_path / "version.wsa")
    other.executescript("PRAGMA application_id = 0x57534131; PRAGMA user_version = 99; CREATE TABLE t (a);")
    other.close()
    (tmp_path / "damaged.wsa").write_bytes(measured.read_bytes()[:5000])
    for path, said in (
        (tmp_path / "text.wsa", "is not a run file"),
        (tmp_path / "version.wsa", "is a run file of format 99"),
        (tmp_path / "damaged.wsa", "is damaged"),
        (tmp_path, "is a folder"),
    ):
        assert said in fails(1, "report", path)
        assert said in fails(1, "analyze", source, "--run", path)
    assert "no such run file" in fails(1, "report", tmp_path / "nowhere.wsa")
    assert "was made for source" in fails(1, "analyze", CONVNET, "--run", measured)
    with RunFile.create(measured, source=str(source)):
        assert "another wsanalyze is writing to it" in fails(1, "analyze", source, "--run", measured)


def test_run_files_that_cannot_be_read_say_why(fails, measured, monkeypatch):
    if Path("/dev/null").is_char_device():
        assert "/dev/null: is no file but a device or a pipe; name a run file" in fails(1, "report", "/dev/null")

    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != measured)
    said = fails(1, "report", measured)
    assert f"{measured}: cannot be read (permission denied); get the right to, or name another file" in said


def test_a_full_disk_under_the_run_file(fails, save_sequence, make_states, tmp_path, run_path, monkeypatch):
    import sqlite3

    real = sqlite3.connect
    with RunFile.create(run_path.with_name("other.wsa"), source="/other") as empty:
        (num_pages,) = empty._database.execute("PRAGMA page_count").fetchone()

    def connect(*arguments, **more):
        connection = real(*arguments, **more)
        connection.execute(f"PRAGMA max_page_count = {num_pages + 5}")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)
    source = save_sequence(tmp_path / "run", make_states(3, {f"layers.{i}.weight": (2, 2) for i in range(200)}))
    said = fails(1, "analyze", source, "--run", run_path)
    assert f"{run_path}: the disk is full; what was measured is kept" in said


def test_a_report_that_cannot_be_written_leaves_the_run_and_the_other_reports(wsanalyze, source, run_path, tmp_path):
    place, good = tmp_path / ("x" * 300), tmp_path / "good.json"
    status, out, err = wsanalyze("analyze", source, "--run", run_path, "--html", place, "--json", good)
    assert status == 1
    assert err.splitlines()[-1].startswith(f"wsanalyze: cannot write the report {place}: ")
    assert out.startswith("wsanalyze 0")
    assert json.loads(good.read_text())["format"] == 1
    assert wsanalyze("report", run_path)[0] == 0


@pytest.mark.skipif(os.name == "nt", reason="a shell's way to close a stream")
def test_closed_streams_do_no_harm(source, run_path):
    command = " ".join(shlex.quote(str(part)) for part in (*COMMAND, "analyze", source, "--run", run_path))
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        done = subprocess.run(["sh", "-c", f"{command} {closed}"], capture_output=True, text=True, check=False)  # noqa: S607
        assert done.returncode == 0
        assert "Traceback" not in done.stderr


def test_ctrl_c_in_the_middle_of_an_import_is_an_interrupt(wsanalyze, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise ImportError("numpy could not be imported") from KeyboardInterrupt()

    monkeypatch.setattr("wsanalyze.cli.read_trend_options", interrupted)
    status, out, err = wsanalyze("report", "x.wsa")
    assert (status, out) == (130, "")
    assert "interrupted" in err


def test_a_full_disk_under_standard_output(measured):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    for arguments in (("--json", "-"), ()):
        with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
            done = subprocess.run(
                [*COMMAND, "report", measured, *arguments], stdout=full, stderr=-1, text=True, check=False
            )
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == "wsanalyze: standard output cannot be written (no space left on device)"
        assert "Traceback" not in done.stderr


def test_a_reader_that_has_gone(measured):
    for arguments in (("--json", "-"), ()):
        with subprocess.Popen([*COMMAND, "report", measured, *arguments], stdout=-1, stderr=-1, text=True) as child:
            child.stdout.close()
            err = child.stderr.read()
        assert child.returncode == 1
        assert err == ""


def test_debug_shows_where_an_error_comes_from(tmp_path):
    with pytest.raises(WsAnalyzeError):
        main(["report", str(tmp_path / "nowhere.wsa"), "--debug"])


def test_memory_that_runs_out(fails, measured, monkeypatch):
    def exhaust(*_arguments):
        raise MemoryError

    monkeypatch.setattr("wsanalyze.run.Run.find_trends", exhaust)
    assert "out of memory" in fails(1, "report", measured)


# A part could not be read: status 3


@pytest.fixture
def with_bad_files(source):
    """Good checkpoints, and a truncated, an empty and a random one among them."""
    good = (source / "step_20.safetensors").read_bytes()
    (source / "step_50.safetensors").write_bytes(good[:-10])
    (source / "step_60.safetensors").write_bytes(b"")
    (source / "step_15.safetensors").write_bytes(np.random.default_rng(0).bytes(5000))
    return source


def test_bad_files_among_good_ones(wsanalyze, with_bad_files, run_path):
    status, out, err = wsanalyze("analyze", with_bad_files, "--run", run_path, "--json", "-")
    assert status == 3
    kept = re.escape(f"run kept in {run_path}\n")
    assert re.fullmatch(f"{MEASURED}{kept}wsanalyze: 3 checkpoints could not be read\\.\n", err)
    document = json.loads(out)
    states = {checkpoint["label"]: checkpoint["status"] for checkpoint in document["checkpoints"]}
    assert {label for label, status in states.items() if status == "unreadable"} == {"step_50", "step_60", "step_15"}
    assert len(document["changes"]) == 4
    assert all(value is not None for layer in document["layers"] for value in layer["change"])
    assert all(checkpoint["reason"] for checkpoint in document["checkpoints"] if checkpoint["status"] == "unreadable")
    assert sum(event["kind"] == "unreadable" for event in document["events"]) == 3


def test_bad_files_are_named_and_counted_on_the_last_line(wsanalyze, with_bad_files, run_path):
    status, out, _ = wsanalyze("analyze", with_bad_files, "--run", run_path)
    assert status == 3
    for label in ("step_50", "step_60", "step_15"):
        assert label in out
    assert out.splitlines()[-1] == "3 checkpoints could not be read."
    status, out, err = wsanalyze("report", run_path, "--quiet")
    assert (status, out, err) == (3, "", "wsanalyze: 3 checkpoints could not be read.\n")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read anything")
def test_a_file_without_the_right_to_read_it(wsanalyze, source, run_path):
    (source / "step_20.safetensors").chmod(0)
    status, out, _ = wsanalyze("analyze", source, "--run", run_path)
    assert status == 3
    assert "permission denied" in out


# Little to do: status 0


def test_one_checkpoint_has_nothing_to_be_compared_with(wsanalyze, source, run_path):
    status, out, _ = wsanalyze("analyze", source / "step_0.safetensors", "--run", run_path)
    assert status == 0
    assert re.search(r"nothing (to|could be) compare", out)
    for option in ("--json", "--csv", "--markdown"):
        assert wsanalyze("report", run_path, option, "-")[0] == 0
    assert wsanalyze("report", run_path, "--html", run_path.with_suffix(".html"))[0] == 0


def test_copies_of_one_checkpoint(wsanalyze, source, run_path):
    for step in (10, 20, 30, 40):
        shutil.copy(source / "step_0.safetensors", source / f"step_{step}.safetensors")
    status, out, _ = wsanalyze("analyze", source, "--run", run_path, "--json", "-")
    assert status == 0
    document = json.loads(out)
    assert [checkpoint["status"] for checkpoint in document["checkpoints"]] == ["ok"] + ["duplicate"] * 4
    assert document["changes"] == []
    _, out, _ = wsanalyze("report", run_path)
    assert "nothing to compare" in out


# Tables


def test_a_table(wsanalyze, tmp_path):
    rows = "".join(f"layers.{i}.weight,{0.5 + i},{0.4 + i},{0.3 + i}\n" for i in range(6))
    (tmp_path / "table.csv").write_text(f"layer,10,20,30\n{rows}")
    status, out, err = wsanalyze("trends", tmp_path / "table.csv", "--json", "-")
    assert (status, err) == (0, "")
    assert json.loads(out)["layers"][0]["change"] == [0.5, 0.4, 0.3]
    assert "6 layers over 3 changes" in wsanalyze("trends", tmp_path / "table.csv")[1]


@pytest.mark.parametrize("method", ["robust", "paper"])
def test_a_table_with_holes(wsanalyze, tmp_path, method):
    rows = "".join(f"l{i},{0.5 + i},{0.4 + i},{0.3 + i},{0.2 + i}\n" for i in range(5))
    (tmp_path / "table.csv").write_text(f"layer,1,2,3,4\na,,0.4,nan,0.2\nb,inf,0.4,-inf,0\n{rows}")
    status, out, _ = wsanalyze("trends", tmp_path / "table.csv", "--method", method, "--clusters", "2", "--json", "-")
    assert status == 0
    layers = {layer["name"]: layer for layer in json.loads(out)["layers"]}
    assert layers["a"]["change"] == [None, 0.4, None, 0.2]
    assert layers["a"]["states"] == ["missing", None, "nonfinite", None]
    assert layers["b"]["change"] == [None, 0.4, None, 0.0]
    assert layers["b"]["states"] == ["nonfinite", None, "nonfinite", "unchanged"]
    if method == "paper":  # what it put in place of inf is said
        assert json.loads(out)["touched"]["gap"]
        assert json.loads(out)["notes"]


NO_TABLES = (
    b"",
    b"layer\n",
    b"layer,1\n",
    b"just some text\n",
    b"layer,1\na,much\n",
    b"layer,1\na,1,2\n",
    b"layer,1\na,1\na,2\n",
    b"\x00\x01\x02" * 99,
)


@pytest.mark.parametrize("content", NO_TABLES)
def test_what_is_no_table(fails, tmp_path, content):
    (tmp_path / "table.csv").write_bytes(content)
    assert str(tmp_path / "table.csv") in fails(1, "trends", tmp_path / "table.csv")


def test_a_table_that_is_not_there(fails, tmp_path):
    assert "cannot be read" in fails(1, "trends", tmp_path / "nowhere.csv")
    assert "cannot be read" in fails(1, "trends", tmp_path)


def test_a_table_knows_no_other_metric(fails, tmp_path):
    (tmp_path / "table.csv").write_text("layer,1\na,0.5\n")
    assert "a table holds no sums for 'l2'" in fails(2, "trends", tmp_path / "table.csv", "--metric", "l2")
    assert "cannot be grouped" in fails(2, "trends", tmp_path / "table.csv", "--group", "kind")


# Hostile names


def write_safetensors(path, arrays):
    """A safetensors file whose header may hold any name, also such as the library itself refuses."""
    header, offset = {}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in arrays.values()))


@pytest.fixture
def hostile_run(tmp_path, wsanalyze):
    folder = tmp_path / "<i>hostile [bold]"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for step in range(4):
        write_safetensors(
            folder / f"step_{step}.safetensors", {n: rng.normal(size=(4, 5)).astype(np.float32) for n in HOSTILE}
        )
    run = tmp_path / "hostile.wsa"
    assert wsanalyze("analyze", folder, "--run", run, "-q") == (0, "", "")
    return run


def test_hostile_names_in_the_terminal(wsanalyze, hostile_run):
    status, out, _ = wsanalyze("report", hostile_run)
    assert status == 0
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out)
    for shown in ("<script>alert(1)</script>.weight", "[red]x[/red].weight", r"two\nlines.weight"):
        assert shown in out


def test_hostile_names_in_json(wsanalyze, hostile_run):
    _, out, _ = wsanalyze("report", hostile_run, "--json", "-")
    names = {layer["name"] for layer in json.loads(out)["layers"]}
    assert names == set(HOSTILE)


def test_hostile_names_in_csv(wsanalyze, hostile_run, tmp_path):
    path = tmp_path / "report.csv"
    assert wsanalyze("report", hostile_run, "--csv", path)[0] == 0
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    cells = [cell for row in rows for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t", "\r")) or "\x1b" in cell]
    assert any("cmd|" in cell for cell in cells)


def test_hostile_names_in_markdown_and_html(wsanalyze, hostile_run, tmp_path):
    for option, name in (("--markdown", "a.md"), ("--html", "a.html")):
        assert wsanalyze("report", hostile_run, option, tmp_path / name)[0] == 0
        text = (tmp_path / name).read_text(encoding="utf-8")
        page = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text) if option == "--markdown" else text
        assert "<script>alert(1)" not in page
        assert "\x1b" not in text
        assert "alert(1)" in text


def test_hostile_names_on_standard_output_of_any_encoding(hostile_run):
    for encoding in ("utf-8", "ascii"):
        for arguments in ((), ("--csv", "-"), ("--markdown", "-")):
            done = subprocess.run(
                [*COMMAND, "report", hostile_run, *arguments],
                env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout.decode(encoding)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are Unicode elsewhere")
def test_names_of_files_that_are_not_utf_8(wsanalyze, source, run_path, tmp_path):
    odd = source.rename(os.fsdecode(os.fsencode(tmp_path) + b"/run-\xff\xfe"))
    run = run_path.with_name("run-\udcff.wsa")
    (odd / "step_20.safetensors").rename(odd / "step_20-\udc80.safetensors")
    status, out, err = wsanalyze("analyze", odd, "--run", run)
    assert (status, err.splitlines()[1:]) == (0, [f"run kept in {tmp_path}/run-\\udcff.wsa"])
    for option in ("--json", "--csv", "--markdown"):
        status, out, _ = wsanalyze("report", run, option, "-")
        assert status == 0
        assert "udc80" in out or option != "--json"
        out.encode()
    assert wsanalyze("analyze", odd, "--run", run, "-q") == (0, "", "")
    assert wsanalyze("report", run, "-q", "--html", tmp_path / "report-\udcff.html") == (0, "", "")


def test_names_of_tensors_with_half_a_surrogate(wsanalyze, tmp_path, run_path):
    """Whether such a file is read or refused, it is done in words."""
    folder = tmp_path / "surrogates"
    folder.mkdir()
    for step in range(2):
        array = np.full((2, 2), 1 + step, dtype=np.float32)
        write_safetensors(folder / f"step_{step}.safetensors", {"half\ud800.weight": array, "b.weight": array})
    status, out, err = wsanalyze("analyze", folder, "--run", run_path, "--csv", "-")
    assert r"half\ud800.weight" in out + err
    assert (status, len(err.splitlines())) in ((0, 0), (1, 1))


def test_hostile_names_in_errors(fails, tmp_path):
    said = fails(1, "analyze", tmp_path / "\x1b[2J\nno[red]where\ud800")
    assert r"\x1b[2J\nno[red]where\ud800" in said


# Terminals


def run_in_terminal(*arguments, **environment):
    """Everything that a command writes to a terminal."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLORTERM")}
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=plain | {"TERM": "xterm-256color", "COLUMNS": "100"} | environment,
    ) as child:
        os.close(theirs)
        chunks = []
        with contextlib.suppress(OSError):  # the terminal is gone when the child is
            while chunk := os.read(ours, 65536):
                chunks.append(chunk)
    os.close(ours)
    return child.returncode, b"".join(chunks).decode()


COLOUR = re.compile(r"\x1b\[[0-9;]*[0-9]m")


def test_a_terminal_sees_colours_unless_told_otherwise(measured):
    status, shown = run_in_terminal("report", measured)
    assert status == 0
    assert COLOUR.search(shown)
    for options, environment in ((("--no-color",), {}), ((), {"NO_COLOR": "1"})):
        status, shown = run_in_terminal("report", measured, *options, **environment)
        assert status == 0
        assert "8 layers" in shown
        assert not re.search(r"\x1b\[3[0-9]|\x1b\[38", shown)


def test_a_terminal_sees_progress(source, tmp_path):
    status, shown = run_in_terminal("analyze", source, "--run", tmp_path / "a.wsa")
    assert status == 0
    assert "measuring" in shown
    assert run_in_terminal("analyze", source, "--run", tmp_path / "a.wsa", "--quiet") == (0, "")


def test_progress_and_the_report_stay_within_a_terminal(source, tmp_path):
    for columns in (40, 80, 200):
        status, shown = run_in_terminal(
            "analyze", source, "--run", tmp_path / f"{columns}.wsa", "--no-color", COLUMNS=str(columns)
        )
        assert status == 0
        report = shown[shown.index(f"wsanalyze {__version__}") :].replace("\r\n", "\n")
        assert not re.search(r"[\x00-\x09\x0b-\x1f]", report)
        *lines, last = report.splitlines()
        assert last == f"run kept in {tmp_path}/{columns}.wsa"
        assert max(map(len, lines)) <= columns


# Interrupts

SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
import wsanalyze.changes.measure as measure
original = measure.stream_changes
def slowly(*arguments):
    for found in original(*arguments):
        yield found
        print("ready", flush=True)
        time.sleep(60)
measure.stream_changes = slowly
"""
BY_COMMAND = f"{SLOW}\nfrom wsanalyze.cli import main\nsys.exit(main())"
BY_LIBRARY = f"{SLOW}\nfrom wsanalyze import analyze\nanalyze(sys.argv[2], run=sys.argv[4])"


def send_while_measuring(number, script, source, run_path):
    """Status, standard output and standard error of a process that gets a signal when the first sums are stored."""
    command = [sys.executable, "-c", script, "analyze", source, "--run", run_path]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        out, err = child.communicate(timeout=60)
    return child.returncode, out, err


@pytest.mark.skipif(os.name == "nt", reason="no such signals for a child")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_is_one_line_and_loses_nothing(wsanalyze, source, run_path, number, status):
    found, out, err = send_while_measuring(number, BY_COMMAND, source, run_path)
    assert (found, out) == (status, "")
    assert sorted(path.name for path in run_path.parent.iterdir()) == ["run", "run.wsa"]
    assert err == "wsanalyze: interrupted; what was measured is kept, the same command goes on from there\n"
    with RunFile.create(run_path, source=str(source)) as store:
        assert 0 < store._database.execute("SELECT count(*) FROM cells").fetchone()[0] < 8 * 4
    assert wsanalyze("analyze", source, "--run", run_path, "-q") == (0, "", "")


@pytest.mark.skipif(os.name == "nt", reason="no such signals for a child")
def test_the_library_leaves_signals_to_whoever_uses_it(source, run_path):
    assert send_while_measuring(signal.SIGTERM, BY_LIBRARY, source, run_path) == (-signal.SIGTERM, "", "")


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process at once")
def test_a_report_is_whole_or_not_there_when_the_program_is_ended(wsanalyze, measured, tmp_path, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)

    def end(*_arguments):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Path, "chmod", end)  # when all is written, and before it takes its place
    status, out, err = wsanalyze("report", measured, "--html", tmp_path / "report.html")
    assert (status, out, len(err.splitlines())) == (143, "", 1)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "run.wsa"}
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_and_sigterm_are_told_apart_in_the_middle_of_an_import(wsanalyze, monkeypatch):
    def interrupted(*_arguments, **_options):
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt as error:
            signal.raise_signal(signal.SIGTERM)  # another does not hit what is cleared up
            raise ImportError("numpy could not be imported") from error

    monkeypatch.setattr("wsanalyze.cli.read_trend_options", interrupted)
    status, out, err = wsanalyze("report", "x.wsa")
    assert (status, out) == (143, "")
    assert "interrupted" in err


def test_whoever_handles_sigterm_already_goes_on_doing_so(wsanalyze, measured, monkeypatch):
    got = []
    monkeypatch.setattr("wsanalyze.cli_reports._print_terminal", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, lambda number, _frame: got.append(number))
    try:
        assert wsanalyze("report", measured) == (0, "", "")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert got == [signal.SIGTERM]


# list


def test_list_shows_what_would_be_read(wsanalyze, source, monkeypatch):
    monkeypatch.chdir(source.parent)
    status, out, err = wsanalyze("list", "run")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == f"wsanalyze {__version__}: run"
    assert [line.split()[:2] for line in out.splitlines()[3:8]] == [
        [str(step), f"step_{step}"] for step in (0, 10, 20, 30, 40)
    ]
    assert out.endswith("8 float32 rows compare.\n")
    assert wsanalyze("list", "run", "--quiet") == (0, "", "")


def test_list_takes_the_options_that_choose_what_is_read(wsanalyze, source):
    def steps(*options):
        status, out, _ = wsanalyze("list", source, "--json", "-", *options)
        assert status == 0
        document = json.loads(out)
        return [checkpoint["step"] for checkpoint in document["checkpoints"]], document["rows"]["all"]

    assert steps() == ([0, 10, 20, 30, 40], 8)
    assert steps("--steps", "10:30", "--every", "2") == ([10, 30], 8)
    assert steps("--layers", r"\.[0-2]\.", "--params", "all", "--order", "given", "--weights", "model")[1] == 3


def test_list_writes_its_document_to_a_file_or_instead_of_the_table(wsanalyze, source, tmp_path):
    status, out, _ = wsanalyze("list", source, "--json", tmp_path / "list.json")
    assert status == 0
    assert "8 float32 rows" in out
    status, out, _ = wsanalyze("list", source, "--json", "-")
    assert status == 0
    assert out == (tmp_path / "list.json").read_text()


def test_list_ends_with_status_3_where_something_cannot_be_read(wsanalyze, source):
    (source / "step_20.safetensors").write_bytes(b"\x93NUMPY")
    status, out, err = wsanalyze("list", source)
    assert (status, err) == (3, "")
    assert out.splitlines()[-1] == "1 checkpoint could not be read."
    for options in (("--quiet",), ("--json", "-")):
        status, _, err = wsanalyze("list", source, *options)
        assert (status, err) == (3, "wsanalyze: 1 checkpoint could not be read.\n")


def test_list_that_can_do_nothing_says_so_in_one_line(fails, source, tmp_path):
    assert "no such file or folder" in fails(1, "list", tmp_path / "nowhere")
    assert "list --help" in fails(2, "list")
    assert "list --help" in fails(2, "list", source, "--every", "0")
    assert "--layers '(' is no regular expression" in fails(2, "list", source, "--layers", "(")
    assert str(tmp_path / "no" / "list.json") in fails(1, "list", source, "--json", tmp_path / "no" / "list.json")
    for path in source.iterdir():
        path.write_bytes(b"")
    assert "none of 5 checkpoints can be read; the first: " in fails(1, "list", source)


def test_list_of_one_checkpoint_says_that_there_is_nothing_to_compare(wsanalyze, source):
    status, out, _ = wsanalyze("list", source / "step_0.safetensors")
    assert status == 0
    assert "there is nothing to compare" in out.replace("\n", " ")


def test_list_shows_hostile_names_harmlessly(wsanalyze, tmp_path):
    folder = tmp_path / "[red]\x1b[31m\u202erun"
    folder.mkdir()
    for step in range(2):
        arrays = {name: np.full((2, 2 + step), 1.0, np.float32) for name in HOSTILE}
        write_safetensors(
            folder / f"\x1b]0;t\x07[b]<i>_step_{step}.safetensors", {**arrays, "fc": np.ones((3, 3), "f4")}
        )
    status, out, err = wsanalyze("list", folder)
    assert (status, err) == (0, "")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out)
    assert "[b]<i>" in out
    status, out, _ = wsanalyze("list", folder, "--json", "-")
    assert status == 0
    assert {event["layer"] for event in json.loads(out)["events"]} <= {*HOSTILE, None}


@pytest.mark.skipif(os.name == "nt", reason="a shell's way to close a stream")
def test_list_survives_closed_streams_and_a_reader_that_has_gone(source):
    command = shlex.join([*COMMAND, "list", str(source)])
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        done = subprocess.run(["sh", "-c", f"{command} {closed}"], capture_output=True, text=True, check=False)  # noqa: S607
        assert done.returncode == 0
        assert "Traceback" not in done.stderr
    with subprocess.Popen([*COMMAND, "list", source], stdout=-1, stderr=-1, text=True) as child:
        child.stdout.close()
        err = child.stderr.read()
    assert (child.returncode, err) == (1, "")


def test_a_terminal_sees_the_list_and_no_progress_where_it_is_there_at_once(source):
    status, shown = run_in_terminal("list", source)
    assert status == 0
    assert "step_40" in shown
    assert "reading headers" not in shown
