"""What Fig. 2 shows in numbers: where S4D breaks off, all errors over seeds, the linear part."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from robustssm.evaluations.paper import reproduction
from robustssm.evaluations.paper.filter_bank import STEADY, WINDOW
from robustssm.evaluations.paper.reproduction import Claim, agrees, finding, interval_agrees
from robustssm.evaluations.paper.sinusoids import FIXED
from robustssm.evaluations.statistics.intervals import student

DIAG = "s4d"
# Models that extrapolate, says the paper.
CLAIMED = ("s4", "s4ptd")
INSIDE, OUTSIDE = "inside", "outside"
# The paper's training range ends here, rad per unit time.
FIRST = 80.0
# The paper's "beyond s ~ 80": the break agrees within this many rad per unit time.
NEAR = 5.0
# Above this RMS of A^/A - 1 inside the training range a network has learnt nothing to break off.
LEARNT = 0.25
NO_CLAIM = "no claim of this design"
# Columns of `fig2.errors`, and what each is the RMS of.
ERRORS = {"rms_ratio": "A^/A - 1", "rms_s": "s^ - s"}


def _mean(values: Iterable[float], digits: int = 3) -> str:
    array = np.asarray(list(values), dtype=np.float64)
    low, high = student(array)
    interval = f" [{low:.{digits}g}, {high:.{digits}g}]" if np.isfinite(low) else ""
    return f"{array.mean():.{digits}g}{interval}, {len(array)} seeds"


def _each(values: Iterable[float]) -> str:
    return ", ".join("none" if np.isinf(value) else f"{value:.3g}" for value in values)


def _steps(steps: object) -> str:
    return "dt fixed" if steps == FIXED else "dt from 0.001 to 0.1"


def _of_breaks(frame: pd.DataFrame, spike: float, highest: float) -> reproduction.Findings:
    """Yield how S4D's amplitudes break off; open if one is not learnt in the training range."""
    for steps, both in frame[frame["model"] == DIAG].groupby("steps", sort=False):
        rows = both[both["band"] == OUTSIDE]
        low, where, mine = rows["lowest_ratio"], _steps(steps), steps == FIXED
        learnt = (both.loc[both["band"] == INSIDE, "rms_ratio"] < LEARNT).all()

        def claim(paper: str, holds: "pd.Series[bool]", learnt: bool = learnt) -> Claim:
            return paper, agrees(*holds) if learnt else reproduction.OPEN

        yield finding(
            f"S4D, {where}: lowest predicted amplitude / A beyond the training range",
            f"{_mean(low)}, at s = {_each(rows['lowest_at'])}",
            claim("negative [r]", low < 0.0) if mine else None,
            NO_CLAIM,
        )
        yield finding(
            f"S4D, {where}: lowest predicted amplitude",
            f"{_each(rows['lowest'])} (A in the test up to {highest:g})",
            without="about -4; its A not known [r]" if mine else NO_CLAIM,
        )
        yield finding(
            f"S4D, {where}: first s > 80 with the amplitude off by more than half",
            f"{_each(rows['broken'])}; last spike {spike:.2f}",
            claim("beyond s ~ 80 [r]", rows["broken"] <= FIRST + NEAR) if mine else None,
            NO_CLAIM,
        )
        yield finding(
            f"S4D, {where}: s of the largest amplitude error",
            f"{_each(rows['worst'])}; last spike {spike:.2f}",
        )


def _extrapolates(column: str, rows: pd.DataFrame, constant: float) -> Claim:
    """Return the paper's claim for S4 and its PTD forms, and the verdict of one network's rows.

    An amplitude has to stay within half of A; a frequency has to be nearer than the constant
    prediction s_max, whose RMS error is `constant`.
    """
    if column == "rms_ratio":
        return "extrapolates: never off by half of A [r]", agrees(*np.isinf(rows["broken"]))
    paper = f"extrapolates: below {constant:.3g}, the error of always saying 80 [r]"
    return paper, interval_agrees(*student(rows[column]), below=constant)


