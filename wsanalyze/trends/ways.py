"""Where a curve turns, and how it goes from one level to another, in plain words."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np

from wsanalyze.sentences import list_names
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.jaggedness import find_turns
from wsanalyze.trends.words import FLAT_DECADES

_ROUGH: Final = 0.12
_UNSTEADY: Final = 0.15
_PLAIN_SHARE: Final = 0.14
_TURN_SHARE: Final = 0.3
_EARLY: Final = 0.35
_SUDDEN: Final = 0.25
_SUDDEN_SHARE: Final = 0.6
_STEP_SHARE: Final = 0.8  # of what a line leaves, that two levels leave at most
_START: Final = 0.1
_BENT: Final = 0.34
_RESTING: Final = 0.3
_STRAIGHT: Final = 0.35
_SHARES: Final = (0.07, 0.2, 0.5, 0.8, 0.93)
_LEAST_POINTS: Final = 3
_MOST_PARTS: Final = 4
_LEAST_UNEVEN: Final = 0.07
_LEAST_STEPS: Final = 4
_LEAP: Final = 2.0


@dataclass(frozen=True, slots=True)
class Curve:
    """Values above 0 that are to be described, as logarithms, and the checkpoints around each."""

    logs: FloatArray
    starts: Sequence[str]
    ends: Sequence[str]
    speed: bool

    def part(self, first: int, last: int) -> "Curve":
        """The values from `first` to `last`, that one left out."""
        return Curve(self.logs[first:last], self.starts[first:last], self.ends[first:last], self.speed)

    def __len__(self) -> int:
        return len(self.logs)


def describe_turns(curve: Curve, logs: FloatArray, flat: float, width: int) -> str:
    """Describe a curve that turns, empty for any other; `logs` is the same, the mean of `width` values each."""
    turns = find_turns(logs, max(flat, _TURN_SHARE * float(np.ptp(logs))))
    if len(turns) == 1:
        (turn,), sign = turns, 1 if logs[turns[0]] > logs[0] else -1
        begin = max(0, turn - width // 2)
        turn = begin + int(np.argmax(sign * curve.logs[begin : turn + width // 2 + 1]))
        return f"{'hump' if sign > 0 else 'dip'} {_name_extent(curve, turn)}"
    return "goes up and down" if turns else ""


def describe_way(curve: Curve, logs: FloatArray, rough: float) -> str:
    """Describe a curve that goes one way; `logs` is the same, smoothed."""
    window = max(1, len(logs) // 16)
    start, end = float(np.median(logs[:window])), float(np.median(logs[-window:]))
    if abs(start - end) < FLAT_DECADES:
        return "unsteady" if rough >= _UNSTEADY else "about steady"
    if rough >= max(_ROUGH, _PLAIN_SHARE * abs(start - end)):
        return f"{'falls' if start > end else 'rises'} unsteadily"
    done, noise = (logs - start) / (end - start), rough / abs(start - end)
    return _describe_slope(curve, done, noise, falls=start > end)


def name_turn(curve: Curve, logs: FloatArray, turn: int) -> str:
    """What a curve is called that turns once: "hump at step 400"; `logs` are its values, smoothed or not."""
    return f"{'hump' if logs[turn] > logs[0] else 'dip'} at {curve.ends[turn]}"


def _name_extent(curve: Curve, turn: int) -> str:
    """When a curve is at its height: at one change, or between two cliffs."""
    off = abs(curve.logs - curve.logs[turn])
    height = float(off.max())
    far = np.flatnonzero(off > height / 4)
    first = int(far[far < turn].max(initial=-1)) + 1
    end = int(far[far > turn].min(initial=len(curve)))
    if first == 0 or end == len(curve) or end - first < _LEAST_POINTS:
        return f"at {curve.ends[turn]}"
    sharp = min(off[first - 1], off[end]) > height * _SUDDEN_SHARE
    return f"from {curve.starts[first]} to {curve.ends[end - 1]}" if sharp else f"at {curve.ends[turn]}"


def _describe_slope(curve: Curve, done: FloatArray, noise: float, *, falls: bool) -> str:
    """Describe a curve that goes from one level to another, by when which share of the way is done."""
    _, begun, half, ended, _ = (_find_share(done, share) for share in _SHARES)
    length = len(done) - 1
    verb = "falls" if falls else "rises"
    sudden = _find_sudden(curve.logs, falls=falls)
    at_once = begun <= _START * length
    if length >= 1 / _SUDDEN and not at_once and sudden is not None:
        return f"{verb} after {curve.starts[sudden]}"
    if falls and at_once and ended <= _EARLY * length:
        return "fast, then slow" if curve.speed else "high, then low"
    rests = _name_rests(curve, done, verb) if length >= _LEAST_POINTS else ""
    if rests:
        return rests
    bend = _name_bend(half, length)
    if bend.startswith(" ever "):
        ways, off = _measure_quarters(done), max(_LEAST_UNEVEN, noise)
        bends = np.diff(ways) * (1 if bend.endswith("slowly") else -1)
        if (bends > off).any():
            even = np.abs(ways - ways.mean()).max() <= 2 * off
            bend = _name_leaps(curve, falls=falls) or (" steadily" if even else "")
    return f"{verb}{bend}"


def _name_rests(curve: Curve, done: FloatArray, verb: str) -> str:
    """Describe a curve that is steady before it goes its way, or after that; empty for any other."""
    first, _, half, _, last = (_find_share(done, share) for share in _SHARES)
    length = len(done) - 1
    late, early = first >= _RESTING * length, last <= (1 - _RESTING) * length
    if late and early:
        return f"{verb} between {curve.ends[int(first)]} and {curve.ends[ceil(last)]}"
    if early and half >= _STRAIGHT * last:
        return f"{verb} until {curve.ends[ceil(last)]}, then steady"
    if late and length - half >= _STRAIGHT * (length - first):
        return f"steady until {curve.ends[int(first)]}, then {verb}"
    return ""


def _find_sudden(logs: FloatArray, *, falls: bool) -> int | None:
    """First index after the step, or the two, by which a curve goes most of its way; None where it takes more."""
    steps = -np.diff(logs) if falls else np.diff(logs)
    both = np.maximum(steps, 0)
    both = both + np.append(both[1:], 0)
    place = int(np.argmax(both))
    if both[place] < _SUDDEN_SHARE * abs(logs[-1] - logs[0]):
        return None
    sudden = place + 1 if place + 1 == len(steps) or steps[place] >= steps[place + 1] else place + 2
    return sudden if _is_step(logs, sudden) else None


def _is_step(logs: FloatArray, place: int) -> bool:
    """Whether two levels, up to a place and from it on, describe a course better than a line, which is as free."""
    line = logs - np.polyval(np.polyfit(np.arange(len(logs)), logs, 1), np.arange(len(logs)))
    levels = np.concatenate([part - part.mean() for part in (logs[:place], logs[place:])])
    return bool(np.sum(levels**2) <= _STEP_SHARE * np.sum(line**2))


def _name_bend(half: float, length: int) -> str:
    """How a curve of `length` steps goes its way, half of which is done at one time."""
    if length < _LEAST_POINTS:
        return " steadily" if length > 1 else ""
    if half <= _BENT * length:
        return " ever more slowly"
    return " ever faster" if half >= (1 - _BENT) * length else " steadily"


def _measure_quarters(done: FloatArray) -> FloatArray:
    """Which share of its way a curve does in each quarter of the time."""
    parts = min(_MOST_PARTS, len(done) - 1)
    ways: FloatArray = np.diff(np.interp(np.linspace(0, len(done) - 1, parts + 1), np.arange(len(done)), done))
    return ways


def _name_leaps(curve: Curve, *, falls: bool) -> str:
    """When a curve goes most of its way by two steps far larger than all others; empty where it does not."""
    steps = np.diff(curve.logs) * (-1 if falls else 1)
    if len(steps) < _LEAST_STEPS:
        return ""
    ranked = np.argsort(-steps)
    leaps = np.sort(ranked[:2])
    if steps[leaps].min() < _LEAP * np.delete(np.abs(steps), leaps).max():
        return ""
    if steps[leaps].sum() < _SUDDEN_SHARE * abs(curve.logs[-1] - curve.logs[0]):
        return ""
    return f", most of all after {list_names([curve.starts[leap + 1] for leap in leaps.tolist()])}"


def _find_share(done: FloatArray, share: float) -> float:
    """When a share of the way is done: midway between the first time and the last, where it is done more than once."""
    times = []
    for index in (int(np.argmax(done >= share)), min(int(np.flatnonzero(done < share)[-1]) + 1, len(done) - 1)):
        before, after = float(done[index - 1]), float(done[index])
        times.append(0.0 if index == 0 else index - (after - share) / (after - before))
    return (times[0] + times[1]) / 2
