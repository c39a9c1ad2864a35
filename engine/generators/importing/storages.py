"""PyTorch's two file formats, the zip archive and the older stream, and the pickles in NVIDIA's ``.pkl``."""

from __future__ import annotations

from typing import Any

from everface.engine.generators.importing.archive import Archive
from everface.engine.generators.importing.limits import Budget, refuse
from everface.engine.generators.importing.machine import Machine
from everface.engine.generators.importing.names import AllowList, storage_dtype
from everface.engine.generators.importing.values import Global, Storage, spelled

ITEM_BYTES = {
    "float64": 8, "int64": 8, "float32": 4, "int32": 4, "float16": 2, "bfloat16": 2, "int16": 2, "int8": 1, "uint8": 1,
    "bool": 1,
}  # fmt: skip
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_REMEDY = "save it again with PyTorch on a little-endian machine"


def read_pickle(data: memoryview, budget: Budget) -> Any:
    """The value of a plain pickle, whose tensors are streams inside it: NVIDIA's ``.pkl``."""
    return Machine(data, AllowList(_inner_storage), budget).run()[0]


def read_zip(data: memoryview, budget: Budget) -> Any:
    """The value of what ``torch.save`` writes since version 1.6."""
    archive = Archive(data, budget)
    if archive.has("constants.pkl"):
        raise refuse("a checkpoint of weights", "a TorchScript program", "export its state_dict instead")
    if archive.has("byteorder") and bytes(archive.read("byteorder")[:8]) != b"little":
        raise refuse("little-endian numbers", "big-endian ones", _REMEDY)

    def persistent(identity: Any) -> Storage:
        dtype, key, numel = _storage_id(identity)
        if key not in storages:
            content = archive.read(f"data/{key}")
            storages[key] = Storage(dtype, numel, _exact(content, dtype, numel))
        if (storages[key].dtype, storages[key].numel) != (dtype, numel):
            raise refuse("one type and size for a storage", "two")
        return storages[key]

    storages: dict[str, Storage] = {}
    return Machine(archive.read("data.pkl"), AllowList(), budget, persistent).run()[0]


def read_stream(data: memoryview, budget: Budget) -> Any:
    """The value of what ``torch.save`` wrote before: four pickles, the storages' keys, and the storages."""
    names = AllowList()
    storages: dict[str, Storage] = {}

    def persistent(identity: Any) -> Any:
        if (
            isinstance(identity, tuple)
            and len(identity) == 4
            and identity[0] == "module"
            and isinstance(identity[1], Global)
        ):
            return identity[1]  # a class beside its source, which is not looked at
        dtype, key, numel = _storage_id(identity)
        return storages.setdefault(key, Storage(dtype, numel))

    at = 0
    header = []
    for _ in range(3):
        value, at = Machine(data, names, budget).run(at)
        header.append(value)
    _check_header(header)
    value, at = Machine(data, names, budget, persistent).run(at)
    keys, at = Machine(data, names, budget).run(at)
    if not isinstance(keys, list) or len(keys) != len(storages) or not all(isinstance(key, str) for key in keys):
        raise refuse(f"the keys of {len(storages)} storages", spelled(keys))
    for key in keys:
        storage = storages.get(key)
        if storage is None or storage.data is not None:
            raise refuse("each storage once", "another")
        count = int.from_bytes(data[at : at + 8], "little")
        size = storage.numel * ITEM_BYTES[storage.dtype]
        if count != storage.numel or size > len(data) - at - 8:
            raise refuse(f"a storage of {storage.numel} numbers", f"one of {count}, or the end of the file")
        storage.data = data[at + 8 : at + 8 + size]
        at += 8 + size
    return value


def _inner_storage(data: memoryview, budget: Budget) -> Storage:
    # No pickle inside this one: the allow-list of a stream has no reader for it.
    value = read_stream(data, budget)
    if not isinstance(value, Storage):
        raise refuse("a storage", spelled(value))
    return value


def _check_header(header: list[Any]) -> None:
    magic, protocol, system = header
    if magic != _MAGIC or protocol != _PROTOCOL or not isinstance(system, dict):
        raise refuse("the header that torch.save writes", "another")
    if system.get("little_endian") is not True:
        raise refuse("little-endian numbers", "big-endian ones", _REMEDY)


def _storage_id(identity: Any) -> tuple[str, str, int]:
    if not isinstance(identity, tuple) or not 5 <= len(identity) <= 6 or identity[0] != "storage":
        raise refuse("the id of a storage", spelled(identity))
    kind, key, numel = identity[1], identity[2], identity[4]
    if len(identity) == 6 and identity[5] is not None:
        raise refuse("a storage of its own", "a view of another", "save the checkpoint again with a newer PyTorch")
    if not isinstance(key, str) or len(key) > 64 or not isinstance(numel, int) or not 0 <= numel < 1 << 40:
        raise refuse("the key and size of a storage", f"{spelled(key)} and {spelled(numel)}")
    return storage_dtype(kind), key, numel


def _exact(content: memoryview, dtype: str, numel: int) -> memoryview:
    if len(content) != numel * ITEM_BYTES[dtype]:
        raise refuse(f"{numel} numbers of type {dtype}", f"{len(content)} bytes")
    return content
