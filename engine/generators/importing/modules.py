"""From the record of a network to its tensors by name and its settings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from everface.engine.generators.importing.limits import MAX_DEPTH, refuse
from everface.engine.generators.importing.values import Record, TensorRef, spelled

_MAX_NODES = 20_000
_MAX_TEXT = 200


def attribute(record: Record, name: str, default: Any = None) -> Any:
    """A plain attribute of a network."""
    return record.state.get(name, default) if isinstance(record.state, dict) else default


def child(record: Record, name: str) -> Record:
    """A module within a module.

    Raises:
        CheckpointError: there is none of the name.
    """
    module = _table(record, "_modules").get(name)
    if not isinstance(module, Record):
        raise refuse(f"a module {name} in {record.kind[:60]}", "none")
    return module


def records(root: Record) -> Iterator[tuple[str, Record]]:
    """All modules, the root first, with their dotted names.

    Raises:
        CheckpointError: they are nested too deeply, or without end.
    """
    waiting = [("", root, 0)]
    seen = 0
    while waiting:
        prefix, record, depth = waiting.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > _MAX_NODES:
            raise refuse(f"at most {_MAX_NODES} modules, {MAX_DEPTH} levels deep", "more")
        yield prefix, record
        for name, module in reversed(_table(record, "_modules").items()):
            if isinstance(module, Record):
                waiting.append((f"{prefix}.{_name(name)}" if prefix else _name(name), module, depth + 1))


def state_dict(root: Record) -> dict[str, TensorRef]:
    """Parameters and persistent buffers by their dotted names, as PyTorch's ``state_dict`` has them."""
    tensors: dict[str, TensorRef] = {}
    for prefix, record in records(root):
        transient = attribute(record, "_non_persistent_buffers_set", set())
        buffers = _table(record, "_buffers")
        if isinstance(transient, set):
            buffers = {name: value for name, value in buffers.items() if name not in transient}
        for name, value in (_table(record, "_parameters") | buffers).items():
            if isinstance(value, TensorRef):
                tensors[f"{prefix}.{_name(name)}" if prefix else _name(name)] = value
            if len(tensors) > _MAX_NODES:
                raise refuse(f"at most {_MAX_NODES} tensors", "more")
    return tensors


def plain_settings(value: Any) -> Any:
    """Numbers, text, lists and dictionaries of them, ready for JSON; anything else is left out.

    Raises:
        CheckpointError: they are nested too deeply, or too many.
    """
    return _plain(value, 0, [_MAX_NODES])


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if depth > MAX_DEPTH or left[0] < 0:
        raise refuse(f"at most {_MAX_NODES} settings, {MAX_DEPTH} levels deep", "more")
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, str):
        return value[:_MAX_TEXT]
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1, left) for item in value]
    if isinstance(value, dict):
        return {str(key)[:_MAX_TEXT]: _plain(item, depth + 1, left) for key, item in value.items()}
    return None


def _table(record: Record, name: str) -> dict[str, Any]:
    table = attribute(record, name, {})
    if not isinstance(table, dict):
        raise refuse(f"{name} of {record.kind[:60]}", spelled(table))
    return table


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 60 or not value.isprintable():
        raise refuse("a module's or tensor's name", spelled(value))
    return value
