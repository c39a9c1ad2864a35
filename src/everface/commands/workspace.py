"""Commands on a workspace: make it, teach it, look at it, keep it in order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from everface.commands.common import Flag, Json, Passphrase, Yaw, key_of, open_engine, read_range
from everface.console import emit, shown_progress
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
    passphrase_file: Passphrase = None,
    json: Json = False,
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
        passphrase_file: File that holds the passphrase.
        json: As above.
    """
    if passphrase_file is not None and not encrypt:
        raise UsageError(
            "--passphrase-file", expected="--encrypt beside it", found="no --encrypt", remedy="add --encrypt"
        )
    tuning = TuneConfig(lora_rank=lora_rank)
    config = EngineConfig(base, parse_bytes(budget), policy, dimension, seed, tune=tuning)
    key = None
    if encrypt:
        from everface.keys import new_key

        key = new_key(workspace, passphrase_file)
    from everface.engine.session import Engine

    with Engine.create(workspace, config, key=key) as engine:
        emit(engine.status(), json, f"Made {workspace}. Next: everface update {workspace} PHOTOS")


def update(
    workspace: Path,
    *photos: Path,
    max_minutes: float | None = None,
    passphrase_file: Passphrase = None,
    json: Json = False,
) -> None:
    """Learn one batch of photos; one batch is one timestamp.

    Args:
        workspace: The workspace.
        photos: Photos, or folders of photos.
        max_minutes: End, with a commit, after about this long.
        passphrase_file: As above.
        json: As above.
    """
    if not photos:
        raise UsageError("PHOTO", expected="at least one photo or folder", found="none", remedy="name some")
    from everface.engine.session import UpdateFailedError

    try:
        with open_engine(workspace, passphrase_file) as engine, shown_progress() as listen:
            done = engine.update(photos, max_minutes=max_minutes, on_progress=listen)
    except UpdateFailedError as error:
        if json:
            emit(error.report(), json, "")
        raise
    skipped = "".join(f"\nskipped {photo.name} ({photo.reason}): {photo.detail}" for photo in done.rejected)
    emit(
        done,
        json,
        f"Update {done.timestamp}: learned {len(done.accepted)} photos in {done.seconds / 60:.1f} min "
        f"({done.steps} steps, stopped: {done.stopped}); "
        f"loss {done.before:.3f} before, {done.after:.3f} after; {done.kept} photos are kept{skipped}",
    )


def generate(  # noqa: PLR0913 - one parameter a flag
    workspace: Path,
    *,
    n: Annotated[int, Parameter(name=["-n", "--n"])] = 8,
    out: Path,
    seed: int = 0,
    yaw: Yaw | None = None,
    grid: Annotated[bool, Flag] = False,
    passphrase_file: Passphrase = None,
    json: Json = False,
) -> None:
    """Make new pictures of the person.

    Args:
        workspace: The workspace.
        n: How many.
        out: Folder for the PNG files.
        seed: Of the random choice; the same seed gives the same pictures.
        yaw: In 3D, degrees to turn the heads by, such as -20..20; each gets a random one.
        grid: Write one picture of all, grid.png, instead.
        passphrase_file: As above.
        json: As above.
    """
    from everface.engine.pictures import save_grid, save_images

    if n < 1:
        raise UsageError("-n", expected="at least 1", found=str(n))
    with open_engine(workspace, passphrase_file, readonly=True) as engine:
        images = engine.generate(n, seed, yaw=None if yaw is None else read_range(yaw))
    paths = [save_grid(images, out)] if grid else save_images(images, out)
    emit({"images": paths}, json, f"Wrote {len(paths)} file{'s' if len(paths) > 1 else ''} to {out}")


def compact(workspace: Path, *, passphrase_file: Passphrase = None, json: Json = False) -> None:
    """Encode the memories more densely; takes a while, for idle time."""
    with open_engine(workspace, passphrase_file) as engine, shown_progress() as listen:
        done = engine.compact(on_progress=listen)
    saved = done.bytes_before - done.bytes_after
    emit(done, json, f"Encoded {done.transcoded} of {done.examined} photos anew; {saved} bytes are free again")


def budget(workspace: Path, size: str, *, passphrase_file: Passphrase = None, json: Json = False) -> None:
    """Raise or lower the number of bytes that the memories may take; the policy chooses what has to go.

    Args:
        workspace: The workspace.
        size: The new budget, such as 256KiB.
        passphrase_file: As above.
        json: As above.
    """
    with open_engine(workspace, passphrase_file) as engine:
        evicted = engine.set_budget(parse_bytes(size))
    gone = f"; {len(evicted)} memories made room" if evicted else ""
    emit({"budget_bytes": parse_bytes(size), "evicted": evicted}, json, f"The budget is {size} now{gone}")


def status(workspace: Path, *, passphrase_file: Passphrase = None, json: Json = False) -> None:
    """Show what a workspace holds."""
    with open_engine(workspace, passphrase_file, readonly=True) as engine:
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
    emit(now, json, "\n".join(lines))


def forget(workspace: Path, photo_id: str, *, passphrase_file: Passphrase = None, json: Json = False) -> None:
    """Erase a kept photo and all that was copied from it.

    Args:
        workspace: The workspace.
        photo_id: The id that `everface status` shows.
        passphrase_file: As above.
        json: As above.
    """
    with open_engine(workspace, passphrase_file) as engine:
        done = engine.forget(photo_id)
    still = "".join(f"\nstill derived from it: {model}" for model in done.still_derived)
    emit(done, json, f"Erased {', '.join(done.removed)} of {done.id}{still}")


def report(
    workspace: Path, *, out: Path = Path("report.html"), passphrase_file: Passphrase = None, json: Json = False
) -> None:
    """Write one self-contained HTML page: timeline, memories, reconstructions, samples, forgetting.

    Args:
        workspace: The workspace.
        out: The file to write.
        passphrase_file: As above.
        json: As above.
    """
    with open_engine(workspace, passphrase_file, readonly=True) as engine:
        path = engine.report(out)
    emit({"report": path}, json, f"Wrote {path}")


def check(workspace: Path, *, passphrase_file: Passphrase = None, json: Json = False) -> int:
    """Verify every byte of a workspace; exits with 1 where something is damaged."""
    from everface.engine.replay.check import check_workspace

    key = None if passphrase_file is None else key_of(workspace, passphrase_file)
    with shown_progress() as listen:
        try:
            done = check_workspace(workspace, key=key, on_progress=listen)
        except KeyMismatchError:
            if key is not None:
                raise
            done = check_workspace(workspace, key=key_of(workspace, None), on_progress=listen)
    verdict = "whole" if done.ok else "DAMAGED"
    lines = [
        f"{workspace}: {verdict}; {done.blocks} blocks, {done.memories} photos, {done.models} model files verified"
    ]
    emit(done, json, "\n".join([*lines, *done.problems, *done.notices]))
    return 0 if done.ok else 1
