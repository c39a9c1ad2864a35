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


@Parameter(name="*")
@dataclass(frozen=True)
class Target:
    """Where the picture goes.

    Attributes:
        out: The picture to write.
        paste: Write the whole photo with the picture in it.
    """

    out: Path
    paste: Annotated[bool, Flag] = False


def reconstruct(workspace: Path, photo: Path, *, target: Target, access: Access = ACCESS) -> None:
    """Find the personal model's own picture of a photo.

    Args:
        workspace: The workspace.
        photo: A photo that shows the person.
    """
    with _portrait(workspace, photo, target, access) as (engine, listen, write):
        write(engine.reconstruct(photo, on_progress=listen))


def enhance(
    workspace: Path,
    photo: Path,
    *,
    target: Target,
    mask: Path | None = None,
    factor: float | None = None,
    blur: float | None = None,
    access: Access = ACCESS,
) -> None:
    """Restore a small, blurred, noisy or covered photo by what is known of the person.

    Args:
        workspace: The workspace.
        photo: A photo that shows the person.
        mask: Picture of the photo's shape: white is kept, black is filled in.
        factor: How many times fewer pixels across the face has than the model's picture; measured by default.
        blur: How blurred, in pixels of the model's picture; fitted to the photo by default, as its noise is.
    """
    from everface.engine.session import EnhanceOptions

    with _portrait(workspace, photo, target, access) as (engine, listen, write):
        write(engine.enhance(photo, EnhanceOptions(mask, factor, blur), on_progress=listen))


@Parameter(name="*")
@dataclass(frozen=True)
class Changes:
    """What to change, and how much.

    Attributes:
        pose: Degrees to turn the head, positive to the right of the picture.
        pitch: Degrees to raise it.
        smile: Standard deviations of mouth shape, positive for more of a smile.
        eyes: Standard deviations of the lids' distance, positive for wider open eyes.
        light: Standard deviations, positive for light from the right of the picture.
        brightness: Grey levels of 255.
    """

    pose: float = 0.0
    pitch: float = 0.0
    smile: float = 0.0
    eyes: float = 0.0
    light: float = 0.0
    brightness: float = 0.0


_NONE = Changes()


def edit(
    workspace: Path,
    photo: Path,
    *,
    target: Target,
    changes: Changes = _NONE,
    stay: float = 1.0,
    access: Access = ACCESS,
) -> None:
    """Change pose, expression or light of a photo, and say what came of it.

    Args:
        workspace: The workspace.
        photo: A photo that shows the person.
        stay: How strongly the search is held to the unedited picture's code, 0 to 1.
    """
    with _portrait(workspace, photo, target, access) as (engine, listen, write):
        amounts = {name: amount for name, amount in vars(changes).items() if amount}
        write(engine.edit(photo, amounts, stay=stay, on_progress=listen))


@contextmanager
def _portrait(
    workspace: Path, photo: Path, target: Target, access: Access
) -> Iterator[tuple[Any, OnProgress, Callable[[Any], None]]]:
    """The engine, who listens, and what writes and shows the portrait."""
    from everface.engine.pictures import picture_file, save_picture

    def write(done: Any) -> None:
        path = save_picture(engine.paste(photo, done) if target.paste else done.image, file)
        numbers = {name: getattr(done, name) for name in ("loss", "photo_likeness", "moved", "seconds", "limited")}
        effect = {one.name: {"asked": one.asked, "measured": one.measured} for one in done.effects}
        lines = [
            f"Wrote {path} in {done.seconds:.1f} s; likeness to the person {done.likeness:.3f} "
            f"(the photo {done.photo_likeness:.3f}), loss against the photo {done.loss:.3f}"
        ]
        lines += [
            f"{one.name}: asked {one.asked:+.3g}, measured {one.measured:+.3g} {one.unit}" for one in done.effects
        ]
        if done.limited:
            lines.append("That is as far as it goes: with more the picture is not the person's any more.")
        access.emit({"out": path, "identity": done.likeness, "effect": effect} | numbers, "\n".join(lines))

    file = picture_file(target.out)
    with access.open(workspace) as engine, shown_progress() as listen:
        yield engine, listen, write
