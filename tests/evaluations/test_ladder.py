"""The ladder of strengths of a reference, and what models keep there."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from robustssm.cli import main
from robustssm.errors import UsageError
from robustssm.evaluations.searches.ladder import SHARES, ladder

EPS = st.lists(st.floats(0.01, 100.0), min_size=12, max_size=40, unique=True)


def frame(model: str, eps: list[float], wrong: int = 0) -> pd.DataFrame:
    found = [*[0.0] * wrong, *eps]
    right = [False] * wrong + [True] * len(eps)
    return pd.DataFrame({"model": model, "eps": found, "right": right})


@given(EPS, EPS, st.integers(0, 9))
def test_the_reference_keeps_its_shares_and_the_area_is_that_of_the_curve(
    own: list[float], other: list[float], wrong: int
) -> None:
    frames = [frame("a", own, wrong), frame("b", other, 1)]
    rungs, (kept, others) = ladder(frames, "a", "l2")
    clean = len(own) / (len(own) + wrong)
    for share, eps in rungs.items():
        # The least strength at which no more than the share is left: just below more is.
        below = np.mean(np.array(own + [0.0] * wrong) >= eps)
        assert kept[f"kept_{share:g}"] <= share * clean + 1e-12 < below + 1e-12 or share == 0.9
        assert others[f"kept_{share:g}"] == np.mean(np.array([*other, 0.0]) > eps)
        assert others[f"kept_{share:g}_low"] <= others[f"kept_{share:g}"]
    assert list(rungs) == list(SHARES)
    # The curve is a step function of log eps: summed between its steps, exactly but for rounding.
    first, last = np.log(min(rungs.values())), np.log(max(rungs.values()))
    steps = np.log([eps for eps in other if first < np.log(eps) < last])
    knots = np.concatenate([[first], np.sort(steps), [last]])
    middle = np.exp((knots[1:] + knots[:-1]) / 2)
    heights = (np.array([*other, 0.0])[None] > middle[:, None]).mean(1)
    area = float((heights * np.diff(knots)).sum() / (last - first))
    assert others["area"] == pytest.approx(area, abs=1e-9)
    # In decibels strength grows downwards; 20 log10 keeps the order and the proportions.
    turned = [one.assign(eps=[-20 * np.log10(v) if v else np.inf for v in one["eps"]])
              for one in frames]  # fmt: skip
    _, again = ladder(turned, "a", "snr-db")
    assert again[1]["area"] == pytest.approx(area, abs=1e-9)
    assert again[0]["kept_0.5"] == kept["kept_0.5"]


def test_what_is_never_broken_counts_as_kept() -> None:
    never = [*np.geomspace(0.1, 1.0, 6), *[np.inf] * 4]
    rungs, (row,) = ladder([frame("a", never)], "a", "std")
    assert list(rungs) == [0.9, 0.75, 0.5]  # of ten samples four stay
    assert row["kept_0.5"] == 0.5 and row["area"] > 0.5
    with pytest.raises(UsageError, match="widen them"):
        ladder([frame("a", [0.5, *[np.inf] * 9])], "a", "std")


def test_the_command(checkpoints: dict[str, Path]) -> None:
    models = ",".join(f"{name}={checkpoints[name]}" for name in ("s4d", "s4ptd-rank1"))
    asked = ["search", "minimal", "BandPGD(0, 32, steps=3)", "--model", models, "--limit", "24",
             "-j", "1", "--eps-unit", "l2", "--from", "0.05", "--to", "4",
             "--rungs", "4"]  # fmt: skip
    result = CliRunner().invoke(main, [*asked, "--ladder", "s4d", "--format", "json"])
    assert result.exit_code == 0, result.output
    first, second = json.loads(result.stdout)["rows"]
    assert first["eps_0.5"] == second["eps_0.5"]
    assert first["kept_0.5"] <= 0.5 * first["right"] / first["n"] < first["kept_0.75"] + 1e-12
    shown = CliRunner().invoke(main, [*asked, "--ladder", "s4d"]).stdout
    rungs = shown[shown.index("right where") :]
    assert rungs.count("s4ptd-rank1") == 5 + 1 and "area over log eps" in rungs
    assert max(map(len, rungs.splitlines())) <= 80
    refused = CliRunner().invoke(main, [*asked, "--ladder", "s6"])
    assert refused.exit_code == 2 and "--ladder s6 is none of" in refused.stderr
