"""The instructions of the pickle machine, by their codes; those that call or import something are not among them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from everface.engine.generators.importing.limits import MAX_MARKS, refuse
from everface.engine.generators.importing.values import spelled

if TYPE_CHECKING:
    from everface.engine.generators.importing.machine import Machine

_PICKLE = "a pickle of protocol 2 to 5"
_MAX_KEY = 4096
_MAX_LONG = 32  # bytes of an integer: torch's magic number has 10


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


Step = Callable[["Machine"], Any]
INSTRUCTIONS: dict[int, Step] = {
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
