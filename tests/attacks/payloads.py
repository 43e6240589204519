"""Pickles that would do something: fragments that push one object, to be put into any pickle of any container."""

import functools
import io
import operator
import os
import pickle
import pickletools
import struct
import subprocess
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Asks:
    """An object whose unpickling asks for a call."""

    def __init__(self, function: Any, *args: Any, **more: Any) -> None:
        self.reduced = (function, args, *([more["state"]] if "state" in more else []))

    def __reduce__(self) -> Any:
        return self.reduced


class NewObject:
    """The same by NEWOBJ_EX, which calls `__new__` with keywords."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        import copyreg

        if protocol < 2:
            return print, ("x",)
        return copyreg.__newobj_ex__, (subprocess.Popen, ("true",), {"shell": True})


def list_payloads(canary: Path) -> dict[str, Any]:
    """Objects by what they would do; most of them make the canary file."""
    touch, code = f"touch {canary}", f"open({str(canary)!r}, 'w')"
    inner = pickle.dumps(Asks(os.system, touch))
    chain = Asks(getattr, Asks(__import__, "os"), "system")
    for _ in range(50):
        chain = Asks(functools.partial, chain)
    objects = np.array([Asks(os.system, touch)], dtype=object)
    saved = io.BytesIO()
    torch.save({"a": Asks(os.system, touch)}, saved)
    return {
        "os.system": Asks(os.system, touch),
        "subprocess.Popen": Asks(subprocess.Popen, ["touch", str(canary)]),
        "eval": Asks(eval, code),
        "exec": Asks(exec, code),
        "compile": Asks(compile, code, "x", "exec"),
        "open for writing": Asks(open, str(canary), "w"),
        "an import": Asks(__import__, "antigravity"),
        "a chain of calls": Asks(operator.methodcaller("__call__", touch), chain),
        "an attribute": Asks(operator.attrgetter("system"), Asks(__import__, "os")),
        "a pickle in a pickle": Asks(pickle.loads, inner),
        "a storage from bytes": Asks(torch.storage._load_from_bytes, saved.getvalue()),
        "torch.load": Asks(torch.load, str(canary)),
        "torch.hub.load": Asks(torch.hub.load, "a/b", "c"),
        "an object array": objects,
        "a state with a call": OrderedDict(x=Asks(os.system, touch)),
        "a set": {Asks(os.system, touch)},
        "a key": {Asks(os.system, touch): 1},
        "__setstate__": Asks(OrderedDict, state={"__setstate__": Asks(os.system, touch)}),
        "NEWOBJ_EX": NewObject(),
    }


def list_fragments(canary: Path) -> Iterator[tuple[str, bytes]]:
    """(name, opcodes that push one object): every payload by every protocol, and what no pickler writes."""
    for name, payload in list_payloads(canary).items():
        for protocol in PROTOCOLS:
            yield f"{name}, protocol {protocol}", strip(pickle.dumps(payload, protocol))
    touch = f"touch {canary}"
    system, text = b"cos\nsystem\n", b"X" + struct.pack("<I", len(touch)) + touch.encode()
    yield "INST", b"(S'" + touch.encode() + b"'\nios\nsystem\n"
    yield "OBJ", b"(" + system + text + b"o"
    yield "NEWOBJ", system + text + b"\x85\x81"
    yield "STACK_GLOBAL", b"\x8c\x02os\x8c\x06system\x93" + text + b"\x85R"
    yield "BUILD", b"ccollections\nOrderedDict\n)R}X\x08\x00\x00\x00__dict__" + system + text + b"\x85Rsb"
    yield "a dotted name", b"\x8c\x08builtins\x8c\x0deval.__call__\x93X\x01\x00\x00\x001\x85R"
    yield "an extension", b"\x82\x01\x83\x01\x00\x84\x01\x00\x00\x00\x87"
    yield "a persistent id", system + text + b"\x85RQ"
    yield "a buffer", b"\x97\x98"
    yield "a call that is called", system + text + b"\x85R" + text + b"\x85R" + b")R"


def strip(data: bytes) -> bytes:
    """A pickle without its protocol, frames and end, and its memo where the pickle around has none."""
    data = pickletools.optimize(data)
    kept = bytearray()
    ends = [position or 0 for _, _, position in pickletools.genops(data)][1:]
    num_kept = 0
    for (opcode, _, start), end in zip(pickletools.genops(data), ends, strict=False):
        part = data[start or 0 : end]
        if opcode.name == "MEMOIZE":
            kept += b"r" + struct.pack("<I", _FIRST + num_kept)
            num_kept += 1
        elif opcode.name in ("BINPUT", "BINGET"):
            kept += (b"r" if opcode.name == "BINPUT" else b"j") + struct.pack("<I", _FIRST + part[1])
        elif opcode.name in ("PUT", "GET"):
            kept += part[:1] + str(_FIRST + int(part[1:])).encode() + b"\n"
        elif opcode.name not in ("PROTO", "FRAME"):
            kept += part
    return bytes(kept)


_FIRST = 1 << 20
