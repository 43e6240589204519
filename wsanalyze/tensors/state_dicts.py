"""Which parts of a pickled tree are the weights of a model: state dicts, wherever a trainer has put them."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from wsanalyze.errors import CheckpointError
from wsanalyze.files.pickle_machine import Call, Global

_MAX_NESTING: Final = 64
_MAX_WRAPPERS: Final = 4
_MAX_NAME_CHARS: Final = 65_536
MAX_NAMES_CHARS: Final = 100_000_000
MAX_VISITS: Final = 4_000_000
_ITEMS_PER_VISIT: Final = 8  # of a list, most of which are numbers that are passed over at once
MAX_TENSORS: Final = 250_000  # honest pickles end long before: a tensor takes some thirty opcodes
_MODEL_KEYS: Final = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "model_state",
    "net",
    "network",
    "weights",
    "params",
)
_EMA_KEYS: Final = (
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema_model_state_dict",
    "ema_model",
    "model_ema_state_dict",
    "params_ema",
    "ema",
)
_SWAPPED_KEYS: Final = (("model", ("current_model_state",)), ("ema", ("state_dict",)))
"""Lightning's averaging of weights puts the average in the place of the model, and the model under a key of its own."""
_IS_EMA: Final = re.compile(r"(^|_)ema(_|$)", re.IGNORECASE)
_EMA_PREFIX: Final = re.compile(r"^(model_ema|ema_model)\.")
_NOT_WEIGHTS: Final = re.compile(
    r"optim|^opt$|^opt_|_opt$|sched|scaler|rng|random|callback|loops?$|hparam|hyper|args|config|cfg|history|metric|^amp|buffer_size|meta"
    r"|loss|epoch|step|^iter|sampler|dataloader|timestamp|version",
    re.IGNORECASE,
)
_REBUILDS: Final = ("torch._utils._rebuild_", "torch._tensor._rebuild_", "torch.tensor._rebuild_")
_OLD_TENSOR: Final = re.compile(r"torch(\.cuda)?\.[A-Z][A-Za-z0-9]*Tensor")
_OLD_VARIABLES: Final = ("torch.nn.parameter.Parameter", "torch.autograd.variable.Variable")
_DISTRIBUTED: Final = re.compile(r"torch\.distributed\..*\.(ShardedTensor|DTensor)")

Content = dict[Any, Any]
Calls = dict[str, Call]


def find_state_dicts(tree: Any) -> dict[str, Calls]:  # noqa: ANN401 - a pickled tree
    """Find the tensors of a model in a pickled tree.

    A trainer's own keys ("state_dict", "model", ...) go before anything else that holds tensors. Without one of them,
    all that remains once optimizers and the like are taken away is the model, under the keys that it stands under.

    Args:
        tree: Inert data of `wsanalyze.files.pickle_machine`.

    Returns:
        For "model" and "ema", those that are there: the calls that would rebuild its tensors by full name, in the
        order of the file. Optimizer, scheduler, scaler and random state are never looked at.

    Raises:
        CheckpointError: If a tensor lies too deep or its name is too long, or there is more of either than a model has.
    """
    budget = _Budget()
    top = budget.open(tree)
    found = {"model": _collect(top, budget)} if _is_module(tree) else _search(top, _MAX_WRAPPERS, budget)
    if "ema" not in found:
        found = _split_ema(found.get("model", {}))
    return {weights: calls for weights, calls in found.items() if calls}


