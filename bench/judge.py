"""The independent judge of identity: MobileFaceNet, which nothing here is trained on or selected with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from everface.bench.sequence import Embed
from everface.engine.config import EngineConfig
from everface.engine.errors import MissingBackendError
from everface.engine.learn.backend import Backend

_SIDE = 112
# Where MobileFaceNet wants eye centres, nose tip and mouth corners.
_TEMPLATE = np.array([(38.29, 51.70), (73.53, 51.50), (56.03, 71.74), (41.55, 92.37), (70.73, 92.20)])
# Where they lie in an FFHQ crop scaled by 0.8, as fractions of its side: the median of 84 photos, made symmetric.
_IN_CROP = np.array([(0.345, 0.466), (0.655, 0.466), (0.5, 0.665), (0.371, 0.810), (0.629, 0.810)])


class IdentityJudge:
    """Embeds aligned faces.

    Args:
        path: a MobileFaceNet in ONNX (input ``rgb255`` [n, 3, 112, 112] in 0..255, output [n, 128]).
        crop_scale: of the aligned faces.

    Raises:
        MissingBackendError: there is no such file.
    """

    def __init__(self, path: Path, crop_scale: float = 0.8) -> None:
        import onnxruntime

        if not path.is_file():
            remedy = "pass the path of a MobileFaceNet in ONNX"
            raise MissingBackendError("identity judge", expected=str(path), found="no such file", remedy=remedy)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._crop_scale = crop_scale

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Unit embeddings [n, 128] of aligned crops uint8 [n, R, R, 3]."""
        if not len(images):
            return np.zeros((0, 128), np.float32)
        side = images.shape[1]
        source = ((_IN_CROP - 0.5) * 0.8 / self._crop_scale + 0.5) * side
        to_source = _affine(_TEMPLATE, source)
        chips = [
            Image.fromarray(image).transform(
                (_SIDE, _SIDE), Image.Transform.AFFINE, tuple(to_source.ravel()), Image.Resampling.BICUBIC
            )
            for image in images
        ]
        batch = np.stack([np.asarray(chip, np.float32) for chip in chips]).transpose(0, 3, 1, 2)
        (embeddings,) = self._session.run(None, {self._session.get_inputs()[0].name: batch})
        embeddings = np.asarray(embeddings, np.float32)
        unit: NDArray[np.float32] = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        return unit


def _affine(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The similarity [2, 3] that takes source points to target points with least squared error."""
    rows = []
    for x, y in source:
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), target.ravel(), rcond=None)[0]
    return np.array([[a, -b, tx], [b, a, ty]])


def embedder(judge: Path | None, backend: Backend, config: EngineConfig) -> tuple[str, Embed]:
    """Name and embeddings of the judge at a path, or of the packaged embedder (dlib's) for None."""
    if judge is None:
        return "dlib", backend.embed
    return judge.stem, IdentityJudge(judge, config.photo.crop_scale).embed
