"""The lines that the HTML report is made of: plain data, whose strings are raw and become harmless in the template."""

from dataclasses import dataclass
from typing import Final

from wsanalyze.reports.html_marks import EventMark
from wsanalyze.reports.palette import COLOURS, MARKS, OUTLIER_MARK

MAX_NAMES: Final = 200
"""Names that one list of the page holds at most; the table, CSV and JSON hold all."""
MAX_LINES: Final = 500
"""Lines of the table of layers, of events or of skipped tensors that are there without scripts."""
_ALONE: Final = "-"


@dataclass(frozen=True, slots=True)
class Sign:
    """How a cluster is told from others: never by colour alone."""

    text: str
    mark: str
    colour: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure of the strip at the top."""

    value: str
    name: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class LayerLine:
    """One line of the table of layers, with its level, the median change; `None` where there is no number."""

    index: int
    name: str
    kind: str
    depth: int
    shape: str
    numel: int
    sign: Sign
    cluster: int
    confidence: float | None
    level: float | None
    last: float | None
    last_text: str
    curve: str
    states: str
    num_states: int


@dataclass(frozen=True, slots=True)
class MemberLine:
    """A member of a cluster, with its confidence where that is low."""

    index: int
    name: str
    unsure: float | None


@dataclass(frozen=True, slots=True)
class ClusterLine:
    """One cluster with its size and its first members, and whether it has a curve to draw."""

    id: int
    sign: Sign
    summary: str
    is_drawn: bool
    kind: str | None
    makeup: str
    size: int
    members: tuple[MemberLine, ...]
    median: float | None


@dataclass(frozen=True, slots=True)
class UnsureLine:
    """A layer that could as well be in another cluster."""

    index: int
    name: str
    sign: Sign
    confidence: float


@dataclass(frozen=True, slots=True)
class PhaseLine:
    """One part of the training."""

    where: str
    text: str


@dataclass(frozen=True, slots=True)
class WindowLine:
    """The trends within one sliding window."""

    where: str
    num_clusters: int
    num_moved: int
    text: str


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event, with the label of the checkpoint where it is first seen, and its mark above plots where it has one."""

    kind: str
    where: str
    text: str
    mark: EventMark | None


@dataclass(frozen=True, slots=True)
class SkipGroup:
    """Tensors that are in no row for the same reason: how many, and the first of them."""

    reason: str
    size: int
    names: tuple[str, ...]


def sign_of(cluster: int, *, outlier: bool = False) -> Sign:
    """Colour, mark and word of a cluster, or of a layer that is in none."""
    if cluster < 0:
        return Sign("outlier" if outlier else "none", OUTLIER_MARK if outlier else _ALONE, "alone")
    return Sign(str(cluster), MARKS[cluster % len(MARKS)], f"c{cluster % len(COLOURS)}")


def write_shape(shape: tuple[int, ...], *, known: bool) -> str:
    """A shape as people write it, or "scalar"; "-" where it is not known."""
    if not known:
        return _ALONE
    return "\N{MULTIPLICATION SIGN}".join(map(str, shape)) or "scalar"
