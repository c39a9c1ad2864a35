"""Settings: sizes, ranges, and JSON there and back."""

from __future__ import annotations

import dataclasses

import pytest

from everface.engine.config import EngineConfig, InvertConfig, PhotoConfig, TuneConfig, parse_bytes
from everface.engine.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [("128KiB", 131072), ("1 MiB", 2**20), ("1.5mib", 3 * 2**19), ("20000", 20000), ("1GiB", 2**30), ("64kB", 64000)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "KiB", "12 apples", "-64KiB", "nan", "inf", "1e9", "0x100000", "1" * 400, "16KiB; rm"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="128KiB"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["16383", "1.1GiB", "0", "1TiB"])
def test_sizes_out_of_range(text: str) -> None:
    with pytest.raises(UsageError, match="16KiB to 1GiB"):
        parse_bytes(text)


def test_json_there_and_back() -> None:
    config = EngineConfig(budget_bytes=2**17, policy="er-rand", seed=3, photo=PhotoConfig(crop_scale=1.0))
    assert EngineConfig.from_json(config.to_json()) == config
    assert EngineConfig.from_json('{"policy": "lower"}') == EngineConfig(policy="lower")


@pytest.mark.parametrize(
    "text", ["", "[]", "3", '{"colour": 1}', '{"tune": {"speed": 2}}', '{"tune": 5}', '{"seed": "x"}']
)
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        EngineConfig.from_json(text)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (InvertConfig, {"steps": 0}),
        (InvertConfig, {"learning_rate": float("nan")}),
        (InvertConfig, {"batch": 0}),
        (TuneConfig, {"max_steps": 0}),
        (TuneConfig, {"learning_rate": -1.0}),
        (TuneConfig, {"new_per_step": 0}),
        (TuneConfig, {"replay_per_step": -1}),
        (TuneConfig, {"mse_weight": -1.0}),
        (TuneConfig, {"settle_window": -1}),
        (PhotoConfig, {"crop_scale": 3.0}),
        (PhotoConfig, {"max_megapixels": 0.0}),
        (EngineConfig, {"seed": -1}),
        (EngineConfig, {"dimension": "4d"}),
    ],
)
def test_values_out_of_range(kind: type, change: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        dataclasses.replace(kind(), **change)
