"""The daily verbs of a 2D workspace, in a process that refuses to import PyTorch, or anything else of an extra."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        package = name.partition(".")[0]
        if package in ("torch", "torchvision", "scipy", "matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=package)

sys.meta_path.insert(0, Without())
from pathlib import Path
from everface.cli import run
"""
DEMO = """
from everface.bench.demo import run_demo
from everface.bench.keeping import Keeping
from everface.bench.protocol import ProtocolConfig
from everface.engine.config import InvertConfig, TuneConfig

short = TuneConfig(max_steps=2, settle_window=0)
config = ProtocolConfig(Keeping(2), InvertConfig(2, 0.1), short, InvertConfig(1, 0.02), samples=3)
result = run_demo(Path(sys.argv[2]) / "out", config=config, base=sys.argv[1])
assert result.report.is_file() and result.onnx.is_file()
"""
END = """
assert not {"torch", "torchvision", "scipy", "matplotlib"} & {name.partition(".")[0] for name in sys.modules}
"""


def python(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True, text=True, timeout=600, check=False, env=os.environ | environment,
    )  # fmt: skip


@pytest.mark.parametrize("rank", ["0", "2"])
def test_daily_verbs_do_without_pytorch(tiny_base: Path, tmp_path: Path, rank: str) -> None:
    program = (Path(__file__).parents[2] / "tools" / "daily_verbs.py").read_text(encoding="utf-8")
    done = python(WITHOUT + program, str(tiny_base), rank, str(tmp_path))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def test_the_demo_does_without_pytorch(tiny_base: Path, tmp_path: Path) -> None:
    done = python(WITHOUT + DEMO + END, str(tiny_base), str(tmp_path))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize(
    ("verb", "backend", "extra"),
    [
        (["init", "new.everface", "--dimension", "3d"], "native", "torch"),
        (["init", "new.everface"], "torch", "torch"),
        (["pretrain", ".", "--out", "new.safetensors"], "native", "torch"),
        (["bench", "hull"], "native", "bench"),
    ],
)
def test_what_needs_an_extra_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: list[str], backend: str, extra: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = python(WITHOUT + "sys.exit(run(sys.argv[1:]))", *verb, EVERFACE_BACKEND=backend)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"pip install 'everface[{extra}]'" in done.stderr
    assert not (tmp_path / "new.everface").exists()


def test_the_door_to_python_loads_nothing_heavy() -> None:
    heavy = ("torch", "onnx", "onnxruntime", "jinja2", "cryptography", "rich", "cyclopts", "ml_dtypes")
    done = python(f"from everface import Engine; import sys; assert not set({heavy}) & set(sys.modules)")
    assert done.returncode == 0, done.stderr


def test_status_loads_nothing_heavy(tiny_base: Path, tmp_path: Path) -> None:
    heavy = ("torch", "onnx", "onnxruntime", "jinja2", "cryptography", "rich.progress", "ml_dtypes")
    program = f"""
from everface.cli import run
assert run(["init", sys.argv[2], "--base", sys.argv[1]]) == 0
assert run(["status", sys.argv[2]]) == 0
assert not set({heavy}) & set(sys.modules), set({heavy}) & set(sys.modules)
"""
    done = python("import sys\n" + program, str(tiny_base), str(tmp_path / "me.everface"))
    assert done.returncode == 0, done.stderr
