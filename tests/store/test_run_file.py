"""The run file: what goes in comes out, whoever else writes, whatever is damaged, and however full the disk is."""

import dataclasses
import os
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsanalyze.errors import StoreError
from wsanalyze.series import ChangeSeries, CheckpointRecord, Event, Kind, Provenance, Row, Skip, State, TrainingLog
from wsanalyze.store import database, run_file
from wsanalyze.store.database import FORMAT
from wsanalyze.store.run_file import RunFile
from wsanalyze.sums import SUM_NAMES, Sums

HOSTILE = "<b>\x1b[2J\n=cmd|' /C calc'!A0 \udc80\ud800 ü 漢 \0'; DROP TABLE cells; --"
SIDES = ("aaa", "bbb", None, "ccc")


def make_sums(seed):
    return Sums(np.random.default_rng(seed).normal(size=len(SUM_NAMES)) ** 2)


def make_series():
    states = np.full((2, 2), None, dtype=object)
    states[1, 0] = State.NEW
    return ChangeSeries(
        checkpoints=(
            CheckpointRecord(0, "first", "/run/0"),
            CheckpointRecord(None, HOSTILE, f"/run/{HOSTILE}", format="safetensors", nbytes=2**40),
            CheckpointRecord(7, "bad", "/run/7", "unreadable", f"is damaged {HOSTILE}"),
            CheckpointRecord(2**62, "last", "/run/9"),
        ),
        rows=(
            Row("w.weight", "w", "w", Kind.CONV, 0, (3, 4)),
            Row(f"{HOSTILE}.weight", HOSTILE, HOSTILE, Kind.ATTENTION_Q, 1, ()),
        ),
        pairs=((0, 1), (1, 3)),
        sums=Sums.unmeasured(2, 2),
        states=states,
        skips=(Skip(HOSTILE, f"why not {HOSTILE}"),),
        events=(Event("tied", HOSTILE, 1, f"tied to {HOSTILE}", {"kept": HOSTILE}), Event("x", None, None, "y")),
        provenance=Provenance((HOSTILE,), f"wsanalyze {HOSTILE}", "ema", "all", (HOSTILE, "note")),
        log=TrainingLog(
            np.array([3, 2**52], dtype=np.int64),
            np.array([1, 3], dtype=np.int64),
            {"loss": np.array([0.1, 1e-310]), "learning_rate": np.array([np.nan, 1e300])},
        ),
    )  # fmt: skip


def fill(path):
    """A run file with a finished analysis; returns its series as it should be read."""
    series = make_series()
    values = Sums.unmeasured(2, 2).values
    with RunFile.create(path, source="/run") as run:
        for row, pair in ((0, 0), (0, 1), (1, 1)):
            sums = make_sums(10 * row + pair)
            values[row, pair] = sums.values
            before, after = (SIDES[side] for side in series.pairs[pair])
            run.add(series.rows[row].name, before, after, sums)
        run.save_series(series, SIDES)
        run.add_trends("key", {"labels": [0, 1]})
    return dataclasses.replace(series, sums=Sums(values))


def assert_same(found, expected):
    for field in ("checkpoints", "rows", "pairs", "skips", "events", "provenance"):
        assert getattr(found, field) == getattr(expected, field), field
    assert found.states.tolist() == expected.states.tolist()
    assert found.sums.values.tobytes() == expected.sums.values.tobytes()
    assert_same_log(found.log, expected.log)


def assert_same_log(found, expected):
    assert (found.steps.dtype, found.until.dtype) == (np.int64, np.int64)
    assert found.steps.tolist() == expected.steps.tolist()
    assert found.until.tolist() == expected.until.tolist()
    assert list(found.values) == list(expected.values)
    for name, values in expected.values.items():
        assert found.values[name].tobytes() == values.tobytes()


def load(path):
    with RunFile.open(path) as run:
        return run.load_series()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.wsa"


# What goes in comes out


def test_a_series_comes_back_to_the_last_bit(path):
    expected = fill(path)
    assert_same(load(path), expected)


def test_saving_again_replaces(path):
    expected = fill(path)
    shorter = dataclasses.replace(
        expected, rows=expected.rows[:1], sums=Sums.unmeasured(1, 2), states=expected.states[:1], skips=(), events=()
    )
    with RunFile.create(path, source="/run") as run:
        run.save_series(shorter, SIDES)
    assert_same(load(path), dataclasses.replace(shorter, sums=Sums(expected.sums.values[:1])))
    with RunFile.create(path, source="/run") as run:
        run.save_series(expected, SIDES)
    assert_same(load(path), expected)


