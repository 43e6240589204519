"""What a checkpoint says of itself: the step that it was saved at, and a fingerprint of its weights."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from wsanalyze.checkpoints.names import MAX_STEP
from wsanalyze.files.base import ByteSource, FileRef, read_bytes
from wsanalyze.files.contents import Contents, TorchArchive
from wsanalyze.files.safetensors_header import SafetensorsHeader
from wsanalyze.files.zip_records import locate_record

STEP_KEYS: Final = (
    "global_step",
    "global_steps",
    "step",
    "iteration",
    "iter",
    "iter_num",
    "num_updates",
    "steps",
    "current_step",
    "it",
)
EPOCH_KEYS: Final = ("epoch", "epochs", "current_epoch", "epoch_num")
_NUM_SAMPLES: Final = 1024
_SAMPLE_BYTES: Final = 256
_MAX_DIGITS: Final = 15

_Item = TypeVar("_Item")


def read_facts(contents: Contents) -> dict[str, int]:
    """Numbers inside a weight file that say when it was saved.

    Returns:
        Those of `STEP_KEYS` and `EPOCH_KEYS` that it holds as whole numbers.
    """
    found: dict[str, int] = {}
    for mapping in _mappings(contents):
        for key in (*STEP_KEYS, *EPOCH_KEYS):
            number = _whole(mapping.get(key))
            if number is not None:
                found.setdefault(key, number)
    return found


def fingerprint_file(source: ByteSource, file: FileRef, contents: Contents) -> str:
    """Digest what tells two weight files apart at little cost: their structure, checksums, or else samples.

    Equal weights in equal structures give equal fingerprints, whatever the file is called or when it was written. The
    checksums of a torch file cover every byte. Where there are none, up to a thousand tensors are sampled, so that a
    file in which a single one of them was trained differs from the others.

    Raises:
        CheckpointError: If the file is damaged.
    """
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(contents, SafetensorsHeader):
        digest.update(contents.raw)
        spans = [(entry.offset, entry.nbytes) for entry in contents.entries.values()]
    else:
        storages = sorted((name, record) for name, record in contents.records.items() if name.startswith("data/"))
        for name, record in storages:
            digest.update(f"{name}:{record.nbytes}:{record.crc}\n".encode("utf-8", "backslashreplace"))
        # torch.serialization.set_crc32_options(False) leaves zeros.
        unsummed = [record for _, record in storages if not record.crc and record.nbytes and record.stored]
        spans = [(locate_record(source, file, record), record.nbytes) for record in _spread(unsummed)]
    for start, nbytes in _spread(sorted(spans)):
        length = min(_SAMPLE_BYTES, nbytes)
        digest.update(read_bytes(source, file, start + (nbytes - length) // 2, length))
    return digest.hexdigest()


def _mappings(contents: TorchArchive | SafetensorsHeader) -> Iterator[Mapping[Any, Any]]:
    if isinstance(contents, SafetensorsHeader):
        yield contents.metadata
    elif isinstance(contents.tree, dict):
        yield contents.tree
        meta = contents.tree.get("meta")
        if isinstance(meta, dict):  # mmengine
            yield meta


def _whole(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
        return int(value)
    return value if type(value) is int and 0 <= value < MAX_STEP else None


def _spread(items: Sequence[_Item]) -> Sequence[_Item]:
    """At most `_NUM_SAMPLES` of the items, evenly spread, the last among them."""
    if len(items) <= _NUM_SAMPLES:
        return items
    return [items[(len(items) - 1) * index // (_NUM_SAMPLES - 1)] for index in range(_NUM_SAMPLES)]
