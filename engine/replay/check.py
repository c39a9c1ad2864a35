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
from everface.engine.replay.memory_file import PLAIN, SEALED, MemoryFile, Replaced
from everface.engine.replay.models import ModelShelf
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
    counts = {"blocks": 0, "memories": 0, "models": 0}
    shelf, model = ModelShelf(folder), ""

    def verify(kind: str, work: Callable[[], object]) -> None:
        try:
            work()
            counts[kind] += 1
        except EverfaceError as error:
            problems.append(str(error))

    def verify_body(content: Content, body: BodyReader) -> None:
        if body.size:
            reporter = ProgressReporter("check", block_count(body.size), on_progress)
            for index in range(block_count(body.size)):
                verify("blocks", lambda index=index: body.block(index))  # type: ignore[misc]
                reporter.advance()
        for row in range(len(content.rows)):
            kind, side = content.rows[["codec", "resolution"]][row].tolist()
            start, stop = (int(one) for one in content.image_offsets[row : row + 2])
            verify("memories", lambda: decode(body.read(start, stop), kind, side))  # noqa: B023

    if not folder.is_dir():
        raise WorkspaceError(str(path), expected="a workspace", found="none", remedy="run `everface init`")
    size, file = 0, None
    try:
        file = MemoryFile.find(folder, key)
        shelf = ModelShelf(folder, file.seal)
        snapshot = file.load()
        size, model = file.size(snapshot.content), snapshot.content.ledger.model
        if size > snapshot.content.ledger.budget_bytes:
            problems.append(f"{file.path.name}: {size} bytes, above its budget {snapshot.content.ledger.budget_bytes}")
        with file.body(snapshot) as body:
            verify_body(snapshot.content, body)
        if file.identity() != snapshot.identity:
            raise Replaced
    except Replaced:
        return check_workspace(path, key=key, on_progress=on_progress)
    except WorkspaceError as error:
        if isinstance(error, KeyMismatchError) or (file is None and not isinstance(error, IntegrityError)):
            raise
        problems.append(str(error))
    for name in sorted({*shelf.names(), *([model] if model else [])}):
        verify("models", lambda name=name: shelf.get(name))  # type: ignore[misc]
    return CheckReport(not problems, tuple(dict.fromkeys(problems)), _strays(folder, shelf), file_bytes=size, **counts)


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
