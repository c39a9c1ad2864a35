"""The doctor tells the truth, above all about what is broken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from everface import _native, doctor
from everface.doctor import ASSETS, diagnose


def test_this_machine() -> None:
    report = diagnose()
    assert report.base == {"name": "base128", "resolution": 128}
    for name in ("native", "torch", "onnxruntime", "codec-webp", *(f"model-{asset}" for asset in ASSETS)):
        assert report.backends[name]["available"], (name, report.backends[name])
    assert report.backends["cuda"]["available"] == _native.cuda_status()[0]
    assert _native.cpu_isa() in report.backends["native"]["why"]
    for name, item in report.backends.items():
        assert item["why"], name
        assert item["available"] or ";" in item["why"], f"{name} names no remedy: {item['why']}"


def test_assets_are_all_that_the_package_has() -> None:
    folder = Path(doctor.__file__).parent / "engine/assets"
    models = {item.name for item in folder.iterdir() if item.suffix in (".safetensors", ".onnx", ".npy")}
    assert models == set(ASSETS)


def test_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxruntime", "tensorrt", "tensorrt_rtx_libs", "keyring"):
        monkeypatch.setitem(sys.modules, name, None)
    for probe in (doctor._onnxruntime, doctor._tensorrt, doctor._tensorrt_rtx, doctor._keyring):
        result = doctor._ask(probe)
        assert not result["available"]
        assert result["why"].startswith("not installed; pip install")


def test_torch_that_cannot_be_imported() -> None:
    code = "import sys; sys.modules['torch'] = None\nfrom everface.cli import main\nmain(['doctor', '--json'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    printed = json.loads(done.stdout)
    assert printed["base"] == {"name": "base128", "resolution": 128}
    assert not printed["backends"]["torch"]["available"]
    assert printed["backends"]["onnxruntime"]["available"]


def test_package_that_raises_while_it_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    result = doctor._ask(doctor._tensorrt)
    assert not result["available"]
    assert "libnvinfer.so.10" in result["why"]


def test_package_that_lacks_a_dependency_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keyring.py").write_text("import no_such_dependency_of_keyring")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keyring", raising=False)
    assert "broken: ModuleNotFoundError: No module named 'no_such" in doctor._ask(doctor._keyring)["why"]


def test_both_runtimes_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    both = ["onnxruntime", "onnxruntime-gpu"]
    monkeypatch.setattr("importlib.metadata.packages_distributions", lambda: {"onnxruntime": both})
    monkeypatch.setattr("importlib.metadata.version", lambda name: {"onnxruntime": "1.32.0"}.get(name, "1.31.0"))
    result = doctor._ask(doctor._onnxruntime)
    assert result["available"]
    assert "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.0 own one import name and overwrite" in result["why"]
    assert "uninstall them all" in result["why"]


def test_runtime_damaged_by_uninstalling_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    result = doctor._ask(doctor._onnxruntime)
    assert not result["available"]
    assert result["why"].startswith("damaged")
    assert "then install one of them" in result["why"]


def test_provider_that_is_built_in_but_has_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    monkeypatch.setattr(doctor, "_gpu_count", lambda: None)
    result = doctor._ask(lambda: doctor._provider("CUDAExecutionProvider"))
    assert result["why"].startswith("CUDAExecutionProvider is built in, but there is no NVIDIA driver;")
    monkeypatch.setattr(doctor, "_gpu_count", lambda: 1)
    monkeypatch.setattr(doctor, "_run_tiny", lambda *_: ["CPUExecutionProvider"])
    result = doctor._ask(lambda: doctor._provider("CUDAExecutionProvider"))
    assert not result["available"]
    assert "does not start" in result["why"]


def test_kernels_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_import", lambda *_: SimpleNamespace(cuda_compiled=lambda: False))
    assert "not compiled in; install nvcc" in doctor._ask(doctor._cuda)["why"]


def test_keyring_without_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(get_keyring=lambda: SimpleNamespace(priority=0, name="fail"))
    monkeypatch.setitem(sys.modules, "keyring", fake)
    assert "no keyring it can use; use --passphrase-file" in doctor._ask(doctor._keyring)["why"]


@pytest.mark.parametrize("name", ["base128.safetensors", "face_landmark.onnx", "mean_face_mesh.npy"])
def test_damaged_and_missing_models(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from everface.engine.assets import asset_path

    data = asset_path(name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    monkeypatch.setattr("everface.engine.assets.asset_path", lambda item: tmp_path / item)
    result = doctor._ask(lambda: doctor._asset(name))
    assert not result["available"]
    assert result["why"].startswith("damaged (")
    assert result["why"].endswith("; install everface again")
    assert doctor._ask(lambda: doctor._asset("gone.onnx"))["why"].startswith("damaged (")
    monkeypatch.undo()
    assert doctor._ask(lambda: doctor._asset("gone.onnx"))["why"].startswith("missing; ")
