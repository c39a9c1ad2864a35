"""Measures bytes against perceptual error for every codec on face crops; writes engine/replay/codec/rate.json.

Usage: python tools/measure_rate.py FACES.zip [--crops 48] [--out engine/replay/codec/rate.json]

The crops of the archive are WebP themselves. Each is cut by a few pixels and resampled, so that no codec meets its own
blocks again. 256 pixels are made from 128 by resampling, so their figures are for soft pictures.
"""

from __future__ import annotations

import argparse
import io
import json
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.replay.codec import CodecChoice, codec_names, decode, encode

LADDER = {
    ("webp", 6): (5, 20, 40, 60, 75, 85), ("avif", 0): (15, 25, 35, 45, 60, 75), ("avif", 6): (15, 25, 35, 45, 60, 75),
    ("jpeg", 6): (15, 30, 50, 70, 85), ("jxl", 7): (10, 30, 50, 70, 85),
}  # fmt: skip
STORED = {64: (64, 48), 128: (128, 96, 64), 256: (256, 192, 128)}


def crops(archive: Path, count: int, seed: int = 0) -> list[Image.Image]:
    """Face crops, cut by 3 to 6 pixels on each side."""
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(archive) as opened:
        names = sorted(name for name in opened.namelist() if name.endswith(".webp"))
        chosen = [names[i] for i in rng.choice(len(names), count, replace=False)]
        images = [Image.open(io.BytesIO(opened.read(name))).convert("RGB") for name in chosen]
    boxes = rng.integers(3, 7, (count, 4))
    return [
        image.crop((int(a), int(b), image.width - int(c), image.height - int(d)))
        for image, (a, b, c, d) in zip(images, boxes, strict=True)
    ]


def tensor(images: list[NDArray[np.uint8]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--crops", type=int, default=48)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "engine/replay/codec/rate.json")
    options = parser.parse_args()
    distance = PerceptualDistance.load()
    faces = crops(options.archive, options.crops)
    rows = []
    for side, sides in STORED.items():
        used = faces if side < 256 else faces[: options.crops // 4]
        originals = [np.asarray(face.resize((side, side), Image.Resampling.LANCZOS)) for face in used]
        with torch.no_grad():
            features = distance.features(tensor(originals))
        for (name, effort), qualities in LADDER.items():
            if name not in codec_names():
                print(f"{name}: not installed, left out")
                continue
            for stored in sides if name in ("webp", "avif") else sides[:1]:
                for quality in qualities:
                    row = measure(originals, CodecChoice(name, quality, effort, stored), distance, features)
                    rows.append({"side": side, **row})
                    print(rows[-1], flush=True)
    what = {"crops": options.crops, "metric": "MobileNetV2 distance", "seed": 0, "soft": [256]}
    lines = ",\n".join(json.dumps(row) for row in rows)
    options.out.write_text(f'{{"measured": {json.dumps(what)},\n"rows": [\n{lines}\n]}}\n')


def measure(
    originals: list[NDArray[np.uint8]],
    choice: CodecChoice,
    distance: PerceptualDistance,
    features: tuple[torch.Tensor, ...],
) -> dict[str, object]:
    side = originals[0].shape[0]
    started = time.perf_counter()
    encoded = [encode(image, choice) for image in originals]
    milliseconds = (time.perf_counter() - started) / len(originals) * 1e3
    back = []
    for data, stored in encoded:
        image = Image.fromarray(decode(data, choice.name, stored))
        back.append(np.asarray(image.resize((side, side), Image.Resampling.BICUBIC) if stored != side else image))
    with torch.no_grad():
        error = distance.distance(distance.features(tensor(back)), features).mean().item()
    mse = float(np.mean([(a.astype(float) - b) ** 2 for a, b in zip(back, originals, strict=True)]))
    return {
        "codec": choice.name, "effort": choice.effort, "quality": choice.quality, "stored": choice.resolution,
        "bytes": round(float(np.mean([len(data) for data, _ in encoded])), 1), "error": round(error, 6),
        "psnr": round(float(10 * np.log10(255**2 / mse)), 2), "encode_ms": round(milliseconds, 2),
    }  # fmt: skip


if __name__ == "__main__":
    main()
