"""Values that people type: sizes, ranges of steps, numbers of clusters."""

import contextlib
import operator
import re
import reprlib
from typing import Final, SupportsIndex

from wsanalyze.errors import UsageError

MAX_MEMORY_BYTES: Final = 2**60

_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_SIZE: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([kmg]i?)?b?", re.IGNORECASE)
_STEPS: Final = re.compile(r"([0-9]{1,18})?:([0-9]{1,18})?")
_CLUSTERS: Final = re.compile(r"[0-9]{1,9}")


def parse_memory(text: str | int) -> int:
    """A size in bytes: 64MB, 1.5GiB, 500000000.

    Raises:
        UsageError: If it is none.
    """
    found = _SIZE.fullmatch(str(text).strip())
    if not found:
        raise UsageError(f"--memory takes a size such as 64MB or 1GiB, not {text!r}")
    return min(MAX_MEMORY_BYTES, int(float(found[1]) * _UNITS[(found[2] or "").lower()]))


def parse_steps(text: str | None) -> tuple[int | None, int | None]:
    """A range of steps, both ends included: 100:500, 100: or :500.

    Raises:
        UsageError: If it is none, or ends before it begins.
    """
    if text is None:
        return None, None
    found = _STEPS.fullmatch(text.strip())
    if not found:
        raise UsageError(f"--steps takes a range such as 100:500, 100: or :500, not {text!r}")
    first, last = (None if part is None else int(part) for part in found.groups())
    if first is not None and last is not None and first > last:
        raise UsageError(f"--steps {text!r} ends before it begins")
    return first, last


def parse_clusters(text: str) -> int | None:
    """A number of clusters from 1 on, or None for auto.

    Raises:
        UsageError: If it is neither.
    """
    if text == "auto":
        return None
    if not _CLUSTERS.fullmatch(text) or int(text) < 1:
        raise UsageError(f"--clusters takes auto or a number from 1 on, not {text!r}")
    return int(text)


def parse_rename(text: str) -> tuple[str, str]:
    """A rename of tensors, OLD=NEW, as a regular expression and its replacement; the last `=` parts the two.

    Raises:
        UsageError: If it is none.
    """
    old, sign, new = text.rpartition("=")
    if not sign or not old:
        raise UsageError(f"--rename takes OLD=NEW, a regular expression and what to put in its place, not {text!r}")
    return check_rename(old, new)


def check_rename(old: str, new: str) -> tuple[str, str]:
    """Refuse a rename that `re.sub` would not take.

    Raises:
        UsageError: If the one is no regular expression, or the other no replacement for it.
    """
    try:
        re.compile(old).sub(new, "")
    except (re.error, IndexError) as error:
        raise UsageError(f"--rename {old}={new}: {error}") from error
    return old, new


def check_whole(name: str, value: object, otherwise: str = "") -> int:
    """A whole number that was given to the library, also one of NumPy.

    Args:
        name: What the argument is called.
        value: What was given.
        otherwise: What may be given instead.

    Raises:
        UsageError: If it is none.
    """
    if isinstance(value, SupportsIndex):
        with contextlib.suppress(TypeError):  # an array has the method, and refuses unless it is one whole number
            return operator.index(value)
    instead = f" or {otherwise}" if otherwise else ""
    raise UsageError(f"{name} takes a whole number{instead}, not {say(value)}")


def check_text(name: str, value: object) -> str:
    """A text that was given to the library.

    Raises:
        UsageError: If it is none.
    """
    if not isinstance(value, str):
        raise UsageError(f"{name} takes a text, not {say(value)}")
    return value


def say(value: object) -> str:
    """A value as it would be typed, as a line of bounded length."""
    return " ".join(reprlib.repr(value).split())
