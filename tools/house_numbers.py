"""Counts of the house: lines by folder, modules, long functions, import contracts, unused definitions, cloc.

Usage: python tools/house_numbers.py [CHECKOUT] [--json FILE]
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

LONG_FUNCTION = 40
MANY_ARGUMENTS = 6
LONG_FILE = 300
PYTHON_ROOMS = ("src", "engine", "export", "bench", "tools", "tests")
PRODUCT = ("src", "engine", "export", "bench")
BLANK_TABLES = {"JSON", "Markdown", "CSS", "SVG", "HTML", "Text", "CSV"}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("checkout", nargs="?", default=".", type=Path)
    arguments.add_argument("--json", type=Path)
    options = arguments.parse_args()
    counts = house(options.checkout.resolve())
    print("\n".join(f"{name:<44} {value}" for name, value in counts.items()))
    if options.json:
        options.json.write_text(json.dumps(counts, indent=1) + "\n")


def house(root: Path) -> dict[str, int | str]:
    """Every count of the checkout at ``root``, by its name."""
    files = tracked(root)
    counts: dict[str, int | str] = {}
    for folder, lines in lines_by_folder(root, files).items():
        counts[f"lines in {folder}"] = lines
    python = [path for path in files if path.suffix == ".py" and path.parts[0] in PYTHON_ROOMS]
    product = [path for path in python if path.parts[0] in PRODUCT]
    counts["modules (src, engine, export, bench)"] = sum(path.name != "__init__.py" for path in product)
    counts["test files"] = sum(path.name.startswith("test_") for path in python)
    counts[f"product files over {LONG_FILE} lines"] = sum(length(root / path) > LONG_FILE for path in product)
    functions = [entry for path in product for entry in functions_of(root / path)]
    counts["functions"] = len(functions)
    counts[f"functions over {LONG_FUNCTION} lines"] = sum(lines > LONG_FUNCTION for _, lines, _ in functions)
    counts[f"functions with over {MANY_ARGUMENTS} arguments"] = sum(many > MANY_ARGUMENTS for _, _, many in functions)
    counts |= contracts(root) | unused(root) | duplicates(root) | code_lines(root, files)
    return counts


def tracked(root: Path) -> list[Path]:
    """The files that git tracks, as paths below ``root`` that exist."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z"], capture_output=True, text=True, check=True)
    return [Path(name) for name in listed.stdout.split("\0") if name and (root / name).is_file()]


def length(path: Path) -> int:
    return len(path.read_text(errors="replace").splitlines())


def lines_by_folder(root: Path, files: list[Path]) -> dict[str, int]:
    """Lines of Python, C++ and CUDA by room: two levels in engine and cpp_ext, one elsewhere."""
    sources = {".py", ".pyi", ".cpp", ".hpp", ".h", ".c", ".cu", ".cuh"}
    lines: Counter[str] = Counter()
    for path in files:
        if path.suffix in sources and len(path.parts) > 1:
            deep = path.parts[0] in ("engine", "cpp_ext") and len(path.parts) > 2
            lines["/".join(path.parts[: 2 if deep else 1])] += length(root / path)
    return dict(sorted(lines.items()))


def functions_of(path: Path) -> list[tuple[str, int, int]]:
    """(name, lines from ``def`` to the end without the docstring, arguments) of each function of a file."""
    entries = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            docstring = isinstance(first, ast.Expr) and isinstance(getattr(first, "value", None), ast.Constant)
            lines = (node.end_lineno or 0) - node.lineno + 1
            if docstring:
                lines -= (first.end_lineno or 0) - first.lineno + 1
            names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            entries.append((node.name, lines, sum(name not in ("self", "cls") for name in names)))
    return entries


def tool(name: str) -> str | None:
    """A tool of this interpreter's environment, or of the machine."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def contracts(root: Path) -> dict[str, int | str]:
    if "[tool.importlinter]" not in (root / "pyproject.toml").read_text():
        return {"import contracts kept": "none exist"}
    shown = subprocess.run(
        [tool("lint-imports") or "lint-imports"], cwd=root, capture_output=True, text=True, check=False
    )
    kept = re.search(r"Contracts: (\d+) kept, (\d+) broken", shown.stdout)
    return {"import contracts kept": f"{kept[1]} of {int(kept[1]) + int(kept[2])}" if kept else "unknown"}


def unused(root: Path) -> dict[str, int | str]:
    """Vulture's findings over the product without its tests, with no allow-list: the same measure for every commit."""
    command = [tool("vulture") or "vulture", "--config", "/dev/null", *PRODUCT, "tools"]
    shown = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return {"unused definitions (vulture, no allow-list)": len(shown.stdout.splitlines())}


def duplicates(root: Path) -> dict[str, int | str]:
    """Pairs of places of a dozen alike lines or more, where the machine has a tool for it."""
    if not tool("duplicates"):
        return {}
    command = ["duplicates", "--min-lines", "12", "--most", "1", "--seconds", "120", "--repo", str(root)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    return {"duplicates": shown.stdout.splitlines()[0] if shown.stdout else "none"}


def code_lines(root: Path, files: list[Path]) -> dict[str, int | str]:
    """Lines of code as cloc counts them, without data, prose and third parties."""
    if not tool("cloc"):
        return {}
    rooms = sorted(
        {path.parts[0] for path in files if path.parts[0] in (*PYTHON_ROOMS, "cpp_ext", "cmake", "examples")}
    )
    listing = "\n".join(str(root / path) for path in files if path.parts[0] in rooms and path.suffix != ".json")
    command = [tool("cloc") or "cloc", "--json", "--quiet", "--list-file=-"]
    shown = subprocess.run(command, input=listing, capture_output=True, text=True, check=True)
    languages = json.loads(shown.stdout)
    counts: dict[str, int | str] = {}
    for language, values in languages.items():
        if language not in ("header", "SUM") and language not in BLANK_TABLES:
            counts[f"cloc, {language}"] = values["code"]
    counts["cloc, all code"] = sum(value for value in counts.values() if isinstance(value, int))
    for name, wanted in (("product", (*PRODUCT, "cpp_ext")), ("tests and tools", ("tests", "tools"))):
        listing = "\n".join(str(root / path) for path in files if path.parts[0] in wanted and path.suffix != ".json")
        shown = subprocess.run(command, input=listing, capture_output=True, text=True, check=True)
        counts[f"cloc, {name}"] = sum(
            values["code"]
            for language, values in json.loads(shown.stdout).items()
            if language not in ("header", "SUM") and language not in BLANK_TABLES
        )
    return counts


if __name__ == "__main__":
    main()
