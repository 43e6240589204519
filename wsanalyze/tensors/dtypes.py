"""Element types: what formats call them, how large they are, and how NumPy sees them."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np


@dataclass(frozen=True, slots=True)
class DType:
    """One element type.

    Attributes:
        name: Its name, as torch writes it ("bfloat16").
        itemsize: Bytes of one element; 0 where elements are smaller than a byte.
        floating: Whether it holds weights that can be compared: real or complex floating point.
    """

    name: str
    itemsize: int
    floating: bool


_MAX_SHOWN_CHARS: Final = 100
SCALED_FLOAT8: Final = "scaled float8"
"""What float8 is called that holds codes, to be multiplied by scales which lie beside it: no weights as they are."""

_FLOATING: Final = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "float8_e4m3fn": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2": 1,
    "float8_e5m2fnuz": 1,
    "complex64": 8,
    "complex128": 16,
}
_DIGITS: Final = {
    "float64": 52,
    "float32": 23,
    "float16": 10,
    "bfloat16": 7,
    "float8_e4m3fn": 3,
    "float8_e4m3fnuz": 3,
    "float8_e5m2": 2,
    "float8_e5m2fnuz": 2,
    "complex64": 23,
    "complex128": 52,
}
_OTHER: Final = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "uint16": 2,
    "int16": 2,
    "uint32": 4,
    "int32": 4,
    "uint64": 8,
    "int64": 8,
    "qint8": 1,
    "quint8": 1,
    "qint32": 4,
    "float8_e8m0fnu": 1,  # scales of block formats, not weights
    "packed": 0,
    SCALED_FLOAT8: 1,
}
DTYPES: Final = {name: DType(name, size, floating=True) for name, size in _FLOATING.items()} | {
    name: DType(name, size, floating=False) for name, size in _OTHER.items()
}

SAFETENSORS_NAMES: Final = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "F4": "packed",
    "F6_E2M3": "packed",
    "F6_E3M2": "packed",
    "C64": "complex64",
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
}

ONNX_TYPES: Final = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    21: "packed",
    22: "packed",
    23: "packed",
    24: "float8_e8m0fnu",
    25: "packed",
    26: "packed",
    27: "packed",
    28: "packed",
}
"""By number of TensorProto.DataType; 8, text, is no number."""

TORCH_STORAGES: Final = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
}


def name_unknown(kind: str, name: str) -> str:
    """Name what a file says and nobody knows, in one short line whatever it is."""
    return (
        f"{kind} {name}"
        if name.isprintable() and len(name) <= _MAX_SHOWN_CHARS
        else f"{kind} {name[:_MAX_SHOWN_CHARS]!r}"
    )


def relative_rounding(name: str) -> float:
    """How far at most a number of ordinary size is from the nearest one of a dtype, relative to itself.

    Args:
        name: Name of any dtype.

    Returns:
        2 to the power of minus (binary digits behind the point + 1); 0 for what holds no weights.
    """
    digits = _DIGITS.get(name)
    return 0.0 if digits is None else 2.0 ** -(digits + 1)


@cache
def numpy_dtype(name: str, byteorder: str = "little") -> np.dtype[Any]:
    """The NumPy dtype of a floating dtype's elements as they lie in a file.

    Args:
        name: Name of a floating dtype.
        byteorder: "little" or "big".

    Returns:
        A dtype that `astype(numpy.float64)` understands (for bfloat16 and float8 that of ml_dtypes).
    """
    if name.startswith(("bfloat", "float8")):
        import ml_dtypes

        found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return found.newbyteorder(">") if byteorder == "big" and found.itemsize > 1 else found
    return np.dtype(name).newbyteorder(">" if byteorder == "big" else "<")
