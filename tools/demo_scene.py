"""The person of the demo album and how one photo is painted. Used by make_demo_album.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from demo_painting import (
    BROWS,
    EYELIDS,
    EYES,
    JAW,
    LIPS,
    NOSE,
    OVAL,
    SIDE,
    Array,
    Colour,
    disc,
    ellipse,
    line,
    lit,
    noise,
    normals,
    over,
    polygon,
    smooth_outline,
    soft,
    sprinkled,
    strands,
    warp_face,
)
from PIL import Image

from everface.engine.generators.bases import load_base
from everface.engine.latents.space import normal_z
from everface.engine.photos import FaceModels
from everface.engine.photos.detect import detect_faces
from everface.engine.photos.landmarks import find_mesh

PERSON_SEED, PERSON_PSI, JITTER = 11, 0.75, 0.13
PERSON = 9  # which of the seed's codes
HAIR: Colour = (0.42, 0.17, 0.07)
POSE_OF_CODE = 7.0  # degrees of yaw that turn the generator's face to the front
CROP, CORNER = 264, np.array([124.0, 150.0])  # where the generator's crop lies on the canvas


@dataclass(frozen=True)
class Outing:
    """What the photos of one outing share."""

    name: str
    first: int
    lights: tuple[tuple[Colour, Colour], ...]
    ambient: Colour
    backdrop: Callable[[np.random.Generator, float], Array]
    clothes: Colour
    wears: tuple[str, ...]
    wander: float = 0.4  # how far the lights move from photo to photo


class Person:
    """The face: code, mesh and what makes it someone whom the base does not know."""

    def __init__(self) -> None:
        self.generator, self.models = load_base("base64").generator, FaceModels.load()
        with torch.no_grad():
            codes = self.generator.mapping(normal_z(96, 512, PERSON_SEED), psi=PERSON_PSI)
        self.code, self.deviation = codes[PERSON], codes.std(0)

    @torch.no_grad()
    def texture(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """A picture [SIDE, SIDE, 3] in 0..1 with the crop in its place, and its mesh [468, 3]."""
        jitter = torch.from_numpy(rng.standard_normal(512).astype(np.float32))
        image = self.generator.synthesis((self.code + JITTER * self.deviation * jitter)[None])[0].clamp(-1, 1)
        crop = Image.fromarray(np.rint((image.permute(1, 2, 0).numpy() + 1) * 127.5).astype(np.uint8))
        large = crop.resize((CROP, CROP), Image.Resampling.BICUBIC)
        left, top = CORNER.astype(int)
        pad = ((top, SIDE - CROP - top), (left, SIDE - CROP - left), (0, 0))
        picture = np.pad(np.asarray(large), pad, mode="edge")
        faces = detect_faces(self.models, picture)
        return picture / 255.0, find_mesh(self.models, Image.fromarray(picture), faces[0]).points


def own_shape(mesh: Array) -> Array:
    """The person's skull: a heavier jaw, a long chin, eyes far apart, a broad long nose; the same in every photo."""
    points = mesh.copy()
    centre, width = points[1, 0], np.ptp(points[list(OVAL), 0])
    eyes = points[[33, 133, 263, 362], 1].mean()
    below = np.clip((points[:, 1] - eyes) / np.ptp(points[list(OVAL), 1]), 0, None)
    points[:, 0] += (points[:, 0] - centre) * (0.34 * below)
    points[:, 1] += 34 * np.clip(below - 0.32, 0, None)
    side = np.sign(points[:, 0] - centre)
    for eye, brow in zip(EYES, BROWS, strict=True):
        middle = mesh[list(eye), :2].mean(axis=0)
        near = np.exp(-((mesh[:, :2] - middle) ** 2).sum(1) / (0.16 * width) ** 2)
        points[:, 0] += 7.5 * side[eye[0]] * near
        points[list(brow), 1] -= 3.0
    nose = np.exp(-((mesh[:, :2] - mesh[4, :2]) ** 2).sum(1) / (0.11 * width) ** 2)
    points[:, 0] += 0.30 * (points[:, 0] - centre) * nose
    points[:, 1] += 7.0 * nose
    return points


