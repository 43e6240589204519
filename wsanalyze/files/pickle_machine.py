"""An inert machine for pickles: it builds a tree of plain data and never imports, calls or constructs anything.

Pickle is a program for a small stack machine. This one understands the same opcodes, but a GLOBAL becomes a `Global`
(two strings), a call becomes a `Call` (what would have been called, with what), and every count is bounded. What comes
out is data to look into, not objects to use. It differs from what pickle would give in this: a set is a list, `list`,
`tuple` and `set` called on a list are a list, dictionary keys other than text, small whole numbers and calls are
`Opaque`, and escapes in the text of Python 2's first protocol are left as they are.

References:
    Lib/pickletools.py for the opcodes; docs/decisions/0003-pickles-are-data.md.
"""

import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

MAX_PICKLE_BYTES: Final = 128_000_000
MAX_OPCODES: Final = 4_000_000
MAX_COPIES: Final = 8_000_000
MAX_MEMO: Final = 2_000_000
_MAX_LONG_BYTES: Final = 1024
_MAX_SMALL_KEY: Final = 2**31
_MAX_PROTOCOL: Final = 5


class PickleError(ValueError):
    """The pickle is damaged, or asks for more than is allowed."""


@dataclass(frozen=True, slots=True)
class Global:
    """A name that the pickle wanted to import. It was not."""

    module: str
    name: str

    @property
    def path(self) -> str:
        """Dotted path of the name."""
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Call:
    """A call or construction that the pickle asked for. It did not happen.

    Attributes:
        function: What would have been called: a `Global` or another `Call`.
        args: With what.
        state: What would have been set on the result, or None.
        items: Items that would have been put into the result.
    """

    function: Any
    args: tuple[Any, ...]
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class PersistentId:
    """A reference to something stored outside the pickle (torch: a storage)."""

    value: Any


class Opaque:
    """A value that is of no use here: an odd dictionary key, an out-of-band buffer."""

    __slots__ = ()


_DICTS: Final = {
    Global("collections", "OrderedDict"),
    Global("builtins", "dict"),
    Global("__builtin__", "dict"),
    Global("collections", "defaultdict"),
}
_LISTS: Final = {
    Global(module, name) for module in ("builtins", "__builtin__") for name in ("list", "tuple", "set", "frozenset")
}


def parse_pickle(data: bytes, start: int = 0) -> tuple[Any, int]:
    """Run one pickle on the inert machine.

    Args:
        data: Bytes that hold it.
        start: Where it begins.

    Returns:
        The tree (dicts, lists, tuples, strings, numbers, `Global`, `Call`, `PersistentId`, `Opaque`; it may refer to
        itself) and the position behind the pickle.

    Raises:
        PickleError: If it is damaged or too large.
    """
    if len(data) - start > MAX_PICKLE_BYTES:
        raise PickleError(f"a pickle of more than {MAX_PICKLE_BYTES} bytes is refused")
    machine = _Machine(data, start)
    try:
        return machine.run(), machine.position
    except PickleError:
        raise
    except (IndexError, KeyError, TypeError, ValueError, struct.error, OverflowError, AttributeError) as error:
        raise PickleError(f"damaged at byte {machine.position} ({type(error).__name__})") from error


