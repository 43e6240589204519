"""The largest singular value of a matrix, by a block Krylov space: what is asked of the matrix are products alone.

Of a block of vectors V, A'A V is asked, again and again; the products span a space in which the largest singular
value is found by Rayleigh and Ritz. Half of the first block may be where an earlier search ended; the other half is
random, so that no start, however bad, hides a direction for good.

References:
    docs/method.md, "Spectral norms"; Golub and Underwood, 1977; Musco and Musco, arXiv 1504.05477.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

BLOCK: Final = 8
"""Vectors that a matrix is multiplied by at once: one pass over memory serves them all."""
TOLERANCE: Final = 1e-3
"""Relative error at which a search ends: half the residual, which bounds how far a singular value is."""
ROUNDING: Final = 1e-6
"""What products in float32 leave of relative error: the least that is ever stated."""
MAX_COLUMNS: Final = 128
SMALL: Final = 128
"""Of a matrix with no more columns, all of A'A is made."""
_KEPT: Final = BLOCK // 2
_MIN_STEPS: Final = 4
_MAX_STEPS: Final = 64
_SEED: Final = 2310_17813

Block = NDArray[Any]
"""float64 or complex128 array of shape (size, columns)."""


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """A spectral norm.

    Attributes:
        value: The norm; at most the true one, but for rounding.
        error: Its relative error: a singular value lies within it.
        vectors: Where the search ended, of shape (size, columns); None where none was needed.
    """

    value: float
    error: float
    vectors: Block | None = None


class Search:
    """A search for the largest singular value of a matrix A: `block` is to be multiplied by A'A and given to `take`.

    Args:
        size: Length of the vectors: columns of A.
        tolerance: Relative error at which to end.
        start: Where an earlier search of a similar matrix ended, of shape (size, columns), or None.
        max_columns: Most vectors to keep; the best go on where there would be more.
        dtype: float64, or complex128 where A is complex.

    Attributes:
        block: What is to be multiplied next, of shape (size, columns).
        done: Whether the search has ended.
    """

    def __init__(
        self,
        size: int,
        tolerance: float = TOLERANCE,
        start: Block | None = None,
        max_columns: int = MAX_COLUMNS,
        dtype: Any = np.float64,  # noqa: ANN401 - a dtype
    ) -> None:
        random = np.random.Generator(np.random.Philox(key=np.array([_SEED, size], dtype=np.uint64)))
        block = random.standard_normal((size, min(BLOCK, size))).astype(dtype)
        if start is not None and start.shape[0] == size:
            kept = min(start.shape[1], block.shape[1] - 1)
            block[:, :kept] = start[:, :kept]
        self.block: Block = np.linalg.qr(block)[0]
        self.done = False
        self._tolerance = tolerance
        self._max_columns = max(max_columns, 3 * BLOCK)
        self._basis: Block = np.empty((size, 0), dtype=dtype)
        self._products = self._basis
        self._num_steps = 0
        self._norm = Norm(0.0, 1.0)

    def take(self, products: Block) -> None:
        """Take in A'A times `block`, and say what is to be multiplied next."""
        self._num_steps += 1
        self._basis = np.hstack([self._basis, self.block])
        self._products = np.hstack([self._products, products])
        inner = self._basis.conj().T @ self._products
        _, turns = np.linalg.eigh((inner + inner.conj().T) / 2)
        turns = turns[:, ::-1]
        self._judge(turns)
        complete = self._basis.shape[1] >= self._basis.shape[0]
        enough = self._norm.error <= self._tolerance and self._num_steps >= _MIN_STEPS
        self.done = complete or enough or self._num_steps == _MAX_STEPS or self._norm.value == 0
        if not self.done:
            self._extend(products, turns)

    def result(self, scale: float = 1.0) -> Norm:
        """What was found, times a scale."""
        return Norm(self._norm.value * scale, max(self._norm.error, ROUNDING), self._norm.vectors)

    def _judge(self, turns: Block) -> None:
        best = self._basis @ turns[:, :_KEPT]
        x, z = best[:, 0], self._products @ turns[:, 0]
        length = float(np.vdot(x, x).real)
        value = max(float(np.vdot(x, z).real) / length, 0.0)  # of any x, orthonormal basis or not: at most the largest
        error = float(np.linalg.norm(z - value * x)) / (2 * value * length**0.5) if value else 0.0
        self._norm = Norm(value**0.5, error, best)

    def _extend(self, products: Block, turns: Block) -> None:
        columns = self.block.shape[1]
        if self._basis.shape[1] + columns > self._max_columns:
            best = turns[:, : 2 * columns]
            self._basis, self._products = self._basis @ best, self._products @ best
            x, products = self._basis[:, :columns], self._products[:, :columns]
            products = products - x * np.einsum("ij,ij->j", x.conj(), products)
        columns = min(columns, self._basis.shape[0] - self._basis.shape[1])
        block = products[:, :columns]
        for _ in range(2):
            block = np.linalg.qr(block - self._basis @ (self._basis.conj().T @ block))[0]
        self.block = block


def find_norm(matrix: NDArray[Any], start: Block | None = None, tolerance: float = TOLERANCE) -> Norm:
    """The spectral norm of a matrix in memory.

    Args:
        matrix: float32 or complex64 array of shape (M, N), finite, of elements whose squares are, too.
        start: The `vectors` of the norm of a similar matrix, or None.
        tolerance: Relative error at which to end.
    """
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    if tall.shape[1] <= SMALL:
        return _find_small(tall)
    wide = np.dtype(np.complex128 if matrix.dtype.kind == "c" else np.float64)
    search = Search(tall.shape[1], tolerance, start, dtype=wide)
    while not search.done:
        search.take(multiply_gram(tall, search.block))
    return search.result()


def multiply_gram(matrix: NDArray[Any], block: Block) -> Block:
    """A'A times a block, by way of A times the block."""
    half = matrix @ block.astype(matrix.dtype)
    products: Block = (matrix.conj().T @ half).astype(block.dtype)
    return products


def _find_small(tall: NDArray[Any]) -> Norm:
    """The norm of a matrix with few columns."""
    wide = np.complex128 if tall.dtype.kind == "c" else np.float64
    gram: Block = np.zeros((tall.shape[1], tall.shape[1]), dtype=wide)
    step = max(1, 2**18 // max(1, tall.shape[1]))
    for start in range(0, tall.shape[0], step):
        rows = tall[start : start + step].astype(wide)
        gram += rows.conj().T @ rows
    return Norm(max(float(np.linalg.eigvalsh(gram)[-1]), 0.0) ** 0.5, ROUNDING)
