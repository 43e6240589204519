"""The version, in a place of its own that every layer may look at."""

__version__ = "0.1.0"
