"""An update that failed tells what `update --json` promises."""

from __future__ import annotations

import pytest

from everface.engine.errors import NothingToDoError
from everface.engine.photos import Rejection
from everface.engine.session.values import AcceptedPhoto, UpdateFailedError


def test_a_failed_update_reports_as_one_that_worked() -> None:
    rejected = (Rejection("a.jpg", "no-face", "No face was found"),)
    with pytest.raises(NothingToDoError, match="none better") as caught:
        raise UpdateFailedError(
            "update", expected="a better model", found="none better", remedy="give it more time", rejected=rejected,
            accepted=(AcceptedPhoto("b.jpg"),), before=0.5, after=0.6, stopped="worse",
        )  # fmt: skip
    report = caught.value.report()  # type: ignore[attr-defined]
    assert (report["accepted"][0].name, report["rejected"]) == ("b.jpg", rejected)
    assert (report["before"], report["after"], report["stopped"]) == (0.5, 0.6, "worse")
    assert "give it more time" in report["error"]
