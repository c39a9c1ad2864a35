"""The README's Engine example runs as it stands, and the API reference is up to date."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from everface.engine.assets import asset_path

ROOT = Path(__file__).resolve().parents[1]


def test_the_engine_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "photos").mkdir()
    with zipfile.ZipFile(asset_path("demo_album.zip")) as archive:
        for name in sorted(name for name in archive.namelist() if name.startswith("garden/"))[:4]:
            (tmp_path / "photos" / Path(name).name).write_bytes(archive.read(name))
    monkeypatch.chdir(tmp_path)
    # The example gives an update two minutes; the test gives it three seconds.
    assert "max_minutes=2" in example
    names: dict[str, object] = {}
    exec(compile(example.replace("max_minutes=2", "max_minutes=0.05"), "README.md", "exec"), names)
    assert getattr(names["images"], "shape", None) == (8, 64, 64, 3)
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_the_api_reference_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "tools" / "make_api_reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
