"""The generator against the formulas of the paper, in float64."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from everface.engine.errors import UsageError
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.generators.stylegan2.layers import SynthesisLayer

CONFIG = StyleGAN2Config(resolution=32, z_dim=24, w_dim=24, mapping_layers=3, channel_base=256, channel_max=16)


def double(module: torch.nn.Module) -> torch.nn.Module:
    return module.double().eval().requires_grad_(False)


def upfirdn(x: torch.Tensor, up: int, pad: tuple[int, int]) -> torch.Tensor:
    """Zero insertion, padding and the [1, 3, 3, 1] filter with gain up^2, written out."""
    n, c, h, w = x.shape
    stuffed = x.new_zeros(n, c, h, up, w, up)
    stuffed[:, :, :, 0, :, 0] = x
    stuffed = F.pad(stuffed.reshape(n, c, h * up, w * up), (pad[0], pad[1], pad[0], pad[1]))
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype) / 8 * up
    kernel = torch.outer(taps, taps)[None, None].expand(c, 1, 4, 4)
    return F.conv2d(stuffed, kernel, groups=c)


def layer_by_the_book(layer: SynthesisLayer, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Equations 1 and 3 of Karras et al. 2020: weights modulated and demodulated for each sample."""
    rows = []
    for sample, style in zip(x, layer.affine(w), strict=True):
        weight = layer.weight * style[None, :, None, None]
        weight = weight / torch.sqrt(weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8)
        if layer.up:
            # A transposed convolution is a convolution of the zero-stuffed input with the turned kernel.
            out = F.conv_transpose2d(sample[None], weight.transpose(0, 1), stride=2)
            taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype) / 4
            kernel = torch.outer(taps, taps)[None, None].expand(out.shape[1], 1, 4, 4)
            out = F.conv2d(F.pad(out, (1, 1, 1, 1)), kernel, groups=out.shape[1])
        else:
            out = F.conv2d(sample[None], weight, padding=1)
        rows.append(out)
    out = torch.cat(rows) + layer.noise_const * layer.noise_strength + layer.bias[:, None, None]
    return F.leaky_relu(out, 0.2) * math.sqrt(2)


@pytest.mark.parametrize("up", [False, True])
def test_layer_is_the_papers(up: bool) -> None:
    torch.manual_seed(1)
    layer = SynthesisLayer(6, 5, 16, up=up, config=CONFIG)
    layer.noise_strength.data.fill_(0.3)
    layer.bias.data.normal_()
    double(layer)
    side = 8 if up else 16
    x, w = torch.randn(3, 6, side, side, dtype=torch.float64), torch.randn(3, 24, dtype=torch.float64)
    torch.testing.assert_close(layer(x, w), layer_by_the_book(layer, x, w), rtol=1e-10, atol=1e-10)


def test_clamp_limits_activations() -> None:
    config = StyleGAN2Config(resolution=8, w_dim=24, channel_base=64, channel_max=8, conv_clamp=0.1)
    layer = SynthesisLayer(4, 4, 8, up=False, config=config).requires_grad_(False)
    found = layer(torch.randn(1, 4, 8, 8) * 100, torch.randn(1, 24))
    assert found.abs().max().item() == pytest.approx(0.1)


def test_a_cutoff_truncates_the_first_styles_only() -> None:
    generator = Generator(CONFIG)
    generator.mapping.w_avg.normal_()
    z = torch.randn(3, 24)
    full, short = generator.mapping(z), generator.mapping(z, psi=0.3)
    ws = generator.mapping(z, psi=0.3, cutoff=2)
    assert ws.shape == (3, CONFIG.num_ws, 24)
    assert torch.equal(ws[:, :2], short[:, None].expand(-1, 2, -1))
    assert torch.equal(ws[:, 2:], full[:, None].expand(-1, CONFIG.num_ws - 2, -1))
    torch.testing.assert_close(generator(z, psi=0.3, cutoff=0), generator(z))
    for wrong in (-1, CONFIG.num_ws + 1):
        with pytest.raises(UsageError, match="cutoff"):
            generator.mapping(z, psi=0.3, cutoff=wrong)


