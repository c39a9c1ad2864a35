"""Names of methods and buffers."""

from __future__ import annotations

import pytest

from everface.bench.replay_experiment.methods import Method, allowance
from everface.engine.errors import UsageError
from everface.engine.replay.codec.latent import code_bytes


def test_a_method_is_a_policy_and_extras() -> None:
    found = Method.of("er-hull-exact/distil/by-loss")
    assert (found.policy, found.extras) == ("er-hull-exact", {"distil", "by-loss"})
    assert found.distils
    assert not Method.of("er-hull").distils
    for wrong in ("er-hall", "er-hull/distill"):
        with pytest.raises(UsageError):
            Method.of(wrong)


def test_counts_and_bytes() -> None:
    assert allowance(Method.of("er-hull"), "b=5", 8000.0, 512).keeping.count == 5
    plain = allowance(Method.of("er-hull"), "3png", 8000.0, 512)
    assert (plain.keeping.room_bytes, plain.codes) == (24_000, 0)
    ours = allowance(Method.of("budgeted/distil"), "64KiB", 8000.0, 512)
    assert ours.codes is not None
    assert ours.codes > 10
    assert ours.keeping.room_bytes is not None
    assert ours.keeping.room_bytes + ours.codes * code_bytes(512) == 64 * 1024
    codes_only = allowance(Method.of("lower/distil"), "16KiB", 8000.0, 512)
    assert codes_only.codes == 16 * 1024 // code_bytes(512)
    with pytest.raises(UsageError):
        allowance(Method.of("er-hull"), "some", 8000.0, 512)