def posed(points: Array, yaw: float, pitch: float, smile: float) -> Array:
    """The mesh turned by degrees, with a smile in about -1 to 1."""
    moved = points.copy()
    for corner, way in ((61, -1), (291, 1)):
        near = np.exp(-((points[:, :2] - points[corner, :2]) ** 2).sum(1) / 20.0**2)
        moved[:, :2] += near[:, None] * smile * np.array([way * 5.0, -5.0])
    a, b = np.radians(yaw), np.radians(pitch)
    pivot = np.array([points[:, 0].mean(), points[:, 1].mean(), points[:, 2].max()])
    across = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    down = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    return (moved - pivot) @ (across @ down).T + pivot


def moved(light: tuple[Colour, Colour], far: float, rng: np.random.Generator) -> tuple[Colour, Colour]:
    """A light a little elsewhere and brighter or weaker, as when the person has walked on."""
    (x, y, z), colour = light
    strength = rng.uniform(0.75, 1.2)
    red, green, blue = (strength * part for part in colour)
    return (x + rng.uniform(-far, far), y + rng.uniform(-far, far), z + rng.uniform(-0.1, 0.2)), (red, green, blue)


def painted(person: Person, outing: Outing, rng: np.random.Generator) -> Array:
    """One scene as a canvas in 0..1."""
    texture, mesh = person.texture(rng)
    yaw, pitch, smile = POSE_OF_CODE + rng.uniform(-20, 20), rng.uniform(-11, 11), rng.uniform(-0.7, 1.0)
    points = posed(own_shape(mesh), yaw, pitch, smile)
    chosen = np.unique([*OVAL, *LIPS, *NOSE, *np.ravel(BROWS), *np.ravel(EYES), 151, 9, 8, 50, 280, 205, 425, 199, 18])
    face = warp_face(texture, mesh[chosen, :2], points[chosen, :2])
    oval = points[list(OVAL), :2]
    low, high = oval.min(axis=0), oval.max(axis=0)
    middle, size = (low + high) / 2, high - low
    head = (middle[0], middle[1] - 0.14 * size[1], 0.60 * size[0], 0.78 * size[1])
    cheek = face[tuple(np.rint(points[[50, 280], 1::-1]).astype(int).T)].mean(axis=0)
    skin = np.clip(0.75 * cheek + 0.25 * np.array([0.93, 0.74, 0.64]), 0, 1)
    canvas = outing.backdrop(rng, rng.uniform(-30, 30))
    lights = [moved(light, outing.wander, rng) for light in outing.lights]
    scene = _Scene(points, middle, size, skin, outing, lights, rng)
    canvas = scene.body(canvas)
    canvas = scene.hair_behind(canvas)
    shaded = scene.marks(scene.features(scene.face_on(canvas, face)))
    light = lit(normals(points, head), scene.lights, outing.ambient)
    shaded = scene.hair_before(shaded)
    figure = polygon(smooth_outline(scene.grown(1.17, 1.52, 1.0)), 3)[..., None]
    shaded = shaded * (figure * light + (1 - figure) * (0.35 * np.asarray(outing.ambient) + 0.80))
    return scene.worn(shaded)


