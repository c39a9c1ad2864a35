"""Layers of a painted photo: masks, textures, warps and light on a square canvas. Used by make_demo_album.py."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.interpolate import LinearNDInterpolator, RBFInterpolator
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

SIDE = 512  # of the canvas
Array = NDArray[np.float64]
Colour = tuple[float, float, float]

# Indices of the face mesh.
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
BROWS = ((46, 53, 52, 65, 55, 107, 66, 105, 63, 70), (276, 283, 282, 295, 285, 336, 296, 334, 293, 300))
EYES = ((33, 159, 133, 145), (362, 386, 263, 374))
EYELIDS = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (362, 398, 384, 385, 386, 387, 388, 466, 263, 249, 390, 373, 374, 380, 381, 382),
)
NOSE = (6, 197, 195, 5, 4, 1, 19, 94, 98, 327, 48, 278, 64, 294)
JAW = OVAL[9:28]


def polygon(points: Array, feather: float = 1.0) -> Array:
    """Coverage [SIDE, SIDE] of a polygon [n, 2]."""
    image = Image.new("L", (2 * SIDE, 2 * SIDE))
    ImageDraw.Draw(image).polygon([(2 * x, 2 * y) for x, y in points], fill=255)
    return soft(np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)) / 255.0, feather)


def line(points: Array, width: float, feather: float = 0.7) -> Array:
    """Coverage of a line through points."""
    image = Image.new("L", (2 * SIDE, 2 * SIDE))
    drawn = [(2 * x, 2 * y) for x, y in points]
    ImageDraw.Draw(image).line(drawn, fill=255, width=round(2 * width), joint="curve")
    return soft(np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)) / 255.0, feather)


def ellipse(centre: Array, radii: tuple[float, float], feather: float = 1.0) -> Array:
    """Coverage of an upright ellipse."""
    turn = np.linspace(0, 2 * np.pi, 73)[:-1]
    return polygon(np.column_stack([np.cos(turn) * radii[0], np.sin(turn) * radii[1]]) + centre, feather)


def sprinkled(canvas: Array, shapes: list[tuple[Array, Colour, float]], feather: float) -> Array:
    """The canvas with many small shapes (outline [n, 2], colour, opacity) laid over it at once, blurred together."""
    image = Image.new("RGBA", (SIDE, SIDE))
    drawing = ImageDraw.Draw(image)
    for outline, colour, opacity in shapes:
        fill = tuple(round(255 * part) for part in (*colour, opacity))
        drawing.polygon([(float(x), float(y)) for x, y in outline], fill=fill)
    layer = np.asarray(image, np.float64) / 255.0
    colour, alpha = layer[..., :3] * layer[..., 3:], layer[..., 3:]
    blur = (feather, feather, 0)
    return canvas * (1 - gaussian_filter(alpha, blur)) + gaussian_filter(colour, blur)


def disc(centre: Array, radius: float) -> Array:
    """The outline [24, 2] of a disc."""
    turn = np.linspace(0, 2 * np.pi, 25)[:-1]
    return np.column_stack([np.cos(turn), np.sin(turn)]) * radius + centre


def smooth_outline(points: Array, count: int = 120) -> Array:
    """A closed outline through points, made round."""
    closed = np.concatenate([points, points[:1]])
    place = np.linspace(0, len(points), count, endpoint=False)
    outline = np.column_stack([np.interp(place, np.arange(len(closed)), closed[:, i]) for i in (0, 1)])
    return np.asarray(gaussian_filter(outline, (count / len(points) / 2, 0), mode="wrap"))


def soft(mask: Array, radius: float) -> Array:
    """A mask with soft borders."""
    return np.asarray(gaussian_filter(mask, radius)) if radius > 0 else mask


def over(canvas: Array, colour: Array | Colour, mask: Array) -> Array:
    """The canvas with a colour, or a picture, laid over it."""
    return canvas + (np.asarray(colour) - canvas) * mask[..., None]


def noise(rng: np.random.Generator, scale: tuple[float, float]) -> Array:
    """Smooth noise of mean 0 and deviation 1 with the given scale down and across, in pixels."""
    found = gaussian_filter(rng.standard_normal((SIDE, SIDE)), scale, mode="wrap")
    return np.asarray((found - found.mean()) / found.std())


def strands(rng: np.random.Generator, centre: Array) -> Array:
    """Noise drawn out along circles around a point: hair."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    radius = np.hypot(x - centre[0], y - centre[1])
    angle = np.arctan2(y - centre[1], x - centre[0]) / (2 * np.pi) * SIDE
    field = noise(rng, (1.2, 30.0))
    return np.asarray(map_coordinates(field, [radius * 1.4 % SIDE, angle % SIDE], order=1, mode="wrap"))


