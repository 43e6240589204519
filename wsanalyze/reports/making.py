"""What a page was made with, for whoever wants to make it again."""

import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

_PACKAGES: Final = ("numpy", "scipy", "scikit-learn")
"""What finds trends. All of it is asked for: trends may have been found before, when it was loaded."""
_CHARTS: Final = re.compile(r"plotly\.js .*?v(\d[\w.-]*)")


@dataclass(frozen=True, slots=True)
class Making:
    """How a page was made.

    Attributes:
        command: The command line that made it; empty where there was none.
        versions: Names and versions of what it was made with.
    """

    command: str
    versions: tuple[tuple[str, str], ...]


def describe_making(command: str, own_version: str, charts: str) -> Making:
    """Find out what is at work here.

    Args:
        command: The command line.
        own_version: The version of wsanalyze.
        charts: The source of the charting library, which begins with its version.
    """
    found = [("Python", sys.version.split()[0]), ("wsanalyze", own_version)]
    for name in _PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    drawn_by = _CHARTS.search(charts[:1000])
    return Making(command, (*found, *([("plotly.js", drawn_by[1])] if drawn_by else [])))
