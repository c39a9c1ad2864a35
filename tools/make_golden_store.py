"""Makes tests/engine/replay/golden: stores of the current format version, to be read by every later one.

Usage: python tools/make_golden_store.py   (from the repository root; only ever for a new format version)
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.engine.replay.stores import CHEAP, CONFIG, photo, update

from everface.engine.replay.store import Key, ReplayStore

GOLDEN = Path(__file__).parents[1] / "tests/engine/replay/golden"


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name, key in (("plain", None), ("sealed", Key(b"golden"))):
        path = GOLDEN / name
        shutil.rmtree(path, ignore_errors=True)
        with ReplayStore.create(path, budget_bytes=16384, config_json=CONFIG, key=key, cost=CHEAP) as store:
            for timestamp in range(2):
                update(store, timestamp, [photo(10 * timestamp + i, timestamp, 32, 64) for i in range(4)])
            memories = store.memories()
            images = store.read_images([one.id for one in memories])
        told = {
            "memories": [[one.id, one.timestamp, one.codec, one.resolution, one.source_sha256] for one in memories],
            "means": [round(float(image.mean()), 1) for image in images], "w": [one.w[:4].tolist() for one in memories],
        }  # fmt: skip
        (GOLDEN / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")
        (path / "lock").unlink()


if __name__ == "__main__":
    main()