def test_a_log_is_replaced_by_none(path):
    expected = dataclasses.replace(fill(path), log=TrainingLog())
    with RunFile.create(path, source="/run") as run:
        run.save_series(expected, SIDES)
    assert_same(load(path), expected)


def test_a_run_file_of_before_logs_were_kept_has_none(path):
    expected = fill(path)
    execute(path, "DELETE FROM meta WHERE key LIKE 'log%'")
    assert_same(load(path), dataclasses.replace(expected, log=TrainingLog()))


def test_the_log_of_a_series_that_was_replaced_by_an_older_program_is_let_go(path):
    expected = fill(path)
    connection = sqlite3.connect(path)
    kept = connection.execute("SELECT key, value FROM meta WHERE key LIKE 'log%'").fetchall()
    connection.close()
    shorter = dataclasses.replace(expected, skips=(), log=TrainingLog())
    with RunFile.create(path, source="/run") as run:
        run.save_series(shorter, SIDES)
    execute(path, "INSERT OR REPLACE INTO meta VALUES (?, ?)", *kept)
    assert_same(load(path), shorter)


@pytest.mark.parametrize(("old", "new"), [("0.1", "0.2"), ('"until": [1, 3]', '"until": [1, 4]'), ("{", "")])
def test_a_log_that_is_not_what_was_written_is_noticed(path, old, new):
    fill(path)
    execute(path, "UPDATE meta SET value = replace(value, ?, ?) WHERE key = 'log'", (old, new))
    with pytest.raises(StoreError, match=r"is damaged \(its log is not the one that was written\); delete it"):
        load(path)


def execute(path, statement, *rows):
    connection = sqlite3.connect(path)
    with connection:
        connection.executemany(statement, rows or [()])
    connection.close()


def test_without_a_finished_analysis_there_is_no_series(path):
    with RunFile.create(path, source="/run") as run:
        run.add("w", "aaa", "bbb", make_sums(0))
    with pytest.raises(StoreError, match="holds no finished analysis yet; run the same"):
        load(path)


def test_cells_belong_to_their_sides(path):
    with RunFile.create(path, source="/run") as run:
        run.add("w", "aaa", "bbb", make_sums(0))
        run.add(HOSTILE, "aaa", "bbb", make_sums(1))
        run.add("w", "bbb", "ccc", make_sums(2))
        assert run.measured("aaa", "bbb") == {"w", HOSTILE}
        assert run.measured("bbb", "ccc") == {"w"}
        assert run.measured("bbb", "aaa") == set()
    with RunFile.create(path, source="/run") as run:
        assert run.measured("aaa", "bbb") == {"w", HOSTILE}
        run.drop_side("aaa")
        assert run.measured("aaa", "bbb") == set()
        assert run.measured("bbb", "ccc") == {"w"}


def test_dropping_a_side_unfinishes_the_analysis_that_used_it(path):
    fill(path)
    with RunFile.create(path, source="/run") as run:
        run.drop_side("bbb")
    with pytest.raises(StoreError, match="holds no finished analysis"):
        load(path)


def test_a_segment_that_comes_again_leaves_nothing_behind(path):
    """Measured for another pair's sake after an earlier run had stored it: the total is there already."""
    parts = [make_sums(index) for index in range(2)]
    with RunFile.create(path, source="x") as run:
        run.add_segment("w", "aaa", "bbb", 0, 2, parts[0])
        run.commit()
    with RunFile.create(path, source="x") as run:
        assert run.measured_segments("w", "aaa", "bbb") == {0}
        run.add_segment("w", "aaa", "bbb", 1, 2, parts[1])
        run.add_segment("w", "aaa", "bbb", 0, 2, parts[0])
        assert run.measured("aaa", "bbb") == {"w"}
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM segments").fetchone() == (0,)
    database.close()


def test_segments_become_a_cell_in_the_order_of_their_index(path):
    parts = [make_sums(seed) for seed in range(3)]
    with RunFile.create(path, source="/run") as run:
        run.add_segment("w", "aaa", "bbb", 2, 3, parts[2])
        run.add_segment("w", "aaa", "bbb", 0, 3, parts[0])
        assert run.measured("aaa", "bbb") == set()
    with RunFile.create(path, source="/run") as run:
        assert run.measured_segments("w", "aaa", "bbb") == {0, 2}
        assert run.measured_segments("w", "bbb", "aaa") == set()
        run.add_segment("w", "aaa", "bbb", 1, 3, parts[1])
        assert run.measured("aaa", "bbb") == {"w"}
        assert run.measured_segments("w", "aaa", "bbb") == set()
        row = run._database.execute(f"SELECT {', '.join(SUM_NAMES)} FROM cells").fetchone()  # noqa: S608
    assert np.array(row).tobytes() == Sums.of(parts).values.tobytes()


