"""A run directory read back, without its checkpoints: what every sample did, or counts of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from robustssm.errors import RejectedInputError, UsageError
from robustssm.evaluations.sweep.cell_files import CellDigest
from robustssm.evaluations.sweep.condition_names import CONDITION
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.sweep.run_state import RunState
from robustssm.targets import CLASSES, Kind
from robustssm.typing import FloatArray, IntArray, Right

# What a mode counts, in the words of an axis, by the unit that a plan has on record.
MODE_LABEL = {
    "bin": "Fourier mode (cycles per sequence)",
    "spike": "spike of S4D (1: the highest frequency)",
    "omega": "omega (rad per unit of the layer's time)",
    "cycles": "cycles per step",
    "hz": "frequency (Hz)",
    "value": "what `mode` stands for in the noise",
}


def spike_frequencies(plan: pd.DataFrame) -> dict[float, float]:
    """Return omega of each spike of a run's plan by its number, where all models have the same."""
    if plan.empty:
        return {}
    rows = plan[plan["mode_unit"] == "spike"]
    omega = pd.to_numeric(rows["perturbation"].str.extract(r"omega=([^,)]+)")[0], errors="coerce")
    ends = omega.groupby(rows["mode"]).agg(["min", "max"])
    return dict(ends["min"][ends["min"] == ends["max"]])


@dataclass(frozen=True)
class Outcomes:
    """What the samples of a model of one training seed did.

    conditions: one row per perturbed condition that has results with every seed of the noise,
    columns CONDITION, `perturbation` and `cell` (of the first seed); the clean evaluation is no
    row. correct: (conditions, samples), which are right, or in which share of the noise's draws;
    draws: (conditions, noise seeds), the accuracy of each draw; clean: (samples,), whether each
    sample is right unperturbed; sample_id: (samples,), ascending. Of errors the outcomes are minus
    these, the larger the better as well.
    """

    model: str
    train_seed: int
    conditions: pd.DataFrame
    sample_id: IntArray
    correct: Right
    draws: FloatArray
    clean: Right
    kind: Kind = CLASSES

    @property
    def name(self) -> str:
        """`model/seed`."""
        return f"{self.model}/{self.train_seed}"


def models(run: RunDirectory) -> list[tuple[str, int]]:
    """Return (label, training seed) of every model of a run, in its order."""
    pairs = run.plan()[["model", "train_seed"]].drop_duplicates()
    return [(str(model), int(seed)) for model, seed in pairs.itertuples(index=False)]


def outcomes(
    run: RunDirectory, model: str, train_seed: int, state: RunState | None = None
) -> Outcomes:
    """Return the outcomes of one model; memory is a byte per cell and sample.

    state: of all cells of the plan; asked for where None. Damaged cells are taken as missing.
    Raises UsageError if the clean evaluation is missing, RejectedInputError if it is damaged.
    """
    plan = run.plan()
    own = plan[(plan["model"] == model) & (plan["train_seed"] == train_seed)]
    state = state or run.state(plan["cell"])
    clean = own.loc[own["noise"] == "clean", "cell"]
    if clean.empty or clean.iloc[0] not in state.done:
        name = f"cells/{clean.iloc[0]}.parquet" if len(clean) else ""
        if name in state.damaged:
            raise RejectedInputError(
                f"run {run.path}: the clean evaluation of {model}/{train_seed} is damaged ({name}: "
                f"{state.damaged[name]}); its sweep, run again, computes it anew"
            )
        raise UsageError(
            f"{run.path}: has no clean evaluation of {model}/{train_seed}; finish that sweep first"
        )
    first = run.digest(clean.iloc[0])
    noise_seeds = max(1, own["seed"].nunique())
    done = np.array([cell in state.done for cell in own["cell"]], dtype=np.bool_)
    noisy = own[(own["noise"] != "clean").to_numpy() & done]
    if noise_seeds > 1:
        whole = noisy.groupby([*CONDITION], sort=False)["cell"].transform("size") == noise_seeds
        noisy = noisy[whole].sort_values([*CONDITION], kind="stable")
    clean_outcomes = first.outcomes()
    correct: npt.NDArray[Any] = np.empty((len(noisy), first.n), dtype=clean_outcomes.dtype)
    for row, cell in enumerate(noisy["cell"]):
        correct[row] = run.digest(cell).outcomes()
    columns = [*CONDITION, "perturbation", "cell"]
    conditions = noisy[columns].iloc[::noise_seeds].reset_index(drop=True)
    draws = correct.mean(1).reshape(-1, noise_seeds)
    right = correct
    if noise_seeds > 1:
        right = np.asarray(correct.reshape(-1, noise_seeds, first.n).mean(1), np.float64)
    ids = run.arrays(clean.iloc[0], ["sample_id"])["sample_id"]
    return Outcomes(model, train_seed, conditions, ids, right, draws, clean_outcomes, first.kind)


def shares(draws: Sequence[CellDigest]) -> Right:
    """Return the outcomes of samples, (n,), of several draws of a noise their mean."""
    if len(draws) == 1:
        return draws[0].outcomes()
    return np.stack([draw.outcomes() for draw in draws]).mean(0)


def digest_cells(run: RunDirectory, only: Collection[str] | None = None) -> dict[str, CellDigest]:
    """Return the digest of every cell of the plan that has results, by id; of `only` these."""
    cells = (str(cell) for cell in run.plan()["cell"].unique() if only is None or cell in only)
    found = ((cell, run.digest_or_reason(cell)) for cell in cells)
    return {cell: digest for cell, digest in found if isinstance(digest, CellDigest)}
