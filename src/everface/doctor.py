"""What works on this machine, and why the rest does not: found by trying it, never by version numbers alone."""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from everface.engine.config import EngineConfig
from everface.engine.errors import EverfaceError, MissingBackendError

ASSETS = (
    "base128.safetensors",
    "base128-coordinates.safetensors",
    "base128-directions.safetensors",
    "base128-encoder.safetensors",
    "base3d.safetensors",
    "identity.safetensors",
    "perceptual.safetensors",
    "face_detection_back.onnx",
    "face_detection_full_range.onnx",
    "face_landmark.onnx",
    "face_moves.npy",
    "mean_face_mesh.npy",
)
_REINSTALL = "install everface again"
_TORCH = "2D does without; for 3D and pretraining pip install 'everface[torch]'"
# The two distributions own one import name; a plain `pip install onnxruntime-gpu` would leave a mixture of both.
_ONE_RUNTIME = "pip uninstall onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu"


Backend = dict[str, Any]
"""``{"available": bool, "why": str}``: whether it works here; what it is, or what is missing and the remedy."""


@dataclass(frozen=True)
class DoctorReport:
    """What ``diagnose`` found.

    Attributes:
        base: ``{"name", "resolution"}`` of the embedded base; 0 where it does not load: ``backends`` says why.
        backends: by lower-case name: native module, runtimes, codecs, keyring, packaged models.
    """

    base: dict[str, Any]
    backends: dict[str, Backend]


class _Missing(Exception):  # noqa: N818 (not an error: an answer)
    """Says why a backend is not available, with the remedy."""


def diagnose() -> DoctorReport:
    """Tries every backend and packaged model, in a few seconds; a broken package is an answer, not an error."""
    probes: dict[str, Callable[[], str]] = {
        "native": _native,
        "cuda": _cuda,
        "torch": _torch,
        "torch-cuda": _torch_cuda,
        "onnxruntime": _onnxruntime,
        "onnxruntime-cuda": partial(_provider, "CUDAExecutionProvider"),
        "onnxruntime-tensorrt": partial(_provider, "TensorrtExecutionProvider"),
        "tensorrt": _tensorrt,
        "tensorrt-rtx": _tensorrt_rtx,
    }
    for codec in ("webp", "avif", "jpeg", "jxl"):
        probes[f"codec-{codec}"] = partial(_codec, codec)
    probes["keyring"] = _keyring
    for asset in ASSETS:
        probes[f"model-{asset}"] = partial(_asset, asset)
    name = EngineConfig().base
    return DoctorReport(
        {"name": name, "resolution": _resolution(name)}, {key: _ask(probe) for key, probe in probes.items()}
    )


def _ask(probe: Callable[[], str]) -> Backend:
    try:
        return {"available": True, "why": probe()}
    except _Missing as answer:
        return {"available": False, "why": str(answer)}
    except Exception as error:  # noqa: BLE001 (a broken package may raise anything)
        found = " ".join(f"{type(error).__name__}: {error}".split())
        return {"available": False, "why": f"broken: {found[:300]}; install the package again"}