def test_an_overflow_of_both_signs_is_stored_as_one(path):
    values = make_sums(0).values
    values[SUM_NAMES.index("dot_before_delta")] = np.nan
    values[SUM_NAMES.index("sq_before")] = np.inf
    series = make_series()
    states = np.array([[None]], dtype=object)
    series = dataclasses.replace(
        series, rows=series.rows[:1], pairs=((0, 1),), sums=Sums.unmeasured(1, 1), states=states
    )
    with RunFile.create(path, source="/run") as run:
        run.add("w.weight", "aaa", "bbb", Sums(values))
        run.save_series(series, SIDES)
    found = load(path)
    assert np.isinf(found.sums["dot_before_delta"][0, 0])
    assert np.isinf(found.sums["sq_before"][0, 0])
    assert found.metric_states("angle")[0, 0] is State.NOT_COMPARABLE


def test_fingerprints_are_kept(path):
    found = {("/a/b", "1:2"): "f1", ("/a/c", "3:4"): "f2"}
    with RunFile.create(path, source="/run") as run:
        run.add_fingerprints(found)
        run.add_fingerprints({("/a/b", "1:2"): "f3"})
        run.add("w", "aaa", "bbb", make_sums(0))
    with RunFile.create(path, source="/run") as run:
        assert run.fingerprints() == found | {("/a/b", "1:2"): "f3"}


def test_trends_are_kept_under_their_key(path):
    fill(path)
    with RunFile.open(path) as run:
        assert run.find_trends("key") == {"labels": [0, 1]}
        assert run.find_trends("other") is None
        run.add_trends("key", {"labels": [HOSTILE]})
        assert run.find_trends("key") == {"labels": [HOSTILE]}


def test_users_can_query_the_changes(path):
    expected = fill(path)
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT step_before, step_after, rwc, l1_delta FROM changes").fetchall()
    connection.close()
    metric = expected.metric()
    sums = expected.sums["l1_delta"]
    assert found == [
        (0, None, metric[0, 0], sums[0, 0]),
        (None, 2**62, metric[0, 1], sums[0, 1]),
        (None, 2**62, metric[1, 1], sums[1, 1]),
    ]


# Whose file it is


def test_another_source_is_refused(path):
    fill(path)
    with pytest.raises(StoreError, match=r"was made for source '/run', not '/other'; choose another place with --run"):
        RunFile.create(path, source="/other")
    with RunFile.create(path, source="/run") as run:
        run.check_use("weights", "model")
        run.check_use("weights", "model")
        with pytest.raises(StoreError, match="was made for weights 'model', not 'ema'"):
            run.check_use("weights", "ema")


def test_a_source_that_is_not_utf_8_is_told_from_others(path):
    with RunFile.create(path, source="/run/\udc80") as run:
        run.add("w", "aaa", "bbb", make_sums(0))
    with RunFile.create(path, source="/run/\udc80"):
        pass
    with pytest.raises(StoreError, match="was made for source"):
        RunFile.create(path, source="/run/\udc81")


def test_one_writer_at_a_time(path):
    with RunFile.create(path, source="/run"):  # noqa: SIM117 - in this order
        with pytest.raises(StoreError, match="another wsanalyze is writing to it; wait for it"):
            RunFile.create(path, source="/run")
    RunFile.create(path, source="/run").close()


def test_a_link_to_the_file_has_the_same_writer(path, tmp_path):
    fill(path)
    link = tmp_path / "link.wsa"
    link.symlink_to(path)
    with RunFile.create(path, source="/run"), pytest.raises(StoreError, match="another wsanalyze"):
        RunFile.create(link, source="/run")


