"""The commands of the command line, each a thin call into the engine, the export or a benchmark."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from everface.console import emit, say, shown_progress
from everface.engine.config import EngineConfig, parse_bytes
from everface.engine.errors import KeyMismatchError, UsageError, WorkspaceError

__all__ = ["register"]

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object.")]
Passphrase = Annotated[Path | None, Parameter(help="File that holds the passphrase of an encrypted workspace.")]
Flag = Parameter(negative="")
BENCHMARKS = ("hull", "ops", "latency", "store", "export", "replay", "render", "album", "checkpoints")


def register(app: cyclopts.App) -> None:
    """Adds all commands to the app; adding them again is harmless."""
    if "init" in app:
        return
    for command in (
        demo, init, update, generate, compact, budget, status, forget, report, export, check, bench, doctor,
    ):  # fmt: skip
        app.command(command)
    app.command(import_, name="import")  # a reserved word


def _open(workspace: Path, passphrase_file: Path | None, *, readonly: bool = False) -> Any:
    from everface.engine.session import Engine

    if passphrase_file is None:
        try:
            return Engine.open(workspace, readonly=readonly)
        except KeyMismatchError:
            pass
    return Engine.open(workspace, key=_key(workspace, passphrase_file), readonly=readonly)


def _key(workspace: Path, passphrase_file: Path | None) -> Any:
    from everface.keys import existing_key

    return existing_key(workspace, passphrase_file)


def demo(*, out: Path = Path("demo-out"), json: Json = False) -> None:
    """Learn an embedded album of a synthetic person, with and without memory, and write a report and an ONNX file.

    Args:
        out: Folder for the report, the pictures and the ONNX file.
        json: As above.
    """
    from everface.bench.demo import run_demo

    with shown_progress() as listen:
        result = run_demo(out, listen)
    lower, hull = result.forgetting["lower"], result.forgetting["er-hull"]
    emit(
        result,
        json,
        f"Forgetting on held-out photos (lower is better): naive fine-tuning {lower:.3f}, er-hull {hull:.3f}\n"
        f"Identity of new pictures (higher is better): base {result.identity['base']:.3f}, "
        f"personal {result.identity['personal']:.3f}\n"
        f"Took {result.seconds:.0f} s. Open {result.report} in a browser; the model is {result.onnx}",
    )


def init(  # noqa: PLR0913 - one parameter a flag
    workspace: Path,
    *,
    base: str = "base64",
    budget: str = "1MiB",
    policy: str = "er-hull",
    dimension: str = "2d",
    seed: int = 0,
    encrypt: Annotated[bool, Flag] = False,
    passphrase_file: Passphrase = None,
    json: Json = False,
) -> None:
    """Make a workspace, such as me.everface.

    Args:
        workspace: The folder to make.
        base: Name of an embedded base generator, or a .safetensors file.
        budget: The most that the store of memories may take on disk.
        policy: How memories are chosen.
        dimension: 2d (StyleGAN2) or 3d (EG3D).
        seed: Of every random choice.
        encrypt: Protect everything with a passphrase.
        passphrase_file: File that holds the passphrase.
        json: As above.
    """
    if passphrase_file is not None and not encrypt:
        raise UsageError(
            "--passphrase-file", expected="--encrypt beside it", found="no --encrypt", remedy="add --encrypt"
        )
    config = EngineConfig(base, parse_bytes(budget), policy, dimension, seed)
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
    with _open(workspace, passphrase_file) as engine, shown_progress() as listen:
        done = engine.update(photos, max_minutes=max_minutes, on_progress=listen)
    skipped = "".join(f"\nskipped {one.name} ({one.reason}): {one.detail}" for one in done.rejected)
    emit(
        done,
        json,
        f"Update {done.timestamp}: learned {done.accepted} photos in {done.seconds / 60:.1f} min "
        f"({done.steps} steps, stopped: {done.stopped}); "
        f"loss {done.loss_before:.3f} before, {done.loss_after:.3f} after; {done.kept} photos are kept{skipped}",
    )


def generate(
    workspace: Path,
    *,
    n: Annotated[int, Parameter(name=["-n", "--n"])] = 8,
    out: Path,
    seed: int = 0,
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
        grid: Write one picture of all, grid.png, instead.
        passphrase_file: As above.
        json: As above.
    """
    from everface.engine.pictures import save_grid, save_images

    if n < 1:
        raise UsageError("-n", expected="at least 1", found=str(n))
    with _open(workspace, passphrase_file, readonly=True) as engine:
        images = engine.generate(n, seed)
    paths = [save_grid(images, out)] if grid else save_images(images, out)
    emit({"images": paths}, json, f"Wrote {len(paths)} file{'s' if len(paths) > 1 else ''} to {out}")


