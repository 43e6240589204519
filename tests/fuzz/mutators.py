"""Structure-aware mutations: what comes out is still a container, and wrong somewhere inside.

A mutator takes bytes and a `random.Random` and returns other bytes. It never raises: what it cannot take apart is
mutated as plain bytes. Lengths and checksums around a mutation are put right most of the time, since a reader that
stops at the first wrong length shows nothing of what lies behind it.
"""

import contextlib
import io
import json
import pickletools
import struct
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, Final

from bundle import BundleError, pack, unpack
from zips import Record, read_zip, write_zip

Mutator = Callable[[bytes, Random], bytes]

INTEGERS: Final = (
    0, 1, 2, 3, 4, 7, 8, 16, 63, 64, 65, 127, 128, 255, 256, 1023, 4096, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1,
    2**32, 2**40, 2**50, 2**50 + 1, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, -1, -2, -(2**31),
    -(2**63),
)  # fmt: skip
WORDS: Final = (
    "", ".", "..", "a", "weight", "state_dict", "model", "module", "state_dict_ema", "epoch", "global_step", "storage",
    "_modules", "_parameters", "_buffers", "param_groups", "state", "data.pkl", "data/0", "archive", "byteorder", "big",
    "little", "version", "constants.pkl", ".data/serialization_id", "F32", "F16", "BF16", "F8_E4M3", "F4", "BOOL",
    "C64", "F99", "dtype", "shape", "data_offsets", "__metadata__", "weight_map", "metadata", "total_size", "format",
    "pt", "cpu", "torch", "FloatStorage", "BFloat16Storage", "QInt8Storage", "torch._utils", "_rebuild_tensor_v2",
    "_rebuild_tensor_v3", "_rebuild_parameter", "_rebuild_sparse_tensor", "_rebuild_qtensor", "torch._tensor",
    "_rebuild_from_type_v2", "collections", "OrderedDict", "builtins", "dict", "list", "tuple", "getattr", "eval", "os",
    "system", "torch.storage", "_load_from_bytes", "UntypedStorage", "torch.Size", "Size", "numpy", "ndarray",
    "numpy.core.multiarray", "_reconstruct", "scalar", "dtype", "object", "<f4", ">f8", "|O", "|S0", "<U9999999999",
    "fortran_order", "descr", "lora_A", "lora_B", "weight_g", "weight_v", "parametrizations.weight.original0",
    "../../etc/passwd", "/etc/passwd", "/dev/zero", "a/../../b", "a\x00b", "\x1b[2J", "<script>", "=1+1", "\ud800",
    "\u202e", "\n", "x" * 300, "a." * 200, "nan", "inf", "1e999", "00", "01", "qweight", "step", "r", "alpha",
)  # fmt: skip
# Opcodes with their arguments that a pickle may be spiced with: calls, odd keys, memo tricks, globals of every kind.
OPCODES: Final = tuple(
    bytes(code)
    for code in (
        b"(", b".", b"0", b"1", b"2", b"N", b"\x88", b"\x89", b"R", b"\x81", b"\x92", b"b", b"o", b"Q", b"t", b"\x85",
        b"\x86", b"\x87", b")", b"]", b"}", b"l", b"d", b"a", b"e", b"s", b"u", b"\x8f", b"\x90", b"\x91", b"\x93",
        b"\x94", b"\x97", b"\x98", b"q\x00", b"q\x01", b"h\x00", b"h\x01", b"r\xff\xff\xff\xff", b"j\x00\x00\x00\x00",
        b"p0\n", b"g0\n", b"p99999999\n", b"cos\nsystem\n", b"cbuiltins\nlist\n", b"cbuiltins\ndict\n",
        b"ccollections\nOrderedDict\n", b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch._utils\n_rebuild_parameter\n", b"ctorch._tensor\n_rebuild_from_type_v2\n", b"ctorch\nSize\n",
        b"(S'id'\nios\nsystem\n", b"Pstorage\n", b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00", b"\x80\x05",
        b"\x95\x00\x00\x00\x00\x00\x00\x00\x00", b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x8a\x00", b"I-1\n",
        b"F1e999\n", b"G\x7f\xf8\x00\x00\x00\x00\x00\x00", b"X\x06\x00\x00\x00weight", b"X\x0a\x00\x00\x00state_dict",
        b"X\x08\x00\x00\x00_modules", b"C\x01a", b"Va\\ud800\n", b"S'\\x'\n", b"M\xff\xff", b"J\xff\xff\xff\xff",
    )
)  # fmt: skip


