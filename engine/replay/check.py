"""``everface check``: is every byte of a workspace one that was written?"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from everface.engine.errors import EverfaceError, IntegrityError, KeyMismatchError, WorkspaceError
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.blocks import BodyReader, block_count
from everface.engine.replay.codec import decode
from everface.engine.replay.content import Content
from everface.engine.replay.memory_file import PLAIN, SEALED, MemoryFile
from everface.engine.replay.models import ModelShelf
from everface.engine.replay.reader import image_of
from everface.engine.vault import Key

__all__ = ["CheckReport", "check_workspace"]

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
    folder, problems = Path(path), list[str]()
    if not folder.is_dir():
        raise WorkspaceError(str(path), expected="a workspace", found="none", remedy="run `everface init`")
    file, content, blocks, memories = None, None, 0, 0
    try:
        file = MemoryFile.find(folder, key)
        for _ in range(2):  # what is read of a file while it is replaced is no damage, so problems are looked at again
            problems.clear()
            content, blocks, memories = file.read(functools.partial(_verify, problems, on_progress))
            if not problems:
                break
    except WorkspaceError as error:
        if isinstance(error, KeyMismatchError) or (file is None and not isinstance(error, IntegrityError)):
            raise
        problems.append(str(error))
    shelf, size = ModelShelf(folder, file.seal if file else None), file.size(content) if file and content else 0
    if content is not None and size > content.ledger.budget_bytes:
        problems.append(f"memory file: {size} bytes, above its budget of {content.ledger.budget_bytes}")
    names = {*shelf.names(), *([content.ledger.model] if content is not None and content.ledger.model else [])}
    models = sum(_whole(problems, shelf.get, name) for name in sorted(names))
    lines = tuple(dict.fromkeys(problems))
    return CheckReport(not lines, lines, _strays(folder, shelf), blocks, memories, models, size)


def _whole(problems: list[str], work: Callable[..., object], *arguments: object) -> bool:
    """Whether work has no problem; otherwise it is noted."""
    try:
        work(*arguments)
    except EverfaceError as error:
        problems.append(str(error))
        return False
    return True


def _verify(
    problems: list[str], on_progress: OnProgress, content: Content, body: BodyReader
) -> tuple[Content, int, int]:
    """Reads all of a memory file; returns its content and how many blocks and images are whole."""
    count, blocks = block_count(body.size), 0
    reporter = ProgressReporter("check", count, on_progress)
    for index in range(count):
        blocks += _whole(problems, body.block, index)
        reporter.advance()
    return content, blocks, sum(_whole(problems, _decode, content, body, row) for row in range(len(content.rows)))


def _decode(content: Content, body: BodyReader, row: int) -> None:
    image = image_of(content, body, row)
    decode(image, int(content.rows["codec"][row]), int(content.rows["resolution"][row]))


def _strays(folder: Path, shelf: ModelShelf) -> tuple[str, ...]:
    notices = []
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".memory."):
            notices.append(f"{file.name}: left by an interrupted update; the next one overwrites and deletes it")
        elif file.name not in _KNOWN:
            notices.append(f"{file.name}: not part of a workspace")
    models = folder / "models"
    for file in sorted(models.iterdir()) if models.is_dir() else ():
        if file.stem not in shelf.names():
            notices.append(f"models/{file.name}: left by an interrupted update; the next one deletes it")
    return tuple(notices)