def compact(workspace: Path, *, passphrase_file: Passphrase = None, json: Json = False) -> None:
    """Encode the memories more densely; takes a while, for idle time."""
    with _open(workspace, passphrase_file) as engine, shown_progress() as listen:
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
    with _open(workspace, passphrase_file) as engine:
        evicted = engine.set_budget(parse_bytes(size))
    gone = f"; {len(evicted)} memories made room" if evicted else ""
    emit({"budget_bytes": parse_bytes(size), "evicted": evicted}, json, f"The budget is {size} now{gone}")


def status(workspace: Path, *, passphrase_file: Passphrase = None, json: Json = False) -> None:
    """Show what a workspace holds."""
    with _open(workspace, passphrase_file, readonly=True) as engine:
        now = engine.status()
    lines = [
        f"{now.timestamps} updates, {len(now.memories)} photos kept by {now.policy}, base {now.base}",
        f"store {now.file_bytes} of {now.budget_bytes} bytes, room for {now.room_bytes} more, "
        f"{now.bytes_per_memory:.0f} bytes a photo",
        *(
            f"  {one.id}  update {one.timestamp}  {one.bytes} bytes  {one.codec} {one.resolution} px"
            for one in now.memories
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
    with _open(workspace, passphrase_file) as engine:
        done = engine.forget(photo_id)
    still = "".join(f"\nstill derived from it: {one}" for one in done.still_derived)
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
    with _open(workspace, passphrase_file, readonly=True) as engine:
        path = engine.report(out)
    emit({"report": path}, json, f"Wrote {path}")


def export(  # noqa: PLR0913 - one parameter a flag
    workspace: Path,
    *,
    to: str = "onnx",
    out: Path,
    precision: str = "fp32",
    resolution: int | None = None,
    size_limit: float | None = None,
    require_parity: Annotated[bool, Flag] = False,
    graphs: str = "",
    opset: int = 17,
    psi: float = 1.0,
    noise_inputs: Annotated[bool, Flag] = False,
    passphrase_file: Passphrase = None,
    bundle_passphrase_file: Annotated[Path | None, Parameter(help="File with a passphrase for the bundle.")] = None,
    json: Json = False,
) -> None:
    """Write the personal model for another runtime, proven equal to this one.

    Args:
        workspace: The workspace.
        to: The target: onnx, ort, tensorrt, tensorrt-rtx or bundle.
        out: A file to write (.onnx, .ort, .engine, .bundle), or a folder for several graphs.
        precision: fp32, fp16, bf16 or int8.
        resolution: Side of smaller pictures, such as 32.
        size_limit: The most that a file may take, in MB.
        require_parity: Fail where the target cannot run here to be compared.
        graphs: Which of personal, synthesis and mapping, with commas between.
        opset: Version of ONNX's operators, 17 or newer.
        psi: Truncation of the personal graph, 0 (the mean face) to 1 (none).
        noise_inputs: The synthesis graph takes noise images as optional inputs.
        passphrase_file: As above.
        bundle_passphrase_file: File with a passphrase that encrypts the bundle.
        json: As above.
    """
    from everface.export.recipe import ExportRecipe
    from everface.export.workspace import export_workspace

    key = None
    if bundle_passphrase_file is not None:
        from everface.keys import new_key

        key = new_key(out, bundle_passphrase_file)
    recipe = ExportRecipe(
        to, precision, opset, tuple(one for one in graphs.split(",") if one), psi, resolution=resolution,
        size_limit=size_limit, require_parity=require_parity, noise_inputs=noise_inputs, key=key,
    )  # fmt: skip
    with _open(workspace, passphrase_file, readonly=True) as engine:
        done = export_workspace(engine, to, out, recipe)
    emit(done, json, done.summary())


def import_(file: Path, *, out: Path, mapping: Path | None = None, json: Json = False) -> None:
    """Convert a generator's checkpoint to safetensors, for init --base; nothing in it is run.

    Args:
        file: NVIDIA's .pkl (StyleGAN2-ADA-PyTorch, StyleGAN3's stylegan2, EG3D), rosinality's .pt, MyStyle's
            mystyle_model.pt, or safetensors.
        out: The .safetensors file to write.
        mapping: The checkpoint that MyStyle's model was tuned from: its mapping network completes the file.
        json: As above.
    """
    from everface.engine.generators.importing import import_checkpoint

    done = import_checkpoint(file, out, mapping=mapping)
    notes = "".join(f"\nnote: {note}" for note in done.notes)
    size = done.settings.get("resolution")
    pixels = f", {size} px" if size else ""
    emit(done, json, f"Wrote {done.out}: {done.architecture}{pixels}, {done.tensors} tensors from {done.format}{notes}")


def check(workspace: Path, *, passphrase_file: Passphrase = None, json: Json = False) -> int:
    """Verify every byte of a workspace; exits with 1 where something is damaged."""
    from everface.engine.replay.check import check_workspace

    key = None if passphrase_file is None else _key(workspace, passphrase_file)
    with shown_progress() as listen:
        try:
            done = check_workspace(workspace, key=key, on_progress=listen)
        except KeyMismatchError:
            if key is not None:
                raise
            done = check_workspace(workspace, key=_key(workspace, None), on_progress=listen)
    verdict = "whole" if done.ok else "DAMAGED"
    lines = [
        f"{workspace}: {verdict}; {done.records} records, {done.memories} photos, {done.models} model files verified"
    ]
    emit(done, json, "\n".join([*lines, *done.problems, *done.notices]))
    return 0 if done.ok else 1


def bench(
    name: str,
    *,
    full: Annotated[bool, Flag] = False,
    json: Annotated[Path | None, Parameter(name="--json", help="File for the rows.")] = None,
) -> None:
    """Run a benchmark: hull, ops, latency, store, export, replay, render, album or checkpoints.

    Args:
        name: Which one.
        full: The long run, instead of the one that ends within five minutes.
        json: File for the rows.
    """
    try:
        module = importlib.import_module(f"everface.bench.{name}") if name in BENCHMARKS else None
    except ModuleNotFoundError as error:
        if error.name != f"everface.bench.{name}":
            raise WorkspaceError(
                f"bench {name}",
                expected=f"the package {error.name}",
                found="none",
                remedy="pip install 'everface[bench]'",
            ) from error
        module = None
    if module is None:
        there = ", ".join(one for one in BENCHMARKS if importlib.util.find_spec(f"everface.bench.{one}"))
        raise UsageError("NAME", expected=f"one of {there}", found=repr(name), remedy="choose one of these")
    from everface.bench.common import write_json

    with shown_progress() as listen:
        result = module.run(full, listen)
    for row in result.rows:
        beside = "" if row.peer is None else f"  {row.peer} {_short(row.peer_value)}  ratio {_short(row.ratio)}"
        say(f"{row.case:40} {row.metric:16} {_short(row.value)} {row.unit}{beside}")
    if result.missing:
        say(f"not installed: {', '.join(result.missing)}; pip install 'everface[bench]' brings what is on PyPI")
    if json is not None:
        write_json(result, json)


def _short(value: float | None) -> str:
    return "missing" if value is None else f"{value:.4g}"


def doctor(*, json: Json = False) -> None:
    """Show which backends and models work here, and why one does not."""
    from everface.doctor import diagnose

    found = diagnose()
    lines = [f"base {found.base['name']}, {found.base['resolution']} px"]
    lines += [f"{'ok ' if one['available'] else 'no '} {name}: {one['why']}" for name, one in found.backends.items()]
    emit(found, json, "\n".join(lines))
