"""Names of weight files: how they end, what trainers leave beside them, and files that make one model together."""

import re
from dataclasses import dataclass
from typing import Final

from wsanalyze.checkpoints.base import FOREIGN
from wsanalyze.checkpoints.tree import TreePath, is_folder

VERSION: Final = re.compile(r"-v\d+$")
"""What Lightning puts behind a name that is taken."""

SUFFIXES: Final = (
    ".pth.tar",
    ".pt.tar",
    ".safetensors",
    ".ckpt",
    ".onnx",
    ".pth",
    ".bin",
    ".jit",
    ".npz",
    ".zip",
    ".pt",
    ".th",
)
"""How weight files end, the longest first."""

ASIDE: Final = (".npz", ".onnx", ".zip")
"""Those left alone where there are others: results and data sets are NumPy archives too, and ONNX is an export."""

_SIDECARS: Final = re.compile(
    r"^(optimizers?|optim(s|_states?)?|opt(_state)?|schedulers?|lr_scheduler|scaler|rng(_states?)?|random_states?"
    r"|training_args|trainer_state|custom_checkpoint|dl_state|sampler|args|config|hparams|tokenizer|vocab|dataset|loss"
    r"|distrib_optim)"
    r"(?![a-zA-Z])|_optim_states\.pt$",
    re.IGNORECASE,
)
_SIDECAR_FOLDERS: Final = re.compile(r"(optim(izer)?s?|optim_states?|(lr_)?schedulers?)([-_]?\d+)?", re.IGNORECASE)
_BARE: Final = re.compile(r"checkpoint|(checkpoint|ckpt|model|step|iter|epoch)[-_]?\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Unit:
    """Files that make one model.

    Attributes:
        label: Their name without suffixes and numbers of shards.
        files: Its files.
        problem: Why it cannot be read, where that is known already.
        unread: Files that are left alone since they should hold the same model: in another format or precision.
        layout: How its files hold its tensors together; see `Checkpoint.layout`.
    """

    label: str
    files: tuple[TreePath, ...]
    problem: str | None = None
    unread: tuple[TreePath, ...] = ()
    layout: str = "files"

    @property
    def foreign(self) -> bool:
        """Whether it is of a format that is not read."""
        return self.layout == FOREIGN


def is_weight_file(path: TreePath) -> bool:
    """Whether a name is that of a weight file: a dangling link or a pipe of that name is one that cannot be read."""
    name = path.name
    if not name.lower().endswith(SUFFIXES) or name.startswith(".") or _SIDECARS.search(name):
        return False
    return not is_folder(path)


def is_bare_name(name: str) -> bool:
    """Whether a name without a suffix is that of a checkpoint, as those of Flax are."""
    return _BARE.fullmatch(name) is not None


def is_sidecar_folder(name: str) -> bool:
    """Whether a folder of that name holds the state of an optimizer or scheduler, in however many files."""
    return _SIDECAR_FOLDERS.fullmatch(name) is not None


def stem(name: str) -> str:
    """A name without the suffix of a weight file."""
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)
