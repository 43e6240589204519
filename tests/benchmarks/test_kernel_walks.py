"""Every candidate for the kernel finds the sums of a sequence, whoever reads which tile."""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from wsanalyze.sums import SUM_NAMES, Sums

MODULES = {"numba-threads": "numba", "c-threads": "wsanalyze.changes._sums"}


@pytest.fixture
def sequence(script, save_sequence, tmp_path):
    """Three checkpoints of one tensor that is a little longer than two tiles; one element is not finite."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(3, 2 * script.TILE + 77)).astype(np.float32)
    states[1, 5] = np.nan
    states[:, 7] = 0.0
    return save_sequence(tmp_path / "sequence", [{"weight": state} for state in states]), states.astype(np.float64)


@pytest.mark.parametrize("way", ["numpy-processes", "numpy-threads", "numba-threads", "c-threads"])
def test_a_way_finds_the_sums_of_each_change(script, sequence, tmp_path, monkeypatch, way):
    if find_spec(MODULES.get(way, "numpy")) is None:
        pytest.skip(f"needs {MODULES[way]}")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    folder, states = sequence
    command = [sys.executable, script.__file__, way, str(folder), "--repeat", "2"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sums = Sums(np.array(json.loads(told)))
    assert sums.values.shape == (2, len(SUM_NAMES))
    b, a = (np.where(np.isnan(states[:-1] + states[1:]), 0.0, side) for side in (states[:-1], states[1:]))
    expected = {
        "n": [states.shape[1]] * 2,
        "n_valid": [states.shape[1] - 1] * 2,
        "nonfinite_before": [0, 1],
        "nonfinite_after": [1, 0],
        "l1_delta": np.abs(a - b).sum(axis=1),
        "sq_after": (a * a).sum(axis=1),
        "dot_before_delta": (b * (a - b)).sum(axis=1),
        "changed": (a != b).sum(axis=1),
        "sign_flips": (np.sign(a) != np.sign(b)).sum(axis=1),
        "rel_n": (b != 0).sum(axis=1),
    }
    for name, once in expected.items():
        np.testing.assert_allclose(sums[name], 2 * np.asarray(once), rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(sums["max_delta"], np.abs(a - b).max(axis=1), rtol=1e-6)
