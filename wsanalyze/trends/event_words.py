"""What is said of layers that freeze, wake, die or lose their numbers: of one, and of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wsanalyze.sentences import list_names
from wsanalyze.series import Event
from wsanalyze.trends.words import SHOWN_NAMES


@dataclass(frozen=True, slots=True)
class Words:
    """What is said of one layer and of several, and what stands around the checkpoint."""

    one: str
    many: str
    before: str = ""
    after: str = ""

    def when(self, place: str) -> str:
        """The words from the checkpoint on; empty where none belongs into the sentence."""
        return f" {self.before} {place}{self.after}" if self.before else ""


NONFINITE: Final = Words("has NaN or Inf weights", "have NaN or Inf weights", "at")
NONFINITE_CHANGES: Final = Words("has no finite change", "have no finite change", "at")
DEAD: Final = Words("is all zero", "are all zero", "from", " on")
NEVER: Final = Words("never changes", "never change")
FROZEN: Final = Words("stops changing", "stop changing", "at")
WAKES: Final = Words("wakes", "wake", "after", ", with no change until then")
PAUSES: Final = Words("stands still", "stand still", "up to")


_ALL: Final = (NONFINITE, NONFINITE_CHANGES, DEAD, NEVER, FROZEN, WAKES, PAUSES)


def say_of_many(words: Words, when: str) -> str:
    """What is said of several layers: "1 layer moves on", "5 layers move on"."""
    return f"{words.many}{when.replace(' and moves on', ' and move on')}"


def join_events(events: Sequence[Event]) -> str:
    """What the first of some events says, and of all layers of which others say the same at the same checkpoint.

    Args:
        events: At least one.

    Returns:
        One sentence, as in "a, b and c stop changing at step 400."
    """
    first = events[0]
    said = _strip_name(first)
    alike = [event for event in events if event.checkpoint == first.checkpoint and _strip_name(event) == said]
    words = next((words for words in _ALL if said is not None and said.startswith(words.one)), None)
    if said is None or words is None or len(alike) == 1:
        return first.text
    names = list_names([str(event.layer) for event in alike], SHOWN_NAMES)
    return f"{names} {say_of_many(words, said.removeprefix(words.one))}"


def _strip_name(event: Event) -> str | None:
    """What an event says of its layer; None where it is of none."""
    begin = f"{event.layer} "
    return event.text.removeprefix(begin) if event.layer is not None and event.text.startswith(begin) else None
