"""Configurations that trainers leave beside the weights: adapter_config.json, config.json."""

import json
from pathlib import Path
from typing import Any, Final

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import read_bytes
from wsanalyze.files.local import LocalFiles, stat_file

_MAX_BYTES: Final = 4_000_000


def read_config(folder: str, name: str) -> dict[str, Any]:
    """Read a JSON file that lies beside the weights.

    Args:
        folder: The folder of the weights; it need not exist.
        name: Name of the file.

    Returns:
        What it holds; nothing where there is no such file.

    Raises:
        CheckpointError: If it is no JSON object, no regular file, or too large.
    """
    path = Path(folder, name)
    try:
        if not path.exists():
            return {}
    except (OSError, ValueError):  # a name that no file can have, or a folder that may not be looked into
        return {}
    file = stat_file(path)
    if file.size > _MAX_BYTES:
        raise CheckpointError(f"is larger than {_MAX_BYTES // 10**6} MB: no configuration", path)
    with LocalFiles() as files:
        data = read_bytes(files, file, 0, file.size)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError("is no JSON: damaged", path) from error
    if not isinstance(found, dict):
        raise CheckpointError("is no JSON object: damaged", path)
    return found
