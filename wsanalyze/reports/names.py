"""Names of layers in a narrow column: what all of them share goes first, what tells them apart stays."""

import itertools
import re
from collections.abc import Sequence
from typing import Final

from wsanalyze.reports.text import shorten, text_width

# A shorter start is not worth the line that says that it was taken off.
_SHORTEST_PREFIX: Final = 10
_MAX_PARTS: Final = 200  # of a name that somebody made up, each part of which would be tried
# After a dot, unless it is that of a number, and after an underscore.
_BREAK: Final = re.compile(r"(?<=[^\W\d]\.)(?=\w)|(?<=\w\.)(?=[^\W\d])|(?<=[^\W_]_)(?=[^\W_])")


def split_names(text: str) -> list[str]:
    """The parts of a name, or of a text with names in it, between which a line may end; together they are the text."""
    return _BREAK.split(text)


def find_prefix(names: Sequence[str]) -> str:
    """The dotted start that all names share.

    Returns:
        The start with its last dot, to be taken off every name; empty where there is none that is worth it, or where
        a name would have nothing left.
    """
    if len(names) < 2:  # noqa: PLR2004 - one name shares nothing
        return ""
    columns = zip(*(name.split(".")[:-1] for name in names), strict=False)
    prefix = "".join(f"{parts[0]}." for parts in itertools.takewhile(lambda parts: len(set(parts)) == 1, columns))
    return prefix if len(prefix) >= _SHORTEST_PREFIX and prefix not in names else ""


def shorten_names(names: Sequence[str], width: int, ellipsis: str = "…") -> list[str]:
    """Shorten each name that is too wide, so that names shown together can be told apart where that is possible.

    Parts between dots that all names share are left out first, then words, from the left; numbers of layers and the
    last part stay as long as anything else can go. Paths and whole sentences lose their middle.

    Args:
        names: Printable names that are shown together.
        width: Columns that there are for each, at least 0.
        ellipsis: What stands for the parts that are left out.

    Returns:
        As many names, none wider than `width`.
    """
    shared = set.intersection(*(set(name.split(".")) for name in names)) if len(names) > 1 else set()
    return [_shorten_name(name, shared, width, ellipsis) for name in names]


def _shorten_name(name: str, shared: set[str], width: int, ellipsis: str) -> str:
    if text_width(name) <= width or "/" in name or " " in name:
        return shorten(name, width, ellipsis)
    parts = name.split(".")
    if len(parts) > _MAX_PARTS:
        return shorten(name, width, ellipsis)
    words = [i for i, part in enumerate(parts[:-1]) if part in shared or not any(map(str.isdigit, part))]
    dropped: set[int] = set()
    shown = name
    for index in sorted(words, key=lambda i: parts[i] not in shared):
        dropped.add(index)
        shown = _join_parts(parts, dropped, ellipsis)
        if text_width(shown) <= width:
            return shown
    return shorten(shown, width, ellipsis)


def _join_parts(parts: Sequence[str], dropped: set[int], ellipsis: str) -> str:
    """The parts with their dots, one ellipsis for each run of dropped ones."""
    shown = ""
    for index, part in enumerate(parts):
        if index not in dropped:
            dot = "." if index and index - 1 not in dropped else ""
            shown += dot + part
        elif index - 1 not in dropped:
            shown += ellipsis
    return shown
