"""Events for checkpoints that stand where their weights do not belong."""

from collections.abc import Sequence

from wsanalyze.likeness.impostors import Impostor, find_impostors
from wsanalyze.likeness.samples import Distances, FloatArray
from wsanalyze.likeness.strange_ends import StrangeEnd, find_strange_ends
from wsanalyze.likeness.swaps import Swap, find_swaps
from wsanalyze.series import Event


def tell_misplaced(
    names: Sequence[str],
    steps: Sequence[int | None],
    indices: Sequence[int],
    distances: Distances,
    rounding: FloatArray,
) -> list[Event]:
    """Tell of swaps, of impostors and of ends that belong elsewhere.

    Args:
        names: What people call each of T checkpoints, in order.
        steps: Their training steps; see `find_strange_ends`.
        indices: What each is known by in the events.
        distances: Distances between them.
        rounding: float64 of shape (T,): the relative precision of the dtype of each.
    """
    swaps = find_swaps(distances, rounding)
    impostors = find_impostors(distances, rounding, swaps)
    ends = find_strange_ends(distances, steps, impostors, swaps)
    return [
        *(_tell_swap(swap, names, indices) for swap in swaps),
        *(_tell_impostor(found, names, indices) for found in impostors),
        *(_tell_end(end, names, indices) for end in ends),
    ]


def _tell_swap(swap: Swap, names: Sequence[str], indices: Sequence[int]) -> Event:
    text = f"{names[swap.first]} and {names[swap.second]} seem to stand in each other's place"
    evidence = {"swapped": [indices[swap.first], indices[swap.second]], "gain": swap.gain}
    inner = {(0, 1): 1, (len(names) - 2, len(names) - 1): len(names) - 2}.get((swap.first, swap.second))
    if swap.instead is not None:
        text += (
            f", or else {names[swap.instead[0]]} and {names[swap.instead[1]]} do: either would explain the distances"
        )
        evidence["instead"] = [indices[place] for place in swap.instead]
    else:
        text += f": the other way round, the ways to their neighbours would be {swap.gain:.1f} times shorter"
        if inner is not None:  # an end has one neighbour only
            text += f"; or {names[inner]} alone belongs elsewhere"
    return Event("impostor", None, indices[swap.first], text, evidence)


def _tell_impostor(found: Impostor, names: Sequence[str], indices: Sequence[int]) -> Event:
    text = (
        f"{names[found.position]} seems to hold weights that belong elsewhere: they are {found.to_before:.2g} and "
        f"{found.to_after:.2g} away from those of {names[found.before]} and {names[found.after]}, which are only "
        f"{found.between:.2g} apart"
    )
    if found.to_nearest < min(found.to_before, found.to_after):
        text += f"; nearest to them are those of {names[found.nearest]} ({found.to_nearest:.2g})"
    evidence = {
        "before_checkpoint": indices[found.before],
        "after_checkpoint": indices[found.after],
        "to_before": found.to_before,
        "to_after": found.to_after,
        "between": found.between,
        "nearest": indices[found.nearest],
        "to_nearest": found.to_nearest,
    }
    return Event("impostor", None, indices[found.position], text, evidence)


def _tell_end(end: StrangeEnd, names: Sequence[str], indices: Sequence[int]) -> Event:
    text = (
        f"{names[end.position]} seems to hold weights that belong elsewhere: they are {end.to_neighbour:.2g} away from "
        f"those of {names[end.neighbour]}, and no other two in a row are more than {end.elsewhere:.2g} apart"
    )
    if end.to_nearest < end.to_neighbour / 2:  # unrelated weights are all about as far
        text += f"; nearest to them are those of {names[end.nearest]} ({end.to_nearest:.2g})"
    side = "after" if end.neighbour > end.position else "before"
    evidence = {
        f"{side}_checkpoint": indices[end.neighbour],
        f"to_{side}": end.to_neighbour,
        "elsewhere": end.elsewhere,
        "nearest": indices[end.nearest],
        "to_nearest": end.to_nearest,
    }
    return Event("impostor", None, indices[end.position], text, evidence)
