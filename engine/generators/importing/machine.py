"""The pickle machine, protocols 2 to 5, without the instructions that call or import anything.

What the pickle documentation calls ``find_class`` and ``REDUCE`` are here look-ups in a table of our own functions
(``everface.engine.generators.importing.names``). Every instruction costs one step of a budget, each value is made
from bytes that the file really has, and no loop here recurses: time and memory are bounded by the file and the budget.
Source of the instruction set: the documentation of Python's ``pickletools``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from everface.engine.generators.importing.instructions import INSTRUCTIONS
from everface.engine.generators.importing.limits import MAX_LINE, MAX_TEXT_BYTES, Budget, refuse
from everface.engine.generators.importing.values import Global

_PICKLE = "a pickle of protocol 2 to 5"
_MAX_STACK = 100_000
_STOP = ord(".")

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
        self.data, self.budget, self.persistent = data, budget, persistent
        self.names: Names = names
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
        data, end = self.data, len(self.data)
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
            step = INSTRUCTIONS.get(code)
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
    """What the machine asks of an allow-list; see ``everface.engine.generators.importing.names``."""

    def find(self, module: str, name: str) -> Global:
        """The name, or an error."""

    def call(self, budget: Budget, what: Any, arguments: tuple[Any, ...]) -> Any:
        """What a call of a name yields."""

    def new(self, what: Any, arguments: tuple[Any, ...]) -> Any:
        """A new object of a class that is named."""

    def build(self, target: Any, state: Any) -> None:
        """Gives an object its state."""


def _text(view: memoryview) -> str:
    if len(view) > MAX_TEXT_BYTES:
        raise refuse(f"texts up to {MAX_TEXT_BYTES} bytes", f"one of {len(view)}")
    try:
        return str(view, "utf-8")
    except UnicodeDecodeError:
        raise refuse("text in UTF-8", "other bytes") from None
