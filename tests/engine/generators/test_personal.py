"""Personal models from their files, with PyTorch and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from everface.engine.errors import CheckpointError
from everface.engine.generators.bases import Base, load_base
from everface.engine.generators.lora_weights import LoRAConfig, LoRAWeights
from everface.engine.generators.personal import personal_generator, personal_weights
from everface.engine.generators.stylegan2.generator import Generator


@pytest.fixture
def base(tiny_base: Path) -> Base[Generator]:
    return load_base(str(tiny_base))


def contents(base: Base[Generator], sha256: str) -> dict[str, bytes | None]:
    """Model files of each kind."""
    shapes = {name: array.shape for name, array in base.weights.parameters().items()}
    lora = LoRAWeights.create(shapes, LoRAConfig(2, 3.0), seed=1)
    rng = np.random.default_rng(2)
    factors = {name: rng.standard_normal(factor.shape, np.float32) for name, factor in lora.factors.items()}
    whole = base.generator.copy()
    whole.synthesis.b4.const.mul_(2)
    return {
        "none": None,
        "lora": LoRAWeights(lora.config, factors).to_bytes(sha256),
        "whole": whole.to_bytes({"base_sha256": sha256}),
    }


@pytest.mark.parametrize("kind", ["none", "lora", "whole"])
def test_both_ways_give_the_same_numbers(base: Base[Generator], kind: str) -> None:
    content = contents(base, base.sha256)[kind]
    arrays = personal_weights(base, content).arrays
    state = personal_generator(base, content).state_dict()
    assert arrays.keys() == state.keys()
    changed = False
    for name, value in state.items():
        # A product of two factors and a sum: three roundings of values below 32.
        np.testing.assert_allclose(arrays[name], value.numpy(), atol=3 * np.spacing(np.float32(32)), rtol=0)
        changed |= not np.array_equal(arrays[name], base.weights.arrays[name])
    assert changed == (kind != "none")


def test_the_generator_is_the_callers_to_change(base: Base[Generator]) -> None:
    generator = personal_generator(base, None)
    next(generator.parameters()).add_(1)
    assert not any(np.array_equal(next(generator.parameters()), one) for one in base.weights.arrays.values())


@pytest.mark.parametrize("kind", ["lora", "whole"])
def test_models_of_another_base_are_refused(base: Base[Generator], kind: str) -> None:
    content = contents(base, "b" * 64)[kind]
    for read in (personal_weights, personal_generator):
        with pytest.raises(CheckpointError, match="restore the base file"):
            read(base, content)
