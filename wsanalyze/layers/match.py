"""Rows: the tensors that are compared, matched by name from one checkpoint to the next.

Nothing unmatched becomes a number: whatever does not compare is a state of its cell or a skip with a reason.
"""

import re
import shlex
from collections.abc import Collection, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from wsanalyze.errors import MatchError, UsageError
from wsanalyze.layers.base import RowMatch, TensorsByName
from wsanalyze.layers.codes import find_scales, is_buffer, is_scale
from wsanalyze.layers.definition import Architecture, fit_architecture
from wsanalyze.layers.kinds import tell_kinds
from wsanalyze.layers.names import order_names, split_block, split_module
from wsanalyze.layers.renames import suggest_renames
from wsanalyze.metrics import Span
from wsanalyze.series import Event, Kind, Row, Skip, State, StateArray
from wsanalyze.spans import Pair, list_pairs
from wsanalyze.tensors.base import TensorInfo
from wsanalyze.tensors.dtypes import SCALED_FLOAT8

PARAMS: Final = ("matrices", "all")
_MIN_AXES: Final = 2

_TieKey = tuple[object, ...]


def match_layers(
    sides: Sequence[TensorsByName],
    labels: Sequence[str],
    *,
    ordered: bool = False,
    params: str = "matrices",
    pattern: str | None = None,
    architecture: Architecture | None = None,
) -> RowMatch:
    """Choose the rows and match them across checkpoints.

    Args:
        sides: For each of T checkpoints, its tensors by name.
        labels: Names of the checkpoints, for reasons and events.
        ordered: Whether the order of `sides` is the model's own; else names are sorted.
        params: "matrices" (two axes or more) or "all" (biases, norms and other parameters too).
        pattern: Regular expression searched in names; rows that it is not found in are left out.
        architecture: The model's definition, where it is known: its order and kinds go before all others.

    Raises:
        UsageError: If the pattern is no regular expression.
        MatchError: If no row compares between any two successive checkpoints.
    """
    wanted = _compile(pattern)
    sides, scales = _mark_codes(sides)
    names = _order_union(sides, ordered=ordered)
    shapes = {name: next(side[name].shape for side in sides if name in side) for name in names}
    reasons = {name: _refuse(name, [found.get(name) for found in sides], params, scales) for name in names}
    names, kinds, notes = _tell_kinds(shapes, [name for name in names if reasons[name] is None], architecture)
    depths = {module: depth for depth, module in enumerate(dict.fromkeys(split_module(name) for name in names))}
    pairs = tuple((index, index + 1) for index in range(len(sides) - 1))
    rows, tensors, states = [], [], []
    skips: list[Skip] = []
    ties: dict[str, str] = {}
    first: dict[_TieKey, str] = {}
    num_chosen = 0
    for name in names:
        side = [found.get(name) for found in sides]
        reason = reasons[name]
        if reason is None and wanted is not None and not wanted.search(name):
            continue
        num_chosen += reason is None
        if reason is None and (kept := first.setdefault(_tie_key(name, side), name)) != name:
            ties[name] = kept
            reason = f"the same tensor as {kept} (tied)"
        cells = [_compare(side[before], side[after]) for before, after in pairs]
        if reason is None and pairs and all(cell is not None for cell in cells):
            reason = _explain_unmatched(side, cells, labels)
        if reason is not None:
            skips.append(Skip(name, reason))
            continue
        rows.append(
            Row(name, split_module(name), split_block(name), kinds[name], depths[split_module(name)], shapes[name])
        )
        tensors.append(tuple(side))
        states.append(cells)
    if not rows and pairs:
        raise MatchError(_explain_nothing(sides, labels, num_chosen, pattern))
    return RowMatch(
        tuple(rows),
        tuple(tensors),
        pairs,
        np.array(states, dtype=object).reshape(len(rows), len(pairs)),
        tuple(skips),
        (
            *_tell_ties(ties),
            *_tell_dtypes(rows, tensors, labels),
            *_tell_shapes(rows, tensors, labels),
            *_tell_renames(sides, labels),
        ),
        notes,
    )


def match_or_widen(
    sides: Sequence[TensorsByName],
    labels: Sequence[str],
    *,
    ordered: bool = False,
    params: str = "auto",
    pattern: str | None = None,
    architecture: Architecture | None = None,
) -> tuple[RowMatch, str]:
    """As `match_layers`, where "auto" takes vectors in only if no matrix compares at all; and what was taken.

    Raises:
        UsageError: As `match_layers`.
        MatchError: As `match_layers`.
    """
    match = partial(match_layers, sides, labels, ordered=ordered, pattern=pattern, architecture=architecture)
    if params != "auto":
        return match(params=params), params
    try:
        return match(params="matrices"), "matrices"
    except MatchError as no_matrix:
        with suppress(MatchError):
            return match(params="all"), "all"
        raise no_matrix from None


