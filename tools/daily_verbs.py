"""Runs each daily command on a fresh 2D workspace and the demo's album: daily_verbs.py BASE LORA_RANK FOLDER.

For an environment without extras: `make test-wheel` runs it on an installed wheel, tests/cli/test_without_torch.py
where PyTorch cannot be imported.
"""

import sys
from pathlib import Path

from everface import Engine
from everface.bench.demo_album import unpack_demo_album
from everface.cli import run
from everface.engine.generators.base_files import EMBEDDED


def works(*verb: str) -> None:
    if run(verb) != 0:
        sys.exit(f"everface {' '.join(verb)} failed")


def main(base: str, rank: str, folder: Path) -> None:
    photos = [str(path) for path in unpack_demo_album(folder / "photos")[0][1]][:3]
    w, out = str(folder / "me.everface"), str(folder / "out")
    factors = rank != "0"
    works("init", w, "--base", base, *(["--lora-rank", rank] if factors else []))
    works("update", w, "--max-minutes", "0.1", *photos)
    works("status", w, "--json")
    works("generate", w, "-n", "2", "--out", out)
    works("reconstruct", w, photos[0], "--out", f"{out}/reconstructed.png")
    works("enhance", w, photos[0], "--out", f"{out}/enhanced.png")
    # A generator of random weights draws no face that could smile.
    works("edit", w, photos[0], *(["--smile", "1"] if base in EMBEDDED else []), "--out", f"{out}/edited.png")
    works("report", w, "--out", f"{out}/report.html")
    for target in ("onnx", "ort", "bundle", *(["delta"] if factors else [])):
        works("export", w, "--to", target, "--out", f"{out}/me.{target}")
    works("budget", w, "256KiB")
    works("compact", w)
    with Engine.open(w, readonly=True) as engine:
        memory = engine.status().memories[0]
    works("forget", w, memory.id)
    works("check", w)
    works("doctor", "--json")
    extras = {"torch", "torchvision", "scipy", "matplotlib"} & {name.partition(".")[0] for name in sys.modules}
    if extras:
        sys.exit(f"a daily verb imported {', '.join(sorted(extras))}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
