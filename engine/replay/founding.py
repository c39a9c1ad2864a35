"""How a workspace begins: as a whole or not at all."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from everface.engine.errors import BudgetError, UsageError, WorkspaceError
from everface.engine.replay.codec import CodecChoice
from everface.engine.replay.database import Database
from everface.engine.replay.ledger_share import ledger_reserve
from everface.engine.replay.models import sync_directory
from everface.engine.replay.records import ENVELOPE, LEDGER, Ledger, new_envelope, pack_ledger
from everface.engine.replay.space import Pages, page_size_for
from everface.engine.replay.writer import room_for_items
from everface.engine.vault import ScryptCost, Seal

__all__ = ["DATABASE", "found_workspace", "minimum_budget"]

DATABASE = "replay.db"
_LEAST_ROOM = 4096


def minimum_budget(config_json: str, page_size: int = page_size_for(0)) -> int:
    """Least budget in bytes that holds the fixed records and one or two small photos."""
    seal = new_envelope(None, ScryptCost())[1]
    ledger = Ledger(0, "0" * 64, config_json, 0, CodecChoice())
    size = len(pack_ledger(ledger, (), seal))
    pages = Pages(page_size)
    for budget in range(4096, 1 << 24, 1024):
        if room_for_items(pages, budget, size + ledger_reserve(budget, ledger), seal) >= _LEAST_ROOM:
            return budget
    raise UsageError("configuration", expected="a short JSON text", found=f"{len(config_json)} characters")


def found_workspace(path: Path, ledger: Ledger, envelope: bytes, seal: Seal) -> None:
    """Builds the folder under another name, syncs it, and renames it.

    Raises:
        WorkspaceError: the folder exists or cannot be made.
        BudgetError: the budget is below :func:`minimum_budget`.
    """
    least = minimum_budget(ledger.config_json)
    if ledger.budget_bytes < least:
        raise BudgetError(
            "budget", expected=f"at least {least} bytes", found=f"{ledger.budget_bytes}", remedy=f"use --budget {least}"
        )
    if path.exists():
        raise WorkspaceError(str(path), expected="a new folder", found="one that exists", remedy="choose another")
    building = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        (building / "models").mkdir()
        database = Database.create(building / DATABASE, page_size_for(ledger.budget_bytes))
        ledger = replace(ledger, sqlite_version=database.sqlite_version())
        with database.transaction():
            database.put(ENVELOPE, envelope)
            database.put(LEDGER, pack_ledger(ledger, (), seal))
        database.close()
        sync_directory(building)
        os.rename(building, path)
        sync_directory(path.parent)
    except OSError as error:
        raise WorkspaceError(str(path), expected="a folder to write in", found=str(error)) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
