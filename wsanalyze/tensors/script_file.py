"""Tensors of a TorchScript module, named as its state_dict() names them."""

from collections.abc import Mapping
from typing import Any, Final

from wsanalyze.errors import CheckpointError, NoWeightsError
from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.files.pickle_machine import Call, Global
from wsanalyze.files.torch_archive import ScriptArchive, ScriptClass
from wsanalyze.tensors.base import TensorSet
from wsanalyze.tensors.state_dicts import Calls
from wsanalyze.tensors.torch_file import read_calls

MAX_ATTRIBUTES: Final = 1_000_000
_MAX_NESTING: Final = 64
_MAX_NAME_CHARS: Final = 65_536
_MAX_ALL_CHARS: Final = 2**27
_NOTHING: Final = ScriptClass(frozenset(), None)
_REBUILD: Final = "torch._utils._rebuild_"


def read_script(contents: ScriptArchive, source: ByteSource, file: FileRef) -> TensorSet:
    """List the parameters and buffers of a TorchScript module; see `TensorReader`.

    Tensors that are neither (constants, cached values, those in lists) are left out, as state_dict() does.

    Raises:
        CheckpointError: If the file is damaged.
        NoWeightsError: If the module was frozen: its weights have become constants of its code, without names.
    """
    calls = _list_tensors(contents.archive.tree, contents.classes, file)
    if not calls and "constants/0" in contents.archive.records:
        raise NoWeightsError(
            "holds no weights by name: the module was frozen; save it before torch.jit.freeze", file.url
        )
    return read_calls({"model": calls}, contents.archive, source, file)


def _list_tensors(tree: Any, classes: Mapping[str, ScriptClass], file: FileRef) -> Calls:  # noqa: ANN401 - a pickle
    """Walk the modules from the outermost on, without recursion; a module under two names is there twice."""
    found: Calls = {}
    num_seen = num_chars = 0
    stack: list[tuple[str, Any, int]] = [("", tree, 0)]
    while stack:
        name, value, depth = stack.pop()
        known, state = _open_module(value, classes)
        num_seen += len(state)
        num_chars += len(name) * (1 + len(state))
        too_long = len(name) > _MAX_NAME_CHARS or num_chars > _MAX_ALL_CHARS
        if depth > _MAX_NESTING or num_seen > MAX_ATTRIBUTES or too_long:
            raise CheckpointError("nests more modules than a model has: refused", file.url)
        if _is_tensor(value):
            found[name] = value
        for key, part in reversed(state.items()):
            if isinstance(key, str) and (not _is_tensor(part) or _is_weight(key, known)):
                stack.append((f"{name}.{key}" if name else key, part, depth + 1))
    return found


def _open_module(value: Any, classes: Mapping[str, ScriptClass]) -> tuple[ScriptClass, dict[Any, Any]]:  # noqa: ANN401
    """What is known of a module, and all that it holds; nothing of an object that is no module."""
    is_object = isinstance(value, Call) and isinstance(value.function, Global) and not _is_tensor(value)
    if is_object and isinstance(value.state, dict):
        known = classes.get(value.function.path)
        if known is not None:
            return known, value.state
    return _NOTHING, {}


def _is_weight(key: str, known: ScriptClass) -> bool:
    return key in known.parameters or known.buffers is None or key in known.buffers


def _is_tensor(value: Any) -> bool:  # noqa: ANN401 - a pickle
    return isinstance(value, Call) and isinstance(value.function, Global) and value.function.path.startswith(_REBUILD)
