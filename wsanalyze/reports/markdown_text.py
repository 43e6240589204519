"""Text that Markdown shows as it is: names as code, sentences whose words start nothing, tables."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from wsanalyze.reports.text import printable, shorten

NAME_WIDTH: Final = 60
"""Characters of a name that are shown at most."""

_SENTENCE_WIDTH: Final = 600
_COMMAND_WIDTH: Final = 2000
_FENCE_WIDTH: Final = 3

_WORD: Final = re.compile(r"(\(?)(.*?)([.,;:?!%)]*)")
# Everything else is put in code, where no mention, link, reference, markup, mathematics or table can begin.
_PLAIN: Final = re.compile(r"[^\W_]+(?:[.,;%'=/-][^\W_]+)*|[=/-]?")
_ACTIVE: Final = re.compile(r"www\.|gh-\d|(?=\d*[a-f])[0-9a-f]{7,}$", re.IGNORECASE)
_LIST_START: Final = re.compile(r"\d+[.)]|[=-]")


def code(text: str, width: int = NAME_WIDTH) -> str:
    r"""Text as inline code that ends where it should and lies in one cell of a table.

    A backtick would end the code and a bar the cell, whatever stands before it, so they become `\x60` and `\x7c`.
    """
    shown = printable(text).replace("`", r"\x60").replace("|", r"\x7c")
    return f"`{shorten(shown, width) or ' '}`"


def fence(text: str) -> str:
    """Text as one line of code by itself, to be copied: nothing of it is replaced but what does not print."""
    line = shorten(printable(text), _COMMAND_WIDTH)
    longest = max(map(len, re.findall("`+", line)), default=0)
    marks = "`" * max(_FENCE_WIDTH, longest + 1)
    return f"{marks}sh\n{line}\n{marks}"


def prose(text: str) -> str:
    """A sentence whose plain words stay as they are and whose other words become code."""
    words = shorten(printable(text), _SENTENCE_WIDTH).split()
    if words and _LIST_START.fullmatch(words[0]):
        words[0] = code(words[0])
        return " ".join([words[0], *map(_tame_word, words[1:])])
    return " ".join(map(_tame_word, words))


def _tame_word(word: str) -> str:
    """The word itself where nothing can be read into it, else its inner part as code."""
    matched = _WORD.fullmatch(word)
    opening, inner, closing = matched.groups() if matched else ("", word, "")
    if not _PLAIN.fullmatch(inner) or _ACTIVE.match(inner):
        inner = code(inner)
    return f"{opening}{inner}{closing}"


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]], alignment: str) -> str:
    """A table of cells that are Markdown already.

    Args:
        header: Titles of the columns.
        rows: As many cells each.
        alignment: "l" or "r" for each column.
    """
    rules = {"l": "---", "r": "---:"}
    lines = [header, [rules[side] for side in alignment], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
