"""What else than learning explains the curves: said where it was planted, and hardly ever where it was not."""

from dataclasses import replace

import numpy as np
import pytest

from wsanalyze.series import Kind, Row, Skip
from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.confounders import find_confounders
from wsanalyze.trends.find import find_trends

NAN = np.nan
CHANNELS = (16, 24, 40, 80, 112, 192, 320)


def inverted_bottlenecks():
    """The shapes of a network that widens with depth, by kind."""
    shapes = [(Kind.CONV, (16, 3, 3, 3))]
    for width in CHANNELS:
        for repeat in range(2):
            shapes.append((Kind.POINTWISE, (6 * width, width, 1, 1)))
            shapes.append((Kind.DEPTHWISE, (6 * width, 1, 3 + 2 * repeat, 3 + 2 * repeat)))
            shapes.append((Kind.POINTWISE_LINEAR, (width, 6 * width, 1, 1)))
    return [*shapes, (Kind.HEAD, (1000, 320))]


def plain_convolutions():
    widths = np.repeat((64, 128, 256, 512), 4).tolist()
    shapes = [(Kind.CONV, (width, before, 3, 3)) for before, width in zip([3, *widths], widths, strict=False)]
    return [*shapes, (Kind.HEAD, (10, 512))]


NETWORKS = {"inverted": inverted_bottlenecks(), "plain": plain_convolutions()}


@pytest.fixture(scope="session")
def series_of(make_series):
    def make(shapes, levels, seed=0, num_changes=8):
        random = np.random.default_rng(seed)
        series = make_series(10 ** (np.array(levels)[:, None] + random.normal(0, 0.1, (len(shapes), num_changes))))
        rows = [Row(f"{i}.weight", f"{i}", f"{i}", kind, i, shape) for i, (kind, shape) in enumerate(shapes)]
        return replace(series, rows=tuple(rows))

    return make


def find(series, **options):
    return find_confounders(series, series.metric(), TrendOptions(**options))


