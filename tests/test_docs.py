"""What the documentation shows runs: its Python as it stands, its commands as far as their arguments are read."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import shlex
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from everface.cli import app, run
from everface.commands import register
from everface.engine.assets import asset_path

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def command_lines() -> Iterator[str]:
    """Every line of the pages that runs everface, with its continuation lines and without its comment."""
    for page in PAGES:
        for block in blocks(page, ""):
            for line in block.replace("\\\n", " ").split("\n"):
                command = re.sub(r"\s+#.*", "", line).strip()
                # A synopsis, which has alternatives or options in brackets, is no command.
                if command.startswith("everface ") and not set("|[") & set(command):
                    yield command


def documented_modules() -> list[str]:
    pages = sorted((ROOT / "docs" / "api").glob("*.md"))
    return [name for page in pages for name in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos of the embedded album; the examples of a page run in it one after the other."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "photos").mkdir()
    with zipfile.ZipFile(asset_path("demo_album.zip")) as archive:
        for name in sorted(name for name in archive.namelist() if name.startswith("garden/"))[:4]:
            (folder / "photos" / Path(name).name).write_bytes(archive.read(name))
    return folder


def execute(text: str, page: str) -> dict[str, object]:
    names: dict[str, object] = {}
    exec(compile(text, page, "exec"), names)
    return names


def test_the_examples_in_python_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (example,) = blocks(ROOT / "README.md", "python")
    # The example learns until it settles; the test takes a few steps, which take no time.
    assert "EngineConfig(budget_bytes=128 * 1024)" in example
    quick = "EngineConfig(budget_bytes=128 * 1024, invert=InvertConfig(3), tune=TuneConfig(6))"
    example = "from everface.engine.config import InvertConfig, TuneConfig\n" + example
    names = execute(example.replace("EngineConfig(budget_bytes=128 * 1024)", quick), "README.md")
    assert getattr(names["images"], "shape", None) == (8, 128, 128, 3)
    assert Path("report.html").stat().st_size > 10_000

    assert run(["export", "me.everface", "--to", "bundle", "--out", "me.bundle"]) == 0
    (example,) = blocks(ROOT / "docs" / "export.md", "python")
    names = execute(example, "export.md")
    assert getattr(names["images"], "shape", None) == (4, 128, 128, 3)


@pytest.mark.parametrize("command", sorted(set(command_lines())))
def test_a_command_of_the_pages_is_understood(command: str) -> None:
    register(app)
    app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("name", documented_modules())
def test_documented_modules_have_public_names_and_examples_that_run(name: str) -> None:
    module = importlib.import_module(name)
    public = getattr(module, "__all__", ())
    assert public, "a documented module lists its public names"
    values = {entry: getattr(module, entry) for entry in public}
    bare = [entry for entry, value in values.items() if inspect.isroutine(value) and not inspect.getdoc(value)]
    assert not bare, "public names say what they are"
    assert doctest.testmod(module).failed == 0
