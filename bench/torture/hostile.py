"""Checkpoints made to do harm: each must be refused, run nothing, and cost little time and memory."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from everface.bench.torture.lookalikes import zipped
from everface.bench.torture.pickling import Call, Name, New, Persistent, Raw, pickled
from everface.bench.torture.spoiled import STREAM_HEADER, Spoiled, one_of

_HARMFUL = (
    "os system", "posix system", "os popen", "os execv", "os remove", "builtins eval", "builtins exec",
    "builtins getattr", "builtins __import__", "builtins open", "builtins compile", "builtins print",
    "__builtin__ eval", "subprocess Popen", "subprocess check_output", "shutil rmtree", "importlib import_module",
    "runpy run_path", "runpy _run_code", "pty spawn", "code InteractiveInterpreter", "pickle loads", "_pickle loads",
    "torch load", "torch.hub load", "torch.jit load", "torch.serialization load", "torch.storage _load_from_bytes",
    "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "torch._utils _import_dotted_name",
    "functools partial", "operator attrgetter", "operator methodcaller", "types FunctionType", "types CodeType",
    "ctypes CDLL", "socket socket", "webbrowser open", "numpy load", "numpy.core.multiarray scalar",
    "numpy.testing._private.utils runstring", "torch_utils.persistence _reconstruct_persistent_obj",
    "torch_utils.persistence _src_to_module", "copyreg _reconstructor", "copyreg __newobj__", "collections OrderedDict",
    "_codecs encode", "codecs decode", "bdb Bdb", "pdb run", "timeit timeit", "cProfile run", "asyncio run",
    "torch._inductor.codecache compile_file", "torch.utils.cpp_extension load_inline", "torch Size", "builtins set",
    "dnnlib.util construct_class_by_name", "dnnlib.tflib.network Network", "training.networks Generator",
)  # fmt: skip
_TRACE = "executed"  # what every command here would leave a file called
CRAFTED = (
    "call", "name", "persistent", "memo", "nesting", "shape", "length", "keys", "steps", "stream", "header",
)  # fmt: skip
_FLOAT = Name("torch", "FloatStorage")
_EMPTY = Call(Name("collections", "OrderedDict"))


class Arsenal:
    """Draws hostile files.

    Args:
        rng: of all choices.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self._makers: dict[str, Callable[[], bytes]] = {name: getattr(self, f"_{name}") for name in CRAFTED}
        self.spoiled = Spoiled(rng)

    def draw(self) -> tuple[str, bytes]:
        """A kind and a file; half are crafted, half are spoiled copies of good ones; long runs of steps are rare."""
        makers = self._makers if self.rng.random() < 0.5 else self.spoiled.makers
        kind = str(self.rng.choice(list(makers)))
        if kind == "steps" and self.rng.random() < 0.97:
            kind = "call"
        return kind, makers[kind]()

    def _one(self, *choices: Any) -> Any:
        return one_of(self.rng, *choices)

    def _carried(self, value: Any) -> bytes:
        """A file of some format with the value somewhere in it."""
        protocol = self._one(2, 3, 4)
        parts = {name: New(Name("training.networks", "M"), {}) for name in ("backbone", "decoder")}
        network = Call(
            Name("torch_utils.persistence", "_reconstruct_persistent_obj"),
            ({"type": "class", "class_name": "Generator", "version": 6, "module_src": "", "state": value},),
        )
        held = self._one(
            value, {"G_ema": value}, {"g_ema": {"input.input": value}}, network, {"G_ema": network},
            {"G_ema": New(Name("training.triplane", "TriPlaneGenerator"), {"_modules": value, "_init_kwargs": value})},
            {"G_ema": New(Name("training.triplane", "T"), {"_modules": parts, "_init_kwargs": value, "c_dim": value})},
            {"D": value, "G_ema": None}, [value], (value, 1), {"G_ema": {"_parameters": value}},
        )  # fmt: skip
        data = pickled(held, protocol)
        return bytes(
            self._one(
                data,
                zipped({"data.pkl": data, "version": b"3\n"}),
                STREAM_HEADER + pickled({"little_endian": True}, 2) + data + pickled([], 2),
                pickled(Call(Name("torch.storage", "_load_from_bytes"), (data,)), protocol),
            )
        )

    def _command(self) -> str:
        return str(self._one(f"touch {_TRACE}", f"open('{_TRACE}', 'w')", f"__import__('os').system('touch {_TRACE}')"))

    def _call(self) -> bytes:
        module, name = str(self.rng.choice(_HARMFUL)).split()
        what, command = Name(module, name), self._command()
        arguments = self._one((command,), (command, {}), (), ([command],), (command,) * 4, (what, command), (None,) * 3)
        code = pickled(what, self._one(2, 4))[2:-1]
        text = pickled(command, 2)[2:-1]
        return self._carried(
            self._one(
                Call(what, arguments),
                Call(what, arguments, {"__setstate__": what, "state": command}),
                New(what, {"__dict__": command}),
                New(what),
                Call(Name("copyreg", "_reconstructor"), (what, Name("builtins", "object"), None), command),
                Raw(f"(V{command}\ni{module}\n{name}\n".encode()),
                Raw(b"(" + code + text + b"o"),
                Raw(code + text + b"\x85}\x92"),
                Raw(code + text + b"\x85\x81"),
                Raw(code + text + b"b"),
                Raw(b"\x82\x01" + text + b"\x85R"),
                Raw(b"\x84\x01\0\0\0" + text + b"\x85R"),
                Call(Call(Name("functools", "partial"), (what,)), arguments),  # type: ignore[arg-type]
            )
        )

    def _name(self) -> bytes:
        module = self._one(
            "torch", "torch._utils", "training.", "torch.nn.modules.", "torch_utils.persistence", "os", ""
        )
        tail = self._one("", ".os", "..os", "\u0000", "\u2024", " ", "x" * 700, "__builtins__")
        names = ("__globals__", "Module.__init__.__globals__", "_rebuild_tensor_v2.__code__", "system", "", "os.system",
                 "__class__", "FloatStorage\u200b", "load", "y" * 3000, "_rebuild_parameter.__globals__")  # fmt: skip
        what = Name(module + tail, self._one(*names))
        if "\n" in what.module or not what.module.isascii():
            return self._carried(Raw(pickled(what, 4)[2:-1] + b")R"))
        return self._carried(self._one(what, Call(what, (self._command(),)), New(what, {"a": what})))

    def _persistent(self) -> bytes:
        kind = self._one(_FLOAT, Name("torch", "load"), "FloatStorage", None)
        told = self._one(
            ("storage", kind, self._one("0", "../../etc/passwd", "data.pkl", "", "9" * 500, 3), "cpu", self._size()),
            ("module", Name("os", "system"), self._command(), self._command()), self._command(), None, (), ("storage",),
            ("storage", _FLOAT, "0", "cpu", 4, ("view", 0, 2)),
        )  # fmt: skip
        return self._carried(self._one(Persistent(told), Raw(f"P{self._command()}\n".encode())))

    def _size(self) -> int:
        return int(self._one(0, 1, -1, 7, 2**31, 2**40, 2**62, 2**63, 2**200, int(self.rng.integers(2**40))))

    def _memo(self) -> bytes:
        depth = int(self.rng.integers(5, 300))
        grow = self._one(b"](h\x00h\x00h\x00eq\x00", b"h\x00h\x00\x86q\x00", b"h\x00h\x00h\x00\x87q\x00",
                         b"}(Kah\x00Kbh\x00uq\x00", b"](h\x00h\x00el\x00")  # fmt: skip
        laughs = b"]q\x00" + grow * depth
        return self._carried(
            Raw(
                self._one(
                    b"Nr" + struct.pack("<I", int(self.rng.integers(2**32))) + b"0j\xff\xff\xff\xff",
                    b"N" + b"".join(b"r" + struct.pack("<I", i * 4093 % 2**32) for i in range(depth * 10)),
                    b"N\x94" * depth * 20 + b"0" * (depth * 20 - 1),
                    b"j\xff\xff\xff\x7f",
                    b"h\x05",
                    b"]q\x00h\x00a",
                    laughs,
                    b"}" + laughs + b"Ns",
                    b"\x8f(" + laughs + b"\x90",
                    b"}X\x08\0\0\0_modules" + laughs + b"s",
                    b"}X\x05\0\0\0state" + laughs + b"s",
                    laughs + b"cbuiltins\nset\nh\x00\x85R",
                )
            )
        )

    def _nesting(self) -> bytes:
        depth = int(10 ** self.rng.uniform(1, 4.95))
        inner: dict[str, Any] = {"_modules": {}}
        for _ in range(min(depth, 60)):
            inner = {"_modules": {"m": New(Name("training.networks", "M"), inner)}}
        return self._carried(
            self._one(
                Raw(b"]" * depth + b"a" * (depth - 1)),
                Raw(b"(" * depth),
                Raw(b"(" * depth + b"t" * depth),
                Raw(b"N" + b"\x85" * depth),
                Raw(b"}" + b"Ka}" * depth + b"s" * depth),
                Raw(b"2" * depth),
                Raw(b"N" + b"2" * depth),
                Raw(b"0" * depth),
                inner,
                Raw(b"]" + b"2a" * depth),
            )
        )

    def _shape(self) -> bytes:
        # Half have numbers as a tensor may have them, but beyond the storage of 16.
        plain = self.rng.random() < 0.5
        sizes = tuple(self._number(plain) for _ in range(int(self.rng.integers(0, 5 if plain else 12))))
        strides: Any = self._one(tuple(self._number(plain) for _ in sizes), (0,) * len(sizes), (2**61,) * len(sizes))
        offset = self._one(0, self._number(plain))
        numel, key = 16 if plain else self._one(self._size(), 16), "0" if plain else self._one("0", "1", "../0")
        storage: Any = Persistent(("storage", _FLOAT, key, "cpu", numel))
        arguments: tuple[Any, ...] = (storage, offset, sizes, strides, False, _EMPTY)
        if not plain:
            strides, storage = self._one(strides, None, sizes[1:]), self._one(storage, None, b"x", 5, [])
            arguments = (storage, offset, sizes, strides, False, _EMPTY)[: self._one(6, 6, 4, 2, 0)]
        made = Call(Name("torch._utils", "_rebuild_tensor_v2"), arguments)
        data = pickled({"g_ema": {"input.input": made, "conv1.conv.weight": made}, "latent_avg": made}, 2)
        if self.rng.random() < 0.5:
            return zipped({"data.pkl": data, "data/0": bytes(64), "data/1": bytes(4)})
        count = numel if isinstance(numel, int) and 0 <= numel < 2**63 else 0
        tail = pickled([key], 2) + struct.pack("<Q", self._one(count, 16)) + bytes(64)
        return STREAM_HEADER + pickled({"little_endian": True}, 2) + data + tail

    def _number(self, plain: bool) -> int:
        return int(self._one(1, 2, 3, 4, 5, 2**31, 2**61)) if plain else self._size()

    def _length(self) -> bytes:
        code = self._one(b"B", b"X", b"\x8b", b"T")
        wide = self._one(b"\x8e", b"\x8d", b"\x95", b"\x96")
        size = int(self._one(2**31 - 1, 2**32 - 1, 10**6, 2**20 + 1))
        return self._carried(
            Raw(
                self._one(
                    code + struct.pack("<I", size),
                    wide + struct.pack("<Q", self._one(size, 2**63 - 1, 2**64 - 1)),
                    b"\x8a\xff" + bytes(255),
                    b"L" + b"9" * 5000 + b"L\n",
                    b"I" + b"9" * 5000 + b"\n",
                    b"F1e999\n",
                    b"c" + b"o" * 5000 + b"\n",
                )
            )
        )

    def _keys(self) -> bytes:
        count = int(self.rng.integers(10, 5000))
        many = (
            b"}("
            + b"".join(b"\x8a\x09" + struct.pack("<Q", i * (2**61 - 1) % 2**64) + b"\0N" for i in range(count))
            + b"u"
        )
        small = b"}(" + b"".join(b"M" + struct.pack("<H", i % 65536) + b"N" for i in range(count)) + b"u"
        return self._carried(
            Raw(
                self._one(
                    many,
                    small,
                    b"}" + b"N" + b"\x85" * count + b"Ns",
                    b"}]Ns",
                    b"}}Ns",
                    b"\x8f(]\x90",
                    b"}(N" + b"Nu",
                    b"}G" + struct.pack(">d", float("nan")) + b"Ns",
                    b"](Nu",
                    b"N(N\x90",
                )
            )
        )

    def _steps(self) -> bytes:
        count = int(self.rng.integers(100_000, 700_000))
        piece = self._one(b"N0", b"]0", b"\x8f0", b"]", b"N\x850", b"}q\x000", b"(1")
        return self._carried(Raw(piece * (count // len(piece)) + b"N"))

    def _stream(self) -> bytes:
        system = self._one({"little_endian": False}, {}, {"little_endian": True}, [], {"little_endian": 1})
        key = self._one("0", "1", 0, None)
        value = Persistent(("storage", self._one(_FLOAT, Name("torch", "BoolStorage")), "0", "cpu", self._size()))
        keys = self._one([key], [key, key], [], {}, None, ["0"] * 1000)
        start = self._one(STREAM_HEADER, pickled(0x1950A86A20F9469CFC6C, 2) + pickled(self._size(), 2), pickled(1, 2))
        tail = struct.pack("<Q", abs(self._size()) % 2**64) + self.rng.bytes(int(self.rng.integers(64)))
        data = start + pickled(system, 2) + pickled(self._one(value, {"g_ema": value}), 2) + pickled(keys, 2) + tail
        return bytes(self._one(data, pickled(Call(Name("torch.storage", "_load_from_bytes"), (data,)), 3)))

    def _header(self) -> bytes:
        shape = self._one([self._size()], [2**40, 0], [-1], [1] * 5000, {}, "x")
        offsets = self._one([0, 4], [4, 0], [0, 2**63], [self._size()] * 2, None)
        header: Any = {
            "synthesis.b4.const": {"dtype": self._one("F32", "F8", 3), "shape": shape, "data_offsets": offsets}
        }
        if self.rng.random() < 0.5:
            told = {name: str(self._size()) for name in ("resolution", "w_dim", "channel_base", "mapping_layers")}
            header["__metadata__"] = self._one(told | {"architecture": "stylegan2"}, [], {"architecture": {}}, None)
        text: bytes = self._one(
            json.dumps(header), '{"a":' * 5000, "{" + '"a":[' * 50_000, "{}", '{"a":1e999}'
        ).encode()
        return struct.pack("<Q", self._one(len(text), self._size() % 2**64)) + text + bytes(4)
