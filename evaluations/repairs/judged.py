"""What remedies do: accuracies before and after on the same samples, and which one is favoured."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from robustssm.checkpoints import Checkpoint
from robustssm.checkpoints.model_names import ModelRef
from robustssm.errors import RobustssmError
from robustssm.evaluations.statistics.paired import discordant, holm, mcnemar, paired_interval
from robustssm.evaluations.sweep.conditions import Condition
from robustssm.evaluations.sweep.noises import Noise, conditions
from robustssm.evaluations.sweep.plan import Model, Plan
from robustssm.evaluations.sweep.planning import plan_conditions
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.trained_layers.gain import model_gain
from robustssm.tasks import Task
from robustssm.typing import Right

BEFORE = "before"
# Columns of the table: what each noise is called there.
CLEAN, RESONANCE, WORST, BAND = "clean", "resonance", "worst mode", "band"
# Modes of which the worst is taken, evenly spaced in log frequency.
MODES = 16
# What is held against `before` by a test.
TESTED = (CLEAN, RESONANCE, BAND)
# A remedy may cost this much clean accuracy, by its estimate, to be named.
MARGIN = 0.05
LEVEL = 0.05


def noises(length: int) -> tuple[Noise, ...]:
    """Return what is measured: resonance at layers, modes and a band adversary at the input."""
    modes = np.unique(np.round(np.geomspace(1.0, max(1, length // 2), MODES)))
    return (
        Noise("resonance", eps=(1.0,), eps_unit="linf", inject="layers"),
        Noise("fourier", modes=tuple(modes.tolist()), eps=(0.3,)),
        Noise(f"BandPGD(1, {max(1, length // 16)}, steps=10)", eps=(0.1,)),
    )


def plan_repair(refs: Mapping[str, ModelRef], task: Task, limit: int | None, seed: int) -> Plan:
    """Return the plan of the table, `before` among the names; else as `plan_conditions`."""

    def planned(models: Sequence[Model], data: Task) -> list[Condition]:
        n = models[0].state_size
        return [c for noise in noises(data.length) for c in conditions(noise, data, n, BEFORE)]

    return plan_conditions([*refs.values()], planned, task=task, limit=limit, seed=seed)


def table(run: RunDirectory, plan: Plan, refs: Mapping[str, ModelRef]) -> pd.DataFrame:
    """Return a row per checkpoint: remedy, n, accuracies; of remedies the difference from before.

    For each of TESTED `<name>_low`, `<name>_high`, the paired interval (95 %) of its difference,
    and p, McNemar's exact one, adjusted by Holm over all of them. worst mode: the lowest accuracy
    over modes, of each checkpoint its own.
    """
    named = {str(ref): name for name, ref in refs.items()}
    right: dict[str, dict[str, list[Right]]] = {name: {} for name in refs}
    for cell in plan.cells:
        of = right[named[str(cell.model.ref)]]
        noise = CLEAN if cell.condition is None else cell.condition.noise
        key = {"resonance": RESONANCE, "fourier": WORST, CLEAN: CLEAN}.get(noise, BAND)
        of.setdefault(key, []).append(run.arrays(cell.id, ["correct"])["correct"])
    rows = []
    for name, of in right.items():
        n = len(of[CLEAN][0])
        row: dict[str, object] = {"remedy": name, "n": n}
        row |= {key: min(float(np.mean(one)) for one in found) for key, found in of.items()}
        for key in TESTED if name != BEFORE else ():
            gained, lost = discordant(of[key][0].astype(float), right[BEFORE][key][0].astype(float))
            low, high = paired_interval(gained, lost, n)
            p = float(mcnemar(int(gained), int(lost)))
            row |= {f"{key}_low": low, f"{key}_high": high, f"{key}_p": p}
        rows.append(row)
    frame = pd.DataFrame(rows)
    columns = [f"{key}_p" for key in TESTED if f"{key}_p" in frame]
    if columns:
        p = frame.loc[1:, columns].to_numpy(dtype=np.float64)
        frame.loc[1:, columns] = holm(p.ravel()).reshape(p.shape)
    return frame


def largest_gain(checkpoint: Checkpoint, length: int) -> tuple[float, float]:
    """Return the largest certified gain of all layers, and the largest at the spike; NaN if none.

    The first is the upper end of its enclosure.
    """
    try:
        channels = model_gain("repair", checkpoint, length=length).channels
    except RobustssmError:  # no transfer function, or poles on the circle
        return float("nan"), float("nan")
    return float(channels["gain_high"].max()), float(channels["resonance_gain"].max())


def favoured(frame: pd.DataFrame) -> str:
    """Return the remedy that the data favour, or an empty text if none does.

    That with the highest accuracy under resonance, of those that raise it (p at most .05, adjusted)
    and cost at most .05 of clean accuracy by the estimate.
    """
    before = frame.iloc[0]
    held = [
        row
        for _, row in frame.iloc[1:].iterrows()
        if row[RESONANCE] > before[RESONANCE]
        and row[f"{RESONANCE}_p"] <= LEVEL
        and row[CLEAN] >= before[CLEAN] - MARGIN
    ]
    return str(max(held, key=lambda row: row[RESONANCE])["remedy"]) if held else ""


def verdict(frame: pd.DataFrame) -> str:
    """Return what the table of one model says, a sentence."""
    tried = [*frame["remedy"][1:]]
    rule = (
        f"accuracy under resonance (p <= {LEVEL:g}, adjusted for {len(tried) * len(TESTED)} tests) "
        f"at a clean cost of at most {MARGIN:g}"
    )
    best = favoured(frame)
    if best:
        return f"the data favour {best}, which raises {rule}."
    return f"the data favour none of {', '.join(tried)}: none raises {rule}."
