"""Configurations that trainers leave beside the weights: adapter_config.json, config.json."""

import json
from pathlib import Path
from typing import Any, Final

from wsanalyze.checkpoints.tree import TreePath, list_file, read_start
from wsanalyze.errors import CheckpointError

_MAX_BYTES: Final = 4_000_000


def read_config(folder: TreePath | str, name: str) -> dict[str, Any]:
    """Read a JSON file that lies beside the weights.

    Args:
        folder: The folder of the weights, a path on disk where it is text; it need not exist.
        name: Name of the file.

    Returns:
        What it holds; nothing where there is no such file.

    Raises:
        CheckpointError: If it is no JSON object, no regular file, too large, or cannot be read.
    """
    path = Path(folder) / name if isinstance(folder, str) else folder / name
    try:
        if not path.exists():
            return {}
    except (OSError, ValueError):  # a name that no file can have, or a folder that may not be looked into
        return {}
    size = list_file(path).size
    if size > _MAX_BYTES:
        raise CheckpointError(f"is larger than {_MAX_BYTES // 10**6} MB: no configuration", path)
    try:
        data = read_start(path, size)
    except OSError as error:
        raise CheckpointError(f"cannot be read ({(error.strerror or str(error)).lower()})", path) from error
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError("is no JSON: damaged", path) from error
    if not isinstance(found, dict):
        raise CheckpointError("is no JSON object: damaged", path)
    return found
