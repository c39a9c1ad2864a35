"""Commands on a workspace: make it, teach it, look at it, keep it in order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from everface.commands.common import ACCESS, Access, Flag, Yaw, read_range
from everface.console import shown_progress
from everface.engine.config import EngineConfig, TuneConfig, parse_bytes
from everface.engine.errors import KeyMismatchError, UsageError


def init(  # noqa: PLR0913 - one parameter a flag
    workspace: Path,
    *,
    base: str = "",
    budget: str = "1MiB",
    policy: str = "er-hull",
    dimension: str = "2d",
    seed: int = 0,
    lora_rank: int = 0,
    encrypt: Annotated[bool, Flag] = False,
    access: Access = ACCESS,
) -> None:
    """Make a workspace, such as me.everface.

    Args:
        workspace: The folder to make.
        base: Name of an embedded base generator, or a .safetensors file; the dimension's own by default.
        budget: The most that the store of memories may take on disk.
        policy: How memories are chosen.
        dimension: 2d (StyleGAN2) or 3d (EG3D).
        seed: Of every random choice.
        lora_rank: 0 tunes the whole generator; 1 or more tunes, and stores, only a LoRA of this rank.
        encrypt: Protect everything with a passphrase.
    """
    if access.passphrase_file is not None and not encrypt:
        raise UsageError(
            "--passphrase-file", expected="--encrypt beside it", found="no --encrypt", remedy="add --encrypt"
        )
    tuning = TuneConfig(lora_rank=lora_rank)
    config = EngineConfig(base, parse_bytes(budget), policy, dimension, seed, tune=tuning)
    key = None
    if encrypt:
        from everface.keys import new_key

        key = new_key(workspace, access.passphrase_file)
    from everface.engine.session import Engine

    with Engine.create(workspace, config, key=key) as engine:
        access.emit(engine.status(), f"Made {workspace}. Next: everface update {workspace} PHOTOS")


def update(
    workspace: Path,
    *photos: Path,
    max_minutes: float | None = None,
    access: Access = ACCESS,
) -> None:
    """Learn one batch of photos; one batch is one timestamp.

    Args:
        workspace: The workspace.
        photos: Photos, or folders of photos.
        max_minutes: End, with a commit, after about this long.
    """
    if not photos:
        raise UsageError("PHOTO", expected="at least one photo or folder", found="none", remedy="name some")
    from everface.engine.session import UpdateFailedError

    try:
        with access.open(workspace, readonly=False) as engine, shown_progress() as listen:
            done = engine.update(photos, max_minutes=max_minutes, on_progress=listen)
    except UpdateFailedError as error:
        if access.json:
            access.emit(error.report(), "")
        raise
    skipped = "".join(f"\nskipped {photo.name} ({photo.reason}): {photo.detail}" for photo in done.rejected)
    access.emit(
        done,
        f"Update {done.timestamp}: learned {len(done.accepted)} photos in {done.seconds / 60:.1f} min "
        f"({done.steps} steps, stopped: {done.stopped}); "
        f"loss {done.before:.3f} before, {done.after:.3f} after; {done.kept} photos are kept{skipped}",
    )


def generate(
    workspace: Path,
    *,
    n: Annotated[int, Parameter(name=["-n", "--n"])] = 8,
    out: Path,
    seed: int = 0,
    yaw: Yaw | None = None,
    grid: Annotated[bool, Flag] = False,
    access: Access = ACCESS,
) -> None:
    """Make new pictures of the person.

    Args:
        workspace: The workspace.
        n: How many.
        out: Folder for the PNG files.
        seed: Of the random choice; the same seed gives the same pictures.
        yaw: In 3D, degrees to turn the heads by, such as -20..20; each gets a random one.
        grid: Write one picture of all, grid.png, instead.
    """
    from everface.engine.pictures import save_grid, save_images

    if n < 1:
        raise UsageError("-n", expected="at least 1", found=str(n))
    with access.open(workspace) as engine:
        images = engine.generate(n, seed, yaw=None if yaw is None else read_range(yaw))
    paths = [save_grid(images, out)] if grid else save_images(images, out)
    access.emit({"images": paths}, f"Wrote {len(paths)} file{'s' if len(paths) > 1 else ''} to {out}")


def compact(workspace: Path, *, access: Access = ACCESS) -> None:
    """Encode the memories more densely; takes a while, for idle time."""
    with access.open(workspace, readonly=False) as engine, shown_progress() as listen:
        done = engine.compact(on_progress=listen)
    saved = done.bytes_before - done.bytes_after
    access.emit(done, f"Encoded {done.transcoded} of {done.examined} photos anew; {saved} bytes are free again")


def budget(workspace: Path, size: str, *, access: Access = ACCESS) -> None:
    """Raise or lower the number of bytes that the memories may take; the policy chooses what has to go.

    Args:
        workspace: The workspace.
        size: The new budget, such as 256KiB.
    """
    with access.open(workspace, readonly=False) as engine:
        evicted = engine.set_budget(parse_bytes(size))
    gone = f"; {len(evicted)} memories made room" if evicted else ""
    access.emit({"budget_bytes": parse_bytes(size), "evicted": evicted}, f"The budget is {size} now{gone}")


def status(workspace: Path, *, access: Access = ACCESS) -> None:
    """Show what a workspace holds."""
    with access.open(workspace) as engine:
        now = engine.status()
    lines = [
        f"{now.timestamps} updates, {len(now.memories)} photos kept by {now.policy}, base {now.base}",
        f"store {now.file_bytes} of {now.budget_bytes} bytes, room for {now.room_bytes} more, "
        f"{now.bytes_per_memory:.0f} bytes a photo",
        *(
            f"  {memory.id}  update {memory.timestamp}  {memory.bytes} bytes  {memory.codec} {memory.resolution} px"
            for memory in now.memories
        ),
    ]
    if now.still_derived:
        lines.append(f"the model was tuned on {len(now.still_derived)} forgotten photos; the next update tunes it anew")
    access.emit(now, "\n".join(lines))


def forget(workspace: Path, photo_id: str, *, access: Access = ACCESS) -> None:
    """Erase a kept photo and all that was copied from it.

    Args:
        workspace: The workspace.
        photo_id: The id that `everface status` shows.
    """
    with access.open(workspace, readonly=False) as engine:
        done = engine.forget(photo_id)
    still = "".join(f"\nstill derived from it: {model}" for model in done.still_derived)
    access.emit(done, f"Erased {', '.join(done.removed)} of {done.id}{still}")


def report(workspace: Path, *, out: Path = Path("report.html"), access: Access = ACCESS) -> None:
    """Write one self-contained HTML page: timeline, memories, reconstructions, samples, forgetting.

    Args:
        workspace: The workspace.
        out: The file to write.
    """
    with access.open(workspace) as engine:
        path = engine.report(out)
    access.emit({"report": path}, f"Wrote {path}")


def check(workspace: Path, *, access: Access = ACCESS) -> int:
    """Verify every byte of a workspace; exits with 1 where something is damaged."""
    from everface.engine.replay.check import check_workspace

    key = None if access.passphrase_file is None else access.key_of(workspace)
    with shown_progress() as listen:
        try:
            done = check_workspace(workspace, key=key, on_progress=listen)
        except KeyMismatchError:
            if key is not None:
                raise
            done = check_workspace(workspace, key=access.key_of(workspace), on_progress=listen)
    verdict = "whole" if done.ok else "DAMAGED"
    lines = [
        f"{workspace}: {verdict}; {done.blocks} blocks, {done.memories} photos, {done.models} model files verified"
    ]
    access.emit(done, "\n".join([*lines, *done.problems, *done.notices]))
    return 0 if done.ok else 1
