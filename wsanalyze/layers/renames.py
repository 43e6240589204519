"""Names of tensors that changed between checkpoints: renaming on demand, and suggestions."""

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from wsanalyze.errors import UsageError

_Value = TypeVar("_Value")


def rename_tensors(tensors: Mapping[str, _Value], renames: Sequence[tuple[str, str]]) -> dict[str, _Value]:
    """Apply renames to the names of a checkpoint's tensors.

    Args:
        tensors: Anything by full name of a tensor.
        renames: (regular expression, replacement) pairs as of `re.sub`, applied one after another to every name.

    Returns:
        The same by the new names, in the same order.

    Raises:
        UsageError: If two tensors of the checkpoint would have the same name.
    """
    found = dict(tensors)
    for pattern, replacement in renames:
        renamed: dict[str, _Value] = {}
        for name, value in found.items():
            new = re.sub(pattern, replacement, name)
            if new in renamed:
                raise UsageError(f"--rename {pattern}={replacement} gives two tensors the name {new!r}")
            renamed[new] = value
        found = renamed
    return found
