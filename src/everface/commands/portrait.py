"""Commands that take one photo through the personal model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from everface.commands.common import ACCESS, Access, Flag
from everface.console import shown_progress
from everface.engine.progress import OnProgress


def reconstruct(
    workspace: Path, photo: Path, *, out: Path, refine: Annotated[bool, Flag] = False, access: Access = ACCESS
) -> None:
    """Find the personal model's own picture of a photo.

    Args:
        workspace: The workspace.
        photo: A photo that shows the person.
        out: The picture to write.
        refine: Also change each layer's style a little: nearer to the photo, less personal.
    """
    with _portrait(workspace, out, access) as (engine, listen, write):
        write(engine.reconstruct(photo, refine=refine, on_progress=listen))


def enhance(
    workspace: Path,
    photo: Path,
    *,
    out: Path,
    mask: Path | None = None,
    factor: float | None = None,
    blur: float = 0.0,
    access: Access = ACCESS,
) -> None:
    """Restore a small, blurred, noisy or covered photo by what is known of the person.

    Args:
        workspace: The workspace.
        photo: A photo that shows the person.
        out: The picture to write.
        mask: Picture of the photo's shape: white is kept, black is filled in.
        factor: How many times fewer pixels across the face has than the model's picture; measured by default.
        blur: How blurred, or as much as hides the noise, in pixels of the model's picture.
    """
    from everface.engine.session import EnhanceOptions

    with _portrait(workspace, out, access) as (engine, listen, write):
        write(engine.enhance(photo, EnhanceOptions(mask, factor, blur), on_progress=listen))


@Parameter(name="*")
@dataclass(frozen=True)
class Changes:
    """What to change, and how much.

    Attributes:
        pose: Degrees to turn the head, positive to the right of the picture.
        pitch: Degrees to raise it.
        smile: Standard deviations of mouth shape, positive for more of a smile.
        light: Standard deviations, positive for light from the right of the picture.
        brightness: Grey levels of 255.
    """

    pose: float = 0.0
    pitch: float = 0.0
    smile: float = 0.0
    light: float = 0.0
    brightness: float = 0.0


_NONE = Changes()


def edit(
    workspace: Path, photo: Path, *, out: Path, changes: Changes = _NONE, stay: float = 1.0, access: Access = ACCESS
) -> None:
    """Change pose, smile or light of a photo; the picture stays near what the person is known to look like.

    Args:
        workspace: The workspace.
        photo: A photo that shows the person.
        out: The picture to write.
        stay: 0 moves freely, which soon shows somebody else; 1 only as far as the person's known looks reach.
    """
    with _portrait(workspace, out, access) as (engine, listen, write):
        amounts = {name: amount for name, amount in vars(changes).items() if amount}
        write(engine.edit(photo, amounts, stay=stay, on_progress=listen))


@contextmanager
def _portrait(workspace: Path, out: Path, access: Access) -> Iterator[tuple[Any, OnProgress, Callable[[Any], None]]]:
    """The engine, who listens, and what writes and shows the portrait."""
    from everface.engine.pictures import picture_file, save_picture

    def write(done: Any) -> None:
        path = save_picture(done.image, target)
        names = ("loss", "likeness", "photo_likeness", "moved")
        access.emit(
            {"image": path} | {name: getattr(done, name) for name in names},
            f"Wrote {path}; likeness to the person {done.likeness:.3f} (the photo {done.photo_likeness:.3f}), "
            f"loss against the photo {done.loss:.3f}",
        )

    target = picture_file(out)
    with access.open(workspace) as engine, shown_progress() as listen:
        yield engine, listen, write
