"""Files made to cost as much as they can: what each takes to be read or refused.

    python tests/attacks/costs.py --record docs/fuzzing.md     all of them, ten megabytes each, into the table there
    python tests/attacks/costs.py --megabytes 2 NAME...

Each is read in a process of its own that may take a gigabyte, up to the places of its tensors.
"""

import argparse
import itertools
import json
import math
import re
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

from guard import limit_memory
from zips import Record, write_zip

from wsanalyze.checkpoints.facts import fingerprint_file, read_facts
from wsanalyze.checkpoints.folder import FolderSource
from wsanalyze.errors import WsAnalyzeError
from wsanalyze.files.local import LocalFiles
from wsanalyze.tensors.files import read_checkpoint

_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_ORDERED: Final = b"ccollections\nOrderedDict\n"
_MARKS: Final = ("<!-- costs -->", "<!-- end of costs -->")
_MAX_SECONDS: Final = 120
_INITIALIZER: Final = b"\x2a\x0b\x08\x00\x10\x01\x42\x05%05x"  # of no elements, with a name


def text(value: bytes) -> bytes:
    """The opcode that pushes some text."""
    return b"X" + struct.pack("<I", len(value)) + value


def keys(count: int) -> list[bytes]:
    """Opcodes that push different short texts."""
    return [b"\x8c\x04" + bytes(key) for key in itertools.islice(itertools.product(_LETTERS, repeat=4), count)]


def items(count: int, value: bytes) -> bytes:
    """The opcodes of a dictionary of so many keys, all of one value."""
    return b"}(" + b"".join(key + value for key in keys(count)) + b"u"


