"""The daily verbs of a 2D workspace, in a process that refuses to import PyTorch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ImportError(f"{name} is not wanted here")

sys.meta_path.insert(0, NoTorch())
from pathlib import Path
from everface.bench.demo_album import unpack_demo_album
from everface.cli import main

base, rank, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
photos = [str(path) for path in unpack_demo_album(folder / "photos")[0][1]][:3]
w, out = str(folder / "me.everface"), str(folder / "out")
for verb in (
    ["init", w, "--base", base, *(["--lora-rank", rank] if rank != "0" else [])],
    ["update", w, "--max-minutes", "0.1", *photos],
    ["status", w, "--json"],
    ["generate", w, "-n", "2", "--out", out],
    ["reconstruct", w, photos[0], "--out", out + "/r.png"],
    ["enhance", w, photos[0], "--out", out + "/e.png"],
    ["budget", w, "256KiB"],
    ["compact", w],
    ["report", w, "--out", out + "/report.html"],
    ["check", w],
    ["export", w, "--to", "onnx", "--out", out + "/m.onnx"],
    ["export", w, "--to", "ort", "--out", out + "/m.ort"],
    ["export", w, "--to", "bundle", "--out", out + "/bundle"],
    *([["export", w, "--to", "delta", "--out", out + "/m.delta"]] if rank != "0" else []),
):
    try:
        code = main(verb)
    except SystemExit as end:
        code = end.code
    assert not code, (verb, code)
assert (folder / 'out' / 'bundle').exists()
assert not any(name.partition(".")[0] == "torch" for name in sys.modules)
"""


@pytest.mark.parametrize("rank", ["0", "2"])
def test_daily_verbs_do_without_pytorch(tiny_base: Path, tmp_path: Path, rank: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tiny_base), rank, str(tmp_path)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
