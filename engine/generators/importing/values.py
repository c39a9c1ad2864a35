"""The inert values that a pickle yields here, beside plain numbers, text, tuples, lists, sets and dictionaries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Global:
    """A name of the allow-list. Only a name: nothing is imported."""

    module: str
    name: str


@dataclass(slots=True)
class Record:
    """An object of some class, as its name and state.

    Attributes:
        kind: the class's name, such as ``SynthesisLayer``.
        state: what its ``__dict__`` was, or None.
    """

    kind: str
    state: Any = None


@dataclass(slots=True)
class Opaque:
    """A value of no use to an importer, such as a NumPy array or a dtype; its text is kept where there is one."""

    text: str = ""
    state: Any = None


@dataclass(slots=True)
class Storage:
    """Numbers in the file.

    Attributes:
        dtype: such as ``float32``.
        numel: how many, as the pickle says.
        data: where they lie, a view of the file; None until the file's reader has found it.
    """

    dtype: str
    numel: int
    data: memoryview | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor not yet read: a strided view of a storage, in elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def spelled(value: object) -> str:
    """A short name for what a value is; never its content, which may be huge or without end."""
    if isinstance(value, Global):
        return f"{value.module[:60]}.{value.name[:60]}"
    return f"a record {value.kind[:60]}" if isinstance(value, Record) else type(value).__name__
