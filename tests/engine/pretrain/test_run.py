"""Training of a base on a few pictures: every step runs, a run goes on where it ended, bad input is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from everface.engine.config import EngineConfig
from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.bases import load_base
from everface.engine.latents.encoder import Encoder, EncoderConfig, encoder_from_bytes, encoder_to_bytes
from everface.engine.learn.backend import open_backend
from everface.engine.pretrain.config import PretrainConfig
from everface.engine.pretrain.faces import TrainingFaces, read_faces
from everface.engine.pretrain.run import pretrain
from everface.engine.pretrain.state import load_state

QUICK = PretrainConfig(
    resolution=16,
    images=4,
    batch=2,
    identity_batch=1,
    held_out=0.3,
    snapshot_seconds=1000,
)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    for i in range(24):
        person = folder / "all" / f"person{i // 2}"
        person.mkdir(parents=True, exist_ok=True)
        pixels = np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(person / f"{i}.png")
    return folder


def test_a_run_ends_resumes_and_writes_what_it_says(faces: Path, tiny_base: Path, tmp_path: Path) -> None:
    out = tmp_path / "base.safetensors"
    first = pretrain([faces], out, QUICK, base=str(tiny_base))
    assert first is not None and first.shown == 4 and first.evaluation is not None
    start, trained = load_base(str(tiny_base)).generator, load_base(str(out)).generator
    assert trained.config == start.config
    assert not torch.equal(trained.synthesis.b4.const, start.synthesis.b4.const)
    encoder = encoder_from_bytes(first.encoder.read_bytes(), "encoder")
    assert encoder(torch.zeros(1, 3, 16, 16)).shape == (1, 32)
    faster = PretrainConfig(**{**vars(QUICK), "images": 8, "batch": 4, "learning_rate": 2e-3})
    more = pretrain([faces], out, faster, base=str(tiny_base))
    assert more is not None and more.shown == 8
    state = load_state(tmp_path / "base.safetensors.run" / "state.safetensors")
    assert (state.updates, state.shown) == (3, 8)
    assert float(state.tensors["adam.synthesis.0.step"]) == 3
    assert [entry["shown"] for entry in json.loads(more.curve.read_text())] == [4, 8, 8]
    assert Image.open(more.grid).size == (12 * 16, 5 * 16)
    backend = open_backend(EngineConfig(base=str(out)))
    assert backend.coordinates is not None and backend.coordinates.shape == (32, 32)


def test_a_grown_base_begins_with_the_encoder_beside_the_start(faces: Path, tiny_base: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    start.write_bytes(tiny_base.read_bytes())
    known = Encoder(EncoderConfig(16, 32, (8, 16, 16)))
    (tmp_path / "start-encoder.safetensors").write_bytes(encoder_to_bytes(known, {}))
    grown = PretrainConfig(**{**vars(QUICK), "resolution": 32})
    done = pretrain([faces], tmp_path / "b.safetensors", grown, base=str(start))
    assert done is not None and load_base(str(done.generator)).generator.config.resolution == 32
    assert encoder_from_bytes(done.encoder.read_bytes(), "encoder").config == known.config


def test_two_collections_are_mixed(faces: Path, tmp_path: Path) -> None:
    first, more = (read_faces(faces, 16, tmp_path, 0.3, lambda _: None) for _ in range(2))
    drawn = TrainingFaces(first, more, 0.5).draw(8, np.random.default_rng(0))
    assert drawn.shape == (8, 3, 16, 16)
    with pytest.raises(UsageError, match="one or two"):
        pretrain([], tmp_path / "b.safetensors", QUICK)


def test_people_with_the_most_pictures_are_set_aside(tmp_path: Path) -> None:
    for person, count in (("few", 4), ("many", 12), ("most", 13), ("enough", 11)):
        (tmp_path / "faces" / "all" / person).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (16, 16), (i, 0, 0)).save(tmp_path / "faces" / "all" / person / f"{i:02d}.png")
    for wanted, people in ((2, {"most", "many"}), (9, {"most", "many", "enough"})):
        found = read_faces(tmp_path / "faces", 16, tmp_path, 0.0, lambda _: None, set_aside=wanted)
        assert {Path(found.names[i]).parent.name for i in found.judges} == people
        assert not set(found.judges) & (set(found.train) | set(found.held_out))


def test_settings_of_a_begun_run_stay(faces: Path, tiny_base: Path, tmp_path: Path) -> None:
    out = tmp_path / "base.safetensors"
    pretrain([faces], out, QUICK, base=str(tiny_base))
    with pytest.raises(CheckpointError, match="another --out"):
        pretrain([faces], out, PretrainConfig(**{**vars(QUICK), "set_aside": 3}), base=str(tiny_base))


def test_people_are_on_one_side_only(faces: Path, tmp_path: Path) -> None:
    found = read_faces(faces, 16, tmp_path, 0.3, lambda _: None)
    people = [{Path(found.names[i]).parent.name for i in part} for part in (found.train, found.held_out)]
    assert people[0] and people[1] and not people[0] & people[1]
    assert len(found.train) + len(found.held_out) == 24


def test_bad_faces_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="folder or a zip"):
        read_faces(tmp_path / "nothing", 16, tmp_path, 0.1, lambda _: None)
    folder = tmp_path / "some"
    folder.mkdir()
    with pytest.raises(UsageError, match="at least 16 pictures"):
        read_faces(folder, 16, tmp_path, 0.1, lambda _: None)
    for i in range(16):
        Image.new("RGB", (32, 24 if i == 7 else 32)).save(folder / f"{i:02d}.png")
    with pytest.raises(UsageError, match=r"07\.png"):
        read_faces(folder, 16, tmp_path / "c", 0.1, lambda _: None)
    (folder / "07.png").write_bytes(b"not a picture")
    with pytest.raises(UsageError, match=r"07\.png"):
        read_faces(folder, 16, tmp_path / "c", 0.1, lambda _: None)


@pytest.mark.parametrize("setting", [{"resolution": 48}, {"batch": 0}, {"identity_batch": -1}, {"held_out": 0.9}])
def test_settings_outside_their_range(setting: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        PretrainConfig(**setting)  # type: ignore[arg-type]


def test_a_broken_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.safetensors").write_bytes(b"\x10" * 40)
    with pytest.raises(CheckpointError, match="delete it"):
        load_state(tmp_path / "state.safetensors")


def test_an_encoder_is_trained_for_a_base_that_stays(faces: Path, tiny_base: Path, tmp_path: Path) -> None:
    out = tmp_path / "base.safetensors"
    told = {**vars(QUICK), "encoder_only": True, "images": 60, "batch": 4, "learning_rate": 6e-3, "code_weight": 0.3}
    done = pretrain([faces], out, PretrainConfig(**told), base=str(tiny_base))
    assert done is not None and done.evaluation is None
    start, kept = load_base(str(tiny_base)).generator, load_base(str(out)).generator
    assert all(torch.equal(value, start.state_dict()[name]) for name, value in kept.state_dict().items())
    encoder = encoder_from_bytes(done.encoder.read_bytes(), "encoder")
    codes = start.mapping(torch.randn(16, 32, generator=torch.Generator().manual_seed(5)))
    found = encoder(start.synthesis(codes))
    assert (found - codes).square().mean() < (start.mapping.w_avg - codes).square().mean()
    more = pretrain([faces], out, PretrainConfig(**{**told, "images": 64}), base=str(tiny_base))
    assert more is not None and more.shown == 64
