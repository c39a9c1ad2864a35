"""Files that travel with the package: models and their notices (``NOTICE.md`` names origin and licence of each)."""

from __future__ import annotations

from pathlib import Path

from everface.engine.errors import EverfaceError

__all__ = ["asset_path"]


def asset_path(name: str) -> Path:
    """The path of a packaged file.

    Args:
        name: file name inside ``engine/assets``, such as ``"face_landmark.onnx"``.

    Raises:
        EverfaceError: the installation lacks the file, or ``name`` is not a plain file name.
    """
    folder = Path(__file__).resolve().parent
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise EverfaceError(
            f"package asset {name!r}",
            expected=f"a file in {folder}",
            found="none",
            remedy="install everface again; if you work from a source tree, check that it is complete",
        )
    return path
