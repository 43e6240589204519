"""What the trainer noted where the curves show something: why a change may be as large as it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from wsanalyze.series import TrainingLog
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.words import say_number

_LOSSES: Final = ("loss", "train_loss")
_LOSS_RATIO: Final = 1.2
_RATE_RATIO: Final = 1.5
_NORM_RATIO: Final = 2.0
_NOISE: Final = 3.0
_USUAL: Final = 5
_NORMAL_MAD: Final = 1.4826


@dataclass(frozen=True, slots=True)
class Cause:
    """What rose during a change.

    Attributes:
        text: The same in words ("the loss rose from 0.3 to 2.1"); empty where nothing did.
        numbers: What was noted before, and the highest since, by name.
        noted: Whether the log tells of the loss or of the learning rate in that time at all.
    """

    text: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    noted: bool = False


def find_cause(log: TrainingLog, before: int, after: int) -> Cause:
    """Find what rose in the training between two checkpoints.

    Args:
        log: What the trainer noted.
        before: Index of the checkpoint that a change starts at.
        after: Index of the one that it leads to.

    Returns:
        The loss, the learning rate and the norm of the gradient, as far as they rose, by more than they always do.
    """
    texts: list[str] = []
    numbers: dict[str, float] = {}
    noted = False
    loss = next((name for name in _LOSSES if len(log.noted(name))), _LOSSES[0])
    for name, title, ratio in (
        (loss, "loss", _LOSS_RATIO),
        ("learning_rate", "learning rate", _RATE_RATIO),
        ("grad_norm", "norm of the gradient", _NORM_RATIO),
    ):
        entries = log.noted(name)
        values, until = (log.values[name][entries], log.until[entries]) if len(entries) else (np.zeros(0), entries)
        earlier, during = values[until <= before], values[(until > before) & (until <= after)]
        if not len(earlier) or not len(during):
            continue
        noted = noted or title != "norm of the gradient"
        usual, peak = float(np.median(earlier[-_USUAL:])), float(during.max())
        if name == "learning_rate":
            usual = float(earlier[-1])
        if peak - usual > max(_NOISE * _measure_noise(values), (ratio - 1) * abs(usual)):
            texts.append(f"the {title} rose from {say_number(usual)} to {say_number(peak)}")
            numbers |= {f"{name}_before": usual, f"{name}_peak": peak}
    return Cause(" and ".join(texts), numbers, noted)


def _measure_noise(values: FloatArray) -> float:
    """How much a number differs from the one noted before it, as a rule."""
    return _NORMAL_MAD * float(np.median(np.abs(np.diff(values)))) if len(values) > 1 else 0.0
