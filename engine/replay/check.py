"""``everface check``: is every byte of a workspace one that was written?"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from everface.engine.errors import EverfaceError, IntegrityError, KeyMismatchError, WorkspaceError
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.body import BLOCK_BYTES, block_count
from everface.engine.replay.content import Content
from everface.engine.replay.memory_file import PLAIN, SEALED, MemoryFile, file_bytes
from everface.engine.replay.models import ModelShelf
from everface.engine.vault import UNSEALED, Key

__all__ = ["CheckReport", "check_workspace"]

T = TypeVar("T")
_KNOWN = (PLAIN, SEALED, "lock", "lock.soft", "writer.json", "models", "resume.part")


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        ok: nothing is damaged.
        problems: what is damaged, one line each.
        notices: what is harmless but worth knowing, such as what a killed update left.
        blocks: blocks of the memory file that were verified.
        memories: images that were verified and decoded.
        models: model files that were verified.
        file_bytes: size of the memory file.
    """

    ok: bool
    problems: tuple[str, ...]
    notices: tuple[str, ...]
    blocks: int
    memories: int
    models: int
    file_bytes: int


def check_workspace(
    path: str | os.PathLike[str], *, key: Key | None = None, on_progress: OnProgress = ignore_progress
) -> CheckReport:
    """Verifies header, columns and every block of the memory file, every image, and every model file.

    Raises:
        WorkspaceError: there is no workspace.
        KeyMismatchError: it is encrypted and the key is missing or wrong.
    """
    folder, file, content, problems = Path(path), None, None, list[str]()
    blocks, images = list[str](), list[str]()
    try:
        file = MemoryFile.find(folder, key)
        for _ in range(2):  # what is read of a file while it is replaced is no damage, so problems are looked at again
            content = file.read(lambda content: content)
            blocks, images = _verified(content, on_progress)
            if not any((*blocks, *images)):
                break
    except WorkspaceError as error:
        if isinstance(error, KeyMismatchError) or (file is None and not isinstance(error, IntegrityError)):
            raise
        problems.append(str(error))
    shelf, names, size = ModelShelf(folder, file.seal if file else UNSEALED), set[str](), 0
    if content:
        names, size, budget = {content.ledger.model} - {""}, file_bytes(content), content.ledger.budget_bytes
        problems += [f"memory file: {size} bytes, above its budget of {budget}"] if size > budget else []
    models = [_problem(shelf.get, name) for name in sorted({*shelf.names(), *names})]
    problems = [one for one in dict.fromkeys((*problems, *blocks, *images, *models)) if one]
    whole = blocks.count(""), images.count(""), models.count("")
    return CheckReport(not problems, tuple(problems), _strays(folder, shelf), *whole, size)


def _verified(content: Content, on_progress: OnProgress) -> tuple[list[str], list[str]]:
    """A problem or none of each block of the body, and of each image."""
    size, blocks = content.body.size, list[str]()
    reporter = ProgressReporter("check", block_count(size), on_progress)
    for start in range(0, size, BLOCK_BYTES):
        blocks.append(_problem(lambda start: list(content.body.read([(start, min(start + BLOCK_BYTES, size))])), start))
        reporter.advance()
    return blocks, [_problem(content.pictures, [id]) for id in content.ids]


def _problem(work: Callable[[T], object], argument: T) -> str:
    """What is wrong with what work reads; empty where nothing is."""
    try:
        work(argument)
    except EverfaceError as error:
        return str(error)
    return ""


def _strays(folder: Path, shelf: ModelShelf) -> tuple[str, ...]:
    notices, interrupted = [], "left by an interrupted update; the next one"
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".memory."):
            notices.append(f"{file.name}: {interrupted} overwrites and deletes it")
        elif file.name not in _KNOWN:
            notices.append(f"{file.name}: not part of a workspace")
    return (*notices, *(f"models/{name}: {interrupted} deletes it" for name in shelf.strays(shelf.names())))
