"""Names the definitions of the product that nothing of the product uses: not its tests, nor its own `__all__`.

Vulture finds them; the public API, which the pages under docs/api show, is used by whoever reads them. Fields are left
out: templates and JSON read those of data classes, other libraries those that are set on their objects. What other
libraries call is named in pyproject.toml under [tool.vulture].
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from vulture import Vulture
from vulture.config import make_config

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    "src/everface/*.py",
    "src/everface/commands/*.py",
    *(f"{room}/**/*.py" for room in ("engine", "export", "bench")),
)


def main() -> None:
    settings = make_config(["x"])
    vulture = Vulture(ignore_names=settings["ignore_names"], ignore_decorators=settings["ignore_decorators"])
    public = documented_modules()
    paths = sorted({path for pattern in ROOMS for path in ROOT.glob(pattern)} | {*(ROOT / "tools").glob("*.py")})
    for path in paths:
        module = "everface." + ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text()
        vulture.scan(text if module in public else without_all(text), path.relative_to(ROOT))
    unused = [item for item in vulture.get_unused_code() if item.typ not in ("variable", "attribute")]
    print("\n".join(item.get_report() for item in unused) or f"{len(paths)} files, nothing unused")
    sys.exit(bool(unused))


def documented_modules() -> set[str]:
    """The modules that the pages under docs/api name."""
    pages = sorted((ROOT / "docs" / "api").glob("*.md"))
    return {name for page in pages for name in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE)}


def without_all(text: str) -> str:
    """The file with its ``__all__`` blanked, so that no name is used by being listed."""
    lines = text.split("\n")
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or 0) - node.lineno + 1)
    return "\n".join(lines)


if __name__ == "__main__":
    main()
