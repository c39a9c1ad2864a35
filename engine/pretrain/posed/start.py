"""Where the training of a 3D base begins: a 2D base's picture, painted on the mean face.

The layers of a StyleGAN2 draw the planes as they drew the picture: upside down, since a plane's rows go up, and with
the pose taken out of W, since the camera gives it. The xy plane's first channels are the 2D picture. One more channel
of the three planes adds up to "how far behind the surface of a mean head", which the decoder turns into density. So
the very first rendering is a face with depth, and training has to correct it rather than to find it.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.generators.eg3d.config import EG3DConfig, RenderConfig
from everface.engine.generators.eg3d.generator import TriPlaneGenerator
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.generators.stylegan2.layers import FullyConnected, ModulatedConv
from everface.engine.generators.stylegan2.synthesis import SynthesisNetwork
from everface.engine.latents.space import normal_z, w_statistics
from everface.engine.numerics import compute_dtype
from everface.engine.ops.resample import upsample_2x
from everface.engine.ops.synthesis.learning import synthesize
from everface.engine.photos.camera import face_in_world
from everface.engine.pretrain.posed.teacher import pose_reader
from everface.engine.pretrain.posed.thin import thin

_RGB, DEPTH_CHANNEL = slice(0, 3), 3  # channels of a plane
DEPTH_UNIT = 0  # of the decoder's hidden layer
_STEEP = 10.0  # of the depth feature: ten a world unit
_EMPTY = 0.35
_SETTLE_STEPS, _SETTLE_RATE = 250, 2e-3
_FIT_SAMPLES, _RIDGE = 24, 1e-3


@dataclass(frozen=True)
class Shape3D:
    """Size of a small 3D base.

    Attributes:
        features: channels of a plane.
        hidden: width of the decoder.
        channel_max: of the layers, at most those of the 2D base.
        samples: along a ray in each of the two passes.
        box: side of the cube around the head, in world units.
    """

    features: int = 16
    hidden: int = 32
    channel_max: int = 192
    samples: int = 12
    box: float = 0.64


def begin_3d(base: Generator, pose: list[NDArray[np.float32]], shape: Shape3D, seed: int = 0) -> TriPlaneGenerator:
    """A tri-plane generator that renders about what a 2D base draws, with a mean face's depth.

    Args:
        base: unchanged.
        pose: directions [w_dim] of W that turn the head, to be taken out.
        shape: sizes.
        seed: of the random weights.
    """
    thinner = thin(base, min(shape.channel_max, base.config.channel_max), seed)
    rays = RenderConfig(2.35, 3.05, shape.box, shape.samples, shape.samples, plane_axes="corrected")
    backbone = dataclasses.replace(thinner.config, img_channels=3 * shape.features)
    side = backbone.resolution
    config = EG3DConfig(
        backbone, side, side, superresolution="none", decoder_hidden=shape.hidden, render=rays
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = TriPlaneGenerator(config)
    generator.eval().requires_grad_(False)
    _copy_layers(thinner, generator.backbone)
    for step in pose:
        _without(generator.backbone, torch.from_numpy(step))
    _fit_depth(generator, seed)
    settle(generator, seed, all_channels=False)
    _begin_decoder(generator)
    return generator


def head_surface(side: int, box: float) -> NDArray[np.float64]:
    """Height z [side, side] of a head's front over the xy plane (row: y, going up; column: x), in world units.

    The mean face mesh, smoothed; around it an ellipsoid for hair and neck, and a wall behind.
    """
    centres = ((np.arange(side) + 0.5) / side - 0.5) * box
    x, y = np.meshgrid(centres, centres)
    inside = 1 - (x / 0.25) ** 2 - ((y + 0.04) / 0.36) ** 2
    around = np.where(inside > 0, -0.05 + 0.2 * np.sqrt(np.clip(inside, 0, 1)), -0.2)
    mesh = face_in_world()
    near = np.exp(-((x[..., None] - mesh[:, 0]) ** 2 + (y[..., None] - mesh[:, 1]) ** 2) / (2 * 0.014**2))
    weight = 0.05
    return np.asarray(((near @ mesh[:, 2]) + weight * around) / (near.sum(axis=-1) + weight))


def depth_planes(side: int, box: float) -> Tensor:
    """The depth channel of the planes xy, xz and zy [3, side, side] for a mean head.

    Their mean is ten times ``surface - z + _EMPTY``: matter where it is above ten times ``_EMPTY``. Outside of the
    cube some planes give zero, and what remains must stay below that, which each plane alone does.
    """
    surface = torch.from_numpy(head_surface(side, box)).float()
    back = 1.5 * (_EMPTY - ((torch.arange(side) + 0.5) / side - 0.5) * box)
    return _STEEP * torch.stack([3 * surface, back[:, None].expand(side, side), back[None].expand(side, side)])


def settle(generator: TriPlaneGenerator, seed: int, *, all_channels: bool) -> None:
    """Trains the layers until the depth channels are the mean head's whatever the style, and the others stay.

    Args:
        generator: changed in place.
        seed: of the random codes.
        all_channels: all other channels of the planes must stay, not only the colours of the first plane.
    """
    net, shape = generator.backbone.synthesis, generator.config
    wanted = depth_planes(shape.backbone.resolution, shape.render.box_warp)
    before = copy.deepcopy(net)
    others = [i for i in range(3 * shape.features) if i % shape.features != DEPTH_CHANNEL]
    trained = list(net.requires_grad_(True).parameters())
    optimiser = torch.optim.Adam(trained, lr=_SETTLE_RATE, betas=(0.9, 0.99))
    for i in range(_SETTLE_STEPS):
        optimiser.param_groups[0]["lr"] = _SETTLE_RATE * (1 - 0.9 * i / _SETTLE_STEPS)
        with torch.no_grad():
            ws = generator.mapping(normal_z(4, shape.backbone.z_dim, seed + 1 + i))
            kept = synthesize(before.weights(), ws, dtype=compute_dtype())
        drawn = synthesize(net.weights(), ws, dtype=compute_dtype())
        planes = drawn.reshape(len(ws), 3, shape.features, *drawn.shape[-2:])
        loss = (planes[:, :, DEPTH_CHANNEL] - wanted).square().mean()
        other = others if all_channels else list(range(3))
        loss = loss + (drawn[:, other] - kept[:, other]).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    net.requires_grad_(False)


def _copy_layers(flat: Generator, planes: Generator) -> None:
    state = planes.state_dict()
    for name, value in flat.state_dict().items():
        if "torgb" in name and "affine" not in name:
            weights = state[name]
            drawn = 0.3 * weights if value.ndim > 1 else torch.zeros_like(weights)
            drawn[_RGB] = 3 * value  # three planes are averaged
            state[name] = drawn
        elif name.endswith("const"):  # the first block's constant or a layer's noise
            state[name] = value.flip(-2)
        elif value.ndim == 4:
            state[name] = value.flip(2)
        else:
            state[name] = value.clone()
    planes.load_state_dict(state)


def _without(generator: Generator, step: Tensor) -> None:
    """Makes all layers blind to a direction of W: to the part of it that best tells how far a code has moved."""
    w = w_statistics(generator)
    tell = pose_reader(w, step)
    for module in generator.synthesis.modules():
        if isinstance(module, ModulatedConv):
            _project(module.affine, step, tell, w.mean)


def _project(layer: FullyConnected, step: Tensor, tell: Tensor, mean: Tensor) -> None:
    moved = layer.weight @ step
    layer.bias.add_(moved * (tell @ mean) * (layer.weight_gain / layer.bias_gain))
    layer.weight.sub_(moved[:, None] * tell[None])


def _fit_depth(generator: TriPlaneGenerator, seed: int) -> None:
    """Least squares for the torgb weights of the depth channels, on the layers as they are."""
    net, features = generator.backbone.synthesis, generator.config.features
    side, box = generator.config.backbone.resolution, generator.config.render.box_warp
    wanted = depth_planes(side, box).reshape(3, side * side).T.double()
    gram, right = torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64)
    for z in torch.split(normal_z(_FIT_SAMPLES, net.config.z_dim, seed), 4):
        rows = _torgb_inputs(net, generator.backbone.mapping(z)).double()
        gram = gram + torch.einsum("nia,nib->ab", rows, rows)
        right = right + rows.sum(dim=0).T @ wanted
    ridge = _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    solution = torch.linalg.solve(gram + ridge, right).float()
    at = 0
    for block in net.blocks():
        count = block.torgb.weight.shape[1]
        for plane in range(3):
            block.torgb.weight[plane * features + DEPTH_CHANNEL, :, 0, 0] = solution[at : at + count, plane]
            block.torgb.bias[plane * features + DEPTH_CHANNEL] = solution[-1, plane] if at == 0 else 0.0
        at += count


def _torgb_inputs(net: SynthesisNetwork, ws: Tensor) -> Tensor:
    """What the torgb layers of all blocks weigh, enlarged to the planes' side, and ones: [n, side * side, channels]."""
    x = net.blocks()[0].const[None].expand(len(ws), -1, -1, -1)
    parts: list[Tensor] = []
    for block in net.blocks():
        if block.num_convs == 2:
            x = block.conv0(x, ws)
        x = block.conv1(x, ws)
        style = block.torgb.affine(ws) * block.torgb.weight_gain
        parts = [upsample_2x(part) if part.shape[-1] < x.shape[-1] else part for part in parts]
        parts.append(x * style[:, :, None, None])
    parts.append(torch.ones_like(x[:, :1]))
    return torch.cat(parts, dim=1).flatten(2).transpose(1, 2)


def _begin_decoder(generator: TriPlaneGenerator) -> None:
    """Density from the depth feature; colours from the first three, through pairs softplus(x) - softplus(-x) = x."""
    first, _, second = generator.decoder.net
    if not (isinstance(first, FullyConnected) and isinstance(second, FullyConnected)):
        raise UsageError("decoder", expected="two fully connected layers", found=type(first).__name__)
    first.bias.zero_()
    second.weight.zero_()
    second.bias.zero_()
    first.weight[:7] = 0
    first.weight[DEPTH_UNIT, DEPTH_CHANNEL] = 100 / _STEEP / first.weight_gain
    first.bias[DEPTH_UNIT] = (-3.0 - 100 * _EMPTY) / first.bias_gain
    second.weight[0, 0] = 15 / second.weight_gain
    second.bias[0] = -3.0 / second.bias_gain
    for colour in range(3):
        for sign, unit in ((1, 1 + 2 * colour), (-1, 2 + 2 * colour)):
            first.weight[unit, colour] = sign * 2 / first.weight_gain
            second.weight[1 + colour, unit] = sign * 1.25 / second.weight_gain
