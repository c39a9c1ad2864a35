"""The commands of the command line, each a thin call into the engine, the export or a benchmark."""

from __future__ import annotations

import cyclopts

from everface.commands.models import export, import_, pretrain
from everface.commands.portrait import edit, enhance, reconstruct
from everface.commands.showcase import bench, demo, doctor
from everface.commands.view import view
from everface.commands.workspace import budget, check, compact, forget, generate, init, report, status, update

__all__ = ["register"]


def register(app: cyclopts.App) -> None:
    """Adds all commands to the app; adding them again is harmless."""
    if "init" in app:
        return
    for command in (
        demo, init, update, generate, reconstruct, enhance, edit, view, compact, budget, status, forget, report, export,
        pretrain, check, doctor,
    ):  # fmt: skip
        app.command(command)
    app.command(bench, help_flags=[])  # each benchmark has its own
    app.command(import_, name="import")  # a reserved word
