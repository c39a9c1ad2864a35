"""The command line: every command is a few lines over the engine, the export or a benchmark.

Exit codes: 0 done, 1 the operation failed, 2 wrong usage. An error is one line on standard error that says what was
wrong and what to do.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Sequence

import cyclopts

from everface import __version__
from everface.engine.errors import EverfaceError
from everface.engine.optional import optional_packages

app = cyclopts.App(
    name="everface",
    help="Keeps a personal face generator up to date on your own device, within a fixed number of bytes.",
    version=__version__,
    help_format="plaintext",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits."""
    _give_memory_back()
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def _give_memory_back() -> None:
    """glibc keeps freed blocks of up to 32 MiB, a model's arrays, to itself: a tenth of what an update takes."""
    mmap_threshold = -3
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(mmap_threshold, 256 * 1024)


def run(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit code."""
    from everface import commands
    from everface.commands.common import parse

    commands.register(app)
    try:
        command, bound = parse(app, arguments)
        with optional_packages(arguments[0] if arguments else "everface"):
            result = command(*bound.args, **bound.kwargs)
        return result if isinstance(result, int) else 0
    except EverfaceError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted: nothing that was committed is lost; run the command again to go on")
        return 130
    except BrokenPipeError:
        # The reader went away: not our failure, and nothing can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        _complain("out of memory: use smaller batches of photos, or close other programs")
        return 1
    except OSError as error:
        _complain(f"{error.filename or 'system'}: {error.strerror or error}; check the path, its rights and the disk")
        return 1


def _complain(text: str) -> None:
    sys.stderr.write(f"everface: {' '.join(text.split())}\n")
