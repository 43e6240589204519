"""What the headers of a checkpoint say before any weight is read: its tensors, its steps, what tells it from others."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.facts import digest_tokens, read_facts
from wsanalyze.files.base import ByteSource, Contents
from wsanalyze.files.contents import read_contents
from wsanalyze.files.safetensors_header import HeaderEntry, SafetensorsHeader
from wsanalyze.tensors.base import TensorSet
from wsanalyze.tensors.files import describe_format, read_checkpoint, read_tensors

_SUFFIX: Final = ".safetensors"


@dataclass(frozen=True, slots=True)
class Headers:
    """What the headers of one checkpoint say.

    Attributes:
        tensors: Its tensors. Their pieces tell which of them share bytes, not where in which file those are.
        facts: Numbers in its files that say when it was saved.
        format: Layout of its files in words.
        fingerprint: Equal for equal headers and checksums.
        proven: Whether checksums cover all weights.
    """

    tensors: TensorSet
    facts: Mapping[str, int]
    format: str
    fingerprint: str
    proven: bool


class HeaderReader:
    """Reads the headers of one checkpoint after the other.

    Most checkpoints of a run hold the same tensors at the same places, and building what describes them takes longer
    than reading a safetensors header: that is done once for all that follow each other.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[str, dict[str, HeaderEntry]]] = []
        self._tensors: TensorSet | None = None

    def read(self, checkpoint: Checkpoint, source: ByteSource) -> Headers:
        """Read the headers of a checkpoint, and no weight.

        Raises:
            CheckpointError: If a file is damaged, or was changed meanwhile.
            NoWeightsError: If there is no tensor at all.
        """
        tensors, contents = self._read_tensors(checkpoint, source)
        facts: dict[str, int] = {}
        parts, proven = [], True
        for file, content in zip(checkpoint.files, contents, strict=True):
            facts = read_facts(content) | facts
            parts.append(digest_tokens(content))
            proven = proven and not content.unsummed(source, file)
        for file in checkpoint.files:
            source.verify(file)
        digest = hashlib.blake2b("\n".join((*parts, *checkpoint.prefixes)).encode(), digest_size=16)
        return Headers(tensors, facts, describe_format(checkpoint.layout, contents), digest.hexdigest(), proven)

    def _read_tensors(self, checkpoint: Checkpoint, source: ByteSource) -> tuple[TensorSet, Sequence[Contents]]:
        files, prefixes = checkpoint.files, checkpoint.prefixes
        contents: list[Contents] = []
        if checkpoint.layout == "files" and all(file.url.endswith(_SUFFIX) for file in files):
            contents = [read_contents(source, file) for file in files]
        headers = [content.entries for content in contents if isinstance(content, SafetensorsHeader)]
        if len(headers) < len(files):
            return read_checkpoint(source, checkpoint.layout, files, prefixes)
        entries = list(zip(prefixes, headers, strict=True))
        if self._tensors is None or entries != self._entries:
            self._entries, self._tensors = entries, read_tensors(source, files, prefixes, contents)
        return self._tensors, contents
