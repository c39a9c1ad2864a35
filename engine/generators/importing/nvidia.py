"""NVIDIA's networks: StyleGAN2 of the ADA and StyleGAN3 repositories, and EG3D. Their names are the ones used here."""

from __future__ import annotations

import json
from typing import Any

from everface.engine.generators.importing.limits import refuse
from everface.engine.generators.importing.modules import attribute, child, plain_settings, records, state_dict
from everface.engine.generators.importing.network import Imported, check_filters, config_of
from everface.engine.generators.importing.tensors import Array, read_tensors
from everface.engine.generators.importing.values import Record

_UNSUPPORTED = "only configurations of StyleGAN2 with the skip architecture are supported"
_EG3D_TENSORS = ("backbone.synthesis.b4.const", "backbone.mapping.fc0.weight", "decoder.net.0.weight")
_EG3D_ATTRIBUTES = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels", "neural_rendering_resolution")


def from_record(root: Record, file_bytes: int) -> Imported:
    """A network that was pickled whole.

    Raises:
        CheckpointError: it is not a StyleGAN2, a StyleGAN2's synthesis network, or an EG3D, or has unknown settings.
    """
    modules = attribute(root, "_modules", {})
    names = set(modules) if isinstance(modules, dict) else set()
    if {"backbone", "decoder"} <= names:
        return _eg3d(root, file_bytes)
    synthesis = root if "b4" in names else child(root, "synthesis") if "synthesis" in names else None
    if synthesis is None:
        raise refuse("a generator", f"a network of class {root.kind[:60]}", _UNSUPPORTED)
    if "input" in attribute(synthesis, "_modules", {}):
        raise refuse("StyleGAN2", "StyleGAN3 (configuration t or r)", _UNSUPPORTED)
    settings = _settings(root)
    prefix = "synthesis." if synthesis is root else ""
    references = {prefix + name: value for name, value in state_dict(root).items()}
    tensors = read_tensors(references, file_bytes)
    return from_tensors(tensors, settings.pop("conv_clamp"), {key: str(value) for key, value in settings.items()})


def from_tensors(tensors: dict[str, Array], conv_clamp: float | None, settings: dict[str, str]) -> Imported:
    """A StyleGAN2 as tensors by NVIDIA's names.

    Raises:
        CheckpointError: they are not those of a StyleGAN2 of the skip architecture.
    """
    check_filters(tensors)
    config = config_of({name: tuple(value.shape) for name, value in tensors.items()}, conv_clamp)
    shape = {key: str(value) for key, value in vars(config).items()}
    if any(name.startswith("mapping.") for name in tensors):
        return Imported("stylegan2", tensors, settings | shape)
    for name in ("z_dim", "c_dim", "mapping_layers"):
        del shape[name]
    note = "it has no mapping network, so it cannot be a base: import it again with --mapping OFFICIAL_FILE"
    return Imported("stylegan2-synthesis", tensors, settings | shape, (note,))


def _settings(root: Record) -> dict[str, Any]:
    """Settings that tensors do not show, each checked to be one that the generator here has."""
    clamps, half = [], 0
    beta = None
    for name, record in records(root):
        clamps += [attribute(record, "conv_clamp")] if record.kind in ("SynthesisLayer", "ToRGBLayer") else []
        half += bool(attribute(record, "use_fp16", False))
        beta = attribute(record, "w_avg_beta", beta)
        _check_settings(name, record)
    # Types first: comparing nested lists could take exponential time.
    if (
        any(clamp_value is not None and type(clamp_value) not in (int, float) for clamp_value in clamps)
        or len(set(clamps)) > 1
    ):
        raise refuse("one clamp for all layers", "others", _UNSUPPORTED)
    clamp = clamps[0] if clamps else None
    settings = {"conv_clamp": None if clamp is None else float(clamp), "num_fp16_res": half}
    return settings | ({"w_avg_beta": float(beta)} if isinstance(beta, int | float) else {})


def _check_settings(name: str, record: Record) -> None:
    expected: dict[str, Any] = {}
    if record.kind == "SynthesisBlock":
        expected = {"architecture": "skip"}
    elif record.kind == "SynthesisLayer":
        expected = {"activation": "lrelu", "use_noise": True}
    elif record.kind == "FullyConnectedLayer" and ".fc" in f".{name}":
        expected = {"activation": "lrelu", "bias_gain": 0.01}
    for setting, wanted in expected.items():
        value = attribute(record, setting, wanted)
        same = abs(value - wanted) < 1e-9 if isinstance(wanted, float) and isinstance(value, float) else value == wanted
        if not same:
            raise refuse(f"{setting} {wanted} in {name[:60]}", str(plain_settings(value))[:60], _UNSUPPORTED)


def _eg3d(root: Record, file_bytes: int) -> Imported:
    settings = plain_settings(attribute(root, "_init_kwargs", {}))
    settings = settings if isinstance(settings, dict) else {}
    # What was set after construction wins: the neural resolution grows during training.
    for name in (*_EG3D_ATTRIBUTES, "rendering_kwargs"):
        if (value := plain_settings(attribute(root, name))) is not None:
            settings[name] = value
    classes, clamps = {}, {}
    for name, record in records(root):
        classes[name] = record.kind
        if record.kind in ("SynthesisLayer", "SynthesisLayerNoUp", "ToRGBLayer"):
            clamps[name] = plain_settings(attribute(record, "conv_clamp"))
    references = state_dict(root)
    if missing := [name for name in _EG3D_TENSORS if name not in references]:
        raise refuse("an EG3D", f"none of its tensors named {missing[0]}")
    tensors = read_tensors(references, file_bytes)
    top = {name: kind for name, kind in classes.items() if name.count(".") == 0}
    texts = {"settings": settings, "classes": top, "conv_clamps": clamps}
    return Imported("eg3d", tensors, {name: json.dumps(value, sort_keys=True) for name, value in texts.items()})
