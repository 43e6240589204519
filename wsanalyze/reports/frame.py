"""The metric of every cell as a data frame, which pandas writes as Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wsanalyze.series import ChangeSeries

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd


def make_frame(series: ChangeSeries, metric: str) -> pd.DataFrame:
    """The metric with one row for each layer and pair of checkpoints; see `wsanalyze.run.Run.to_pandas`.

    Raises:
        UsageError: If there is no such metric, or the series does not hold what it needs.
        ImportError: If pandas is not installed.
    """
    import pandas as pd

    values, states = series.metric(metric), series.metric_states(metric)
    num_rows, num_pairs = values.shape
    row = np.repeat(np.arange(num_rows), num_pairs)
    pair = np.tile(np.arange(num_pairs), num_rows)
    sides = np.array(series.pairs, dtype=np.int64).reshape(num_pairs, 2)
    before, after = sides[pair].T
    labels = _text(record.label for record in series.checkpoints)
    steps = pd.array([record.step for record in series.checkpoints], dtype="Int64")
    words = np.full(values.size, None, dtype=object)
    known = np.flatnonzero(states.ravel() != None)  # noqa: E711 - elementwise
    words[known] = [str(state) for state in states.ravel()[known]]
    return pd.DataFrame(
        {
            "layer": _column(_text(series.names), row),
            "kind": _column(_text(str(layer.kind) for layer in series.rows), row),
            "depth": np.array([layer.depth for layer in series.rows], dtype=np.int64)[row],
            "from_step": steps.take(before),
            "to_step": steps.take(after),
            "from_checkpoint": _column(labels, before),
            "to_checkpoint": _column(labels, after),
            metric: values.ravel(),
            "state": pd.array(words, dtype="string"),
        }
    )


def _text(names: Iterable[str]) -> list[str]:
    """Names of files need not be UTF-8, but what a column holds is."""
    return [name.encode("utf-8", "backslashreplace").decode() for name in names]


def _column(texts: list[str], index: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pd.api.extensions.ExtensionArray:
    import pandas as pd

    return pd.array(texts, dtype="string").take(index)
