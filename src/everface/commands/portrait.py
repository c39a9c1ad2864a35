"""Commands that take one photo through the personal model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from everface.commands.common import Flag, Json, Passphrase, open_engine
from everface.console import emit, shown_progress


def reconstruct(
    workspace: Path,
    photo: Path,
    *,
    out: Path,
    refine: Annotated[bool, Flag] = False,
    passphrase_file: Passphrase = None,
    json: Json = False,
) -> None:
    """Find the personal model's own picture of a photo.

    Args:
        workspace: The workspace.
        photo: A photo that shows the person.
        out: The picture to write.
        refine: Also change each layer's style a little: nearer to the photo, less personal.
        passphrase_file: As above.
        json: As above.
    """
    from everface.engine.pictures import picture_file

    target = picture_file(out)
    with open_engine(workspace, passphrase_file, readonly=True) as engine, shown_progress() as listen:
        done = engine.reconstruct(photo, refine=refine, on_progress=listen)
    _write_portrait(done, target, json)


def enhance(  # noqa: PLR0913 - one parameter a flag
    workspace: Path,
    photo: Path,
    *,
    out: Path,
    mask: Path | None = None,
    factor: float | None = None,
    blur: float = 0.0,
    passphrase_file: Passphrase = None,
    json: Json = False,
) -> None:
    """Restore a small, blurred, noisy or covered photo by what is known of the person.

    Args:
        workspace: The workspace.
        photo: A photo that shows the person.
        out: The picture to write.
        mask: Picture of the photo's shape: white is kept, black is filled in.
        factor: How many times fewer pixels across the face has than the model's picture; measured by default.
        blur: How blurred, or as much as hides the noise, in pixels of the model's picture.
        passphrase_file: As above.
        json: As above.
    """
    from everface.engine.pictures import picture_file
    from everface.engine.session import EnhanceOptions

    target = picture_file(out)
    with open_engine(workspace, passphrase_file, readonly=True) as engine, shown_progress() as listen:
        done = engine.enhance(photo, EnhanceOptions(mask, factor, blur), on_progress=listen)
    _write_portrait(done, target, json)


def edit(  # noqa: PLR0913 - one parameter a flag
    workspace: Path,
    photo: Path,
    *,
    out: Path,
    pose: float = 0.0,
    pitch: float = 0.0,
    smile: float = 0.0,
    light: float = 0.0,
    brightness: float = 0.0,
    stay: float = 1.0,
    passphrase_file: Passphrase = None,
    json: Json = False,
) -> None:
    """Change pose, smile or light of a photo; the picture stays near what the person is known to look like.

    Args:
        workspace: The workspace.
        photo: A photo that shows the person.
        out: The picture to write.
        pose: Degrees to turn the head, positive to the right of the picture.
        pitch: Degrees to raise it.
        smile: Standard deviations of mouth shape, positive for more of a smile.
        light: Standard deviations, positive for light from the right of the picture.
        brightness: Grey levels of 255.
        stay: 0 moves freely, which soon shows somebody else; 1 only as far as the person's known looks reach.
        passphrase_file: As above.
        json: As above.
    """
    from everface.engine.pictures import picture_file

    amounts = {"pose": pose, "pitch": pitch, "smile": smile, "light": light, "brightness": brightness}
    changes = {name: amount for name, amount in amounts.items() if amount}
    target = picture_file(out)
    with open_engine(workspace, passphrase_file, readonly=True) as engine, shown_progress() as listen:
        done = engine.edit(photo, changes, stay=stay, on_progress=listen)
    _write_portrait(done, target, json)


def _write_portrait(done: Any, out: Path, json: bool) -> None:
    from everface.engine.pictures import save_picture

    path = save_picture(done.image, out)
    values = {"image": path} | {name: getattr(done, name) for name in ("loss", "likeness", "photo_likeness", "moved")}
    emit(
        values,
        json,
        f"Wrote {path}; likeness to the person {done.likeness:.3f} (the photo {done.photo_likeness:.3f}), "
        f"loss against the photo {done.loss:.3f}",
    )
