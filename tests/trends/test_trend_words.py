"""The sentence on how many trends there are."""

import re
from dataclasses import replace

import numpy as np
import pytest

from wsanalyze.series import Kind, TrainingLog
from wsanalyze.trends.base import Quality, TrendOptions
from wsanalyze.trends.find import find_trends
from wsanalyze.trends.trend_words import say_trends


def one_trend(make_series, values):
    return say_trends(find_trends(make_series(values), TrendOptions(clusters=1)))


def falling(number, steps=12):
    return np.repeat(np.geomspace(1.0, 0.1, steps)[None], number, axis=0)


def test_all_and_both_are_said_as_such(make_series):
    assert one_trend(make_series, falling(7)).startswith("All 7 layers follow one trend: they fall")
    assert one_trend(make_series, falling(2)).startswith("Both layers follow one trend: they fall")


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ([0.1, 0.1], ""),
        ([0.1, 0.01], ", where the learning rate falls from 0.1 to 0.01"),
        ([0.1, 0.01, 0.001], ", where the learning rate falls from 0.1 to 0.01 and from 0.01 to 0.001"),
        ([0.1, 0.01, 0.01], ""),
        ([0.1, 0.01, 0.1], ""),
    ],
)
def test_a_course_falls_with_the_learning_rate_each_time_or_not(make_series, rates, said):
    falls = max(len(rates), 2)
    levels = np.repeat(10.0 ** -np.arange(falls), 8)
    series = make_series(np.repeat(levels[None], 7, axis=0))
    places = np.arange(len(levels) + 1)
    noted = np.concatenate([[rates[0]], np.repeat(rates, 8)])
    series = replace(series, log=TrainingLog(100 * places, places, {"learning_rate": noted}))
    trends = replace(find_trends(series, TrendOptions(clusters=1)), events=())
    times = " and ".join(f"after step {800 * time}" for time in range(1, falls))
    assert say_trends(trends) == f"All 7 layers follow one trend: they fall {times}, from 1 to {levels[-1]:g}{said}."


def test_who_is_left_out_of_one_trend_and_named_as_another_is_named_once(make_series):
    values = falling(12)
    values[[3, 7]] = 0.0
    said = say_trends(find_trends(make_series(values)))
    assert "10 fall steadily" in said
    assert "2 (block3.weight and block7.weight) are unchanged" in said


def test_layers_that_go_elsewhere_are_named(make_series):
    trends = find_trends(make_series(falling(7)), TrendOptions(clusters=1))
    values = falling(7)
    values[2] = values[2, ::-1]
    values[5] = 0.3 * 10 ** (0.01 * np.resize([1, -1], 12))
    said = say_trends(replace(trends, series=make_series(values)))
    assert said.startswith("No second trend stands apart among the 7 layers: most fall")
    assert said.endswith(", but not block2.weight and block5.weight.")


def test_layers_that_go_elsewhere_than_their_kind_are_named(make_series):
    values = falling(8)
    values[2] = values[2, ::-1]
    series = make_series(values)
    kinds = [Kind.CONV] * 5 + [Kind.HEAD] * 3
    series = replace(series, rows=tuple(replace(row, kind=kind) for row, kind in zip(series.rows, kinds, strict=True)))
    said = say_trends(find_trends(series, TrendOptions(method="kmeans", by_kind=True, clusters=1)))
    assert said.endswith(": 5 conv fall steadily, but not block2.weight; 3 head fall steadily.")


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([0.3], "."),
        ([0.3, 0.0003], "."),
        (
            [0.0] * 4 + [0.2, 0.24, 0.28, 0.22],
            ", but 2 levels: 4 (depths 4 to 7) near 0.23; 4 (depths 0 to 3) unchanged.",
        ),
        (
            np.full(9, 0.3),
            ", and no levels that stand apart among the 9 layers: near 0.3 in the median.",
        ),
        (
            [0.2, 0.41, 0.32, 0.25, 0.3, 2e-4, 3e-4, 4e-4],
            (
                ", but 2 levels, well apart and stable (silhouette 0.94, stability 1.00): 5 (depths 0 to 4) near 0.3; "
                "3 (depths 5 to 7) near 0.0003."
            ),
        ),
    ],
)
def test_a_single_change_is_no_trend(make_series, column, said):
    begin = "There is one change only, which makes no trend"
    assert say_trends(find_trends(make_series(np.array(column)[:, None]))) == f"{begin}{said}"


def test_layers_may_go_as_they_like_where_the_median_goes_nowhere(make_series):
    values = np.full((7, 12), 0.1) * 10 ** np.random.default_rng(0).normal(0, 0.02, (7, 12))
    said = one_trend(make_series, values)
    assert "they are steady" in said
    assert "but not" not in said


@pytest.mark.parametrize(
    ("silhouette", "stability", "p_value", "words"),
    [
        (0.77, 0.5, 0.01, ", well apart and unstable (silhouette 0.77, stability 0.50), so do not rely on them: "),
        (0.50, 0.75, 0.33, ", well apart and fairly stable (silhouette 0.50, stability 0.75), but chance often makes "),
        (0.30, 0.95, 0.01, ", apart and stable (silhouette 0.30, stability 0.95): "),
        (0.10, 0.95, None, ", hardly apart and stable (silhouette 0.10, stability 0.95): "),
    ],
)
def test_trends_are_doubted_where_their_quality_does(make_series, plant, silhouette, stability, p_value, words):
    trends = find_trends(make_series(plant(groups=2)[0]), TrendOptions(clusters=2))
    said = say_trends(
        replace(
            trends,
            quality=Quality(2, structure=True, silhouette=silhouette, stability=stability, text="", p_value=p_value),
        )
    )
    assert said.startswith(f"16 layers follow 2 trends{words}")
    assert ("do not rely on them" in said) == (p_value is not None and (p_value > 0.05 or stability < 0.7))


def test_kinds_are_told_with_their_courses(make_series):
    series = make_series(np.vstack([falling(4), np.full((3, 12), 0.2)]))
    kinds = [Kind.CONV] * 4 + [Kind.NORM] * 3
    rows = tuple(replace(row, kind=kind) for row, kind in zip(series.rows, kinds, strict=True))
    said = say_trends(find_trends(replace(series, rows=rows), TrendOptions(by_kind=True)))
    assert said == "One trend in each of 2 kinds: 4 conv fall steadily; 3 norm are steady."


def test_a_median_that_goes_nowhere_does_not_speak_for_layers_that_go_up_and_down(make_series):
    logs = np.linspace(-0.5, 0.5, 41)[:, None] * np.linspace(-1, 1, 40)
    trends = find_trends(make_series(10 ** (logs + np.random.default_rng(0).normal(0, 0.02, logs.shape))))
    assert re.fullmatch(
        "The 41 layers go different ways, but not in groups that stand apart: some fall to .* and others rise to .* "
        r"what they were\.",
        say_trends(trends),
    )
    calm = find_trends(make_series(10 ** np.random.default_rng(0).normal(0, 0.05, (41, 40))))
    assert "but" not in say_trends(calm)
