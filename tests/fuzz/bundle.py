"""Several files in one run of bytes, so that a checkpoint of many files is one input of the fuzzer.

A first line, a line for each file with its size and name, an empty line, then the contents one after another. It can be
looked at with `less`, and edited by hand.
"""

from collections.abc import Mapping
from typing import Final

MAGIC: Final = b"wsanalyze-bundle\n"
_MAX_FILES: Final = 16


class BundleError(ValueError):
    """The bytes are no bundle."""


def pack(files: Mapping[str, bytes]) -> bytes:
    """Put files into one run of bytes."""
    listing = b"".join(f"{len(data)} {name}\n".encode() for name, data in files.items())
    return MAGIC + listing + b"\n" + b"".join(files.values())


def unpack(data: bytes) -> dict[str, bytes]:
    """Take them out again; names are relative to a folder and lead nowhere else.

    Raises:
        BundleError: If the bytes are no bundle.
    """
    if not data.startswith(MAGIC):
        raise BundleError("no bundle")
    listing, separator, rest = data[len(MAGIC) :].partition(b"\n\n")
    if not separator:
        raise BundleError("no end of the listing")
    files: dict[str, bytes] = {}
    for line in listing.split(b"\n")[:_MAX_FILES]:
        try:
            size, name = line.decode("ascii").split(" ", 1)
            length = int(size)
        except ValueError as error:
            raise BundleError("a damaged listing") from error
        parts = name.split("/")
        if not name.isprintable() or any(part.strip(".") == "" or len(part) > 100 for part in parts) or length < 0:
            raise BundleError("a name that leads elsewhere")
        files[name], rest = rest[:length], rest[length:]
    return files
