"""everface: a personal face generator that stays up to date on the owner's own device.

The names below load on first use, so that ``import everface`` needs neither torch nor CUDA.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everface.engine.config import EngineConfig
    from everface.engine.errors import EverfaceError
    from everface.engine.session import Engine

__version__ = "0.1.0"
__all__ = ["Engine", "EngineConfig", "EverfaceError", "__version__"]

_HOMES = {
    "Engine": "everface.engine.session",
    "EngineConfig": "everface.engine.config",
    "EverfaceError": "everface.engine.errors",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'everface' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
