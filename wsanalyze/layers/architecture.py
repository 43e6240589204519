"""Definitions of models by timm: built without memory or network, to tell kinds and depths. The only user of timm.

What config.json says is not trusted: it chooses among the models that timm has, and a few plain arguments of them.

Run as a program it does the same for another process, as JSON: torch takes some 700 MB that it never gives back.
"""

import difflib
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Mapping
from typing import Any, Final

from wsanalyze.checkpoints.configs import read_config
from wsanalyze.checkpoints.tree import TreePath
from wsanalyze.errors import UsageError, WsAnalyzeError
from wsanalyze.layers.definition import Architecture
from wsanalyze.layers.module_kinds import tell_module_kinds
from wsanalyze.series import Kind

CONFIG_NAME: Final = "config.json"
OPTION: Final = "--architecture"
_SOURCE: Final = "timm:"
_NAME: Final = re.compile(r"\w{1,100}", re.ASCII)
_COMPANIONS: Final = ("pretrained_cfg", "num_classes", "num_features")
_MAX_CLASSES: Final = 1_000_000
_MAX_CHANNELS: Final = 1024
_PATIENCE_SECONDS: Final = 300
_INSTALL: Final = "install it with the torchvision that fits your torch"
_BY_NAME: Final = "kinds and depths follow names"
_POOLS: Final = ("", "avg", "max", "avgmax", "catavgmax", "token", "map")


def ask_architecture(text: str | None) -> Architecture | None:
    """The definition that the option names, or None where it is not given.

    Args:
        text: "timm:NAME"; a tag of pretrained weights behind the name changes nothing.

    Raises:
        UsageError: If there is no such model, or timm cannot be imported.
    """
    if text is None:
        return None
    name = text.removeprefix(_SOURCE).partition(".")[0]
    if not text.startswith(_SOURCE) or not _NAME.fullmatch(name):
        raise UsageError(f"{OPTION} takes timm:NAME, a model that timm.list_models() has, not {text!r}")
    try:
        return read_apart(name, {}, OPTION)
    except UsageError as error:
        raise UsageError(f"{OPTION} {text}: {error}") from error


def detect_architecture(folder: TreePath) -> tuple[Architecture | None, tuple[str, ...]]:
    """The definition that the config.json beside the weights names, where it is one of timm.

    Args:
        folder: The folder of the weights.

    Returns:
        The definition or None, and a note where one is named that cannot be had.
    """
    try:
        found = find_architecture(read_config(folder, CONFIG_NAME))
    except WsAnalyzeError as error:  # a configuration that matters for more than this is refused where it matters
        return None, (f"{error}; {_BY_NAME}",)
    if found is None:
        return None, ()
    name, arguments = found
    try:
        return read_apart(name, arguments, CONFIG_NAME), ()
    except UsageError as error:
        return None, (f"{CONFIG_NAME} names the model {name}: {error}; {_BY_NAME}",)


def find_architecture(config: Mapping[str, Any]) -> tuple[str, dict[str, int | str]] | None:
    """What a config.json says of a model of timm.

    Args:
        config: The configuration, as anyone may have written it.

    Returns:
        The name of a model and arguments for it that can do no harm; None where the file is not timm's.
    """
    name = config.get("architecture")
    if not isinstance(name, str) or not any(key in config for key in _COMPANIONS):
        return None
    name = name.partition(".")[0]
    if not _NAME.fullmatch(name):
        return None
    given = config.get("model_args")
    return name, _choose_arguments({**config, **(given if isinstance(given, dict) else {})})


def _choose_arguments(given: Mapping[str, Any]) -> dict[str, int | str]:
    """Of all arguments those that kinds and order may depend on; sizes of images change neither."""
    found: dict[str, int | str] = {}
    for key, most in (("num_classes", _MAX_CLASSES), ("in_chans", _MAX_CHANNELS)):
        value = given.get(key)
        if type(value) is int and (0 if key == "num_classes" else 1) <= value <= most:  # True is no number here
            found[key] = value
    pool = given.get("global_pool")
    if isinstance(pool, str) and pool in _POOLS:
        found["global_pool"] = pool
    return found


def read_apart(name: str, arguments: Mapping[str, int | str], source: str) -> Architecture:
    """As `read_architecture`, in a process that ends with it unless torch is here already.

    Raises:
        UsageError: As `read_architecture`, or if the process cannot be started or does not answer.
    """
    if _is_loaded() or not sys.executable:
        return read_architecture(name, arguments, source=source)
    command = [sys.executable, "-P", "-m", __name__, name, json.dumps(arguments)]
    try:
        done = subprocess.run(  # noqa: S603 - this file, asked for one word and plain arguments
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"timm cannot be started ({_first_line(error)}): {_INSTALL}") from error
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise UsageError(f"timm ends with status {done.returncode} when it is imported: {_INSTALL}") from error
    if "error" in answer:
        raise UsageError(answer["error"])
    shapes = {key: tuple(shape) for key, shape in answer["shapes"].items()}
    return Architecture(answer["name"], source, shapes, {key: Kind(kind) for key, kind in answer["kinds"].items()})


def _is_loaded() -> bool:
    return not {"torch", "timm"}.isdisjoint(sys.modules)


def _answer(name: str, arguments: str) -> None:
    """What `read_apart` reads, as the last line of standard output."""
    try:
        found = read_architecture(name, json.loads(arguments))
        answer = {"name": found.name, "shapes": found.shapes, "kinds": found.kinds}
    except UsageError as error:
        answer = {"error": str(error)}
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


def read_architecture(
    name: str, arguments: Mapping[str, int | str] | None = None, *, source: str = OPTION
) -> Architecture:
    """Build a model of timm on the meta device, where it has no elements, and read its definition.

    Nothing is downloaded. Every model that timm has takes less than a second and a few megabytes.

    Args:
        name: Name of the model, as `timm.list_models` has it.
        arguments: Arguments as of `find_architecture`; where the model refuses them, it is built without.
        source: What named it, for notes.

    Raises:
        UsageError: If timm cannot be imported, does not have the model, or cannot build it; the message says which
            and what to do, but not what named it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        timm = _import_timm()
        known = timm.list_models()
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
            advice = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() has those that there are"
            raise UsageError(f"timm {timm.__version__} has no such model; {advice}")
        model = _build(timm, name, dict(arguments or {}))
        shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
        return Architecture(f"{name} of timm", source, shapes, tell_module_kinds(model))


def _import_timm() -> Any:  # noqa: ANN401 - a module
    try:
        import timm
    except Exception as error:
        raise UsageError(f"timm cannot be imported ({_first_line(error)}): {_INSTALL}") from error
    return timm


def _build(timm: Any, name: str, arguments: Mapping[str, int | str]) -> Any:  # noqa: ANN401 - a module and a model
    import torch

    try:
        with torch.device("meta"):
            return timm.create_model(name, pretrained=False, **arguments)
    except Exception as error:
        if arguments:
            return _build(timm, name, {})
        raise UsageError(f"timm {timm.__version__} cannot build it ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


if __name__ == "__main__":
    _answer(*sys.argv[1:])
