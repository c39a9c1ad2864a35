"""The report: one HTML file with tables, plots and pictures. It shows real people, so it stays in the run folder."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment
from PIL import Image

from everface.bench.replay_experiment.cells import Cell
from everface.bench.replay_experiment.pool import pictures_of
from everface.bench.replay_experiment.tables import Results, label_of, table_of
from everface.engine.pictures import grid_of

_PAGE = """<!doctype html><html lang=en><meta charset=utf-8><title>everface: does it remember?</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;font-size:13px}td,th{border-bottom:1px solid #ddd;padding:.3rem .6rem;text-align:left}
img{max-width:100%;image-rendering:auto}figure{margin:1rem 0}figcaption{color:#555;font-size:13px}</style>
<h1>Does it remember?</h1><p>{{ about }}</p>
<table>{% for row in table %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</table>
{% for caption, png in figures %}<figure><figcaption>{{ caption }}</figcaption>
<img alt="{{ caption }}" src="data:image/png;base64,{{ png }}"></figure>
{% endfor %}</html>
"""
_SCALE = 2


def write_page(results: Results, cells: Sequence[Cell], folder: Path, plots: Sequence[Path]) -> Path:
    """Writes ``report.html`` into the run folder.

    Args:
        results: the numbers.
        cells: those to show pictures of.
        folder: of the run.
        plots: pictures of numbers to show.
    """
    figures = [(plot.stem, plot.read_bytes()) for plot in plots if plot.is_file()] + list(_people(cells, folder))
    encoded = [(caption, base64.b64encode(png).decode()) for caption, png in figures]
    page = Environment(autoescape=True).from_string(_PAGE)
    path = folder / "report.html"
    path.write_text(page.render(about=_about(results), table=table_of(results), figures=encoded), encoding="utf-8")
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


def _people(cells: Sequence[Cell], folder: Path) -> Iterator[tuple[str, bytes]]:
    """The first timestamp of each timeline, as the last model of each method reconstructs it."""
    for person, seed in dict.fromkeys((cell.person, cell.seed) for cell in cells):
        mine = [cell for cell in cells if (cell.person, cell.seed) == (person, seed)]
        rows = [(label_of(cell), shown) for cell in mine if (shown := pictures_of(folder, cell)) is not None]
        if not rows:
            continue
        photos = rows[0][1][0]
        sheet = Image.fromarray(
            grid_of(np.concatenate([photos, *(pictures for _, (_, pictures) in rows)]), len(photos))
        )
        held = io.BytesIO()
        sheet.resize((sheet.width * _SCALE, sheet.height * _SCALE), Image.Resampling.BICUBIC).save(held, "PNG")
        names = ", ".join(("held-out photos", *(label for label, _ in rows)))
        yield f"{person}, seed {seed}: the first timestamp; rows: {names}", held.getvalue()
