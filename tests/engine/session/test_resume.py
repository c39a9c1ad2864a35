"""The resume file gives back what an update had reached, and nothing of another update or a spoilt file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from everface.engine.latents.invert import Inversion
from everface.engine.learn.tuning import TuningState
from everface.engine.learn.values import Checkpoint
from everface.engine.session.resume import ResumeFile, fingerprint
from everface.engine.vault import UNSEALED

KEY = fingerprint("settings", "0")


@pytest.fixture
def file(tmp_path: Path) -> ResumeFile:
    return ResumeFile(tmp_path, UNSEALED, KEY)


def checkpoint(tuning: TuningState | None) -> Checkpoint:
    return Checkpoint(Inversion(np.ones((2, 4), np.float32), np.array([0.5, 0.25], np.float32)), tuning)


def test_anchors_and_tuning_come_back(file: ResumeFile) -> None:
    assert file.read() is None
    file.write(checkpoint(None))
    read = file.read()
    assert read is not None and read.tuning is None
    np.testing.assert_array_equal(read.anchors.codes, np.ones((2, 4)))
    file.write(checkpoint(TuningState({"weight": np.arange(3.0)}, (1.0, 0.5))))
    read = file.read()
    assert read is not None and read.tuning is not None
    assert read.tuning.losses == (1.0, 0.5)
    np.testing.assert_array_equal(read.tuning.learner["weight"], np.arange(3.0))
    file.remove()
    assert file.read() is None


def test_another_update_and_spoilt_bytes_are_not_taken_up(file: ResumeFile, tmp_path: Path) -> None:
    file.write(checkpoint(None))
    assert ResumeFile(tmp_path, UNSEALED, fingerprint("settings", "1")).read() is None
    path = tmp_path / "resume.part"
    whole = path.read_bytes()
    for at in range(len(whole)):
        data = bytearray(whole)
        data[at] ^= 0x81
        path.write_bytes(data)
        assert file.read() is None
    path.write_bytes(whole[:-1])
    assert file.read() is None


def test_a_disk_that_takes_nothing_does_not_end_the_update(tmp_path: Path) -> None:
    gone = ResumeFile(tmp_path / "gone", UNSEALED, KEY)
    gone.write(checkpoint(None))
    assert gone.read() is None
