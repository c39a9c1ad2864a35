"""From a photo to an aligned training image: load, detect, align, judge, deduplicate.

``find_photos`` lists files, ``prepare_photos`` turns them into ``AlignedPhoto`` or ``Rejection``.
onnxruntime is imported by ``FaceModels.load`` only.
"""

from __future__ import annotations

from everface.engine.photos.load import find_photos
from everface.engine.photos.models import FaceModels
from everface.engine.photos.prepare import (
    AlignedPhoto,
    OwnerSimilarity,
    PreparedBatch,
    Rejection,
    prepare_photos,
)

__all__ = [
    "AlignedPhoto",
    "FaceModels",
    "OwnerSimilarity",
    "PreparedBatch",
    "Rejection",
    "find_photos",
    "prepare_photos",
]
