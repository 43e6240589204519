"""Copies in a listed sequence, as far as checksums, headers and names tell."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from wsanalyze.checkpoints.names import read_name
from wsanalyze.reports.text import join_some
from wsanalyze.sequence import CheckpointSequence, Member
from wsanalyze.series import Event

_CHECKSUMS: Final = "their checksums are equal"
_MAX_NAMED: Final = 6


def leave_copies_out(sequence: CheckpointSequence, proven: set[str]) -> tuple[CheckpointSequence, list[Event]]:
    """Mark all but the first of checkpoints whose weights are equal by their checksums, wherever they stand."""
    members = list(sequence.members)
    groups: dict[str, list[int]] = {}
    for index, member in enumerate(members):
        if member.alive and member.fingerprint in proven:
            groups.setdefault(member.fingerprint, []).append(index)
    events = []
    for kept, *copies in groups.values():
        if not copies:
            continue
        reason = f"the same weights as {members[kept].checkpoint.label} ({_CHECKSUMS})"
        names = [members[index].checkpoint.label for index in copies]
        verb = "holds" if len(names) == 1 else "hold"
        text = f"{join_some(names, _MAX_NAMED)} {verb} {reason}: only one of them is compared"
        evidence = {"of": kept, "checkpoints": copies, "how": _CHECKSUMS}
        events.append(Event("duplicate", None, copies[0], text, evidence))
        for index in copies:
            checkpoint = replace(members[index].checkpoint, duplicate_of=reason)
            members[index] = replace(members[index], checkpoint=checkpoint)
    return replace(sequence, members=tuple(members)), events


def suspect_copies(members: Sequence[Member]) -> dict[int, str]:
    """Which members may be copies of others, and why: headers of most formats cannot tell.

    All checkpoints of a run have one header and one size. Only those are suspected whose name points at another one
    (`last`, `best`), or that are of the same step as one before.
    """
    found: dict[int, str] = {}
    alike: dict[tuple[object, ...], list[int]] = {}
    for index, member in enumerate(members):
        if member.alive and not any(file.remote for file in member.checkpoint.files):  # hashes told of those
            alike.setdefault((member.fingerprint, member.checkpoint.nbytes), []).append(index)
    for group in alike.values():
        first: dict[object, str] = {}
        for index in group if len(group) > 1 else ():
            checkpoint = members[index].checkpoint
            name = read_name(checkpoint.label)
            when = checkpoint.stage, checkpoint.step, *sorted(checkpoint.facts.items()), *sorted(name.units.items())
            other = None if checkpoint.step is None else first.setdefault(when, checkpoint.label)
            if other not in (None, checkpoint.label):
                found[index] = f"has the step, the header and the size of {other}; only the weights tell"
            elif name.alias:
                others = [members[other].checkpoint.label for other in group if other != index]
                whose = others[0] if len(others) == 1 else f"{len(others)} others"
                found[index] = f"has the header and the size of {whose}; only the weights tell"
    return found