def test_another_process_that_is_killed_leaves_no_lock(path):
    script = f"""
import os, pathlib
from wsanalyze.store.run_file import RunFile
run = RunFile.create(pathlib.Path({str(path)!r}), source="/run")
print("ready", flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1) as child:
        child.stdout.readline()
        with pytest.raises(StoreError, match="another wsanalyze is writing"):
            RunFile.create(path, source="/run")
        child.kill()
    RunFile.create(path, source="/run").close()


def test_a_file_that_another_program_has_locked(path, monkeypatch):
    fill(path)
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.01)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for attempt in (lambda: load(path), lambda: RunFile.create(path, source="/run")):
        with pytest.raises(StoreError, match="another program is using it; try again later"):
            attempt()
    other.close()


def test_trends_do_not_wait_for_a_writer(path):
    fill(path)
    with RunFile.create(path, source="/run") as writer, RunFile.open(path) as reader:
        writer.add("w", "xxx", "yyy", make_sums(0))
        reader.add_trends("other", {"labels": []})  # would wait for seconds, and is not worth it
        assert reader.find_trends("key") == {"labels": [0, 1]}
        assert_same_names(reader.load_series())


def assert_same_names(series):
    assert series.names == tuple(row.name for row in make_series().rows)


def test_nothing_is_left_of_a_file_that_was_made_for_nothing(path, tmp_path):
    with RunFile.create(path, source="/run") as run:
        run.check_use("weights", "model")
        run.add_fingerprints({("a", "b"): "c"})
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_there_is_left_there(path, tmp_path):
    path.touch()
    RunFile.create(path, source="/run").close()
    assert list(tmp_path.iterdir()) == [path]
    fill(path)
    assert list(tmp_path.iterdir()) == [path]
    RunFile.create(path, source="/run").close()
    assert_same_names(load(path))


# What is no run file


def test_files_that_are_none(path, tmp_path):
    with pytest.raises(StoreError, match="no such run file"):
        RunFile.open(path)
    with pytest.raises(StoreError, match="is a folder"):
        RunFile.open(tmp_path)
    with pytest.raises(StoreError, match="is a folder"):
        RunFile.create(tmp_path, source="/run")
    for content in (b"hello, world, this is a text" * 100, b"SQLite format 3\0" + b"junk" * 500):
        path.write_bytes(content)
        for attempt in (lambda: RunFile.open(path), lambda: RunFile.create(path, source="/run")):
            with pytest.raises(StoreError, match=r"is not a run file|is damaged"):
                attempt()
        assert path.read_bytes() == content


def test_an_empty_file_is_none_yet(path):
    path.touch()
    with pytest.raises(StoreError, match="is not a run file"):
        RunFile.open(path)
    assert path.stat().st_size == 0
    fill(path)
    assert_same_names(load(path))


def test_another_database_is_none(path):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (a)")
    other.commit()
    other.close()
    content = path.read_bytes()
    for attempt in (lambda: RunFile.open(path), lambda: RunFile.create(path, source="/run")):
        with pytest.raises(StoreError, match="is not a run file; name another file"):
            attempt()
    assert path.read_bytes() == content


@pytest.mark.parametrize("version", [0, FORMAT + 1])
def test_another_version_is_refused(path, version):
    fill(path)
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA user_version = {version}")
    other.close()
    for attempt in (lambda: RunFile.open(path), lambda: RunFile.create(path, source="/run")):
        with pytest.raises(
            StoreError, match=f"is a run file of format {version}, this wsanalyze reads format {FORMAT}"
        ):
            attempt()


def test_a_first_start_that_was_killed_does_not_leave_half_a_run_file(path):
    """Tables and their mark are made in one transaction."""
    script = f"""
import os, sqlite3
from wsanalyze.store import database
other = sqlite3.connect({str(path)!r}, isolation_level=None)
for statement in database._SCHEMA.split(";")[:8]:
    other.execute(statement)
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    fill(path)
    assert_same_names(load(path))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        RunFile.create(tmp_path / "file" / "run.wsa", source="/run")
    with pytest.raises(StoreError, match="cannot be written"):
        RunFile.create(tmp_path / ("x" * 300), source="/run")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(path, tmp_path):
    fill(path)
    tmp_path.chmod(0o500)
    try:
        assert_same_names(load(path))
        with RunFile.open(path) as run:
            run.add_trends("more", {})
        with pytest.raises(StoreError, match="cannot be written"):
            RunFile.create(path, source="/run")
    finally:
        tmp_path.chmod(0o700)


def test_a_file_that_may_only_be_read(path, monkeypatch):
    expected = fill(path)
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda name, **more: real(f"file:{name}?mode=ro", uri=True, **more))
    with RunFile.open(path) as run:
        assert_same(run.load_series(), expected)
        run.add_trends("more", {"labels": []})
        assert run.find_trends("more") is None
    with pytest.raises(StoreError, match="no right to write"), RunFile.create(path, source="/run") as run:
        run.add("w", "xxx", "yyy", make_sums(0))


