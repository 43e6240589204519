"""Text that Markdown shows as it is: names as code, sentences whose words start nothing, tables."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
# Names of layers, of modules and of files, but no "e.g.".
_DOTTED: Final = re.compile(r"(?=.*[^\W\d_]{2})[^\W\d]\w*(?:\.\w+)+")
_CLOSING: Final = ".,;:?!%)"


@dataclass(frozen=True, slots=True)
class Names:
    """Names that sentences may hold.

    Attributes:
        all: The names, printable.
        first: Those that are one only where a sentence begins with them.
        token: A word of a sentence, or a name of several words with what stands around it.
    """

    all: frozenset[str]
    first: frozenset[str]
    token: re.Pattern[str]


def find_names(names: Iterable[str], labels: Iterable[str] = ()) -> Names:
    """Names as they are looked for in sentences, which have numbers and single letters of their own: not these.

    Args:
        names: Names of layers.
        labels: What checkpoints are called; one like "last" is also a word, unless a sentence begins with it.
    """
    called = frozenset(map(printable, labels))
    first = frozenset(filter(str.isalpha, called))
    shown = frozenset(map(printable, names)) | (called - first)
    known = frozenset(name for name in shown if len(name) > 1 and any(map(str.isalpha, name)))
    # A name of several words is one word to the reader; the longest that fits is meant.
    several = sorted((name for name in known if " " in name.strip()), key=len, reverse=True)
    choices = "|".join(rf"(?<!\S)\(?{re.escape(name)}[{_CLOSING}]*(?!\S)" for name in several)
    return Names(known, first, re.compile(rf"{choices}|\S+" if choices else r"\S+"))


NO_NAMES: Final = find_names(())


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


def prose(text: str, names: Names = NO_NAMES) -> str:
    """A sentence whose plain words stay as they are and whose other words become code, as do names.

    Args:
        text: The sentence.
        names: Names that are known; whatever looks like the name of a layer or of a file is one besides.
    """
    words = names.token.findall(" ".join(shorten(printable(text), _SENTENCE_WIDTH).split()))
    shown = [_tame_word(word, names.all) for word in words]
    if words and (words[0] in names.first or _LIST_START.fullmatch(words[0])):
        shown[0] = code(words[0])
    return " ".join(shown)


def _tame_word(word: str, names: frozenset[str]) -> str:
    """The word itself where nothing can be read into it, else its inner part as code."""
    if word in names:
        return code(word)
    matched = _WORD.fullmatch(word)
    opening, inner, closing = matched.groups() if matched else ("", word, "")
    # A name may itself end with what closes a sentence.
    for end in range(len(closing), 0, -1):
        if inner + closing[:end] in names:
            inner, closing = inner + closing[:end], closing[end:]
            break
    if inner in names or _DOTTED.fullmatch(inner) or not _PLAIN.fullmatch(inner) or _ACTIVE.match(inner):
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
