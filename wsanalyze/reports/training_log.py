"""What a trainer noted, for reports: a sentence, and what a plot of it draws."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.reports.text import format_number
from wsanalyze.series import ChangeSeries, TrainingLog

_TITLES: Final = {
    "loss": "loss",
    "train_loss": "training loss",
    "eval_loss": "eval loss",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm",
}
_TOLD: Final[tuple[str, ...]] = ("loss", "eval_loss", "learning_rate")
_MAX_POINTS: Final = 2000
# A learning rate that rises first is told by its peak as well.
_SMALLEST_RISE: Final = 1.01


def describe_log(log: TrainingLog) -> str | None:
    """From where to where loss and learning rate went: "loss 2.31 to 0.520 (steps 20 to 1000)"; None for no log."""
    noted = {name: log.steps[log.noted(name)] for name in log.values if len(log.noted(name))}
    names = [name for name in _TOLD if name in noted] or list(noted)
    if not names:
        return None
    parts = [_describe_values(name, log.values[name][log.noted(name)]) for name in names]
    low, high = min(int(noted[name].min()) for name in names), max(int(noted[name].max()) for name in names)
    return f"{', '.join(parts)} ({_name_steps(low, high)})"


def describe_plotted_log(series: ChangeSeries) -> str | None:
    """The same, and which steps of it `collect_log` draws where those are not all; None for no log."""
    text, log = describe_log(series.log), collect_log(series)
    if text is None or log is None:
        return text
    steps = [step for curve in log["curves"] for step in curve["steps"]]
    drawn = _name_steps(min(steps), max(steps))
    return text if text.endswith(f"({drawn})") else f"{text}; the plot shows {drawn}, between compared checkpoints"


def _name_steps(low: int, high: int) -> str:
    return f"step {low}" if low == high else f"steps {low} to {high}"


def _describe_values(name: str, values: NDArray[np.float64]) -> str:
    first, last, peak = float(values[0]), float(values[-1]), float(values.max())
    text = f"{_TITLES[name]} {format_number(first)}"
    if len(values) > 1:
        text += f" to {format_number(last)}"
    if name == "learning_rate" and peak > _SMALLEST_RISE * max(first, last):
        text += f" by way of {format_number(peak)}"
    return text


def collect_log(series: ChangeSeries) -> dict[str, Any] | None:
    """What the plot of the log draws: the part of it from the first compared checkpoint to the last.

    Args:
        series: A series of P changes.

    Returns:
        None where there is nothing to draw. Else JSON values: `start`, the step of the first compared checkpoint or
        None, and `curves`, each with the `name` and `title` of what was noted, the `steps` and the `values` of its N
        points, and their `places` on an axis on which checkpoint 0 lies at -1 and the later side of change p at p.
    """
    if not series.pairs or not len(series.log):
        return None
    inside = np.isfinite(_find_places(series, series.log))
    log = TrainingLog(
        series.log.steps[inside],
        series.log.until[inside],
        {name: values[inside] for name, values in series.log.values.items()},
    ).thinned(_MAX_POINTS)
    places = _find_places(series, log)
    curves = []
    for name in _TOLD:
        noted = log.noted(name)
        if len(noted):
            curves.append(
                {
                    "name": name,
                    "title": _TITLES[name],
                    "steps": log.steps[noted].tolist(),
                    "places": [round(place, 4) for place in places[noted].tolist()],
                    "values": [float(f"{value:.5g}") for value in log.values[name][noted].tolist()],
                }
            )
    return {"start": series.checkpoints[series.pairs[0][0]].step, "curves": curves} if curves else None


def _find_places(series: ChangeSeries, log: TrainingLog) -> NDArray[np.float64]:
    """Where entries lie among compared checkpoints, float64 of shape (N,); NaN before the first and after the last."""
    chain = np.array([series.pairs[0][0], *(after for _, after in series.pairs)])
    steps = np.array([np.nan if step is None else step for step in (series.checkpoints[i].step for i in chain)])
    index = np.searchsorted(chain, log.until)
    later = np.clip(index, 1, len(chain) - 1)
    # Where steps start over, or the earlier one is not known, they are counted from 0.
    start = np.where(steps[later - 1] < steps[later], steps[later - 1], 0.0)
    with np.errstate(all="ignore"):
        share = np.nan_to_num(np.clip((log.steps - start) / (steps[later] - start), 0.0, 1.0), nan=1.0)
    places = np.where(index < len(chain), later - 2 + share, np.nan)
    return np.where(index > 0, places, np.where(log.steps == steps[0], -1.0, np.nan))
