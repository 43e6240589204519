"""What every figure promises, whatever there is to draw."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex

from wsanalyze.errors import UsageError
from wsanalyze.reports.figures.write import FIGURES, WIDTHS, make_figure, use_style
from wsanalyze.reports.palette import ALONE, COLOURS, STATE, UNCHANGED

NAMES = sorted(FIGURES)
CASES = ["rich", "hostile", "kinds", "one change", "one layer", "no number", "no cluster", "nothing", "no layer"]


@pytest.fixture(params=CASES)
def case(request, make_trends, example_module):
    return {
        "rich": make_trends,
        "hostile": lambda: make_trends(hostile=True),
        "kinds": lambda: example_module.by_kind(make_trends()),
        "one change": lambda: make_trends(30, 1),
        "one layer": lambda: make_trends(1, 9),
        "no number": lambda: example_module.only_states(make_trends()),
        "no cluster": lambda: example_module.without_clusters(make_trends()),
        "nothing": lambda: make_trends(0, 0),
        "no layer": lambda: make_trends(0, 5),
    }[request.param]()


@pytest.fixture
def axes():
    with use_style():
        figure, ax = plt.subplots(layout="constrained")
        yield ax
        plt.close(figure)


def find_texts(figure):
    """What is drawn: labels of ticks outside of the axes are there as well, and are not."""
    texts = []
    for ax in figure.axes:
        texts += [*ax.texts, *(ax.get_legend().get_texts() if ax.get_legend() else ())]
        for axis in (ax.xaxis, ax.yaxis):
            texts += [axis.label, axis.offsetText, *(tick.label1 for tick in axis._update_ticks())]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


@pytest.mark.parametrize("name", NAMES)
def test_axes_have_names_with_units_and_no_text_is_cut_off_or_on_another(case, name):
    with use_style():
        figure = make_figure(case, name, WIDTHS["1col"])
        ax = figure.axes[0]
        assert ax.get_xlabel()
        assert ax.get_ylabel()
        if name != "scatter":
            assert "step" in ax.get_xlabel()
        if name == "curves":
            assert ax.get_ylabel() == "relative weight change (ratio)"
        if len(figure.axes) > 1:
            assert "relative weight change (ratio)" in figure.axes[1].get_xlabel() + figure.axes[1].get_ylabel()
        renderer = figure.canvas.get_renderer()
        boxes = [text.get_window_extent(renderer) for text in find_texts(figure)]
        boxes = [box for box in boxes if box.width and box.height]
    whole = figure.bbox.padded(3)
    assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1 for box in boxes)
    smaller = [box.padded(-0.12 * min(box.width, box.height)) for box in boxes]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(smaller, 2))


@pytest.mark.parametrize("name", NAMES)
def test_no_text_is_a_formula_and_every_glyph_is_there(name, hostile_trends, axes):
    # A glyph that the font has not is a warning, and so an error here.
    FIGURES[name](hostile_trends, axes)
    axes.figure.canvas.draw()
    foreign = [text for text in find_texts(axes.figure) if any(sign in text.get_text() for sign in "$\\<")]
    assert bool(foreign) == (name == "heatmap")
    assert not any(text.get_usetex() or text._preprocess_math(text.get_text())[1] for text in foreign)


def test_names_that_tex_would_run_are_drawn_as_they_are_where_the_user_has_tex(hostile_trends, axes):
    with mpl.rc_context({"text.usetex": True}):
        FIGURES["heatmap"](hostile_trends, axes)
        labels = axes.get_yticklabels()
    assert len(labels) == 40
    assert not any(label.get_usetex() or label.get_parse_math() for label in labels)


@pytest.mark.parametrize("name", NAMES)
def test_the_axes_of_others_are_drawn_into_and_their_settings_left_alone(name, trends):
    before = dict(mpl.rcParams)
    figure, (left, right) = plt.subplots(1, 2)
    assert FIGURES[name](trends, right) is right
    assert not left.has_data()
    assert dict(mpl.rcParams) == before
    plt.close(figure)


@pytest.mark.parametrize("name", NAMES)
def test_without_axes_there_are_new_ones_of_pyplot(name, trends):
    ax = FIGURES[name](trends)
    assert plt.gcf() is ax.figure
    plt.close(ax.figure)


def test_the_heatmap_holds_every_number_and_greys_where_there_is_none(trends, axes):
    FIGURES["heatmap"](trends, axes)
    greys, numbers = axes.images
    values, states = trends.values, trends.series.metric_states()
    shown = numbers.get_array()
    np.testing.assert_array_equal(~shown.mask, states == None)  # noqa: E711 - elementwise
    np.testing.assert_array_equal(shown.compressed(), values[states == None])  # noqa: E711 - elementwise
    for (row, change), state in np.ndenumerate(states):
        if state is not None:
            grey = UNCHANGED if state == "unchanged" else STATE
            assert to_hex(greys.get_array()[row, change]) == grey


def test_clusters_have_the_colours_of_the_page(trends, axes):
    FIGURES["curves"](trends, axes)
    medians = [line for line in axes.lines if line.get_label().startswith(("0:", "1:", "2:"))]
    assert [to_hex(line.get_color()) for line in medians] == list(COLOURS[:3])
    assert len({(line.get_marker(), str(line._dash_pattern)) for line in medians}) == 3
    for cluster, line in zip(trends.clusters, medians, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), np.array(cluster.median))


def test_every_placed_row_is_a_point_and_outliers_have_a_mark_of_their_own(trends, axes):
    FIGURES["scatter"](trends, axes)
    points = np.concatenate([np.column_stack(line.get_data()) for line in axes.lines])
    expected = trends.points[np.isfinite(trends.points).all(axis=1)]
    np.testing.assert_array_equal(np.sort(points, axis=0), np.sort(expected, axis=0))
    (alone,) = [line for line in axes.lines if to_hex(line.get_color()) == ALONE]
    np.testing.assert_array_equal(np.column_stack(alone.get_data()), trends.points[trends.outliers])


def test_depth_shows_the_profile_and_its_centre(trends, axes):
    FIGURES["depth"](trends, axes)
    (mesh,) = [found for found in axes.collections if isinstance(found, QuadMesh)]
    values = trends.depth.values
    np.testing.assert_array_equal(mesh.get_array().filled(np.nan), np.maximum(values, values[values > 0].min()))
    first, last = trends.depth.depths[0], trends.depth.depths[-1]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), first + trends.depth.centre * (last - first))


@pytest.mark.parametrize("order", ["depth", "kind", "cluster"])
def test_many_rows_are_condensed_to_medians_within_their_groups(make_trends, order, axes, monkeypatch):
    monkeypatch.setattr("wsanalyze.reports.figures.heatmap.MOST_LINES", 20)
    trends = make_trends(200, 7)
    FIGURES["heatmap"](trends, axes, order=order)
    shown = axes.images[-1].get_array()
    assert len(shown) <= 20 + 6
    assert "median of" in axes.get_ylabel()
    if order == "cluster":
        for cluster in trends.clusters:
            assert np.isclose(shown[:, 4:], np.array(cluster.median)[4:], rtol=0.35).all(axis=1).any()
        assert any("cluster 0 (" in label.get_text() for label in axes.get_yticklabels())


def test_options_that_make_no_sense_are_refused(trends, make_trends, axes):
    with pytest.raises(UsageError, match="order takes depth, kind, cluster"):
        FIGURES["heatmap"](trends, axes, order="size")
    with pytest.raises(UsageError, match="spacing takes auto, steps or even"):
        FIGURES["curves"](trends, axes, spacing="wide")
    with pytest.raises(UsageError, match="no layer is of the kind 'poem'"):
        FIGURES["scatter"](trends, axes, kind="poem")
    with pytest.raises(UsageError, match="no increasing step numbers"):
        FIGURES["curves"](make_trends(3, 0), axes, spacing="steps")


def test_curves_of_rows_in_no_cluster_on_demand(trends, axes):
    FIGURES["curves"](trends, axes, outliers=True, spacing="even")
    alone = [line for line in axes.lines if to_hex(line.get_color()) == ALONE]
    assert len(alone) == 2
    assert axes.get_xlabel() == "training step after the change (evenly spaced)"
