"""What every figure promises, whatever there is to draw."""

import dataclasses
import itertools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import to_hex

from wsanalyze.errors import UsageError
from wsanalyze.reports.figures.write import FIGURES, WIDTHS, make_figure, use_style
from wsanalyze.reports.palette import ALONE, COLOURS, STATE, UNCHANGED, colour_of

NAMES = sorted(FIGURES)
CASES = [
    *("rich", "hostile", "kinds", "one change", "one layer", "few layers", "many depths", "no number", "no cluster"),
    *("nothing", "no layer"),
]
TITLES = {
    "short": ("relative weight change", "ratio"),
    "long": ("cosine of the angle between successive changes of the weights", "their own unit"),
}


@pytest.fixture(params=CASES)
def case(request, make_trends, example_module):
    return {
        "rich": make_trends,
        "hostile": lambda: make_trends(hostile=True),
        "kinds": lambda: example_module.by_kind(make_trends()),
        "one change": lambda: make_trends(30, 1),
        "one layer": lambda: make_trends(1, 9),
        "few layers": lambda: make_trends(3, 9),
        "many depths": lambda: make_trends(900, 6),
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
@pytest.mark.parametrize("width", sorted(WIDTHS))
@pytest.mark.parametrize("length", sorted(TITLES))
def test_axes_have_names_with_units_and_no_text_is_cut_off_or_on_another(case, name, width, length, monkeypatch):
    monkeypatch.setattr("wsanalyze.reports.figures.scale.metric_words", lambda _: TITLES[length])
    title = "{} ({})".format(*TITLES[length])
    with use_style():
        figure = make_figure(case, name, WIDTHS[width])
        ax = figure.axes[0]
        assert ax.get_xlabel()
        assert ax.get_ylabel()
        if name != "scatter":
            assert "step" in ax.get_xlabel()
        if name == "curves":
            assert ax.get_ylabel().replace("\n", " ") == title
        if len(figure.axes) > 1:
            assert title in (figure.axes[1].get_xlabel() + figure.axes[1].get_ylabel()).replace("\n", " ")
        renderer = figure.canvas.get_renderer()
        boxes = [text.get_window_extent(renderer) for text in find_texts(figure)]
        boxes = [box for box in boxes if box.width and box.height]
    whole = figure.bbox.padded(3)
    legend = [ax.get_legend().get_window_extent(renderer)] if ax.get_legend() else []
    for box in [*boxes, *legend]:
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1
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


@pytest.mark.parametrize("roles", [("A", "B"), ("q", "k", "v"), ("q.A", "q.B", "k.A", "k.B", "v.A", "v.B")], ids=str)
@pytest.mark.parametrize("num_layers", [98, 150, 200])
def test_names_of_every_role_are_shown_where_roles_alternate(make_trends, axes, roles, num_layers):
    trends = make_trends(num_layers, 7)
    names = [f"blocks.{row // len(roles)}.{roles[row % len(roles)]}.weight" for row in range(num_layers)]
    rows = [dataclasses.replace(row, name=name) for row, name in zip(trends.series.rows, names, strict=True)]
    series = dataclasses.replace(trends.series, rows=tuple(rows))
    axes.figure.set_size_inches(7, 6.4)
    FIGURES["heatmap"](dataclasses.replace(trends, series=series), axes)
    shown = [int(place) % len(roles) for place in axes.get_yticks()]
    assert 10 < len(shown) < num_layers
    assert all(shown.count(role) >= len(shown) // len(roles) - 1 for role in range(len(roles)))


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


def test_many_depths_share_lines_and_the_axis_says_so(make_trends, axes, monkeypatch):
    monkeypatch.setattr("wsanalyze.reports.figures.depth.MOST_LINES", 20)
    trends = make_trends(190, 7)
    FIGURES["depth"](trends, axes)
    (mesh,) = [found for found in axes.collections if isinstance(found, QuadMesh)]
    values = trends.depth.values
    starts = range(0, len(values), 10)
    assert len(starts) <= 20 < len(values)
    expected = [np.nanmedian(values[start : start + 10], axis=0) for start in starts]
    expected = np.maximum(expected, np.min(expected, where=np.array(expected) > 0, initial=1.0))
    np.testing.assert_allclose(mesh.get_array().filled(np.nan), expected)
    assert axes.get_ylabel().replace("\n", " ") == "depth (rank, first on top; a line is the median of 10 ranks)"
    edges = mesh.get_coordinates()[:, 0, 1]
    assert (np.diff(edges) > 0).all()
    for start, end in itertools.pairwise([*starts, len(values)]):
        within = (edges[start // 10], edges[start // 10 + 1])
        assert all(within[0] < depth < within[1] for depth in trends.depth.depths[start:end])


def test_a_cluster_of_every_kind_has_its_band_and_of_many_the_largest(kind_trends, axes):
    def find_bands():
        return [found for found in axes.collections if isinstance(found, PolyCollection) and found.get_paths()]

    FIGURES["curves"](kind_trends, axes)
    assert [to_hex(band.get_facecolor()[0]) for band in find_bands()] == [
        colour_of(cluster.id) for cluster in kind_trends.clusters
    ]
    axes.clear()
    first = kind_trends.clusters[0]
    more = [dataclasses.replace(first, id=number, members=tuple(range(30 - number))) for number in range(8, 11)]
    FIGURES["curves"](dataclasses.replace(kind_trends, clusters=(*kind_trends.clusters, *more)), axes)
    sizes = {cluster.id: cluster.size for cluster in (*kind_trends.clusters, *more)}
    assert len(find_bands()) == 8 < len(sizes)
    colours = {to_hex(band.get_facecolor()[0]) for band in find_bands()}
    assert {colour_of(cluster.id) for cluster in more} <= colours
    assert "bands of the 8 largest clusters" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_a_long_name_in_a_legend_takes_two_lines_before_it_is_shortened(trends, axes):
    axes.figure.set_size_inches(3.3, 3.3)
    summary = "rises until step 100, then falls steadily, in steps, and rises again until step 2000"
    clusters = (dataclasses.replace(trends.clusters[0], summary=summary), *trends.clusters[1:])
    FIGURES["curves"](dataclasses.replace(trends, clusters=clusters), axes)
    (label, *_) = [text.get_text() for text in axes.get_legend().get_texts()]
    assert label.count("\n") == 1
    assert label.replace("\n", " ") == f"0: {summary} ({trends.clusters[0].size})"
    longer = (dataclasses.replace(trends.clusters[0], summary=summary * 30), *trends.clusters[1:])
    FIGURES["curves"](dataclasses.replace(trends, clusters=longer), axes)
    (label, *_) = [text.get_text() for text in axes.get_legend().get_texts()]
    assert label.count("\n") == 1
    assert "…" in label


def test_the_order_stands_in_for_a_second_component_that_is_rounding(kind_trends, axes):
    points = kind_trends.points.copy()
    rows = [index for index, row in enumerate(kind_trends.series.rows) if str(row.kind) == "linear"]
    points[rows, 1] *= 1e-17
    FIGURES["scatter"](dataclasses.replace(kind_trends, points=points), axes, kind="linear")
    assert axes.get_ylabel().replace("\n", " ") == "layer (place in the order of depth)"
    shown = np.concatenate([line.get_ydata() for line in axes.lines])
    assert sorted(shown) == [index for index in rows if np.isfinite(points[index, 0])]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (30, 1)], ids=str)
@pytest.mark.parametrize("name", ["curves", "scatter"])
def test_places_and_steps_are_whole_numbers(make_trends, name, size, axes):
    trends = make_trends(*size)
    FIGURES[name](dataclasses.replace(trends, points=trends.points[:, :1], explained=trends.explained[:1]), axes)
    axes.figure.canvas.draw()
    axis = axes.yaxis if name == "scatter" else axes.xaxis
    shown = [tick for tick in axis.get_ticklocs() if axis.get_view_interval()[0] <= tick <= axis.get_view_interval()[1]]
    assert shown
    assert all(tick == int(tick) for tick in shown)


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
