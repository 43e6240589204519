"""The paper's pipeline, step by step, and against the published series where they lie beside the project."""

import csv
from pathlib import Path

import numpy as np
import pytest

from wsanalyze.table import read_table
from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.find import find_trends

PUBLISHED = Path(__file__).parents[3] / "shared" / "data"
PAPER = TrendOptions(method="paper")


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published series are not part of the project")
@pytest.mark.parametrize(("run", "k", "least"), [("resnet_svhn", 3, 1.0), ("resnet_cifar10", 4, 0.95)])
def test_published_clusters_are_reproduced(run, k, least):
    from sklearn.metrics import adjusted_rand_score

    series = read_table(PUBLISHED / f"{run}.csv")
    with (PUBLISHED / f"{run}_clusters.csv").open(newline="") as file:
        published = dict(list(csv.reader(file))[1:])
    scores = []
    for seed in range(10):
        trends = find_trends(series, TrendOptions(method="paper", clusters=k, seed=seed))
        found = dict(zip(series.names, trends.labels.tolist(), strict=True))
        scores.append(adjusted_rand_score(list(published.values()), [found[name] for name in published]))
    assert np.median(scores) >= least


@pytest.fixture
def table():
    """Two groups of three rows between a first and a last row, over six changes."""
    low, high = [1.0, 1.1, 0.9, 1.0, 1.1, 0.9], [5.0, 5.2, 4.8, 5.0, 5.1, 4.9]
    rows = [[9.0] * 6, low, high, low, high, low, high, [0.1] * 6]
    return np.array(rows) + np.linspace(0, 0.05, 8)[:, None]


def test_first_and_last_layer_are_dropped(make_series, table):
    trends = find_trends(make_series(table), PAPER)
    assert trends.labels.tolist() == [-1, 1, 0, 1, 0, 1, 0, -1]
    assert not trends.outliers.any()
    assert (
        trends.notes[0]
        == "The first and the last layer were dropped, as in the paper: block0.weight and block7.weight."
    )


def test_a_cell_without_number_becomes_the_sum_over_all_steps(make_series, table):
    table[3, 2] = np.inf
    table[4, 0] = np.nan
    trends = find_trends(make_series(table), PAPER)
    assert trends.touched["gap"] == ((3, 2), (4, 0))
    assert any(note.startswith("2 cells without a number, in 2 layers, became the sum") for note in trends.notes)


def test_filled_values_are_those_of_the_paper(make_series):
    from wsanalyze.trends.paper import find_paper_trends

    values = [[9.0, 9.0, 9.0, 9.0], [1.0, 2.0, np.inf, 3.0], [4.0, 4.0, 4.0, 4.0], [9.0, 9.0, 9.0, 9.0]]
    features = find_paper_trends(make_series(values), PAPER).features
    assert features[1].tolist() == [1.0, 2.0, 6.0 / 4, 3.0]
    assert np.isnan(features[[0, 3]]).all()


def test_a_value_two_deviations_off_becomes_the_mean_of_its_row(make_series):
    from wsanalyze.trends.paper import find_paper_trends

    row = [1.0] * 9 + [11.0]
    values = [row, row, [2.0] * 10, row]
    partition = find_paper_trends(make_series(values), PAPER)
    assert partition.touched == {"spike": ((1, 9),), "gap": ()}
    assert partition.features[1].tolist() == [1.0] * 9 + [2.0]
    assert any(note.startswith("1 value, in 1 layer, further than 2 standard deviations") for note in partition.notes)


def test_the_number_of_clusters_is_chosen_at_the_elbow_and_said(make_series):
    random = np.random.default_rng(0)
    centres = np.repeat([[0.0], [10.0], [20.0], [30.0]], 6, axis=0) + 1.0
    values = centres + random.uniform(0, 0.5, (24, 8))
    trends = find_trends(make_series(np.vstack((values[:1], values, values[-1:]))), PAPER)
    assert trends.quality.k == 4
    assert any("4, was chosen automatically" in note for note in trends.notes)
    asked = find_trends(make_series(values), TrendOptions(method="paper", clusters=4))
    assert not any("automatically" in note for note in asked.notes)


def test_scaling_by_a_power_of_two_alters_nothing(make_series, table):
    one = find_trends(make_series(table), PAPER)
    huge = find_trends(make_series(np.ldexp(table, 1000)), PAPER)
    np.testing.assert_array_equal(huge.labels, one.labels)
    assert any("divided by 2^" in note for note in huge.notes)
