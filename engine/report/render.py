"""From ``ReportData`` to one HTML page."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from everface.engine.report.data import Image, ReportData
from everface.engine.report.heatmap import heat_maps
from everface.engine.report.text import byte_size, clean, duration, number

TEMPLATE = "report.html.j2"
LOSSLESS_PIXELS = 128 * 128


def render_report(data: ReportData) -> str:
    """Renders the page: one file, images inside, no script, and a policy that forbids every outside address.

    Args:
        data: what to show. Its strings may hold anything: they are escaped.

    Returns:
        HTML, encodable as UTF-8.

    Raises:
        UsageError: a forgetting matrix is malformed.
    """
    # Jinja2 is imported here, so that filling a ReportData costs nothing.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).resolve().parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters.update(data_uri=data_uri, number=number, byte_size=byte_size, duration=duration)
    losses = [v for t in data.timeline for v in (t.loss_before, t.loss_after) if v is not None]
    return environment.get_template(TEMPLATE).render(
        data=data,
        heat_maps=heat_maps(data.matrices),
        top_loss=max([*losses, 1e-9]),
        filled=_share(data.used_bytes, data.budget_bytes),
    )


def data_uri(image: Image) -> str:
    """A ``data:`` address of the image as WebP, lossless up to 128 x 128 pixels."""
    from PIL import Image as Pillow

    held = io.BytesIO()
    lossless = image.shape[0] * image.shape[1] <= LOSSLESS_PIXELS
    Pillow.fromarray(image).save(held, "WEBP", lossless=lossless, quality=90, method=4)
    return "data:image/webp;base64," + base64.b64encode(held.getvalue()).decode("ascii")


def _finalize(value: Any) -> Any:
    """Cleans strings on their way out; markup made by Jinja2 itself passes through here unescaped-safe."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return clean(value)
    return value


def _share(used: int | None, budget: int | None) -> float | None:
    """Percent of the budget in use, 0 to 100."""
    return None if used is None or not budget else min(100.0, 100.0 * used / budget)
