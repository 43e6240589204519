"""What the Hub lists: revisions, and the files of their trees."""

import re
from dataclasses import dataclass
from typing import Final

from wsanalyze.hub.address import HubAddress

_MAX_BYTES: Final = 2**53
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|git:[0-9a-f]{40}|stat:.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Revision:
    """A branch, a tag or a commit, pinned to its commit.

    Attributes:
        name: What it is called.
        commit: Hash of its commit.
        label: What people call it, where that is not its name.
        title: First line of its message, where it is a commit.
        date_ns: When it was committed, in nanoseconds since 1970; 0 where that was not asked.
    """

    name: str
    commit: str
    label: str = ""
    title: str = ""
    date_ns: int = 0


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file of a commit, as its tree lists it.

    Attributes:
        path: Its path in the repository.
        size: Its size in bytes.
        digest: "sha256:..." of a large file's bytes, "git:..." (the hash of its blob) of a small one's.
    """

    path: str
    size: int
    digest: str

    @property
    def is_sound(self) -> bool:
        """Whether it is listed with a size and a hash, which decide what is read and compared."""
        return type(self.size) is int and 0 <= self.size < _MAX_BYTES and _DIGEST.fullmatch(self.digest) is not None


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a commit and where it is.

    Attributes:
        address: Its repository.
        commit: Its commit.
        entry: What its tree says.
        url: How it is called in messages.
        revision: The name that its commit was found by, where it has one besides its hash.
    """

    address: HubAddress
    commit: str
    entry: TreeFile
    url: str
    revision: str = ""
