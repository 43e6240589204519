"""Steps at which a checkpoint should have been saved, going by the others."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wsanalyze.series import Event

_MIN_REGULAR: Final = 3
_MAX_RUN: Final = 2
_MIN_WIDE: Final = 2
_MAX_LISTED: Final = 1000
_MAX_NAMED: Final = 6


@dataclass(frozen=True, slots=True)
class MissingSteps:
    """Steps that are missing from a regular sequence.

    Attributes:
        steps: The steps, increasing; at most as many as there are checkpoints.
        spacing: Steps from one checkpoint to the next.
        num_regular: How many gaps are that wide.
        num_gaps: Of how many.
    """

    steps: tuple[int, ...]
    spacing: int
    num_regular: int
    num_gaps: int


def find_missing_steps(steps: Sequence[int]) -> MissingSteps | None:
    """Find holes in a sequence that is spaced regularly but for them.

    Args:
        steps: Steps of all checkpoints that there are, readable or not, in any order.

    Returns:
        The steps that are missing: whole multiples of the spacing that most gaps share, in gaps that stand alone
        between regular ones. None where there is no such spacing (a ladder of powers of two, a spacing that changes on
        the way), nothing is missing, or more is missing than there is.
    """
    present = sorted(set(steps))
    gaps = [after - before for before, after in itertools.pairwise(present)]
    if not gaps:
        return None
    spacing, num_regular = Counter(gaps).most_common(1)[0]
    if num_regular < _MIN_REGULAR or 2 * num_regular <= len(gaps) or _widens(gaps, spacing):
        return None
    missing: list[int] = []
    for index, gap in enumerate(gaps):
        if gap == spacing or gap % spacing or not _stands_alone(gaps, index, spacing):
            continue
        if gap // spacing > _MAX_LISTED:
            return None
        missing += range(present[index] + spacing, present[index + 1], spacing)
    if not missing or len(missing) > len(present):
        return None
    return MissingSteps(tuple(missing), spacing, num_regular, len(gaps))


def tell_missing_steps(steps: Sequence[int | None]) -> tuple[Event, ...]:
    """The event that names the steps that are missing; none where nothing is.

    Args:
        steps: Steps of all checkpoints that there are, readable or not; None where one is unknown.
    """
    found = find_missing_steps([step for step in steps if step is not None])
    if found is None:
        return ()
    some = ", ".join(map(str, found.steps[:_MAX_NAMED]))
    total = f" and {len(found.steps) - _MAX_NAMED} more" if len(found.steps) > _MAX_NAMED else ""
    text = (
        f"no checkpoint at {'step' if len(found.steps) == 1 else 'steps'} {some}{total}, where "
        f"{found.num_regular} of {found.num_gaps} are {found.spacing} apart"
    )
    evidence = {
        "missing": list(found.steps),
        "spacing": found.spacing,
        "num_regular": found.num_regular,
        "num_gaps": found.num_gaps,
    }
    return (Event("missing-steps", None, None, text, evidence),)


def _widens(gaps: Sequence[int], spacing: int) -> bool:
    """Whether the gaps stay wider to the end: rounded, a logarithmic ladder begins with many gaps of one step."""
    tail = [*itertools.takewhile(lambda gap: gap != spacing, reversed(gaps))]
    return len(tail) >= _MIN_WIDE and min(tail) > spacing


def _stands_alone(gaps: Sequence[int], index: int, spacing: int) -> bool:
    """Whether the gaps around it become regular again soon, on both sides: else the spacing changed there."""
    before = index
    while before >= 0 and gaps[before] != spacing:
        before -= 1
    after = index
    while after < len(gaps) and gaps[after] != spacing:
        after += 1
    return before >= 0 and after < len(gaps) and after - before - 1 <= _MAX_RUN