def _of_models(frame: pd.DataFrame, constant: float) -> reproduction.Findings:
    """Yield every model's errors, and what S4D's are above theirs, paired by seed."""
    for (steps, model), rows in frame.groupby(["steps", "model"], sort=False):
        bands = {band: part.set_index("seed") for band, part in rows.groupby("band")}
        learnt = (bands[INSIDE]["rms_ratio"] < LEARNT).all()
        for column, what in ERRORS.items():
            claim = None
            if steps == FIXED and model in CLAIMED:
                paper, verdict = _extrapolates(column, bands[OUTSIDE], constant)
                claim = paper, verdict if learnt else reproduction.OPEN
            yield finding(
                f"{model}, {_steps(steps)}: RMS of {what}, s in (80, 100] | [0, 80]",
                f"{_mean(bands[OUTSIDE][column])} | {_mean(bands[INSIDE][column])}",
                claim,
            )
    outside = frame[frame["band"] == OUTSIDE]
    for steps, rows in outside.groupby("steps", sort=False):
        table = rows.pivot_table(index="seed", columns="model", values=list(ERRORS))
        models = [m for m in rows["model"].unique() if not str(m).startswith(("s4d", "s5"))]
        pairs = [(DIAG, str(m)) for m in models] if DIAG in set(rows["model"]) else []
        if {"s5", "s5ptd-rank1"} <= set(rows["model"]):
            pairs.append(("s5", "s5ptd-rank1"))
        for first, second in pairs:
            for column, what in ERRORS.items():
                paired = (table[column][first] - table[column][second]).to_numpy(np.float64)
                claimed = steps == FIXED and column == "rms_ratio" and first == DIAG
                claim = "above 0: only S4D breaks [r]", interval_agrees(*student(paired), 0.0)
                yield finding(
                    f"{first} - {second}, {_steps(steps)}: RMS of {what}, s in (80, 100]",
                    f"{_mean(paired)}, paired",
                    claim if claimed else None,
                    "no claim",
                )


def _of_linear(frame: pd.DataFrame, s_max: float, rings: float) -> reproduction.Findings:
    """Yield what least squares on untrained channels do beyond the training range."""
    outside = frame[frame["s"] > s_max + 1e-9]
    for (model, route), rows in outside.groupby(["model", "route"], sort=False):
        lowest = rows.groupby("seed")["amplitude_hat"].min()
        off = np.square(rows["amplitude_hat"] - 1.0).groupby(rows["seed"]).mean()
        yield finding(
            f"{model}, untrained, least squares, {route}: lowest amplitude / A; RMS error",
            f"{_mean(lowest)}; {_mean(np.sqrt(off))}",
            without="not in the paper",
        )
    gain = frame[frame["model"] == DIAG].pivot_table(index="s", columns="route", values="gain")
    if len(gain):
        top = gain[STEADY].idxmax()
        yield finding(
            f"S4D's level at s = {top:g}: second half of the window / steady state",
            f"{gain[WINDOW][top] / gain[STEADY][top]:.3f}; the pole alone: {rings:.3f}",
            without="not in the paper",
        )


def findings(tables: reproduction.Tables) -> reproduction.Findings:
    """Yield the breaks of S4D, all errors with their intervals, and the linear part."""
    frame, made, bank = tables["errors"], tables["predictions"], tables["linear"]
    facts = tables["settings"].iloc[0]
    spike = float(facts["spike"])
    yield from _of_breaks(frame, spike, float(made["amplitude"].max()))
    moved = made[(made["model"] == DIAG) & (made["steps"] == FIXED)]
    if len(moved):
        yield finding(
            "S4D, dt fixed: fastest poles of the trained channels",
            f"{moved['spike_low'].min():.2f} to {moved['spike_high'].max():.2f}; "
            f"untrained {spike:.2f}",
        )
    # The RMS of s - s_max over s_max to s_test.
    constant = (facts["s_test"] - facts["s_max"]) / 3.0**0.5
    yield from _of_models(frame, float(constant))
    yield from _of_linear(bank, facts["s_max"], facts["rings"])
