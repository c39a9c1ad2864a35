"""Checkpoints with the structure of the published ones, written by us: no code of theirs is in them.

Where theirs carry their source, to be executed by their loader, ours carry a line that leaves a trace if it ever runs.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from everface.bench.torture.pickling import Call, Name, New, Persistent, pickled, stored_inside, tensor_call
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.generator import Generator

_STORAGE_NAMES = {torch.float32: "FloatStorage", torch.float16: "HalfStorage", torch.float64: "DoubleStorage"}
_CLASSES = {"FullyConnected": "FullyConnectedLayer", "ToRGB": "ToRGBLayer"}
_DICTIONARY = Name("collections", "OrderedDict")
Storing = Callable[[Tensor], Any]


def tiny_generator(seed: int = 0, **shape: Any) -> Generator:
    """A generator of 8 pixels in which every tensor matters."""
    told = {"resolution": 8, "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channel_base": 32, "channel_max": 6}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = Generator(StyleGAN2Config(**(told | {"conv_clamp": 256.0} | shape)))
        for name, value in generator.state_dict().items():
            if not name.endswith("resample_filter"):
                value.add_(torch.randn(value.shape) * 0.3)
    return generator.eval().requires_grad_(False)


def nvidia_pickle(
    generator: Generator, *, protocol: int = 4, source: str = "raise SystemExit", networks: tuple[str, ...] = ("G_ema",)
) -> bytes:
    """A network pickle of NVIDIA's StyleGAN2-ADA-PyTorch or StyleGAN3 repository.

    Args:
        generator: its weights.
        protocol: of the pickle, 3 or 4 as theirs.
        source: text where theirs have the source of the class.
        networks: keys that hold a network; the others of ``G``, ``D`` and ``G_ema`` hold None.
    """
    network = _record(generator, source, _inside)
    value: dict[str, Any] = {name: network if name in networks else None for name in ("G", "D", "G_ema")}
    value |= {"augment_pipe": None, "training_set_kwargs": New(Name("dnnlib.util", "EasyDict")) if protocol > 3 else {}}
    return pickled(value, protocol)


def mystyle_zip(generator: Generator, *, source: str = "raise SystemExit") -> bytes:
    """What MyStyle saves: the synthesis network alone, a module in a zip archive of ``torch.save``."""
    entries: dict[str, bytes] = {}

    def storing(tensor: Tensor) -> Persistent:
        key = str(len(entries))
        entries[f"data/{key}"] = tensor.detach().contiguous().numpy().tobytes()
        kind = Name("torch", _STORAGE_NAMES[tensor.dtype])
        return Persistent(("storage", kind, key, "cuda:0", tensor.numel()))

    data = pickled(_record(generator.synthesis, source, storing), 2)
    return zipped({"data.pkl": data, "byteorder": b"little", **entries, "version": b"3\n"})


def eg3d_pickle(generator: Generator, *, protocol: int = 4, source: str = "raise SystemExit") -> bytes:
    """A network pickle of EG3D: a backbone, a renderer without weights, a decoder, and nested settings."""

    def plain(module: str, name: str, children: dict[str, Any]) -> New:
        return New(Name(module, name), _state({}, {}, children, {}))

    layer = generator.mapping.get_submodule("fc0")
    decoder = {"0": _record(layer, source, _inside), "1": plain("torch.nn.modules.activation", "Softplus", {})}
    settings = {
        "c_dim": generator.config.c_dim, "img_resolution": 512, "mapping_kwargs": {"num_layers": 2},
        "rendering_kwargs": {"avg_camera_pivot": [0, 0, 0.2], "c_scale": 1.0, "sr_antialias": True},
    }  # fmt: skip
    children = {
        "renderer": plain("training.volumetric_rendering.renderer", "ImportanceRenderer", {}),
        "backbone": _record(generator, source, _inside),
        "superresolution": _record(layer, source, _inside),
        "decoder": plain(
            "training.triplane", "OSGDecoder", {"net": plain("torch.nn.modules.container", "Sequential", decoder)}
        ),
    }
    extra = {"neural_rendering_resolution": 128, "_init_args": (), "_init_kwargs": settings}
    network = _persistent("TriPlaneGenerator", _state({}, {}, children, extra), source)
    return pickled({"G_ema": network, "D": None}, protocol)


def rosinality_names(generator: Generator) -> dict[str, Tensor]:
    """The generator's weights by rosinality's names, in its layout and scale."""
    state, found = generator.state_dict(), {}
    for index in range(generator.config.mapping_layers):
        for kind in ("weight", "bias"):
            found[f"style.{index + 1}.{kind}"] = state[f"mapping.fc{index}.{kind}"]
    found["input.input"] = state["synthesis.b4.const"][None]
    for index, side in enumerate(generator.config.block_resolutions):
        layers = {"conv1": "conv1" if not index else f"convs.{2 * index - 1}"}
        layers |= {"conv0": f"convs.{2 * index - 2}"} if index else {}
        layers["torgb"] = f"to_rgbs.{index - 1}" if index else "to_rgb1"
        for ours, theirs in layers.items():
            found |= _rosinality_layer(state, f"synthesis.b{side}.{ours}", theirs, 2 * index - (ours == "conv0"))
    return {name: value.clone() for name, value in found.items()}


def _rosinality_layer(state: dict[str, Tensor], ours: str, theirs: str, noise: int) -> dict[str, Tensor]:
    weight, bias = state[f"{ours}.weight"], state[f"{ours}.bias"]
    found = {f"{theirs}.conv.modulation.{kind}": state[f"{ours}.affine.{kind}"] for kind in ("weight", "bias")}
    if ours.endswith("torgb"):
        return found | {f"{theirs}.conv.weight": weight[None], f"{theirs}.bias": bias[None, :, None, None]}
    side = state[f"{ours}.noise_const"].shape[0]
    if ours.endswith("conv0"):
        found[f"{theirs}.conv.blur.kernel"] = state[f"{ours}.resample_filter"] * 4
    return found | {
        f"{theirs}.conv.weight": weight[None] * math.sqrt(weight[0].numel()),
        f"{theirs}.activate.bias": bias,
        f"{theirs}.noise.weight": state[f"{ours}.noise_strength"].reshape(1),
        f"noises.noise_{noise}": state[f"{ours}.noise_const"].reshape(1, 1, side, side),
    }


def zipped(entries: dict[str, bytes], folder: str = "archive") -> bytes:
    """A zip archive of stored entries below one folder, as ``torch.save`` writes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(f"{folder}/{name}", data)
    return out.getvalue()


