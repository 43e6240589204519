"""All sums against a float64 computation written on its own, and the laws that any kernel obeys."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from wsanalyze.changes.base import SEGMENT_ELEMENTS
from wsanalyze.changes.devices import TorchKernel
from wsanalyze.changes.kernels import BLOCK_ELEMENTS, NumpyKernel
from wsanalyze.metrics import METRICS
from wsanalyze.sums import SUM_NAMES, Sums

COUNTS = ("n", "n_valid", "nonfinite_before", "nonfinite_after", "changed", "sign_flips", "rel_n")
REAL = ("float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2")
COMPLEX = ("complex64", "complex128")
SIZES = (0, 1, 2, 2047, 2048, 2049, BLOCK_ELEMENTS - 1, BLOCK_ELEMENTS, BLOCK_ELEMENTS + 1, 3 * BLOCK_ELEMENTS + 77)


def make_kernels():
    return {"numpy": NumpyKernel(), "torch": TorchKernel("cpu")}


@pytest.fixture(params=["numpy", "torch"])
def kernel(request):
    return make_kernels()[request.param]


def dtype_of(name):
    return np.dtype(getattr(ml_dtypes, name)) if name.startswith(("bfloat", "float8")) else np.dtype(name)


def make_weights(rng, size, dtype, scale=0.05):
    values = rng.normal(scale=scale, size=size)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.normal(scale=scale, size=size)
    return values.astype(dtype)


def expect_sums(before, after):
    """The definitions of docs/method.md, one by one, in the widest floating type there is."""
    complex_ = before.dtype.kind == "c" or after.dtype.kind == "c"
    b, a = (side.astype(np.complex128 if complex_ else np.float64) for side in (before, after))
    good = np.isfinite(b) & np.isfinite(a)
    expected = {
        "n": b.size,
        "n_valid": good.sum(),
        "nonfinite_before": (~np.isfinite(b)).sum(),
        "nonfinite_after": (~np.isfinite(a)).sum(),
    }
    wide = np.clongdouble if complex_ else np.longdouble
    b, a = b[good].astype(wide), a[good].astype(wide)
    d = a - b
    nonzero = b != 0
    return expected | {
        "l1_delta": np.abs(d).sum(),
        "l1_before": np.abs(b).sum(),
        "l1_after": np.abs(a).sum(),
        "sq_delta": (np.abs(d) ** 2).sum(),
        "sq_before": (np.abs(b) ** 2).sum(),
        "sq_after": (np.abs(a) ** 2).sum(),
        "dot_before_delta": (np.conj(b) * d).real.sum(),
        "max_delta": np.abs(d).max(initial=0),
        "changed": (d != 0).sum(),
        "sign_flips": 0 if complex_ else (np.sign(b) != np.sign(a)).sum(),
        "rel_sum": (np.abs(d[nonzero]) / np.abs(b[nonzero])).sum(),
        "rel_n": nonzero.sum(),
        "dot scale": np.abs(b * d).sum(),
    }


def check(kernel, before, after):
    sums = kernel.measure(before, after)
    expected = expect_sums(before, after)
    assert sums.values.shape == (len(SUM_NAMES),)
    assert sums.values.dtype == np.float64
    for name in SUM_NAMES:
        if name in COUNTS:
            assert sums[name] == expected[name], name
        else:
            slack = 1e-12 * float(expected["dot scale"]) if name == "dot_before_delta" else 0.0
            np.testing.assert_allclose(sums[name], float(expected[name]), rtol=1e-9, atol=slack, err_msg=name)
    return sums


@pytest.mark.parametrize("name", [*REAL, *COMPLEX])
@pytest.mark.parametrize("size", [0, 1, 1000, BLOCK_ELEMENTS + 1])
def test_all_sums_of_each_dtype(kernel, name, size):
    rng = np.random.default_rng(size)
    dtype = dtype_of(name)
    scale = 0.5 if name.startswith("float8") else 0.05
    check(kernel, make_weights(rng, size, dtype, scale), make_weights(rng, size, dtype, scale))


@pytest.mark.parametrize("size", SIZES)
def test_all_sums_at_the_edges_of_blocks(kernel, size):
    rng = np.random.default_rng(size)
    before = make_weights(rng, size, np.float32)
    check(kernel, before, before + make_weights(rng, size, np.float32, 1e-4))


@pytest.mark.parametrize("pair", [("float32", "bfloat16"), ("bfloat16", "float32"), ("float16", "float64")])
@pytest.mark.parametrize("kind", ["mixed precision", "real and complex"])
def test_sides_of_different_dtypes(kernel, pair, kind):
    rng = np.random.default_rng(3)
    before = make_weights(rng, 5000, dtype_of(pair[0]))
    after = make_weights(rng, 5000, np.dtype("complex64") if kind == "real and complex" else dtype_of(pair[1]))
    check(kernel, before, after)


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_byte_order(kernel, order):
    rng = np.random.default_rng(4)
    before, after = (make_weights(rng, 3000, np.float32) for _ in range(2))
    swapped = before.astype(np.dtype(np.float32).newbyteorder(order))
    assert kernel.measure(swapped, after).values.tobytes() == kernel.measure(before, after).values.tobytes()


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64", "float8_e5m2", "complex64"])
@pytest.mark.parametrize("where", ["before", "after", "both", "everywhere"])
def test_nonfinite_elements_count_only_as_such(kernel, name, where):
    rng = np.random.default_rng(5)
    dtype = dtype_of(name)
    before, after = (make_weights(rng, BLOCK_ELEMENTS + 500, dtype, 0.5) for _ in range(2))
    bad = np.array([np.nan, np.inf, -np.inf]).astype(dtype)
    if where in ("before", "both"):
        before[[3, 70, BLOCK_ELEMENTS + 2]] = bad
    if where in ("after", "both"):
        after[[3, 71, BLOCK_ELEMENTS + 3]] = bad
    if where == "everywhere":
        before[:] = bad[0]
    sums = check(kernel, before, after)
    assert np.isfinite(sums.values).all()
    num_bad = {"before": 3, "after": 3, "both": 5, "everywhere": before.size}[where]
    assert sums["n_valid"] == before.size - num_bad


def test_zeros_of_either_sign_are_the_same_weight(kernel):
    before = np.array([0.0, -0.0, 0.0, -0.0, 1.0, -1.0], dtype=np.float32)
    after = np.array([-0.0, 0.0, 1.0, -1.0, 0.0, -0.0], dtype=np.float32)
    sums = check(kernel, before, after)
    assert sums["changed"] == 4
    assert sums["sign_flips"] == 4
    assert sums["rel_n"] == 2
    assert sums["rel_sum"] == 2.0


def test_sign_flips_from_to_and_through_zero(kernel):
    sign = np.array([-1.0, 0.0, 1.0])
    before, after = (side.ravel() for side in np.meshgrid(sign, sign))
    sums = check(kernel, before, after)
    assert sums["sign_flips"] == 6
    assert check(kernel, np.abs(before), np.abs(after))["sign_flips"] == 4


@pytest.mark.parametrize("scale", [1e20, 1e30, 1e-30, 1e-40, 1e-44])
def test_extreme_float32_neither_overflows_nor_vanishes(kernel, scale):
    rng = np.random.default_rng(6)
    before, after = ((rng.normal(size=4000) * scale).astype(np.float32) for _ in range(2))
    before[::7] = 0.0
    sums = check(kernel, before, after)
    assert np.isfinite(sums.values).all()
    assert sums["sq_before"] > 0


def test_quotients_by_the_smallest_weights_do_not_overflow(kernel):
    before = np.array([1e-40, 1e-44, 0.0], dtype=np.float32)
    after = np.array([1.0, -1e38, 1.0], dtype=np.float32)
    assert np.isfinite(check(kernel, before, after)["rel_sum"])


def test_float64_beyond_its_squares_gives_inf_and_never_a_wrong_number(kernel):
    before, after = np.array([1e200, -1e200, 1.0]), np.array([1e200, 1e200, 2.0])
    sums = kernel.measure(before, after)
    assert sums["l1_delta"] == 2e200
    assert sums["changed"] == 2
    assert np.isinf(sums["sq_delta"])
    assert np.isinf(sums["sq_before"])


def test_a_kernel_gives_the_same_bits_wherever_the_bytes_lie():
    rng = np.random.default_rng(7)
    before, after = (make_weights(rng, 100_003, np.float32) for _ in range(2))
    expected = NumpyKernel().measure(before, after).values.tobytes()
    kernel = NumpyKernel()
    kernel.measure(after[:50_000], before[:50_000])  # whatever was in its buffers does not matter
    for shift in (1, 3, 4, 60):
        moved = np.empty(before.nbytes + shift, dtype=np.uint8)[shift:]
        moved[:] = before.view(np.uint8)
        assert kernel.measure(moved.view(np.float32), after).values.tobytes() == expected


def test_segments_are_whole_blocks():
    assert SEGMENT_ELEMENTS % BLOCK_ELEMENTS == 0


# Laws

finite = npst.arrays(
    np.float32, st.integers(1, 300), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False).map(np.float32)
)
two_sides = st.integers(1, 300).flatmap(
    lambda size: st.tuples(
        *(npst.arrays(np.float32, size, elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)) for _ in "ba")
    )
)


@given(finite, st.sampled_from(["numpy", "torch"]))
@settings(max_examples=60)
def test_unchanged_weights_give_zero(weights, name):
    sums = make_kernels()[name].measure(weights, weights.copy())
    for zero in ("l1_delta", "sq_delta", "dot_before_delta", "max_delta", "changed", "sign_flips", "rel_sum"):
        assert sums[zero] == 0, zero
    assert sums["l1_before"] == sums["l1_after"]
    assert sums["sq_before"] == sums["sq_after"]


@given(two_sides)
@settings(max_examples=60)
def test_torch_and_numpy_agree(sides):
    ours, theirs = (kernel.measure(*sides) for kernel in make_kernels().values())
    scale = np.sqrt(ours["sq_before"] * ours["sq_delta"])
    for name in SUM_NAMES:
        slack = 1e-12 * scale if name == "dot_before_delta" else 0.0
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, atol=slack, err_msg=name)


@given(two_sides, st.data())
@settings(max_examples=60)
def test_sums_of_a_whole_are_the_sums_of_its_parts(sides, data):
    kernel = NumpyKernel()
    before, after = sides
    cut = data.draw(st.integers(0, before.size))
    parts = Sums.of([kernel.measure(before[:cut], after[:cut]), kernel.measure(before[cut:], after[cut:])])
    whole = kernel.measure(before, after)
    scale = np.sqrt(whole["sq_before"] * whole["sq_delta"])
    for name in SUM_NAMES:
        slack = 1e-12 * scale if name == "dot_before_delta" else 0.0
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-9, atol=slack, err_msg=name)


@given(two_sides)
@settings(max_examples=60)
def test_the_order_of_elements_does_not_matter(sides):
    kernel = NumpyKernel()
    forward, backward = kernel.measure(*sides), kernel.measure(*(side[::-1] for side in sides))
    scale = np.sqrt(forward["sq_before"] * forward["sq_delta"])
    np.testing.assert_allclose(forward.values, backward.values, rtol=1e-9, atol=1e-12 * scale)


@given(two_sides, st.integers(-20, 20))
@settings(max_examples=60)
def test_scaling_both_sides_changes_no_ratio(sides, exponent):
    before, after = (side.astype(np.float64) for side in sides)
    factor = 2.0**exponent
    plain, scaled = NumpyKernel().measure(before, after), NumpyKernel().measure(before * factor, after * factor)
    gaps = np.array([4.0])
    with np.errstate(all="ignore"):
        for metric in METRICS.values():
            first, second = (metric.compute(Sums(s.values[None, None]), gaps) for s in (plain, scaled))
            np.testing.assert_array_equal(first, second, err_msg=metric.name)


def test_complex_weights_beyond_their_squares_do_not_warn():
    before, after = np.array([1e200 + 1e200j, 1.0]), np.array([-1e200j, 2.0])
    sums = NumpyKernel().measure(before, after)
    assert np.isinf(sums["sq_before"])
    assert np.isfinite(sums["l1_delta"])
