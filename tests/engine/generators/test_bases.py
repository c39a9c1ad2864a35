"""Generators as safetensors: round trip, and files that are not what they say."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from everface.engine.errors import CheckpointError, EverfaceError
from everface.engine.generators.base_files import EMBEDDED_2D, find_base
from everface.engine.generators.bases import generator_from_bytes, load_base
from everface.engine.generators.tensors import pack_tensors
from everface.engine.perception.tensors import to_images
from everface.engine.photos import FaceModels
from everface.engine.photos.detect import detect_faces


def test_round_trip_keeps_weights_and_metadata(tiny_base: Path) -> None:
    base = load_base(str(tiny_base))
    again, metadata = generator_from_bytes(base.generator.to_bytes(base.metadata), "again")
    assert again.config == base.generator.config
    assert metadata["terms"] == "test data"
    for name, value in base.generator.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_bytes_are_reproducible(tiny_base: Path) -> None:
    base = load_base(str(tiny_base))
    assert base.generator.to_bytes({}) == base.generator.to_bytes({})


@pytest.mark.parametrize(("name", "side"), [("base64", 64), ("base128", 128)])
def test_embedded_bases_draw_faces(name: str, side: int) -> None:
    base = load_base(name)
    image = base.generator.synthesis(base.generator.mapping.w_avg[None])
    assert image.shape == (1, 3, side, side)
    assert 0.3 < image.std() < 0.7
    enlarged = torch.nn.functional.interpolate(image, (256, 256), mode="bicubic")
    face = detect_faces(FaceModels.load(), to_images(enlarged)[0])[0]
    # The mean face fills an aligned picture.
    assert face.score > 0.6 and (face.size > 100).all()
    assert face.eyes[0, 0] < 120 and face.eyes[1, 0] > 136


def test_the_smaller_embedded_base_is_part_of_the_larger() -> None:
    small, large = (load_base(name) for name in EMBEDDED_2D)
    assert small.sha256 == large.sha256
    tensors = large.generator.state_dict()
    assert all(torch.equal(value, tensors[name]) for name, value in small.generator.state_dict().items())
    for what in ("encoder", "coordinates", "directions"):
        assert find_base("base64").beside(what) == find_base("base128").beside(what) is not None


def test_unknown_base_is_refused() -> None:
    with pytest.raises(CheckpointError, match="base64"):
        load_base("no-such-base")


def rewritten(path: Path, **changes: str) -> bytes:
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size])["__metadata__"] | changes
    return bytes(save(load(data), metadata))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"architecture": "gpt"}, "architecture"),
        ({"resolution": "32"}, "expected"),
        ({"resolution": "lots"}, "a number"),
        ({"w_dim": "99999999"}, "at most"),
        ({"channel_base": "64"}, "expected"),
        ({"mapping_layers": "9"}, "none named"),
        ({"mapping_layers": "1"}, "one more"),
    ],
)
def test_lying_metadata_is_refused(tiny_base: Path, changes: dict[str, str], told: str) -> None:
    with pytest.raises(EverfaceError, match=told):
        generator_from_bytes(rewritten(tiny_base, **changes), "file")


def test_values_that_are_not_finite_are_refused(tiny_base: Path) -> None:
    data = tiny_base.read_bytes()
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size])["__metadata__"]
    tensors = load(data)
    tensors["synthesis.b4.const"][0, 0, 0] = float("nan")
    with pytest.raises(CheckpointError, match="finite"):
        generator_from_bytes(bytes(save(tensors, metadata)), "file")
    with pytest.raises(CheckpointError, match="finite"):
        pack_tensors({"a": torch.tensor([float("inf")])}, {})


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80\x04pickle", b"\0" * 64, struct.pack("<Q", 2**62) + b"{}", struct.pack("<Q", 4) + b"[1]]" + b"\0" * 8],
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        generator_from_bytes(data, "file")


def test_truncated_and_mutated_files_are_refused_or_read(tiny_base: Path) -> None:
    data = tiny_base.read_bytes()
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        place = int(torch.randint(0, 600, [], generator=generator))
        value = int(torch.randint(0, 256, [], generator=generator))
        mutated = bytearray(data)
        mutated[place] = value
        try:
            generator_from_bytes(bytes(mutated), "file")
        except EverfaceError:
            continue
    for size in (7, 8, 100, len(data) // 2, len(data) - 1):
        with pytest.raises(CheckpointError):
            generator_from_bytes(data[:size], "file")
