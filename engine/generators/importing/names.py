"""The allow-list: every name that a pickle may use, and what stands for it here. Nothing is imported or called."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from everface.engine.generators.importing.instructions import key_of
from everface.engine.generators.importing.limits import Budget, refuse
from everface.engine.generators.importing.values import Global, Opaque, Record, Storage, TensorRef, spelled

_STORAGES = {
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "DoubleStorage": "float64",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_DTYPES = frozenset(_STORAGES.values())
# Modules whose classes may stand as records: a class is only a name here, so all of a module's names will do.
_RECORD_MODULES = (
    "torch.nn.modules.",
    "training.",
    "torch_utils.persistence",
    "third_party.stylegan2_ada_pytorch.",
)
_RECORDS = {("argparse", "Namespace"), ("types", "SimpleNamespace")}
_DICTIONARIES = {
    ("dnnlib.util", "EasyDict"),
    ("dnnlib", "EasyDict"),
    ("third_party.stylegan2_ada_pytorch.dnnlib.util", "EasyDict"),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
}
_SETS = {("builtins", "set"), ("__builtin__", "set")}
_ROOTS = {("builtins", "object"), ("__builtin__", "object"), ("builtins", "dict"), ("__builtin__", "dict")}
_MAX_DIMENSIONS = 8
_MAX_ENCODED = 1 << 16
LoadBytes = Callable[[memoryview, Budget], Storage]


class AllowList:
    """Looks names up and says what a call of each yields.

    Args:
        load_bytes: reads the storage of a pickle inside a pickle (``torch.storage._load_from_bytes``); None where
            the format has none.
    """

    def __init__(self, load_bytes: LoadBytes | None = None) -> None:
        self.load_bytes = load_bytes

    def find(self, module: str, name: str) -> Global:
        """The name.

        Raises:
            CheckpointError: it is not on the list.
        """
        if module.startswith("dnnlib.tflib"):
            remedy = "convert it with NVIDIA's own tools to a PyTorch .pkl first; nothing in it was run"
            raise refuse("a network of PyTorch", "one of TensorFlow (StyleGAN2's first release)", remedy)
        if not _is_known(module, name):
            raise refuse(
                "only names of PyTorch's tensors and NVIDIA's networks",
                f"the name {module[:80]}.{name[:80]}",
                "it was not imported; import only checkpoints of the formats that `everface import --help` names",
            )
        return Global(module, name)

    def call(self, budget: Budget, what: Any, arguments: tuple[Any, ...]) -> Any:
        """What a call of a name yields.

        Raises:
            CheckpointError: it is not a name that may be called, or the arguments are not its own.
        """
        if not isinstance(what, Global):
            raise refuse("a name to call", spelled(what))
        key = (what.module, what.name)
        if what.name == "_load_from_bytes" and what.module == "torch.storage":
            return self._storage(budget, arguments)
        if what.name == "_reconstruct_persistent_obj":
            return _persistent_object(arguments)
        if key in _DICTIONARIES:
            return _dictionary(budget, arguments)
        if key in _SETS:
            return _set(budget, arguments)
        if handler := _CALLS.get(key):
            try:
                return handler(arguments)
            except (IndexError, ValueError, TypeError, struct.error):
                raise refuse(f"the arguments of {what.name}", "others") from None
        raise refuse("a name that may be called", spelled(what))

    def new(self, what: Any, arguments: tuple[Any, ...]) -> Any:
        """A new object of a class.

        Raises:
            CheckpointError: its class is not one that may be a record.
        """
        if isinstance(what, Global) and not arguments:
            if (what.module, what.name) in _DICTIONARIES:
                return {}
            if _is_record(what.module, what.name):
                return Record(what.name)
        raise refuse("a class of NVIDIA's networks or of torch.nn", spelled(what))

    def build(self, target: Any, state: Any) -> None:
        """Gives an object its state; attributes of a dictionary, such as torch's ``_metadata``, are of no use.

        Raises:
            CheckpointError: the object takes none.
        """
        if isinstance(target, Record | Opaque) and target.state is None:
            target.state = state
        elif not isinstance(target, dict):
            raise refuse("an object without a state", spelled(target))

    def _storage(self, budget: Budget, arguments: tuple[Any, ...]) -> Storage:
        if self.load_bytes is None or len(arguments) != 1 or not isinstance(arguments[0], memoryview):
            raise refuse("the bytes of a storage", "something else, or a pickle in a pickle in a pickle")
        return self.load_bytes(arguments[0], budget)


def storage_dtype(kind: Any) -> str:
    """The element type of a storage class.

    Raises:
        CheckpointError: it is not a storage class.
    """
    if isinstance(kind, Global) and kind.module in ("torch", "torch.storage") and kind.name in _STORAGES:
        return _STORAGES[kind.name]
    raise refuse("a storage class of torch", spelled(kind))


def _is_record(module: str, name: str) -> bool:
    return (module, name) in _RECORDS or (module.startswith(_RECORD_MODULES) and name.isidentifier())


def _is_known(module: str, name: str) -> bool:
    key = (module, name)
    return (
        key in _CALLS
        or key in _DICTIONARIES
        or key in _SETS
        or key in _ROOTS
        or key in (("torch.storage", "_load_from_bytes"), ("numpy", "ndarray"))
        or (module in ("torch", "torch.storage") and (name in _STORAGES or name in _DTYPES))
        or _is_record(module, name)
    )


def _persistent_object(arguments: tuple[Any, ...]) -> Record:
    # NVIDIA's `persistence`: a dictionary with the class's source, which would be executed, and the object's state.
    meta = arguments[0] if len(arguments) == 1 else None
    if not isinstance(meta, dict) or meta.get("type") != "class" or not isinstance(meta.get("class_name"), str):
        raise refuse("the class name and state of a persistent object", spelled(meta))
    return Record(meta["class_name"], meta.get("state"))


def _dictionary(budget: Budget, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if not arguments or isinstance(arguments[0], Global):  # defaultdict's factory is of no use
        return {}
    pairs = arguments[0]
    if len(arguments) > 1 or not isinstance(pairs, list):
        raise refuse("pairs for a dictionary", spelled(pairs))
    budget.spend(len(pairs))
    table = {}
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise refuse("pairs for a dictionary", spelled(pair))
        table[key_of(pair[0])] = pair[1]
    return table


def _set(budget: Budget, arguments: tuple[Any, ...]) -> set[Any]:
    items = arguments[0] if len(arguments) == 1 else []
    if len(arguments) > 1 or not isinstance(items, list):
        raise refuse("a list for a set", spelled(items))
    budget.spend(len(items))
    return {key_of(item) for item in items}


def _numbers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, tuple | list) or len(value) > _MAX_DIMENSIONS:
        raise ValueError
    if not all(isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 1 << 62 for size in value):
        raise ValueError
    return tuple(value)


def _tensor(arguments: tuple[Any, ...]) -> TensorRef:
    storage, offset, size, stride = arguments[:4]
    if not isinstance(storage, Storage) or len(arguments) > 8:
        raise ValueError
    (offset,), size, stride = _numbers((offset,)), _numbers(size), _numbers(stride)
    if len(size) != len(stride):
        raise ValueError
    return TensorRef(storage, offset, size, stride)


def _parameter(arguments: tuple[Any, ...]) -> TensorRef:
    if not isinstance(arguments[0], TensorRef) or len(arguments) > 4:
        raise ValueError
    return arguments[0]


def _record(arguments: tuple[Any, ...]) -> Record:
    # copyreg._reconstructor(class, base, state of the base): what protocol 2 makes of an object.
    kind, base, state = arguments
    if not isinstance(kind, Global) or not _is_record(kind.module, kind.name) or not isinstance(base, Global):
        raise ValueError
    if state is not None or base.name != "object":
        raise ValueError
    return Record(kind.name)


def _encoded(arguments: tuple[Any, ...]) -> memoryview:
    text, encoding = arguments
    if not isinstance(text, str) or len(text) > _MAX_ENCODED or encoding not in ("latin1", "latin-1"):
        raise ValueError
    return memoryview(text.encode("latin-1"))


def _numpy_dtype(arguments: tuple[Any, ...]) -> Opaque:
    if not isinstance(arguments[0], str) or len(arguments[0]) > 8:
        raise ValueError
    return Opaque(arguments[0])


def _numpy_scalar(arguments: tuple[Any, ...]) -> Any:
    kind, data = arguments
    if not isinstance(kind, Opaque) or not isinstance(data, memoryview) or len(data) > 8:
        raise ValueError
    # The state of a dtype is (version, byte order, ...).
    if isinstance(kind.state, tuple) and len(kind.state) > 1 and kind.state[1] == ">":
        raise refuse("little-endian numbers", "big-endian ones", "convert the checkpoint on the machine that wrote it")
    return struct.unpack(_FORMATS.get(kind.text, "x"), data)[0]


_FORMATS = {"f8": "<d", "f4": "<f", "f2": "<e", "i8": "<q", "i4": "<i", "i2": "<h", "i1": "<b", "u1": "<B", "b1": "<?"}
_SCALARS = ("numpy.core.multiarray", "numpy._core.multiarray")
_CALLS: dict[tuple[str, str], Callable[[tuple[Any, ...]], Any]] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch.nn.parameter", "Parameter"): _parameter,
    ("torch", "Size"): lambda arguments: _numbers(arguments[0]),
    ("torch", "device"): lambda arguments: Opaque(),
    ("copyreg", "_reconstructor"): _record,
    ("copy_reg", "_reconstructor"): _record,
    ("_codecs", "encode"): _encoded,
    ("numpy", "dtype"): _numpy_dtype,
    **{(module, "scalar"): _numpy_scalar for module in _SCALARS},
    **{(module, "_reconstruct"): lambda arguments: Opaque() for module in _SCALARS},
}
