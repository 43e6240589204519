"""Fixtures of the tests of reports; see example_trends.py for what they hold."""

import base64
import importlib.util
from pathlib import Path

import numpy as np
import pytest

_PATH = Path(__file__).with_name("example_trends.py")
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


@pytest.fixture(scope="session")
def unpack():
    """The numbers that `pack_numbers` packed, by the words of its docstring."""

    def unpack(packed):
        raw = base64.b64decode(packed["data"])
        if packed["as"] != "u16":
            return np.frombuffer(raw, dtype={"f32": "<f4", "f64": "<f8"}[packed["as"]]).astype(np.float64)
        codes = np.frombuffer(raw, dtype="<u2").astype(np.int64)
        num_levels = 32_767 if packed["signed"] else 65_534
        level, sign = (codes - 2) % num_levels, np.where(codes - 2 < num_levels, 1.0, -1.0)
        low, high = np.log(packed["low"]), np.log(packed["high"])
        share = level / (num_levels - 1)
        return np.select([codes == 0, codes == 1], [np.nan, 0.0], sign * np.exp(low * (1 - share) + high * share))

    return unpack