class _Budget:
    """What the search may cost in all: a few bytes can refer to the same long list a million times."""

    def __init__(self) -> None:
        self._visits = MAX_VISITS
        self._chars = MAX_NAMES_CHARS

    def open(self, value: Any) -> Content:  # noqa: ANN401
        """The content of a value, each of its items paid for."""
        if isinstance(value, list | tuple):
            self._pay(len(value) // _ITEMS_PER_VISIT)  # before they are looked through
        content = _content(value)
        self._pay(1 + len(content))
        return content

    def _pay(self, visits: int) -> None:
        self._visits -= visits
        if self._visits < 0:
            raise CheckpointError(f"takes more than {MAX_VISITS} steps to be searched for tensors: refused")

    def name(self, name: str) -> None:
        """Pay for a name."""
        self._chars -= len(name)
        if len(name) > _MAX_NAME_CHARS:
            raise CheckpointError(f"names a tensor by more than {_MAX_NAME_CHARS} characters: refused")
        if self._chars < 0:
            raise CheckpointError(f"has names of more than {MAX_NAMES_CHARS} characters together: refused")


def _collect(content: Content, budget: _Budget) -> Calls:
    """All tensors below by dotted name."""
    found: Calls = {}
    for name, call in _flatten(content, budget):
        found[name] = call
        if len(found) > MAX_TENSORS:
            raise _too_many()
    return found


def _too_many() -> CheckpointError:
    return CheckpointError(f"holds more than {MAX_TENSORS} tensors: refused")


def _search(top: Content, num_wrappers: int, budget: _Budget) -> dict[str, Calls]:
    found = {}
    swapped = all(key in top for _, keys in _SWAPPED_KEYS for key in keys)
    for weights, keys in _SWAPPED_KEYS if swapped else (("model", _MODEL_KEYS), ("ema", _EMA_KEYS)):
        candidates = (_collect(_unwrap(budget.open(top[key]), budget), budget) for key in keys if key in top)
        if calls := next(filter(None, candidates), None):
            found[weights] = calls
    if "model" in found:
        return found
    parts = _drop_sidecars(top, budget)
    averaged = {key: value for key, value in parts.items() if _IS_EMA.search(key)}
    own = {key: value for key, value in parts.items() if key not in averaged} if averaged else parts
    for weights, chosen, is_ema in (("model", own, False), ("ema", averaged, True)):
        if weights in found or not (calls := _collect(chosen, budget)):
            continue
        first = next(iter(calls)).partition(".")[0]
        alone = first if all(name.startswith(f"{first}.") for name in calls) and first in chosen else None
        if alone is None:  # a bare state dict, or several networks side by side: an actor and a critic
            found[weights] = calls
        elif num_wrappers and not is_ema and not _is_module(chosen[alone]):
            found |= {**_search(budget.open(chosen[alone]), num_wrappers - 1, budget), **found}
        else:
            found[weights] = _collect(budget.open(chosen[alone]), budget)
    return found


def _split_ema(model: Calls) -> dict[str, Calls]:
    """Take averaged weights out that a module holds beside its own, as those of latent diffusion do."""
    averaged = {_EMA_PREFIX.sub("", name): call for name, call in model.items() if _EMA_PREFIX.search(name)}
    own = {name: call for name, call in model.items() if not _EMA_PREFIX.search(name)}
    return {"model": own, "ema": averaged}


def _drop_sidecars(top: Content, budget: _Budget) -> Content:
    """Without what is no weight by its name: in a bare state dict a tensor is one, whatever it is called."""
    named = {key: value for key, value in top.items() if isinstance(key, str)}
    tensors = {key for key, value in named.items() if _is_tensor(value)}
    if len(tensors) > MAX_TENSORS:  # before all their names are looked at
        raise _too_many()
    parts = {key: value for key, value in named.items() if not _NOT_WEIGHTS.search(key)}
    inner = (budget.open(value) for key, value in parts.items() if key not in tensors)
    bare = not any(next(_flatten(content, budget), None) for content in inner)
    return {
        key: value
        for key, value in named.items()
        if key in parts or (key in tensors and (bare or "." in key))  # beside state dicts it may be a random state
    }


def _unwrap(content: Content, budget: _Budget) -> Content:
    """A trainer's own object may hold the state dict one level further down."""
    for _ in range(_MAX_WRAPPERS):
        inner = next((found for key in _MODEL_KEYS[:2] if (found := budget.open(content.get(key)))), None)
        if inner is None:
            break
        content = inner
    return content


def _content(value: Any) -> Content:  # noqa: ANN401
    """What can be looked into: a mapping, a sequence by position, the parts of a module, an object's attributes."""
    if isinstance(value, list | tuple):
        return {str(index): item for index, item in enumerate(value) if isinstance(item, dict | list | tuple | Call)}
    if isinstance(value, Call):
        value = _content_of_call(value)
    if not isinstance(value, dict) or ("param_groups" in value and "state" in value):  # the latter is an optimizer
        return {}
    return value


def _content_of_call(value: Call) -> Any:  # noqa: ANN401
    if _is_tensor(value):
        return None
    if _is_module(value):
        slots = (value.state.get(slot) for slot in ("_parameters", "_buffers", "_modules"))
        return {key: part for slot in slots if isinstance(slot, dict) for key, part in slot.items()}
    return value.items or value.state


def _is_module(value: Any) -> bool:  # noqa: ANN401
    """Whether a value is a whole pickled module."""
    return isinstance(value, Call) and isinstance(value.state, dict) and isinstance(value.state.get("_modules"), dict)


def is_old_tensor(call: Call) -> bool:
    """Whether a call would rebuild a tensor as the first versions of torch did: `torch.FloatTensor(storage, ...)`."""
    return isinstance(call.function, Global) and _OLD_TENSOR.fullmatch(call.function.path) is not None


def is_old_variable(call: Call) -> bool:
    """Whether a call would rebuild a parameter around a tensor as torch before 0.4 did."""
    known = isinstance(call.function, Global) and call.function.path in _OLD_VARIABLES
    return known and bool(call.args) and isinstance(call.args[0], Call)


def _is_tensor(value: Any) -> bool:  # noqa: ANN401
    """Whether a value is a call that would rebuild a tensor, or a parameter around one, of whatever kind."""
    if not isinstance(value, Call) or not isinstance(value.function, Global):
        return False
    return _rebuilds_tensor(value.function) or is_old_variable(value)


@lru_cache(maxsize=64)
def _rebuilds_tensor(function: Global) -> bool:
    path = function.path
    return path.startswith(_REBUILDS) or bool(_OLD_TENSOR.fullmatch(path)) or bool(_DISTRIBUTED.fullmatch(path))


def _flatten(content: Content, budget: _Budget) -> Iterator[tuple[str, Call]]:
    """All tensors below, by dotted name, each container visited once, without recursion.

    Raises:
        CheckpointError: If one lies too deep, or its name is too long: it is not passed over in silence.
    """
    seen: set[int] = {id(content)}
    stack: list[tuple[str, Iterator[tuple[Any, Any]]]] = [("", iter(content.items()))]
    while stack:
        prefix, items = stack[-1]
        for key, value in items:
            if not isinstance(key, str):
                continue
            if _is_tensor(value):
                name = f"{prefix}{key}"
                budget.name(name)
                yield name, value
            elif isinstance(value, dict | list | tuple | Call) and id(value) not in seen:
                seen.add(id(value))
                if inner := budget.open(value):
                    if len(stack) >= _MAX_NESTING:
                        raise CheckpointError(f"nests its state dict more than {_MAX_NESTING} deep: refused")
                    name = f"{prefix}{key}."
                    budget.name(name)
                    stack.append((name, iter(inner.items())))
                    break
        else:
            stack.pop()
