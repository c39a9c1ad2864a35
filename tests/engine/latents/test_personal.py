"""The search in a person's subspace, degradations, and directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.bases import load_base
from everface.engine.latents.degradation import Degradation
from everface.engine.latents.directions import directions_from_bytes, directions_to_bytes, fit_direction
from everface.engine.latents.personal import PersonalSearch, search_personal
from everface.engine.perception.losses import ReconstructionLoss


def test_the_search_finds_a_picture_of_the_hull_again(tiny_base: Path, quick_loss: ReconstructionLoss) -> None:
    generator = load_base(str(tiny_base)).generator
    rng = np.random.default_rng(0)
    anchors = rng.normal(size=(5, 32)) * 2
    truth = np.array([0.5, 0.3, 0.2, 0.0, 0.0])
    with torch.no_grad():
        photo = generator.render(torch.from_numpy((truth @ anchors).astype(np.float32))[None])
    start = np.full(5, 0.2)
    short, long = (
        search_personal(generator, quick_loss, photo, anchors, start, search=PersonalSearch(steps))
        for steps in (1, 200)
    )
    assert long.loss < 0.3 * short.loss
    assert long.weights.sum() == pytest.approx(1, abs=1e-5)
    assert long.weights.min() > -0.03
    assert torch.equal(long.styles[0], long.styles[-1])


def test_layers_are_searched_where_asked(tiny_base: Path, quick_loss: ReconstructionLoss) -> None:
    generator = load_base(str(tiny_base)).generator
    rng = np.random.default_rng(1)
    photo = torch.zeros(1, 3, 16, 16)
    anchors, start = rng.normal(size=(3, 32)), np.array([1.0, 0.0, 0.0])
    found = search_personal(generator, quick_loss, photo, anchors, start, search=PersonalSearch(20, layers=True))
    assert not torch.equal(found.styles[0], found.styles[-1])


def test_changes_of_layers_lie_in_the_coordinates(tiny_base: Path, quick_loss: ReconstructionLoss) -> None:
    generator = load_base(str(tiny_base)).generator
    anchors, start = np.random.default_rng(1).normal(size=(3, 32)), np.array([1.0, 0.0, 0.0])
    first = torch.zeros(32, 32)
    first[0, 0] = 3.0
    search = PersonalSearch(20, layers=True, coordinates=first)
    found = search_personal(generator, quick_loss, torch.zeros(1, 3, 16, 16), anchors, start, search=search)
    change = found.styles - torch.from_numpy(found.weights @ anchors).float()
    assert change[:, 0].abs().max() > 0.05
    assert change[:, 1:].abs().max() < 1e-4
    with pytest.raises(UsageError, match="coordinates"):
        wrong = PersonalSearch(1, coordinates=torch.eye(31))
        search_personal(generator, quick_loss, torch.zeros(1, 3, 16, 16), anchors, start, search=wrong)


def test_shapes_that_do_not_fit(tiny_base: Path, quick_loss: ReconstructionLoss) -> None:
    generator = load_base(str(tiny_base)).generator
    with pytest.raises(UsageError, match="anchors"):
        search_personal(generator, quick_loss, torch.zeros(1, 3, 16, 16), np.zeros((3, 32)), np.zeros(2))
    with pytest.raises(UsageError):
        PersonalSearch(steps=0)


def test_degradations_do_what_they_say() -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert Degradation().is_identity and torch.equal(Degradation()(images), images)
    mask = torch.ones(1, 1, 32, 32)
    mask[..., :16] = 0
    assert Degradation(mask=mask)(images)[..., :16].abs().max() == 0
    flat = torch.full((1, 3, 32, 32), 0.25)
    for one in (Degradation(blur=2.0), Degradation(factor=4.0), Degradation(factor=3.3, blur=0.7)):
        torch.testing.assert_close(one(flat), flat, rtol=0, atol=1e-5)
        assert one(images).var() < 0.5 * images.var()
        assert one(images).shape == images.shape


@pytest.mark.parametrize(
    "bad", [{"factor": 0.5}, {"blur": -1.0}, {"factor": float("nan")}, {"mask": torch.zeros(1, 1, 8, 8)}]
)
def test_impossible_degradations(bad: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Degradation(**bad)  # type: ignore[arg-type]


def test_a_direction_changes_its_quantity_by_one_and_leaves_the_other() -> None:
    rng = np.random.default_rng(2)
    codes = rng.normal(size=(2000, 16)) @ rng.normal(size=(16, 16))
    a, b = rng.normal(size=(2, 16))
    values, other = codes @ a, codes @ b
    found = fit_direction("x", "units", codes, values, beside=other[:, None], ridge=1e-6)
    assert found.step @ a == pytest.approx(1, abs=0.02)
    assert found.step @ b == pytest.approx(0, abs=0.02)
    assert found.correlation > 0.99


def test_directions_belong_to_their_base() -> None:
    rng = np.random.default_rng(3)
    codes = rng.normal(size=(100, 8))
    one = fit_direction("pose", "degrees", codes, codes[:, 0])
    data = directions_to_bytes([one], "a" * 64)
    (back,) = directions_from_bytes(data, "file", "a" * 64)
    assert (back.name, back.unit) == ("pose", "degrees")
    assert np.array_equal(back.step, one.step)
    with pytest.raises(CheckpointError, match="make_directions"):
        directions_from_bytes(data, "file", "b" * 64)
    for bad in (b"", data[:20], b"\xff" * 64):
        with pytest.raises(CheckpointError):
            directions_from_bytes(bad, "file", "a" * 64)


def test_directions_need_enough_that_varies() -> None:
    with pytest.raises(UsageError):
        fit_direction("x", "y", np.zeros((10, 4)), np.zeros(10))
    with pytest.raises(UsageError, match="varies"):
        fit_direction("x", "y", np.random.default_rng(0).normal(size=(60, 4)), np.ones(60))
