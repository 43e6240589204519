"""What the scale of colours leaves out."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib import pyplot as plt

from wsanalyze.reports.figures.heatmap import draw_heatmap
from wsanalyze.reports.figures.scale import find_colours, find_scale, near_ends

_NUMBERS = st.one_of(st.just(np.nan), st.floats(1e-6, 1e6), st.floats(0.01, 0.02))


@given(values=arrays(np.float64, st.integers(1, 400), elements=_NUMBERS))
def test_no_more_than_one_of_a_hundred_lies_beyond_either_end(example_trends_module, values):
    trends = example_trends_module.example_trends(3, 4)
    colours, whole = find_colours(trends, values), find_scale(trends, values)
    numbers = values[np.isfinite(values)]
    below, above = (numbers < colours.low).sum(), (numbers > colours.high).sum()
    assert max(below, above) <= numbers.size / 100
    assert (colours.below, colours.above) == (below > 0, above > 0)
    assert colours.low == whole.low or colours.below
    assert colours.high == whole.high or colours.above
    assert whole.low <= colours.low < colours.high <= whole.high


@pytest.mark.parametrize("far_off", [(), (7,), (7, 8)])
def test_cells_that_lie_far_off_are_the_last_of_the_colours_and_the_bar_has_an_arrow(make_trends, far_off):
    trends = make_trends(30, 20)
    values = np.clip(trends.values, 0.01, 0.2)
    values[list(far_off), 12] = (1e9, 1e-9)[: len(far_off)]
    trends = dataclasses.replace(trends, series=dataclasses.replace(trends.series, given={"rwc": values}))
    ax = draw_heatmap(trends)
    image = ax.images[-1]
    try:
        assert image.colorbar.extend == {0: "neither", 1: "max", 2: "both"}[len(far_off)]
        assert image.norm.vmax < 1e8
        assert image.norm.vmin > 1e-8
        assert np.nanmax(image.get_array()) == np.nanmax(values)
        assert image.to_rgba(image.get_array())[7, 12].tolist() == list(image.cmap(1.0)) or not far_off
    finally:
        plt.close(ax.figure)


@pytest.mark.parametrize("end", [5e-324, 1e-200, 1e200, 1.7e308, np.inf])
def test_a_few_numbers_beyond_any_axis_have_the_arrow_of_the_bar_and_more_of_them_no_bar(make_trends, end):
    trends = make_trends(30, 20)
    values = np.clip(trends.values, 0.01, 0.2)
    values[7, 12] = end
    colours = find_colours(trends, values)
    assert (colours.below, colours.above, colours.problem) == (end < 1, end > 1, "")
    assert 1e-3 < colours.low < colours.high < 1
    assert find_scale(trends, values).problem
    values[7] = end
    assert "beyond what an axis can hold" in find_colours(trends, values).problem
    assert near_ends(values)
    assert not near_ends(trends.values)


@given(values=arrays(np.float64, st.integers(1, 300), elements=st.floats(0) | st.just(np.nan)))
def test_no_number_that_differs_in_the_middle_of_the_colours_is_shown_by_their_end(example_trends_module, values):
    colours = find_colours(example_trends_module.example_trends(3, 4), values)
    if colours.problem:
        return
    numbers = values[values > 0]
    below, above = (numbers < colours.low).sum(), (numbers > colours.high).sum()
    assert max(below, above) <= numbers.size / 100
    assert (colours.below, colours.above) == (below > 0, above > 0)
