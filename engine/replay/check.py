"""``everface check``: is every byte of a workspace one that was written?"""

from __future__ import annotations

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
    folder, found = Path(path), _Findings(on_progress)
    file, content = None, None
    try:
        file = MemoryFile.find(folder, key)
        for _ in range(2):  # what is read of a file while it is replaced is no damage, so problems are looked at again
            content = file.read(found.verify)
            if not found.problems:
                break
    except WorkspaceError as error:
        if isinstance(error, KeyMismatchError) or (file is None and not isinstance(error, IntegrityError)):
            raise
        found.problems.append(str(error))
    shelf, size = ModelShelf(folder, file.seal if file else None), file.size(content) if file and content else 0
    ledger = content.ledger if content else None
    if ledger and size > ledger.budget_bytes:
        found.problems.append(f"memory file: {size} bytes, above its budget of {ledger.budget_bytes}")
    names = {*shelf.names(), *([ledger.model] if ledger and ledger.model else [])}
    models = sum(found.whole(shelf.get, name) for name in sorted(names))
    problems = tuple(dict.fromkeys(found.problems))
    return CheckReport(not problems, problems, _strays(folder, shelf), found.blocks, found.memories, models, size)


class _Findings:
    """What is damaged in a memory file, and how much is whole."""

    def __init__(self, on_progress: OnProgress) -> None:
        self.on_progress, self.problems, self.blocks, self.memories = on_progress, list[str](), 0, 0

    def whole(self, work: Callable[..., object], *arguments: object) -> bool:
        """Whether work has no problem; otherwise it is noted."""
        try:
            work(*arguments)
        except EverfaceError as error:
            self.problems.append(str(error))
            return False
        return True

    def verify(self, content: Content, body: BodyReader) -> Content:
        """Reads all of a memory file, and decodes its images."""

        def decoded(row: int) -> None:
            decode(image_of(content, body, row), int(content.rows["codec"][row]), int(content.rows["resolution"][row]))

        self.problems, self.blocks = [], 0
        reporter = ProgressReporter("check", block_count(body.size), self.on_progress)
        for index in range(block_count(body.size)):
            self.blocks += self.whole(body.block, index)
            reporter.advance()
        self.memories = sum(self.whole(decoded, row) for row in range(len(content.rows)))
        return content


def _strays(folder: Path, shelf: ModelShelf) -> tuple[str, ...]:
    notices, interrupted = [], "left by an interrupted update; the next one"
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".memory."):
            notices.append(f"{file.name}: {interrupted} overwrites and deletes it")
        elif file.name not in _KNOWN:
            notices.append(f"{file.name}: not part of a workspace")
    return (*notices, *(f"models/{name}: {interrupted} deletes it" for name in shelf.strays(shelf.names())))
