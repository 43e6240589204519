"""Parts of sentences that all who write some need."""

from collections.abc import Iterable


def list_names(names: Iterable[str], limit: int = 4) -> str:
    """Names in a sentence, the first few of many: "a", "a and b", "a, b and 3 more".

    Args:
        names: The names; of none the sentence is "".
        limit: How many are named where there are more.
    """
    names = list(names)
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
