"""What lies behind an error: an interrupt, or a package that cannot be imported."""

import traceback
from typing import Final

_OWN: Final = ("wsanalyze", "__main__")


def find_interrupt(error: BaseException) -> type[KeyboardInterrupt] | None:
    """What kind of interrupt is behind an error, if any.

    One that hits an import comes out as an ImportError, or as the RuntimeError that Python 3.11 makes of whatever
    happens while a class is made.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        if isinstance(found, KeyboardInterrupt):
            return type(found)
        seen.add(id(found))
        waiting += [found.__context__, found.__cause__]
    return None


def explain_import(error: BaseException) -> str | None:
    """Say which package could not be imported, where that is what went wrong: it is missing, or does not fit another.

    Args:
        error: Any error, with its traceback.

    Returns:
        One line without a name of a file; None for an error of another origin: an interrupt, a fault of this program.
    """
    if find_interrupt(error):
        return None
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name == "<module>")
    names = [str(frame.f_globals.get("__name__", "")) for frame in frames]
    # A module that ends while it is imported may complain of anything, a ValueError of another package's layout too.
    names += [error.name] if isinstance(error, ImportError) and error.name else []
    packages = [name.partition(".")[0] for name in names]
    package = next((name for name in packages if name and name not in _OWN), None)
    if package is None or any(name.startswith("wsanalyze.") for name in names[-1:]):
        return None
    return f"the package {package} cannot be imported ({' '.join(str(error).split())}); install it again"