def warp_face(texture: Array, source: Array, target: Array) -> Array:
    """Thin-plate warp of a picture [SIDE, SIDE, 3], so that the points ``source`` [n, 2] come to lie on ``target``."""
    rbf = RBFInterpolator(target, source - target, smoothing=2.0, kernel="thin_plate_spline")
    coarse = np.linspace(0, SIDE - 1, 65)
    grid = np.stack(np.meshgrid(coarse, coarse), axis=-1).reshape(-1, 2)
    shift = rbf(grid).reshape(65, 65, 2)
    fine = np.stack([zoom(shift[..., i], SIDE / 65, order=1, grid_mode=True, mode="nearest") for i in (0, 1)], -1)
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    at = [y + fine[..., 1], x + fine[..., 0]]
    return np.stack([map_coordinates(texture[..., c], at, order=1, mode="nearest") for c in range(3)], -1)


def normals(points: Array, head: tuple[float, float, float, float]) -> Array:
    """Unit normals [SIDE, SIDE, 3] (x right, y down, z to the viewer) of the mesh, of an egg-shaped head outside.

    Args:
        points: [468, 3], z away from the viewer.
        head: centre x, y and radii of the head.
    """
    y, x = np.mgrid[:SIDE:4, :SIDE:4].astype(float)
    cx, cy, rx, ry = head
    egg = rx * np.sqrt(np.clip(1 - ((x - cx) / rx) ** 2 - ((y - cy) / ry) ** 2, 0, None))
    depth = LinearNDInterpolator(points[:, :2], -points[:, 2])(x, y)
    inside = np.isfinite(depth)
    depth = np.where(inside, np.nan_to_num(depth), 0.0)
    depth += float(np.mean((egg - depth)[inside]))
    weight = gaussian_filter(np.where(inside, 1.0, 0.0), 3) * inside
    height = gaussian_filter(weight * depth + (1 - weight) * egg, 1.5)
    down, across = np.gradient(height, 4.0)
    found = np.stack([-across, -down, np.ones_like(height)], -1)
    found /= np.linalg.norm(found, axis=-1, keepdims=True)
    return np.stack([zoom(found[..., i], 4, order=1) for i in range(3)], -1)


def lit(normal: Array, lights: list[tuple[Colour, Colour]], ambient: Colour) -> Array:
    """Light [SIDE, SIDE, 3] falling on a surface: Lambert's law, lights as (direction towards it, colour)."""
    found = np.broadcast_to(np.asarray(ambient), normal.shape).copy()
    for direction, colour in lights:
        towards = np.asarray(direction) / np.linalg.norm(direction)
        # Half-way to wrapped diffuse light: skin lets some of it through.
        found += np.clip((normal @ towards + 0.2) / 1.2, 0, None)[..., None] * np.asarray(colour)
    return found


def photograph(canvas: Array, rng: np.random.Generator, side: int, turn: float, scale: float, shift: Array) -> bytes:
    """Takes the picture: turns, scales and moves the canvas, adds sensor noise, and encodes a JPEG."""
    import io

    c, s = np.cos(np.radians(turn)) / scale, np.sin(np.radians(turn)) / scale
    matrix = np.array([[c, s], [-s, c]]) * (SIDE / side)
    offset = SIDE / 2 + shift - matrix @ np.full(2, side / 2)
    sharp = Image.fromarray(np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8))
    affine = tuple(np.column_stack([matrix, offset]).ravel())
    picture = sharp.transform((side, side), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    pixels = np.asarray(picture, np.float64) + rng.normal(0, 1.6, (side, side, 3))
    held = io.BytesIO()
    Image.fromarray(np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)).save(held, "JPEG", quality=84, optimize=True)
    return held.getvalue()
