from typing import Any

from numpy.typing import NDArray

def measure(
    before: NDArray[Any],
    after: NDArray[Any],
    runs: NDArray[Any],
    tables: NDArray[Any],
    sums: NDArray[Any],
    vectors: int,
    /,
) -> None: ...
def walk(
    descriptors: NDArray[Any],
    offsets: NDArray[Any],
    rooms: NDArray[Any],
    num_rooms: int,
    pairs: NDArray[Any],
    segments: NDArray[Any],
    tables: NDArray[Any],
    sums: NDArray[Any],
    vectors: int,
    /,
) -> bool: ...
def vectors() -> tuple[str, ...]: ...