def _import(name: str, remedy: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise _Missing(f"not installed; {remedy}") from None


def _native() -> str:
    native = _import("everface._native", "install everface again, with a C++17 compiler")
    f32, bf16 = native.stylegan_isa()
    return f"C++ kernels for {native.cpu_isa()}; modulated convolution in float32 on {f32}, in bfloat16 on {bf16}"


def _cuda() -> str:
    native = _import("everface._native", "install everface again, with a C++17 compiler")
    if not native.cuda_compiled():
        remedy = "install nvcc and build everface again with EVERFACE_CUDA=ON"
        raise _Missing(f"the CUDA kernels are not compiled in; {remedy}")
    works, why = native.cuda_status()
    if not works:
        gpu = "no NVIDIA driver on this machine" if _gpu_count() is None else why
        raise _Missing(f"the CUDA kernels are compiled in, but: {gpu}; install a current NVIDIA driver, or use the CPU")
    return f"CUDA kernels compiled in; {why}"


def _gpu_count() -> int | None:
    """GPUs that the NVIDIA driver shows; None without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _torch() -> str:
    torch = _import("torch", _TORCH)
    fast = [name for name in ("avx512_bf16", "amx_tile") if getattr(torch.cpu, f"_is_{name}_supported", bool)()]
    bf16 = f"in hardware ({', '.join(fast)})" if fast else "emulated, slow"
    return f"{torch.__version__}, {torch.get_num_threads()} threads, bfloat16 on the CPU {bf16}"


def _torch_cuda() -> str:
    torch = _import("torch", _TORCH)
    if torch.version.cuda is None:
        raise _Missing(f"torch {torch.__version__} is a build without CUDA; install a CUDA build from pytorch.org")
    if not torch.cuda.is_available():
        raise _Missing(
            f"torch is built for CUDA {torch.version.cuda} but finds no GPU; check the driver with nvidia-smi"
        )
    return f"CUDA {torch.version.cuda} on {torch.cuda.get_device_name(0)}"


def _onnxruntime_packages() -> list[str]:
    """The installed distributions that own the import name ``onnxruntime``, with versions."""
    names = sorted(set(importlib.metadata.packages_distributions().get("onnxruntime", [])))
    return [f"{name} {importlib.metadata.version(name)}" for name in names]


def _onnxruntime() -> str:
    ort = _import("onnxruntime", "pip install onnxruntime")
    packages = _onnxruntime_packages()
    if not hasattr(ort, "InferenceSession"):
        remedy = "pip uninstall onnxruntime onnxruntime-gpu, then install one of them"
        raise _Missing(f"damaged ({' and '.join(packages) or 'left by no installed package'}); {remedy}")
    answer = f"{', '.join(packages) or f'{ort.__version__}, of no installed distribution'}; loaded is {ort.__version__}"
    answer += f", providers {', '.join(ort.get_available_providers())}"
    if len(packages) > 1:
        answer += (
            f". {' and '.join(packages)} own one import name and overwrite each other's files: "
            "uninstall them all, then install one"
        )
    _run_tiny(ort, "CPUExecutionProvider")
    return answer


def _run_tiny(ort: Any, provider: str) -> list[str]:
    """Runs a one-node model; returns the providers that ONNX Runtime really took."""
    import numpy as np
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "tiny", ends[:1], ends[1:])
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    providers = list(dict.fromkeys([provider, "CPUExecutionProvider"]))
    session = ort.InferenceSession(model.SerializeToString(), options, providers=providers)
    if session.run(None, {"x": np.ones(1, np.float32)})[0][0] != -1:
        raise _Missing("it runs, but -1 times 1 was not -1; install it again")
    return list(session.get_providers())


def _provider(name: str) -> str:
    ort = _import("onnxruntime", "pip install onnxruntime")
    if name not in ort.get_available_providers():
        packages = " and ".join(_onnxruntime_packages()) or "the installed onnxruntime"
        raise _Missing(f"{packages} is built without {name}; {_ONE_RUNTIME}")
    gpus = _gpu_count()
    if not gpus:
        found = "no NVIDIA driver" if gpus is None else "no GPU"
        raise _Missing(f"{name} is built in, but there is {found}; use the CPU, or a machine with an NVIDIA GPU")
    if name not in _run_tiny(ort, name):
        raise _Missing(f"{name} is built in but does not start; install the CUDA libraries that its release notes name")
    return f"{name} runs"


def _tensorrt() -> str:
    trt = _import("tensorrt", "pip install 'everface[gpu]'")
    if not _gpu_count():
        raise _Missing(f"tensorrt {trt.__version__} is installed, but needs an NVIDIA GPU, and there is none")
    return f"{trt.__version__}, {_gpu_count()} GPUs"


def _tensorrt_rtx() -> str:
    remedy = "pip install tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings"
    _import("tensorrt_rtx_libs", remedy)
    rtx = _import("tensorrt_rtx_bindings", remedy)
    gpus = _gpu_count()
    return f"{rtx.__version__}; builds engines, {'and runs them' if gpus else 'but there is no GPU to run them'}"


def _codec(name: str) -> str:
    import numpy as np

    from everface.engine.replay.codec import CodecChoice, decode, encode

    try:
        data, side = encode(np.full((32, 32, 3), 128, np.uint8), CodecChoice(name))
        decode(data, name, side)
    except MissingBackendError as error:
        raise _Missing(f"not installed; {error.remedy}") from None
    return "encodes and decodes"


def _keyring() -> str:
    keyring = _import("keyring", "pip install 'everface[keyring]', or use --passphrase-file")
    store = keyring.get_keyring()
    if store.priority <= 0:
        raise _Missing("installed, but the system has no keyring it can use; use --passphrase-file")
    return str(store.name)


def _asset(name: str) -> str:
    from everface.engine.assets import asset_path

    try:
        path = asset_path(name)
    except EverfaceError:
        raise _Missing(f"missing; {_REINSTALL}") from None
    try:
        _read(path)
    except Exception as error:  # noqa: BLE001 (each format has its own errors)
        raise _Missing(f"damaged ({' '.join(str(error).split())[:200]}); {_REINSTALL}") from None
    return f"{path.stat().st_size} bytes, readable"


def _read(path: Path) -> None:
    """Reads a file as what its name says it is."""
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, "np") as file:
            if not list(file.keys()):
                raise ValueError("no tensors")
    elif path.suffix == ".onnx":
        import onnx

        onnx.checker.check_model(onnx.load(path))
    else:
        import numpy as np

        np.load(path, allow_pickle=False)


def _resolution(base: str) -> int:
    try:
        from everface.engine.generators.bases import load_base

        return load_base(base).weights.config.resolution
    except Exception:  # noqa: BLE001 (a damaged file may raise anything; its own entry says so)
        return 0
