"""The command that turns a head of a 3D workspace."""

from __future__ import annotations

from pathlib import Path

from everface.commands.common import ACCESS, Access, Yaw, read_range
from everface.console import shown_progress


def view(
    workspace: Path,
    photo: Path,
    *,
    out: Path,
    yaw: Yaw = "-30..30",
    frames: int = 25,
    side: int = 96,
    access: Access = ACCESS,
) -> None:
    """Turn the head of a photo from one side to the other, or write its surface; of a 3D workspace.

    Args:
        workspace: The workspace, made with --dimension 3d.
        photo: A photo that shows the person.
        out: What to write: .webp or .gif for a turntable that moves, .png or .jpg for a strip, .ply for the surface.
        yaw: First and last turn of the head in degrees, such as -30..30, positive to the right of the picture.
        frames: How many views.
        side: For .ply, points of the grid across the head.
    """
    from everface.engine.pictures import save_turntable, turntable_file

    target = turntable_file(out)
    low, high = read_range(yaw)
    with access.open(workspace) as engine, shown_progress() as listen:
        if target.suffix.lower() == ".ply":
            from everface.engine.generators.eg3d.mesh import ply_bytes

            mesh = engine.mesh(photo, side=side, on_progress=listen)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(ply_bytes(mesh))
            shape = {"mesh": target, "vertices": len(mesh.vertices), "triangles": len(mesh.triangles)}
            access.emit(shape, f"Wrote {target}: {len(mesh.vertices)} vertices, {len(mesh.triangles)} triangles")
            return
        done = engine.view(photo, yaw=(low, high), frames=frames, on_progress=listen)
    path = save_turntable(done.images, target)
    likeness = done.portrait.likeness
    access.emit(
        {"image": path, "frames": len(done.images), "yaw": done.yaws, "likeness": likeness,
         "seconds_per_view": done.seconds_per_view},
        f"Wrote {path}: {len(done.images)} views; likeness to the person {likeness:.3f} from the photo's own side",
    )  # fmt: skip
