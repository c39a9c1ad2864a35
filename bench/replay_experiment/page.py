"""The report: one HTML file with tables, plots and pictures. It shows real people, so it stays in the run folder."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from everface.bench.replay_experiment.cells import Cell
from everface.bench.replay_experiment.pool import pictures_of
from everface.bench.replay_experiment.tables import Results, label_of, markdown
from everface.engine.pictures import grid_of

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;font-size:13px}td,th{border-bottom:1px solid #ddd;padding:.3rem .6rem;text-align:left}
img{max-width:100%;image-rendering:auto}figure{margin:1rem 0}figcaption{color:#555;font-size:13px}"""
_SCALE = 2


def write_page(results: Results, cells: Sequence[Cell], folder: Path, plots: Sequence[Path]) -> Path:
    """Writes ``report.html`` into the run folder.

    Args:
        results: the numbers.
        cells: those to show pictures of.
        folder: of the run.
        plots: pictures of numbers to show.
    """
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>everface: does it remember?</title>",
        f"<style>{_STYLE}</style><h1>Does it remember?</h1>",
        f"<p>{html.escape(_about(results))}</p>",
        _table(markdown(results)),
        *(f"<figure><img alt='{one.stem}' src='{_data(one.read_bytes())}'></figure>" for one in plots if one.is_file()),
        "<h2>The first timestamp, as the last model reconstructs it</h2>",
        *_people(cells, folder),
        "</html>",
    ]
    path = folder / "report.html"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def _about(results: Results) -> str:
    one = next(iter(results.numbers.values()))
    people = sorted({(cell.person, numbers["timestamps"]) for cell, numbers in results.numbers.items()})
    names = ", ".join(f"{name} (T = {count})" for name, count in people)
    return (
        f"Timelines of {one['train']} photos to learn and {one['test']} to judge by, made by clustering: {names}. "
        f"Reconstruction is judged by {results.metric}, identity by {one['judge']}. AIP and Forgetting as in the "
        "paper: for distances lower is better, for ID higher is a better AIP. "
        "Intervals are 95 % (Student's t over people)."
    )


def _table(text: str) -> str:
    rows = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in text.splitlines()]
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows[2:])
    return f"<table><tr>{head}</tr>{body}</table>"


def _people(cells: Sequence[Cell], folder: Path) -> Iterator[str]:
    for person, seed in dict.fromkeys((cell.person, cell.seed) for cell in cells):
        mine = [cell for cell in cells if (cell.person, cell.seed) == (person, seed)]
        rows = [(label_of(cell), shown) for cell in mine if (shown := pictures_of(folder, cell)) is not None]
        if not rows:
            continue
        photos = rows[0][1][0]
        sheet = grid_of(np.concatenate([photos, *(pictures for _, (_, pictures) in rows)]), len(photos))
        names = ", ".join(("held-out photos", *(label for label, _ in rows)))
        yield (
            f"<figure><figcaption>{html.escape(f'{person}, seed {seed}; rows: {names}')}</figcaption>"
            f"<img alt='reconstructions' src='{_data(_png(sheet))}'></figure>"
        )


def _png(sheet: np.ndarray) -> bytes:
    held = io.BytesIO()
    image = Image.fromarray(sheet)
    image.resize((image.width * _SCALE, image.height * _SCALE), Image.Resampling.BICUBIC).save(held, "PNG")
    return held.getvalue()


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
