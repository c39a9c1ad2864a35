"""Checkpoints of every format come back as the generator they were made from, and nothing in them runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from everface.bench.torture.lookalikes import (
    FORMATS,
    eg3d_pickle,
    mystyle_zip,
    nvidia_pickle,
    rosinality_names,
    tiny_generator,
)
from everface.bench.torture.pickling import Call, Name, New, pickled
from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.bases import load_base
from everface.engine.generators.importing import ImportReport, import_checkpoint
from everface.engine.generators.stylegan2.generator import Generator


def imported(folder: Path, data: bytes, **more: Any) -> ImportReport:
    (folder / "checkpoint").write_bytes(data)
    return import_checkpoint(folder / "checkpoint", folder / "out.safetensors", **more)


def refused(folder: Path, data: bytes, match: str) -> None:
    with pytest.raises(CheckpointError, match=match):
        imported(folder, data)
    assert [one.name for one in folder.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("shape", [{}, {"resolution": 32, "mapping_layers": 8, "conv_clamp": None}])
def test_tensors_and_settings_come_back(tmp_path: Path, name: str, shape: dict[str, Any]) -> None:
    generator = tiny_generator(**shape)
    report = imported(tmp_path, FORMATS[name](generator))
    assert report.bytes == (tmp_path / "out.safetensors").stat().st_size
    found = load_file(report.out)
    wanted = generator.state_dict()
    if name == "eg3d":
        wanted = {f"backbone.{key}": value for key, value in wanted.items()}
    if name == "mystyle":
        wanted = {key: value for key, value in wanted.items() if key.startswith("synthesis.")}
    assert wanted.keys() <= found.keys()
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, rtol=1e-6, atol=0)
    if name not in ("eg3d", "mystyle"):
        assert found.keys() == wanted.keys()
        config = load_base(str(report.out)).generator.config
        told = name.startswith("nvidia")
        assert config.conv_clamp == (generator.config.conv_clamp if told else None)
        assert {**vars(config), "conv_clamp": 0} == {**vars(generator.config), "conv_clamp": 0}


@pytest.mark.parametrize("make", [nvidia_pickle, mystyle_zip, eg3d_pickle])
def test_the_source_in_a_pickle_never_runs(tmp_path: Path, make: Any) -> None:
    marker = tmp_path / "ran"
    imported(tmp_path, make(tiny_generator(), source=f"open({str(marker)!r}, 'w')\nraise SystemExit"))
    assert not marker.exists()


def test_labels_and_their_embedding_come_back(tmp_path: Path) -> None:
    generator = tiny_generator(c_dim=25)
    base = load_base(str(imported(tmp_path, nvidia_pickle(generator)).out))
    z, c = torch.randn(2, 8), torch.randn(2, 25)
    assert torch.equal(base.generator(z, c, psi=0.7, cutoff=2), generator(z, c, psi=0.7, cutoff=2))


def test_the_card_tells_origin_licence_and_settings(tmp_path: Path) -> None:
    report = imported(tmp_path, nvidia_pickle(tiny_generator()))
    metadata = load_base(str(report.out)).metadata
    assert metadata["source_sha256"] == report.source_sha256
    assert "licence applies" in metadata["licence"]
    assert metadata["source_format"] == "pickle, G_ema"
    assert (metadata["num_fp16_res"], metadata["w_avg_beta"], metadata["conv_clamp"]) == ("1", "0.998", "256.0")
    for text in (report.source_sha256, "- resolution: 8", "licence"):
        assert text in metadata["model_card"]
    again = import_checkpoint(report.out, tmp_path / "again.safetensors")
    assert load_base(str(again.out)).generator.config == load_base(str(report.out)).generator.config


def test_the_averaged_generator_is_chosen(tmp_path: Path) -> None:
    both = nvidia_pickle(tiny_generator(), networks=("G", "D", "G_ema"))
    assert imported(tmp_path, both).format == "pickle, G_ema"
    assert imported(tmp_path, nvidia_pickle(tiny_generator(), networks=("G", "D"))).format == "pickle, G"
    (tmp_path / "out.safetensors").unlink()
    refused(tmp_path, nvidia_pickle(tiny_generator(), networks=("D",)), "NVIDIA's or rosinality's tensor names")


def test_eg3d_keeps_its_settings(tmp_path: Path) -> None:
    report = imported(tmp_path, eg3d_pickle(tiny_generator(c_dim=25)))
    settings = json.loads(report.settings["settings"])
    assert settings["neural_rendering_resolution"] == 128
    assert settings["rendering_kwargs"] == {"avg_camera_pivot": [0, 0, 0.2], "c_scale": 1.0, "sr_antialias": True}
    assert json.loads(report.settings["classes"])["decoder"] == "OSGDecoder"
    assert json.loads(report.settings["conv_clamps"])["backbone.synthesis.b8.conv0"] == 256
    assert "decoder.net.0.weight" in load_file(report.out)
    with pytest.raises(CheckpointError, match="--dimension 3d"):
        load_base(str(report.out))


def test_mystyle_is_completed_by_the_mapping_of_its_origin(tmp_path: Path) -> None:
    generator = tiny_generator()
    alone = imported(tmp_path, mystyle_zip(generator))
    assert "--mapping" in alone.notes[0]
    with pytest.raises(CheckpointError, match="--mapping"):
        load_base(str(alone.out))
    origin = tmp_path / "origin.pkl"
    origin.write_bytes(nvidia_pickle(generator))
    whole = imported(tmp_path, mystyle_zip(generator), mapping=origin)
    z = torch.randn(2, 8)
    assert torch.equal(load_base(str(whole.out)).generator(z, psi=0.5), generator(z, psi=0.5))
    other = tmp_path / "other.pkl"
    other.write_bytes(nvidia_pickle(tiny_generator(w_dim=12)))
    with pytest.raises(CheckpointError, match="W of 8"):
        imported(tmp_path, mystyle_zip(generator), mapping=other)
    with pytest.raises(CheckpointError, match="leave --mapping out"):
        imported(tmp_path, nvidia_pickle(generator), mapping=origin)


def test_safetensors_of_either_naming(tmp_path: Path) -> None:
    generator = tiny_generator(conv_clamp=None)
    source = tmp_path / "plain.safetensors"
    for names in (generator.state_dict(), rosinality_names(generator)):
        save_file({key: value.half().contiguous() for key, value in names.items()}, source)
        report = import_checkpoint(source, tmp_path / "out.safetensors")
        assert report.architecture == "stylegan2"
        assert load_base(str(report.out)).generator.synthesis.b8.conv0.weight.shape == (4, 6, 3, 3)
    source.write_bytes(tiny_generator().to_bytes({"terms": "mine"}))
    assert load_base(str(import_checkpoint(source, tmp_path / "x.safetensors").out)).metadata["terms"] == "mine"


def changed(**settings: Any) -> bytes:
    """A pickle of NVIDIA's in which a block or layer has another setting."""
    generator = tiny_generator()
    data = nvidia_pickle(generator)
    for old, new in settings.items():
        before, after = pickled(old, 4)[2:-1], pickled(new, 4)[2:-1]
        assert before in data
        data = data.replace(before, after)
    return data


