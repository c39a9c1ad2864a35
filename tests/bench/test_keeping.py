"""The memory of an experiment keeps within its photos and bytes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from everface.bench.keeping import Keeping, remembered
from everface.engine.config import InvertConfig, TuneConfig
from everface.engine.errors import UsageError
from everface.engine.latents.invert import Inversion
from everface.engine.learn.backend import Backend
from everface.engine.learn.timestep import learn
from everface.engine.learn.values import LearnSettings, Memory, NewPhotos
from everface.engine.replay.codec import CodecChoice


@pytest.mark.parametrize("codec", [None, CodecChoice("webp", 60), CodecChoice("webp", 60, resolution=8)])
@pytest.mark.parametrize("count", [None, 1])
def test_it_keeps_within_its_bytes(
    quick_backend: Callable[..., Backend], codec: CodecChoice | None, count: int | None
) -> None:
    backend, rng = quick_backend(), np.random.default_rng(3)
    keeping = Keeping(count, 1500, codec)
    settings = keeping.within(LearnSettings("er-rand", TuneConfig(max_steps=1), InvertConfig(1)))
    memory, model = Memory.empty(backend.shape), None
    for t in range(3):
        images = rng.integers(0, 256, (4, 2, 2, 3), np.uint8).repeat(8, 1).repeat(8, 2)
        stored, sizes = zip(*(keeping.store(image) for image in images), strict=True)
        anchors = Inversion(rng.standard_normal((4, 32), np.float32), np.ones(4, np.float32))
        new = NewPhotos(images, np.zeros((4, 0)), np.array(sizes), anchors)
        step = learn(backend, model, new, memory, settings)
        memory, model = remembered(memory, new, step, np.stack(stored)), step.model
        assert 0 < memory.bytes.sum() <= 1500 and (count is None or len(memory) == 1)
        assert memory.images.shape[1:] == (16, 16, 3)
        assert memory.timestamp == len(memory.anchors) == t + 1
        assert len(memory.codes) == len(memory.spread) == len(memory.losses) == len(memory.timestamps) == len(memory)


def test_limits_are_asked_for() -> None:
    with pytest.raises(UsageError, match="neither"):
        Keeping(None, None)
    with pytest.raises(UsageError, match="room_bytes"):
        Keeping(None, -1)
