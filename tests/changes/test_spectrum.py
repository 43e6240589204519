"""The largest singular value against a full decomposition in float64, and laws of norms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.changes.spectrum import BLOCK, ROUNDING, SMALL, TOLERANCE, Search, find_norm

SHAPES = [(1, 7), (7, 1), (1, 1), (5, 3), (40, 200), (SMALL + 1, 400), (400, SMALL + 1), (200, 200), (300, 150)]
RNG = np.random.default_rng(0)


def make_matrix(shape, kind, seed=0):
    """A matrix with a spectrum of a kind, float64."""
    rng = np.random.default_rng(seed)
    if kind == "normal":
        return rng.standard_normal(shape)
    size = min(shape)
    place = np.arange(1, size + 1)
    values = {
        "equal": np.ones(size),
        "slow power": place**-0.1,
        "power": 1 / place,
        "linear": 1 - (place - 1) / size,
        "low rank": np.where(place <= 3, 1.0, 1e-9),
        "close pair": np.where(place == 1, 1.0, np.where(place == 2, 0.999, 0.5)),
    }[kind]
    left = np.linalg.qr(rng.standard_normal((shape[0], size)))[0]
    right = np.linalg.qr(rng.standard_normal((shape[1], size)))[0]
    return (left * values) @ right.T


KINDS = ["normal", "equal", "slow power", "power", "linear", "low rank", "close pair"]


def check(norm, matrix):
    """The norm is within its stated error of that of a full decomposition, and the error within what is promised."""
    true = np.linalg.norm(matrix, 2)
    assert abs(norm.value - true) <= (norm.error + ROUNDING) * true
    assert norm.error <= TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_norm_is_that_of_a_full_decomposition_within_the_error_stated(shape, kind):
    matrix = make_matrix(shape, kind)
    check(find_norm(matrix.astype(np.float32)), matrix)


@pytest.mark.parametrize("shape", [(30, 20), (150, 300)])
def test_complex_matrices_have_norms_as_well(shape):
    matrix = make_matrix(shape, "normal") + 1j * make_matrix(shape, "normal", 1)
    check(find_norm(matrix.astype(np.complex64)), matrix)


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(KINDS), st.integers(0, 9))
def test_laws_of_norms(rows, columns, kind, seed):
    matrix = make_matrix((rows, columns), kind, seed).astype(np.float32)
    norm = find_norm(matrix)
    square = float((matrix.astype(np.float64) ** 2).sum())
    slack = 2 * (norm.error + ROUNDING)
    assert norm.value <= square**0.5 * (1 + ROUNDING)
    assert 1 - slack <= square / norm.value**2 <= min(rows, columns) * (1 + slack)
    assert find_norm(matrix * np.float32(1024)).value == pytest.approx(1024 * norm.value, rel=slack)
    assert find_norm(np.ascontiguousarray(matrix.T)).value == pytest.approx(norm.value, rel=slack)
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((rows, rows)))[0]
    assert find_norm((turn @ matrix).astype(np.float32)).value == pytest.approx(norm.value, rel=slack)


@pytest.mark.parametrize("kind", KINDS)
def test_a_warm_start_ends_where_a_cold_one_does(kind):
    first = make_matrix((200, 260), kind)
    second = first + 1e-3 * make_matrix((200, 260), "normal", 1) / 30
    start = find_norm(first.astype(np.float32)).vectors
    warm, cold = find_norm(second.astype(np.float32), start), find_norm(second.astype(np.float32))
    check(warm, second)
    assert warm.value == pytest.approx(cold.value, rel=warm.error + cold.error)


@pytest.mark.parametrize("rise", [1.1, 1.5, 3])
def test_a_warm_start_sees_a_new_direction(rise):
    first = make_matrix((260, 200), "normal") / 60 + 2 * make_matrix((260, 200), "low rank")
    start = find_norm(first.astype(np.float32)).vectors
    left, right = (make_matrix((size, 1), "equal", 5) for size in (260, 200))
    second = first + rise * np.linalg.norm(first, 2) * left @ right.T
    check(find_norm(second.astype(np.float32), start), second)


def test_a_start_of_another_length_is_no_start():
    matrix = make_matrix((200, 300), "normal").astype(np.float32)
    assert find_norm(matrix, np.ones((7, 2))).value == find_norm(matrix).value


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_that_may_keep_few_vectors_goes_on_with_the_best(kind):
    matrix = make_matrix((300, 260), kind)
    search = Search(260, max_columns=3 * BLOCK)
    while not search.done:
        assert search.block.shape[1] <= BLOCK
        search.take(matrix.T @ (matrix @ search.block))
    true = np.linalg.norm(matrix, 2)
    assert abs(search.result().value - true) <= (search.result().error + ROUNDING) * true


def test_of_nothing_the_norm_is_nothing():
    search = Search(300)
    search.take(np.zeros_like(search.block))
    assert search.done
    assert search.result().value == 0
