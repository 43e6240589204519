"""What failures of the Hub mean to people: one line each, with nothing secret in it."""

import errno
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

from wsanalyze.errors import CheckpointError, SourceError, WsAnalyzeError
from wsanalyze.hub.huggingface import library, utils

RETRIED_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be others when asked again."""

_NOT_KNOWN: Final = 401
_NOT_CACHED: Final = "is not in the cache, and HF_HUB_OFFLINE forbids to ask the Hub"
_MAX_WAIT_DIGITS: Final = 5  # a day has 86,400 seconds
_MAX_TEXT_CHARS: Final = 200
_BROKEN: Final = 500
_MAX_CAUSES: Final = 10
_DISK: Final = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EACCES,
        errno.EROFS,
        errno.EIO,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.EPERM,
    }
)


_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""What this machine may have no more of: files, memory."""


class GoneError(CheckpointError):
    """A file or revision is not on the Hub any more, or not to be read."""


class UnreachableError(SourceError):
    """The Hub, or the way to it, is gone for longer than is waited for: no checkpoint is to blame."""


def explain(where: str, error: Exception) -> WsAnalyzeError | None:
    """What a failure means.

    Args:
        where: The repository, revision or file that was asked for.
        error: What huggingface_hub, or what it is built on, raised.

    Returns:
        The error to raise in its place, or None where the same may succeed when it is asked again.
    """
    if isinstance(error, WsAnalyzeError):
        return error
    if (known := _explain_answer(where, error)) is not None:
        return known
    if (scarce := _find_scarce(error)) is not None:
        text = (scarce.strerror or "").lower()
        return UnreachableError(f"{where}: this machine gives no more to the process ({text}): raise its limits")
    if is_passing(error):
        return None
    return SourceError(f"{where}: {_explain_failure(error)}")


def _explain_failure(error: Exception) -> str:
    """What is wrong where nothing is gained by asking again."""
    if isinstance(error, ValueError) and "too large to be downloaded" in str(error):
        return "is too large for the client alone: pip install hf_xet, or use --fetch ranges"
    if _status(error) == _NOT_KNOWN:
        return f"{_host()} does not take the token: run hf auth login again, or set HF_TOKEN"
    if (setting := _explain_setting(_unwrap(error))) is not None:
        return setting
    if _status(error) is None and isinstance(error, ValueError | KeyError | TypeError | AttributeError):
        return f"{_host()} answers with what is no answer of the Hub: check HF_ENDPOINT"
    return describe(error)


def _explain_setting(error: Exception) -> str | None:
    """What is wrong with the token or the endpoint, where a request could not be made of them."""
    if isinstance(error, UnicodeEncodeError) and not (library().get_token() or "").isascii():
        return "the token is none, it has letters that no token has: run hf auth login again, or set HF_TOKEN"
    http = transport_library()
    if isinstance(error, http.UnsupportedProtocol | http.InvalidURL) and not _has_address():
        return "HF_ENDPOINT is no address: set it to one like https://huggingface.co, or to nothing"
    return None


def is_passing(error: Exception) -> bool:
    """Whether a failure may pass by itself: of the network, a busy server, a transfer that was cut."""
    error = _unwrap(error)
    if isinstance(error, library().errors.LocalEntryNotFoundError):
        return True
    status = _status(error)
    if status is not None:
        return status in RETRIED_STATUSES
    http = transport_library()
    if isinstance(error, http.UnsupportedProtocol):
        return False
    transport: type[Exception] = http.TransportError
    return is_resized(error) or isinstance(error, transport | ConnectionError | TimeoutError | RuntimeError)


def is_resized(error: Exception) -> bool:
    """Whether a file came with another size than the server said: a transfer that was cut, or another file."""
    return isinstance(error, OSError) and "Consistency check failed" in str(error)


def is_of_one_file(error: Exception) -> bool:
    """Whether a failure that did not pass is that of the file asked for, and tells nothing of others."""
    return is_resized(error) or _status(_unwrap(error)) == _BROKEN


