"""The engine's front door: one object that opens a workspace and does what the command line does."""

from everface.engine.session.engine import Engine
from everface.engine.session.portrait import EnhanceOptions, Portrait
from everface.engine.session.values import MemoryStatus, Status, UpdateReport

__all__ = ["Engine", "EnhanceOptions", "MemoryStatus", "Portrait", "Status", "UpdateReport"]
