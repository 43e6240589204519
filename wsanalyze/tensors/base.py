"""The contract of tensors: where the elements of each named tensor lie, without a look at them."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.series import Skip
from wsanalyze.tensors.dtypes import DTYPES, DType, numpy_dtype

WEIGHTS: Final = ("model", "ema")
"""The sets of weights that a checkpoint may hold: as trained, and their exponential moving average."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of bytes that holds elements of a tensor.

    The only piece of a tensor holds all of it. Where there are several, each says which part it holds: a run of
    elements in C order, or a box, itself in C order. Together they cover the tensor once.

    Attributes:
        file: In which file.
        offset: Where in it, in bytes.
        nbytes: How many bytes.
        strides: Distance between neighbours of each axis, in elements; None where they are contiguous (C order).
            Only the only piece of a tensor has any.
        byteorder: "little" or "big".
        corner: Where its part begins: (first element,) for a run, an index along every axis for a box; () for the
            whole tensor.
        extent: How large its part is: (elements,) for a run, a size along every axis for a box; () for the whole.
    """

    file: FileRef
    offset: int
    nbytes: int
    strides: tuple[int, ...] | None = None
    byteorder: str = "little"
    corner: tuple[int, ...] = ()
    extent: tuple[int, ...] = ()


ReadElements = Callable[["TensorInfo", int, int], NDArray[Any]]
"""Reads the elements from `start` to `stop` of a tensor, in C order: an array of shape (stop - start,)."""


class Derivation(Protocol):
    """How the elements of a derived tensor are computed from tensors that are stored.

    Implementations are frozen dataclasses: two are equal if they compute the same from the same bytes.
    """

    @property
    def inputs(self) -> tuple["TensorInfo", ...]:
        """The tensors that it is computed from."""

    @property
    def text(self) -> str:
        """What it is derived from, in a few words for people: "weight_g and weight_v"."""

    def reads(self, start: int, stop: int) -> Iterable[tuple["TensorInfo", int, int]]:
        """The runs of elements of its inputs that `compute` reads for a run of its own: (input, start, stop) each."""

    def compute(self, start: int, stop: int, read: ReadElements) -> NDArray[np.float64]:
        """Compute a run of elements.

        Args:
            start: The first element of the derived tensor, in C order.
            stop: One behind the last.
            read: Reads elements of the inputs.

        Returns:
            float64 array of shape (stop - start,).
        """


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a checkpoint.

    Attributes:
        name: Its full name.
        dtype: Name of its dtype; "float64" for a derived tensor.
        shape: Its shape.
        pieces: What holds its elements; for a derived tensor, the pieces of all that it is computed from.
        derivation: How it is computed, where it is not stored as it is.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]
    derivation: Derivation | None = None

    @property
    def type(self) -> DType:
        """Its element type."""
        return DTYPES[self.dtype]

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def contiguous(self) -> bool:
        """Whether its elements come one after another in C order, from one piece, from several, or computed."""
        return self.derivation is not None or all(piece.strides is None for piece in self.pieces)

    @property
    def dense(self) -> bool:
        """Whether its elements fill one run of bytes without holes, in whatever order."""
        return self.contiguous or (
            len(self.pieces) == 1 and self.pieces[0].nbytes == self.numel * self.type.itemsize and self._permuted()
        )

    def _permuted(self) -> bool:
        expected = 1
        strides = self.pieces[0].strides or ()
        for stride, size in sorted((s, n) for s, n in zip(strides, self.shape, strict=True) if n > 1):
            if stride != expected:
                return False
            expected *= size
        return True

    def view(self, data: NDArray[np.uint8]) -> NDArray[Any]:
        """Its elements, from the bytes of its only piece, without copying any.

        Args:
            data: uint8 array of shape (nbytes,).

        Returns:
            Array of the tensor's shape and of the dtype that `numpy_dtype` gives.
        """
        piece = self.pieces[0]
        elements = data.view(numpy_dtype(self.dtype, piece.byteorder))
        if piece.strides is None:
            return elements.reshape(self.shape)
        strides = tuple(stride * elements.itemsize for stride in piece.strides)
        # numpy.lib.stride_tricks knows nothing of float8; and this checks that the strides stay within the bytes.
        return np.ndarray(self.shape, elements.dtype, elements, strides=strides)


@dataclass(frozen=True, slots=True)
class TensorSet:
    """What one file holds.

    Attributes:
        infos: For each set of weights that it has ("model", "ema") its tensors by name, in the file's order.
        ordered: Whether that order is the model's own.
        skips: Tensors that cannot even be described (sparse, quantised, of a dtype that is not known).
    """

    infos: Mapping[str, Mapping[str, TensorInfo]]
    ordered: bool
    skips: tuple[Skip, ...] = field(default=())


class TensorReader(Protocol):
    """Reads the tensors of one file of one format."""

    def __call__(self, contents: Any, source: ByteSource, file: FileRef, /) -> TensorSet:  # noqa: ANN401 - each its own
        """List the tensors of a file from its header.

        Args:
            contents: The structure of the file, of the kind that the reader is registered for.
            source: Where its bytes come from; no weights are read.
            file: The file.

        Returns:
            Its tensors, or none.

        Raises:
            CheckpointError: If the file is damaged.
        """