def test_random_noises_reach_every_layer() -> None:
    generator = Generator(CONFIG)
    noises = generator.synthesis.random_noises(2, torch.Generator().manual_seed(1))
    again = generator.synthesis.random_noises(2, torch.Generator().manual_seed(1))
    layers = [name.removesuffix(".noise_const") for name, _ in generator.synthesis.named_buffers()]
    assert sorted(noises) == sorted(name for name in layers if ".conv" in name and "filter" not in name)
    ws = torch.randn(2, 24)
    for block in generator.synthesis.blocks():
        for name in ("conv0", "conv1")[2 - block.num_convs :]:
            layer = block.get_submodule(name)
            layer.noise_strength.data.fill_(0.5)
            noise = noises[f"b{block.resolution}.{name}"]
            assert torch.equal(noise, again[f"b{block.resolution}.{name}"])
            assert noise.shape == (2, 1, block.resolution, block.resolution)
            assert not torch.equal(
                generator.synthesis(ws, {f"b{block.resolution}.{name}": noise}), generator.synthesis(ws)
            )
            layer.noise_strength.data.fill_(0.0)


def test_mapping_normalises_z_and_truncates() -> None:
    torch.manual_seed(2)
    generator = double(Generator(CONFIG))
    generator.mapping.w_avg.normal_()
    z = torch.randn(5, 24, dtype=torch.float64)
    w = generator.mapping(z)
    torch.testing.assert_close(generator.mapping(z * 3), w, rtol=1e-6, atol=1e-8)
    mean = generator.mapping.w_avg
    torch.testing.assert_close(generator.mapping(z, psi=0.5), (w + mean) / 2)
    torch.testing.assert_close(generator.mapping(z, psi=0.0), mean.expand(5, -1))


def test_image_upsampling_is_zero_insertion_and_the_filter() -> None:
    from everface.engine.ops.resample import upsample_2x

    x = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(upsample_2x(x), upfirdn(x, 2, (2, 1)), rtol=1e-12, atol=1e-12)


def test_each_sample_is_independent_of_its_batch() -> None:
    torch.manual_seed(3)
    generator = double(Generator(CONFIG))
    ws = torch.randn(3, CONFIG.num_ws, 24, dtype=torch.float64)
    together = generator.synthesis(ws)
    alone = torch.cat([generator.synthesis(row[None]) for row in ws])
    assert together.shape == (3, 3, 32, 32)
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


def test_w_is_used_for_every_layer_and_noise_can_be_given() -> None:
    torch.manual_seed(4)
    generator = double(Generator(CONFIG))
    w = torch.randn(2, 24, dtype=torch.float64)
    whole = generator.synthesis(w[:, None].expand(-1, CONFIG.num_ws, -1))
    torch.testing.assert_close(generator.synthesis(w), whole)
    generator.synthesis.b8.conv1.noise_strength.fill_(1.0)
    noise = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    changed = generator.synthesis(w, {"b8.conv1": noise})
    assert (changed - generator.synthesis(w)).abs().max() > 1e-3


def test_conditional_mapping_needs_its_label() -> None:
    config = StyleGAN2Config(resolution=8, z_dim=8, w_dim=8, c_dim=3, channel_base=64, channel_max=8)
    generator = Generator(config).requires_grad_(False)
    assert generator(torch.randn(2, 8), torch.randn(2, 3)).shape == (2, 3, 8, 8)
    with pytest.raises(UsageError, match="label"):
        generator(torch.randn(2, 8))


@pytest.mark.parametrize("resolution", [0, 4, 48, 2048])
def test_impossible_resolution_is_refused(resolution: int) -> None:
    with pytest.raises(UsageError, match="power of two"):
        StyleGAN2Config(resolution=resolution)


def test_wrong_style_shape_is_refused() -> None:
    generator = Generator(CONFIG).requires_grad_(False)
    with pytest.raises(UsageError, match="ws: expected"):
        generator.synthesis(torch.zeros(1, 3, 24))
