"""Addresses of sequences on the Hub: `hf://org/repo@revision/folder`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote

from wsanalyze.errors import SourceError

SCHEME: Final = "hf://"
TAGS: Final = "refs/tags/"
KINDS: Final = ("model", "dataset", "space")
"""Kinds of repositories."""

_PREFIXES: Final = {f"{kind}s": kind for kind in KINDS}
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,95})")
_SPECIAL: Final = re.compile(r"refs/(?:pr/\d+|convert/[\w.-]+)")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_GLOB: Final = re.compile(r"[*?\[]")
_REF_FOLDER: Final = re.compile(r"\Arefs(?:/|%2F)(heads|tags)(?:/|%2F)(?=.)", re.IGNORECASE)
_HOST: Final = r"(?:www\.)?(?:huggingface\.co|hf\.co)/"
_PAGE: Final = re.compile(
    rf"https?://{_HOST}(?P<repo>(?:(?:models|datasets|spaces)/)?[^/?#]+(?:/[^/?#]+)??)"
    r"(?:/(?:tree|blob|resolve|commits?)/(?P<revision>[^?#]+?))?/*(?:[?#].*)?",
    re.IGNORECASE,
)
_WITHOUT_SCHEME: Final = re.compile(rf"(?:hf:/?(?!/)|(?P<host>{_HOST}))(?P<rest>[^/].*)", re.IGNORECASE)
_REPO: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}(?:@[^\s@]+)?", re.ASCII)
_WEIGHTS: Final = re.compile(r"\.(?:safetensors|bin|pth?|ckpt|json|npz|h5|onnx|zip|wsa)\Z", re.IGNORECASE)
_PAGE_FOLDER: Final = re.compile(r"(?:tree|blob|resolve)/([^/]+)((?:/.+)?)")


@dataclass(frozen=True, slots=True)
class HubAddress:
    """Where a sequence, or one checkpoint of it, lies on the Hub.

    Attributes:
        repo: Its repository, "org/name", or "name" alone for those of old.
        kind: "model", "dataset" or "space".
        revision: A branch, a tag, a commit, or a glob of branches and tags; "" for those named like steps.
        folder: A folder or file in the repository, "" for all of it.
        is_tag: Whether the revision is a tag, though there may be a branch of that name.
    """

    repo: str
    kind: str = "model"
    revision: str = ""
    folder: str = ""
    is_tag: bool = False

    @property
    def is_glob(self) -> bool:
        """Whether the revision is a pattern."""
        return _GLOB.search(self.revision) is not None

    @property
    def is_commit(self) -> bool:
        """Whether the revision is the full hash of a commit."""
        return is_commit(self.revision)

    def at(self, revision: str, path: str = "") -> str:
        """The address of a revision, or of a file in it; `parse_address` reads it."""
        prefix = "" if self.kind == "model" else f"{self.kind}s/"
        if revision.startswith(TAGS):
            revision = TAGS + revision.removeprefix(TAGS).replace("%", "%25").replace("/", "%2F")
        elif not _SPECIAL.fullmatch(revision):
            revision = revision.replace("%", "%25").replace("/", "%2F")
        return f"{SCHEME}{prefix}{self.repo}{f'@{revision}' if revision else ''}{f'/{path}' if path else ''}"

    def readings(self) -> Iterator["HubAddress"]:
        """Itself, and what else it means if the revision has slashes in it: `@exp/step1/folder`."""
        yield self
        parts = self.folder.split("/") if self.revision and self.folder else []
        for count in range(1, len(parts) + 1):
            revision, folder = "/".join((self.revision, *parts[:count])), "/".join(parts[count:])
            yield replace(self, revision=revision, folder=folder)

    @property
    def ref(self) -> str:
        """The revision, as git names it where it is a tag."""
        return f"{TAGS}{self.revision}" if self.is_tag else self.revision

    @property
    def advice(self) -> str:
        """What to type instead, where the folder begins like the path of a page: `/tree/main`; else ""."""
        page = None if self.revision else _PAGE_FOLDER.fullmatch(self.folder)
        return f" (a revision is named with @: {self.at('')}@{page[1]}{page[2]})" if page else ""

    def __str__(self) -> str:
        return self.at(self.ref, self.folder)


def is_commit(name: str) -> bool:
    """Whether a name is the full hash of a commit."""
    return _COMMIT.fullmatch(name) is not None


def is_hub_address(source: str) -> bool:
    """Whether a source lies on the Hub: an address, or a page that shows a repository or files of it."""
    return source[: len(SCHEME)].lower() == SCHEME or _PAGE.fullmatch(source) is not None


def read_page(source: str) -> str | None:
    """The address of what a page of the Hub shows; None for other sources."""
    page = _PAGE.fullmatch(source)
    if page is None:
        return None
    return f"{SCHEME}{page['repo']}{'@' + page['revision'] if page['revision'] else ''}"


def guess_address(source: str) -> str | None:
    """The address that may be meant by `hf:/org/repo`, `hf.co/org/repo` or `org/repo`; None for other sources."""
    if found := _WITHOUT_SCHEME.fullmatch(source):
        return read_page(f"https://{source}") if found["host"] else SCHEME + found["rest"]
    return SCHEME + source if _REPO.fullmatch(source) and not _WEIGHTS.search(source) else None


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
    address = read_page(source) or source
    body = (address[len(SCHEME) :] if is_hub_address(address) else address).strip("/")
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
    is_tag = False
    if sign:
        if ref := _REF_FOLDER.match(behind):
            behind, is_tag = behind[ref.end() :], ref[1].lower() == "tags"
        special = _SPECIAL.match(behind)
        revision = special[0] if special else behind.partition("/")[0]
        folder = [behind[len(revision) :].strip("/")]
        revision = unquote(revision)
        if not revision or any(ord(char) <= ord(" ") for char in revision):
            raise SourceError(f"{source}: names no revision behind the @")
    path = "/".join(part for part in folder if part)
    if any(part in ("..", ".") for part in path.split("/")):
        raise SourceError(f"{source}: the folder in a repository is named without . and ..")
    return HubAddress("/".join(names), kind, revision, path, is_tag)
