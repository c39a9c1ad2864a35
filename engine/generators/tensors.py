"""Tensors as safetensors bytes, by way of NumPy."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from everface.engine.generators.weights import pack_arrays


def pack_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Writes finite tensors and text, the same bytes for the same content; see ``pack_arrays``.

    Raises:
        CheckpointError: a tensor is not finite.
    """
    return pack_arrays({name: value.detach().cpu().numpy() for name, value in tensors.items()}, metadata)
