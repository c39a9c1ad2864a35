"""Fails where tests run less than four fifths of a module's lines: ``python tools/coverage_floor.py coverage.json``.

Lines that no CPU test can reach (a GPU, an optional peer) are marked ``# pragma: no cover`` with the reason.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

FLOOR = 80.0
ROOMS = ("engine/", "export/", "src/everface/")
# Reached where an optional package is installed, as .ci/run does where it can.
OPTIONAL = {"export/tensorrt.py": "tensorrt_rtx_bindings"}


def main() -> None:
    measured = json.loads(Path(sys.argv[1]).read_text())["files"]
    shares = {name: entry["summary"]["percent_covered"] for name, entry in measured.items()}
    absent = {name for name, package in OPTIONAL.items() if find_spec(package) is None}
    checked = {name: share for name, share in shares.items() if name.startswith(ROOMS) and name not in absent}
    if not checked:
        sys.exit(f"no module of {', '.join(ROOMS)} was measured")
    low = {name: share for name, share in checked.items() if share < FLOOR}
    for name, share in sorted(low.items(), key=lambda entry: entry[1]):
        print(f"{share:5.1f} %  {name}")
    print(f"{len(checked)} modules, {len(low)} below {FLOOR:.0f} % of their lines")
    sys.exit(bool(low))


if __name__ == "__main__":
    main()
