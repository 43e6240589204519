"""All sums against a float64 computation written on its own, and the laws that any kernel obeys."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from wsanalyze.changes.base import SEGMENT_ELEMENTS
from wsanalyze.changes.compiled import CompiledKernel, is_compiled, list_vectors
from wsanalyze.changes.kernels import BLOCK_ELEMENTS, NumpyKernel, measure_arrays
from wsanalyze.changes.torch_kernel import TorchKernel
from wsanalyze.metrics import METRICS
from wsanalyze.sums import SUM_NAMES, Sums

COUNTS = ("n", "n_valid", "nonfinite_before", "nonfinite_after", "changed", "sign_flips", "rel_n")
REAL = ("float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2")
COMPLEX = ("complex64", "complex128")
SIZES = (0, 1, 2, 2047, 2048, 2049, BLOCK_ELEMENTS - 1, BLOCK_ELEMENTS, BLOCK_ELEMENTS + 1, 3 * BLOCK_ELEMENTS + 77)


VECTORS = ("plain", "avx2", "avx512")
KERNELS = ("numpy", "torch", *VECTORS)
# Of float32, sums of absolute values are taken in float32 over a few additions.
TOLERANCES = {"numpy": 1e-9, "torch": 1e-9} | dict.fromkeys(VECTORS, 3e-7)


def make_kernel(name):
    if name == "numpy":
        return NumpyKernel()
    if name == "torch":
        return TorchKernel("cpu")
    if name not in list_vectors():
        pytest.skip("not compiled" if not is_compiled() else f"this processor has no {name}")
    return CompiledKernel(name)


@pytest.fixture(params=KERNELS)
def kernel(request):
    made = make_kernel(request.param)
    made.tolerance = TOLERANCES[request.param]
    return made


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
    sums = measure_arrays(kernel, before, after)
    expected = expect_sums(before, after)
    assert sums.values.shape == (len(SUM_NAMES),)
    assert sums.values.dtype == np.float64
    for name in SUM_NAMES:
        if name in COUNTS:
            assert sums[name] == expected[name], name
        else:
            slack = 1e-12 * float(expected["dot scale"]) if name == "dot_before_delta" else 0.0
            np.testing.assert_allclose(
                sums[name], float(expected[name]), rtol=kernel.tolerance, atol=slack, err_msg=name
            )
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
    assert (
        measure_arrays(kernel, swapped, after).values.tobytes()
        == measure_arrays(kernel, before, after).values.tobytes()
    )


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
    sums = measure_arrays(kernel, before, after)
    assert sums["l1_delta"] == 2e200
    assert sums["changed"] == 2
    assert np.isinf(sums["sq_delta"])
    assert np.isinf(sums["sq_before"])


def test_a_kernel_gives_the_same_bits_wherever_the_bytes_lie():
    rng = np.random.default_rng(7)
    before, after = (make_weights(rng, 100_003, np.float32) for _ in range(2))
    expected = measure_arrays(NumpyKernel(), before, after).values.tobytes()
    kernel = NumpyKernel()
    measure_arrays(kernel, after[:50_000], before[:50_000])  # whatever was in its buffers does not matter
    for shift in (1, 3, 4, 60):
        moved = np.empty(before.nbytes + shift, dtype=np.uint8)[shift:]
        moved[:] = before.view(np.uint8)
        assert measure_arrays(kernel, moved.view(np.float32), after).values.tobytes() == expected


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
    sums = measure_arrays(make_kernel(name), weights, weights.copy())
    for zero in ("l1_delta", "sq_delta", "dot_before_delta", "max_delta", "changed", "sign_flips", "rel_sum"):
        assert sums[zero] == 0, zero
    assert sums["l1_before"] == sums["l1_after"]
    assert sums["sq_before"] == sums["sq_after"]


@given(two_sides)
@settings(max_examples=60)
def test_all_kernels_agree(sides):
    others = [TorchKernel("cpu"), *(CompiledKernel(vectors) for vectors in list_vectors())]
    ours = measure_arrays(NumpyKernel(), *sides)
    scale = np.sqrt(ours["sq_before"] * ours["sq_delta"])
    for kernel in others:
        theirs = measure_arrays(kernel, *sides)
        for name in SUM_NAMES:
            slack = 1e-12 * scale if name == "dot_before_delta" else 0.0
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, atol=slack, err_msg=name)


def test_a_hundred_million_elements_are_as_right_as_a_few(kernel):
    """Where sums of float32 in float32 are wrong by tens of per cent: the same weights many times over."""
    rng = np.random.default_rng(8)
    before = make_weights(rng, 10**6, np.float32)
    after = before + make_weights(rng, 10**6, np.float32, 1e-4)
    expected = expect_sums(before, after)
    sums = measure_arrays(kernel, np.tile(before, 100), np.tile(after, 100))
    for name in SUM_NAMES:
        factor = 1 if name == "max_delta" else 100
        slack = 1e-12 * float(expected["dot scale"]) if name == "dot_before_delta" else 0.0
        np.testing.assert_allclose(
            sums[name], float(expected[name]) * factor, rtol=kernel.tolerance, atol=slack, err_msg=name
        )


@pytest.mark.skipif(not is_compiled(), reason="not compiled")
@pytest.mark.parametrize("field", range(5))
@pytest.mark.parametrize("value", [-1, 10**6, 2**62, -(2**63)])
def test_what_does_not_lie_in_a_buffer_is_refused(field, value):
    from wsanalyze.changes import _sums

    side = np.zeros(64, dtype=np.uint8)
    run = np.array([[0, 0, 0, 0, 16]])
    run[0, field] = value
    with pytest.raises(ValueError, match="does not lie in its buffer"):
        _sums.measure(side, side, run, np.zeros((1, 256), np.float32), np.zeros((1, 16)), 0)


@given(two_sides, st.data())
@settings(max_examples=60)
def test_sums_of_a_whole_are_the_sums_of_its_parts(sides, data):
    kernel = NumpyKernel()
    before, after = sides
    cut = data.draw(st.integers(0, before.size))
    parts = Sums.of(
        [measure_arrays(kernel, before[:cut], after[:cut]), measure_arrays(kernel, before[cut:], after[cut:])]
    )
    whole = measure_arrays(kernel, before, after)
    scale = np.sqrt(whole["sq_before"] * whole["sq_delta"])
    for name in SUM_NAMES:
        slack = 1e-12 * scale if name == "dot_before_delta" else 0.0
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-9, atol=slack, err_msg=name)


@given(two_sides)
@settings(max_examples=60)
def test_the_order_of_elements_does_not_matter(sides):
    kernel = NumpyKernel()
    forward, backward = measure_arrays(kernel, *sides), measure_arrays(kernel, *(side[::-1] for side in sides))
    scale = np.sqrt(forward["sq_before"] * forward["sq_delta"])
    np.testing.assert_allclose(forward.values, backward.values, rtol=1e-9, atol=1e-12 * scale)


@given(two_sides, st.integers(-20, 20))
@settings(max_examples=60)
def test_scaling_both_sides_changes_no_ratio(sides, exponent):
    before, after = (side.astype(np.float64) for side in sides)
    factor = 2.0**exponent
    plain, scaled = (
        measure_arrays(NumpyKernel(), before, after),
        measure_arrays(NumpyKernel(), before * factor, after * factor),
    )
    gaps = np.array([4.0])
    with np.errstate(all="ignore"):
        for metric in (metric for metric in METRICS.values() if not (metric.path or metric.norms)):
            first, second = (metric.compute(Sums(s.values[None, None]), gaps) for s in (plain, scaled))
            np.testing.assert_array_equal(first, second, err_msg=metric.name)


def test_complex_weights_beyond_their_squares_do_not_warn():
    before, after = np.array([1e200 + 1e200j, 1.0]), np.array([-1e200j, 2.0])
    sums = measure_arrays(NumpyKernel(), before, after)
    assert np.isinf(sums["sq_before"])
    assert np.isfinite(sums["l1_delta"])
