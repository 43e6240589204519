"""JSON as reports write it: plain ASCII values, one line for each thing that a person may look for."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def plain_json(value: object) -> Any:  # noqa: ANN401 - any JSON value
    r"""Plain JSON values: no NumPy types, no number that is not finite (null instead), no lone surrogate.

    Args:
        value: Mappings, sequences, arrays, numbers, text and None, nested as they may be.

    Returns:
        The same as dicts, lists, strings, numbers and None; a lone surrogate becomes the six characters `\udc80`.
    """
    if isinstance(value, np.ndarray):
        return _plain_array(value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, int | float):
        return value if value is None or math.isfinite(value) else None
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {plain_json(str(key)): plain_json(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [plain_json(item) for item in value]
    return value


def _plain_array(values: NDArray[Any]) -> list[Any]:
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, None)  # type: ignore[call-overload] # of objects, which it allows
    if values.dtype.kind in "biu" or (values.dtype.kind == "O" and values.ndim):
        return list(values.tolist())
    return [plain_json(value) for value in values]


def dump_document(document: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """JSON text with one line a key and one a list entry that is an object: versions compare well.

    Args:
        document: Keys and JSON values; an iterator as a value is of objects, which are not held all at once.

    Yields:
        The text, piece by piece.

    Raises:
        ValueError: If a number is not finite.
    """
    start = "{\n "
    for key, value in document:
        yield f"{start}{_dump(key)}: "
        start = ",\n "
        if isinstance(value, Iterator) or (value and isinstance(value, list) and isinstance(value[0], dict)):
            yield from _dump_objects(value)
        else:
            yield _dump(value)
    yield "\n}\n"


def _dump_objects(objects: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    start = "[\n  "
    for each in objects:
        yield f"{start}{_dump(each)}"
        start = ",\n  "
    yield "[]" if start.startswith("[") else "\n ]"


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False)
