"""Fails where tests run less than four fifths of a module's lines: ``python tools/coverage_floor.py coverage.json``.

Lines that no CPU test can reach (a GPU, an optional peer) are marked ``# pragma: no cover`` with the reason.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

FLOOR = 80.0
ROOMS = ("engine/", "export/", "src/everface/")
# Still short of the floor, with what each had less a margin for other processors and missing peers. A module leaves the
# list when it reaches the floor, and none joins it.
SHORT = {
    "export/tensorrt.py": 60.0,
}


def main() -> None:
    measured = json.loads(Path(sys.argv[1]).read_text())["files"]
    shares = {name: entry["summary"]["percent_covered"] for name, entry in measured.items()}
    checked = {name: share for name, share in shares.items() if name.startswith(ROOMS)}
    if not checked:
        sys.exit(f"no module of {', '.join(ROOMS)} was measured")
    low = {name: share for name, share in checked.items() if share < SHORT.get(name, FLOOR)}
    for name, share in sorted(low.items(), key=lambda entry: entry[1]):
        print(f"{share:5.1f} %  {name}")
    print(f"{len(checked)} modules, {len(low)} below their floor, {FLOOR:.0f} % of lines but for {len(SHORT)} modules")
    sys.exit(bool(low))


if __name__ == "__main__":
    main()
