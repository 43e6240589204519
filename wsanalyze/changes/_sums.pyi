from typing_extensions import Buffer

def measure(before: Buffer, after: Buffer, runs: Buffer, tables: Buffer, sums: Buffer, vectors: int, /) -> None: ...
def walk(
    descriptors: Buffer,
    offsets: Buffer,
    num_sides: int,
    segments: Buffer,
    tables: Buffer,
    sums: Buffer,
    vectors: int,
    /,
) -> bool: ...
def vectors() -> tuple[str, ...]: ...
