"""The course of a curve in plain words, as one would put it who looks at its plot.

Courses are told from logarithms, so that "steady" means within a factor, wherever a curve lies.
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from wsanalyze.sentences import list_names
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.jaggedness import (
    find_bumps,
    find_cliffs,
    find_deep_tail,
    find_end_jumps,
    find_lone_jumps,
    find_quiet_tail,
    find_turns,
    measure_roughness,
    smooth,
)
from wsanalyze.trends.jumps import find_jumps
from wsanalyze.trends.turns import find_turns as find_course_turns
from wsanalyze.trends.ways import Curve, describe_turns, describe_way, name_turn
from wsanalyze.trends.words import FLAT_DECADES, IndexArray

_ROUGH: Final = 0.12
_UNSTEADY: Final = 0.15
_SEEN_SHARE: Final = 0.12
_MOST_FLAT: Final = 0.2
_JUMP_SHARE: Final = 0.7
_LEAST_JUMP: Final = 0.35
_MOST_JUMPS: Final = 3
_NOISE_SPREAD: Final = 4.5
_TURN_SHARE: Final = 0.3
_CLEAR_TURN: Final = 0.4
_CLEAR_ROUGH: Final = 4.5
_EDGE: Final = 0.25
_WARM_SHARE: Final = 0.15
_WARM_ROUGH: Final = 8.0
_EARLY: Final = 0.35
_LEAST_POINTS: Final = 3
_TREND_DEVIATIONS: Final = 1.7
_STOPPED_DECADES: Final = 0.3


_PLAIN: Final = re.compile(r"(falls|rises) (steadily|unsteadily|ever faster|ever more slowly)")


def describe_curve(
    curve: FloatArray, starts: Sequence[str], ends: Sequence[str], *, linear: bool = False, speed: bool = True
) -> str:
    """Describe the course of a curve in a few words.

    Args:
        curve: float64 of shape (P,), not negative; 0 where nothing changed, NaN where there is no number.
        starts: What the checkpoint that each change starts at is called, P names.
        ends: What the one that it leads to is called, which stands for the change itself.
        linear: Whether its values are no amounts of change but numbers from -1 to 1: then it never rests.
        speed: Whether its values say how fast something changes; if not, it is high or low, never fast or frozen.

    Returns:
        Words such as "steady", "falls steadily", "fast, then slow", "hump at step 400", "falls after step 600", "wakes
        after step 20, then steady". A curve wakes, or falls at once, after the last checkpoint before it does, and is
        frozen from the first one that it stays at, as in the events of those kinds; a single change is named by the
        checkpoint that it leads to.
    """
    known = np.isfinite(curve)
    values = curve[known]
    befores, afters = ([name for name, shown in zip(names, known, strict=True) if shown] for names in (starts, ends))
    moving = np.arange(len(values)) if linear else np.flatnonzero(values > 0)
    if not len(moving):
        return "no numbers" if not len(values) else "unchanged" if speed else "0 throughout"
    if len(values) == 1:
        return "one change only" if speed else "one number only"
    if linear:
        return _describe_course(Curve(values, befores, afters, speed=False))
    logs = np.log10(values, where=values > 0, out=np.full(values.shape, np.nan))
    return _describe_span(Curve(logs, befores, afters, speed), moving)


def _describe_span(curve: Curve, moving: IndexArray) -> str:
    """Say when a curve begins and ceases to move, and what it does in between."""
    first, last = int(moving[0]), int(moving[-1])
    wakes, freezes = first > 0, last < len(curve) - 1
    start, end = curve.starts[first], curve.ends[last]
    if wakes and freezes:
        return f"moves only from {start} to {end}" if curve.speed else f"above 0 only from {start} to {end}"
    course = _describe_moving(
        curve.part(first, last if freezes and _stops_within(curve.logs, first, last) else last + 1)
    )
    if freezes and last == len(curve) - 2 and curve.speed and course:
        return f"{course}, but unchanged from {curve.starts[-1]} to {curve.ends[-1]}"  # nobody can say that it stays so
    if wakes:
        lead = f"wakes after {start}" if curve.speed else f"0 until {start}"
        return f"{lead}, then {course}" if course else lead
    if freezes:
        return f"{course or 'one change'}, then {'frozen' if curve.speed else '0'} from {end}"
    return course


def _stops_within(logs: FloatArray, first: int, last: int) -> bool:
    """Whether the last change that moves is less than those before because the rest began in the middle of it."""
    before = logs[max(first, last - _LEAST_POINTS) : last]
    return len(before) == _LEAST_POINTS and bool(before.min() - logs[last] > _STOPPED_DECADES)  # NaN is false


def _describe_moving(curve: Curve) -> str:
    """Describe values that begin and end above 0, with pauses perhaps; empty for a single one."""
    if len(curve) == 1:
        return ""
    still = np.isnan(curve.logs)
    if not still.any():
        return _describe_course(curve)
    runs = np.flatnonzero(np.diff(np.concatenate([[False], still]).astype(int)) > 0)
    moving = np.flatnonzero(~still).tolist()
    starts, ends = ([names[index] for index in moving] for names in (curve.starts, curve.ends))
    course = _describe_course(Curve(curve.logs[moving], starts, ends, curve.speed))
    word = "unchanged" if curve.speed else "0"
    if len(runs) > 1:
        return f"{course}, with pauses" if curve.speed else f"{course}, at times 0"
    begin = int(runs[0])
    until = begin + int(np.argmin(still[begin:]))
    return f"{course}, but {word} from {curve.starts[begin]} to {curve.ends[until - 1]}"


def _describe_course(curve: Curve) -> str:
    """Describe values without gaps: single jumps first, then the rest without them."""
    at_first, at_last = find_end_jumps(curve.logs)
    if at_first and curve.logs[0] > curve.logs[1]:  # to begin low is to warm up
        return f"drops after {curve.starts[1]}, then {_describe_course(curve.part(1, len(curve)))}"
    if at_first and abs(curve.logs[2] - curve.logs[1]) < FLAT_DECADES:
        rest = _describe_course(curve.part(1, len(curve)))
        if not rest.startswith("rises"):
            return f"jumps up after {curve.starts[1]}, then {rest}"
    if at_last:
        verb = "drops" if curve.logs[-1] < curve.logs[-2] else "jumps up"
        return f"{_describe_course(curve.part(0, len(curve) - 1))}, then {verb} after {curve.starts[-1]}"
    ends_of = {jump: jump + 1 for jump in find_lone_jumps(curve.logs)} | dict(find_bumps(curve.logs))
    if not ends_of:
        return _describe_rest(curve)
    jumps = sorted(ends_of)
    heights = np.array([curve.logs[i] - (curve.logs[i - 1] + curve.logs[ends_of[i]]) / 2 for i in jumps])
    # Without their names, so that nothing else is told of the same changes.
    left_out = {index for jump, back in ends_of.items() for index in range(jump, back)}
    kept = [index for index in range(len(curve)) if index not in left_out]
    starts, ends = ([names[index] for index in kept] for names in (curve.starts, curve.ends))
    noun = "jump" if (heights > 0).all() else "drop" if (heights < 0).all() else "break"
    noun = f"a {noun}" if len(jumps) == 1 else f"{noun}s"
    course = _describe_rest(Curve(curve.logs[kept], starts, ends, curve.speed), float(abs(heights).max()))
    return f"{course}, but for {noun} at {list_names([curve.ends[index] for index in jumps])}"


def _describe_rest(curve: Curve, height: float = 0.0, *, whole: bool = True) -> str:
    """Describe a course by how rough it is, where it rests nearly, its turns and its slope.

    Args:
        curve: Its values.
        height: The height of the plot that it is a part of, decades: what is small in there is not seen.
        whole: Whether jumps on slopes are looked for; not where they were taken out.
    """
    calms = _find_calm(curve.logs)
    if calms is not None:
        return f"{_describe_unrest(curve.logs[:calms])} until {curve.ends[calms - 1]}, then steady"
    rough = measure_roughness(curve.logs)
    logs, width = smooth(curve.logs, 8 if rough >= _ROUGH else 16)
    flat = max(FLAT_DECADES, min(_SEEN_SHARE * height, _MOST_FLAT), _NOISE_SPREAD * rough / np.sqrt(width))
    if float(np.ptp(logs)) < flat:
        return _describe_jagged(curve, rough) if rough >= _UNSTEADY else "steady"
    cliffs = find_cliffs(curve.logs)
    names = [f"after {curve.starts[index]}" for index in cliffs]
    drops = f"{'falls' if curve.logs[0] > curve.logs[-1] else 'rises'} {list_names(names)}"
    if len(cliffs) > 1:
        return drops
    rest = _describe_warm_up(curve, rough) or (_describe_nearly_frozen(curve, logs, flat) if curve.speed else "")
    rest = rest or (drops if cliffs else "") or (_describe_jumps(curve) if whole else "")
    return rest or describe_turns(curve, logs, flat, width) or describe_way(curve, logs, rough)


def _describe_jumps(curve: Curve) -> str:
    """Describe a curve that goes its way but for jumps to stay; empty where there are none, or too many."""
    jumps = find_jumps(curve.logs, least=_LEAST_JUMP)
    signs = {jump.size > 0 for jump in jumps}
    if not 1 <= len(jumps) <= _MOST_JUMPS or len(signs) > 1:
        return ""
    logs = curve.logs.copy()
    for jump in jumps:
        logs[jump.change :] -= jump.size
    rest = _describe_rest(Curve(logs, curve.starts, curve.ends, curve.speed), float(np.ptp(curve.logs)), whole=False)
    if not _PLAIN.fullmatch(rest):
        return ""
    noun = "rise" if signs == {True} else "drop"
    places = list_names([curve.starts[jump.change] for jump in jumps])
    return f"{rest}, with {f'a sudden {noun}' if len(jumps) == 1 else f'sudden {noun}s'} after {places}"


def _describe_warm_up(curve: Curve, rough: float) -> str:
    """Describe a curve that rises at its beginning and then falls, as with a warm-up; empty for any other."""
    height = float(np.ptp(curve.logs))
    turns = find_turns(curve.logs, max(2 * FLAT_DECADES, _WARM_ROUGH * rough, _WARM_SHARE * height))
    if len(turns) != 1 or turns[0] < 1 or curve.logs[turns[0]] < curve.logs[0]:
        return ""
    (turn,) = turns
    # The top of a schedule is flat: what counts is where it is reached.
    levels = [found.level for found in find_course_turns(curve.logs) if found.level is not None and found.size < 0]
    near = curve.logs >= curve.logs[turn] - min(max(FLAT_DECADES / 3, 2 * rough), FLAT_DECADES)
    turn = levels[0] if levels else int(np.argmax(near))
    if turn == 0 or _jumps_up(curve.logs[: turn + 1]):
        return ""
    if turn > _EDGE * (len(curve) - 1) or len(curve) - turn <= _LEAST_POINTS:
        deep = curve.logs[turn] - curve.logs[-1] > (1 + _TURN_SHARE) * (curve.logs[turn] - curve.logs[0])
        return name_turn(curve, curve.logs, turn) if deep and turn <= len(curve) / 2 else ""
    after = _describe_rest(curve.part(turn, len(curve)), height)
    return f"rises until {curve.ends[turn]}, then {after}" if "falls" in after else ""


def _jumps_up(logs: FloatArray) -> bool:
    """Whether a curve rises at once after values that do not."""
    steps = np.diff(logs)
    place = int(np.argmax(steps))
    return place > 1 and bool(logs[place] - logs[0] < (1 - _JUMP_SHARE) * (logs[-1] - logs[0]) < steps[place])


def _find_calm(logs: FloatArray) -> int | None:
    """Where a curve that goes up and down about one level comes to rest; None where it does not."""
    tail = find_quiet_tail(logs, FLAT_DECADES)
    if tail is None or measure_roughness(logs[:tail]) < _ROUGH:
        return None
    return tail if abs(float(np.median(logs[:tail]) - np.median(logs[tail:]))) < 2 * FLAT_DECADES else None


def _describe_unrest(logs: FloatArray) -> str:
    """Say whether a curve that goes up and down goes anywhere thereby."""
    way = float(np.polyfit(np.arange(len(logs)), logs, 1)[0]) * (len(logs) - 1)
    return "unsteady" if abs(way) < 2 * FLAT_DECADES else f"{'rises' if way > 0 else 'falls'} unsteadily"


def _describe_jagged(curve: Curve, rough: float) -> str:
    """Describe a curve that goes up and down more than it goes anywhere."""
    height = float(np.ptp(curve.logs))
    turns = find_turns(curve.logs, _CLEAR_TURN * height)
    if len(turns) == 1 and height >= _CLEAR_ROUGH * rough:
        return name_turn(curve, curve.logs, turns[0])
    # Kendall's count of pairs in order, against what chance makes of it.
    count = len(curve)
    score = float(sum(np.sign(curve.logs[i + 1 :] - value).sum() for i, value in enumerate(curve.logs)))
    chance = np.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    if abs(score) < _TREND_DEVIATIONS * chance:
        return "unsteady"
    return f"{'rises' if score > 0 else 'falls'} unsteadily"


def _describe_nearly_frozen(curve: Curve, logs: FloatArray, flat: float) -> str:
    """Describe a curve that falls so deep that it nearly rests from then on, or until then; empty for any other."""
    length, height = len(curve), float(np.ptp(logs))
    found = find_deep_tail(curve.logs, logs, flat)
    if found is not None and abs(curve.logs[0] - np.median(curve.logs[found[1] :])) < 2 * FLAT_DECADES:
        return ""  # it comes back to where it began: a hump
    if found is not None:
        leaves, rests = found
        end = f"nearly frozen from {curve.starts[rests]}"
        if leaves >= max(_LEAST_POINTS, rests / 2):
            return f"{_describe_rest(curve.part(0, leaves), height)}, then {end}"
        return f"{'fast' if rests <= _EARLY * length else 'falls'}, then {end}"
    found = find_deep_tail(curve.logs[::-1], logs[::-1], flat)
    if found is None:
        return ""
    leaves, rests = found
    end = f"nearly frozen until {curve.starts[length - rests]}"
    if leaves >= max(_LEAST_POINTS, rests / 2):
        return f"{end}, then {_describe_rest(curve.part(length - leaves, length), height)}"
    return f"{end}, then {'fast' if rests <= _EARLY * length else 'rises'}"
