"""What the commands share: flags, and the way into a workspace."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from inspect import BoundArguments
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from everface.engine.errors import KeyMismatchError, UsageError

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object.")]
Passphrase = Annotated[Path | None, Parameter(help="File that holds the passphrase of an encrypted workspace.")]
Flag = Parameter(negative="")
# A range may begin with a hyphen, as in --yaw -30..30.
_NUMBER = r"([+-]?[0-9]{1,6}(?:\.[0-9]{1,6})?)"
_RANGE = re.compile(rf"{_NUMBER}(?:\.\.{_NUMBER})?")
Yaw = Annotated[str, Parameter(allow_leading_hyphen=True)]


def read_range(text: str) -> tuple[float, float]:
    """Reads ``"-30..30"``, or ``"15"`` for a range of one value.

    Raises:
        UsageError: neither.
    """
    ends = _RANGE.fullmatch(text.strip())
    if ends is None:
        remedy = "write it as -30..30"
        raise UsageError("--yaw", expected="LOW..HIGH in degrees", found=repr(text), remedy=remedy)
    return float(ends[1]), float(ends[1] if ends[2] is None else ends[2])


def parse(app: App, arguments: Sequence[str]) -> tuple[Callable[..., Any], BoundArguments]:
    """The function that the arguments call, and what with.

    Raises:
        UsageError: they do not fit.
    """
    try:
        command, bound, _ = app.parse_args(list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        text = " ".join(str(error).split())
        raise UsageError(f"{text} Run `everface --help`, or `everface COMMAND --help`") from error
    return command, bound


def open_engine(workspace: Path, passphrase_file: Path | None, *, readonly: bool = False) -> Any:
    """The engine of a workspace; asks for a passphrase where one is needed and none is given."""
    from everface.engine.session import Engine

    if passphrase_file is None:
        try:
            return Engine.open(workspace, readonly=readonly)
        except KeyMismatchError:
            pass
    return Engine.open(workspace, key=key_of(workspace, passphrase_file), readonly=readonly)


def key_of(workspace: Path, passphrase_file: Path | None) -> Any:
    """The key of an encrypted workspace, from the file or from a prompt."""

    from everface.keys import existing_key

    return existing_key(workspace, passphrase_file)