def mutate_bytes(data: bytes, rng: Random) -> bytes:
    """Flip, insert, remove, copy, truncate or append: no structure known."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(out) + 1)
        how = rng.randrange(8)
        if how == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif how == 1 and out:
            out[at % len(out)] = rng.randrange(256)
        elif how == 2:
            out[at:at] = rng.randbytes(rng.choice((1, 2, 8, 64)))
        elif how == 3:
            del out[at : at + rng.choice((1, 2, 8, 64))]
        elif how == 4:
            out[at : at + 8] = (rng.choice(INTEGERS) & (2**64 - 1)).to_bytes(8, rng.choice(("little", "big")))
        elif how == 5:
            del out[at:]
        elif how == 6:
            out += rng.choice((b"\x00", b"\x80\x02N.", b"PK\5\6" + bytes(18), rng.randbytes(16)))
        else:
            source = rng.randrange(len(out) + 1)
            out[at:at] = out[source : source + rng.choice((4, 32, 256))]
    return bytes(out)


def mutate_text(data: bytes, rng: Random) -> bytes:
    """Put a word or a number somewhere, or mutate as bytes."""
    if rng.randrange(2):
        return mutate_bytes(data, rng)
    word = rng.choice(WORDS) if rng.randrange(2) else str(rng.choice(INTEGERS))
    at = rng.randrange(len(data) + 1)
    return data[:at] + word.encode("utf-8", "surrogatepass") + data[at + rng.choice((0, len(word))) :]


# JSON: objects are lists of pairs, so that a key may stand twice.


class _Pairs(list[Any]):
    """The members of an object, in order."""


def mutate_json(data: bytes, rng: Random) -> bytes:
    """Change values, keys and nesting of a JSON document; what comes out is JSON again."""
    try:
        tree = json.loads(data, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return mutate_text(data, rng)
    if rng.randrange(8) == 0:
        return mutate_text(data, rng)
    box = [tree]
    for _ in range(rng.choice((1, 1, 2, 4))):
        _mutate_node(box, rng)
    return _dump_json(box[0]).encode("utf-8", "surrogatepass")


def _mutate_node(box: list[Any], rng: Random) -> None:
    """Change one value somewhere below."""
    places = [(box, 0)]
    stack = [box[0]]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            places += [(node, index) for index in range(len(node))]
            stack += [item[1] if isinstance(node, _Pairs) else item for item in node]
    parent, index = rng.choice(places)
    if index >= len(parent):
        return
    if isinstance(parent, _Pairs):
        key, value = parent[index]
        how = rng.randrange(5)
        if how == 0:
            parent[index] = (rng.choice(WORDS), value)
        elif how == 1:
            parent.insert(rng.randrange(len(parent) + 1), (key, _value(rng)))
        elif how == 2 and len(parent) > 1:
            del parent[index]
        else:
            parent[index] = (key, _change(value, rng))
    elif rng.randrange(4) == 0 and parent is not box:
        parent.insert(index, _value(rng))
    else:
        parent[index] = _change(parent[index], rng)


def _change(value: Any, rng: Random) -> Any:
    if type(value) is int and rng.randrange(2):
        return value + rng.choice((-8, -1, 1, 4, 8, 1 << rng.randrange(64)))
    if rng.randrange(6) == 0:
        return [value] if rng.randrange(2) else _Pairs([(rng.choice(WORDS), value)])
    return _value(rng)


def _value(rng: Random) -> Any:
    return rng.choice(
        (
            rng.choice(INTEGERS),
            rng.choice(WORDS),
            None,
            True,
            [],
            _Pairs(),
            1.5,
            float("nan"),
            [rng.choice(INTEGERS)] * 3,
        )
    )


def _dump_json(value: Any) -> str:
    if isinstance(value, _Pairs):
        return "{" + ",".join(f"{json.dumps(key)}:{_dump_json(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_dump_json, value)) + "]"
    return json.dumps(value)


def mutate_safetensors(data: bytes, rng: Random) -> bytes:
    """Change the header, and its length with it."""
    length = int.from_bytes(data[:8], "little")
    if rng.randrange(8) == 0 or length > len(data):
        return mutate_bytes(data, rng)
    header = mutate_json(data[8 : 8 + length], rng)
    told = rng.choice(INTEGERS) & (2**64 - 1) if rng.randrange(12) == 0 else len(header)
    body = mutate_bytes(data[8 + length :], rng) if rng.randrange(8) == 0 else data[8 + length :]
    return told.to_bytes(8, "little") + header + body


# Pickles


def split_pickle(data: bytes) -> tuple[list[bytes], bytes]:
    """The opcodes of the first pickle with their arguments, as far as they can be told, and what follows."""
    positions: list[int] = []
    # pickletools raises many things for opcodes that it cannot read; those before are of use.
    with contextlib.suppress(Exception):
        positions.extend(position or 0 for _, _, position in pickletools.genops(data))
    if not positions:
        return [], data
    last = positions[-1]
    whole = data[last : last + 1] == b"."
    ends = [*positions[1:], last + 1 if whole else last]
    return [data[a:b] for a, b in zip(positions, ends, strict=True) if a < b], data[ends[-1] :]


def mutate_pickle(data: bytes, rng: Random) -> bytes:
    """Change, drop, repeat, move or add opcodes of a pickle; frames are taken off, since they are only a hint."""
    ops, rest = split_pickle(data)
    if len(ops) < 3 or rng.randrange(12) == 0:
        return mutate_bytes(data, rng)
    ops = [op for op in ops if op[0] != 0x95]
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at = rng.randrange(len(ops) or 1)
        how = rng.randrange(9)
        if how < 3:
            ops[at : at + 1] = [_mutate_opcode(op, rng) for op in ops[at : at + 1]]
        elif how == 3:
            del ops[at : at + rng.choice((1, 1, 2, 5))]
        elif how == 4:
            ops[at:at] = ops[at : at + rng.choice((1, 2, 8))] * rng.choice((1, 2, 50))
        elif how == 5:
            ops[at:at] = [rng.choice(OPCODES) for _ in range(rng.choice((1, 2, 3)))]
        elif how == 6 and ops:
            other = rng.randrange(len(ops))
            ops[at], ops[other] = ops[other], ops[at]
        elif how == 7 and ops:
            ops[at] = rng.choice(OPCODES)
        else:
            other = rng.randrange(len(ops) or 1)
            ops[at:at] = ops[other : other + rng.choice((3, 10, 30))]
    return b"".join(ops) + rest


_INTEGER_OPCODES: Final = {b"K": 1, b"M": 2, b"J": 4, b"q": 1, b"r": 4, b"h": 1, b"j": 4}
_TEXT_OPCODES: Final = {b"X": 4, b"\x8c": 1, b"U": 1, b"T": 4, b"\x8d": 8, b"C": 1, b"B": 4}


def _mutate_opcode(op: bytes, rng: Random) -> bytes:
    code = op[:1]
    if code in b"KMJ\x8a" and rng.randrange(2):
        number = rng.choice(INTEGERS) if rng.randrange(2) else len(op) + rng.randrange(-3, 20)
        size = number.bit_length() // 8 + 1
        return b"\x8a" + bytes([size]) + number.to_bytes(size, "little", signed=True)
    if code in _INTEGER_OPCODES:
        size = _INTEGER_OPCODES[code]
        return code + _wrap(rng.choice(INTEGERS), size).to_bytes(size, "little")
    if code in _TEXT_OPCODES:
        size = _TEXT_OPCODES[code]
        word = rng.choice(WORDS).encode("utf-8", "surrogatepass")[:255]
        told = _wrap(rng.choice(INTEGERS), size) if rng.randrange(12) == 0 else len(word)
        return code + told.to_bytes(size, "little") + word
    if code == b"c":
        module, name = (rng.choice([w for w in WORDS if "\n" not in w and w.isascii()]) for _ in range(2))
        return f"c{module}\n{name}\n".encode()
    return rng.choice(OPCODES)


def _wrap(value: int, num_bytes: int) -> int:
    """The lowest bytes of a number."""
    return value & ((1 << 8 * num_bytes) - 1)


def mutate_pickles(data: bytes, rng: Random) -> bytes:
    """Change one of several pickles that stand one after another, or the bytes behind them (legacy torch)."""
    parts, rest = [], data
    for _ in range(5):
        ops, behind = split_pickle(rest)
        if not ops or ops[-1] != b".":
            break
        parts.append(rest[: len(rest) - len(behind)])
        rest = behind
    if not parts or rng.randrange(8) == 0:
        return mutate_bytes(data, rng)
    how = rng.randrange(8)
    at = rng.randrange(len(parts))
    if how == 0:
        rest = mutate_bytes(rest, rng)
    elif how == 1 and len(rest) >= 8:
        start = rng.randrange(0, len(rest) - 7, 4)
        rest = rest[:start] + struct.pack("<q", _signed(rng.choice(INTEGERS))) + rest[start + 8 :]
    elif how == 2:
        del parts[at]
    elif how == 3:
        parts.insert(at, rng.choice(parts))
    else:
        parts[at] = mutate_pickle(parts[at], rng)
    return b"".join(parts) + rest


def _signed(value: int) -> int:
    return max(-(2**63), min(2**63 - 1, value))


# NumPy, protocol buffers


def mutate_npy(data: bytes, rng: Random) -> bytes:
    """Change the header of a NumPy array, and its length with it; behind an object array stands a pickle."""
    if not data.startswith(b"\x93NUMPY") or len(data) < 12 or rng.randrange(8) == 0:
        return mutate_bytes(data, rng)
    size = 2 if data[6] == 1 else 4
    length = int.from_bytes(data[8 : 8 + size], "little")
    header, body = data[8 + size : 8 + size + length], data[8 + size + length :]
    if rng.randrange(6) == 0 and body[:1] == b"\x80":
        body = mutate_pickle(body, rng)
    else:
        header = _mutate_npy_header(header, rng)
    told = _wrap(rng.choice(INTEGERS), size) if rng.randrange(12) == 0 else len(header)
    version = data[6:8] if rng.randrange(12) else bytes([rng.randrange(5), rng.randrange(2)])
    return data[:6] + version + told.to_bytes(size, "little", signed=False)[:size] + header + body


def _mutate_npy_header(header: bytes, rng: Random) -> bytes:
    types = (
        "<f4",
        ">f8",
        "<f2",
        "|b1",
        "|O",
        "<c8",
        "|S0",
        "<U4",
        "|V2",
        "<M8[s]",
        "<f16",
        "=f4",
        "f",
        "('<f4', (2,))",
    )
    return rng.choice(
        (
            lambda: mutate_text(header, rng),
            lambda: header.replace(b"'<f4'", repr(rng.choice(types)).encode(), 1),
            lambda: header.replace(b"(", b"(%d, " % rng.choice(INTEGERS), 1),
            lambda: header.replace(b"False", rng.choice((b"True", b"None", b"1", b"[]", b"-" * 5000 + b"1")), 1),
            lambda: header.replace(b"{", rng.choice((b"{'a': 1, ", b"[" * 3000, b"{1: ", b"(" * 200)), 1),
            lambda: header[: rng.randrange(len(header) + 1)],
            lambda: header + b" " * rng.choice((1, 64, 20000)),
        )
    )()


def mutate_protobuf(data: bytes, rng: Random, depth: int = 0) -> bytes:
    """Change one field of a protocol buffer, or of a message inside it, with the lengths around it put right."""
    fields = split_protobuf(data)
    if not fields or rng.randrange(10) == 0:
        return mutate_text(data, rng)
    at = rng.randrange(len(fields))
    number, wire, value = fields[at]
    how = rng.randrange(8)
    if how == 0:
        fields.insert(rng.randrange(len(fields) + 1), fields[at])
    elif how == 1:
        del fields[at]
    elif how == 2:
        fields[at] = (rng.randrange(1, 24), wire, value)
    elif isinstance(value, int):
        fields[at] = (number, wire, rng.choice(INTEGERS) & (2**64 - 1))
    elif depth < 8 and rng.randrange(6):
        fields[at] = (number, wire, mutate_protobuf(value, rng, depth + 1))
    else:
        fields[at] = (number, wire, mutate_text(value, rng))
    return b"".join(_write_field(*field) for field in fields)


def split_protobuf(data: bytes) -> list[tuple[int, int, int | bytes]]:
    """The fields of a message: (number, wire type, value) each; nothing if it is none."""
    fields: list[tuple[int, int, int | bytes]] = []
    stream = io.BytesIO(data)
    try:
        while stream.tell() < len(data):
            key = _read_varint(stream)
            number, wire = key >> 3, key & 7
            if wire == 0:
                value: int | bytes = _read_varint(stream)
            elif wire in (1, 2, 5):
                length = {1: 8, 5: 4}.get(wire) or (_read_varint(stream) if wire == 2 else 0)
                value = stream.read(length) if length <= len(data) else b""
                if len(value) != length:
                    return []
            else:
                return []
            fields.append((number, wire, value))
    except IndexError:
        return []
    return fields


def _read_varint(stream: io.BytesIO) -> int:
    value = shift = 0
    while True:
        byte = stream.read(1)[0]
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 or shift > 70:
            return value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _write_field(number: int, wire: int, value: int | bytes) -> bytes:
    key = _varint(number << 3 | wire)
    if isinstance(value, int):
        return key + _varint(value)
    return key + (_varint(len(value)) if wire == 2 else b"") + value


# Archives, and folders of several files


def mutate_zip(data: bytes, rng: Random) -> bytes:
    """Change a record's content, name, headers or place; sizes and checksums are right unless they are to lie."""
    try:
        records = read_zip(data)
    except Exception:  # noqa: BLE001 - zipfile raises many things; whatever it cannot read is mutated as bytes
        return mutate_bytes(data, rng)
    if not records or rng.randrange(10) == 0:
        return mutate_bytes(data, rng)
    for _ in range(rng.choice((1, 1, 1, 2))):
        told = [at for at, r in enumerate(records) if r.name.endswith((b".pkl", b".pth", b".json", b".npy"))]
        at = rng.choice(told) if told and rng.randrange(3) else rng.randrange(len(records))
        how = rng.randrange(16)
        if how == 0:
            records.insert(rng.randrange(len(records) + 1), records[at])
        elif how == 1 and len(records) > 1:
            del records[at]
        else:
            records[at] = _mutate_record(records[at], rng)
    ends = {rng.choice(("count", "size", "offset")): rng.choice(INTEGERS)} if rng.randrange(20) == 0 else {}
    prefix = rng.randbytes(4) if rng.randrange(30) == 0 else b""
    comment = rng.randbytes(20) if rng.randrange(30) == 0 else b""
    return write_zip(records, prefix=prefix, comment=comment, **ends)


