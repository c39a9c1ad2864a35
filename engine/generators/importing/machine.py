"""The pickle machine, protocols 2 to 5, without the instructions that call or import anything.

What the pickle documentation calls ``find_class`` and ``REDUCE`` are here look-ups in a table of our own functions
(:mod:`everface.engine.generators.importing.names`). Every instruction costs one step of a budget, each value is made
from bytes that the file really has, and no loop here recurses: time and memory are bounded by the file and the budget.
Source of the instruction set: the documentation of Python's ``pickletools``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Protocol

from everface.engine.generators.importing.limits import MAX_LINE, MAX_MARKS, MAX_TEXT_BYTES, Budget, refuse
from everface.engine.generators.importing.values import Global, spelled

__all__ = ["Machine", "Names", "key_of"]

_PICKLE = "a pickle of protocol 2 to 5"
_MAX_STACK = 100_000
_MAX_KEY = 4096
_MAX_LONG = 32  # bytes of an integer: torch's magic number has 10

PersistentId = Callable[[Any], Any]


class Machine:
    """Runs one pickle.

    Args:
        data: the file, or the part of it that holds the pickle.
        names: the allow-list.
        budget: steps, shared with pickles inside.
        persistent: resolves persistent ids; None where the format has none.
    """

    def __init__(self, data: memoryview, names: Names, budget: Budget, persistent: PersistentId | None = None) -> None:
        self.data, self.names, self.budget, self.persistent = data, names, budget, persistent
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, start: int = 0) -> tuple[Any, int]:
        """Runs the pickle that begins at ``start``.

        Returns:
            Its value and the position after it.

        Raises:
            CheckpointError: it is damaged, too costly, or asks for something that is not on the allow-list.
        """
        self.at = start
        data, table, end = self.data, _TABLE, len(self.data)
        if bytes(data[start : start + 1]) != b"\x80":
            raise refuse(_PICKLE, "another beginning")
        while self.at < end:
            code = data[self.at]
            self.at += 1
            self.budget.spend(1)
            if code == _STOP:
                value = self.pop()
                if self.stack or self.marks:
                    raise refuse("one value", "values left over at the end")
                return value, self.at
            step = table.get(code)
            if step is None:
                raise refuse(_PICKLE, f"the instruction 0x{code:02x}, which is never needed here")
            step(self)
            if len(self.stack) > _MAX_STACK:
                raise refuse(_PICKLE, f"more than {_MAX_STACK} values on its stack")
        raise refuse("a whole pickle", "its end before STOP")

    # Reading.

    def take(self, count: int) -> memoryview:
        """The next bytes, as a view of the file."""
        if count < 0 or count > len(self.data) - self.at:
            raise refuse("a whole file", f"{len(self.data) - self.at} bytes where {count} should be")
        self.at += count
        return self.data[self.at - count : self.at]

    def unsigned(self, count: int) -> int:
        """The next little-endian number."""
        return int.from_bytes(self.take(count), "little")

    def line(self) -> str:
        """The next line of text."""
        piece = bytes(self.data[self.at : self.at + MAX_LINE])
        size = piece.find(b"\n")
        if size < 0:
            raise refuse("a name", "a line without end")
        self.at += size + 1
        return _text(memoryview(piece)[:size])

    def text(self, count: int) -> str:
        """The next text, in UTF-8."""
        return _text(self.take(count))

    # The stack.

    def pop(self) -> Any:
        """Takes the top value."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise refuse(_PICKLE, "an instruction without its operand")
        return self.stack.pop()

    def top(self) -> Any:
        """The top value."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise refuse(_PICKLE, "an instruction without its operand")
        return self.stack[-1]

    def push(self, value: Any) -> None:
        """Puts a value on top."""
        self.stack.append(value)

    def pop_mark(self) -> list[Any]:
        """Takes all values above the last mark."""
        if not self.marks:
            raise refuse(_PICKLE, "an instruction without its mark")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def remember(self, index: int) -> None:
        """Puts the top value into the memo."""
        self.memo[index] = self.top()

    def recall(self, index: int) -> None:
        """Pushes a value of the memo."""
        if index not in self.memo:
            raise refuse(_PICKLE, f"a reference to value {index}, which was never made")
        self.push(self.memo[index])


class Names(Protocol):
    """What the machine asks of an allow-list; see :mod:`everface.engine.generators.importing.names`."""

    def find(self, module: str, name: str) -> Global:
        """The name, or an error."""

    def call(self, budget: Budget, what: Any, arguments: tuple[Any, ...]) -> Any:
        """What a call of a name yields."""

    def new(self, what: Any, arguments: tuple[Any, ...]) -> Any:
        """A new object of a class that is named."""

    def build(self, target: Any, state: Any) -> None:
        """Gives an object its state."""


def key_of(value: Any) -> Any:
    """A value as a dictionary's key or a set's member: small, plain, and cheap to hash.

    Raises:
        CheckpointError: it is anything else.
    """
    # Tuples could be made to take exponential time to hash, and large integers to collide.
    if value is None or (isinstance(value, str) and len(value) <= _MAX_KEY):
        return value
    if isinstance(value, int) and abs(value) < 1 << 16:
        return value
    raise refuse("short text as keys", spelled(value))


def _text(view: memoryview) -> str:
    if len(view) > MAX_TEXT_BYTES:
        raise refuse(f"texts up to {MAX_TEXT_BYTES} bytes", f"one of {len(view)}")
    try:
        return str(view, "utf-8")
    except UnicodeDecodeError:
        raise refuse("text in UTF-8", "other bytes") from None


def _signed(machine: Machine, count: int) -> int:
    if count > _MAX_LONG:
        raise refuse(f"integers up to {_MAX_LONG} bytes", f"one of {count}")
    return int.from_bytes(machine.take(count), "little", signed=True)


def _float(machine: Machine) -> None:
    machine.push(struct.unpack(">d", machine.take(8))[0])


def _frame(machine: Machine) -> None:
    # A hint for buffering only; it may not reach beyond the file.
    size = machine.unsigned(8)
    if size > len(machine.data) - machine.at:
        raise refuse("a whole file", f"a frame of {size} bytes where {len(machine.data) - machine.at} are left")


def _protocol(machine: Machine) -> None:
    if not 2 <= (version := machine.unsigned(1)) <= 5:
        raise refuse(_PICKLE, f"protocol {version}")


def _mark(machine: Machine) -> None:
    if len(machine.marks) >= MAX_MARKS:
        raise refuse(f"at most {MAX_MARKS} levels of nesting", "more")
    machine.marks.append(len(machine.stack))


def _tuple(machine: Machine, count: int) -> None:
    items = [machine.pop() for _ in range(count)]
    machine.push(tuple(reversed(items)))


def _append(machine: Machine, items: list[Any]) -> None:
    target = machine.top()
    if not isinstance(target, list):
        raise refuse("a list to append to", spelled(target))
    target.extend(items)


def _set_items(machine: Machine, items: list[Any]) -> None:
    target = machine.top()
    if not isinstance(target, dict) or len(items) % 2:
        raise refuse("a dictionary and pairs to put into it", spelled(target))
    for at in range(0, len(items), 2):
        target[key_of(items[at])] = items[at + 1]


def _add_items(machine: Machine, items: list[Any]) -> None:
    target = machine.top()
    if not isinstance(target, set):
        raise refuse("a set to add to", spelled(target))
    target.update(key_of(item) for item in items)


def _stack_global(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise refuse("a name", f"{spelled(module)} and {spelled(name)}")
    machine.push(machine.names.find(module, name))


def _arguments(machine: Machine) -> tuple[Any, ...]:
    arguments = machine.pop()
    if not isinstance(arguments, tuple):
        raise refuse("a tuple of arguments", spelled(arguments))
    return arguments


def _reduce(machine: Machine) -> None:
    arguments, what = _arguments(machine), machine.pop()
    machine.push(machine.names.call(machine.budget, what, arguments))


def _new(machine: Machine) -> None:
    arguments, what = _arguments(machine), machine.pop()
    machine.push(machine.names.new(what, arguments))


def _build(machine: Machine) -> None:
    state = machine.pop()
    machine.names.build(machine.top(), state)


def _persistent(machine: Machine) -> None:
    if machine.persistent is None:
        raise refuse("no persistent ids in this format", "one")
    machine.push(machine.persistent(machine.pop()))


_STOP = ord(".")
Step = Callable[[Machine], Any]
_TABLE: dict[int, Step] = {
    0x80: _protocol,
    0x95: _frame,
    ord("("): _mark,
    ord("0"): lambda m: m.pop(),
    ord("1"): lambda m: m.pop_mark(),
    ord("2"): lambda m: m.push(m.top()),
    # Plain values.
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("J"): lambda m: m.push(_signed(m, 4)),
    ord("K"): lambda m: m.push(m.unsigned(1)),
    ord("M"): lambda m: m.push(m.unsigned(2)),
    0x8A: lambda m: m.push(_signed(m, m.unsigned(1))),
    0x8B: lambda m: m.push(_signed(m, m.unsigned(4))),
    ord("G"): _float,
    0x8C: lambda m: m.push(m.text(m.unsigned(1))),
    ord("X"): lambda m: m.push(m.text(m.unsigned(4))),
    0x8D: lambda m: m.push(m.text(m.unsigned(8))),
    ord("C"): lambda m: m.push(m.take(m.unsigned(1))),
    ord("B"): lambda m: m.push(m.take(m.unsigned(4))),
    0x8E: lambda m: m.push(m.take(m.unsigned(8))),
    # Containers.
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.push(tuple(m.pop_mark())),
    0x85: lambda m: _tuple(m, 1),
    0x86: lambda m: _tuple(m, 2),
    0x87: lambda m: _tuple(m, 3),
    ord("]"): lambda m: m.push([]),
    ord("a"): lambda m: _append(m, [m.pop()]),
    ord("e"): lambda m: _append(m, m.pop_mark()),
    ord("}"): lambda m: m.push({}),
    ord("s"): lambda m: _set_items(m, [m.pop(), m.pop()][::-1]),
    ord("u"): lambda m: _set_items(m, m.pop_mark()),
    0x8F: lambda m: m.push(set()),
    0x90: lambda m: _add_items(m, m.pop_mark()),
    # The memo.
    ord("q"): lambda m: m.remember(m.unsigned(1)),
    ord("r"): lambda m: m.remember(m.unsigned(4)),
    0x94: lambda m: m.remember(len(m.memo)),
    ord("h"): lambda m: m.recall(m.unsigned(1)),
    ord("j"): lambda m: m.recall(m.unsigned(4)),
    # Names and what is done with them.
    ord("c"): lambda m: m.push(m.names.find(m.line(), m.line())),
    0x93: _stack_global,
    ord("R"): _reduce,
    0x81: _new,
    ord("b"): _build,
    ord("Q"): _persistent,
}
