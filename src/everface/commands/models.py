"""Commands that bring generators in and out: export, import, pretrain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from everface.commands.common import ACCESS, Access, Flag, Json
from everface.console import emit, shown_progress
from everface.engine.pretrain.config import PretrainConfig

if TYPE_CHECKING:
    from everface.engine.pretrain.posed.config import Pretrain3DConfig


@Parameter(name="*")
@dataclass(frozen=True)
class Form:
    """What to write.

    Attributes:
        target: The target: onnx, ort, tensorrt, tensorrt-rtx, bundle or delta.
        precision: fp32, fp16, bf16 or int8.
        resolution: Side of smaller pictures, such as 32.
        size_limit: The most that a file may take, in MB.
        require_parity: Fail where the target cannot run here to be compared.
        graphs: Which of personal, synthesis, mapping, with commas between; in 3D of personal, view, planes, render.
        opset: Version of ONNX's operators, 17 or newer.
        psi: Truncation of the personal graph, 0 (the mean face) to 1 (none).
        noise_inputs: The synthesis graph takes noise images as optional inputs.
        variant: portable, or custom for everface's faster operators in ONNX Runtime.
    """

    target: Annotated[str, Parameter(name="--to")] = "onnx"
    precision: str = "fp32"
    resolution: int | None = None
    size_limit: float | None = None
    require_parity: Annotated[bool, Flag] = False
    graphs: str = ""
    opset: int = 17
    psi: float = 1.0
    noise_inputs: Annotated[bool, Flag] = False
    variant: str = "portable"


_FORM = Form()


def export(
    workspace: Path,
    *,
    out: Path,
    form: Form = _FORM,
    bundle_passphrase_file: Path | None = None,
    access: Access = ACCESS,
) -> None:
    """Write the personal model for another runtime, proven equal to this one.

    Args:
        workspace: The workspace, 2D or 3D, or the .safetensors file of a generator.
        out: A file to write (.onnx, .ort, .engine, .bundle, .delta), or a folder for several graphs.
        bundle_passphrase_file: File with a passphrase that encrypts the bundle.
    """
    from everface.export.recipe import ExportRecipe
    from everface.export.workspace import export_file, export_workspace

    key = None
    if bundle_passphrase_file is not None:
        from everface.keys import new_key

        key = new_key(out, bundle_passphrase_file)
    recipe = ExportRecipe(**vars(form) | {"graphs": tuple(filter(None, form.graphs.split(","))), "key": key})
    if workspace.suffix == ".safetensors":
        done = export_file(workspace, form.target, out, recipe)
    else:
        with access.open(workspace) as engine:
            done = export_workspace(engine.person, form.target, out, recipe)
    access.emit(done, done.summary())


def import_(file: Path, *, out: Path, mapping: Path | None = None, json: Json = False) -> None:
    """Convert a generator's checkpoint to safetensors, for init --base; nothing in it is run.

    Args:
        file: NVIDIA's .pkl (StyleGAN2-ADA-PyTorch, StyleGAN3's stylegan2, EG3D), rosinality's .pt, MyStyle's
            mystyle_model.pt, or safetensors.
        out: The .safetensors file to write.
        mapping: The checkpoint that MyStyle's model was tuned from: its mapping network completes the file.
        json: Print one JSON object.
    """
    from everface.engine.generators.importing import import_checkpoint

    done = import_checkpoint(file, out, mapping=mapping)
    notes = "".join(f"\nnote: {note}" for note in done.notes)
    size = done.settings.get("resolution")
    pixels = f", {size} px" if size else ""
    emit(done, json, f"Wrote {done.out}: {done.architecture}{pixels}, {done.tensors} tensors from {done.format}{notes}")


@Parameter(name="*")
@dataclass(frozen=True)
class Training:
    """How to train; in 3D only images and seed matter.

    Attributes:
        resolution: Side of the pictures in pixels; the base is grown or cut to it. That of the base by default.
        images: Photos to show in all; in 3D, renderings to compare.
        batch: Photos an update and a process; may change from one call to the next.
        learning_rate: Of the generator; the others' keep their proportion to it. May change too.
        more_share: Part of the photos that comes from the second collection. May change too.
        encoder_only: Keep the whole base and train an encoder for it.
        seed: Of every random choice.
    """

    resolution: int | None = None
    images: int | None = None
    batch: int = PretrainConfig.batch
    learning_rate: float = PretrainConfig.learning_rate
    more_share: float = PretrainConfig.more_share
    encoder_only: Annotated[bool, Flag] = False
    seed: int = 0

    def chosen(self, *names: str) -> dict[str, Any]:
        """What has a value, of these names, or of all."""
        return {name: value for name, value in vars(self).items() if value is not None and name in (names or (name,))}


_TRAINING = Training()


def pretrain(  # noqa: PLR0913 - one parameter a flag
    source: Annotated[Path, Parameter(name="DIR")],
    *,
    out: Path,
    base: str = "base64",
    more: Path | None = None,
    dimension: Literal["2d", "3d"] = "2d",
    max_minutes: float | None = None,
    training: Training = _TRAINING,
    rays: int = 32,
    json: Json = False,
) -> None:
    """Train a base generator and its encoder, together, on aligned faces; goes on where it ended.

    Several GPUs: torchrun --nproc-per-node N -m everface pretrain ...

    Args:
        source: Folder or zip file of square, aligned faces; one subfolder a person where known.
        out: The .safetensors file to write; state and sample grids lie in FILE.run beside it.
        base: What to begin with: an embedded base or a .safetensors file, and the encoder beside it.
        more: A second folder or zip file to learn from, such as sharper faces; the base is measured on the first.
        dimension: 2d; or 3d for a tri-plane base made of the 2D one, which needs meta.csv (file,yaw,pitch) beside the
            faces.
        max_minutes: End, with everything saved, after about this long.
        rays: In 3D, side of the pictures that are rendered in training.
        json: Print one JSON object.
    """
    if dimension == "3d":
        from everface.engine.pretrain.posed.config import Pretrain3DConfig

        _pretrain_3d(
            source, out, Pretrain3DConfig(rays=rays, **training.chosen("images", "seed")), base, max_minutes, json
        )
        return
    from everface.engine.generators.bases import load_base
    from everface.engine.pretrain.run import pretrain as run

    resolution = training.resolution or load_base(base).weights.config.resolution
    config = PretrainConfig(**training.chosen() | {"resolution": resolution})
    sources = [source] if more is None else [source, more]
    with shown_progress() as listen:
        done = run(sources, out, config, base=base, max_minutes=max_minutes, on_progress=listen)
    if done is None:
        return  # another process of the run reports
    quality = ""
    if measured := done.evaluation:
        quality = (
            f"\nFrechet distance ({measured.features}, {measured.samples} samples against held-out faces) "
            f"{measured.frechet:.2f}; real faces {measured.frechet_real:.2f}; reconstruction loss of the encoder's "
            f"codes on people that it was not trained on {measured.reconstruction:.3f}"
        )
    written = done.encoder if training.encoder_only else done.generator
    emit(done, json, f"Wrote {written} after {done.shown} pictures; look at {done.grid}{quality}")


def _pretrain_3d(
    source: Path, out: Path, config: Pretrain3DConfig, base: str, max_minutes: float | None, json: bool
) -> None:
    from everface.engine.pretrain.posed.run import pretrain_3d

    with shown_progress() as listen:
        done = pretrain_3d(source, out, config, base=base, max_minutes=max_minutes, on_progress=listen)
    worked = done.processor_seconds / 60
    emit(
        done,
        json,
        f"Wrote {done.generator} after {done.shown} renderings ({worked:.0f} min of a core); see {done.grid}",
    )
