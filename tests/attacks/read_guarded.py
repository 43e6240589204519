"""Read checkpoints in a process in which nothing may happen but reading, and tell what came of each.

    python read_guarded.py HONEST PATH...

Prints one JSON object: for each path the digest of every tensor's elements by name, the problems of checkpoints that
were refused, and what was done that no reader does. HONEST is read first, unwatched, so that late imports are over.
"""

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

from guard import ForbiddenError, Guard, limit_memory

from wsanalyze.checkpoints.facts import fingerprint_file, read_facts
from wsanalyze.choosing import SequenceOptions
from wsanalyze.errors import WsAnalyzeError
from wsanalyze.files.local import LocalFiles
from wsanalyze.progress import silent
from wsanalyze.sequence import Member, open_sequence
from wsanalyze.sources import locate_checkpoints
from wsanalyze.tensors.files import read_checkpoint
from wsanalyze.tensors.gather import ElementReader


def read_path(path: str) -> dict[str, Any]:
    """Everything that a sequence of one path tells: as `analyze` would open it, and each element."""
    told: dict[str, Any] = {"tensors": {}, "problems": [], "done": []}
    try:
        with LocalFiles() as source:
            found = open_sequence(locate_checkpoints([path]), SequenceOptions(), source, {}, silent)
            for member in found.members:
                if member.checkpoint.problem is not None:
                    told["problems"].append(member.checkpoint.problem)
                    continue
                told["tensors"] |= dict(_digest(member, source))
    except WsAnalyzeError as error:
        told["problems"].append(str(error))
    return told


def _digest(member: Member, source: LocalFiles) -> Iterator[tuple[str, str]]:
    checkpoint = member.checkpoint
    _, contents = read_checkpoint(source, checkpoint.layout, checkpoint.files, checkpoint.prefixes)
    for file, content in zip(checkpoint.files, contents, strict=True):
        read_facts(content)
        fingerprint_file(source, file, content)
    reader = ElementReader(source)
    for name, info in member.tensors.items():
        if info.type.floating:
            elements = reader(info, 0, info.numel)
            yield name, hashlib.sha256(elements.astype("<f4").tobytes()).hexdigest()


def main() -> None:
    """Read them all."""
    honest, *paths = sys.argv[1:]
    limit_memory()
    with contextlib.suppress(WsAnalyzeError):
        read_path(honest)
    guard = Guard(Path(honest).parent)
    guard.install()
    answers = {}
    for path in paths:
        try:
            with guard.armed():
                answers[path] = read_path(path)
        except ForbiddenError as error:
            answers[path] = {"tensors": {}, "problems": [], "done": [str(error)]}
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
