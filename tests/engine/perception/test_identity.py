import io
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from everface.engine.assets import asset_path
from everface.engine.errors import UsageError
from everface.engine.perception.identity import IdentityEmbedder

FACES = Path(__file__).resolve().parents[4] / "shared" / "data" / "faces128.zip"


@pytest.fixture(scope="module")
def embedder():
    return IdentityEmbedder.load()


def test_the_asset_keeps_its_budget():
    assert asset_path("identity.safetensors").stat().st_size <= 6.5e6


def test_agrees_with_dlib(embedder):
    # The first eight numbers and the length that dlib 20.0.1's own network gives for this chip.
    expected = torch.tensor([-0.0714, 0.1042, 0.0754, -0.0268, -0.111, -0.0329, -0.0662, -0.0086])
    y, x = np.mgrid[:150, :150]
    chip = np.rint([127 + 90 * np.sin(x / 7 + k) * np.cos(y / (9 + k)) for k in range(3)])
    result = embedder.describe_chips(torch.tensor(chip[None], dtype=torch.float32))[0]
    # Rounding weights to int8 moves a descriptor by about 0.02; two photos of one person are 0.44 apart.
    torch.testing.assert_close(result[:8], expected, atol=0.006, rtol=0)
    assert result.norm().item() == pytest.approx(1.3097, abs=0.02)


def test_gradients_reach_the_image(embedder):
    images = (torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1).requires_grad_(True)
    (gradient,) = torch.autograd.grad(embedder(images).square().sum(), images)
    assert torch.isfinite(gradient).all()
    assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).all()
    assert not list(embedder.parameters())


def test_the_chip_is_a_fixed_crop(embedder):
    # Red grows to the right, green downwards, both linearly in the crop's coordinates -1..1.
    side = 300
    line = (torch.arange(side) + 0.5) / side * 2 - 1
    images = torch.stack([line.expand(side, side), line[:, None].expand(side, side), torch.zeros(side, side)])[None]
    chip = embedder.chips(images)[0] / 127.5 - 1
    assert chip[0, 75, [0, -1]].tolist() == pytest.approx([-0.867 * 149 / 150, 0.867 * 149 / 150], abs=0.01)
    assert chip[1, 0, 75].item() == pytest.approx(2 * (0.632 - 0.5) - 0.867 * 149 / 150, abs=0.01)
    # A wider crop of the same scene holds the face smaller: the same chip comes of it.
    wide = torch.nn.functional.pad(images, (38, 38, 38, 38), mode="reflect")
    wider = IdentityEmbedder.load(crop_scale=0.8 * 376 / 300).chips(wide)[0] / 127.5 - 1
    torch.testing.assert_close(wider[:, :130], chip[:, :130], atol=0.01, rtol=0)


def test_large_images_are_averaged_before_sampling(embedder):
    noise = torch.randn(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    assert embedder.chips(noise).std() < 0.6 * noise.std() * 127.5


@pytest.mark.parametrize(
    "images",
    [torch.zeros(3, 64, 64), torch.zeros(1, 1, 64, 64), torch.zeros(1, 3, 64, 60), torch.zeros(1, 3, 64, 64).byte()],
)
def test_other_images_are_refused(embedder, images):
    with pytest.raises(UsageError, match="images: expected"):
        embedder(images)


def test_other_crop_scales_are_refused():
    with pytest.raises(UsageError, match="crop_scale"):
        IdentityEmbedder.load(crop_scale=0.1)


def _photos(count):
    """Two photos each of the first ``count`` people with at least two."""
    people = defaultdict(list)
    with zipfile.ZipFile(FACES) as archive:
        for name in sorted(archive.namelist()):
            if name.startswith("lfw/"):
                people[name.split("/")[1]].append(name)
        pairs = [names[:2] for names in people.values() if len(names) > 1][:count]
        images = [[Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in pair] for pair in pairs]
    return [torch.tensor(np.stack([np.asarray(p[i]) for p in images])).permute(0, 3, 1, 2) / 127.5 - 1 for i in (0, 1)]


@pytest.mark.skipif(not FACES.is_file(), reason="needs shared/data/faces128.zip beside the repository")
@pytest.mark.parametrize("side", [64, 128])
def test_tells_people_apart(embedder, side):
    first, second = (torch.nn.functional.interpolate(x, size=side, mode="area") for x in _photos(24))
    with torch.no_grad():
        a, b = embedder(first), embedder(second)
    same, different = (a - b).norm(dim=1), (a - b.roll(1, 0)).norm(dim=1)
    assert same.median() < 0.5
    assert different.median() > 0.72
    assert ((same < 0.6).float().mean() + (different > 0.6).float().mean()) / 2 > 0.9
