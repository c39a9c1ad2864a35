"""One update of a 3D run, and what it draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from everface.engine.generators.bases import load_base
from everface.engine.latents.space import w_statistics
from everface.engine.pretrain.faces import Faces
from everface.engine.pretrain.posed import start
from everface.engine.pretrain.posed.config import Pretrain3DConfig
from everface.engine.pretrain.posed.look import look_at
from everface.engine.pretrain.posed.networks import Networks3D
from everface.engine.pretrain.posed.poses import aligned_camera
from everface.engine.pretrain.posed.rays import training_views
from everface.engine.pretrain.posed.start import Shape3D, begin_3d
from everface.engine.pretrain.posed.step import PosedFaces, PosedTask
from everface.engine.pretrain.posed.teacher import Teacher


def test_an_update_trains_all_but_the_mapping(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "_SETTLE_STEPS", 1)
    monkeypatch.setattr(start, "_FIT_SAMPLES", 4)
    base = load_base(str(tiny_base)).generator
    config = Pretrain3DConfig(Shape3D(features=4, hidden=8, channel_max=8, samples=4), batch=2, rays=16)
    networks = Networks3D.build(begin_3d(base, [], config.shape), config)
    index, none = np.arange(4), np.arange(0)
    faces = Faces(np.zeros((4, 16, 16, 3), np.uint8), tuple("abcd"), index, none, none)
    cameras = np.repeat(aligned_camera(5.0, 0.0)[None], 4, axis=0).astype(np.float32)
    task = PosedTask(
        networks, Teacher(base, (), w_statistics(base)), PosedFaces(faces, cameras, 0.0), config
    )  # fmt: skip
    before = {name: value.clone() for name, value in networks.generator.state_dict().items()}
    task.begin(0)
    told = task.update(0)
    assert {"loss", "distance", "depth", "discriminator"} <= told.keys()
    after = networks.generator.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed and not any("mapping" in name for name in changed)
    task.average(2)
    task.restore(task.tensors())
    assert look_at(networks.mean_generator, columns=2).shape == (6 * 16, 2 * 16, 3)


def test_a_view_of_nothing_is_black_and_its_colours_are_bounded(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "_SETTLE_STEPS", 1)
    monkeypatch.setattr(start, "_FIT_SAMPLES", 4)
    shape = Shape3D(features=4, hidden=8, channel_max=8, samples=4)
    generator = begin_3d(load_base(str(tiny_base)).generator, [], shape)
    camera = torch.from_numpy(aligned_camera(0.0, 0.0)).float()[None]
    with torch.no_grad():
        view = training_views(generator, torch.zeros(1, 3, 4, 16, 16), camera, 8, torch.Generator().manual_seed(1))
    assert view.shape == (1, 3, 8, 8)
    assert view.abs().max() <= 1.01
