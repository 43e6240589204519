"""What is done besides for checkpoints that lie far away: files are checked when they came, samples taken along."""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from wsanalyze.changes.measure import Measured
from wsanalyze.files.base import ByteSource
from wsanalyze.hub.beside import WindowName
from wsanalyze.hub.session import HubSession
from wsanalyze.likeness.find import move_event
from wsanalyze.likeness.tap import SampleTap
from wsanalyze.sequence import Member
from wsanalyze.series import Event
from wsanalyze.store.run_file import RunFile
from wsanalyze.tensors.files import check_places, read_checkpoint


def name_window(path: Path) -> WindowName:
    """The name of the folder for files on their way to a run file."""
    run = path.resolve()
    name = hashlib.blake2b(str(run).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return WindowName(name, run)


def make_check(member: Member, hub: HubSession | None) -> Callable[[], None] | None:
    """What sees that the tensors of files that were brought here lie where their headers, read from afar, said."""
    checkpoint = member.checkpoint
    if hub is None or not member.remote or all(file.url.endswith(".safetensors") for file in checkpoint.files):
        return None

    checked: set[tuple[str, ...]] = set()

    def check() -> None:
        here = zip(hub.files.local_files(checkpoint.files), checkpoint.prefixes, strict=True)
        brought = [(file, prefix) for file, prefix in here if not file.remote]
        fresh = tuple(file.url for file, _ in brought)
        if fresh in checked or (checkpoint.layout != "files" and len(brought) < len(checkpoint.files)):
            return
        files, prefixes = zip(*brought, strict=True)
        found, _ = read_checkpoint(hub.files, checkpoint.layout, files, prefixes)
        check_places(member.sets, found.infos, checkpoint.origin)
        checked.add(fresh)

    return check


def make_tap(members: Sequence[Member], source: ByteSource, store: RunFile, layers: str | None) -> SampleTap:
    """What takes samples along of those rows that are measured; an expression that is none is told by measuring."""
    try:
        wanted = re.compile(layers or "")
    except re.error:
        wanted = re.compile("")
    sides = [{name: info for name, info in m.tensors.items() if wanted.search(name)} for m in members]
    return SampleTap(source, sides, [member.identity for member in members], store)


def tell_tapped(tap: SampleTap, members: Sequence[Member], alive: Sequence[int], measured: Measured) -> list[Event]:
    """Impostors and strange ends, told by samples that were taken along."""
    measured_members = [members[index] for index in measured.alive]
    events = tap.tell_misplaced(
        measured.alive, [m.checkpoint.label for m in measured_members], [m.checkpoint.step for m in measured_members]
    )
    return [move_event(event, alive) for event in events]
