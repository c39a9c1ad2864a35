"""Writes docs/api.md from the public docstrings.

python tools/make_api_reference.py            # write
python tools/make_api_reference.py --check    # fail if the file is out of date
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "docs" / "api.md"
MODULES = (
    "everface.engine.session",
    "everface.engine.config",
    "everface.engine.errors",
    "everface.engine.progress",
    "everface.engine.photos",
    "everface.engine.photos.camera",
    "everface.engine.generators.stylegan2",
    "everface.engine.generators.checkpoints",
    "everface.engine.generators.importing",
    "everface.engine.generators.eg3d",
    "everface.engine.generators.lora",
    "everface.engine.latents.invert",
    "everface.engine.latents.sample",
    "everface.engine.latents.space",
    "everface.engine.perception.identity",
    "everface.engine.perception.perceptual",
    "everface.engine.perception.losses",
    "everface.engine.tune.loop",
    "everface.engine.replay.store",
    "everface.engine.replay.choose",
    "everface.engine.replay.check",
    "everface.engine.replay.policies.base",
    "everface.engine.replay.policies.registry",
    "everface.engine.ops.hull.projection",
    "everface.engine.ops.hull.scores",
    "everface.engine.ops.hull.types",
    "everface.engine.ops.modulated_conv.operator",
    "everface.engine.metrics.forgetting",
    "everface.export.recipe",
    "everface.export.report",
    "everface.export.stages",
    "everface.export.onnx",
    "everface.export.delta",
    "everface.export.runtime.session",
)


def page() -> str:
    lines = ["# API reference", "", "Made from the docstrings by `python tools/make_api_reference.py`.", ""]
    for name in MODULES:
        module = importlib.import_module(name)
        lines += [f"## {name}", "", inspect.cleandoc(module.__doc__ or ""), ""]
        for public in getattr(module, "__all__", ()):
            lines += entry(public, getattr(module, public))
    return "\n".join(lines).rstrip() + "\n"


def entry(name: str, value: object) -> list[str]:
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return []
    lines = [f"### {name}{signature(value)}", "", *block(value)]
    if inspect.isclass(value) and not issubclass(value, Exception):
        for method, member in vars(value).items():
            plain = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if not method.startswith("_") and inspect.isfunction(plain) and plain.__doc__:
                lines += [f"#### {name}.{method}{signature(plain)}", "", *block(plain)]
    return lines


def signature(value: object) -> str:
    try:
        text = str(inspect.signature(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""
    return re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", text).replace("'", "")


def block(value: object) -> list[str]:
    text = inspect.getdoc(value) or ""
    return ["```text", text, "```", ""] if text else []


def main() -> None:
    text = page()
    if "--check" in sys.argv:
        if not TARGET.is_file() or TARGET.read_text() != text:
            raise SystemExit("docs/api.md is out of date: run python tools/make_api_reference.py")
        return
    TARGET.write_text(text)
    print(f"{TARGET}: {len(text.splitlines())} lines")


if __name__ == "__main__":
    main()
