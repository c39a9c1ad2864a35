"""The paper's experiment in 3D, small: people, b = 3, the embedded 3D base, each photo from its own camera.

``python -m everface.bench.replay3d --albums ZIP --people A,B --seeds 2 --judge MOBILEFACENET.onnx --out FOLDER
--json FILE``; ``everface bench replay3d`` runs the embedded album. A person and seed is a file in the folder: an
interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from everface.bench.common import BenchResult, Row, machine, print_rows, write_json
from everface.bench.demo_album import unpack_demo_album
from everface.bench.judge import IdentityJudge
from everface.bench.progress import PlainProgress
from everface.bench.replay_experiment.people import DEMO_PERSON, photos_of
from everface.bench.replay_experiment.posed import BASE, METHODS, METRICS_3D, Scores3D, Settings3D, measure
from everface.bench.replay_experiment.statistics import interval_of, paired_test
from everface.bench.replay_experiment.timeline import Plan
from everface.engine.config import EngineConfig
from everface.engine.errors import UsageError
from everface.engine.learn.backend import open_backend
from everface.engine.progress import OnProgress, ignore_progress

# Mean of 4 people (paper, 3D table): AIP and Forgetting of the synthesised pictures' identity, times 10.
PUBLISHED_3D = {"lower": (4.92, 1.08), "er-rand": (5.35, 0.68), "er-hull": (5.37, 0.66), "upper": (5.78, None)}

Key = tuple[str, int]
"""Person and seed."""


def rows_of(results: Mapping[Key, Scores3D]) -> list[Row]:
    """Means over people; spread is half of the 95 % interval; identity beside the base's, forgetting beside lower's.

    Args:
        results: scores of every person and seed.
    """
    rows: list[Row] = []
    ran = set.intersection(*(set(scores) for scores in results.values()))
    for method in (one for one in (BASE, *METHODS) if one in ran):
        case = method + (" b=3" if method.startswith("er-") else "")
        for metric, (unit, higher) in METRICS_3D.items():
            rows.append(_beside(results, (method, BASE), (case, f"{metric} AIP", unit), higher))
            if method in (BASE, "upper") or "lower" not in ran:
                continue
            name = f"{metric} Forgetting"
            rows.append(_beside(results, (method, "lower"), (case, name, unit), False))
            tested = paired_test(_of(results, method, name), _of(results, "lower", name))
            if method != "lower" and tested is not None:
                for test, p in (("paired t", tested.p_t), ("sign flips", tested.p_flip)):
                    if np.isfinite(p):
                        runs = tested.difference.runs
                        rows.append(Row(case, f"p of {name}, {test}", p, "probability", "lower", repeats=runs))
        if method != BASE:
            seconds = interval_of(_of(results, method, "processor seconds"))
            rows.append(Row(case, "time", seconds.mean, "processor seconds", repeats=seconds.runs))
    # Other people, another base and another judge: to stand beside, not to be divided by.
    for name, values in PUBLISHED_3D.items():
        for what, value in zip(("AIP", "Forgetting"), values, strict=True):
            if value is not None:
                rows.append(Row(f"published {name} b=3", f"synthesis identity {what}", value / 10, "cosine"))
    return rows


def _of(results: Mapping[Key, Scores3D], method: str, name: str) -> dict[Key, float]:
    return {key: scores[method][name] for key, scores in results.items()}


def _beside(
    results: Mapping[Key, Scores3D], methods: tuple[str, str], named: tuple[str, str, str], higher: bool
) -> Row:  # fmt: skip
    case, name, unit = named
    ours, theirs = (interval_of(_of(results, one, name)) for one in methods)
    spread = ours.half if np.isfinite(ours.half) else 0.0
    if methods[0] == methods[1] or min(ours.mean, theirs.mean) <= 0:  # a forgetting may be negative: no ratio then
        return Row(case, name, ours.mean, unit, repeats=ours.runs, spread=spread)
    ratio = ours.mean / theirs.mean if higher else theirs.mean / ours.mean
    return Row(case, name, ours.mean, unit, methods[1], theirs.mean, ratio, ours.runs, spread)


def run(full: bool, on_progress: OnProgress = ignore_progress) -> BenchResult:
    """The embedded album; ``full`` makes more updates."""
    settings = Settings3D(plan=Plan(3, 4, 2), photos=60)
    if full:
        settings = replace(settings, tune=replace(settings.tune, max_steps=150))
    with tempfile.TemporaryDirectory() as folder:
        unpack_demo_album(Path(folder))
        photos = sorted(Path(folder).rglob("*.jpg"))
        backend = open_backend(EngineConfig(dimension="3d"))
        scores = measure(backend, DEMO_PERSON, photos, settings, None, on_progress)
        return BenchResult("replay3d", tuple(rows_of({(DEMO_PERSON, settings.seed): scores})), machine())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    chosen = _parser().parse_args(arguments)
    methods = tuple(chosen.methods.split(","))
    if unknown := set(methods) - set(METHODS):
        raise UsageError("--methods", expected=", ".join(METHODS), found=", ".join(sorted(unknown)))
    settings = Settings3D(methods=methods)
    settings = replace(settings, tune=replace(settings.tune, max_steps=chosen.steps))
    config = EngineConfig(base=chosen.base, dimension="3d")
    backend = open_backend(config)
    embed = None if chosen.judge is None else IdentityJudge(chosen.judge, config.photo.crop_scale).embed
    results: dict[Key, Scores3D] = {}
    chosen.out.mkdir(parents=True, exist_ok=True)
    for seed in range(chosen.seeds):
        for person in chosen.people.split(","):
            mine = replace(settings, seed=seed)
            about = {
                "settings": asdict(mine),
                "base": backend.base.sha256,
                "judge": str(chosen.judge and chosen.judge.name),
            }
            path = chosen.out / f"{person}.{seed}.json"
            if path.exists() and (known := json.loads(path.read_text()))["of"] == json.loads(json.dumps(about)):
                results[person, seed] = known["scores"]
                continue
            with photos_of(chosen.albums, person) as photos:
                results[person, seed] = measure(backend, person, photos, mine, embed, PlainProgress())
            path.write_text(json.dumps({"of": about, "scores": results[person, seed]}))
    whole = {"settings": asdict(settings), "people": chosen.people.split(","), "seeds": chosen.seeds}
    result = BenchResult("replay3d", tuple(rows_of(results)), {**machine(), **whole})
    write_json(result, chosen.json)
    print_rows(result)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="everface.bench.replay3d", description=__doc__)
    parser.add_argument("--albums", type=Path, required=True, help="zip of folders, one a person")
    parser.add_argument("--people", required=True, help="names, with commas")
    parser.add_argument("--judge", type=Path, help="MobileFaceNet in ONNX")
    parser.add_argument("--base", default="base3d")
    parser.add_argument("--steps", type=int, default=Settings3D().tune.max_steps)
    parser.add_argument("--methods", default=",".join(METHODS), help="with commas")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("replay-out/3d"), help="folder for finished people")
    parser.add_argument("--json", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
