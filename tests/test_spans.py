"""Changes over more than one step: against plain arrays, by laws, and from files as they are measured."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wsanalyze
from tests.test_series import make_series
from wsanalyze.changes.kernels import NumpyKernel, measure_arrays
from wsanalyze.cli import main
from wsanalyze.errors import StoreError, UsageError
from wsanalyze.metrics import METRICS, Span
from wsanalyze.pipeline import AnalyzeOptions, measure_run
from wsanalyze.run import Run
from wsanalyze.series import State
from wsanalyze.spans import Changes, list_pairs
from wsanalyze.store.run_file import RunFile
from wsanalyze.sums import SUM_NAMES, Sums

NAN, INF = np.nan, np.inf
FROM_FIRST, TWO_APART = ("from-first", "rotation", "efficiency"), ("coherence",)
ALL = (*FROM_FIRST, *TWO_APART)


def walk(rows, *, states=None, span_states=None, **more):
    """A series of rows, each a list of arrays, one for each checkpoint, with all spans measured."""
    series = make_series(rows, states=states, **more)
    kernel, spans = NumpyKernel(), {}
    for span in Span:
        found = np.full(series.states.shape, None, dtype=object)
        sums = Sums.unmeasured(*found.shape)
        for index, pair in enumerate(list_pairs(span, series.pairs)):
            found[:, index] = State.NOT_COMPARABLE if pair is None else (span_states or {}).get(span, found)[:, index]
            for row in np.flatnonzero(found[:, index] == None).tolist():  # noqa: E711 - elementwise
                before, after = (np.array(rows[row][side], np.float64) for side in pair)
                sums.values[row, index] = measure_arrays(kernel, before, after).values
        spans[span] = Changes(sums, found)
    return dataclasses.replace(series, spans=spans)


def expect(metric, weights):
    """A metric of one row by plain float64 arithmetic on all its weights."""
    weights = [np.asarray(w, np.float64) for w in weights]
    steps = [after - before for before, after in pairwise(weights)]
    norm = np.linalg.norm
    if metric == "from-first":
        return [norm(w - weights[0]) / norm(weights[0]) for w in weights[1:]]
    if metric == "rotation":
        units = [w / norm(w) for w in weights]
        return [norm(unit - units[0]) ** 2 / 2 for unit in units[1:]]
    if metric == "efficiency":
        return [norm(w - weights[0]) / sum(map(norm, steps[: i + 1])) for i, w in enumerate(weights[1:])]
    return [NAN, *((d * e).sum() / norm(d) / norm(e) for d, e in pairwise(steps))]


numbers = st.floats(-100, 100).map(lambda x: round(x, 3))
ways = st.integers(1, 6).flatmap(
    lambda size: st.lists(st.lists(numbers, min_size=size, max_size=size), min_size=3, max_size=6)
)


@given(ways, st.sampled_from(ALL))
@settings(max_examples=200)
def test_metrics_are_those_of_the_weights_themselves(weights, metric):
    series = walk([weights])
    with np.errstate(all="ignore"):
        expected = np.array(expect(metric, weights))
    values, states = series.metric(metric)[0], series.metric_states(metric)[0]
    plain = states == None  # noqa: E711 - elementwise
    norms = np.linalg.norm(np.diff(weights, axis=0), axis=1)
    # What is lost to cancellation grows with the ratio of the two changes.
    spread = norms.max() / norms[norms > 0].min() if norms.any() else 1.0
    np.testing.assert_allclose(values[plain], expected[plain], rtol=1e-9, atol=1e-13 * spread)
    assert np.isnan(values[~plain & (states != State.UNCHANGED)]).all()
    assert (values[states == State.UNCHANGED] == 0).all()
    if metric in ("coherence", "efficiency"):
        assert (np.isfinite(expected) == (plain | (states == State.UNCHANGED))).all()


@given(ways)
def test_the_first_change_is_an_ordinary_one(weights):
    series = walk([weights])
    np.testing.assert_array_equal(series.metric("from-first")[:, 0], series.metric("l2")[:, 0])
    angle = series.metric("angle")[:, 0]
    np.testing.assert_allclose(series.metric("rotation")[:, 0], 1 - np.cos(angle), atol=1e-15)
    assert series.metric_states("from-first")[0, 0] == series.metric_states("l2")[0, 0]


direction = st.lists(st.integers(-9, 9), min_size=2, max_size=5).filter(any)


@given(direction, st.lists(st.integers(1, 9), min_size=2, max_size=6))
def test_a_straight_way_is_coherent_and_efficient(along, lengths):
    places = np.cumsum([0, *lengths])
    series = walk([[5.0 + place * np.array(along, float) for place in places]])
    np.testing.assert_allclose(series.metric("coherence")[0, 1:], 1.0, rtol=1e-12)
    np.testing.assert_allclose(series.metric("efficiency"), 1.0, rtol=1e-12)
    assert (series.metric("efficiency") <= 1).all()
    assert (series.metric("coherence")[0, 1:] <= 1).all()


@given(direction, st.integers(2, 5))
def test_to_and_fro_is_the_opposite(along, turns):
    along = np.array(along, float)
    series = walk([[5.0 + index % 2 * along for index in range(turns + 1)]])
    assert series.metric("coherence")[0, 1:].tolist() == [-1.0] * (turns - 1)
    assert series.metric_states("coherence")[0, 1:].tolist() == [None] * (turns - 1)
    expected = [0.0 if change % 2 else 1 / (change + 1) for change in range(turns)]
    np.testing.assert_allclose(series.metric("efficiency")[0], expected, rtol=1e-12)
    assert series.metric_states("efficiency")[0, 1] is State.UNCHANGED


def test_a_random_walk_is_neither():
    weights = np.cumsum(np.random.default_rng(0).normal(size=(10, 100_000)), axis=0)
    series = walk([weights])
    assert np.abs(series.metric("coherence")[0, 1:]).max() < 5 / np.sqrt(100_000)
    np.testing.assert_allclose(series.metric("efficiency")[0], 1 / np.sqrt(np.arange(1, 10)), rtol=0.02)


@given(ways, st.integers(-30, 30))
def test_size_and_place_do_not_matter(weights, exponent):
    plain, scaled = walk([weights]), walk([np.ldexp(weights, exponent)])
    for metric in ALL:
        np.testing.assert_array_equal(plain.metric(metric), scaled.metric(metric), err_msg=metric)


def test_rotation_does_not_see_the_norm_and_is_precise_where_it_is_small():
    first = np.array([3.0, 4.0])
    turned = first + 1e-9 * np.array([-4.0, 3.0])
    series = walk([[first, 7 * first, 1e-3 * turned, -first]])
    values = series.metric("rotation")[0]
    assert values[0] < 1e-30
    assert values[1] == pytest.approx(1e-18 / 2, rel=1e-6)
    assert values[2] == 2.0


# States


def test_what_stands_still_has_no_direction():
    series = walk([[[1.0, 2.0], [1.0, 2.0], [2.0, 2.0], [2.0, 2.0], [2.0, 3.0]]])
    assert series.metric_states("coherence").tolist() == [[State.NOT_COMPARABLE, State.ZERO, State.ZERO, State.ZERO]]
    assert np.isnan(series.metric("coherence")).all()
    assert series.metric_states("efficiency").tolist() == [[State.ZERO, None, None, None]]
    assert series.metric("efficiency")[0, 1:].tolist() == [1.0, 1.0, np.sqrt(2) / 2]
    assert series.metric_states("from-first")[0, 0] is State.UNCHANGED


def test_from_zero_there_is_a_distance_only():
    series = walk([[[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]]])
    for metric in ("from-first", "rotation"):
        assert series.metric_states(metric).tolist() == [[State.ZERO, State.FROM_ZERO]]
        assert series.absolute(metric).tolist() == [[0.0, 5.0]]
    assert series.metric("efficiency")[0, 1] == 1.0


def test_elements_that_are_never_finite_are_left_out():
    weights = np.random.default_rng(0).normal(size=(5, 8))
    with_nan = np.hstack([weights, np.full((5, 1), NAN), np.full((5, 1), -INF)])
    for metric in ALL:
        np.testing.assert_array_equal(walk([weights]).metric(metric), walk([with_nan]).metric(metric), err_msg=metric)


@given(st.integers(0, 4), st.sampled_from([NAN, INF]))
def test_elements_that_are_finite_here_and_not_there_leave_no_number(place, value):
    """Sums over other elements do not tell what the elements in common do."""
    weights = np.random.default_rng(0).normal(size=(5, 8))
    weights[place, 3] = value
    series = walk([weights])
    coherent = series.metric_states("coherence")[0, 1:]
    assert coherent.tolist() == [State.NONFINITE if c <= place <= c + 2 else None for c in range(3)]
    known = [State.NONFINITE if change + 1 >= place else None for change in range(4)]
    assert series.metric_states("efficiency")[0].tolist() == known
    assert (series.metric_states("from-first") == None).all()  # noqa: E711 - elementwise


def test_a_row_that_comes_goes_or_is_resized():
    states = [[State.NEW, None, None, State.MISSING], [None, State.RESIZED, None, None]]
    first = np.array([[State.NEW, State.NEW, State.NEW, State.MISSING], [None, *[State.RESIZED] * 3]], dtype=object)
    two = np.array([[None, State.NEW, None, State.MISSING], [None, State.RESIZED, State.RESIZED, None]], dtype=object)
    rows = [np.random.default_rng(seed).normal(size=(5, 3)) for seed in range(2)]
    series = walk(rows, states=states, span_states={Span.FIRST: first, Span.TWO: two})
    assert series.metric_states("from-first").tolist() == first.tolist()
    assert series.metric_states("efficiency").tolist() == first.tolist()
    assert series.metric_states("coherence").tolist() == [
        [State.NEW, State.NEW, None, State.MISSING],
        [State.NOT_COMPARABLE, State.RESIZED, State.RESIZED, None],
    ]


def test_what_overflows_is_no_number():
    series = walk([[[1e200], [-1e200], [3e200]], [[1e-200], [-1e-200], [3e-200]]])
    for metric in ALL:
        assert (series.metric_states(metric) == State.NOT_COMPARABLE).all()
        assert np.isnan(series.metric(metric)).all()


def test_lost_cells_are_told_as_such():
    series = walk([np.random.default_rng(0).normal(size=(4, 3))])
    series.spans[Span.TWO].sums.values[0, 1] = NAN
    assert series.metric_states("coherence").tolist() == [[State.NOT_COMPARABLE, State.UNREADABLE, None]]


# Groups


@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.integers(3, 5),
    st.randoms(use_true_random=False),
    st.sampled_from(ALL),
)
def test_a_group_is_its_rows_on_end(sizes, num_checkpoints, random, metric):
    rng = np.random.default_rng(random.randrange(2**32))
    rows = [rng.normal(size=(num_checkpoints, size)) for size in sizes]
    names = [f"block.{index}" for index in range(len(rows))]
    grouped = walk(rows, names=names).grouped("module")
    together = walk([np.hstack(rows)])
    assert len(grouped.rows) == 1
    np.testing.assert_allclose(grouped.metric(metric), together.metric(metric), rtol=1e-9, atol=1e-12)
    assert (grouped.metric_states(metric) == together.metric_states(metric)).all()
    twice = walk(rows, names=names).grouped("kind").grouped("module")
    np.testing.assert_array_equal(twice.metric(metric), grouped.metric(metric))


def test_a_group_leaves_out_rows_of_which_a_part_of_the_path_is_missing():
    rows = [np.random.default_rng(seed).normal(size=(4, 3)) for seed in range(3)]
    states = [[None, None, None], [None, State.MISSING, State.NEW], [None, None, None]]
    first = np.array([[None] * 3, [None, State.MISSING, None], [None] * 3], dtype=object)
    two = np.array([[None] * 3, [None, State.MISSING, None], [None] * 3], dtype=object)
    series = walk(
        rows, states=states, names=[f"a.{i}" for i in range(3)], span_states={Span.FIRST: first, Span.TWO: two}
    )
    grouped = series.grouped("module")
    all_rows, those_there = np.hstack(rows), np.hstack([rows[0], rows[2]])
    expected = {
        "coherence": [NAN, *expect("coherence", those_there)[1:]],
        "efficiency": [1.0, *expect("efficiency", those_there)[1:]],
        "from-first": [expect("from-first", w)[i] for i, w in enumerate([all_rows, those_there, all_rows])],
    }
    for metric, values in expected.items():
        np.testing.assert_allclose(grouped.metric(metric)[0], values, rtol=1e-9, err_msg=metric)


def test_a_group_with_elements_that_are_finite_here_and_not_there_has_no_number():
    rows = [np.random.default_rng(seed).normal(size=(4, 3)) for seed in range(2)]
    rows[1][2, 0] = NAN
    grouped = walk(rows, names=["a.0", "a.1"]).grouped("module")
    for metric, states in (("coherence", [State.NONFINITE] * 2), ("efficiency", [State.NONFINITE] * 2)):
        assert grouped.metric_states(metric)[0, 1:].tolist() == states


# Runs that do not hold them


def test_the_command_that_measures_what_is_missing_is_told():
    series = make_series([np.random.default_rng(0).normal(size=(4, 3))])
    about = dataclasses.replace(series.provenance, source=("my run",), command="")
    for metric in ALL:
        expected = f"'{metric}' needs sums that this run does not hold: `wsanalyze analyze 'my run' --metric {metric}`"
        with pytest.raises(UsageError, match=expected):
            dataclasses.replace(series, provenance=about).metric(metric)
        with pytest.raises(UsageError, match="needs sums"):
            series.absolute(metric)
        with pytest.raises(UsageError, match=f"`wsanalyze analyze x --params all --metric {metric}` measures them"):
            dataclasses.replace(
                series, provenance=dataclasses.replace(about, command="wsanalyze analyze x --params all")
            ).metric(metric)


def test_a_single_change_needs_nothing_more():
    series = make_series([np.random.default_rng(0).normal(size=(2, 3))])
    assert series.metric("from-first").tolist() == series.metric("l2").tolist()
    assert series.metric("efficiency").tolist() == [[1.0]]
    assert series.metric_states("coherence").tolist() == [[State.NOT_COMPARABLE]]


# Files

SHAPES = {"stem.weight": (90, 50), "blocks.0.fc.weight": (33, 31), "blocks.1.fc.weight": (200, 100)}


@pytest.fixture
def measure(tmp_path, watched_files):
    """Measure metrics of a folder into a run file; the bytes that this took are those of `watched_files`."""

    def run(source, *metrics, run=tmp_path / "run.wsa", watched=True):
        watched_files.reads.clear()
        files = watched_files if watched else None
        return measure_run(
            [str(source)], run, AnalyzeOptions(metrics=metrics), files=files, progress=watched_files.progress
        ).series

    return run


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("metric", ALL)
def test_metrics_of_files_are_those_of_their_weights(save_sequence, make_states, measure, tmp_path, metric, watched):
    states = make_states(5, SHAPES)
    series = measure(save_sequence(tmp_path / "source", states), metric, watched=watched)
    values = [expect(metric, [state[name].astype(np.float64) for state in states]) for name in series.names]
    np.testing.assert_allclose(series.metric(metric), values, rtol=1e-6, atol=1e-9)


def test_every_byte_is_read_once_for_all_metrics_together(save_sequence, make_states, measure, watched_files, tmp_path):
    source = save_sequence(tmp_path / "source", make_states(5, SHAPES))
    plain = measure(source, run=tmp_path / "other.wsa")
    num_bytes = watched_files.num_bytes()
    series = measure(source, *ALL)
    assert watched_files.num_bytes() == num_bytes
    assert series.sums.values.tobytes() == plain.sums.values.tobytes()
    assert series.states.tolist() == plain.states.tolist()


def test_what_is_missing_is_measured_later_to_the_same_bits(
    save_sequence, make_states, measure, watched_files, tmp_path
):
    states = make_states(5, SHAPES)
    source = save_sequence(tmp_path / "source", states[:4])
    measure(source)
    with pytest.raises(UsageError, match="coherence"):
        Run.open(tmp_path / "run.wsa").series.metric("coherence")
    measure(source, "coherence")
    assert watched_files.num_bytes() == 4 * sum(4 * a * b for a, b in SHAPES.values())
    measure(source, "coherence")
    assert not watched_files.reads
    save_sequence(source, states[4:], [4])
    later = measure(source, "coherence")
    assert watched_files.names() == {f"step_{step}.safetensors" for step in (2, 3, 4)}
    fresh = measure(source, "coherence", run=tmp_path / "fresh.wsa")
    assert later.metric("coherence").tobytes() == fresh.metric("coherence").tobytes()
    assert Run.open(tmp_path / "run.wsa").series.metric("coherence").tobytes() == fresh.metric("coherence").tobytes()


def test_spans_stay_as_long_as_nothing_of_them_is_missing(save_sequence, make_states, measure, tmp_path):
    states = make_states(5, SHAPES)
    source = save_sequence(tmp_path / "source", states[:4])
    assert set(measure(source, "coherence").spans) == {Span.TWO}
    assert set(measure(source, "rotation").spans) == {Span.FIRST, Span.TWO}
    assert set(measure(source).spans) == {Span.FIRST, Span.TWO}
    save_sequence(source, states[4:], [4])
    assert set(measure(source).spans) == set()
    assert set(measure(source, "efficiency").spans) == {Span.FIRST}


@pytest.mark.parametrize("failing", [0, 1, 2, 4])
@pytest.mark.parametrize("metric", ALL)
def test_a_checkpoint_that_cannot_be_read_is_bridged(
    save_sequence, make_states, measure, watched_files, tmp_path, failing, metric
):
    """The first checkpoint that is alive is the first; changes are those between checkpoints that are."""
    states = make_states(5, SHAPES)
    source = save_sequence(tmp_path / "source", states)
    watched_files.failing = {f"step_{failing}.safetensors": 0}
    series = measure(source, metric)
    alive = [state for index, state in enumerate(states) if index != failing]
    values = [expect(metric, [state[name].astype(np.float64) for state in alive]) for name in series.names]
    np.testing.assert_allclose(series.metric(metric), values, rtol=1e-6, atol=1e-9)
    again = measure(source, metric, run=tmp_path / "fresh.wsa")
    assert again.metric(metric).tobytes() == series.metric(metric).tobytes()


def test_states_of_spans_are_kept(save_sequence, make_states, measure, tmp_path):
    states = make_states(4, SHAPES)
    rng = np.random.default_rng(5)
    for state in states[2:]:
        state["new.weight"] = rng.normal(size=(3, 3)).astype(np.float32)
    states[1]["stem.weight"] = states[3]["stem.weight"][:, :49]
    states[3].pop("blocks.0.fc.weight")
    states.append({**states[3], "stem.weight": states[0]["stem.weight"] + 1})
    source = save_sequence(tmp_path / "source", states)
    measure(source, "from-first", "coherence")
    series = Run.open(tmp_path / "run.wsa").series
    found = dict(zip(series.names, series.metric_states("from-first").tolist(), strict=True))
    assert found["stem.weight"] == [State.RESIZED, None, None, None]
    assert found["blocks.0.fc.weight"] == [None, None, State.MISSING, State.MISSING]
    assert found["new.weight"] == [State.MISSING, State.NEW, State.NEW, State.NEW]
    coherent = dict(zip(series.names, series.metric_states("coherence").tolist(), strict=True))
    assert coherent["stem.weight"] == [State.RESIZED, State.RESIZED, State.RESIZED, None]
    assert coherent["new.weight"] == [State.MISSING, State.NEW, State.NEW, State.ZERO]


def test_damaged_spans_are_told(save_sequence, make_states, measure, tmp_path):
    import sqlite3

    source = save_sequence(tmp_path / "source", make_states(4))
    measure(source, "coherence")
    path = tmp_path / "run.wsa"
    database = sqlite3.connect(path)
    (before, after), *_ = database.execute(
        "SELECT b.side, a.side FROM checkpoints b, checkpoints a WHERE b.position = 0 AND a.position = 2"
    ).fetchall()
    database.execute("DELETE FROM cells WHERE before = ? AND after = ?", (before, after))
    database.commit()
    with pytest.raises(StoreError, match="3 measured cells are gone"), RunFile.open(path) as store:
        store.load_series()
    database.execute("UPDATE meta SET value = replace(value, 'two', 'first') WHERE key = 'spans'")
    database.commit()
    database.close()
    with pytest.raises(StoreError, match="its spans are not those that were written"), RunFile.open(path) as store:
        store.load_series()


def test_spans_of_another_series_are_none_of_this_one(save_sequence, make_states, measure, tmp_path):
    """A program that does not know of them writes its series and leaves them."""
    import sqlite3

    from wsanalyze.store import series_tables

    source = save_sequence(tmp_path / "source", make_states(4))
    measure(source, "coherence")
    with sqlite3.connect(tmp_path / "run.wsa") as database:
        kept = [
            database.execute("SELECT value FROM meta WHERE key = ?", (k,)).fetchone() for k in ("spans", "spans digest")
        ]
        tables = series_tables.read_series(database)
        sides = [side for (side,) in database.execute("SELECT side FROM checkpoints ORDER BY position")]
        tensors = [tensor for (tensor,) in database.execute("SELECT tensor FROM layers ORDER BY position")]
        series_tables.write_series(database, dataclasses.replace(tables, events=(), skips=()), sides, tensors)
        about = dataclasses.replace(tables.provenance, command="of another time")
        series_tables.write_series(database, dataclasses.replace(tables, provenance=about), sides, tensors)
        for key, (value,) in zip(("spans", "spans digest"), kept, strict=True):
            database.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))
    database.close()
    assert Run.open(tmp_path / "run.wsa").series.spans == {}


def test_sums_have_the_shape_of_the_series(save_sequence, make_states, measure, tmp_path):
    series = measure(save_sequence(tmp_path / "source", make_states(4)), "coherence", "from-first")
    for changes in series.spans.values():
        assert changes.sums.values.shape == (3, 3, len(SUM_NAMES))
        assert (np.isnan(changes.sums["n"]) == (changes.states != None)).all()  # noqa: E711 - elementwise


def test_the_command_line_measures_what_a_metric_needs(save_sequence, make_states, tmp_path, capsys):
    source = save_sequence(tmp_path / "my run", make_states(4))
    run, table = str(tmp_path / "run.wsa"), tmp_path / "table.csv"
    assert main(["analyze", str(source), "--run", run, "--quiet"]) == 0
    assert main(["report", run, "--metric", "coherence"]) == 2
    told = capsys.readouterr().err
    assert f"`wsanalyze analyze '{source}' --run {run} --quiet --metric coherence` measures them" in told
    assert told.count("\n") == 1
    assert main(["analyze", str(source), "--run", run, "--quiet", "--metric", "coherence"]) == 0
    reports = [part for kind in ("html", "json", "csv", "markdown") for part in (f"--{kind}", str(tmp_path / kind))]
    assert main(["report", run, "--metric", "coherence", *reports]) == 0
    out = capsys.readouterr().out
    assert "cosine of the angle between successive changes of 3 layers" in " ".join(out.split())
    assert "Curves: linear scale" in out
    cells = (tmp_path / "csv").read_text().splitlines()[1].split(",")
    assert cells[1] == ""
    assert all(-1 <= float(cell) <= 1 for cell in cells[2:])
    table.write_text("layer,1,2\na,0.1,0.2\n")
    assert main(["trends", str(table), "--metric", "coherence"]) == 2
    assert "a table holds no sums for 'coherence'" in capsys.readouterr().err


def test_the_library_measures_what_a_metric_needs(save_sequence, make_states, tmp_path):
    source = save_sequence(tmp_path / "source", make_states(4))
    run = wsanalyze.analyze(source, run=tmp_path / "run.wsa", metrics=["efficiency"])
    assert (run.to_pandas("efficiency")["efficiency"] <= 1).all()
    with pytest.raises(UsageError, match="no metric named 'straightness'"):
        wsanalyze.analyze(source, run=tmp_path / "run.wsa", metrics=["straightness"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ratio", [1.0, 1e-3, 1e3])
def test_the_cosine_is_as_precise_as_is_said(save_sequence, tmp_path, dtype, ratio):
    rng = np.random.default_rng(0)
    changes = rng.normal(size=(2, 300, 400)) * 1e-3 + 2e-4
    weights = np.cumsum([rng.normal(size=(300, 400)), changes[0], ratio * changes[1]], axis=0).astype(dtype)
    source = save_sequence(tmp_path / "source", [{"a.weight": w} for w in weights])
    run = wsanalyze.analyze(source, run=tmp_path / "run.wsa", metrics=["coherence"])
    d, e = np.diff(weights.astype(np.longdouble), axis=0).reshape(2, -1)
    expected = float((d * e).sum() / np.sqrt((d * d).sum() * (e * e).sum()))
    lost = 1e-13 * (ratio + 1 / ratio + 1)
    assert run.series.metric("coherence")[0, 1] == pytest.approx(expected, rel=0, abs=lost)


# Some of the rows


@pytest.mark.parametrize("name", METRICS)
def test_some_rows_have_the_numbers_that_they_have_among_all(name):
    rng = np.random.default_rng(0)
    series = walk(rng.normal(size=(5, 6, 7)))
    series = dataclasses.replace(series, norms=np.abs(rng.normal(size=(5, 5, 3))))
    chosen = [3, 0, 4]
    part = series.select_rows(chosen)
    np.testing.assert_array_equal(part.metric(name), series.metric(name)[chosen])
    np.testing.assert_array_equal(part.metric_states(name), series.metric_states(name)[chosen])
    assert part.names == tuple(series.names[row] for row in chosen)
    assert part.checkpoints == series.checkpoints
    if not METRICS[name].norms:
        groups = series.grouped("module")
        np.testing.assert_array_equal(groups.select_rows([1, 0]).metric(name), groups.metric(name)[[1, 0]])
    assert series.select_rows([]).metric(name).shape == (0, 5)
