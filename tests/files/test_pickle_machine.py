"""The inert machine gives back plain data, and nothing that a pickle asks for ever happens."""

import argparse
import collections
import contextlib
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsanalyze.files import pickle_machine
from wsanalyze.files.pickle_machine import Call, Global, Opaque, PersistentId, PickleError, parse_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.text(alphabet=st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010, categories=("Cs", "Co")), max_size=3)
)
plain = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=8) | st.integers(-1000, 1000), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(data=plain, protocol=st.sampled_from(PROTOCOLS))
def test_plain_data_is_given_back(data, protocol):
    pickled = pickle.dumps(data, protocol)
    found, end = parse_pickle(pickled)
    assert found == data
    assert end == len(pickled)


@given(data=st.binary(max_size=40), protocol=st.sampled_from([3, 4, 5]))
def test_bytes_are_given_back(data, protocol):
    assert parse_pickle(pickle.dumps([data, data], protocol))[0] == [data, data]


@given(first=plain, second=plain)
def test_a_second_pickle_is_read_from_where_the_first_ends(first, second):
    data = pickle.dumps(first, 2) + pickle.dumps(second, 2)
    found, end = parse_pickle(data)
    assert found == first
    assert parse_pickle(data, end) == (second, len(data))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_containers_of_the_standard_library(protocol):
    data = {
        "ordered": collections.OrderedDict(b=1, a=2),
        "default": collections.defaultdict(list, {"x": [1]}),
        "set": {3},
        "frozen": frozenset([4]),
    }
    found, _ = parse_pickle(pickle.dumps(data, protocol))
    assert found == {"ordered": {"b": 1, "a": 2}, "default": {"x": [1]}, "set": [3], "frozen": [4]}
    assert list(found["ordered"]) == ["b", "a"]


def test_containers_called_by_old_protocols():
    pairs = pickle.dumps([["a", 1], ("b", 2)], 2)[2:-1]
    call = b"\x80\x02ccollections\nOrderedDict\n" + pairs + b"\x85R."
    assert parse_pickle(call)[0] == {"a": 1, "b": 2}
    copied = b"\x80\x02cbuiltins\ndict\n}X\x01\x00\x00\x00aK\x01s\x85R."
    assert parse_pickle(copied)[0] == {"a": 1}
    assert parse_pickle(b"\x80\x02c__builtin__\ntuple\n](K\x01K\x02e\x85R.")[0] == [1, 2]


def test_a_dictionary_made_of_something_else_than_pairs_is_refused():
    with pytest.raises(PickleError, match="pairs"):
        parse_pickle(b"\x80\x02ccollections\nOrderedDict\n]K\x01a\x85R.")


@pytest.mark.parametrize("key", [None, 1.5, (1, 2), b"x", 2**31, -(2**31), 2**100])
def test_odd_keys_are_opaque_and_lose_no_value(key):
    found, _ = parse_pickle(pickle.dumps({key: "value"}, 4))
    assert [type(k) for k in found] == [Opaque]
    assert list(found.values()) == ["value"]


class Point:
    def __init__(self):
        self.x = 1


class Items(dict):
    """A dictionary of a class of its own."""


@pytest.mark.parametrize("protocol", range(2, 6))
def test_objects_become_calls(protocol):
    found, _ = parse_pickle(pickle.dumps([Point(), Items(a=1), argparse.Namespace(lr=0.1)], protocol))
    point, items, namespace = found
    assert isinstance(point, Call)
    assert point.state == {"x": 1}
    assert items.items == {"a": 1}
    assert namespace.function == Global("argparse", "Namespace")
    assert namespace.function.path == "argparse.Namespace"
    assert namespace.state == {"lr": 0.1}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_values_are_calls(protocol):
    found, _ = parse_pickle(pickle.dumps([np.float64(0.5), np.arange(3), np.array([{"a": 1}], dtype=object)], protocol))
    assert all(isinstance(value, Call) for value in found)


