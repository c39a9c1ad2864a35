"""`bench checkpoints`: what hostile and spoiled files get out of the importer and of a bundle's reader: nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

from everface.bench.common import Full, Listen, Row
from everface.bench.torture.bundles import malformed_bundles
from everface.bench.torture.checkpoints import hostile_reads
from everface.engine.progress import ignore_progress


def run(*, full: Full = False, on_progress: Listen = ignore_progress, seed: int = 0) -> list[Row]:
    """Reads 2,000 hostile checkpoints and 400 malformed bundles, or 100,000 and 10,000."""
    done = hostile_reads(100_000 if full else 2000, seed, on_progress)
    rows = [
        Row("hostile checkpoints", "files", done.files, "files"),
        Row("hostile checkpoints", "refused", done.refused, "files"),
        Row("hostile checkpoints", "read as a whole generator", done.read, "files"),
        Row("hostile checkpoints", "code executed", len(done.executed), "files"),
        Row("hostile checkpoints", "other outcome", len(done.wrong), "files"),
        Row("hostile checkpoints", "longest", round(done.seconds, 3), "s"),
        Row("hostile checkpoints", "memory growth", done.grown_bytes, "bytes"),
    ]
    for kind, (files, refused) in done.kinds.items():
        rows += [Row(f"hostile {kind}", "files", files, "files"), Row(f"hostile {kind}", "refused", refused, "files")]
    with tempfile.TemporaryDirectory() as folder:
        bundles = malformed_bundles(Path(folder), 10_000 if full else 400, seed, on_progress)
    rows += [
        Row("malformed bundles", "files", bundles.files, "files"),
        Row("malformed bundles", "refused", bundles.refused, "files"),
        Row("malformed bundles", "other outcome", len(bundles.wrong), "files"),
    ]
    rows += [Row(f"{line[:100]}", "outcome", 1, "files") for line in (*done.executed, *done.wrong, *bundles.wrong)[:20]]
    return rows
