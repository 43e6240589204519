"""Phases: parts of the training between breaks that many rows share."""

from dataclasses import replace

import numpy as np
import pytest

from wsanalyze.series import CheckpointRecord, TrainingLog
from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.find import find_trends
from wsanalyze.trends.phases import find_phases
from wsanalyze.trends.words import say_times


def draw(rows=40, changes=40, noise=0.08, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(-1.5, 0.4, (rows, 1)) + random.normal(0, noise, (rows, changes))


def look(series, **options):
    return find_phases(series, series.metric(), TrendOptions(**options))


def spans(phases):
    return [(phase.first, phase.last) for phase in phases]


def with_log(series, rates):
    """The series with a learning rate noted at each checkpoint."""
    number = len(series.checkpoints)
    at = np.arange(number)
    return replace(series, log=TrainingLog(at * 100, at, {"learning_rate": np.array(rates, dtype=float)}))


@pytest.fixture
def dropped(make_series):
    """A series in which three quarters of the rows fall by half a decade at change 15."""
    logs = draw()
    logs[:30, 15:] -= 0.5
    return make_series(10**logs)


def test_a_training_is_divided_where_most_rows_jump(dropped):
    phases, (event,) = look(dropped)
    assert spans(phases) == [(0, 14), (15, 39)]
    assert phases[0].level == pytest.approx(np.median(dropped.metric()[:, :15]))
    assert phases[0].text.startswith("steps 0 to 1500: changes stay near 0.0")
    assert (event.kind, event.layer, event.checkpoint) == ("phase", None, 15)
    assert event.text.startswith("From step 1500 on, ")
    assert 28 <= event.evidence["layers"] <= 34
    assert event.evidence["of"] == 40
    assert event.evidence["decades"] == pytest.approx(-0.5, abs=0.1)


@pytest.mark.parametrize("slope", [-0.02, 0.0, 0.02])
def test_a_jump_on_a_slope_is_told_as_it_is_seen(make_series, slope):
    logs = draw(noise=0.01) + slope * np.arange(40)
    logs[:, 15:] -= 0.5
    _, (event,) = look(make_series(10**logs))
    assert f"change {say_times(-0.5 + slope)} as much as just before in the median" in event.text
    assert event.evidence["decades"] == pytest.approx(-0.5, abs=0.05)


def test_phases_and_their_events_are_part_of_the_trends(dropped):
    trends = find_trends(dropped)
    assert spans(trends.phases) == [(0, 14), (15, 39)]
    assert [event.checkpoint for event in trends.events if event.kind == "phase"] == [15]


def test_the_order_of_rows_does_not_matter(dropped, make_series):
    mixed = make_series(dropped.metric()[np.random.default_rng(1).permutation(40)])
    assert [phase.first for phase in look(mixed)[0]] == [phase.first for phase in look(dropped)[0]]


def test_what_few_rows_do_divides_nothing(make_series):
    logs = draw()
    logs[:10, 15:] -= 2.0
    assert look(make_series(10**logs)) == ((), ())


@pytest.mark.parametrize("height", [-1.0, 1.0])
@pytest.mark.parametrize("place", [1, -2])
@pytest.mark.parametrize("changes", [8, 12, 19, 30])
def test_one_odd_change_beside_an_end_is_no_phase(make_series, changes, place, height):
    logs = draw(changes=changes, noise=0.02)
    logs[:, place] += height
    assert look(make_series(10**logs)) == ((), ())


def test_a_phase_that_goes_up_and_down_does_not_stay(make_series):
    logs = draw(noise=0.02)
    logs[:, :20] -= 1.0
    logs[:, 25:35] += 0.5
    phases, _ = look(make_series(10**logs))
    assert any("go up and down between" in phase.text for phase in phases) or len(phases) > 2
    restarts = draw(noise=0.02)
    restarts[:, :8] -= 1.0
    restarts[:, 8:] -= 0.8 * np.resize(np.linspace(0, 1, 8), 32)
    restarts[:, -1] = restarts[:, 8]
    assert "stay" not in look(make_series(10**restarts))[0][-1].text


def test_layers_that_rest_are_told_as_that_and_not_as_a_ratio(make_series):
    values = 10 ** draw(noise=0.02)
    values[:30, 12:20] = 0.0
    phases, (stop, move) = look(make_series(values))
    assert stop.text == "From step 1200 on, 30 of 40 layers stand still."
    assert move.text == "From step 2000 on, 30 of 40 layers move and did not before."
    assert stop.evidence["rests"]
    assert "decades" not in stop.evidence
    assert phases[1].level == pytest.approx(np.median(values[30:, 12:20]))
    values[:, 12:20] = 0.0
    assert look(make_series(values))[0][1].text == "steps 1200 to 2000: nothing changes"


def test_a_smooth_decay_is_not_divided(make_series):
    logs = draw() - 2 * np.log10(np.arange(1, 41))
    assert look(make_series(10**logs)) == ((), ())


def test_what_only_wanders_is_not_divided(make_series):
    divided = 0
    for seed in range(40):
        logs = draw(seed=seed) + np.random.default_rng(seed).normal(0, 0.1, 40).cumsum()
        divided += bool(look(make_series(10**logs))[0])
    assert divided <= 2


def test_a_loss_spike_is_no_phase(make_series):
    logs = draw()
    logs[:, 20] += 1.0
    assert look(make_series(10**logs)) == ((), ())


def test_layers_that_are_unfrozen_together_begin_a_phase(make_series):
    values = 10 ** draw()
    values[:30, :12] = 0.0
    phases, (event,) = look(make_series(values))
    assert spans(phases) == [(0, 11), (12, 39)]
    assert event.evidence["rows"] == list(range(30))


def test_a_warm_up_ends_a_phase(make_series):
    time = np.arange(1, 41)
    logs = draw() + np.minimum(0, np.log10(time / 10)) - np.maximum(0, (time - 10) / 30)
    phases, (event,) = look(make_series(10**logs))
    assert abs(phases[1].first - 9) <= 2
    assert event.evidence["turns"] is True
    assert "change less and less, where they changed more and more before" in event.text
    assert "changes rise from" in phases[0].text
    assert "changes fall from" in phases[1].text


def test_a_learning_rate_that_falls_is_named(dropped):
    rates = np.where(np.arange(41) <= 15, 0.1, 0.02)
    _, (event,) = look(with_log(dropped, rates))
    assert event.text.endswith(", as the learning rate falls from 0.1 to 0.02.")
    assert event.evidence["learning_rate_after"] == 0.02


def test_a_learning_rate_that_falls_slowly_is_not(dropped):
    _, (event,) = look(with_log(dropped, 0.1 * 0.99 ** np.arange(41)))
    assert "learning rate" not in event.text


def test_a_learning_rate_alone_makes_no_phase(make_series):
    series = with_log(make_series(10 ** draw()), np.where(np.arange(41) <= 15, 0.1, 0.01))
    assert look(series) == ((), ())


@pytest.mark.parametrize("exponent", [0.0, 0.3, 0.5, 1.0])
def test_longer_ways_alone_make_no_phase(make_series, exponent):
    steps = np.cumsum([0, *[10] * 15, *[1000] * 25])
    logs = draw() + exponent * np.log10(np.diff(steps))
    series = make_series(10**logs)
    records = tuple(CheckpointRecord(int(step), f"step{step}", "run") for step in steps)
    assert look(replace(series, checkpoints=records)) == ((), ())


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_a_jump_is_found_among_steps_that_grow(make_series, exponent):
    steps = np.array([0, *2 ** np.arange(40)], dtype=np.float64)
    logs = draw() + exponent * np.log10(np.diff(steps))
    logs[:, 20:] -= 0.6
    records = tuple(CheckpointRecord(int(step), f"step{step}", "run") for step in steps)
    phases, _ = look(replace(make_series(10**logs), checkpoints=records))
    assert spans(phases) == [(0, 19), (20, 39)]


def test_gaps_and_rows_without_numbers_do_not_matter(dropped, make_series):
    values = dropped.metric()
    random = np.random.default_rng(2)
    values[random.random(values.shape) < 0.1] = np.nan
    values[3] = np.nan
    values[4] = 0.0
    phases, _ = look(make_series(values))
    assert spans(phases) == [(0, 14), (15, 39)]


def test_a_metric_that_is_no_amount_is_taken_as_it_is(measure_series):
    random = np.random.default_rng(0)
    noise = random.normal(size=(30, 40, 400))
    noise[:, 20:] += 2 * random.normal(size=(30, 1, 400))
    series = measure_series(noise.cumsum(axis=1))
    values = np.clip(random.normal(0, 0.05, (30, 40)) + 0.6 * (np.arange(40) >= 20), -1, 1)
    phases, (event,) = find_phases(series, values[:, :39], TrendOptions(metric="coherence"))
    assert spans(phases) == [(0, 19), (20, 38)]
    assert "cosine of the angle between successive changes" in phases[0].text
    assert "higher in the median" in event.text
    assert event.evidence["difference"] == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("shape", [(0, 0), (0, 9), (1, 1), (3, 7)])
def test_small_series_have_no_phases(make_series, shape):
    assert look(make_series(np.ones(shape))) == ((), ())


def test_a_series_without_numbers_has_no_phases(make_series):
    assert look(make_series(np.full((3, 20), np.nan))) == ((), ())
    assert look(make_series(np.zeros((3, 20)))) == ((), ())
    assert look(make_series(np.ones((3, 20)))) == ((), ())


def test_checkpoints_without_steps_are_called_by_their_labels(dropped):
    records = tuple(CheckpointRecord(None, f"epoch-{place}", "run") for place in range(41))
    phases, (event,) = look(replace(dropped, checkpoints=records))
    assert phases[1].text.startswith("epoch-15 to epoch-40: ")
    assert event.text.startswith("From epoch-15 on, ")


@pytest.mark.parametrize("place", [2, 9, 17])
@pytest.mark.parametrize("ratio", [2, 3])
def test_one_longer_way_makes_no_phase(make_series, place, ratio):
    distances = np.full(20, 100)
    distances[place] *= ratio
    logs = draw(rows=6, changes=20, noise=0.01) - 0.6 * np.log10(1 + np.arange(20)) + np.log10(distances)
    records = tuple(CheckpointRecord(int(step), f"step{step}", "run") for step in np.cumsum([0, *distances]))
    assert look(replace(make_series(10**logs), checkpoints=records)) == ((), ())


def test_a_phase_does_not_begin_or_end_with_what_only_is_a_longer_way(make_series):
    distances = np.full(20, 100)
    distances[9] = 300
    logs = draw(rows=6, changes=20, noise=0.001) + np.log10(distances)
    logs[:, 10:] -= 1.0
    records = tuple(CheckpointRecord(int(step), f"step{step}", "run") for step in np.cumsum([0, *distances]))
    phases, (event,) = look(replace(make_series(10**logs), checkpoints=records))
    assert spans(phases) == [(0, 9), (10, 19)]
    assert "a tenth as much" in event.text
    assert all("stay near" in phase.text for phase in phases)


def test_the_ratio_told_is_that_of_the_change_after_a_break_to_the_one_before(make_series):
    logs = draw(noise=0.001) - 1.5 * np.resize(np.linspace(0, 1, 10), 40)
    phases, events = look(make_series(10**logs))
    assert spans(phases) == [(0, 9), (10, 19), (20, 29), (30, 39)]
    assert all("change 32 times as much as just before" in event.text for event in events)
    course = np.median(10**logs, axis=0)
    for phase in phases:
        assert f"fall from {course[phase.first]:.2g} to {course[phase.last]:.2g}" in phase.text


def test_the_ratio_is_that_of_layers_that_go_on_where_some_rest(make_series):
    values = 10 ** (draw(noise=0.001) - 0.05 * np.arange(40))
    values[:, 15:] *= 0.2
    values[:10, 15:] = 0.0
    _, (event,) = look(make_series(values))
    times = say_times(np.log10(0.2) - 0.05)
    assert event.text == f"From step 1500 on, 30 of 40 layers change {times} as much as just before in the median."


@pytest.mark.parametrize(("first", "last"), [(0.0, -0.3), (-0.3, 0.0)])
def test_a_phase_goes_from_one_end_to_the_other_only_if_its_ends_do(make_series, first, last):
    logs = draw(noise=0.001)
    logs[:, :20] -= 1.0
    logs[:, :20] += np.linspace(first, last, 20)
    logs[:, 0], logs[:, 19] = logs[:, 19].copy(), logs[:, 0].copy()
    phases, _ = look(make_series(10**logs))
    assert phases[0].last in (18, 19)
    assert "fall" not in phases[0].text
    assert "rise" not in phases[0].text
