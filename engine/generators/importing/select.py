"""Which part of a checkpoint is the generator, and whose it is."""

from __future__ import annotations

from typing import Any

from everface.engine.generators.importing import nvidia
from everface.engine.generators.importing.limits import refuse
from everface.engine.generators.importing.network import Imported
from everface.engine.generators.importing.rosinality import convert_rosinality
from everface.engine.generators.importing.tensors import Array, read_tensors
from everface.engine.generators.importing.values import Record, TensorRef, spelled

# The averaged generator is the one to use; without it, the one being trained.
_GENERATORS = ("G_ema", "g_ema", "G", "g")
_MAX_TENSORS = 20_000


def from_value(value: Any, file_bytes: int) -> tuple[Imported, str]:
    """The generator in what a checkpoint's pickle yields, and what it was called there.

    Raises:
        CheckpointError: there is none, or of an unknown kind.
    """
    if isinstance(value, Record):
        return nvidia.from_record(value, file_bytes), f"a module {value.kind[:60]}"
    if not isinstance(value, dict):
        raise refuse("a dictionary of networks, or a network", spelled(value))
    for name in _GENERATORS:
        part = value.get(name)
        if isinstance(part, Record):
            return nvidia.from_record(part, file_bytes), name
        if isinstance(part, dict):
            average = value.get("latent_avg")
            average = average if isinstance(average, TensorRef) else None
            return from_names(_tensors(part, file_bytes), _one(average, file_bytes)), name
    return from_names(_tensors(value, file_bytes), None), "a state dictionary"


def from_names(tensors: dict[str, Array], latent_average: Array | None) -> Imported:
    """The generator that tensors belong to, by their names.

    Raises:
        CheckpointError: they are nobody's that is known.
    """
    for prefix in ("", "module.", "G_ema.", "g_ema.", "generator."):
        names = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
        if "input.input" in names:
            return convert_rosinality(names, latent_average)
        if "b4.const" in names:
            names = {f"synthesis.{name}": value for name, value in names.items()}
        if "synthesis.b4.const" in names:
            return _unknown_clamp(nvidia.from_tensors(names, None, {}))
        if "backbone.synthesis.b4.const" in names:
            note = "the file holds no settings of the renderer: those of its publisher must be given"
            return Imported("eg3d", names, {}, (note,))
    first_names = ", ".join(sorted(tensors)[:3])[:120] or "no tensors"
    raise refuse("a StyleGAN2 by NVIDIA's or rosinality's tensor names, or an EG3D", first_names)


def mapping_of(imported: Imported, other: Imported) -> Imported:
    """A synthesis network completed by another file's mapping network.

    Raises:
        CheckpointError: the other file has none, or it is not of the same W.
    """
    mapping = {name: value for name, value in other.tensors.items() if name.startswith("mapping.")}
    if other.architecture != "stylegan2" or other.settings.get("w_dim") != imported.settings.get("w_dim"):
        first_names = f"{other.architecture} with W of {other.settings.get('w_dim')}"
        expected = f"a mapping network to W of {imported.settings.get('w_dim')}"
        raise refuse(expected, first_names, "pass the checkpoint that the model was tuned from")
    if imported.architecture != "stylegan2-synthesis":
        raise refuse("a file without a mapping network", "one that has it", "leave --mapping out")
    wanted = ("z_dim", "c_dim", "mapping_layers", "w_avg_beta")
    settings = {name: other.settings[name] for name in wanted if name in other.settings}
    return Imported("stylegan2", imported.tensors | mapping, imported.settings | settings)


def _unknown_clamp(imported: Imported) -> Imported:
    note = "the file does not tell conv_clamp (256 in models trained in half precision): none is assumed"
    return Imported(imported.architecture, imported.tensors, imported.settings, (*imported.notes, note))


def _tensors(part: dict[Any, Any], file_bytes: int) -> dict[str, Array]:
    if len(part) > _MAX_TENSORS:
        raise refuse(f"at most {_MAX_TENSORS} tensors", f"{len(part)}")
    references = {
        name: tensor for name, tensor in part.items() if isinstance(name, str) and isinstance(tensor, TensorRef)
    }
    return read_tensors(references, file_bytes)


def _one(reference: TensorRef | None, file_bytes: int) -> Array | None:
    return None if reference is None else read_tensors({"latent_avg": reference}, file_bytes)["latent_avg"]
