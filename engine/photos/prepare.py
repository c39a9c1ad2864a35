"""The whole way of a batch: each photo becomes an aligned training image, or a rejection that says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from everface.engine.config import PhotoConfig
from everface.engine.errors import PhotoRejectedError, UsageError
from everface.engine.photos.align import CropQuad, align_face, crop_quad, share_inside
from everface.engine.photos.camera import camera_from_landmarks
from everface.engine.photos.detect import detect_faces
from everface.engine.photos.duplicates import SeenPhotos, perceptual_hash
from everface.engine.photos.landmarks import FaceMesh, find_mesh
from everface.engine.photos.load import load_photo, safe_name
from everface.engine.photos.models import FaceModels
from everface.engine.photos.pose import head_pose
from everface.engine.photos.quality import sharpness
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress

OwnerSimilarity = Callable[[NDArray[np.uint8]], NDArray[np.floating]]
"""Face crops uint8 [n, R, R, 3] to similarities [n]; higher is more like the enrolled person."""

_MIN_PRESENCE = 0.8
_MIN_VISIBLE = 0.88
_DOMINANT = 2.0  # times the next face's area
_SAME_FACE = 0.2  # crops whose centres are nearer than this share of a side show one face


@dataclass(frozen=True, eq=False)
class AlignedPhoto:
    """A photo ready for training.

    Attributes:
        name: file name, no path.
        sha256: of the source file's bytes.
        image: uint8 [R, R, 3] RGB, the aligned crop.
        dhash: 64-bit perceptual hash of the aligned crop (see ``everface.engine.photos.duplicates``).
        yaw: degrees, positive when the face looks towards the right of the picture.
        pitch: degrees, positive when the face looks up.
        sharpness: unitless, 0 to 1 (see ``everface.engine.photos.quality.sharpness``).
        face_pixels: side of the crop in pixels of the source file.
        quad: where the crop lies in the loaded photo (see ``everface.engine.photos.load.load_photo``).
        camera: [25], from where the head is seen in the crop (see ``everface.engine.photos.camera``).
    """

    name: str
    sha256: str
    image: NDArray[np.uint8]
    dhash: int
    yaw: float
    pitch: float
    sharpness: float
    face_pixels: float
    quad: CropQuad
    camera: NDArray[np.float64]


@dataclass(frozen=True)
class Rejection:
    """A photo that was not taken.

    Attributes:
        name: file name, no path.
        reason: stable code: ``unreadable``, ``empty``, ``too-large``, ``no-face``, ``several-faces``,
            ``face-too-small``, ``cut-off``, ``turned``, ``blurred`` or ``duplicate``.
        detail: a sentence that says what was found and what to do.
    """

    name: str
    reason: str
    detail: str


@dataclass(frozen=True)
class PreparedBatch:
    """The outcome of a batch, in the order of its paths."""

    accepted: tuple[AlignedPhoto, ...]
    rejected: tuple[Rejection, ...]


@dataclass(frozen=True, eq=False)
class _Face:
    mesh: FaceMesh
    quad: CropQuad
    visible: float

    @property
    def area(self) -> float:
        return self.quad.side**2 * self.visible

    def overlaps(self, other: _Face) -> bool:
        apart = float(np.hypot(*(self.quad.centre - other.quad.centre)))
        return apart < _SAME_FACE * max(self.quad.side, other.quad.side)


def prepare_photos(
    paths: Sequence[Path],
    resolution: int,
    config: PhotoConfig,
    *,
    models: FaceModels,
    owner: OwnerSimilarity | None = None,
    seen: Sequence[tuple[str, int]] = (),
    on_progress: OnProgress = ignore_progress,
) -> PreparedBatch:
    """Loads, detects, aligns and judges photos, one at a time.

    A photo that cannot be used is rejected with its reason, and the batch goes on.

    Args:
        paths: image files (see ``everface.engine.photos.find_photos``).
        resolution: side R of the aligned images, 16 to 2048.
        config: crop and thresholds.
        models: the face networks.
        owner: similarity of face crops to the enrolled person; decides where a photo shows several faces. Without it
            the largest face is taken if its area is at least twice the next one's.
        seen: (sha256, dhash) of photos learned before.
        on_progress: hears the stage ``"photos"``.

    Raises:
        UsageError: ``resolution`` is out of range, or ``owner`` returns the wrong number of similarities.
    """
    if not 16 <= resolution <= 2048:
        raise UsageError("resolution", expected="16 to 2048", found=repr(resolution), remedy="use the generator's")
    known = SeenPhotos(seen, config.duplicate_distance)
    progress = ProgressReporter("photos", len(paths), on_progress)
    accepted: list[AlignedPhoto] = []
    rejected: list[Rejection] = []
    gate = _Gate(resolution, config, models, owner)
    for path in map(Path, paths):
        try:
            photo = gate.prepare(path, known)
            known.add(photo.sha256, photo.dhash, photo.name)
            accepted.append(photo)
        except PhotoRejectedError as error:
            rejected.append(Rejection(safe_name(path), error.reason, _sentence(error)))
        progress.advance()
    return PreparedBatch(tuple(accepted), tuple(rejected))


def _sentence(error: PhotoRejectedError) -> str:
    text = error.detail + (f"; {error.remedy}" if error.remedy else "")
    return text[:1].upper() + text[1:] + "."


@dataclass(frozen=True, eq=False)
class _Gate:
    """What one batch holds fixed; ``prepare`` takes one photo through."""

    resolution: int
    config: PhotoConfig
    models: FaceModels
    owner: OwnerSimilarity | None

    def prepare(self, path: Path, known: SeenPhotos) -> AlignedPhoto:
        """Raises PhotoRejectedError with the first reason that applies."""
        name = safe_name(path)
        loaded = load_photo(path, self.config.max_megapixels)
        if (same := known.find_file(loaded.sha256)) is not None:
            raise PhotoRejectedError(name, "duplicate", f"it is the same file as {same}", "leave it out")
        face = self._choose(name, loaded.pixels, self._faces(name, loaded.pixels))
        side = face.quad.side * loaded.reduction
        yaw, pitch = head_pose(face.mesh.points)
        sharp = sharpness(loaded.pixels, face.mesh.points)
        self._judge(name, (side, face.visible), (yaw, pitch), sharp)
        image = align_face(loaded.pixels, face.quad, self.resolution)
        dhash = perceptual_hash(image)
        if (same := known.find_similar(dhash)) is not None:
            raise PhotoRejectedError(name, "duplicate", f"it shows the same picture as {same}", "leave it out")
        camera = camera_from_landmarks(face.mesh.points, face.quad, crop_scale=self.config.crop_scale)
        return AlignedPhoto(name, loaded.sha256, image, dhash, yaw, pitch, sharp, side, face.quad, camera)

    def _faces(self, name: str, pixels: NDArray[np.uint8]) -> list[_Face]:
        image = Image.fromarray(pixels)
        faces: list[_Face] = []
        for detection in detect_faces(self.models, pixels):
            mesh = find_mesh(self.models, image, detection)
            quad = crop_quad(mesh.points, self.config.crop_scale)
            face = _Face(mesh, quad, share_inside(mesh.points, image.width, image.height))
            # Two detections of one face end in the same mesh.
            if mesh.presence >= _MIN_PRESENCE and not any(face.overlaps(other) for other in faces):
                faces.append(face)
        if not faces:
            raise PhotoRejectedError(name, "no-face", "no face was found", "use a photo that shows the face clearly")
        return faces

    def _choose(self, name: str, pixels: NDArray[np.uint8], faces: list[_Face]) -> _Face:
        """The one to judge. Faces that will not pass take part too, or a stranger would be taken instead."""
        if len(faces) == 1:
            return faces[0]
        if self.owner is not None:
            crops = np.stack([align_face(pixels, face.quad, self.resolution) for face in faces])
            likeness = np.asarray(self.owner(crops), np.float64).reshape(-1)
            if len(likeness) != len(faces):
                expected, found = f"{len(faces)} similarities", str(len(likeness))
                raise UsageError("owner", expected=expected, found=found, remedy="return one for each crop")
            return faces[int(np.argmax(np.nan_to_num(likeness, nan=-np.inf)))]
        whole = [face for face in faces if face.visible >= _MIN_VISIBLE] or faces
        first, *others = sorted(whole, key=lambda face: -face.area)
        if others and first.area < _DOMINANT * others[0].area:
            detail = f"it shows {len(whole)} faces of similar size, and no one is enrolled yet"
            raise PhotoRejectedError(name, "several-faces", detail, "crop it to one person, or add it later")
        return first

    def _judge(self, name: str, place: tuple[float, float], pose: tuple[float, float], sharp: float) -> None:
        """Refuses a face by ``place`` (crop side in source pixels, share inside the photo), pose or sharpness."""
        limits = self.config
        side, visible = place
        if side < limits.min_face_pixels:
            detail = f"the face's crop is {side:.0f} pixels wide, and {limits.min_face_pixels:.0f} are needed"
            raise PhotoRejectedError(name, "face-too-small", detail, "use a larger version or a closer photo")
        if visible < _MIN_VISIBLE:
            detail = f"only {visible:.0%} of the face is inside the photo"
            raise PhotoRejectedError(name, "cut-off", detail, "use a photo that shows the whole face")
        yaw, pitch = pose
        if abs(yaw) > limits.max_yaw or abs(pitch) > limits.max_pitch:
            detail = f"the head is turned {abs(yaw):.0f} degrees sideways and {abs(pitch):.0f} up or down"
            remedy = f"use one within {limits.max_yaw:g} and {limits.max_pitch:g} degrees"
            raise PhotoRejectedError(name, "turned", detail, remedy)
        if sharp < limits.min_sharpness:
            detail = f"the face is blurred (sharpness {sharp:.2f}, at least {limits.min_sharpness:g} is needed)"
            raise PhotoRejectedError(name, "blurred", detail, "use a sharper photo")
