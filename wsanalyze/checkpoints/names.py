"""Steps, stages and roles that people and trainers write into the names of checkpoints."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

MAX_STEP: Final = 2**53
_MULTIPLIERS: Final = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_MAX_DIGITS: Final = 18
_SCALE: Final = r"(?:[kKmMbB]|[eE]\d{1,2})(?![a-zA-Z0-9])"
_NUMBER: Final = rf"[=_\-.]?(\d{{1,15}}(?:\.\d{{1,9}}(?={_SCALE}))?)(?!\d)({_SCALE})?"
_KEYED: Final = tuple(
    (unit, re.compile(rf"(?<![a-zA-Z0-9])(?:{words}){_NUMBER}", re.IGNORECASE))
    for unit, words in (
        ("step", r"global[_-]?steps?|steps?|iter(?:ation)?s?|it|num[_-]?updates|updates?|ba"),
        ("epoch", r"epochs?|ep|e"),
        ("number", r"checkpoint|ckpt|chkpt|cp|model|weights|snapshot|round|gen(?:eration)?|episode|tokens?"),
    )
)
_STAGE: Final = re.compile(r"(?<![a-zA-Z])((?:stage|phase|ingredient)[_-]?\d+(?:[_-]ingredient\d+)?)", re.IGNORECASE)
_ALIAS: Final = re.compile(
    r"(?<![a-zA-Z])(last|latest|final|newest|current|best|recovery|init|initial|initialized)(?![a-z])", re.IGNORECASE
)
_STEP_FOLDER: Final = re.compile(r"(checkpoint|ckpt|chkpt|cp)[-_=.]?\d+(e\d{1,2})?|[-_=.]?\d+", re.IGNORECASE)
_HASH: Final = re.compile(r"(?=.*[a-f].*[a-f])(?=.*\d)[0-9a-f]{7,40}")
_MONTHS: Final = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DATES: Final = (
    re.compile(r"(?<!\d)(?P<day>\d{1,2})[-_ ]?(?P<name>[A-Za-z]{3})[a-z]*[-_ ]?(?P<year>(?:19|20)\d\d)(?!\d)"),
    re.compile(r"(?<!\d)(?P<year>(?:19|20)\d\d)[-_]?(?P<month>0[1-9]|1[0-2])[-_]?(?P<day>0[1-9]|[12]\d|3[01])(?!\d)"),
)


@dataclass(frozen=True, slots=True)
class NameFacts:
    """What one name says.

    Attributes:
        units: Numbers by their unit: "step", "epoch", "number".
        stage: "stage1" or "".
        role: "last", "best", "init", ... where the name says what a checkpoint is to the others, or "".
        date: Day of a date in the name as an ordinal, or None.
    """

    units: dict[str, int]
    stage: str
    role: str
    date: int | None

    @property
    def alias(self) -> str:
        """The role, where the name points at a checkpoint with it instead of numbering one; else ""."""
        return "" if self.units else self.role


def read_name(name: str) -> NameFacts:
    """Find the numbers that a name carries, with the units that it gives them."""
    units: dict[str, int] = {}
    if _HASH.fullmatch(name):  # of a commit: its e85 is no epoch
        return NameFacts(units, "", "", None)
    for unit, pattern in _KEYED:
        if found := pattern.search(name):
            number = int(Decimal(found[1]) * _read_scale(found[2] or ""))
            if number < MAX_STEP:
                units[unit] = number
    stage = _STAGE.search(name)
    role = _ALIAS.search(name)
    return NameFacts(units, stage[1].lower() if stage else "", role[1].lower() if role else "", _read_date(name))


def _read_scale(suffix: str) -> int:
    """What a number is multiplied by: 1000 for `k` and for `e3`."""
    return 10 ** int(suffix[1:]) if suffix[:1] in {"e", "E"} else _MULTIPLIERS[suffix.lower()]


def _read_date(name: str) -> int | None:
    for pattern in _DATES:
        if found := pattern.search(name):
            parts = found.groupdict()
            word = (parts.get("name") or "").lower()
            if word and word not in _MONTHS:
                continue
            month = _MONTHS.index(word) + 1 if word else int(parts["month"])
            try:
                return dt.date(int(parts["year"]), month, int(parts["day"])).toordinal()
            except ValueError:
                continue
    return None


def read_varying_numbers(names: Sequence[str]) -> list[int | None]:
    """For names without a unit, the number in which they differ: 3 and 12 of `run7_3` and `run7_12`.

    Args:
        names: Names of the checkpoints of one sequence.

    Returns:
        One number for each name; None for names of another make than most, or where no number tells all of them apart.
    """
    split = [re.split(r"(\d+)", name) for name in names]
    makes: dict[tuple[str, ...], list[int]] = {}
    for index, parts in enumerate(split):
        makes.setdefault(tuple(parts[::2]), []).append(index)
    found: list[int | None] = [None] * len(names)
    members = max(makes.values(), key=len, default=[])
    columns = zip(*(split[index][1::2] for index in members), strict=True)
    readable = [[int(part) for part in column] for column in columns if max(map(len, column)) <= _MAX_DIGITS]
    varying = [column for column in readable if len(set(column)) == len(members)]
    if varying and (len(members) > 1 or not any(re.split(r"\d+", names[members[0]]))):
        for index, number in zip(members, varying[-1], strict=True):
            found[index] = number if number < MAX_STEP else None
    return found


def names_step(name: str) -> bool:
    """Whether a folder of that name is one checkpoint rather than a run."""
    return bool(read_name(name).units.keys() & {"step", "epoch"} or _STEP_FOLDER.fullmatch(name))


def mask_numbers(name: str) -> str:
    """The make of a name: itself with every number replaced by `#`."""
    return re.sub(r"\d+", "#", name)


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key under which `step200` comes before `step1000`; no two texts share one."""
    parts = re.split(r"(\d+)", text)
    keys = [(1, int(p), "") if i % 2 and len(p) <= _MAX_DIGITS else (0, 0, p) for i, p in enumerate(parts)]
    return (*keys, (0, 0, text))
