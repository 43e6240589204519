"""The fixtures of tests/reports, for tests in a browser; see tests/reports/example_trends.py."""

import importlib.util
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[1] / "reports" / "example_trends.py"
_SPEC = importlib.util.spec_from_file_location("example_trends", _PATH)
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)


@pytest.fixture
def example_module():
    return example


@pytest.fixture
def make_trends():
    return example.example_trends


@pytest.fixture
def trends():
    return example.example_trends()


@pytest.fixture
def hostile_trends():
    return example.example_trends(hostile=True)


@pytest.fixture
def kind_trends():
    return example.by_kind(example.example_trends())


@pytest.fixture
def hostile_names():
    return example.HOSTILE_NAMES
