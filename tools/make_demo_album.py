"""Makes engine/assets/demo_album.zip: four outings of a person who does not exist.

    python tools/make_demo_album.py [OUT.zip] [--sheet SHEET.png]

The face begins as one code of the embedded base generator. Then comes what the base cannot do: another shape of the
skull (a fixed thin-plate warp), freckles, a mole, red hair; and for each outing its own light, background and things
worn. Same machine and library versions give the same bytes; the album itself is committed.
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from demo_painting import SIDE, Array, Colour, disc, noise, over, photograph, polygon, sprinkled
from demo_scene import Outing, Person, painted
from PIL import Image

PHOTOS = 12


def garden(rng: np.random.Generator, shift: float) -> Array:
    """Leaves in the sun."""
    leaves = 0.5 * noise(rng, (9, 9)) + 0.5 * noise(rng, (25, 25))
    canvas = np.stack([0.30 + 0.08 * leaves, 0.46 + 0.12 * leaves, 0.16 + 0.05 * leaves], -1)
    spots = [disc(np.add(rng.uniform(0, SIDE, 2), (shift, 0)), rng.uniform(8, 26)) for _ in range(14)]
    return sprinkled(canvas, [(spot, (0.95, 0.95, 0.62), 0.5) for spot in spots], 4)


def office(rng: np.random.Generator, shift: float) -> Array:
    """Shelves under cool light."""
    covers: tuple[Colour, ...] = ((0.5, 0.2, 0.2), (0.2, 0.3, 0.5), (0.8, 0.75, 0.6), (0.25, 0.4, 0.35))
    shapes: list[tuple[Array, Colour, float]] = []
    for bottom in range(120, SIDE, 130):
        x = -80.0 + shift
        while x < SIDE + 80:
            width, top = rng.uniform(14, 34), bottom - rng.uniform(60, 104)
            book = np.array([(x, top), (x + width, top), (x + width, bottom), (x, bottom)])
            shapes.append((book, covers[rng.integers(4)], 1.0))
            x += width + rng.uniform(0, 6)
        board = np.array([(0, bottom), (SIDE, bottom), (SIDE, bottom + 10), (0, bottom + 10)])
        shapes.append((board, (0.42, 0.35, 0.28), 1.0))
    return sprinkled(np.full((SIDE, SIDE, 3), (0.72, 0.76, 0.80)), shapes, 3)


def concert(rng: np.random.Generator, shift: float) -> Array:
    """Coloured lamps in the dark."""
    canvas = np.full((SIDE, SIDE, 3), (0.05, 0.03, 0.09)) + 0.02 * noise(rng, (40, 40))[..., None]
    lamps: tuple[Colour, ...] = ((0.95, 0.2, 0.75), (0.2, 0.6, 0.95), (0.95, 0.75, 0.3))
    shapes = []
    for _ in range(26):
        outline = disc(rng.uniform(0, SIDE, 2) * (1, 0.7) + (shift, 0), rng.uniform(6, 20))
        shapes.append((outline, lamps[rng.integers(3)], rng.uniform(0.25, 0.75)))
    return sprinkled(canvas, shapes, 2.5)


def snow(rng: np.random.Generator, shift: float) -> Array:
    """Mountains under a bright sky."""
    y = np.linspace(0, 1, SIDE)[:, None, None]
    canvas = np.broadcast_to((0.50, 0.70, 0.94), (SIDE, SIDE, 3)) * (1 - 0.1 * y) + 0.12 * y
    for level, colour in ((190, (0.62, 0.70, 0.82)), (260, (0.82, 0.87, 0.94)), (350, (0.95, 0.97, 1.0))):
        x = np.arange(-100, SIDE + 160, 52.0)
        top = level + rng.uniform(-55, 40, len(x))
        ridge = np.column_stack([x + shift, top])
        canvas = over(canvas, colour, polygon(np.concatenate([ridge, [(SIDE + 200, SIDE), (-200, SIDE)]]), 1.5))
    return canvas


OUTINGS = (
    Outing("garden", 1021, (((-0.9, -0.6, 0.55), (0.95, 0.80, 0.52)),), (0.34, 0.37, 0.33), garden,
           (0.85, 0.84, 0.78), ()),
    Outing("office", 2304, (((0.1, -0.9, 0.7), (0.62, 0.70, 0.74)),), (0.42, 0.46, 0.50), office, (0.22, 0.30, 0.52),
           ("collar", "glasses")),
    Outing("concert", 3110, (((-1.0, -0.1, 0.35), (1.1, 0.22, 0.85)), ((1.0, -0.2, 0.3), (0.16, 0.62, 1.1))),
           (0.17, 0.13, 0.22), concert, (0.10, 0.10, 0.11), ("beard",)),
    Outing("skiing", 4507, (((0.7, -0.6, 0.7), (0.72, 0.70, 0.66)),), (0.50, 0.53, 0.60), snow, (0.10, 0.42, 0.55),
           ("stubble", "beanie", "sunglasses", "scarf"), 0.8),
)  # fmt: skip


def make_album() -> tuple[dict[str, bytes], dict[str, object]]:
    """All photos by file name, and the index that says which are held out."""
    person, files = Person(), {}
    batches = []
    for number, outing in enumerate(OUTINGS):
        names = []
        for shot in range(PHOTOS):
            rng = np.random.default_rng([2026, number, shot])
            canvas = painted(person, outing, rng)
            turn, scale, shift = rng.uniform(-7, 7), rng.uniform(1.20, 1.36), np.add(rng.uniform(-14, 14, 2), (0, 22))
            name = f"{outing.name}/IMG_{outing.first + 3 * shot:04d}.jpg"
            files[name] = photograph(canvas, rng, 272, turn, scale, shift)
            names.append(name)
        # Every third photo is held out, so that it is like the others.
        held = names[2::3]
        batches.append({"title": outing.name, "train": [n for n in names if n not in held], "held_out": held})
    return files, {"about": "a synthetic person, see tools/make_demo_album.py", "batches": batches}


def write_zip(path: Path, files: dict[str, bytes], index: dict[str, object]) -> None:
    """The same bytes for the same content."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("album.json", *sorted(files)):
            data = json.dumps(index, indent=1).encode() if name == "album.json" else files[name]
            entry = zipfile.ZipInfo(name, date_time=(2026, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)


def contact_sheet(files: dict[str, bytes]) -> Image.Image:
    """All photos at 128 pixels, an outing a row."""
    sheet = Image.new("RGB", (128 * PHOTOS, 128 * len(OUTINGS)))
    for row, outing in enumerate(OUTINGS):
        mine = sorted(name for name in files if name.startswith(f"{outing.name}/"))
        for column, name in enumerate(mine):
            sheet.paste(Image.open(io.BytesIO(files[name])).resize((128, 128)), (128 * column, 128 * row))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("out", nargs="?", type=Path, default=root / "engine" / "assets" / "demo_album.zip")
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    files, index = make_album()
    write_zip(arguments.out, files, index)
    if arguments.sheet:
        contact_sheet(files).save(arguments.sheet)
    print(f"{len(files)} photos, {arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
