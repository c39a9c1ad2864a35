import itertools

import numpy as np
import pytest

from everface.engine.errors import UsageError
from everface.engine.report import ForgettingMatrix
from everface.engine.report.heatmap import colours, heat_maps


def luminance(colour: str) -> float:
    """Of WCAG 2.2."""
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return float(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


def test_numbers_are_legible_on_every_colour():
    for badness in np.linspace(0, 1, 201):
        dark, light = sorted(luminance(colour) for colour in colours(badness))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, badness


def test_worse_is_darker():
    seen = [luminance(colours(badness)[0]) for badness in np.linspace(0, 1, 21)]
    assert all(a > b for a, b in itertools.pairwise(seen))


def test_cells_follow_the_matrix():
    (m,) = heat_maps([ForgettingMatrix("lower", "d", False, np.array([[0.1, 7.0], [0.5, 0.3]]))])
    assert [[cell.text for cell in row] for row in m.rows] == [["0.100", ""], ["0.500", "0.300"]]
    assert m.rows[0][0].background == "#f2f6f3"
    assert m.rows[1][0].background == "#5e1a27"
    assert [row[t].diagonal for t, row in enumerate(m.rows)] == [True, True]
    assert (m.forgetting, m.average_performance) == ("0.400", ("0.100", "0.400"))


def test_for_similarities_high_is_the_good_colour():
    (m,) = heat_maps([ForgettingMatrix("lower", "cosine", True, np.array([[0.9, 0], [0.2, 0.8]]))])
    assert (m.rows[0][0].background, m.rows[1][0].background) == ("#f2f6f3", "#5e1a27")
    assert (m.legend[0].text, m.legend[-1].text) == ("0.900", "0.200")


def test_one_metric_shares_one_scale():
    a = ForgettingMatrix("a", "d", False, np.array([[0.0, 0], [1.0, 0.5]]))
    b = ForgettingMatrix("b", "d", False, np.array([[0.0, 0], [0.5, 0.5]]))
    other = ForgettingMatrix("c", "psnr", True, np.array([[30.0, 0], [20.0, 25.0]]))
    first, second, third = heat_maps([a, b, other])
    assert second.rows[1][0].background == first.rows[1][1].background
    assert third.rows[1][0].background == first.rows[1][0].background


def test_a_single_value_and_an_unmeasured_column():
    (m,) = heat_maps([ForgettingMatrix("a", "d", False, np.array([[0.3]]))])
    assert (m.forgetting, m.legend) == ("–", ())
    (m,) = heat_maps([ForgettingMatrix("a", "d", False, np.array([[np.nan, 0], [np.nan, 0.2]]))])
    assert m.rows[1][0].text == ""


def test_a_matrix_that_is_not_square():
    with pytest.raises(UsageError, match="square"):
        heat_maps([ForgettingMatrix("a", "d", False, np.zeros((2, 3)))])
