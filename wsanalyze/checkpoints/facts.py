"""What a checkpoint says of itself: the step that it was saved at, and a fingerprint of its weights."""

import hashlib
import re
from collections.abc import Sequence
from typing import Final, TypeVar

from wsanalyze.checkpoints.names import MAX_STEP
from wsanalyze.files.base import ByteSource, Contents, FileRef, read_bytes

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
    "num_timesteps",
)
EPOCH_KEYS: Final = ("epoch", "epochs", "current_epoch", "epoch_num")
_ARCH: Final = re.compile(r"\w{1,100}", re.ASCII)
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
    for mapping in contents.mappings():
        for key in (*STEP_KEYS, *EPOCH_KEYS):
            number = _whole(mapping.get(key))
            if number is not None:
                found.setdefault(key, number)
    return found


def read_arch(contents: Contents) -> str:
    """What a weight file says that its model is called, as timm's and torch's own training scripts note it; or ""."""
    for mapping in contents.mappings():
        name = mapping.get("arch")
        if isinstance(name, str) and _ARCH.fullmatch(name):
            return name
    return ""


def fingerprint_file(source: ByteSource, file: FileRef, contents: Contents) -> str:
    """Digest what tells two weight files apart at little cost: their structure, checksums, or else samples.

    Equal weights in equal structures give equal fingerprints, whatever the file is called or when it was written. The
    checksums of a torch file cover every byte. Where there are none, up to a thousand tensors are sampled, so that a
    file in which a single one of them was trained differs from the others.

    Raises:
        CheckpointError: If the file is damaged.
    """
    digest = hashlib.blake2b(digest_size=16)
    for token in contents.tokens():
        digest.update(token)
    spans = contents.unsummed(source, file)
    for start, nbytes in _spread(sorted(spans)):
        length = min(_SAMPLE_BYTES, nbytes)
        digest.update(read_bytes(source, file, start + (nbytes - length) // 2, length))
    return digest.hexdigest()


def digest_tokens(contents: Contents) -> str:
    """Digest what headers and checksums say of a weight file, without a look at its weights."""
    digest = hashlib.blake2b(digest_size=16)
    for token in contents.tokens():
        digest.update(token)
    return digest.hexdigest()


def _whole(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
        return int(value)
    return value if type(value) is int and 0 <= value < MAX_STEP else None


def _spread(items: Sequence[_Item]) -> Sequence[_Item]:
    """At most `_NUM_SAMPLES` of the items, evenly spread, the last among them."""
    if len(items) <= _NUM_SAMPLES:
        return items
    return [items[(len(items) - 1) * index // (_NUM_SAMPLES - 1)] for index in range(_NUM_SAMPLES)]
