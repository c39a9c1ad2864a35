"""The house's rules: sizes of functions and files, tests beside modules, imports one way.

What breaks a rule today is listed in ``house.toml`` beside this file, with its size where it has one: the list may only
shrink. ``python tests/test_house.py`` writes it anew.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXCEPTIONS = Path(__file__).with_name("house.toml")
PRODUCT = ("src/everface/commands", "src/everface", "engine", "export", "bench")
FILE_LINES, FUNCTION_LINES, ARGUMENTS = 300, 40, 6


def sources() -> Iterator[Path]:
    for room in PRODUCT:
        pattern = "*.py" if room == "src/everface" else "**/*.py"
        yield from sorted((ROOT / room).glob(pattern))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From ``def`` to the end, without the docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def arguments_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    named = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return sum(argument.arg not in ("self", "cls") for argument in named)


@cache
def sizes() -> dict[str, dict[str, int]]:
    """What is larger than the rule: {rule: {place: size}}."""
    over: dict[str, dict[str, int]] = {"file_lines": {}, "function_lines": {}, "arguments": {}}
    for path in sources():
        text = path.read_text()
        if (count := len(text.splitlines())) > FILE_LINES:
            over["file_lines"][name_of(path)] = count
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            place = f"{name_of(path)}:{node.name}"
            # A command's arguments are the options of the command line, a line each, and never passed by position.
            command = "commands" in path.parts and not node.name.startswith("_")
            if (lines := lines_of(node) - command * (node.body[0].lineno - node.lineno - 1)) > FUNCTION_LINES:
                over["function_lines"][place] = lines
            if (many := arguments_of(node)) > ARGUMENTS and not command:
                over["arguments"][place] = many
    return over


@cache
def imported(path: Path) -> set[str]:
    """Full names of the modules, and of the names in them, that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


@cache
def without_tests() -> list[str]:
    """Modules of engine and export without a test: a file of the mirrored folder that has their name, or that of their
    package (which tests all of one kind alike), or that imports them."""
    missing = []
    for room in ("engine", "export"):
        for path in sorted((ROOT / room).glob("**/*.py")):
            if path.name.startswith("__"):
                continue
            folder = ROOT / "tests" / path.parent.relative_to(ROOT)
            module = "everface." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
            names = (path.stem.strip("_"), folder.name)
            named = any((folder / f"test_{name}.py").is_file() for name in names)
            if not named and not any(module in imported(test) for test in sorted(folder.glob("**/*.py"))):
                missing.append(name_of(path))
    return missing


def exceptions() -> dict[str, dict[str, int]]:
    return tomllib.loads(EXCEPTIONS.read_text())


@pytest.mark.parametrize("rule", ["file_lines", "function_lines", "arguments"])
def test_sizes(rule: str) -> None:
    allowed = exceptions().get(rule, {})
    larger = {place: size for place, size in sizes()[rule].items() if size > allowed.get(place, 0)}
    assert not larger, f"{rule}: split these; the limits are {FILE_LINES}, {FUNCTION_LINES} and {ARGUMENTS}"


def test_every_module_has_tests_in_the_folder_that_mirrors_its_own() -> None:
    allowed = exceptions().get("without_tests", {})
    missing = [place for place in without_tests() if place not in allowed]
    assert not missing, "write tests/<folder>/test_<module>.py, or test the module from another file of that folder"


def test_public_names_are_listed_where_the_reference_shows_them() -> None:
    pages = (ROOT / "docs" / "api").glob("*.md")
    documented = {name for page in pages for name in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE)}
    listed = []
    for path in sources():
        module = "everface." + ".".join(path.relative_to(ROOT).with_suffix("").parts).removeprefix("src.everface.")
        own, names = set(), set()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                target = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
                own.add(target)
                if target == "__all__" and node.value is not None and not isinstance(node.value, ast.BinOp):
                    names = set(ast.literal_eval(node.value))
        # A package lists what it passes on, and so does a module.
        if names and names <= own and path.name != "__init__.py" and module not in documented:
            listed.append(name_of(path))
    assert not listed, "write a page under docs/api, or leave __all__ out: what no page shows is not public"


LIGHT = (
    "engine/photos",
    "engine/report",
    "engine/metrics",
    "engine/replay",
    "engine/generators/importing",
    "export/runtime",
    "src/everface",
)


def test_rooms_that_need_no_network_import_without_pytorch() -> None:
    names = []
    for room in LIGHT:
        for path in sorted((ROOT / room).glob("*.py" if room.startswith("src") else "**/*.py")):
            if path.name != "__main__.py":
                place = path.relative_to(ROOT / "src" / "everface" if room.startswith("src") else ROOT)
                names.append(".".join(("everface", *place.with_suffix("").parts)).removesuffix(".__init__"))
    names += [f"everface.export.{name}" for name in ("bundle", "delta", "workspace")]
    names += [f"everface.commands.{path.stem}" for path in (ROOT / "src/everface/commands").glob("[!_]*.py")]
    code = (
        f"import importlib, sys\nfor name in {names!r}:\n    importlib.import_module(name)\n"
        "    heavy = {'torch', 'scipy', 'matplotlib'} & set(sys.modules)\n    assert not heavy, (name, heavy)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr


def test_the_list_of_exceptions_holds_no_more_than_it_must() -> None:
    measured = sizes() | {"without_tests": dict.fromkeys(without_tests(), 1)}
    assert exceptions() == {rule: over for rule, over in measured.items() if over}, "run python tests/test_house.py"


LINT = """
import sys
sys.path.insert(0, ".")
# Without the finder of the editable installation, which would lint the checkout instead.
sys.meta_path = [finder for finder in sys.meta_path if isinstance(finder, type)]
from importlinter.cli import lint_imports
sys.exit(lint_imports(config_filename="pyproject.toml", no_cache=True))
"""


def test_a_planted_import_against_the_rules_fails(tmp_path: Path) -> None:
    pytest.importorskip("importlinter")
    for path in sources():
        place = name_of(path)
        copy = tmp_path / (place.removeprefix("src/") if place.startswith("src/") else f"everface/{place}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    with (tmp_path / "everface" / "engine" / "errors.py").open("a") as module:
        module.write("\nfrom everface.engine.photos import load\n")
    shown = subprocess.run([sys.executable, "-c", LINT], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert shown.returncode == 1, shown.stdout + shown.stderr
    assert "everface.engine.errors -> everface.engine.photos" in shown.stdout


def write() -> None:
    """Writes the list of what breaks the rules today."""
    tables = [(rule, over) for rule, over in sizes().items()] + [("without_tests", dict.fromkeys(without_tests(), 1))]
    body = "\n".join(
        f"\n[{rule}]\n" + "".join(f'"{place}" = {size}\n' for place, size in sorted(over.items())).rstrip()
        for rule, over in tables
        if over
    )
    EXCEPTIONS.write_text(f"# What breaks the house's rules, with its size: the list may only shrink.\n{body}\n")


if __name__ == "__main__":
    write()
