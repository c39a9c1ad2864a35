"""``python -m everface.export.runtime BUNDLE -n 4 --out DIR``: pictures from a bundle, as PNG files."""

from __future__ import annotations

import argparse
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import EverfaceError, UsageError
from everface.export.runtime import Runtime


def png(picture: NDArray[np.uint8]) -> bytes:
    """A PNG file of uint8 [h, w, 3] or [h, w, 1]."""
    height, width, channels = picture.shape
    if channels not in (1, 3):
        raise UsageError("picture", expected="1 or 3 channels", found=str(channels))
    rows = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, -1)], axis=1).tobytes()
    head = struct.pack(">2L5B", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows, 6)), (b"IEND", b"")]
    text = (
        struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(text)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m everface.export.runtime", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("-n", type=int, default=4, help="how many pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder for the PNG files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--provider", action="append", help="of ONNX Runtime; CPUExecutionProvider by default")
    parser.add_argument("--passphrase-file", type=Path)
    parser.add_argument("--operators", type=Path, help="everface's operator library, if the bundle needs another")
    chosen = parser.parse_args(arguments)
    try:
        secret = None
        if chosen.passphrase_file is not None:
            secret = chosen.passphrase_file.read_bytes().removesuffix(b"\n").removesuffix(b"\r")
        providers = chosen.provider or ("CPUExecutionProvider",)
        runtime = Runtime.open(chosen.bundle, providers, passphrase=secret, operators=chosen.operators)
        pictures = runtime.generate(chosen.n, chosen.seed)
        chosen.out.mkdir(parents=True, exist_ok=True)
        for i, picture in enumerate(pictures):
            (chosen.out / f"{i:03d}.png").write_bytes(png(picture))
    except OSError as error:
        sys.stderr.write(f"everface: {error}\n")
        return 1
    except EverfaceError as error:
        sys.stderr.write(f"everface: {error}\n")
        return error.exit_code
    sys.stdout.write(f"Wrote {len(pictures)} files to {chosen.out}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
