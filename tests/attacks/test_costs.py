"""No file takes a gigabyte, or minutes: what is made to cost much is read or refused like any other.

How long each takes stands in docs/fuzzing.md; here a process that does not end is stopped, and nothing else is timed.
"""

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("attacks_costs", Path(__file__).parent / "costs.py")
costs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(costs)


@pytest.mark.slow
@pytest.mark.parametrize("name", costs.COSTS)
def test_what_is_made_to_cost_much_ends(name):
    result = costs.measure_apart(name, 2_000_000)
    assert not result["told"].startswith(("DIED", "MEMORY")), result["told"]
    assert "\n" not in result["told"]
    assert result["megabytes"] < 500
