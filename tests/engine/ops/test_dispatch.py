"""The choice of an implementation: as named or not at all."""

from __future__ import annotations

import logging

import pytest

from everface import _native
from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.ops import dispatch
from everface.engine.ops.dispatch import choose, machine_obstacle


def test_what_is_named_runs_or_is_refused():
    assert choose("sum", "reference", "cpu", lambda _: "in the way") == "reference"
    assert choose("sum", "cpu", "reference", lambda _: "") == "cpu"
    with pytest.raises(MissingBackendError, match=r"sum impl='cpu'.*found int8.*use impl='auto' or 'reference'"):
        choose("sum", "cpu", "reference", lambda _: "int8")
    with pytest.raises(UsageError, match="impl: expected auto or reference or cpu or cuda, found 'gpu'"):
        choose("sum", "gpu", "cpu")


def test_auto_takes_the_operators_choice_and_logs_it_once(caplog):
    dispatch._log_once.cache_clear()
    with caplog.at_level(logging.INFO):
        assert [choose("sum", "auto", "cpu") for _ in range(3)] == ["cpu"] * 3
    assert [record.message for record in caplog.records] == ["sum: impl=auto takes cpu"]


def test_a_machine_without_a_gpu_says_why():
    available, why = _native.cuda_status()
    assert machine_obstacle("cpu") == ""
    assert machine_obstacle("cuda") == ("" if available else why)