def test_configurations_that_are_not_supported(tmp_path: Path) -> None:
    refused(tmp_path, changed(skip="resnet"), "architecture skip")
    refused(tmp_path, changed(lrelu="relu"), "activation lrelu")
    refused(tmp_path, changed(conv1="conv9"), "blocks of 4, 8")
    refused(tmp_path, changed(noise_const="noise"), "37 tensors.*noise_const")
    synthesis = New(Name("torch.nn.modules.module", "S"), {"_modules": {"input": New(Name("training.x", "I"), {})}})
    root = New(Name("training.networks", "Generator"), {"_modules": {"synthesis": synthesis}})
    refused(tmp_path, pickled({"G_ema": root}), "StyleGAN3")
    tensorflow = Call(Name("dnnlib.tflib.network", "Network"), ({},))
    refused(tmp_path, pickled((tensorflow, tensorflow, tensorflow)), "TensorFlow")


def test_other_filters_and_weights_that_are_not_finite(tmp_path: Path) -> None:
    generator = tiny_generator()
    generator.synthesis.b8.conv0.resample_filter[0, 0] = 1
    refused(tmp_path, nvidia_pickle(generator), "resampling filter")
    generator = tiny_generator()
    generator.synthesis.b8.conv0.weight[0, 0] = float("nan")
    refused(tmp_path, nvidia_pickle(generator), "finite weights")


def test_a_header_in_utf_16_is_refused_and_no_codec_loaded(tmp_path: Path) -> None:
    header = '{"x":1}'.encode("utf-16-le")
    sys.modules.pop("encodings.utf_16_le", None)
    refused(tmp_path, len(header).to_bytes(8, "little") + header + bytes(8), "safetensors")
    assert "encodings.utf_16_le" not in sys.modules


def test_paths(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(tiny_generator().to_bytes({}))
    for source, out in ((tmp_path / "none.pkl", path), (path, tmp_path / "out.pkl"), (path, path)):
        with pytest.raises(UsageError):
            import_checkpoint(source, out)
    empty = tmp_path / "empty.pkl"
    empty.write_bytes(b"")
    with pytest.raises(CheckpointError, match="0 bytes"):
        import_checkpoint(empty, tmp_path / "out.safetensors")
    assert load_base(str(path)).generator.config == tiny_generator().config
    deep = import_checkpoint(path, tmp_path / "new" / "folder" / "out.safetensors")
    assert deep.out.is_file()


def test_a_tiny_generator_makes_other_images_with_other_tensors() -> None:
    # The look-alikes prove nothing if some tensor does not matter.
    generator, z = tiny_generator(), torch.randn(1, 8)
    image = generator(z, psi=0.5)
    for name, value in generator.state_dict().items():
        if name.endswith("resample_filter"):
            continue
        other: Generator = tiny_generator()
        other.state_dict()[name].add_(torch.randn(value.shape) * 0.1)
        assert not torch.equal(other(z, psi=0.5), image), name
