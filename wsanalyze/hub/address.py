"""Addresses of sequences on the Hub: `hf://org/repo@revision/folder`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote

from wsanalyze.errors import SourceError

SCHEME: Final = "hf://"
KINDS: Final = ("model", "dataset", "space")
"""Kinds of repositories."""

_PREFIXES: Final = {f"{kind}s": kind for kind in KINDS}
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,95})")
_SPECIAL: Final = re.compile(r"refs/(?:pr/\d+|convert/[\w.-]+)")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_GLOB: Final = re.compile(r"[*?\[]")
_REF_FOLDER: Final = re.compile(r"\Arefs(?:/|%2F)(?:heads|tags)(?:/|%2F)(?=.)", re.IGNORECASE)
_PAGE: Final = re.compile(
    r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/(?P<repo>[^?#]+?)(?:/(?:tree|blob|resolve)/(?P<revision>[^?#]+))?/*(?:[?#].*)?"
)


@dataclass(frozen=True, slots=True)
class HubAddress:
    """Where a sequence, or one checkpoint of it, lies on the Hub.

    Attributes:
        repo: Its repository, "org/name", or "name" alone for those of old.
        kind: "model", "dataset" or "space".
        revision: A branch, a tag, a commit, or a glob of branches and tags; "" for those named like steps.
        folder: A folder or file in the repository, "" for all of it.
    """

    repo: str
    kind: str = "model"
    revision: str = ""
    folder: str = ""

    @property
    def is_glob(self) -> bool:
        """Whether the revision is a pattern."""
        return _GLOB.search(self.revision) is not None

    @property
    def is_commit(self) -> bool:
        """Whether the revision is the full hash of a commit."""
        return _COMMIT.fullmatch(self.revision) is not None

    def at(self, revision: str, path: str = "") -> str:
        """The address of a revision, or of a file in it; `parse_address` reads it."""
        prefix = "" if self.kind == "model" else f"{self.kind}s/"
        if not _SPECIAL.fullmatch(revision):
            revision = revision.replace("%", "%25").replace("/", "%2F")
        return f"{SCHEME}{prefix}{self.repo}{f'@{revision}' if revision else ''}{f'/{path}' if path else ''}"

    def readings(self) -> Iterator["HubAddress"]:
        """Itself, and what else it means if the revision has slashes in it: `@exp/step1/folder`."""
        yield self
        parts = self.folder.split("/") if self.revision and self.folder else []
        for count in range(1, len(parts) + 1):
            revision, folder = "/".join((self.revision, *parts[:count])), "/".join(parts[count:])
            yield replace(self, revision=revision, folder=folder)

    def __str__(self) -> str:
        return self.at(self.revision, self.folder)


def is_hub_address(source: str) -> bool:
    """Whether a source lies on the Hub."""
    return source.startswith(SCHEME)


def read_page(source: str) -> str | None:
    """The address of what a page of the Hub shows; None for other sources."""
    page = _PAGE.fullmatch(source)
    if page is None:
        return None
    return f"{SCHEME}{page['repo']}{'@' + page['revision'] if page['revision'] else ''}"


def parse_address(source: str, kind: str = "model") -> HubAddress:
    """Read an address of the Hub.

    Args:
        source: `hf://[datasets/|spaces/]org/repo[@revision][/folder]`; the organisation is left out where there is
            none (`hf://gpt2@main`; with a folder, the revision must be given). Slashes in a revision are written %2F,
            or as they are: then `HubAddress.readings` tells what it may mean.
        kind: Kind of repository where the address does not say.

    Raises:
        SourceError: If it is none.
    """
    body = source.removeprefix(SCHEME).strip("/")
    head, _, rest = body.partition("/")
    if head in _PREFIXES and rest:
        kind, body = _PREFIXES[head], rest
    before, sign, behind = body.partition("@")
    parts = before.split("/")
    if sign and len(parts) > 2:  # noqa: PLR2004 - an @ in the name of a folder
        behind, sign = "", ""
        parts = body.split("/")
    names, folder = (parts[:2], parts[2:]) if not sign else (parts, [])
    if not names or not all(_NAME.fullmatch(name) and ".." not in name for name in names):
        raise SourceError(f"{source}: no address of the Hub, which is {SCHEME}org/repo or {SCHEME}org/repo@revision")
    revision = ""
    if sign:
        behind = _REF_FOLDER.sub("", behind, count=1)
        special = _SPECIAL.match(behind)
        revision = special[0] if special else behind.partition("/")[0]
        folder = [behind[len(revision) :].strip("/")]
        revision = unquote(revision)
        if not revision or any(ord(char) <= ord(" ") for char in revision):
            raise SourceError(f"{source}: names no revision behind the @")
    path = "/".join(part for part in folder if part)
    if any(part in ("..", ".") for part in path.split("/")):
        raise SourceError(f"{source}: the folder in a repository is named without . and ..")
    return HubAddress("/".join(names), kind, revision, path)