def test_other_reductions():
    class_with_arguments = b"\x80\x02ca\nB\n)}\x92."  # NEWOBJ_EX
    assert parse_pickle(class_with_arguments)[0].function == Global("a", "B")
    assert parse_pickle(b"(ca\nB\nK\x01o.")[0].args == (1,)  # OBJ
    assert parse_pickle(b"(K\x01ia\nB\n.")[0].args == (1,)  # INST
    assert isinstance(parse_pickle(b"\x82\x01.")[0], Opaque)  # EXT1
    assert isinstance(parse_pickle(b"\x83\x01\x00.")[0], Opaque)
    assert isinstance(parse_pickle(b"\x84\x01\x00\x00\x00.")[0], Opaque)
    assert isinstance(parse_pickle(b"\x97\x98.")[0], Opaque)  # NEXT_BUFFER, READONLY_BUFFER
    assert parse_pickle(b"Pstorage\n.")[0].value == "storage"
    assert isinstance(parse_pickle(b"K\x01Q.")[0], PersistentId)
    assert parse_pickle(b"K\x01K\x020.")[0] == 1  # POP
    assert parse_pickle(b"K\x01(0.")[0] == 1  # POP of a mark
    assert parse_pickle(b"K\x01(K\x02K\x031.")[0] == 1  # POP_MARK
    assert parse_pickle(b"K\x012\x86.")[0] == (1, 1)  # DUP
    assert parse_pickle(b"(I1\nI2\nd.")[0] == {1: 2}  # DICT
    assert parse_pickle(b"(I00\nI01\nL5L\nF1.5\nl.")[0] == [False, True, 5, 1.5]
    assert parse_pickle(b"S'text'\n.")[0] == "text"
    assert parse_pickle(b"T\x02\x00\x00\x00\xe9a.")[0] == "\xe9a"
    assert parse_pickle(b"U\x02\xe9a.")[0] == "\xe9a"
    assert parse_pickle(b"\x8b\x02\x00\x00\x00\xff\xff.")[0] == -1  # LONG4
    assert parse_pickle(b"]p3\n0g3\n.")[0] == []
    assert parse_pickle(b"ca\nB\n)R}b(K\x01K\x02u.")[0].items == {1: 2}
    assert parse_pickle(b"ca\nB\n)RK\x01a.")[0].items == {}  # what an unknown list holds is let go


