"""What a 3D base begins with."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from everface.engine.errors import UsageError
from everface.engine.generators.bases import load_base
from everface.engine.latents.space import normal_z, w_statistics
from everface.engine.photos.camera import camera_angles
from everface.engine.pretrain.posed.poses import aligned_camera, read_cameras
from everface.engine.pretrain.posed.start import depth_planes, head_surface
from everface.engine.pretrain.posed.teacher import pose_reader
from everface.engine.pretrain.posed.thin import thin


def test_thinning_keeps_the_picture_where_channels_are_idle(tiny_base: Path) -> None:
    base = load_base(str(tiny_base)).generator
    z = normal_z(4, 32, 0)
    same = thin(base, base.config.channel_max)
    torch.testing.assert_close(same(z), base(z))
    layer = base.synthesis.b4.conv1
    layer.weight[3], layer.bias[3], layer.noise_strength[...] = 0.0, 0.0, 0.0
    for reader in (base.synthesis.b4.torgb, base.synthesis.b8.conv0):
        reader.weight[:, 3] = 0.0
    fewer = thin(base, 15)
    assert fewer.synthesis.b4.conv1.weight.shape[0] == 15
    assert fewer.synthesis.b4.const.shape[0] == 15
    with pytest.raises(UsageError, match="channel_max"):
        thin(base, 17)


def test_the_head_is_a_head() -> None:
    surface = head_surface(64, 0.64)
    row = surface[int((-0.075 / 0.64 + 0.5) * 64)]  # through the tip of the nose
    middle, side = row[30:34].max(), row[12:14].max()
    assert middle > 0.2
    assert middle - side > 0.05
    assert np.abs(surface - surface[:, ::-1]).max() < 0.05
    assert surface[:, 0].max() < -0.1


def test_no_single_plane_is_matter() -> None:
    planes = depth_planes(32, 0.64)
    assert planes.shape == (3, 32, 32)
    assert float(planes.max()) / 3 < 3.5  # outside of the cube the other two give zero
    # At the middle of the face: matter behind the surface, none before it.
    x = y = 16
    front, back = (planes[0, y, x] + planes[1, z, x] + planes[2, y, z] for z in (31, 4))
    assert float(front) / 3 < 3.5 < float(back) / 3


def test_cameras_come_from_the_table(tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.csv", "file,yaw,pitch\na.webp,-20.2,-6.0\nb.webp,15.1,2.0\nc.webp,0,-8\n")
    cameras, pitch = read_cameras(path, ("b.webp", "a.webp", "c.webp"))
    assert cameras.shape == (3, 25)
    assert pitch == -6
    found = [camera_angles(one.astype(float)) for one in cameras]
    assert np.allclose([yaw for yaw, _ in found], [15, -20, 0], atol=3)
    assert np.allclose(aligned_camera(15.0, 2.0), cameras[0], atol=1e-6)
    with pytest.raises(UsageError, match="none named d"):
        read_cameras(path, ("d.webp",))
    with pytest.raises(UsageError, match=r"meta\.csv"):
        read_cameras(tmp_path, ("a.webp",))


def test_the_reader_reads_the_step(tiny_base: Path) -> None:
    w = w_statistics(load_base(str(tiny_base)).generator, 500)
    step = torch.randn(32)
    assert float(pose_reader(w, step) @ step) == pytest.approx(1.0, abs=1e-4)
