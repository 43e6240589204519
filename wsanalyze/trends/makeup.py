"""What the members of a cluster are, in words: their kinds, and where in the network they lie."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from wsanalyze.sentences import list_names
from wsanalyze.series import Kind, Row

_MOST_KINDS: Final = 4
_PARTS: Final = ("first", "middle", "last")
_MOSTLY: Final = 0.8
_COMPACT: Final = 0.75
_FEW: Final = 2
_MANY: Final = 4
_LEAST_PLACED: Final = 6
_LEAST_TOLD: Final = 3
_WIDE: Final = 0.6
_UNKNOWN: Final = "of unknown kind"


def describe_makeup(rows: Sequence[Row], members: Sequence[int], kind: str | None = None) -> str:
    """Say what some rows are that the others are not.

    Args:
        rows: All rows.
        members: Indices of those to describe.
        kind: The kind whose rows were clustered by themselves, or None.

    Returns:
        Words such as "all 8 attention q", "conv and pointwise, in the first third", "5 of 8 mlp up, depths 3 to 14",
        "of all kinds, all over the network"; of one or two rows their names, of nearly all rows those of the rest.
        Empty where there is nothing to tell: of all rows, or of none.
    """
    if kind is not None:
        among = [index for index, row in enumerate(rows) if row.kind == kind]
        rows, members = [rows[index] for index in among], np.searchsorted(among, sorted(members)).tolist()
    if not members or len(members) == len(rows):
        return ""
    rest = sorted({*range(len(rows))} - {*members})
    if len(rest) <= _FEW and len(members) >= _MANY * len(rest):
        return f"all but {list_names([rows[index].name for index in rest])}"
    if len(members) <= _FEW:
        return list_names([rows[index].name for index in members])
    kinds, whole = _describe_kinds([rows[index].kind for index in members], [row.kind for row in rows])
    place = "" if whole else _describe_place(rows, members)
    return ", ".join(filter(None, (kinds, place)))


def name_kinds(kinds: Iterable[Kind]) -> str:
    """Names of kinds in a sentence, those that begin alike put together: "conv, attention q and k"."""
    families: dict[str, list[str]] = {}
    for kind in kinds:
        first, _, rest = str(kind).partition(" ")
        families.setdefault(first, []).append(rest)
    return list_names([f"{first} {list_names(rests)}".strip() for first, rests in families.items()], _MOST_KINDS)


def _describe_kinds(inside: Sequence[Kind], everywhere: Sequence[Kind]) -> tuple[str, bool]:
    """What kinds there are, and whether those are all rows of them: then their place tells nothing more."""
    own, total = Counter(inside), Counter(everywhere)
    if len(total) == 1:
        return "", False
    whole = all(own[kind] == total[kind] for kind in own)
    named = [kind for kind in total if kind in own]
    if Kind.OTHER in total and len(total) == 2 and len(named) == 2:  # noqa: PLR2004 - one kind, and what has none
        return "", False
    names = _UNKNOWN if named == [Kind.OTHER] else name_kinds(named).replace(str(Kind.OTHER), f"those {_UNKNOWN}")
    if len(named) == 1:
        count = total[named[0]]
        words = f"{len(inside)} of {count} {names}" if not whole else f"all {count} {names}" if count > 1 else names
    elif len(named) == len(total):
        words = "of all kinds"
    elif len(named) > _MOST_KINDS:
        words = f"of {len(named)} of {len(total)} kinds"
    else:
        words = f"all {names}" if whole else names
    return words, whole


def _describe_place(rows: Sequence[Row], members: Sequence[int]) -> str:
    """Where in the network some rows lie, by the rank of their depths; empty where it is too small to tell."""
    depths = sorted({row.depth for row in rows})
    if len(depths) < _LEAST_PLACED:
        return ""
    own = sorted(rows[index].depth for index in members)
    ranks = np.searchsorted(depths, own)
    share = np.bincount(np.minimum(3 * ranks // len(depths), 2), minlength=3) / len(own)
    part, without = int(np.argmax(share)), int(np.argmin(share))
    if share[part] == 1:
        return f"in the {_PARTS[part]} third"
    if len(own) < _LEAST_TOLD:
        return f"depths {list_names([str(depth) for depth in dict.fromkeys(own)])}"
    kinds = {rows[index].kind for index in members}
    between = sum(own[0] <= row.depth <= own[-1] and row.kind in kinds for row in rows)
    stretch = ranks[-1] - ranks[0] < _WIDE * len(depths) and len(own) >= _COMPACT * between
    if stretch or (share[without] == 0 and len(own) < _LEAST_PLACED):
        return f"depths {own[0]} to {own[-1]}"
    if share[part] >= _MOSTLY:
        return f"mostly in the {_PARTS[part]} third"
    return "all over the network" if share[without] > 0 else f"not in the {_PARTS[without]} third"
