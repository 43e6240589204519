"""No test opens a window; the example for fixtures that many tests share."""

import importlib.util
from pathlib import Path

import matplotlib as mpl
import pytest

mpl.use("Agg")

_PATH = Path(__file__).parents[1] / "example_trends.py"
_SPEC = importlib.util.spec_from_file_location("example_trends", _PATH)
_EXAMPLE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_EXAMPLE)


@pytest.fixture(scope="session")
def example_trends_module():
    return _EXAMPLE