def add_spans(match: RowMatch, spans: Collection[Span]) -> tuple[RowMatch, dict[Span, StateArray]]:
    """Add the pairs of spans to the successive ones of matched rows.

    Args:
        match: Rows and the P successive pairs.
        spans: Which pairs to add.

    Returns:
        The same rows with all pairs that were asked for, each once, in the order of the checkpoints that they end at;
        and for each span why its cells of shape (L, P) do not compare, or None where they do.
    """
    known: dict[Pair | None, StateArray] = {pair: match.states[:, index] for index, pair in enumerate(match.pairs)}
    lists = {span: list_pairs(span, match.pairs) for span in spans}
    for pair in (pair for pairs in lists.values() for pair in pairs if pair is not None):
        if pair not in known:
            cells = np.full(len(match.rows), None, dtype=object)
            cells[:] = [_compare(*(tensors[side] for side in pair)) for tensors in match.tensors]
            known[pair] = cells
    pairs = sorted((pair for pair in known if pair is not None), key=lambda pair: pair[::-1])
    known[None] = np.full(len(match.rows), State.NOT_COMPARABLE, dtype=object)
    wide = replace(match, pairs=tuple(pairs), states=_stack(known, pairs, len(match.rows)))
    return wide, {span: _stack(known, pairs, len(match.rows)) for span, pairs in lists.items()}


def _stack(columns: Mapping[Pair | None, StateArray], pairs: Sequence[Pair | None], num_rows: int) -> StateArray:
    """States of shape (L, Q) from those of each pair."""
    return np.array([columns[pair] for pair in pairs], dtype=object).reshape(len(pairs), num_rows).T