def _mutate_record(record: Record, rng: Random) -> Record:
    """Change the content of a record, as often as not, or what the archive says of it."""
    name = record.name.decode("utf-8", "replace")
    changes: tuple[Callable[[], dict[str, Any]], ...] = (
        lambda: {
            "name": rng.choice((rng.choice(WORDS), f"{name}x", f"b/{name}", "data.pkl")).encode("utf-8", "replace")
        },
        lambda: {"method": 8},
        lambda: {
            "lies": {rng.choice(("crc", "compressed", "size", "offset", "method", "flags")): rng.choice(INTEGERS)}
        },
        lambda: {"local_lies": {rng.choice(("crc", "compressed", "size", "method", "flags")): rng.choice(INTEGERS)}},
        lambda: {"extra": rng.randbytes(rng.choice((0, 1, 4, 200)))},
        lambda: {"absent": True},
    )
    if rng.randrange(2):
        return replace(record, data=choose_mutator(name, record.data)(record.data, rng))
    return replace(record, **rng.choice(changes)())


def mutate_bundle(data: bytes, rng: Random) -> bytes:
    """Change, drop or copy one of several files."""
    try:
        files = unpack(data)
    except BundleError:
        return mutate_bytes(data, rng)
    if not files:
        return data
    name = rng.choice(sorted(files))
    how = rng.randrange(12)
    if how == 0 and len(files) > 1:
        del files[name]
    elif how == 1:
        files[name] = files[rng.choice(sorted(files))]
    else:
        files[name] = choose_mutator(name, files[name])(files[name], rng)
    return pack(files)


def choose_mutator(name: str, data: bytes) -> Mutator:
    """The mutator for a file inside another, by its first bytes or its name."""
    is_pickle = data.startswith(b"\x80") or name.endswith((".pkl", ".metadata"))
    known: tuple[tuple[bool, Mutator], ...] = (
        (data.startswith(b"PK\3\4"), mutate_zip),
        (data.startswith(b"\x93NUMPY"), mutate_npy),
        (name.endswith((".json", "/data")) or data[:1] in (b"{", b"["), mutate_json),
        (name.endswith(".safetensors"), mutate_safetensors),
        (name.endswith(".onnx"), mutate_protobuf),
        (is_pickle and b".\x80" in data, mutate_pickles),
        (is_pickle, mutate_pickle),
    )
    return next((mutator for matches, mutator in known if matches), mutate_text)
