"""wsanalyze: which layers of a network are learning, when, and which ones move together?

    import wsanalyze

    run = wsanalyze.analyze("runs/exp1")
    run.series.metric("rwc")  # float64 array of shape (layers, changes)
    run.trends().labels  # the cluster of each layer
    run.report("report.html")

Everything is imported when it is first used, so that `import wsanalyze` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from wsanalyze.version import __version__

if TYPE_CHECKING:
    from wsanalyze.api import analyze, open_run, read_table
    from wsanalyze.errors import WsAnalyzeError
    from wsanalyze.run import Run

__all__ = ["Run", "WsAnalyzeError", "__version__", "analyze", "open_run", "read_table"]

_HOMES: Final = {
    "analyze": ("wsanalyze.api", "analyze"),
    "open_run": ("wsanalyze.api", "open_run"),
    "read_table": ("wsanalyze.api", "read_table"),
    "Run": ("wsanalyze.run", "Run"),
    "WsAnalyzeError": ("wsanalyze.errors", "WsAnalyzeError"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever stands under that name
    if name not in _HOMES:
        raise AttributeError(f"module 'wsanalyze' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
