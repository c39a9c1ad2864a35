import base64
import dataclasses
import importlib.util
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everface.engine.errors import UsageError
from everface.engine.report import Memory, Number, RejectedPhoto, ReportData, Timestamp, render_report

_spec = importlib.util.spec_from_file_location("report_example", Path(__file__).with_name("example.py"))
example = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(example)

HOSTILE = "<script>alert(1)</script>\"' onerror=x &amp; </style> {{ 7*7 }} \udcff\x00\u202egpj"
SECTIONS = ["timeline", "memories", "reconstructions", "samples", "forgetting", "settings"]


class Page(HTMLParser):
    """Collects tags, attributes and visible text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def html():
    return render_report(example.example_report())


def test_every_part_is_there(html):
    page = Page(html)
    ids = [value for name, value in page.attributes if name == "id"]
    assert ids == SECTIONS
    # 6 memories, 4 times photo, base and now, 2 grids of 8.
    assert page.tags.count("img") == 6 + 12 + 16
    for printed in (
        "20 accepted",
        "2 rejected",
        "IMG_0412.jpg",
        "blurred",
        "corner of the hull",
        "0.610",
        "41 KiB of 128 KiB",
    ):
        assert printed in page.text
    assert page.text.count("AIP") == 3  # under both matrices, and in the definition


def test_the_summary_of_the_matrices_is_computed(html):
    text = re.sub(r"\s+", " ", Page(html).text)
    # lower: (0.61 - 0.21 + 0.50 - 0.20 + 0.42 - 0.19) / 3; er-hull: (0.10 + 0.06 + 0.06) / 3.
    assert "Forgetting0.310" in text
    assert "Forgetting0.073" in text


def test_nothing_points_outside(html):
    page = Page(html)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", html))
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(page.tags)
    addresses = [value for name, value in page.attributes if name in ("src", "href", "srcset")]
    assert addresses
    assert all(value.startswith("data:image/webp;base64,") for value in addresses)
    assert any(name == "content" and "default-src 'none'" in value for name, value in page.attributes)


def test_images_are_those_given():
    picture = example.face(3)
    page = Page(render_report(ReportData("t", memories=(Memory(picture, 0, 10),))))
    (address,) = [value for name, value in page.attributes if name == "src"]
    back = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))
    assert (np.asarray(back) == picture).all()


def _hostile(value):
    """The same data with every string replaced by a hostile one."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, tuple):
        return tuple(_hostile(v) for v in value)
    if dataclasses.is_dataclass(value):
        return dataclasses.replace(
            value, **{f.name: _hostile(getattr(value, f.name)) for f in dataclasses.fields(value)}
        )
    return value


def test_hostile_strings_stay_text(html):
    page, plain = Page(render_report(_hostile(example.example_report()))), Page(html)
    assert set(page.tags) == set(plain.tags)
    assert {name for name, _ in page.attributes} == {name for name, _ in plain.attributes}
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert "\x00" not in page.text
    render_report(_hostile(example.example_report())).encode("utf-8")


def test_a_young_workspace_has_a_short_report():
    page = Page(render_report(ReportData("new", summary=(Number("Photos", "0"),))))
    assert not [value for name, value in page.attributes if name == "id"]
    page = Page(render_report(ReportData("lower", policy="lower", timeline=(Timestamp(0, 3),))))
    assert "Nothing of the past is kept." in page.text
    assert "Batch 1" in page.text


def test_rejections_are_folded_away_but_there():
    photos = (RejectedPhoto("a.jpg", "no-face"),)
    html = render_report(ReportData("t", timeline=(Timestamp(0, 1, photos),)))
    assert "<details>" in html
    assert "no-face" in html


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_other_images_are_refused(image):
    with pytest.raises(UsageError, match="uint8 image"):
        Memory(image, 0, 1)


def _screenshot(page: Path, target: Path, width: int, height: int) -> np.ndarray:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no chromium on PATH: install the chromium package to test the page's looks")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    flags += [
        f"--user-data-dir={target.parent / 'profile'}",
        f"--window-size={width},{height}",
        f"--screenshot={target}",
    ]
    subprocess.run([browser, *flags, page.as_uri()], check=True, timeout=120, capture_output=True)
    return np.asarray(Image.open(target).convert("RGB"))


def test_looks_in_a_browser(html, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(html, encoding="utf-8")
    seen = _screenshot(page, tmp_path / "page.png", 1000, 3600)
    assert seen.shape == (3600, 1000, 3)

    def count(colour):
        return int((seen == np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])).all(axis=2).sum())

    assert count("#f7f7f4") > 0.2 * seen.shape[0] * seen.shape[1], "the page's background"
    assert count("#5e1a27") > 500, "the worst cell of the heat map"
    assert count("#23706a") > 2000, "the accent of bars and numbers"
    # Drawn faces, not grey placeholders: many colours in the band of memories.
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) > 3000
    # Nothing runs over the right edge.
    assert (seen[:, -8:] == np.array([0xF7, 0xF7, 0xF4])).all()
