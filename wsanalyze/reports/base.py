"""The contract of reports: a reporter turns trends into text or bytes, and writes them where it is told."""

from pathlib import Path
from typing import ClassVar, Protocol, TextIO

from wsanalyze.trends.base import Trends

Destination = Path | TextIO
"""A file to be replaced, or an open text stream (standard output)."""


class Reporter(Protocol):
    """One kind of report. Options, the clock and the version are given to `__init__`, never looked up."""

    suffix: ClassVar[str]

    def write(self, trends: Trends, destination: Destination) -> None:
        """Write the report.

        Args:
            trends: What to report.
            destination: A path (written whole or not at all) or an open text stream.

        Raises:
            ReportError: If the path cannot be written, and the message names it, or if the stream is closed.
        """


class FolderReporter(Protocol):
    """One kind of report that is a folder of files. Options, the clock and the version are given to `__init__`."""

    def write(self, trends: Trends, folder: Path) -> tuple[Path, ...]:
        """Write the report.

        Args:
            trends: What to report.
            folder: Where the files go. It is made where it is not there; what else lies in it is left alone.

        Returns:
            The files, each of which is written whole or not at all.

        Raises:
            ReportError: If the folder or a file cannot be written; the message names it.
        """
