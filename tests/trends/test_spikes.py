"""Spikes that many layers share, and what may be behind them."""

from dataclasses import replace

import numpy as np
import pytest

from wsanalyze.series import Event, TrainingLog
from wsanalyze.trends.causes import find_cause
from wsanalyze.trends.events import find_events


def spikes(series):
    return [event for event in find_events(series, "rwc") if event.kind == "spike"]


def log_of(**values):
    count = len(next(iter(values.values())))
    return TrainingLog(
        100 * np.arange(count), np.arange(count), {name: np.array(v, dtype=np.float64) for name, v in values.items()}
    )


def shaken(make_series, height=20.0):
    values = 0.1 * np.ones((9, 8))
    values[:, 4] *= height
    return make_series(values)


def test_a_spike_names_the_loss_that_rose(make_series):
    losses = [2.0, 1.0, 0.8, 0.7, 0.6, 3.0, 0.6, 0.5, 0.5]
    (event,) = spikes(replace(shaken(make_series), log=log_of(loss=losses)))
    assert event.checkpoint == 5
    assert event.text.endswith("(20 times in the median); the loss rose from 0.8 to 3 there.")
    assert event.evidence["loss_peak"] == 3


def test_a_spike_names_the_learning_rate_that_rose(make_series):
    (event,) = spikes(replace(shaken(make_series), log=log_of(learning_rate=[1e-4] * 5 + [1e-3] + [1e-4] * 3)))
    assert "the learning rate rose from 0.0001 to 0.001 there" in event.text


def test_a_spike_of_which_the_log_knows_nothing_says_so(make_series):
    (event,) = spikes(replace(shaken(make_series), log=log_of(loss=[1.0] * 9)))
    assert "nothing that was logged rose there" in event.text
    (event,) = spikes(shaken(make_series))
    assert event.text.endswith("perhaps a loss spike, a higher learning rate or a bad checkpoint.")


def test_a_longer_way_is_no_spike(make_series):
    series = shaken(make_series, 10.0)
    steps = [0, 100, 200, 300, 400, 1400, 1500, 1600, 1700]
    records = tuple(replace(r, step=step) for r, step in zip(series.checkpoints, steps, strict=True))
    assert spikes(series)
    assert not spikes(replace(series, checkpoints=records))


def test_a_checkpoint_off_the_way_is_one_spike_unless_it_is_told_already(make_series):
    values = 0.1 * np.ones((9, 8))
    values[:, 3:5] = 4.0
    series = make_series(values)
    (event,) = spikes(series)
    assert event.checkpoint == 4
    assert "a bad checkpoint" in event.text
    assert not spikes(replace(series, events=(Event("impostor", None, 4, "elsewhere"),)))


def test_the_last_change_is_compared_with_the_one_before_alone_and_the_first_with_none(make_series):
    values = 0.1 * np.ones((9, 8))
    values[:4, -1] *= 20.0
    (event,) = spikes(make_series(values))
    assert (event.checkpoint, event.evidence["layers"]) == (8, 4)
    assert event.text.startswith(
        "At step 800, the last, 4 of 9 layers changed at least 3 times as much as just before (20 times in the median):"
    )
    assert not spikes(make_series(values[:, ::-1]))
    drop = 0.1 * np.ones((9, 8))
    drop[:, -2] /= 20.0
    assert not spikes(make_series(drop))  # the last is the usual one
    assert not spikes(make_series(values[:, -3:]))  # of three changes nobody can say what is usual


def test_noise_is_no_spike(make_series):
    for seed in range(20):
        values = 10 ** np.random.default_rng(seed).normal(-1, 0.3, (12, 40))
        assert not spikes(make_series(values))


def test_a_layer_that_pauses_and_moves_on_wakes(measure_series):
    weights = np.random.default_rng(0).normal(size=(4, 9, 20)).cumsum(axis=1)
    weights[1, 3:7] = weights[1, 3]
    (event,) = [event for event in find_events(measure_series(weights), "rwc") if event.kind == "wakes"]
    assert (event.layer, event.checkpoint) == ("block1.weight", 6)
    assert event.text == "block1.weight stands still from step 300 to step 600 and moves on after that."
    assert event.evidence == {"row": 1, "from_checkpoint": 3, "still_changes": 3}


def test_what_never_rose_is_no_cause():
    assert find_cause(TrainingLog(), 0, 1).text == ""
    assert find_cause(log_of(loss=[1.0, 0.9, 0.8, 0.7]), 1, 2).noted


@pytest.mark.parametrize("ratio", [0.3, 0.45])
def test_rows_that_come_back_over_a_few_changes_all_spike(make_series, ratio):
    random = np.random.default_rng(0)
    values = 0.01 * 10 ** random.normal(0, 0.05, (20, 20))
    values[:, 10:13] *= 8 * ratio ** np.arange(3)
    (event,) = spikes(make_series(values))
    assert event.evidence["layers"] == 20
    assert event.evidence["changes"] == [10, 10]
    assert "at least 3 times as much as just before, and were back within 3 changes" in event.text
    assert ratio < 1 / 3 or event.evidence["median_ratio"] == pytest.approx(8, rel=0.2)
