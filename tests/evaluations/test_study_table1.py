"""The quoted table: its own averages, and nothing quoted that looks measured."""

from pathlib import Path

import pytest

from robustssm.evaluations.paper.reproduction import QUOTED, Context
from robustssm.evaluations.paper.table1 import REPRODUCTION, TASKS, quoted


def test_the_averages_are_those_of_the_entries() -> None:
    frame = quoted(Context({}, {}, Path(), Path())).dropna(subset=["published_average"])
    for _, group in frame.groupby("model"):
        assert list(group["task"]) == list(TASKS)
        # Averages are published to two digits.
        assert group["published"].mean() == pytest.approx(
            group["published_average"].iloc[0], abs=0.0051
        )


def test_nothing_counts_as_measured() -> None:
    frame = quoted(Context({}, {}, Path(), Path()))
    assert frame["measured"].isna().all() and (frame["measured_seeds"] == 0).all()
    assert frame["source"].str.startswith("arXiv ").all() and frame["evidence"].ne("").all()
    assert {found.verdict for found in REPRODUCTION.findings({"quoted": frame})} == {QUOTED}
