"""Fixtures of the tests of reports; see example_trends.py for what they hold."""

import base64

import numpy as np
import pytest


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
