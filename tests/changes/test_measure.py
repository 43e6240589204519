"""Checkpoints that fail half-way: bridged, dropped, named; and what is measured anew afterwards."""

import os
import sqlite3
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import WatchedFiles
from wsanalyze.changes import base, plan
from wsanalyze.changes.devices import Kernels
from wsanalyze.changes.kernels import NumpyKernel
from wsanalyze.changes.measure import RowOptions, Side, measure_changes
from wsanalyze.errors import CheckpointError, MatchError, UsageError
from wsanalyze.files.local import stat_file
from wsanalyze.pipeline import AnalyzeOptions, measure_run
from wsanalyze.series import State
from wsanalyze.store.run_file import RunFile
from wsanalyze.tensors.files import read_tensors

SHAPES = {"stem.weight": (90, 50), "blocks.0.fc.weight": (33, 31), "blocks.1.fc.weight": (200, 100)}
STEPS = (0, 10, 30, 70, 150)


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch):
    monkeypatch.setattr(base, "SEGMENT_ELEMENTS", 1000)
    monkeypatch.setattr(plan, "MIN_MEMORY_BYTES", 20_000)


@pytest.fixture
def states(make_states):
    return make_states(5, SHAPES)


@pytest.fixture
def source(save_sequence, states, tmp_path):
    return save_sequence(tmp_path / "run", states, STEPS)


@pytest.fixture
def measure(source, tmp_path, watched_files):
    def run(files=watched_files, **options):
        wanted = AnalyzeOptions(memory_bytes=20_000, **options)
        return measure_run([str(source)], tmp_path / "run.wsa", wanted, files=files, progress=files.progress).series

    return run


def rwc(states, before, after):
    return [
        np.abs(states[after][n].astype(float) - states[before][n]).sum() / np.abs(states[before][n].astype(float)).sum()
        for n in SHAPES
    ]


def check(series, states, alive):
    """The series holds exactly the changes between successive checkpoints that are alive."""
    pairs = list(pairwise(alive))
    assert list(series.pairs) == pairs
    order = [list(SHAPES).index(name) for name in series.names]
    for index, (before, after) in enumerate(pairs):
        np.testing.assert_allclose(series.metric()[:, index], np.array(rwc(states, before, after))[order], rtol=1e-6)
    assert series.step_gaps.tolist() == [STEPS[after] - STEPS[before] for before, after in pairs]
    for index, record in enumerate(series.checkpoints):
        assert record.status == ("ok" if index in alive else "unreadable")
        if index not in alive:
            assert "input/output error" in record.reason
            assert f"step_{STEPS[index]}.safetensors" in record.reason
    told = [event.checkpoint for event in series.events if event.kind == "unreadable"]
    assert told == [index for index in range(len(STEPS)) if index not in alive]


@pytest.mark.parametrize("after", [0, 1, 5, 12])
@pytest.mark.parametrize("failing", [0, 2, 4])
def test_one_checkpoint_that_fails_half_way_is_bridged(measure, states, watched_files, failing, after):
    watched_files.failing = {f"step_{STEPS[failing]}.safetensors": after}
    check(measure(), states, [index for index in range(5) if index != failing])


@pytest.mark.parametrize("failing", [(0, 1), (1, 2), (1, 3), (3, 4), (0, 4), (0, 1, 3), (1, 2, 3)])
def test_several_that_fail_are_bridged(measure, states, watched_files, failing):
    watched_files.failing = {f"step_{STEPS[index]}.safetensors": 3 + index for index in failing}
    check(measure(), states, [index for index in range(5) if index not in failing])


def test_when_all_fail_the_last_one_standing_has_nothing_to_compare_with(measure, watched_files):
    watched_files.failing = {f"step_{step}.safetensors": 0 for step in STEPS}
    series = measure()
    assert series.pairs == ()
    assert [record.status for record in series.checkpoints].count("unreadable") == 4


def test_a_failed_checkpoint_takes_what_was_measured_before_with_it(measure, states, watched_files, source):
    check(measure(), states, [0, 1, 2, 3, 4])
    path = source / "step_30.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    watched_files.reads.clear()
    watched_files.failing = {path.name: 4}
    check(measure(), states, [0, 1, 3, 4])


def test_a_checkpoint_that_is_well_again_is_taken_in_again(measure, states, watched_files):
    watched_files.failing = {"step_30.safetensors": 4}
    check(measure(), states, [0, 1, 3, 4])
    watched_files.failing = {}
    watched_files.reads.clear()
    check(measure(), states, [0, 1, 2, 3, 4])
    assert watched_files.names() == {"step_10.safetensors", "step_30.safetensors", "step_70.safetensors"}


def test_what_is_not_concerned_is_not_read_a_second_time(measure, watched_files):
    watched_files.failing = {"step_70.safetensors": 0}
    measure()
    per_file = 4 * sum(int(np.prod(shape)) for shape in SHAPES.values())
    read = {}
    for name, _, length in watched_files.reads:
        read[name] = read.get(name, 0) + length
    assert "step_70.safetensors" not in read
    for step in (0, 10, 30, 150):  # the band at hand is walked twice, no more
        assert per_file <= read[f"step_{step}.safetensors"] <= per_file + 10_000


