"""Series with a known answer, made from plain arrays. Session-wide, since Hypothesis calls them many times."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from wsanalyze.series import ChangeSeries, CheckpointRecord, Kind, Row, State
from wsanalyze.sums import Sums

FloatArray = NDArray[np.float64]
MakeSeries = Callable[..., ChangeSeries]


def _records(num_changes: int) -> tuple[CheckpointRecord, ...]:
    return tuple(CheckpointRecord(100 * i, f"checkpoint-{100 * i}", "run") for i in range(num_changes + 1))


def _rows(names: Sequence[str]) -> tuple[Row, ...]:
    return tuple(Row(name, name, name.split(".")[0], Kind.OTHER, depth, (2, 2)) for depth, name in enumerate(names))


@pytest.fixture(scope="session")
def make_series() -> MakeSeries:
    """A series given as a table is: 0 is unchanged, NaN is missing, inf is a state."""

    def make(values: object, names: Sequence[str] | None = None) -> ChangeSeries:
        table = np.array(values, dtype=np.float64)
        num_rows, num_changes = table.shape
        states = np.full(table.shape, None, dtype=object)
        states[table == 0] = State.UNCHANGED
        states[np.isnan(table)] = State.MISSING
        states[np.isinf(table)] = State.NONFINITE
        table[np.isinf(table)] = np.nan
        return ChangeSeries(
            checkpoints=_records(num_changes),
            rows=_rows(names or [f"block{i}.weight" for i in range(num_rows)]),
            pairs=tuple((i, i + 1) for i in range(num_changes)),
            sums=Sums.unmeasured(num_rows, num_changes),
            states=states,
            given={"rwc": table},
        )

    return make


@pytest.fixture(scope="session")
def measure_series() -> MakeSeries:
    """A series with sums, measured from weights of shape (rows, checkpoints, elements)."""

    def measure(weights: object, names: Sequence[str] | None = None) -> ChangeSeries:
        array = np.array(weights, dtype=np.float64)
        before, after = array[:, :-1], array[:, 1:]
        valid = np.isfinite(before) & np.isfinite(after)
        first, second = np.where(valid, before, 0.0), np.where(valid, after, 0.0)
        delta = second - first
        sums = Sums.unmeasured(*before.shape[:2])
        parts = {
            "n": np.ones_like(first),
            "n_valid": valid,
            "nonfinite_before": ~np.isfinite(before),
            "nonfinite_after": ~np.isfinite(after),
            "l1_delta": abs(delta),
            "l1_before": abs(first),
            "l1_after": abs(second),
            "sq_delta": delta**2,
            "sq_before": first**2,
            "sq_after": second**2,
            "dot_before_delta": first * delta,
            "changed": delta != 0,
            "sign_flips": first * second < 0,
        }
        sums.values[...] = 0.0
        for name, part in parts.items():
            sums[name][...] = part.sum(axis=-1)
        num_rows, num_changes = before.shape[:2]
        return ChangeSeries(
            checkpoints=_records(num_changes),
            rows=_rows(names or [f"block{i}.weight" for i in range(num_rows)]),
            pairs=tuple((i, i + 1) for i in range(num_changes)),
            sums=sums,
            states=np.full((num_rows, num_changes), None, dtype=object),
        )

    return measure


@pytest.fixture(scope="session")
def plant() -> Callable[..., tuple[FloatArray, NDArray[np.int64]]]:
    """Tables of changes whose rows follow known trends, each at a level of its own; the answer is their group."""

    def make(
        groups: int = 3, size: int = 8, steps: int = 20, noise: float = 0.05, seed: int = 0
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        random = np.random.default_rng(seed)
        x = np.linspace(0.0, 1.0, steps)
        shapes = [-1.2 * x, 1.0 / (1 + np.exp(-30 * (x - 0.4))), np.zeros(steps), np.exp(-(((x - 0.6) / 0.15) ** 2))]
        answer = np.repeat(np.arange(groups), size)
        logs = np.array(shapes)[answer] + random.normal(-1.5, 0.4, (len(answer), 1))
        order = random.permutation(len(answer))
        return 10 ** (logs + random.normal(0, noise, logs.shape))[order], answer[order]

    return make
