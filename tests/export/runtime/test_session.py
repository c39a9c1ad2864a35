"""The runtime: the engine's pictures, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.export.conftest import export_2d, quick_judge

from everface.engine.errors import ExportError, IntegrityError, KeyMismatchError, MissingBackendError, UsageError
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.latents.sample import sample_p0_by_timestamp
from everface.engine.perception.tensors import to_images
from everface.engine.vault import Key
from everface.export.recipe import ExportRecipe
from everface.export.runtime import Runtime

Anchors = list[NDArray[np.float32]]


def test_the_engines_pictures_for_the_same_seed(bundle: Path, generator: Generator, anchors: Anchors) -> None:
    codes = sample_p0_by_timestamp(anchors, 20, np.random.default_rng(3))
    wanted = to_images(generator.synthesis(torch.from_numpy(codes))).astype(int)
    got = Runtime.open(bundle, threads=1).generate(20, 3)
    assert got.dtype == np.uint8 and got.shape == (20, 16, 16, 3)
    assert np.abs(got - wanted).max() <= 1
    assert (got == wanted).mean() > 0.999


def test_truncation_is_the_same_in_both_graphs(tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    pictures = []
    for graph in ("personal", "synthesis"):
        recipe = ExportRecipe("bundle", graphs=(graph,), psi=0.4, samples=1)
        export_2d(generator, anchors, tmp_path / graph, recipe, judge=quick_judge)
        pictures.append(Runtime.open(tmp_path / graph).generate(3, 1).astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_codes_and_weights(bundle: Path, generator: Generator, anchors: Anchors) -> None:
    runtime = Runtime.open(bundle, threads=1)
    assert [len(one) for one in runtime.anchors] == [3, 4]
    np.testing.assert_array_equal(np.concatenate(runtime.anchors), np.concatenate(anchors))
    np.testing.assert_array_equal(runtime.mean, generator.mapping.w_avg.numpy())
    z = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(runtime.map(z.numpy(), 0.7), generator.mapping(z, psi=0.7).numpy(), atol=1e-5)
    w = torch.from_numpy(anchors[1])
    np.testing.assert_allclose(runtime.render(anchors[1]), generator.synthesis(w).numpy(), atol=5e-5)
    weights = np.eye(7, dtype=np.float32)[3:]
    np.testing.assert_allclose(runtime.images(weights), runtime.render(anchors[1]), atol=5e-5)
    assert runtime.images(weights[:0]).shape == (0, 3, 16, 16)
    assert runtime.generate(0).shape == (0, 16, 16, 3)


def test_neither_torch_nor_onnx_is_needed(bundle: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'PIL', 'cryptography', 'scipy', 'safetensors', 'everface._native'):\n"
        "    sys.modules[name] = None\n"
        "from everface.export.runtime.__main__ import main\n"
        f"raise SystemExit(main([{str(bundle)!r}, '-n', '3', '--out', {str(tmp_path / 'out')!r}, '--seed', '5']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Wrote 3 files to {tmp_path / 'out'}\n"
    pictures = np.stack([np.asarray(Image.open(tmp_path / f"out/00{i}.png")) for i in range(3)])
    np.testing.assert_array_equal(pictures, Runtime.open(bundle).generate(3, 5))


def test_any_tool_unpacks_it_and_the_folder_is_a_bundle_too(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "folder")
    np.testing.assert_array_equal(Runtime.open(tmp_path / "folder").generate(2, 1), Runtime.open(bundle).generate(2, 1))


def test_terms_card_and_proof_travel(bundle: Path) -> None:
    runtime = Runtime.open(bundle)
    assert "ask first" in runtime.text("LICENSE.txt")
    card = runtime.text("MODEL_CARD.md")
    assert "ab" * 32 in card and "one real person" in card and "| personal |" in card
    assert [one["parity"] for one in runtime.manifest.parity] == ["passed"] * 3
    with pytest.raises(UsageError, match="name: expected LICENSE"):
        runtime.text("anchors.f32")


def test_same_model_same_bundle(bundle: Path, tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    recipe = ExportRecipe("bundle", samples=1)
    for name in ("a", "b"):
        export_2d(generator, anchors, tmp_path / name, recipe, judge=quick_judge)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_encrypted(tmp_path: Path, bundle: Path, generator: Generator, anchors: Anchors) -> None:
    path = tmp_path / "me.bundle"
    recipe = ExportRecipe("bundle", samples=1, key=Key.from_passphrase("open sesame"))
    export_2d(generator, anchors, path, recipe, metadata={"terms": "ask first"}, judge=quick_judge)
    with zipfile.ZipFile(path) as archive:
        assert b"ask first" in archive.read("LICENSE.txt")
        assert b"resolution" not in archive.read("manifest.json")
        assert np.concatenate(anchors).tobytes() not in archive.read("anchors.f32")
    got = Runtime.open(path, passphrase="open sesame").generate(2, 1)
    np.testing.assert_array_equal(got, Runtime.open(bundle).generate(2, 1))
    with pytest.raises(KeyMismatchError, match="another; try again"):
        Runtime.open(path, passphrase="wrong")
    with pytest.raises(KeyMismatchError, match="bundle: expected its passphrase, found none"):
        Runtime.open(path)


def test_a_bundle_that_shows_other_pictures_is_not_kept(
    tmp_path: Path, generator: Generator, anchors: Anchors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runtime, "generate", lambda *_: np.zeros((4, 16, 16, 3), np.uint8))
    with pytest.raises(ExportError, match="bundle: expected the engine's pictures, to the last level, found"):
        export_2d(generator, anchors, tmp_path / "me.bundle", ExportRecipe("bundle", samples=1), judge=quick_judge)
    assert not list(tmp_path.iterdir())


def test_arguments_outside_the_contract(bundle: Path, tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    runtime = Runtime.open(bundle)
    for call in (
        lambda: runtime.generate(-1), lambda: runtime.generate(1, -1), lambda: runtime.images(np.ones((1, 6))),
        lambda: runtime.images(np.full((1, 7), np.nan)), lambda: runtime.render(np.ones((1, 23))),
        lambda: runtime.map(np.ones((1, 31))), lambda: runtime.generate(1, cameras=np.ones((1, 25))),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            call()
    with pytest.raises(MissingBackendError, match=r"NoSuchProvider: expected one of .*CPUExecutionProvider"):
        Runtime.open(bundle, providers=["NoSuchProvider"])
    export_2d(generator, anchors, tmp_path / "p", ExportRecipe("bundle", samples=1), judge=quick_judge)
    with pytest.raises(UsageError, match="synthesis: expected a bundle that has this graph, found none; export with"):
        Runtime.open(tmp_path / "p").render(np.ones((1, 24)))


def test_the_command_line_tells_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from everface.export.runtime.__main__ import main

    assert main([str(tmp_path / "none"), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("everface: bundle none: expected a file or folder that can be read")
    assert json.dumps(sorted(one.name for one in tmp_path.iterdir())) == "[]"
    with pytest.raises(IntegrityError):
        Runtime.open(tmp_path / "none")
