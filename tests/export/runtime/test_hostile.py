"""Bundles made to do harm: each is refused with a clear error, before anything large is allocated."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.export.runtime.refusal import refused

from everface.engine.errors import EverfaceError, IntegrityError
from everface.export.runtime import Runtime
from everface.export.runtime.container import Container, pack
from everface.export.runtime.guard import check_graph
from everface.export.runtime.manifest import parse_manifest

Members = dict[str, bytes]
Forge = Callable[..., Path]


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "hostile.bundle"
    path.write_bytes(data)
    return path


def zipped(members: Members, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["../escape.onnx", "/etc/passwd", "a/b.onnx", "..", "C:\\x.onnx", ".hidden", "x" * 99])
def test_paths_that_lead_elsewhere(name: str, tmp_path: Path, members: Members) -> None:
    refused(write(tmp_path, zipped(members | {name: b"x"})), "expected a plain file name")
    with pytest.raises(IntegrityError, match="plain file name"):
        pack({name: b"x"})


def test_zip_bombs(tmp_path: Path, members: Members) -> None:
    bomb = zipped(members | {"personal.onnx": bytes(50 << 20)}, compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 20
    refused(write(tmp_path, bomb), "stored as it is: neither compressed nor encrypted")


def test_sizes_that_lie(tmp_path: Path, members: Members) -> None:
    data = bytearray(pack(members))
    at = data.rindex(b"PK\1\2")
    struct.pack_into("<2L", data, at + 20, 1 << 31, 1 << 31)
    refused(write(tmp_path, bytes(data)), "the header that the directory tells of")
    data = bytearray(pack(members))
    struct.pack_into("<H", data, len(data) - 12, 60000)
    struct.pack_into("<H", data, len(data) - 14, 60000)
    refused(write(tmp_path, bytes(data)), "a directory of 1 to 16 members")


def test_members_twice_gaps_and_comments(tmp_path: Path, members: Members) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        buffer = io.BytesIO(pack(members))
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr("LICENSE.txt", b"other")
    refused(write(tmp_path, buffer.getvalue()), "one of that name, found two")
    refused(write(tmp_path, b"#!/bin/sh\n" + pack(members)), "a directory of 1 to 16 members at its end")
    buffer = io.BytesIO(pack(members))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"hello"
    refused(write(tmp_path, buffer.getvalue()), "without a comment")


@pytest.mark.parametrize("keep", [0, 1, 21, 22, 100, 0.3, 0.9, 0.999])
def test_truncated_files(keep: float, tmp_path: Path, bundle: Path) -> None:
    data = bundle.read_bytes()
    refused(write(tmp_path, data[: int(keep * len(data)) if isinstance(keep, float) else keep]), "bundle")


def test_wrong_hashes(tmp_path: Path, members: Members) -> None:
    changed = bytearray(members["anchors.f32"])
    changed[5] ^= 1
    refused(write(tmp_path, pack(members | {"anchors.f32": bytes(changed)})), r"anchors\.f32: expected SHA-256")
    changed = bytearray(members["personal.onnx"])
    changed[len(changed) // 2] ^= 1
    refused(write(tmp_path, pack(members | {"personal.onnx": bytes(changed)})), r"personal\.onnx: expected SHA-256")


def test_files_that_the_manifest_does_not_name(tmp_path: Path, members: Members) -> None:
    refused(write(tmp_path, pack(members | {"weights.bin": b"x"})), "weights.bin: expected the files that the manifest")
    less = {name: data for name, data in members.items() if name != "mean.f32"}
    refused(write(tmp_path, pack(less)), r"mean\.f32: expected the files that the manifest names")


def test_links_and_pipes_in_a_folder(tmp_path: Path, members: Members) -> None:
    for name, data in members.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "personal.onnx").unlink()
    (tmp_path / "personal.onnx").symlink_to("/dev/zero")
    refused(tmp_path, "a plain file with a plain name")
    (tmp_path / "personal.onnx").unlink()
    os.mkfifo(tmp_path / "personal.onnx")
    refused(tmp_path, "a plain file with a plain name")


@pytest.mark.parametrize(
    "change",
    [
        {"resolution": 1 << 40}, {"resolution": -1}, {"resolution": True}, {"w_dim": "24"}, {"psi": float("nan")},
        {"anchor_groups": [1 << 30]}, {"anchor_groups": []}, {"anchor_groups": [-3, 10]}, {"graphs": {}},
        {"graphs": {"personal": "../personal.onnx"}}, {"graphs": {"other": "mapping.onnx"}}, {"files": 3},
        {"metadata": None}, {"version": 2}, {"format": "zip"}, {"num_ws": None},
        {"files": {"mean.f32": [-1, "00" * 32]}},
        {"files": {"mean.f32": [96, "zz" * 32]}},
    ],
)  # fmt: skip
def test_manifests_that_cannot_be(change: dict[str, object], forge: Forge) -> None:
    refused(forge(**change), "bundle")


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"format": "everface-bundle"}', b"[" * 100_000, b"\xff\xfe"])
def test_manifests_that_are_no_json(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_manifest(data)


def test_scrypt_that_would_take_all_memory(tmp_path: Path, members: Members) -> None:
    envelope = {"format": "everface-bundle", "version": 1, "salt": "00" * 16, "verifier": "00" * 8}
    for cost in ({"n": 1 << 40, "r": 8, "p": 1}, {"n": 1 << 15, "r": 1 << 20, "p": 1}, {"n": "x", "r": 1, "p": 1}):
        told = json.dumps(envelope | {"scrypt": cost}).encode()
        path = write(tmp_path, pack({"envelope.json": told} | members))
        with pytest.raises(IntegrityError, match="scrypt, salt and verifier"):
            Runtime.open(path, passphrase="x")


def tampered(members: Members, change: Callable[[onnx.ModelProto], None]) -> Members:
    model = onnx.load_from_string(members["personal.onnx"])
    change(model)
    return {"personal.onnx": model.SerializeToString()}


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "../../etc/passwd", "offset": "0", "length": "64"}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def giant_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [1 << 20, 1 << 20]


def giant_broadcast(model: onnx.ModelProto) -> None:
    for name, shape in (("column", (1, 1, 1 << 15, 1)), ("row", (1, 1, 1, 1 << 15))):
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    model.graph.node.insert(0, helper.make_node("Add", ["column", "row"], ["giant"]))


def giant_stride(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "ConvTranspose")
    next(one for one in node.attribute if one.name == "strides").ints[:] = [1 << 20, 1 << 20]


def giant_padding(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    next(one for one in node.attribute if one.name == "pads").ints[:] = [1 << 40] * 4


def giant_fill(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([1 << 40]), "size"))
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["size"], ["giant"]))


def loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.insert(0, helper.make_node("If", ["weights"], ["x"], then_branch=body, else_branch=body))


def custom(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, helper.make_node("Relu", ["weights"], ["x"], domain="evil"))


def function(model: onnx.ModelProto) -> None:
    model.functions.add().name = "f"


def tensor_attribute(model: onnx.ModelProto) -> None:
    value = numpy_helper.from_array(np.zeros(3, np.float32))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["x"], value=value))


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def unknown_value(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "nowhere"


def string_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("s", TensorProto.STRING, [1], [b"x"]))


def other_result(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[0].output[0]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (external, "weights inside the file, found external data"), (giant_constant, "bytes each, found"),
        (giant_broadcast, "values of at most"), (giant_stride, "a plain convolution"),
        (giant_padding, "a plain convolution"), (giant_fill, "operators of a generator, found ConstantOfShape"),
        (loop, "a tensor or a graph inside"), (custom, "standard operators"), (function, "one plain graph"),
        (tensor_attribute, "a tensor or a graph inside"), (second_input, "inputs"), (unknown_value, "KeyError"),
        (string_constant, "raw bytes"), (other_result, "a result of shape"),
    ],
)  # fmt: skip
def test_graphs_made_to_do_harm(
    change: Callable[[onnx.ModelProto], None], match: str, forge: Forge, members: Members
) -> None:
    refused(forge(tampered(members, change)), match)


def test_a_graph_of_another_bundle(forge: Forge, members: Members) -> None:
    refused(forge({"personal.onnx": members["synthesis.onnx"]}), "inputs")


def test_anchors_that_are_not_numbers(forge: Forge, members: Members) -> None:
    bad = np.full(7 * 24, np.nan, "<f4").tobytes()
    refused(forge({"anchors.f32": bad}), r"anchors\.f32: expected finite numbers")
    refused(forge({"anchors.f32": bad[:-4]}), r"anchors\.f32: expected float32 \(7, 24\)")


def test_flipped_bytes_never_pass_and_never_crash(tmp_path: Path, bundle: Path) -> None:
    """Any byte but those of ZIP's dates and versions, which nothing reads, is covered by a check."""
    data, rng = bundle.read_bytes(), random.Random(0)
    ends = len(data) - data.index(b"PK\1\2")
    for _ in range(300):
        broken = bytearray(data)
        at = rng.randrange(len(data)) if rng.random() < 0.7 else len(data) - 1 - rng.randrange(ends)
        broken[at] ^= 1 << rng.randrange(8)
        path = write(tmp_path, bytes(broken))
        try:
            runtime = Runtime.open(path)
            for name in runtime.manifest.files:
                runtime._members.read(name)
        except EverfaceError:
            continue
        same = Container(path)
        assert all(same.read(name, size) == Container(bundle).read(name, size) for name, size in same.sizes.items())


def test_a_changed_word_that_nothing_reads_is_found_by_its_checksum(tmp_path: Path, bundle: Path) -> None:
    data = bundle.read_bytes()
    for word in (b"terms", b"max_error"):
        assert word in data
        broken = data.replace(word, bytes([word[0] ^ 1]) + word[1:], 1)
        refused(write(tmp_path, broken), r"manifest\.json: expected the bytes that were packed")


def test_mutated_graphs_raise_nothing_else(members: Members) -> None:
    """The guard meets bytes whose hashes an attacker made hold."""
    rng = random.Random(1)
    data = members["personal.onnx"]
    inputs, output = {"weights": (1, 7)}, (1, 3, 16, 16)
    check_graph(data, inputs, output, "personal.onnx")
    survived = 0
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(broken))
            if rng.random() < 0.5:
                broken[at] = rng.randrange(256)
            else:
                del broken[at : at + rng.randrange(1, 9)]
        try:
            check_graph(bytes(broken), inputs, output, "personal.onnx")
            survived += 1
        except IntegrityError:
            pass
    # Flips inside a weight change a picture, and nothing else.
    assert 0 < survived < 300
