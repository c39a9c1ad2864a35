"""A personal model from its file: a whole generator, or a LoRA merged into its base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from everface.engine.errors import CheckpointError
from everface.engine.generators.bases import Base, generator_from_bytes
from everface.engine.generators.lora_weights import LoRAWeights, is_lora
from everface.engine.generators.stylegan2.weights import StyleGAN2Weights

if TYPE_CHECKING:
    from everface.engine.generators.protocol import FaceGenerator


def personal_weights(base: Base[FaceGenerator], content: bytes | None) -> StyleGAN2Weights:
    """The numbers of a personal model of a 2D base, without PyTorch; those of the base for None.

    Raises:
        CheckpointError: not a generator, or one that was tuned from another base.
    """
    if content is None:
        return base.weights
    if is_lora(content):
        shapes = {name: array.shape for name, array in base.weights.parameters().items()}
        lora = LoRAWeights.from_bytes(content, shapes, base.sha256)
        return replace(base.weights, arrays=lora.merged(base.weights.arrays))
    weights = StyleGAN2Weights.from_bytes(content, "model")
    _require_base(base, weights.metadata)
    return weights


def personal_generator(base: Base[FaceGenerator], content: bytes | None) -> FaceGenerator:
    """The generator in a model file, which is the caller's to change; a copy of the base for None.

    Raises:
        CheckpointError: not a generator, or one that was tuned from another base.
    """
    if content is None:
        return base.generator.copy()
    if is_lora(content):
        from everface.engine.generators.lora import LoRA

        generator = base.generator.copy()
        LoRA.from_bytes(content, generator, base.sha256).merge(generator)
        return generator
    generator, metadata = generator_from_bytes(content, "model")
    _require_base(base, metadata)
    return generator


def _require_base(base: Base[FaceGenerator], metadata: Mapping[str, str]) -> None:
    tuned_from = metadata.get("base_sha256", "unknown")
    if tuned_from != base.sha256:
        remedy = "restore the base file that the workspace was made with"
        expected, found = f"SHA-256 {tuned_from[:12]}", base.sha256[:12]
        raise CheckpointError(f"base {base.name}", expected=expected, found=found, remedy=remedy)
