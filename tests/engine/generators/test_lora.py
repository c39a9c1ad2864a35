"""Low-rank adaptation of both generators: what it trains, what it stores, what it refuses."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from tools.agreement_eg3d import seeded_eg3d, seeded_inputs

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.bases import load_base
from everface.engine.generators.eg3d.config import EG3DConfig, RenderConfig
from everface.engine.generators.eg3d.generator import TriPlaneGenerator
from everface.engine.generators.lora import LoRA
from everface.engine.generators.lora_weights import LoRAConfig, is_lora
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.ops.synthesis.learning import synthesize

SHA = "a" * 64


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Generator:
    return load_base(str(tiny_base)).generator


def tuned(generator: torch.nn.Module, config: LoRAConfig, seed: int = 0) -> LoRA:
    """Factors as if after some training: ``up`` is no longer zero."""
    lora = LoRA.create(generator, config, seed)
    draw = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, factor in lora.factors.items():
            if name.endswith(".up"):
                factor.copy_(0.1 * torch.randn(factor.shape, generator=draw))
    return lora


def styles(n: int = 2) -> torch.Tensor:
    return torch.randn(n, 32, generator=torch.Generator().manual_seed(3))


def test_untuned_factors_change_nothing(base: Generator) -> None:
    lora = LoRA.create(base, LoRAConfig(2))
    assert all(not change.any() for change in lora.deltas().values())
    assert torch.equal(lora.call(base, base.synthesis, styles()), base.synthesis(styles()))


@pytest.mark.parametrize("rank", [1, 3])
def test_the_change_has_the_rank_and_scale(base: Generator, rank: int) -> None:
    name = "synthesis.b8.conv0.weight"
    lora = tuned(base, LoRAConfig(rank, alpha=2.0))
    change = lora.deltas()[name].detach()
    down, up = lora.factors[f"{name}.down"], lora.factors[f"{name}.up"]
    assert torch.linalg.matrix_rank(change.flatten(1)) == rank
    torch.testing.assert_close(change.flatten(1), up @ down.flatten(1) * 2.0 / rank)


@pytest.mark.parametrize("impl", ["auto", "reference"])
def test_every_path_sees_the_merged_weights(base: Generator, impl: str) -> None:
    lora = tuned(base, LoRAConfig(2))
    merged = copy.deepcopy(base)
    lora.merge(merged)
    with torch.no_grad():
        wanted = merged.synthesis(styles())
        found = lora.call(base, lambda: synthesize(base.synthesis.weights(), styles(), impl=impl))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert (wanted - base.synthesis(styles())).abs().max() > 0.01


def test_gradients_reach_the_factors_alone_and_are_right(base: Generator) -> None:
    lora = tuned(base, LoRAConfig(1))
    found = {}
    for impl in ("auto", "plain"):
        for factor in lora.factors.values():
            factor.grad = None
        network = base.synthesis
        drawn = (
            lora.call(base, lambda: synthesize(base.synthesis.weights(), styles()))
            if impl == "auto"
            else lora.call(base, network, styles())
        )
        drawn.square().mean().backward()
        found[impl] = {name: factor.grad for name, factor in lora.factors.items()}
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in base.parameters())
    # The last styles of the network move nothing but its own layer, so every factor but none is reached.
    assert all(grad is not None and torch.isfinite(grad).all() for grad in found["auto"].values())
    for name, grad in found["auto"].items():
        torch.testing.assert_close(grad, found["plain"][name], atol=1e-5, rtol=1e-3)


def test_merging_adds_the_changes_alone(base: Generator) -> None:
    generator, lora = base.copy(), tuned(base, LoRAConfig(2))
    lora.merge(generator)
    deltas = lora.deltas()
    for name, value in generator.named_parameters():
        before = base.get_parameter(name)
        torch.testing.assert_close(value, before + deltas[name] if name in deltas else before, atol=1e-6, rtol=0)


def test_targets_are_patterns(base: Generator) -> None:
    only = LoRA.create(base, LoRAConfig(1, targets="*.b8.conv?.weight, *.b16.torgb.weight"))
    assert {name.removesuffix(".down") for name in only.factors if name.endswith(".down")} == {
        "synthesis.b8.conv0.weight", "synthesis.b8.conv1.weight", "synthesis.b16.torgb.weight",
    }  # fmt: skip
    usual = LoRA.create(base, LoRAConfig(1))
    assert not any(name.startswith("mapping.") for name in usual.factors)
    with pytest.raises(UsageError, match="targets"):
        LoRA.create(base, LoRAConfig(1, targets="nothing"))
    with pytest.raises(UsageError, match="rank"):
        LoRAConfig(0)


def test_a_delta_comes_back_in_half_precision(base: Generator) -> None:
    lora = tuned(base, LoRAConfig(2, 3.0))
    data = lora.to_bytes(SHA, {"kind": "personal"})
    assert is_lora(data)
    assert data == lora.to_bytes(SHA, {"kind": "personal"})
    again = LoRA.from_bytes(data, base, SHA)
    assert again.config == lora.config
    for name, factor in lora.factors.items():
        assert torch.equal(again.factors[name], factor.half().float())


def test_what_is_not_a_delta_of_this_base_is_refused(base: Generator, tiny_base: Path) -> None:
    data = tuned(base, LoRAConfig(1)).to_bytes(SHA)
    with pytest.raises(CheckpointError, match="restore the base"):
        LoRA.from_bytes(data, base, "b" * 64)
    with pytest.raises(CheckpointError, match="a LoRA delta"):
        LoRA.from_bytes(tiny_base.read_bytes(), base, SHA)
    assert not is_lora(tiny_base.read_bytes())
    assert not is_lora(b"nothing at all")
    for size in range(0, len(data), 97):
        with pytest.raises(CheckpointError):
            LoRA.from_bytes(data[:size], base, SHA)
    told = {
        "architecture": "lora",
        "base_sha256": SHA,
        "lora": '{"rank": 1, "alpha": 1.0, "targets": "*.conv?.weight"}',
    }
    tensors = load(data)
    for change in ({}, {"synthesis.b8.conv0.weight.up": torch.full((16, 1), float("nan"))}):
        with pytest.raises(CheckpointError):
            LoRA.from_bytes(bytes(save(tensors | change, told)), base, SHA)
    for settings in ("", "[]", '{"rank": 0}', '{"rank": "x"}', '{"rank": 1e9}', '{"other": 1}'):
        with pytest.raises(CheckpointError):
            LoRA.from_bytes(bytes(save(tensors, told | {"lora": settings})), base, SHA)


def test_rank_one_is_small_for_both_generators() -> None:
    sizes = {}
    with torch.device("meta"):
        networks = {"base64": copy.deepcopy(load_base("base64").generator), "eg3d": TriPlaneGenerator(EG3DConfig())}
    for name, network in networks.items():
        lora = LoRA.create(network, LoRAConfig(1))
        sizes[name] = len(lora.to_bytes(SHA))
        assert sizes[name] <= 500_000
    assert any(name.startswith("decoder.net.0") for name in lora.factors)
    assert any(name.startswith("superresolution.block1.conv1") for name in lora.factors)
    assert not any("mapping" in name for name in lora.factors)


def test_a_three_dimensional_generator_is_tuned_by_its_factors() -> None:
    backbone = StyleGAN2Config(16, 16, 16, 25, 2, 128, 8, 12)
    rays = RenderConfig(samples=6, importance_samples=6)
    generator = seeded_eg3d(EG3DConfig(backbone, 16, 8, "2X", 8, decoder_hidden=8, render=rays))
    z, c = seeded_inputs(generator.config)
    ws, lora = generator.mapping(z, c), LoRA.create(generator, LoRAConfig(1))
    target = torch.zeros(1, 3, 16, 16)
    optimiser = torch.optim.Adam(lora.factors.values(), 1e-2)
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = (lora.call(generator, generator.synthesis, ws, c).image - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(parameter.grad is None for parameter in generator.parameters())
    assert lora.factors["decoder.net.0.weight.down"].grad.abs().sum() > 0  # type: ignore[union-attr]
    again = LoRA.from_bytes(lora.to_bytes(SHA), generator, SHA)
    with torch.no_grad():
        wanted = again.call(generator, generator.synthesis, ws, c).image
        again.merge(generator)
        torch.testing.assert_close(generator.synthesis(ws, c).image, wanted)
