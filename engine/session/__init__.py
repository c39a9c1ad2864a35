"""The engine's front door: one object that opens a workspace and does what the command line does."""

from everface.engine.session.engine import Engine
from everface.engine.session.person import Person
from everface.engine.session.values import (
    AcceptedPhoto,
    EnhanceOptions,
    MemoryStatus,
    Portrait,
    Status,
    UpdateFailedError,
    UpdateReport,
    Views,
)

__all__ = [
    "AcceptedPhoto", "Engine", "EnhanceOptions", "MemoryStatus", "Person", "Portrait", "Status", "UpdateFailedError",
    "UpdateReport", "Views",
]  # fmt: skip