def _rosinality(generator: Generator, *, stream: bool) -> bytes:
    out = io.BytesIO()
    value = {"g_ema": rosinality_names(generator), "latent_avg": generator.mapping.w_avg.clone(), "args": None}
    torch.save(value, out, _use_new_zipfile_serialization=not stream)
    return out.getvalue()


FORMATS: dict[str, Callable[[Generator], bytes]] = {
    "nvidia protocol 4": nvidia_pickle,
    "nvidia protocol 3": lambda generator: nvidia_pickle(generator, protocol=3),
    "mystyle": mystyle_zip,
    "rosinality zip": lambda generator: _rosinality(generator, stream=False),
    "rosinality stream": lambda generator: _rosinality(generator, stream=True),
    "eg3d": eg3d_pickle,
    "safetensors": lambda generator: save_tensors(generator.state_dict()),
}


def _inside(tensor: Tensor) -> Call:
    return Call(Name("torch.storage", "_load_from_bytes"), (stored_inside(tensor),))


def _record(module: nn.Module, source: str, storing: Storing) -> Call:
    children = {name: _record(one, source, storing) for name, one in module.named_children()}
    parameters = {
        name: tensor_call(storing(one), one, parameter=True) for name, one in module.named_parameters(recurse=False)
    }
    buffers = {name: tensor_call(storing(one), one) for name, one in module.named_buffers(recurse=False)}
    kind = type(module).__name__
    return _persistent(_CLASSES.get(kind, kind), _state(parameters, buffers, children, _settings(module)), source)


def _persistent(kind: str, state: dict[str, Any], source: str) -> Call:
    meta = {"type": "class", "version": 6, "module_src": source, "class_name": kind, "state": state}
    return Call(Name("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))


def _state(
    parameters: dict[str, Any], buffers: dict[str, Any], children: dict[str, Any], extra: dict[str, Any]
) -> dict[str, Any]:
    def ordered(told: dict[str, Any]) -> Call:
        return Call(_DICTIONARY, (list(told.items()),))

    return {
        "training": False, "_parameters": ordered(parameters), "_buffers": ordered(buffers),
        "_modules": ordered(children), "_non_persistent_buffers_set": set(), "_forward_hooks": Call(_DICTIONARY),
    } | extra  # fmt: skip


def _settings(module: Any) -> dict[str, Any]:
    kind = type(module).__name__
    if kind in ("SynthesisLayer", "ToRGB"):
        clamp = module.clamp
        scalar = Call(
            Name("numpy.core.multiarray", "scalar"),
            (Call(Name("numpy", "dtype"), ("f8", False, True), (3, "<", None, None, None, -1, -1, 0)), b"\0" * 8),
        )
        more = {"activation": "lrelu", "use_noise": True} if kind == "SynthesisLayer" else {}
        return {"conv_clamp": None if clamp is None else int(clamp), "act_gain": scalar} | more
    if kind == "FullyConnected":
        return {"bias_gain": module.bias_gain, "activation": "lrelu" if module.act else "linear"}
    if kind == "SynthesisBlock":
        return {"architecture": "skip", "use_fp16": module.resolution >= 8}
    return {"w_avg_beta": 0.998} if kind == "MappingNetwork" else {"_init_kwargs": {}}