def explain_disk(error: OSError, folder: Path, name: str, nbytes: int) -> WsAnalyzeError:
    """What it means that a file cannot be written.

    Args:
        error: What happened.
        folder: Where.
        name: The file.
        nbytes: Its size.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        size = f"{nbytes / 1e6:.0f} MB"
        return SourceError(
            f"{folder}: no room for {name} ({size}): free some, set HF_HOME to a larger disk, or use --fetch ranges"
        )
    text = (error.strerror or str(error)).lower()
    return SourceError(f"{folder}: cannot be written ({text}); set HF_HOME to a folder that can")


def is_of_disk(error: OSError) -> bool:
    """Whether it is the disk that failed, not the network."""
    return error.errno in _DISK


def has_answer(error: Exception) -> bool:
    """Whether a server answered at all."""
    return _status(_unwrap(error)) is not None


def asked_wait(error: Exception) -> float | None:
    """How long the server asks to wait, in seconds; None where it does not say."""
    headers = getattr(getattr(_unwrap(error), "response", None), "headers", None)
    if headers is None:
        return None
    limit = utils().parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds) + 1
    asked = str(headers.get("retry-after", "")).strip()
    return float(asked) if asked.isdigit() and len(asked) <= _MAX_WAIT_DIGITS else None


def describe(error: Exception) -> str:
    """A failure in a few words; without addresses, since those of downloads are signed, and without tokens."""
    error = _unwrap(error)
    status = _status(error)
    if is_resized(error):
        return "it comes with another size than the one that is listed"
    if status is not None:
        reason = getattr(getattr(error, "response", None), "reason_phrase", "")
        return f"the server answers {status}{f' ({reason})' if reason else ''}"
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__.removesuffix("Error").removesuffix("Exception"))
    first = str(error).splitlines()[0] if str(error) else ""
    text = re.sub(r"\S*(://|hf_|Bearer)\S*", "...", first)[:_MAX_TEXT_CHARS]
    return f"the server cannot be reached ({text or name.lower()})"


def tell_cause(error: Exception) -> Exception | None:
    """The failure behind an error, for a traceback; None where it would show a password: it quotes the endpoint."""
    return None if "@" in urlsplit(library().constants.ENDPOINT).netloc else error


def transport_library() -> ModuleType:
    """The library that requests are sent with: httpx, or httpx2 for later versions of huggingface_hub."""
    return sys.modules[type(utils().get_session()).__module__.partition(".")[0]]


def _explain_answer(where: str, error: Exception) -> WsAnalyzeError | None:
    """What the Hub says in so many words; the narrower of two errors stands first."""
    errors, hub = library().errors, library()
    cause = error.__cause__ or error.__context__
    if isinstance(error, errors.LocalEntryNotFoundError) and not hub.is_offline_mode() and isinstance(cause, Exception):
        return _explain_answer(where, cause)
    host = _host()
    token = "" if hub.get_token() else "; if it is private, run hf auth login or set HF_TOKEN"
    answers: tuple[tuple[type[Exception], WsAnalyzeError], ...] = (
        (
            errors.GatedRepoError,
            SourceError(f"{where}: is gated: ask for access on its page, then run hf auth login or set HF_TOKEN"),
        ),
        (errors.DisabledRepoError, SourceError(f"{where}: was disabled on the Hub")),
        (
            errors.RepositoryNotFoundError,
            SourceError(f"{where}: no such repository on {host} (--repo-type for data sets and spaces){token}"),
        ),
        (errors.RevisionNotFoundError, GoneError("no such revision on the Hub", where)),
        (errors.OfflineModeIsEnabled, GoneError(_NOT_CACHED, where)),
        (errors.RemoteEntryNotFoundError, GoneError("is not on the Hub any more", where)),
        (errors.HFValidationError, SourceError(f"{where}: no address of the Hub")),
    )
    if isinstance(error, errors.LocalEntryNotFoundError) and hub.is_offline_mode():
        return GoneError(_NOT_CACHED, where)
    return next((told for kind, told in answers if isinstance(error, kind)), None)


def _find_scarce(error: BaseException | None) -> OSError | None:
    """The failure of this machine that is behind an error of the transport."""
    for _ in range(_MAX_CAUSES):
        if error is None or (isinstance(error, OSError) and error.errno in _SCARCE):
            return error
        error = error.__cause__ or error.__context__
    return None


def _has_address() -> bool:
    """Whether HF_ENDPOINT is an address."""
    try:
        place = urlsplit(library().constants.ENDPOINT)
    except ValueError:
        return False
    return place.scheme in ("http", "https") and bool(place.hostname)


def _host() -> str:
    return urlsplit(library().constants.ENDPOINT).hostname or "the Hub"


def _unwrap(error: Exception) -> Exception:
    """What happened where the client says "cannot find the file on the Hub", whatever it was."""
    cause = error.__cause__ or error.__context__
    wrapped = isinstance(error, library().errors.LocalEntryNotFoundError) and isinstance(cause, Exception)
    return cause if wrapped and isinstance(cause, Exception) else error


def _status(error: Exception) -> int | None:
    status: Any = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None
