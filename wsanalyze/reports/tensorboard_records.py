"""Records of the files that TensorBoard reads: a length, the bytes, and a checksum of each.

The checksum is CRC-32C. In Python, byte by byte, it would take most of the time of a large report; here NumPy takes
many pieces of the bytes at once, and puts their checksums together.

References:
    https://www.tensorflow.org/tutorials/load_data/tfrecord
"""

import functools
import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL: Final = 0x82F63B78
_ONES: Final = 0xFFFFFFFF
_MASK_DELTA: Final = 0xA282EAD8
_PIECE: Final = 256  # bytes that one checksum of many takes


def frame(content: bytes) -> bytes:
    """The bytes as a record."""
    length = struct.pack("<Q", len(content))
    return b"".join([length, _mask(crc32c(length)), content, _mask(crc32c(content))])


def crc32c(content: bytes) -> int:
    """The CRC-32C of some bytes, 0 to 2^32 - 1."""
    if len(content) < 4:  # noqa: PLR2004 - bytes of the register
        return _advance(content) ^ _ONES
    # Zeros in front change nothing in a register of zeros; the ones that it begins with are added to the first bytes.
    padding = -len(content) % _PIECE
    data = np.frombuffer(bytes(padding) + content, dtype=np.uint8).astype(np.uint32)
    data[padding : padding + 4] ^= 0xFF
    data = data.reshape(-1, _PIECE)
    registers = np.zeros(len(data), dtype=np.uint32)
    table = _make_table()
    for column in data.T:
        registers = table[(registers ^ column) & 0xFF] ^ (registers >> 8)
    first, second, third, fourth = _make_jumps()
    total = 0
    for register in registers.tolist():
        total = (
            first[total & 0xFF] ^ second[total >> 8 & 0xFF] ^ third[total >> 16 & 0xFF] ^ fourth[total >> 24] ^ register
        )
    return total ^ _ONES


def _advance(content: bytes) -> int:
    """A register of ones after some bytes."""
    register = _ONES
    for byte in content:
        register = int(_make_table()[(register ^ byte) & 0xFF]) ^ (register >> 8)
    return register


def _mask(checksum: int) -> bytes:
    """The checksum as a record holds it."""
    turned = (checksum >> 15 | checksum << 17) & _ONES
    return struct.pack("<I", (turned + _MASK_DELTA) & _ONES)


@functools.cache
def _make_table() -> NDArray[np.uint32]:
    """What one byte makes of a register, uint32 of shape (256,)."""
    one, polynomial = np.uint32(1), np.uint32(_POLYNOMIAL)
    table: NDArray[np.uint32] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> one) ^ (table & one) * polynomial
    return table


@functools.cache
def _make_jumps() -> list[list[int]]:
    """What a piece of zeros makes of each of the four bytes of a register, a table of 256 numbers for each."""
    registers = np.arange(256, dtype=np.uint32) << np.arange(0, 32, 8, dtype=np.uint32)[:, None]
    table = _make_table()
    for _ in range(_PIECE):
        registers = table[registers & 0xFF] ^ (registers >> 8)
    tables: list[list[int]] = registers.tolist()
    return tables