@dataclass
class _Scene:
    points: Array
    middle: Array
    size: Array
    skin: Array
    outing: Outing
    lights: list[tuple[Colour, Colour]]
    rng: np.random.Generator

    def at(self, *index: int) -> Array:
        """Places [n, 2] of mesh points."""
        return self.points[list(index), :2]

    def grown(self, x: float, up: float, down: float) -> Array:
        """The face's oval, grown from its middle by factors."""
        away = self.at(*OVAL) - self.middle
        return self.middle + away * np.column_stack([np.full(len(away), x), np.where(away[:, 1] < 0, up, down)])

    def body(self, canvas: Array) -> Array:
        """Shoulders, clothes and neck."""
        x, y = self.middle[0], self.at(152)[0, 1]
        wide = 0.34 * self.size[0]
        shoulders = np.array(
            [(x - wide, y + 8), (x + wide, y + 8), (x + 200, y + 75), (x + 250, 620), (x - 250, 620), (x - 200, y + 75)]
        )
        cloth = np.asarray(self.outing.clothes) * (1 + 0.06 * noise(self.rng, (2, 5))[..., None])
        canvas = over(canvas, cloth, polygon(smooth_outline(shoulders), 2))
        neck = np.array([(x - wide, y - 70), (x + wide, y - 70), (x + wide, y + 22), (x, y + 56), (x - wide, y + 22)])
        canvas = over(canvas, 0.62 * self.skin * self.tint(), polygon(smooth_outline(neck), 3))
        if "collar" in self.outing.wears:
            for way in (-1, 1):
                flap = np.array(
                    [
                        (x + way * wide, y + 8),
                        (x + way * 8, y + 62),
                        (x + way * (wide + 26), y + 74),
                        (x + way * (wide + 30), y + 30),
                    ]
                )
                canvas = over(canvas, np.asarray((0.86, 0.89, 0.94)), polygon(flap, 1.2))
        return canvas

    def tint(self) -> Array:
        """The colour of the outing's light on a surface that faces the viewer."""
        return lit(np.array([[[0.0, 0.0, 1.0]]]), self.lights, self.outing.ambient)[0, 0]

    @cached_property
    def hair_colour(self) -> Array:
        """Hair [SIDE, SIDE, 3]."""
        return np.clip(
            np.asarray(HAIR) * (1 + 0.30 * strands(self.rng, np.add(self.middle, (18, 20)))[..., None]), 0, 1
        )

    def hair_behind(self, canvas: Array) -> Array:
        """The hair that the head hides, and the ears."""
        outline = smooth_outline(self.grown(1.17, 1.52, 0.42))
        canvas = over(canvas, self.hair_colour, polygon(outline, 2))
        for side, way in ((234, -1), (454, 1)):
            ear = self.at(side)[0] + (way * 5.0, 4.0)
            canvas = over(canvas, 0.80 * self.skin, ellipse(ear, (11, 25), 1.5))
        return canvas

    def face_on(self, canvas: Array, face: Array) -> Array:
        """The warped face in its oval, with its own uneven light calmed."""
        level = soft(face.mean(-1), 26)
        calmed = face * np.clip(0.62 / np.clip(level, 0.2, 1), 0.6, 1.6)[..., None] ** 0.45
        skin = np.asarray(self.skin) * (1 + 0.02 * noise(self.rng, (2, 2))[..., None])
        canvas = over(canvas, skin, polygon(smooth_outline(self.grown(0.99, 1.06, 0.99)), 3))
        inner = polygon(smooth_outline(self.grown(0.87, 0.76, 0.95)), 9)
        return over(canvas, calmed, inner)

    def features(self, canvas: Array) -> Array:
        """Green eyes and a clear mouth, which the generator only suggests."""
        for lids in EYELIDS:
            away = self.at(*lids)
            middle, span = away.mean(axis=0), float(np.ptp(away[:, 0]))
            opened = smooth_outline(middle + (away - middle) * (1.08, 1.55), 64)
            eye = polygon(opened, 0.8)
            canvas = over(canvas, (0.90, 0.88, 0.86), 0.9 * eye)
            canvas = over(canvas, (0.16, 0.36, 0.24), eye * ellipse(middle, (0.21 * span,) * 2, 0.8))
            canvas = over(canvas, (0.02, 0.02, 0.02), eye * ellipse(middle, (0.10 * span,) * 2, 0.8))
            lid = opened[opened[:, 1] < middle[1]]
            canvas = over(canvas, (0.16, 0.09, 0.07), 0.9 * line(lid[np.argsort(lid[:, 0])], 3.0))
        lips = self.at(*LIPS)
        canvas = over(canvas, self.skin * (0.84, 0.55, 0.53), 0.55 * polygon(smooth_outline(lips), 1.5))
        inner = self.at(61, 78, 191, 80, 82, 13, 312, 310, 415, 308, 291) * 0.5
        inner += 0.5 * self.at(61, 78, 95, 88, 87, 14, 317, 318, 324, 308, 291)
        canvas = over(canvas, (0.24, 0.07, 0.07), 0.9 * line(inner, 3.2))
        crease = np.array([self.at(2)[0] + (0, 6), self.at(0)[0] - (0, 3)])
        return over(canvas, 0.75 * self.skin, 0.4 * line(crease, 5, 2.5))

    def marks(self, canvas: Array) -> Array:
        """Freckles, a mole, red eyebrows; a beard where there is one."""
        own, freckles = np.random.default_rng(5), []
        for _ in range(75):
            corners = self.at(*((117, 36, 205), (346, 266, 425), (5, 102, 331))[own.integers(3)])
            freckles.append(disc(own.dirichlet((1, 1, 1)) @ corners, own.uniform(1.2, 2.6)))
        tone = tuple(0.72 * self.skin * (1, 0.86, 0.74))
        canvas = sprinkled(canvas, [(freckle, tone, 0.5) for freckle in freckles], 0.8)
        mole = 0.55 * self.at(205)[0] + 0.45 * self.at(57)[0]
        canvas = over(canvas, (0.20, 0.10, 0.07), 0.92 * ellipse(mole, (5.2, 5.2), 0.9))
        for brow in BROWS:
            away = self.at(*brow)
            thick = smooth_outline(away.mean(0) + (away - away.mean(0)) * (1.10, 1.9))
            canvas = over(canvas, 0.72 * self.hair_colour, 0.85 * polygon(thick, 1.5))
        if "beard" in self.outing.wears:
            canvas = self.beard(canvas, 0.93)
        return self.beard(canvas, 0.25) if "stubble" in self.outing.wears else canvas

    def beard(self, canvas: Array, density: float) -> Array:
        """Hair over jaw, cheeks and upper lip."""
        jaw = self.at(*JAW)
        outer = self.middle + (jaw - self.middle) * (1.01, 1.05)
        inner = [self.at(425)[0] + (8, 24), self.at(2)[0] + (0, 9), self.at(205)[0] + (-8, 24)]
        mask = polygon(smooth_outline(np.concatenate([outer, inner[::-1]])), 3)
        mask *= 1 - polygon(self.at(*LIPS), 1.5)
        mask *= np.clip(0.9 + 0.12 * noise(self.rng, (1.5, 1.0)), 0, 1)
        return over(canvas, 0.8 * self.hair_colour, density * mask)

    def hair_before(self, canvas: Array) -> Array:
        """A fringe parted on one side."""
        top = self.grown(1.15, 1.50, 0.4)
        upper = top[top[:, 1] < self.at(10)[0, 1] + 0.16 * self.size[1]]
        upper = upper[np.argsort(upper[:, 0])]
        x, y = self.at(10)[0]
        wide, high = self.size
        fringe = np.array([
            (x + 0.55 * wide, y + 0.30 * high), (x + 0.46 * wide, y + 0.12 * high), (x + 0.34 * wide, y + 0.01 * high),
            (x + 0.18 * wide, y - 0.09 * high), (x - 0.02 * wide, y - 0.01 * high), (x - 0.26 * wide, y + 0.04 * high),
            (x - 0.45 * wide, y + 0.13 * high), (x - 0.55 * wide, y + 0.31 * high),
        ])  # fmt: skip
        return over(canvas, self.hair_colour, polygon(smooth_outline(np.concatenate([upper, fringe])), 2))

    def worn(self, canvas: Array) -> Array:
        """Glasses, sunglasses, beanie and scarf."""
        wears = self.outing.wears
        if "glasses" in wears:
            canvas = self.glasses(canvas, (0.06, 0.06, 0.08), 0.10, 4.5)
        if "sunglasses" in wears:
            canvas = self.glasses(canvas, (0.05, 0.04, 0.04), 0.80, 4.0)
        if "beanie" in wears:
            canvas = self.beanie(canvas)
        return self.scarf(canvas) if "scarf" in wears else canvas

    def glasses(self, canvas: Array, frame: Colour, tint: float, width: float) -> Array:
        """Two lenses, bridge and temples."""
        lenses = []
        for eye in EYES:
            middle, span = self.at(*eye).mean(axis=0), float(np.ptp(self.at(*eye)[:, 0]))
            turn = np.linspace(0, 2 * np.pi, 49)
            box = np.column_stack([np.cos(turn), np.sin(turn)])
            box = np.sign(box) * np.abs(box) ** 0.6 * (0.84 * span, 0.62 * span) + middle + (0, 0.10 * span)
            lenses.append(box)
            canvas = over(canvas, (0.10, 0.09, 0.10) if tint > 0.5 else (0.85, 0.90, 0.95), tint * polygon(box, 1))
            shine = line(middle + np.array([(-0.4, 0.25), (0.1, -0.35)]) * span, 5, 2.0)
            canvas = over(canvas, (0.95, 0.97, 1.0), 0.35 * shine)
            canvas = over(canvas, frame, line(box, width))
        inner = np.array([lenses[0][0], lenses[1][24]]) - (0, 6)
        canvas = over(canvas, frame, line(inner, width))
        for lens, place, side in ((lenses[0], 24, 234), (lenses[1], 0, 454)):
            canvas = over(canvas, frame, line(np.array([lens[place] - (0, 4), self.at(side)[0] - (0, 12)]), width))
        return canvas

    def beanie(self, canvas: Array) -> Array:
        """A striped woollen cap with a turned-up rim."""
        top = self.grown(1.22, 1.85, 0.4)
        x, y = self.at(10)[0]
        wide, high = self.size
        rim = y + 0.11 * high
        dome = top[top[:, 1] < rim]
        dome = smooth_outline(
            np.concatenate([dome[np.argsort(dome[:, 0])], [(x + 0.60 * wide, rim), (x - 0.60 * wide, rim)]])
        )
        rows = np.arange(SIDE)[:, None] + 8 * ((np.arange(SIDE)[None] - x) / wide) ** 2
        stripe = (0.5 + 0.5 * np.sign(np.sin((rows - y) / 8.5)))[..., None]
        wool = (1 + 0.10 * noise(self.rng, (2.5, 1.0)))[..., None]
        cloth = (stripe * (0.78, 0.12, 0.14) + (1 - stripe) * (0.93, 0.90, 0.84)) * wool
        canvas = over(canvas, cloth, polygon(dome, 1.5))
        cuff = np.array([
            (x - 0.60 * wide, rim - 0.13 * high), (x, rim - 0.17 * high), (x + 0.60 * wide, rim - 0.13 * high),
            (x + 0.59 * wide, rim + 0.05 * high), (x, rim), (x - 0.59 * wide, rim + 0.05 * high),
        ])  # fmt: skip
        ribs = (0.85 + 0.15 * np.sin(np.arange(SIDE) / 2.2))[None, :, None]
        return over(canvas, np.asarray((0.70, 0.10, 0.13)) * ribs * wool, polygon(smooth_outline(cuff), 1.5))

    def scarf(self, canvas: Array) -> Array:
        """A yellow scarf up to the chin."""
        x, y = self.middle[0], self.at(152)[0, 1]
        wide = 0.62 * self.size[0]
        outline = np.array([
            (x - wide, y - 4), (x - 0.5 * wide, y + 12), (x, y + 18), (x + 0.5 * wide, y + 12), (x + wide, y - 4),
            (x + wide + 12, y + 60), (x, y + 92), (x - wide - 12, y + 60),
        ])  # fmt: skip
        folds = (1 + 0.14 * noise(self.rng, (4, 26)))[..., None]
        return over(canvas, np.asarray((0.92, 0.70, 0.12)) * folds, polygon(smooth_outline(outline), 1.5))