# Damage and full disks


def test_a_flipped_bit_in_a_sum_is_noticed(path):
    fill(path)
    other = sqlite3.connect(path)
    other.execute("UPDATE cells SET l1_delta = l1_delta * 2 WHERE tensor = 1")
    other.commit()
    other.close()
    with pytest.raises(StoreError, match=r"is damaged .*; delete it and analyze again"):
        load(path)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM cells WHERE tensor = 1",
        "UPDATE checkpoints SET step = 5 WHERE position = 1",
        "UPDATE layers SET kind = 'nonsense'",
        "UPDATE layers SET shape = '[1'",
        "UPDATE layers SET tensor = 2 WHERE tensor = 1",
        "DELETE FROM states",
        "UPDATE pairs SET before = 99",
        "UPDATE events SET evidence = 'x'",
        "UPDATE meta SET value = '[]' WHERE key = 'provenance'",
        "DROP TABLE pairs",
        "ALTER TABLE cells DROP COLUMN rel_n",
    ],
)
def test_tables_that_are_not_what_was_written_are_noticed(path, statement):
    fill(path)
    other = sqlite3.connect(path)
    other.execute("DROP VIEW changes")
    other.execute(statement)
    other.commit()
    other.close()
    with pytest.raises(StoreError, match="is damaged"):
        load(path)


def test_trends_that_are_damaged_are_none(path):
    fill(path)
    other = sqlite3.connect(path)
    other.execute("UPDATE trends SET value = '{\"labels\": [0, 2]}'")
    other.commit()
    other.close()
    with RunFile.open(path) as run:
        assert run.find_trends("key") is None


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    path = tmp_path_factory.mktemp("intact") / "run.wsa"
    return fill(path), path


places = st.integers(0, 2**20)


@given(st.none() | places, st.lists(st.tuples(places, st.integers(0, 255)), max_size=4))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_damaged_gives_an_error_or_the_right_series(tmp_path_factory, intact, end, flips):
    expected, original = intact
    content = original.read_bytes()
    damaged = bytearray(content if end is None else content[: end % len(content)])
    for place, byte in flips if damaged else ():
        damaged[place % len(damaged)] = byte
    path = tmp_path_factory.mktemp("damaged") / "run.wsa"
    path.write_bytes(damaged)
    try:
        with RunFile.open(path) as run:
            found = run.load_series()
            run.find_trends("key")
            run.add_trends("new", {})
    except StoreError as error:
        check_message(error, path)
    else:
        assert_same(found, expected)
    try:
        with RunFile.create(path, source="/run") as run:
            run.measured("aaa", "bbb")
            run.add("w.weight", "aaa", "bbb", make_sums(0))
            run.add_segment("w", "aaa", "ccc", 0, 2, make_sums(0))
            run.drop_side("ccc")
            run.save_series(expected, SIDES)
    except StoreError as error:
        check_message(error, path)


def check_message(error, path):
    assert len(str(error).splitlines()) == 1
    assert str(path) in str(error)


@pytest.fixture
def small_disk(monkeypatch):
    """Databases of 30 pages at most."""
    real = sqlite3.connect

    def connect(*arguments, **more):
        connection = real(*arguments, **more)
        connection.execute("PRAGMA max_page_count = 30")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)


@pytest.mark.usefixtures("small_disk")
def test_what_was_measured_survives_a_full_disk(path, monkeypatch):
    monkeypatch.setattr(run_file, "_COMMIT_SECONDS", 0.0)
    added = []

    def fill_up(run):
        for index in range(10_000):
            run.add(f"layers.{index}.weight", "aaa", "bbb", make_sums(index))
            added.append(f"layers.{index}.weight")

    message = "the disk is full; what was measured is kept, free some space"
    with RunFile.create(path, source="/run") as run, pytest.raises(StoreError, match=message):
        fill_up(run)
    assert len(added) > 10
    with RunFile.create(path, source="/run") as run:
        assert run.measured("aaa", "bbb") == set(added)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_while_the_series_is_written_keeps_the_old_one(path):
    expected = fill(path)
    huge = dataclasses.replace(expected, skips=tuple(Skip("x" * 1000, "y") for _ in range(1000)))
    with pytest.raises(StoreError, match="the disk is full"), RunFile.create(path, source="/run") as run:
        run.save_series(huge, SIDES)
    assert_same(load(path), expected)
