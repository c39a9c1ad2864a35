"""Records of networks: their modules, tensors and settings."""

from __future__ import annotations

from typing import Any

import pytest

from everface.engine.errors import CheckpointError
from everface.engine.generators.importing.modules import attribute, child, plain_settings, records, state_dict
from everface.engine.generators.importing.values import Record, Storage, TensorRef

TENSOR = TensorRef(Storage("float32", 4), 0, (4,), (1,))


def module(**state: Any) -> Record:
    return Record("Layer", {"_modules": {}, "_parameters": {}, "_buffers": {}} | state)


def test_tensors_have_dotted_names_and_transient_buffers_none() -> None:
    inner = module(_parameters={"weight": TENSOR, "bias": None}, _buffers={"mean": TENSOR})
    outer = module(_modules={"a": inner, "gone": None}, _buffers={"seen": TENSOR}, _non_persistent_buffers_set={"seen"})
    assert list(state_dict(outer)) == ["a.weight", "a.mean"]
    assert [name for name, _ in records(outer)] == ["", "a"]
    assert child(outer, "a") is inner
    assert attribute(outer, "absent", 3) == attribute(Record("x"), "absent", 3) == 3
    with pytest.raises(CheckpointError, match="a module b"):
        child(outer, "b")


def test_modules_without_end_are_refused() -> None:
    endless = module()
    endless.state["_modules"]["a"] = endless
    with pytest.raises(CheckpointError, match="levels deep"):
        list(records(endless))


@pytest.mark.parametrize("name", ["", "x" * 61, "a\nb", 3])
def test_other_names_are_refused(name: object) -> None:
    with pytest.raises(CheckpointError, match="a module's or tensor's name"):
        state_dict(module(_parameters={name: TENSOR}))


def test_settings_are_plain() -> None:
    value = {"a": (1, 2.5, None, True), "b": Record("x"), "c": float("nan"), 7: "x" * 300}
    assert plain_settings(value) == {"a": [1, 2.5, None, True], "b": None, "c": None, "7": "x" * 200}
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(CheckpointError, match="levels deep"):
        plain_settings(deep)