def test_a_file_that_changes_during_the_walk_is_bridged(measure, states, watched_files, source):
    path = source / "step_30.safetensors"

    def touch(count):
        if count == 7:
            os.utime(path, ns=(1, 1))

    watched_files.on_read = touch
    series = measure()
    assert [record.status for record in series.checkpoints] == ["ok", "ok", "unreadable", "ok", "ok"]
    assert "was changed" in series.checkpoints[2].reason
    expected = np.array(rwc(states, 1, 3))[[list(SHAPES).index(name) for name in series.names]]
    np.testing.assert_allclose(series.metric()[:, 1], expected, rtol=1e-6)


def test_a_file_that_is_cut_short_during_the_walk_is_bridged(measure, watched_files, source):
    path = source / "step_30.safetensors"
    size = path.stat().st_size

    def cut(count):
        if count == 7:
            os.truncate(path, size // 2)

    watched_files.on_read = cut
    series = measure()
    assert [record.status for record in series.checkpoints] == ["ok", "ok", "unreadable", "ok", "ok"]


def test_a_file_that_goes_away_before_it_is_read_is_bridged(states, source, watched_files):
    def lose(progress, /):
        watched_files.progress(progress)
        if progress.stage == "measuring" and progress.done == 0:
            watched_files.close()
            (source / "step_10.safetensors").unlink(missing_ok=True)

    series = measure_run(
        [str(source)], source / "x.wsa", AnalyzeOptions(memory_bytes=20_000), files=watched_files, progress=lose
    ).series
    assert [record.status for record in series.checkpoints] == ["ok", "unreadable", "ok", "ok", "ok"]
    assert "no such file" in series.checkpoints[1].reason
    order = [list(SHAPES).index(name) for name in series.names]
    np.testing.assert_allclose(series.metric()[:, 0], np.array(rwc(states, 0, 2))[order], rtol=1e-6)


def test_bridging_compares_rows_anew(save_sequence, make_states, watched_files, tmp_path):
    """A tensor that is missing only in the failed checkpoint compares across the bridge."""
    states = make_states(3, SHAPES)
    del states[1]["stem.weight"]
    source = save_sequence(tmp_path / "holes", states)
    watched_files.failing = {"step_1.safetensors": 0}
    run = tmp_path / "holes.wsa"
    broken = measure_run([str(source)], run, files=watched_files, progress=watched_files.progress).series
    assert "stem.weight" in broken.names
    assert (broken.states == None).all()  # noqa: E711 - elementwise
    watched_files.failing = {}
    whole = measure_run([str(source)], run, files=watched_files, progress=watched_files.progress).series
    assert "stem.weight" not in whole.names
    assert "never in two successive checkpoints" in next(s.reason for s in whole.skips if s.name == "stem.weight")


def test_a_row_that_comes_and_goes_is_a_state_and_never_a_number(save_sequence, make_states, tmp_path):
    states = make_states(5, SHAPES)
    for index in (0, 3):
        del states[index]["stem.weight"]
    series = measure_run([str(save_sequence(tmp_path / "run", states))], tmp_path / "run.wsa").series
    row = series.names.index("stem.weight")
    assert series.states[row].tolist() == [State.NEW, None, State.MISSING, State.NEW]
    assert np.isnan(series.metric()[row]).tolist() == [True, False, True, True]


def test_no_layer_in_common_is_an_error(save_sequence, make_states, tmp_path):
    first, second = make_states(1, {"a.weight": (3, 3)}), make_states(1, {"b.weight": (3, 3)})
    source = save_sequence(tmp_path / "run", first + second)
    with pytest.raises(MatchError, match="no layer in common"):
        measure_run([str(source)], tmp_path / "run.wsa")
    assert not list(tmp_path.glob("*.wsa*"))


def test_vectors_are_taken_in_where_no_matrix_compares(save_sequence, make_states, tmp_path):
    source = save_sequence(tmp_path / "run", make_states(2, {"a.weight": (9,), "b.bias": (3,)}))
    series = measure_run([str(source)], tmp_path / "run.wsa").series
    assert series.names == ("a.weight", "b.bias")
    assert series.provenance.params == "all"
    assert any("no matrix compares" in note for note in series.provenance.notes)
    with pytest.raises(MatchError):
        measure_run([str(source)], tmp_path / "run.wsa", AnalyzeOptions(params="matrices"))


@pytest.mark.parametrize(
    "options",
    [AnalyzeOptions(params="some"), AnalyzeOptions(memory_bytes=1), AnalyzeOptions(device="gpu")],
)
def test_wrong_usage_makes_no_run_file(source, tmp_path, options):
    with pytest.raises(UsageError):
        measure_run([str(source)], tmp_path / "new" / "run.wsa", options)
    assert not (tmp_path / "new").exists()


# Files that are brought here, change by change


class FakeWindow:
    """Lets files be read only while they were brought, and notes what it was told."""

    def __init__(self, files, *, whole=True):
        self.files, self.whole = files, whole
        self.plans, self.brought, self.here, self.finished, self.lost = [], [], set(), [], set()

    def plan(self, pairs, num_runs):
        self.plans.append((pairs, num_runs))
        self.needed = pairs
        return self.whole

    def advance(self, index):
        self.files.close()
        self.here &= {file.url for file in self.needed[index]}

    def bring(self, file, on_bytes):
        if Path(file.url).name in self.lost:
            raise CheckpointError("cannot be had", file.url)
        if file.url not in self.here:
            self.brought.append(Path(file.url).name)
            on_bytes(file.size)
        self.here.add(file.url)

    def finish(self, newest):
        self.finished.append([Path(file.url).name for file in newest])


class WindowedFiles(WatchedFiles):
    window = None

    def read_into(self, file, offset, buffer):
        assert not self.measuring or not self.window.whole or file.url in self.window.here, "read before it was brought"
        super().read_into(file, offset, buffer)


@pytest.fixture
def windowed(source, tmp_path):
    """Measure through a window; returns what was measured and the window."""

    def run(name="window", **options):
        files = WindowedFiles()
        window = files.window = FakeWindow(files, **{key: options.pop(key) for key in ("whole",) if key in options})
        for key, value in options.items():
            setattr(window, key, value)
        sides = []
        for step in STEPS:
            ref = stat_file(source / f"step_{step}.safetensors")
            tensors = read_tensors(files, [ref], [""]).infos["model"]
            sides.append(Side(ref.url, ref.stamp, tensors, partial(check_side, window, ref)))
        kernels = Kernels("NumPy", 2, lambda _: NumpyKernel())
        with RunFile.create(tmp_path / f"{name}.wsa", source="x") as store:
            measured = measure_changes(
                sides, RowOptions(ordered=True), files, kernels, store, 20_000, files.progress, window
            )
            sums = {
                (row.name, pair): store.measured(*(measured.identities[side] for side in pair))
                for row in measured.match.rows
                for pair in measured.match.pairs
            }
        files.close()
        return measured, window, sums

    return run


def check_side(window, ref):
    if Path(ref.url).name in getattr(window, "misplaced", ()):
        raise CheckpointError("its tensors do not lie there", ref.url)


def test_every_file_is_brought_once_in_the_order_of_the_changes(windowed):
    measured, window, _ = windowed()
    names = [f"step_{step}.safetensors" for step in STEPS]
    assert window.brought == names
    assert window.finished == [[names[-1]]]
    assert measured.alive == (0, 1, 2, 3, 4)
    ((pairs, num_runs),) = window.plans
    assert [[Path(file.url).name for file in files] for files in pairs] == [list(pair) for pair in pairwise(names)]
    nbytes = 4 * sum(rows * columns for rows, columns in SHAPES.values())
    assert all(set(files.values()) == {nbytes} for files in pairs)
    assert num_runs >= len(STEPS)


def test_both_walks_write_the_same_run_file(windowed, tmp_path):
    windowed("pairs")
    windowed("bands", whole=False)
    tables = []
    for name in ("pairs", "bands"):
        with sqlite3.connect(tmp_path / f"{name}.wsa") as database:
            tables.append(database.execute("SELECT * FROM cells ORDER BY tensor, before, after").fetchall())
        database.close()
    assert len(tables[0]) == 4 * len(SHAPES)
    named = [{row[3:] for row in table} for table in tables]
    assert named[0] == named[1]


@pytest.mark.parametrize(("fault", "whole"), [("lost", True), ("misplaced", True), ("misplaced", False)])
def test_a_file_that_cannot_be_brought_or_is_another_is_bridged(windowed, whole, fault):
    measured, window, _ = windowed(whole=whole, **{fault: {"step_30.safetensors"}})
    assert measured.alive == (0, 1, 3, 4)
    assert list(measured.failures) == [2]
    assert "step_30" in str(measured.failures[2])
    assert len(window.plans) == 2
    assert window.finished == [["step_150.safetensors"]]


def test_a_second_run_brings_nothing_and_still_tidies_up(windowed):
    windowed()
    _, window, _ = windowed()
    assert (window.plans, window.brought) == ([], [])
    assert window.finished == [["step_150.safetensors"]]


def test_every_change_is_written_down_before_the_next_is_brought(windowed, tmp_path):
    seen = []

    class Stops(FakeWindow):
        def bring(self, file, on_bytes):
            with sqlite3.connect(tmp_path / "stopped.wsa") as database:
                seen.append(database.execute("SELECT count(*) FROM cells").fetchone()[0])
            database.close()
            super().bring(file, on_bytes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "FakeWindow", Stops)
        windowed("stopped")
    assert seen == [0, 0, 3, 3, 6, 6, 9, 9]