def logs(shapes):
    return {
        "numel": np.log10([float(np.prod(shape)) for _, shape in shapes]),
        "fan_in": np.log10([float(np.prod(shape[1:])) for _, shape in shapes]),
        "depth": np.linspace(0, 1, len(shapes)),
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("slope", [-0.5, 0.5])
@pytest.mark.parametrize("what", ["numel", "fan_in"])
def test_levels_that_follow_size_or_fan_in_are_told(series_of, what, slope, seed):
    shapes = NETWORKS["inverted"]
    noise = np.random.default_rng(seed).normal(0, 0.1, len(shapes))
    (event,) = find(series_of(shapes, -1.5 + slope * logs(shapes)[what] + noise, seed))
    assert (event.kind, event.layer, event.checkpoint) == ("confounded", None, None)
    assert what in event.evidence["explains"]
    assert np.sign(event.evidence["rank_correlation"][what]) == np.sign(slope)
    assert f"changes {'rises' if slope > 0 else 'falls'} with its" in event.text
    assert event.text.endswith(".")


def null_levels(shapes, law, random):
    names = logs(shapes)
    if law == "kinds":
        level = {kind: random.normal(0, 0.5) for kind in Kind}
        return np.array([level[kind] for kind, _ in shapes]) + random.normal(-1.5, 0.2, len(shapes))
    if law == "depth":
        return -1.5 + names["depth"] * random.choice([-1, 1]) + random.normal(0, 0.2, len(shapes))
    return random.normal(-1.5, 0.4, len(shapes))


@pytest.mark.parametrize("law", ["none", "depth", "kinds"])
@pytest.mark.parametrize("network", NETWORKS)
def test_hardly_ever_is_anything_said_of_levels_that_follow_nothing_depth_or_kind(series_of, network, law):
    """Although the networks widen with depth, and kinds have sizes of their own."""
    random = np.random.default_rng(0)
    shapes = NETWORKS[network]
    alarms = sum(bool(find(series_of(shapes, null_levels(shapes, law, random), seed))) for seed in range(200))
    assert alarms <= 10


def test_layers_of_one_shape_count_once(series_of):
    """Twelve equal blocks tell no more of size than one: two sizes, two levels and any number of rows are no law."""
    block = [(Kind.ATTENTION_Q, (64, 64)), (Kind.MLP_UP, (256, 64)), (Kind.MLP_DOWN, (64, 256))]
    shapes = block * 12
    levels = [-2.0 if shape == (64, 64) else -1.0 for _, shape in shapes]
    assert find(series_of(shapes, levels)) == ()


def test_nothing_is_said_of_few_rows_of_tables_and_of_what_is_no_amount(series_of, make_series):
    shapes = NETWORKS["inverted"]
    series = series_of(shapes, 0.5 * logs(shapes)["numel"])
    assert find(series)
    for options in ({"metric": "coherence"}, {"metric": "rank"}, {"group": "kind"}):
        assert find_confounders(series, series.metric(), TrendOptions(**options)) == ()
    assert find(series_of(shapes[:9], logs(shapes[:9])["numel"])) == ()
    table = make_series(series.metric())
    unshaped = replace(table, rows=tuple(replace(row, shape=()) for row in table.rows))
    assert find(unshaped) == ()
    assert find(replace(series, rows=tuple(replace(row, shape=(row.numel,)) for row in series.rows))) == ()


def test_rows_that_never_move_or_have_no_number_take_no_part(series_of):
    shapes = NETWORKS["inverted"]
    series = series_of(shapes, 0.5 * logs(shapes)["numel"])
    values = series.metric()
    values[3], values[5] = NAN, 0.0
    (event,) = find(replace(series, given={"rwc": values}))
    assert event.evidence["layers"] == len(shapes) - 2


# Weights before a normalisation


def train(num_layers=6, num_steps=12, *, growing=True, falling=False, seed=0):
    """Weights of shape (layers, checkpoints, elements): steps of one length across them, which makes them grow."""
    random = np.random.default_rng(seed)
    weights = [random.normal(size=(num_layers, 200))]
    for step in range(num_steps):
        last = weights[-1]
        across = random.normal(size=last.shape)
        across -= (across * last).sum(1, keepdims=True) / (last**2).sum(1, keepdims=True) * last
        size = 0.5 * (0.7**step if falling else 1.0)
        after = last + size * across
        if not growing:
            after *= np.linalg.norm(last, axis=1, keepdims=True) / np.linalg.norm(after, axis=1, keepdims=True)
        weights.append(after)
    return np.swapaxes(np.array(weights), 0, 1)


def network(series, style="bn"):
    """Rows that are convolutions, each with what is beside it."""
    beside = {
        "bn": ("blocks.{}.conv.weight", Kind.CONV, ("bn.weight", "bn.bias", "bn.running_mean")),
        "group norm": ("blocks.{}.conv.weight", Kind.CONV, ("norm1.weight", "norm1.bias")),
        "sequential": ("blocks.{}.0.weight", Kind.CONV, ("1.weight", "1.bias", "1.running_mean")),
        "q norm": ("blocks.{}.q_proj.weight", Kind.ATTENTION_Q, ("q_norm.weight",)),
        "none": ("blocks.{}.conv.weight", Kind.CONV, ()),
        "own bias": ("blocks.{}.conv.weight", Kind.CONV, ("conv.bias", "bn.weight", "bn.bias", "bn.running_mean")),
        "linear": ("blocks.{}.fc.weight", Kind.LINEAR, ("norm.weight", "norm.bias")),
    }
    name, kind, others = beside[style]
    rows, skips = [], []
    for index in range(len(series.rows)):
        own = name.format(index)
        rows.append(Row(own, own.rpartition(".")[0], f"blocks.{index}", kind, index, (20, 10)))
        skips += [Skip(f"blocks.{index}.{other}", "one-dimensional") for other in others]
    return replace(series, rows=tuple(rows), skips=tuple(skips))


@pytest.mark.parametrize("style", ["bn", "group norm", "sequential", "q norm"])
@pytest.mark.parametrize("metric", ["rwc", "l2", "rate"])
def test_growth_before_a_normalisation_is_told(measure_series, style, metric):
    weights = train()
    series = network(measure_series(weights), style)
    (event,) = find_confounders(series, series.metric(metric), TrendOptions(metric=metric))
    assert event.kind == "confounded"
    assert (event.evidence["layers"], event.evidence["of"]) == (6, 6)
    assert event.evidence["rows"] == list(range(6))
    norms = np.linalg.norm(weights, axis=-1)
    expected = np.median(np.median(norms[:, 9:12], axis=1) / np.median(norms[:, :3], axis=1))
    assert event.evidence["median_growth"] == pytest.approx(expected)
    assert event.evidence["median_fall"] == pytest.approx(expected, rel=0.1)
    assert event.text.startswith("6 of 6 layers before a normalisation grow (")
    assert "--metric angle" in event.text


def test_what_is_told_reaches_the_trends(measure_series):
    trends = find_trends(network(measure_series(train())))
    assert [event.kind for event in trends.all_events].count("confounded") == 1


@pytest.mark.parametrize("style", ["none", "own bias", "linear"])
def test_what_no_normalisation_follows_may_grow(measure_series, style):
    assert find(network(measure_series(train()), style)) == ()


@pytest.mark.parametrize("seed", range(20))
def test_changes_that_fall_by_themselves_are_none(measure_series, seed):
    assert find(network(measure_series(train(growing=False, falling=True, seed=seed)))) == ()
    assert find(network(measure_series(train(growing=True, falling=True, seed=seed)))) == ()
    assert find(network(measure_series(train(growing=False, seed=seed)))) == ()


def test_growth_is_told_of_ratios_that_were_measured(measure_series, make_series):
    series = network(measure_series(train()))
    assert find(series, metric="angle") == ()
    assert find(network(make_series(series.metric()))) == ()
    assert find(network(measure_series(train(num_layers=2)))) == ()
    assert find(network(measure_series(train(num_steps=3)))) == ()


def test_most_of_them_must_grow(measure_series):
    weights = np.concatenate([train(num_layers=4), train(num_layers=5, growing=False)])
    assert find(network(measure_series(weights))) == ()
