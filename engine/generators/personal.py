"""A personal generator from its model file: a whole one, or a LoRA merged into its base."""

from __future__ import annotations

from everface.engine.errors import CheckpointError
from everface.engine.generators.bases import Base, generator_from_bytes
from everface.engine.generators.lora import LoRA
from everface.engine.generators.lora_weights import is_lora
from everface.engine.generators.protocol import FaceGenerator

__all__ = ["personal_generator"]


def personal_generator(base: Base[FaceGenerator], content: bytes | None) -> FaceGenerator:
    """The generator in a model file, which is the caller's to change; a copy of the base for None.

    Raises:
        CheckpointError: not a generator, or one that was tuned from another base.
    """
    if content is None:
        return base.generator.copy()
    if is_lora(content):
        generator = base.generator.copy()
        LoRA.from_bytes(content, generator, base.sha256).merge(generator)
        return generator
    generator, metadata = generator_from_bytes(content, "model")
    tuned_from = metadata.get("base_sha256", "unknown")
    if tuned_from != base.sha256:
        remedy = "restore the base file that the workspace was made with"
        raise CheckpointError(
            f"base {base.name}", expected=f"SHA-256 {tuned_from[:12]}", found=base.sha256[:12], remedy=remedy
        )
    return generator
