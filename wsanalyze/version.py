"""The version, in a place of its own that every layer may look at."""

import sys

__version__ = "0.1.0"


def loaded_versions() -> tuple[tuple[str, str], ...]:
    """Versions of Python, of this program and of what it has loaded to compute numbers with; imports nothing."""
    packages = [(name, sys.modules[name]) for name in ("numpy", "torch") if name in sys.modules]
    found = [(name, str(getattr(package, "__version__", "?"))) for name, package in packages]
    return (("Python", sys.version.split()[0]), ("wsanalyze", __version__), *found)
