"""Every error that wsanalyze raises on purpose: one base class, one subclass a stage of the road.

A message is one line. It names the file, revision, layer or option at fault and says what to do.
"""

from typing import ClassVar


class WsAnalyzeError(Exception):
    """Base of all errors that a user can do something about."""

    exit_status: ClassVar[int] = 1


class UsageError(WsAnalyzeError):
    """The command line or an argument is wrong: an unknown metric, two reports on standard output."""

    exit_status: ClassVar[int] = 2


class SourceError(WsAnalyzeError):
    """A source does not exist, holds no checkpoint, or holds several sequences."""


class NoCheckpointError(SourceError):
    """A source exists and holds no checkpoint at all."""


class CheckpointError(WsAnalyzeError):
    """One checkpoint or file cannot be read; the others still can.

    Args:
        message: What is wrong, in one line, without the name of the file.
        path: The file or folder at fault, put in front of the message.
    """

    def __init__(self, message: str, path: object = None) -> None:
        # File names need not be UTF-8, but what is said of them is kept in files that are.
        text = message if path is None else f"{path}: {message}"
        super().__init__(text.encode("utf-8", "backslashreplace").decode())
        self.reason = message


class NoWeightsError(CheckpointError):
    """A file is intact but holds no weights of a model: it is no part of the sequence."""


class MatchError(WsAnalyzeError):
    """No row is comparable between any two checkpoints."""


class MeasureError(WsAnalyzeError):
    """The sums cannot be computed: no such device, too little memory allowed."""


class StoreError(WsAnalyzeError):
    """A run file is missing, in use, of another source or version, damaged, or cannot grow."""


class TableError(WsAnalyzeError):
    """A table of measured changes cannot be read."""


class TrendsError(WsAnalyzeError):
    """Trends cannot be found with the options given."""


class ReportError(WsAnalyzeError):
    """A report cannot be written."""
