"""What the commands share: flags, and the way into a workspace."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import BoundArguments
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from everface.console import emit
from everface.engine.errors import KeyMismatchError, UsageError

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object.")]
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


@Parameter(name="*")
@dataclass(frozen=True)
class Access:
    """The way into a workspace, and how its answer is shown.

    Attributes:
        passphrase_file: File that holds the passphrase of an encrypted workspace.
        json: Print one JSON object.
    """

    passphrase_file: Path | None = None
    json: Json = False

    def open(self, workspace: Path, *, readonly: bool = True) -> Any:
        """The engine of a workspace; asks for a passphrase where one is needed and none is given."""
        from everface.engine.session import Engine

        if self.passphrase_file is None:
            try:
                return Engine.open(workspace, readonly=readonly)
            except KeyMismatchError:
                pass
        return Engine.open(workspace, key=self.key_of(workspace), readonly=readonly)

    def key_of(self, workspace: Path) -> Any:
        """The key of an encrypted workspace, from the file, the keyring or a prompt."""
        from everface.keys import existing_key

        return existing_key(workspace, self.passphrase_file)

    def emit(self, value: Any, text: str) -> None:
        """Prints a result, as JSON or as text."""
        emit(value, self.json, text)


ACCESS = Access()