def _compile(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--layers {pattern!r} is no regular expression: {error}") from error


def _order_union(sides: Sequence[TensorsByName], *, ordered: bool) -> list[str]:
    """All names in the model's order: that of the largest checkpoint, the others' put in behind their forerunners."""
    if not ordered:
        return order_names({name for side in sides for name in side})
    largest: TensorsByName = max(sides, key=len, default={})
    followers: dict[str | None, list[str]] = {None: []}
    for name in largest:
        followers[name] = []
    for side in sides:
        before = None
        for name in side:
            if name not in followers:
                followers[name] = []
                followers[before].append(name)
            before = name
    names: list[str] = []
    stack = [*reversed(list(largest)), *reversed(followers[None])]
    while stack:
        name = stack.pop()
        names.append(name)
        stack += reversed(followers[name])
    return names


def _tell_kinds(
    shapes: Mapping[str, tuple[int, ...]], rows: Collection[str], architecture: Architecture | None
) -> tuple[list[str], dict[str, Kind], tuple[str, ...]]:
    """Names in the model's order with their kinds, as its definition has them where it fits; and what is to be said."""
    if architecture is None:
        return list(shapes), tell_kinds(shapes), ()
    fit, note = fit_architecture(architecture, shapes, rows)
    if fit is None:
        return list(shapes), tell_kinds(shapes), (note,)
    kinds = tell_kinds({name: shapes[name] for name in fit.names})
    return list(fit.names), {**kinds, **fit.kinds}, (note,)


def _mark_codes(sides: Sequence[TensorsByName]) -> tuple[list[TensorsByName], set[str]]:
    """Take float8 with scales beside it for the codes that it is; and the names of all such scales."""
    marked: list[TensorsByName] = []
    scales: set[str] = set()
    for side in sides:
        found = find_scales({name: info.dtype for name, info in side.items()})
        scales.update(*found.values())
        codes = {
            name: replace(side[name], dtype=SCALED_FLOAT8) for name in found if side[name].type.floating
        }  # at the same places, so that the order stays
        marked.append({**side, **codes} if codes else side)
    return marked, scales


def _refuse(name: str, side: Sequence[TensorInfo | None], params: str, scales: Container[str]) -> str | None:
    """Why a tensor is no row at all, or None."""
    present = [info for info in side if info is not None]
    if is_scale(name) or name in scales:
        return "a scale of quantised codes, not a weight"
    if all(info.dtype == SCALED_FLOAT8 for info in present):
        return "float8 codes with a scale beside them: convert to bfloat16 first"
    if all(not info.type.floating for info in present):
        return f"{present[0].dtype}: not a weight that changes by degrees"
    if is_buffer(name, present[0].shape):
        return "a buffer, not a parameter"
    if params == "matrices" and all(len(info.shape) < _MIN_AXES for info in present):
        return "one-dimensional (--params all takes it in)"
    return None


def _compare(before: TensorInfo | None, after: TensorInfo | None) -> State | None:
    if after is None:
        return State.MISSING
    if before is None:
        return State.NEW
    if not (before.type.floating and after.type.floating):
        return State.NOT_COMPARABLE
    return None if before.shape == after.shape else State.RESIZED


def _explain_unmatched(side: Sequence[TensorInfo | None], cells: Sequence[State | None], labels: Sequence[str]) -> str:
    present = [label for label, info in zip(labels, side, strict=True) if info is not None]
    if len(present) == 1:
        return f"only in {present[0]}"
    if State.RESIZED in cells:
        shapes = dict.fromkeys(str(list(info.shape)) for info in side if info is not None)
        return f"changes its shape: {' to '.join(list(shapes)[:4])}"
    if len(present) < len(side):
        return f"never in two successive checkpoints (in {len(present)} of {len(side)})"
    return "not comparable: changes between weights and codes"


def _explain_nothing(
    sides: Sequence[TensorsByName], labels: Sequence[str], num_chosen: int, pattern: str | None
) -> str:
    if pattern is not None and not num_chosen:
        return f"--layers {pattern!r} matches no tensor that could be compared"
    examples = [next(iter(side), "nothing") for side in sides[:2]]
    renames = [event.text for event in _tell_renames(sides, labels)]
    return (
        f"no layer in common between any two successive checkpoints: {labels[0]} holds {examples[0]!r}, "
        f"{labels[1]} holds {examples[1]!r}; {renames[0] if renames else 'are they of one model?'}"
    )


def _tie_key(name: str, side: Sequence[TensorInfo | None]) -> _TieKey:
    """Equal for names that are, in every checkpoint, only other names for the same bytes."""
    key = tuple(None if info is None or not info.numel else (info.shape, info.pieces, info.derivation) for info in side)
    return key if any(part is not None for part in key) else (name,)


def _tell_ties(ties: dict[str, str]) -> list[Event]:
    return [
        Event("tied", name, 0, f"{name} is tied to {kept} and counted once", {"kept": kept})
        for name, kept in ties.items()
    ]


def _tell_dtypes(
    rows: Sequence[Row], tensors: Sequence[tuple[TensorInfo | None, ...]], labels: Sequence[str]
) -> list[Event]:
    """One event for each checkpoint at which rows change their dtype; its index is among the checkpoints matched."""
    found: dict[tuple[int, str, str], list[str]] = {}
    for row, side in zip(rows, tensors, strict=True):
        for index in range(1, len(side)):
            before, after = side[index - 1], side[index]
            if before is None or after is None or not (before.type.floating and after.type.floating):
                continue
            if before.dtype != after.dtype:
                found.setdefault((index, before.dtype, after.dtype), []).append(row.name)
    return [
        Event(
            "dtype",
            names[0] if len(names) == 1 else None,
            index,
            f"{_count(names)} from {before} to {after} at {labels[index]}: part of the change is rounding",
            {"before": before, "after": after, "num_layers": len(names), "layers": names[:8]},
        )
        for (index, before, after), names in found.items()
    ]


def _tell_shapes(
    rows: Sequence[Row], tensors: Sequence[tuple[TensorInfo | None, ...]], labels: Sequence[str]
) -> list[Event]:
    events = []
    for row, side in zip(rows, tensors, strict=True):
        for index in range(1, len(side)):
            before, after = side[index - 1], side[index]
            if before is not None and after is not None and before.shape != after.shape:
                text = (
                    f"{row.name} changes its shape from {list(before.shape)} to {list(after.shape)} at {labels[index]}"
                )
                evidence = {"before": list(before.shape), "after": list(after.shape)}
                events.append(Event("resized", row.name, index, text, evidence))
    return events


def _tell_renames(sides: Sequence[TensorsByName], labels: Sequence[str]) -> list[Event]:
    """Tensors that vanish while others of the same shapes appear: how they might be compared."""
    events = []
    for index in range(1, len(sides)):
        before, after = sides[index - 1], sides[index]
        if before.keys() == after.keys():
            continue
        found = suggest_renames(*({n: i.shape for n, i in side.items() if i.type.floating} for side in (before, after)))
        if not found:
            continue
        options = " ".join(f"--rename {shlex.quote(f'{rename.pattern}={rename.replacement}')}" for rename in found)
        number = sum(len(rename.names) for rename in found)
        (old, new), *_ = found[0].names
        text = (
            f"{number} {'tensor has' if number == 1 else 'tensors have'} other names at {labels[index]} than before "
            f"({old} may be {new}): {options} would compare them"
        )
        evidence = {"renames": [[rename.pattern, rename.replacement] for rename in found], "num_tensors": number}
        events.append(Event("renamed", None, index, text, evidence))
    return events


def _count(names: Sequence[str]) -> str:
    return f"{names[0]} changes" if len(names) == 1 else f"{len(names)} layers change"
