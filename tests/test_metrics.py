import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.changes.kernels import NumpyKernel, measure_arrays
from wsanalyze.errors import UsageError
from wsanalyze.metrics import METRICS, Span, find_metric
from wsanalyze.sums import Sums


def compute(name, before, after, gap=1.0):
    sums = measure_arrays(NumpyKernel(), np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64))
    with np.errstate(all="ignore"):
        return float(METRICS[name].compute(Sums(sums.values[None, None]), np.array([gap]))[0, 0])


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_the_contract_of_a_metric(metric):
    assert METRICS[metric.name] is metric
    assert find_metric(metric.name) is metric
    assert metric.title
    assert metric.unit
    assert metric.formula
    rng = np.random.default_rng(0)
    kernel = NumpyKernel()
    cells = [[measure_arrays(kernel, *rng.normal(size=(2, 50))).values for _ in range(3)] for _ in range(4)]
    sums = Sums(np.array(cells))
    norms = np.full((2 if metric.span is Span.TWO or metric.norms else 1, 4, 3), 10.0)
    values = metric.compute(sums, norms if metric.path or metric.norms else np.array([1.0, 10.0, np.nan]))
    assert values.shape == (4, 3)
    assert values.dtype == np.float64
    assert (values[:, :2] >= (-1 if metric.linear else 0)).all()
    assert (values <= 1).all() or not metric.linear
    assert np.isnan(values[:, 2]).all() == metric.needs_steps
    assert metric.span or not metric.path
    absolute = metric.absolute(sums)
    assert absolute.shape == (4, 3)
    assert (absolute > 0).all()


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_the_formula_says_what_is_computed(metric):
    rng = np.random.default_rng(1)
    sums = measure_arrays(NumpyKernel(), rng.normal(size=30), rng.normal(size=30))
    names = {
        "l1_delta", "l1_before", "sq_delta", "sq_before", "rel_sum", "rel_n", "sign_flips", "changed", "n_valid"
    }  # fmt: skip
    scope = {name: float(sums[name]) for name in names}
    scope |= {"dot": float(sums["dot_before_delta"]), "sqrt": np.sqrt, "atan2": np.arctan2, "max": max, "steps": 9.0}
    scope |= {"cos": np.cos, "sq_earlier": 20.0, "sq_later": 40.0, "way": 11.0}
    scope |= {"norm2_delta": 3.0, "norm2_before": 7.0}
    scope["rwc"] = scope["l1_delta"] / scope["l1_before"]
    expected = eval(metric.formula.replace("^", "**"), {"__builtins__": {}}, scope)  # noqa: S307 - our own formulas
    beside = np.array([9.0])
    if metric.path:
        norms = [20.0**0.5, 40.0**0.5] if metric.span is Span.TWO else [11.0]
        beside = np.array(norms)[:, None, None]
    if metric.norms:
        beside = np.array([3.0, 7.0])[:, None, None]
    assert metric.compute(Sums(sums.values[None, None]), beside)[0, 0] == pytest.approx(expected, rel=1e-12)


def test_the_default_is_the_equation_of_the_paper():
    assert compute("rwc", [1.0, -2.0, 3.0], [1.5, -2.0, 2.0]) == pytest.approx(1.5 / 6)


def test_the_elementwise_form_leaves_zeros_out():
    assert compute("rwc-elementwise", [1.0, 0.0, -2.0], [2.0, 5.0, -1.0]) == pytest.approx((1 + 0.5) / 2)


def test_l2_is_the_relative_norm():
    assert compute("l2", [3.0, 4.0], [3.0, 9.0]) == pytest.approx(1.0)


@pytest.mark.parametrize("angle", [1e-5, 1e-3, 0.3, np.pi / 2, 3.0])
def test_the_angle_is_right_where_acos_is_not(angle):
    before = np.array([1.0, 0.0, 0.0])
    after = 7.0 * np.array([np.cos(angle), np.sin(angle), 0.0])
    assert compute("angle", before, after) == pytest.approx(angle, rel=1e-6)


def test_a_small_angle_among_many_weights():
    """acos of a normalised dot product, computed in float32 as people do, is 50 times off at 1e-5."""
    rng = np.random.default_rng(2)
    before = rng.normal(size=100_000)
    aside = rng.normal(size=100_000)
    aside -= before * (aside @ before) / (before @ before)
    after = before + aside * 1e-5 * np.linalg.norm(before) / np.linalg.norm(aside)
    assert compute("angle", before, after) == pytest.approx(np.arctan(1e-5), rel=1e-6)
    b, a = before.astype(np.float32), after.astype(np.float32)
    cosine = np.float32(b @ a) / np.float32(np.linalg.norm(b)) / np.float32(np.linalg.norm(a))
    assert abs(np.arccos(min(cosine, np.float32(1))) - 1e-5) > 1e-6


vectors = st.integers(2, 20).flatmap(
    lambda size: st.tuples(*(st.lists(st.floats(-100, 100), min_size=size, max_size=size) for _ in "ba"))
)


@given(vectors)
def test_angles_lie_between_0_and_pi_and_do_not_depend_on_the_direction(sides):
    before, after = (np.array(side) for side in sides)
    if np.abs(before).max() < 1e-3 or np.abs(after).max() < 1e-3:
        return
    there, back = compute("angle", before, after), compute("angle", after, before)
    assert 0 <= there <= np.pi
    # The sums know squares of sines to some 1e-16, times the square of how much the weights grow.
    growth = np.linalg.norm(before) / np.linalg.norm(after)
    assert there == pytest.approx(back, abs=1e-7 * max(growth, 1 / growth))


@given(vectors, st.floats(0.01, 100))
def test_growing_by_a_factor_turns_nothing(sides, factor):
    before = np.array(sides[0])
    if np.abs(before).max() < 1e-3:
        return
    assert compute("angle", before, before * factor) == pytest.approx(0, abs=1e-7 * max(1, 1 / factor))


def test_weights_that_vanish_point_nowhere():
    assert np.isnan(compute("angle", [1.0, 2.0], [0.0, 0.0]))
    assert compute("rwc", [1.0, 2.0], [0.0, 0.0]) == 1.0


def test_opposite_weights_turn_by_pi():
    assert compute("angle", [1.0, 2.0], [-1.0, -2.0]) == pytest.approx(np.pi)


def test_flips_and_changed_are_shares():
    before, after = [1.0, -1.0, 0.0, 2.0], [-1.0, -1.0, 0.0, 3.0]
    assert compute("flips", before, after) == 0.25
    assert compute("changed", before, after) == 0.5


def test_rates_divide_by_the_root_or_the_steps():
    before, after = [1.0, 1.0], [1.0, 2.0]
    assert compute("rate", before, after, gap=100.0) == pytest.approx(0.05)
    assert compute("rate-linear", before, after, gap=100.0) == pytest.approx(0.005)


def test_an_unknown_metric_names_those_there_are():
    with pytest.raises(UsageError, match=r"no metric named 'spectrall'.*rwc, rwc-elementwise, l2"):
        find_metric("spectrall")
