"""Opening a checkpoint: what its headers say, and a fault that becomes its own problem, so that the others go on."""

import hashlib
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, replace

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.facts import fingerprint_file, read_arch, read_facts
from wsanalyze.errors import CheckpointError, NoWeightsError
from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.tensors.base import TensorSet
from wsanalyze.tensors.files import describe_format, read_checkpoint

Fingerprints = MutableMapping[tuple[str, str], str]
"""Fingerprints of files by (url, stamp)."""


@dataclass(frozen=True, slots=True)
class OpenedCheckpoint:
    """A checkpoint whose headers were read.

    Attributes:
        checkpoint: The checkpoint, with the facts that its files tell.
        tensors: What it holds, or None where it could not be read: then its `problem` says why.
        format: Layout of its files in words.
        fingerprint: Equal for equal weights in equal structures, or "".
        proven: Whether no other weights have that fingerprint; headers alone may not tell.
        summed: Whether checksums in it cover all weights.
        arch: What its files say that its model is called, or "".
    """

    checkpoint: Checkpoint
    tensors: TensorSet | None
    format: str = ""
    fingerprint: str = ""
    proven: bool = True
    summed: bool = False
    arch: str = ""


Opener = Callable[[Checkpoint, ByteSource], OpenedCheckpoint]
"""Reads the headers of one checkpoint; a fault becomes its problem, and NoWeightsError leaves it out."""


def open_checkpoint(checkpoint: Checkpoint, source: ByteSource, fingerprints: Fingerprints) -> OpenedCheckpoint:
    """Read the headers of one checkpoint; a fault becomes its problem, so that the others go on."""
    if checkpoint.problem is not None:
        return OpenedCheckpoint(checkpoint, None)
    try:
        tensors, contents = read_checkpoint(source, checkpoint.layout, checkpoint.files, checkpoint.prefixes)
        facts = dict(checkpoint.facts)
        parts, summed = [], True
        for file, content in zip(checkpoint.files, contents, strict=True):
            facts = read_facts(content) | facts
            if file.remote:  # its stamp is a hash of all its bytes
                source.verify(file)
                parts.append(file.stamp)
                continue
            summed = summed and not content.unsummed(source, file)
            if _key(file) not in fingerprints:
                fingerprints[_key(file)] = fingerprint_file(source, file, content)
            parts.append(fingerprints[_key(file)])
    except NoWeightsError:
        raise
    except CheckpointError as error:
        return OpenedCheckpoint(replace(checkpoint, problem=str(error)), None)
    arch = next(filter(None, map(read_arch, contents)), "")
    form = describe_format(checkpoint.layout, contents)
    fingerprint = join_fingerprints(checkpoint, parts)
    return OpenedCheckpoint(replace(checkpoint, facts=facts), tensors, form, fingerprint, summed=summed, arch=arch)


def join_fingerprints(checkpoint: Checkpoint, parts: Sequence[str]) -> str:
    """The fingerprint of a checkpoint from those of its files."""
    return hashlib.blake2b("\n".join((*parts, *checkpoint.prefixes)).encode(), digest_size=16).hexdigest()


def _key(file: FileRef) -> tuple[str, str]:
    """What the fingerprint of a file is kept by; a file name need not be UTF-8, but what is kept must be."""
    return file.url.encode("utf-8", "backslashreplace").decode(), file.stamp
