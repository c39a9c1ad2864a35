"""A replaced memory file keeps a second name until its bytes are overwritten; a killed wipe is finished by the next.

What a file no longer names may still be on the disk: see docs/store.md for what solid-state disks and snapshots keep.
"""

from __future__ import annotations

import os
from pathlib import Path

from everface.engine.atomic import Disk, erase, part_of


def old_name(path: Path) -> Path:
    """The second name of a memory file that is being replaced."""
    return path.with_name(f".{path.name}.old")


def finish(path: Path, disk: Disk) -> None:
    """Brings to its end what a writer left: a file half written, a replaced one not yet overwritten.

    Raises:
        OSError: it cannot be written.
    """
    old, part = old_name(path), part_of(path)
    if part.exists():
        erase(part, disk)
    if not old.exists():
        return
    if not path.exists():  # killed between two renames, where there are no hard links
        disk.replace(old, path)
    elif os.path.samefile(old, path):  # killed before the new file took the name
        disk.unlink(old)
    else:
        # Only once the new name is durable: after a power loss the old file could be the one that has it.
        disk.sync_folder(path.parent)
        erase(old, disk)