DAMAGED = {
    "nothing": b"",
    "no stop": b"\x80\x02K\x01",
    "empty stack": b".",
    "unknown opcode": b"\xff.",
    "unknown protocol": b"\x80\x09.",
    "text beyond the end": b"X\xff\xff\xff\xffa.",
    "text of 2^60 bytes": b"\x8d" + (2**60).to_bytes(8, "little") + b"a.",
    "bytes of 2^63 bytes": b"\x8e" + (2**63).to_bytes(8, "little") + b"a.",
    "a long of 2^31 bytes": b"\x8b\xff\xff\xff\x7f\x01.",
    "a long of 2^32 - 1 bytes": b"\x8b\xff\xff\xff\xff\x01.",
    "a number of 5000 digits": b"L" + b"9" * 5000 + b"L\n.",
    "an integer of 5000 digits": b"I" + b"9" * 5000 + b"\n.",
    "no number": b"Ix\n.",
    "no float": b"Fx\n.",
    "a line without end": b"I12",
    "no such memo": b"h\x07.",
    "a memo below zero": b"K\x01p-1\n.",
    "a memo beyond all bounds": b"K\x01p99999999999999\n.",
    "no mark": b"t.",
    "a class without arguments": b"(o.",
    "a tuple from too short a stack": b"K\x01\x87.",
    "arguments that are no tuple": b"ca\nb\nK\x01R.",
    "a global named by numbers": b"K\x01K\x02\x93.",
    "half an item": b"}(K\x01u.",
    "text that is no text": b"X\x02\x00\x00\x00\xff\xfe.",
    "a module that is no text": b"c\xff\nb\n.",
    "opcodes after a truncated frame": b"\x95\x00\x00.",
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_pickles_are_refused(data):
    with pytest.raises(PickleError):
        parse_pickle(data)


SAMPLE = pickle.dumps(
    {"a": [1, 2.5, "x", None, (1, 2)], "b": Point(), "c": {"d": [True] * 3}, "e": 10**30, "f": b"bytes"}, 4
)


@settings(deadline=1000)
@given(length=st.integers(0, len(SAMPLE) - 1))
def test_a_truncated_pickle_is_refused(length):
    with pytest.raises(PickleError):
        parse_pickle(SAMPLE[:length])


@settings(deadline=1000, max_examples=300)
@given(edits=st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_garbled_pickle_is_read_or_refused(edits):
    data = bytearray(SAMPLE)
    for position, value in edits:
        data[position] = value
    with contextlib.suppress(PickleError):
        parse_pickle(bytes(data))


@settings(deadline=1000, max_examples=300)
@given(data=st.binary(max_size=60))
def test_noise_is_read_or_refused(data):
    with contextlib.suppress(PickleError):
        parse_pickle(data)


def test_too_many_bytes_are_refused(monkeypatch):
    monkeypatch.setattr(pickle_machine, "MAX_PICKLE_BYTES", 10)
    with pytest.raises(PickleError, match="10 bytes"):
        parse_pickle(pickle.dumps("x" * 20))


def test_too_many_opcodes_are_refused(monkeypatch):
    monkeypatch.setattr(pickle_machine, "MAX_OPCODES", 100)
    assert parse_pickle(b"K\x010" * 40 + b"K\x01.")[0] == 1
    with pytest.raises(PickleError, match="100 opcodes"):
        parse_pickle(b"K\x010" * 60 + b"K\x01.")


def _nested(depth):
    return b"]" * depth + b"a" * (depth - 1) + b"."


def test_deep_nesting_is_read_without_recursion():
    found, _ = parse_pickle(b")" + b"\x85" * 100_000 + b".")
    assert len(found) == 1
    found, _ = parse_pickle(_nested(100_000))
    assert len(found) == 1
    calls = b"\x80\x02ca\nb\n" + b")R" * 100_000 + b"."
    assert isinstance(parse_pickle(calls)[0], Call)
    del found


def test_data_that_refers_to_itself_is_read():
    loop: dict[str, object] = {}
    loop["self"] = loop
    chain: list[object] = []
    chain.append(chain)
    found, _ = parse_pickle(pickle.dumps([loop, chain], 4))
    assert found[0]["self"] is found[0]
    assert found[1][0] is found[1]


def test_shared_data_is_shared_not_copied():
    value: list[object] = []
    for _ in range(200):
        value = [value, value]  # 2^200 leaves, if anyone walked them
    found, _ = parse_pickle(pickle.dumps(value, 4))
    assert found[0] is found[1]


@pytest.mark.parametrize(
    "call", [b"cbuiltins\nlist\n", b"ccollections\nOrderedDict\n", b"cbuiltins\ndict\n"], ids=["list", "pairs", "dict"]
)
def test_copies_of_one_long_list_are_counted(call, monkeypatch):
    monkeypatch.setattr(pickle_machine, "MAX_COPIES", 10_000)
    content = dict.fromkeys(range(1000)) if b"\ndict" in call else [(i, None) for i in range(1000)]
    data = b"\x80\x02" + pickle.dumps(content, 2)[2:-1] + b"\x85r\x00\x00\x00\x010"
    bomb = data + (call + b"j\x00\x00\x00\x01R0") * 12 + b"N."
    with pytest.raises(PickleError, match="copies"):
        parse_pickle(bomb)


class _Evil:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def _payloads(canary: Path) -> dict[str, bytes]:
    touch = f"open({str(canary)!r}, 'w').close()"
    command = f"touch {canary}"
    chain = _Evil(getattr, _Evil(__import__, "os"), "system")
    return {
        "os.system": pickle.dumps(_Evil(os.system, command)),
        "eval": pickle.dumps(_Evil(eval, touch)),
        "exec": pickle.dumps(_Evil(exec, touch)),
        "popen": pickle.dumps(_Evil(subprocess.Popen, ["touch", str(canary)])),
        "chain": pickle.dumps([chain, _Evil(eval, touch)]),
        "posix by hand": b"cposix\nsystem\n(S'" + command.encode() + b"'\ntR.",
        "inst": b"(S'" + command.encode() + b"'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'" + command.encode() + b"'\no.",
        "stack global": b"\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(command)]) + command.encode() + b"\x85R.",
        "setstate": b"\x80\x02cbuiltins\nexec\n)\x81}X\x01\x00\x00\x00aK\x01sb.",
        "object array": pickle.dumps(np.array([_Evil(os.system, command)], dtype=object)),
    }


def test_nothing_runs_and_nothing_is_imported(tmp_path):
    canary = tmp_path / "canary"
    payloads = tmp_path / "payloads"
    payloads.write_bytes(pickle.dumps(list(_payloads(canary).values())))
    script = textwrap.dedent("""
        import pickle, sys
        from wsanalyze.files.pickle_machine import parse_pickle
        with open(sys.argv[1], "rb") as file:
            payloads = pickle.load(file)
        import encodings.raw_unicode_escape
        seen = []
        sys.addaudithook(lambda event, args: seen.append(event))
        for payload in payloads:
            parse_pickle(payload)
        wrong = [event for event in seen if event.split(".")[0] in
                 ("os", "subprocess", "import", "exec", "open", "compile", "pickle", "marshal", "ctypes", "socket")]
        sys.exit(f"{wrong}" if wrong else 0)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, str(payloads)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not canary.exists()


def test_the_payloads_would_run(tmp_path):
    canary = tmp_path / "canary"
    pickle.loads(_payloads(canary)["posix by hand"])  # noqa: S301 - to know that the test above can fail
    assert canary.exists()
