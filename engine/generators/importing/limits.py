"""What reading a file may cost, and the error for a file that is not what it should be."""

from __future__ import annotations

from everface.engine.errors import CheckpointError

MAX_FILE_BYTES = 8 * 1024**3
# The largest published checkpoint (EG3D with its discriminator) takes some 50,000 steps.
MAX_STEPS = 500_000
MAX_MARKS = 1000
MAX_TEXT_BYTES = 1 << 20  # of one string; the longest in published files is a module's source, 50 KB
MAX_LINE = 512  # of a name written as a line of text
MAX_DEPTH = 24  # of modules within modules, and of settings within settings


class Budget:
    """Steps left, shared by a pickle and all pickles inside it: bounds time, and with it memory."""

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Takes some steps away.

        Raises:
            CheckpointError: none are left.
        """
        self.left -= steps
        if self.left < 0:
            raise refuse("a pickle of a generator", f"one of more than {MAX_STEPS} steps")


def refuse(expected: str, found: str, remedy: str = "") -> CheckpointError:
    """The error for a file that is damaged, or made to do harm, or of a kind that is not known."""
    remedy = remedy or "the file is damaged or not a checkpoint that everface knows; nothing in it was run"
    return CheckpointError("checkpoint", expected=expected, found=found, remedy=remedy)
