"""The face networks: two detectors and the 468-point face mesh, run by onnxruntime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from everface.engine.assets import asset_path

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


@dataclass(frozen=True, eq=False)
class FaceModels:
    """MediaPipe's BlazeFace detectors and face mesh (see ``assets/NOTICE.md``). Safe to share between threads.

    Attributes:
        back: detector for pictures of 256 x 256.
        full_range: detector for pictures of 192 x 192, for smaller and farther faces.
        mesh: 468 landmarks from a face crop of 192 x 192.
    """

    back: InferenceSession
    full_range: InferenceSession
    mesh: InferenceSession

    @classmethod
    def load(cls, threads: int = 1) -> FaceModels:
        """Loads the three networks from the package (about 0.1 s).

        Args:
            threads: onnxruntime threads of each network; the networks are small, so more than 2 do not pay.

        Raises:
            EverfaceError: the installation lacks a model.
        """
        files = ("face_detection_back.onnx", "face_detection_full_range.onnx", "face_landmark.onnx")
        return cls(*(_session(file, threads) for file in files))

    def run_back(self, picture: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Raw output of the back detector.

        Args:
            picture: float32 [256, 256, 3] RGB in [-1, 1].

        Returns:
            Regressors [896, 16] in pixels of the picture, relative to the anchors, and logits [896].
        """
        boxes, logits = self.back.run(None, {"input": picture[None]})
        return boxes[0], logits[0, :, 0]

    def run_full_range(self, picture: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As ``run_back``, for a picture [192, 192, 3]: regressors [2304, 16] and logits [2304]."""
        boxes, logits = self.full_range.run(None, {"input": picture[None]})
        return boxes[0], logits[0, :, 0]

    def run_mesh(self, crop: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
        """Landmarks of one upright face crop.

        Args:
            crop: float32 [192, 192, 3] RGB in [0, 1].

        Returns:
            Landmarks [468, 3] in pixels of the crop (x right, y down, z away from the camera), and the probability
            that the crop shows a face.
        """
        points, logit = self.mesh.run(None, {"input_1": crop[None]})
        presence = 1.0 / (1.0 + np.exp(-np.clip(float(logit.item()), -60.0, 60.0)))
        return points.reshape(468, 3).astype(np.float64), float(presence)


def _session(name: str, threads: int) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle worker threads otherwise burn a core beside the tuning loop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(asset_path(name)), options, providers=["CPUExecutionProvider"])