def repeat(unit: bytes, size: int, head: bytes = b"", tail: bytes = b".") -> bytes:
    """A pickle that does the same again and again."""
    return head + unit * ((size - len(head) - len(tail)) // len(unit)) + tail


def tensor(shape: bytes = b"K\x02K\x02\x86", strides: bytes = b"K\x02K\x01\x86", arguments: bytes = b"") -> bytes:
    """The opcodes that rebuild a tensor."""
    storage = b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu") + b"K\x04tQ"
    rest = b"K\x00" + shape + strides + b"\x89" + _ORDERED + b")R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + arguments + b"tR"


def torch_file(pickled: bytes) -> dict[str, bytes]:
    """A file of torch that holds a pickle and one storage."""
    records = [Record(b"a/data.pkl", pickled), Record(b"a/byteorder", b"little"), Record(b"a/data/0", bytes(16))]
    return {"x.pt": write_zip(records)}


def _distinct(size: int) -> dict[str, bytes]:
    """As many different tensors as the opcodes allow."""
    made = b"ctorch\nFloatTensor\nq\x000(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu")
    made += b"K\x04tQq\x010K\x02K\x02\x86q\x020K\x02K\x01\x86q\x030"
    return torch_file(made + items(min(440_000, size // 20), b"h\x00(h\x01K\x00h\x02h\x03tR") + b".")


def _wrapped(size: int) -> dict[str, bytes]:
    made = tensor()
    for _ in range(7):
        made = b"ctorch._utils\n_rebuild_parameter\n" + made + b"\x85R"
    return torch_file(made + b"q\x000" + items(min(249_000, size // 8), b"h\x00") + b".")


def _shared(size: int, inner: bytes) -> dict[str, bytes]:
    """A long container, and another one that refers to it from each of its keys."""
    return torch_file(inner + b"q\x000" + items(size // 16, b"h\x00") + b".")


def _safetensors(header: bytes) -> dict[str, bytes]:
    return {"x.safetensors": struct.pack("<Q", len(header)) + header}


def _entries(size: int) -> dict[str, bytes]:
    entry = b'"%x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    return _safetensors(b"{" + b",".join(entry % number for number in range(size // 58)) + b"}")


def _npy(dtype: str) -> bytes:
    header = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': (0,), }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


def _numpy(size: int, dtype: str) -> dict[str, bytes]:
    array = _npy(dtype)
    count = size // (len(array) + 130)
    return {"x.npz": write_zip([Record(b"%d.npy" % number, array) for number in range(count)])}


def _one_header(size: int) -> dict[str, bytes]:
    """Records whose headers stand one behind another, and which all are the same bytes behind them."""
    array = _npy(repr(",".join(["f4"] * 3200)))
    count = min(1500, size // 100)
    length = 30 + len(b"0000.npy")
    records = [
        Record(b"%04d.npy" % number, b"", local_lies={"size": len(array), "compressed": len(array)})
        for number in range(count)
    ]
    data = bytearray(write_zip(records))
    for number in range(count):
        struct.pack_into("<H", data, number * length + 28, (count - number - 1) * length)
    central = data.index(b"PK\x01\x02")
    for number in range(count):
        struct.pack_into("<2I", data, central + number * (46 + 8) + 20, len(array), len(array))
    end = data.index(b"PK\x05\x06")
    struct.pack_into("<I", data, end + 16, central + len(array))
    return {"x.npz": bytes(data[:central] + array + data[central:])}


def _onnx(graph: bytes) -> dict[str, bytes]:
    length, varint = len(graph), bytearray()
    while length > 0x7F:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    return {"x.onnx": b"\x08\x07\x3a" + bytes([*varint, length]) + graph}


def _script(size: int) -> dict[str, bytes]:
    """Much code in few bytes."""
    code = b'class a(Module):\n  __parameters__ = ["a", ]\n' * (size * 6 // 45)
    records = [Record(b"a/data.pkl", b"N."), Record(b"a/constants.pkl", b").")]
    return {"x.jit": write_zip([*records, Record(b"a/code/a.py", code, method=8)])}


def _chunks(size: int) -> dict[str, bytes]:
    """A list of chunks that is that of every tensor."""
    classes = b"ctorch.distributed.checkpoint.metadata\n"
    chunk = (
        classes + b"ChunkStorageMetadata\n)\x81}(" + text(b"offsets") + b"K\x00\x85" + text(b"sizes") + b"K\x02\x85ub"
    )
    entry = classes + b"TensorStorageMetadata\n)\x81}(" + text(b"size") + b"K\x02\x85" + text(b"chunks") + b"h\x02ub"
    made = chunk + b"q\x010](" + b"h\x01" * (size // 20) + b"eq\x020" + entry + b"q\x030"
    made += classes + b"Metadata\n)\x81}(" + text(b"state_dict_metadata") + items(size // 20, b"h\x03")
    return {".metadata": made + text(b"storage_data") + b"}ub.", "__0_0.distcp": bytes(100)}


def _same_chunk(size: int) -> dict[str, bytes]:
    """Very many chunks that all are the same bytes, and lie where they should."""
    classes = b"ctorch.distributed.checkpoint.metadata\n"
    place = b"ctorch.distributed.checkpoint.filesystem\n_StorageInfo\n)\x81}("
    data = torch_file(tensor(shape=b"K\x04\x85", strides=b"K\x01\x85") + b".")["x.pt"]
    count = min(100_000, size // 60)
    rows = [b"J" + struct.pack("<i", number * 4) + b"\x85" for number in range(count)]
    made = b"K\x04\x85q\x010" + classes + b"ChunkStorageMetadata\nq\x020" + classes + b"MetadataIndex\nq\x030"
    made += (
        text(b"offsets") + b"q\x040" + text(b"sizes") + b"q\x050" + text(b"fqn") + b"q\x060" + text(b"w") + b"q\x070"
    )
    made += text(b"offset") + b"q\x080" + place + text(b"relative_path") + text(b"__0_0.distcp") + b"h\x08K\x00"
    made += text(b"length") + b"M" + struct.pack("<H", len(data)) + b"ubq\x090"
    made += b"ctorch\nfloat32\nq\x0a0" + classes + b"TensorProperties\n)\x81(h\x0ah\x0atbq\x0b0"
    made += classes + b"Metadata\n)\x81}(" + text(b"state_dict_metadata") + b"}h\x07" + classes
    made += b"TensorStorageMetadata\n)\x81}(" + text(b"size") + b"J" + struct.pack("<i", 4 * count) + b"\x85"
    made += text(b"properties") + b"h\x0b" + text(b"chunks") + b"]("
    made += b"".join(b"h\x02)\x81}(h\x04" + row + b"h\x05h\x01ub" for row in rows) + b"eubs"
    made += text(b"storage_data") + b"}("
    made += b"".join(b"h\x03)\x81}(h\x06h\x07h\x08" + row + b"ubh\x09" for row in rows) + b"uub."
    return {".metadata": made, "__0_0.distcp": data}


def _legacy(size: int) -> dict[str, bytes]:
    """Very many storages."""
    count = size // 32
    reference = b"(h\x00h\x01"
    body = text(b"storage") + b"q\x000ctorch\nFloatStorage\nq\x010}("
    body += b"".join(key + reference + key + b"NNtQ" for key in keys(count)) + b"u."
    head = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}."
    return {"x.pth": head + body + b"](" + b"".join(keys(count)) + b"e." + bytes(8 * count)}


COSTS: Final[dict[str, Callable[[int], dict[str, bytes]]]] = {
    "pickle: nothing, again and again": lambda n: torch_file(repeat(b"N0", n)),
    "pickle: marks": lambda n: torch_file(repeat(b"(", n)),
    "pickle: dictionaries of one item": lambda n: torch_file(repeat(b"}NNs", n)),
    "pickle: calls": lambda n: torch_file(repeat(b"h\x00)R", n, b"cos\nsystem\nq\x00")),
    "pickle: globals": lambda n: torch_file(repeat(b"ca\nb\n", n)),
    "pickle: a large memo": lambda n: torch_file(repeat(b"]\x94", n)),
    "pickle: long integers": lambda n: torch_file(repeat(b"I" + b"9" * 4300 + b"\n", n)),
    "pickle: copies of a list": lambda n: torch_file(
        repeat(b"h\x01h\x00\x85R", n, b"cbuiltins\nlist\nq\x01]q\x00(" + b"N" * 1000 + b"e")
    ),
    "pickle: copies of pairs": lambda n: torch_file(
        repeat(b"h\x01h\x00\x85R", n, _ORDERED + b"q\x01]q\x00(" + b"(K\x01Nt" * 1000 + b"e")
    ),
    "pickle: nested lists": lambda n: torch_file(b"]" * (n // 5) + b"a" * (n // 5 - 1) + b"."),
    "torch: one list under many keys": lambda n: _shared(n, b"](" + b"}" * (n // 4) + b"e"),
    "torch: one dictionary under many keys": lambda n: _shared(n, items(n // 16, b"}")),
    "torch: one tensor under many names": lambda n: torch_file(tensor() + b"q\x000" + items(n // 8, b"h\x00") + b"."),
    "torch: many tensors": _distinct,
    "torch: parameters of parameters": _wrapped,
    "torch: long names": lambda n: torch_file(
        tensor() + b"q\x000}" + text(b"x" * 60_000) + items(n // 10, b"h\x00") + b"s."
    ),
    "torch: long names at many levels": lambda n: torch_file(
        tensor() + b"q\x000" + (b"}" + text(b"x" * 1000)) * 60 + items(n // 10, b"h\x00") + b"s" * 60 + b"."
    ),
    "torch: many records": lambda n: {
        "x.pt": write_zip([Record(b"a/data.pkl", b"N."), *(Record(b"a/data/%d" % i, b"") for i in range(n // 110))])
    },
    "legacy torch: many storages": _legacy,
    "safetensors: many tensors": _entries,
    "safetensors: lists": lambda n: _safetensors(b'{"a":[' + b"[]," * (n // 3) + b"[]]}"),
    "safetensors: objects": lambda n: _safetensors(b'{"a":[' + b'{"":{}},' * (n // 8) + b"{}]}"),
    "NumPy: many arrays": lambda n: _numpy(n, "'<f4'"),
    "NumPy: long headers": lambda n: _numpy(n, repr(",".join(["f4"] * 3200))),
    "NumPy: one header for all": _one_header,
    "ONNX: numbers": lambda n: _onnx(b"\x08\x00" * (n // 2)),
    "ONNX: many initialisers": lambda n: _onnx(b"".join(_INITIALIZER % i for i in range(n // 60))),
    "TorchScript: code that was squeezed": _script,
    "torch.distributed: one list of chunks for all": _chunks,
    "torch.distributed: one chunk again and again": _same_chunk,
}  # fmt: skip


def measure(folder: str) -> dict[str, str | float]:
    """Read the checkpoint in a folder; what that took."""
    resource.setrlimit(resource.RLIMIT_CPU, (_MAX_SECONDS, _MAX_SECONDS))
    limit_memory()
    before = _peak()
    started = time.process_time()
    told = _read(folder).replace(f"{folder}/", "")
    seconds = time.process_time() - started
    return {"seconds": seconds, "megabytes": (_peak() - before) / 1e6, "told": told}


def _peak() -> int:
    """The most memory that this process has held, in bytes; what getrusage tells is that of its parent too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def measure_apart(name: str, size: int) -> dict[str, str | float]:
    """The same for one that is named, in a process that has done nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        for file_name, data in COSTS[name](size).items():
            (Path(folder) / file_name).write_bytes(data)
        command = [sys.executable, __file__, "--here", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"name": name, "seconds": math.nan, "megabytes": math.nan, "told": f"DIED {done.stderr[-300:]}"}
    found: dict[str, str | float] = json.loads(done.stdout)
    return found | {"name": name}


def _read(folder: str) -> str:
    try:
        with LocalFiles() as source:
            (checkpoint,) = FolderSource(folder).checkpoints()
            if checkpoint.problem:
                return checkpoint.problem
            found, contents = read_checkpoint(source, checkpoint.layout, checkpoint.files, checkpoint.prefixes)
            for file, content in zip(checkpoint.files, contents, strict=True):
                read_facts(content)
                fingerprint_file(source, file, content)
    except WsAnalyzeError as error:
        return str(error)
    except MemoryError:
        return "MEMORY"
    return f"read: {sum(map(len, found.infos.values())):,} tensors"


def record(results: list[dict[str, str | float]], path: Path, size: int) -> None:
    """Write the table into a document."""
    document = path.read_text(encoding="utf-8")
    rows = [
        f"| {size / 1e6:.0f} MB of | seconds of processor time | MB more than before | what is said |",
        "|---|---|---|---|",
    ]
    for result in results:
        told = re.sub(r"\s+", " ", str(result["told"])).replace("|", "/")[:100]
        rows.append(f"| {result['name']} | {result['seconds']:.1f} | {result['megabytes']:.0f} | {told} |")
    start, end = (document.index(mark) for mark in _MARKS)
    table = "\n".join(rows)
    path.write_text(f"{document[: start + len(_MARKS[0])]}\n{table}\n{document[end:]}", encoding="utf-8")


def main() -> int:
    """Measure those that are named, or all, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--megabytes", type=float, default=10.0)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--here", help=argparse.SUPPRESS)  # a folder to read in this process
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.here)))
        return 0
    size = int(options.megabytes * 1e6)
    results = []
    for name in options.names or COSTS:
        results.append(measure_apart(name, size))
        print("{seconds:6.2f} s {megabytes:6.0f} MB  {name}: {told:.120}".format(**results[-1]), flush=True)
    if options.record:
        record(results, options.record, size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