class _Machine:
    """Stack, marks and memo of one run."""

    def __init__(self, data: bytes, start: int) -> None:
        self.data = data
        self.position = start
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.num_copied = 0

    def run(self) -> Any:  # noqa: ANN401 - a pickle may hold anything
        data, table = self.data, _TABLE
        for _ in range(MAX_OPCODES):
            opcode = data[self.position]
            self.position += 1
            if opcode == _STOP:
                return self.stack.pop()
            handler = table[opcode]
            if handler is None:
                raise PickleError(f"unknown opcode {opcode:#04x} at byte {self.position - 1}")
            handler(self)
        raise PickleError(f"a pickle of more than {MAX_OPCODES} opcodes is refused")

    def take(self, length: int) -> bytes:
        end = self.position + length
        if length < 0 or end > len(self.data):
            raise PickleError("ends too early")
        found = self.data[self.position : end]
        self.position = end
        return found

    def line(self) -> bytes:
        end = self.data.index(b"\n", self.position)
        found = self.data[self.position : end]
        self.position = end + 1
        return found

    def uint(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def push(self, value: Any) -> None:  # noqa: ANN401 - a pickle may hold anything
        # Looked up only now: computing `value` may have taken a mark off, and so have changed the stack.
        self.stack.append(value)

    def charge(self, count: int) -> None:
        """Count items that are copied, not read: a few opcodes can ask for the same long list a million times."""
        self.num_copied += count
        if self.num_copied > MAX_COPIES:
            raise PickleError(f"a pickle that copies more than {MAX_COPIES} items is refused")

    def remember(self, index: int) -> None:
        """Keep the top of the stack under an index."""
        self.memo[index] = self.stack[-1]
        if len(self.memo) > MAX_MEMO:
            raise PickleError(f"a pickle that remembers more than {MAX_MEMO} values is refused")

    def pop_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.marks.pop()
        return items


def _key(value: Any) -> Any:  # noqa: ANN401 - a pickle may hold anything
    """A safe dictionary key: odd ones hash by identity, so that none can be made to collide."""
    if isinstance(value, str) or (isinstance(value, int) and -_MAX_SMALL_KEY < value < _MAX_SMALL_KEY):
        return value
    if isinstance(value, Call):  # hashes by identity too, and can be looked into
        return value
    return Opaque()


def _put_items(target: Any, items: list[Any]) -> None:  # noqa: ANN401
    found = {_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}
    if isinstance(target, dict):
        target.update(found)
    elif isinstance(target, Call):
        target.items.update(found)


def _append(target: Any, items: list[Any]) -> None:  # noqa: ANN401
    if isinstance(target, list):
        target.extend(items)


def _call(m: _Machine, function: Any, args: Any) -> Any:  # noqa: ANN401
    """What stands for the result of a call; the few containers that are plain data are built."""
    if not isinstance(args, tuple):
        raise PickleError("arguments of a call are no tuple")
    if isinstance(function, Global):
        if function in _DICTS:
            return _make_dict(m, args[-1] if args else None)
        if function in _LISTS and len(args) == 1 and isinstance(args[0], list):
            m.charge(len(args[0]))
            return list(args[0])
    return Call(function, args)


def _make_dict(m: _Machine, content: Any) -> dict[Any, Any]:  # noqa: ANN401
    """A dictionary from another, from a list of pairs, or (the factory of a defaultdict) from nothing."""
    if not isinstance(content, dict | list):
        return {}
    m.charge(len(content))
    if isinstance(content, dict):
        return dict(content)
    made: dict[Any, Any] = {}
    for pair in content:
        if not isinstance(pair, tuple | list) or len(pair) != 2:  # noqa: PLR2004 - key and value
            raise PickleError("a dictionary is made of something else than pairs")
        made[_key(pair[0])] = pair[1]
    return made


def _op_reduce(m: _Machine) -> None:
    args = m.stack.pop()
    m.stack[-1] = _call(m, m.stack[-1], args)


def _op_newobj_ex(m: _Machine) -> None:
    m.stack.pop()
    _op_reduce(m)


def _op_obj(m: _Machine) -> None:
    items = m.pop_mark()
    m.push(_call(m, items[0], tuple(items[1:])))


def _op_inst(m: _Machine) -> None:
    found = _read_global(m)
    m.push(_call(m, found, tuple(m.pop_mark())))


def _op_build(m: _Machine) -> None:
    state = m.stack.pop()
    target = m.stack[-1]
    if isinstance(target, Call):
        target.state = state


def _read_global(m: _Machine) -> Global:
    return Global(m.line().decode(), m.line().decode())


def _op_stack_global(m: _Machine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    if not (isinstance(name, str) and isinstance(module, str)):
        raise PickleError("a global is named by something else than text")
    m.push(Global(module, name))


def _op_setitem(m: _Machine) -> None:
    value, key = m.stack.pop(), m.stack.pop()
    _put_items(m.stack[-1], [key, value])


def _op_append(m: _Machine) -> None:
    item = m.stack.pop()
    _append(m.stack[-1], [item])


def _op_setitems(m: _Machine) -> None:
    items = m.pop_mark()
    _put_items(m.stack[-1], items)


def _op_appends(m: _Machine) -> None:
    items = m.pop_mark()
    _append(m.stack[-1], items)


def _op_mark(m: _Machine) -> None:
    m.marks.append(m.stack)
    m.stack = []


def _op_dict(m: _Machine) -> None:
    found: dict[Any, Any] = {}
    _put_items(found, m.pop_mark())
    m.push(found)


def _tuple_of(count: int) -> Callable[[_Machine], None]:
    def op_tuple(m: _Machine) -> None:
        if len(m.stack) < count:
            raise PickleError("the stack is too short")
        split = len(m.stack) - count
        m.stack[split:] = [tuple(m.stack[split:])]

    return op_tuple


def _op_long(m: _Machine, length: int) -> None:
    if length > _MAX_LONG_BYTES:
        raise PickleError(f"an integer of more than {_MAX_LONG_BYTES} bytes is refused")
    m.push(int.from_bytes(m.take(length), "little", signed=True))


def _op_int_text(m: _Machine) -> None:
    text = m.line()
    m.push(text == b"01" if text in (b"00", b"01") else int(text))


def _op_proto(m: _Machine) -> None:
    protocol = m.take(1)[0]
    if protocol > _MAX_PROTOCOL:
        raise PickleError(f"pickle protocol {protocol} is not known")


def _op_pop(m: _Machine) -> None:
    if m.stack:
        m.stack.pop()
    else:
        m.pop_mark()


def _text(size: int) -> Callable[[_Machine], None]:
    def op_text(m: _Machine) -> None:
        m.push(m.take(m.uint(size)).decode("utf-8", "surrogatepass"))

    return op_text


def _raw(size: int) -> Callable[[_Machine], None]:
    def op_raw(m: _Machine) -> None:
        m.push(m.take(m.uint(size)))

    return op_raw


def _constant(value: Any) -> Callable[[_Machine], None]:  # noqa: ANN401
    def op_constant(m: _Machine) -> None:
        m.push(value)

    return op_constant


def _number(size: int) -> Callable[[_Machine], None]:
    def op_number(m: _Machine) -> None:
        m.push(m.uint(size))

    return op_number


def _opaque(size: int) -> Callable[[_Machine], None]:
    def op_opaque(m: _Machine) -> None:
        m.take(size)
        m.push(Opaque())

    return op_opaque


def _put(read: Callable[[_Machine], int]) -> Callable[[_Machine], None]:
    def op_put(m: _Machine) -> None:
        m.remember(read(m))

    return op_put


def _get(read: Callable[[_Machine], int]) -> Callable[[_Machine], None]:
    def op_get(m: _Machine) -> None:
        m.push(m.memo[read(m)])

    return op_get


def _small_index(value: int) -> int:
    if not 0 <= value < _MAX_SMALL_KEY:
        raise PickleError("a memo index is out of range")
    return value


_HANDLERS: Final[dict[bytes, Callable[[_Machine], None]]] = {
    pickle.PROTO: _op_proto,
    pickle.FRAME: lambda m: _drop(m.take(8)),
    pickle.MARK: _op_mark,
    pickle.POP: _op_pop,
    pickle.POP_MARK: lambda m: _drop(m.pop_mark()),
    pickle.DUP: lambda m: m.push(m.stack[-1]),
    pickle.NONE: _constant(None),
    pickle.NEWTRUE: _constant(True),  # noqa: FBT003 - the value itself
    pickle.NEWFALSE: _constant(False),  # noqa: FBT003 - the value itself
    pickle.INT: _op_int_text,
    pickle.BININT: lambda m: m.push(int.from_bytes(m.take(4), "little", signed=True)),
    pickle.BININT1: _number(1),
    pickle.BININT2: _number(2),
    pickle.LONG: lambda m: m.push(int(m.line().rstrip(b"L"))),
    pickle.LONG1: lambda m: _op_long(m, m.uint(1)),
    pickle.LONG4: lambda m: _op_long(m, m.uint(4)),
    pickle.FLOAT: lambda m: m.push(float(m.line())),
    pickle.BINFLOAT: lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    pickle.STRING: lambda m: m.push(m.line().strip(b"'\"").decode("latin-1")),
    pickle.BINSTRING: lambda m: m.push(m.take(m.uint(4)).decode("latin-1")),
    pickle.SHORT_BINSTRING: lambda m: m.push(m.take(m.uint(1)).decode("latin-1")),
    pickle.UNICODE: lambda m: m.push(m.line().decode("raw-unicode-escape")),
    pickle.SHORT_BINUNICODE: _text(1),
    pickle.BINUNICODE: _text(4),
    pickle.BINUNICODE8: _text(8),
    pickle.SHORT_BINBYTES: _raw(1),
    pickle.BINBYTES: _raw(4),
    pickle.BINBYTES8: _raw(8),
    pickle.BYTEARRAY8: _raw(8),
    pickle.NEXT_BUFFER: _opaque(0),
    pickle.READONLY_BUFFER: lambda m: _drop(m.stack[-1]),
    pickle.EMPTY_TUPLE: _constant(()),
    pickle.TUPLE: lambda m: m.push(tuple(m.pop_mark())),
    pickle.TUPLE1: _tuple_of(1),
    pickle.TUPLE2: _tuple_of(2),
    pickle.TUPLE3: _tuple_of(3),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.LIST: lambda m: m.push(m.pop_mark()),
    pickle.APPEND: _op_append,
    pickle.APPENDS: _op_appends,
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.DICT: _op_dict,
    pickle.SETITEM: _op_setitem,
    pickle.SETITEMS: _op_setitems,
    pickle.EMPTY_SET: lambda m: m.push([]),
    pickle.ADDITEMS: _op_appends,
    pickle.FROZENSET: lambda m: m.push(m.pop_mark()),
    pickle.GLOBAL: lambda m: m.push(_read_global(m)),
    pickle.STACK_GLOBAL: _op_stack_global,
    pickle.EXT1: _opaque(1),
    pickle.EXT2: _opaque(2),
    pickle.EXT4: _opaque(4),
    pickle.REDUCE: _op_reduce,
    pickle.NEWOBJ: _op_reduce,
    pickle.NEWOBJ_EX: _op_newobj_ex,
    pickle.OBJ: _op_obj,
    pickle.INST: _op_inst,
    pickle.BUILD: _op_build,
    pickle.PERSID: lambda m: m.push(PersistentId(m.line().decode())),
    pickle.BINPERSID: lambda m: m.push(PersistentId(m.stack.pop())),
    pickle.PUT: _put(lambda m: _small_index(int(m.line()))),
    pickle.BINPUT: _put(lambda m: m.uint(1)),
    pickle.LONG_BINPUT: _put(lambda m: m.uint(4)),
    pickle.MEMOIZE: lambda m: m.remember(len(m.memo)),
    pickle.GET: _get(lambda m: _small_index(int(m.line()))),
    pickle.BINGET: _get(lambda m: m.uint(1)),
    pickle.LONG_BINGET: _get(lambda m: m.uint(4)),
}


def _drop(value: object) -> None:
    """Drop a value."""
    del value


_STOP: Final = pickle.STOP[0]
_TABLE: Final = [_HANDLERS.get(bytes([code])) for code in range(256)]
