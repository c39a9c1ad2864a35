"""Tables of the 3D experiment from known scores."""

from __future__ import annotations

import pytest

from everface.bench.replay3d import rows_of
from everface.bench.replay_experiment.posed import BASE, METHODS, METRICS_3D, Scores3D


def _scores(shift: float) -> Scores3D:
    """Every method's numbers differ; er-hull forgets less than lower by 0.04 + shift."""
    found: Scores3D = {BASE: {f"{metric} AIP": 0.1 for metric in METRICS_3D}}
    for i, method in enumerate(METHODS):
        forgot = 0.08 if method == "lower" else 0.04 - shift
        found[method] = {"processor seconds": 10.0 + i}
        for metric in METRICS_3D:
            found[method] |= {f"{metric} AIP": 0.5 + shift, f"{metric} Forgetting": forgot}
    return found


def test_rows_are_means_over_people_beside_the_base_and_lower() -> None:
    rows = rows_of({("A", 0): _scores(0.0), ("A", 1): _scores(0.02), ("B", 0): _scores(0.03)})
    told = {(row.case, row.metric): row for row in rows}
    identity = told["er-hull b=3", "synthesis identity AIP"]
    assert identity.value == pytest.approx(0.52)  # person A's seeds are averaged first: (0.51 + 0.53) / 2
    assert (identity.peer, identity.repeats) == ("base", 3)
    assert identity.ratio == pytest.approx(5.2)
    forgot = told["er-hull b=3", "synthesis identity Forgetting"]
    assert (forgot.peer, forgot.peer_value) == ("lower", pytest.approx(0.08))
    assert forgot.ratio == pytest.approx(0.08 / 0.02)
    assert told["er-hull b=3", "p of synthesis identity Forgetting, sign flips"].value == pytest.approx(0.25)
    assert ("lower", "p of synthesis identity Forgetting, sign flips") not in told
    assert ("upper", "synthesis identity Forgetting") not in told


def test_a_forgetting_below_zero_has_no_ratio() -> None:
    rows = rows_of({("A", 0): _scores(0.05)})
    forgot = next(row for row in rows if row.case == "er-hull b=3" and row.metric == "reconstruction Forgetting")
    assert forgot.value == pytest.approx(-0.01)
    assert forgot.ratio is None and forgot.spread == 0.0
