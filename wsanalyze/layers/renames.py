"""Names of tensors that changed between checkpoints: renaming on demand, and suggestions."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from wsanalyze.errors import UsageError

_MAX_RENAMES: Final = 4
_MAX_RULES: Final = 64
_MAX_TRIED: Final = 128
_FEWEST_NAMES: Final = 2

_Value = TypeVar("_Value")
_Shape = tuple[int, ...]


def rename_tensors(tensors: Mapping[str, _Value], renames: Sequence[tuple[str, str]]) -> dict[str, _Value]:
    """Apply renames to the names of a checkpoint's tensors.

    Args:
        tensors: Anything by full name of a tensor.
        renames: (regular expression, replacement) pairs as of `re.sub`, applied one after another to every name.

    Returns:
        The same by the new names, in the same order.

    Raises:
        UsageError: If two tensors of the checkpoint would have the same name.
    """
    found = dict(tensors)
    for pattern, replacement in renames:
        renamed: dict[str, _Value] = {}
        for name, value in found.items():
            new = re.sub(pattern, replacement, name)
            if new in renamed:
                raise UsageError(f"--rename {pattern}={replacement} gives two tensors the name {new!r}")
            renamed[new] = value
        found = renamed
    return found


@dataclass(frozen=True, slots=True)
class Rename:
    """A rename that would match tensors which otherwise vanish on one side and appear on the other.

    Attributes:
        pattern: Regular expression, as of `re.sub`.
        replacement: What to put in its place.
        names: (before, after) names of the tensors that it matches.
    """

    pattern: str
    replacement: str
    names: tuple[tuple[str, str], ...]


def suggest_renames(before: Mapping[str, _Shape], after: Mapping[str, _Shape]) -> list[Rename]:
    """Suggest renames of whole parts of names between two checkpoints; none is ever applied by itself.

    Args:
        before: Shapes of the tensors of one checkpoint by name.
        after: Those of the next.

    Returns:
        Renames to be applied together, the one that matches most tensors first. Each leaves the names that both
        checkpoints have, and those of the next, as they are, and matches tensors of equal shape only.
    """
    gone = {name: shape for name, shape in before.items() if name not in after}
    come = {name: shape for name, shape in after.items() if name not in before}
    right = list(after)
    origin = {name: name for name in gone}
    fewest = 1 if len(gone) < len(before) else _FEWEST_NAMES
    found: list[Rename] = []
    while gone and come and len(found) < _MAX_RENAMES:
        tried = [_try_rule(*rule, gone, come, right) for rule in _propose(gone, come)]
        best = max(tried, key=lambda rename: (len(rename.names), -len(rename.pattern)), default=None)
        if best is None or len(best.names) < fewest:
            break
        found.append(replace(best, names=tuple((origin[old], new) for old, new in best.names)))
        # The next one is applied to what this one leaves.
        renamed = {name: re.sub(best.pattern, best.replacement, name) for name in gone}
        matched = {new for _, new in best.names}
        origin = {renamed[name]: origin[name] for name in gone if renamed[name] not in matched}
        gone = {renamed[name]: shape for name, shape in gone.items() if renamed[name] not in matched}
        come = {name: shape for name, shape in come.items() if name not in matched}
    return found


def _propose(gone: Mapping[str, _Shape], come: Mapping[str, _Shape]) -> list[tuple[str, str]]:
    """Rules that turn some name that is gone into some name of the same shape that has come, the commonest first."""
    by_shape: dict[_Shape, list[str]] = {}
    for name, shape in come.items():
        by_shape.setdefault(shape, []).append(name)
    rules: Counter[tuple[str, str]] = Counter()
    for name in list(gone)[:_MAX_TRIED]:
        for other in by_shape.get(gone[name], [])[:_MAX_TRIED]:
            rules.update(_make_rules(name.split("."), other.split(".")))
    return [rule for rule, _ in rules.most_common(_MAX_RULES)]


def _make_rules(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Rules for the parts of two names that differ: where they are, and anywhere, as simple as can be."""
    shorter = min(len(old), len(new))
    head = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    tail = next((i for i in range(shorter - head) if old[-1 - i] != new[-1 - i]), shorter - head)
    gone, come = old[head : len(old) - tail], new[head : len(new) - tail]
    whole = ".".join(old), ".".join(new)
    pairs = {(one, other) for one, other in zip(*whole, strict=False) if one != other}
    if len(pairs) == 1 and len(whole[0]) == len(whole[1]) and not any(map(str.isalnum, *pairs)):
        ((one, other),) = pairs  # spaces that became underscores
        yield _escape(one), _escape_replacement(other)
    if any(part.isdigit() for part in (*gone, *come)):
        return  # blocks that are counted otherwise are other blocks
    pattern, replacement = _escape(".".join(gone)), _escape_replacement(".".join(come))
    if gone and come:
        yield pattern, replacement
        yield rf"(?<![^.]){pattern}(?![^.])", replacement
    elif gone and not head:
        yield rf"^{pattern}\.", ""
    elif gone:
        yield rf"\.{pattern}(?=\.)", ""
    elif not head:
        yield rf"^(?!{_escape('.'.join(come))}\.)", f"{replacement}."
        yield rf"^(?={_escape(old[0])}\.)", f"{replacement}."
    elif not any(part.isdigit() for part in old[:head]) and tail:
        above = ".".join(old[:head])
        yield rf"^{_escape(above)}\.(?={_escape(old[head])}\.)", f"{_escape_replacement(above)}.{replacement}."


def _escape(text: str) -> str:
    """As `re.escape`, but for what people can read as it is."""
    return re.escape(text).replace("\\ ", " ").replace("\\-", "-")


def _escape_replacement(text: str) -> str:
    return text.replace("\\", "\\\\")


def _try_rule(
    pattern: str, replacement: str, gone: Mapping[str, _Shape], come: Mapping[str, _Shape], right: Sequence[str]
) -> Rename:
    """What a rule matches: nothing where it would touch a name that is right as it is, or make two names the same."""
    rule = re.compile(pattern)
    renamed = {name: rule.sub(replacement, name) for name in gone}
    clear = len(set(renamed.values())) == len(renamed) and not any(rule.search(name) for name in right)
    names = tuple((old, new) for old, new in renamed.items() if come.get(new) == gone[old]) if clear else ()
    return Rename(pattern, replacement, names)
