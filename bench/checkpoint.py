"""What a benchmark of hours has measured so far, so that it goes on where it was cut off."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from everface.bench.common import Row


class Checkpoint:
    """Measurements by key in a file of JSON lines.

    Args:
        path: the file, made at the first measurement; None keeps nothing.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._found: dict[str, Any] = {}
        for line in path.read_text(encoding="utf-8").split("\n") if path and path.exists() else []:
            try:
                entry = json.loads(line)
                self._found[entry["key"]] = entry["value"]
            except (ValueError, KeyError, TypeError):
                continue  # the line that a killed run left half written, and empty ones

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def value(self, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What an earlier run measured under that key, or else what ``measure`` returns, which is kept."""
        if key not in self._found:
            self._found[key] = measure()
            if self._path:
                # The line begins with its end of line, so that it stands apart from one left half written.
                with self._path.open("a", encoding="utf-8") as file:
                    file.write("\n" + json.dumps({"key": key, "value": self._found[key]}))
        found: dict[str, Any] = self._found[key]
        return found

    def rows(self, key: str, measure: Callable[[], list[Row]]) -> list[Row]:
        """As ``value``, for rows."""
        kept = self.value(key, lambda: {"rows": [dataclasses.asdict(row) for row in measure()]})
        return [Row(**row) for row in kept["rows"]]
