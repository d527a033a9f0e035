"""A run directory read back, without its checkpoints: what every sample did in every condition."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from robustssm.errors import UsageError
from robustssm.evaluations.sweep.conditions import CONDITION
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.typing import IntArray

# What a mode counts, in the words of an axis, by the unit that a plan has on record.
MODE_LABEL = {
    "bin": "Fourier mode (cycles per sequence)",
    "spike": "spike of S4D-LegS, counted from the highest frequency",
    "omega": "omega (rad per unit of the layer's time)",
    "cycles": "cycles per sample",
    "hz": "frequency (Hz)",
    "value": "what `mode` stands for in the noise",
}


@dataclass(frozen=True)
class Outcomes:
    """What the samples of a model of one training seed did.

    conditions: one row per perturbed condition that has results, columns CONDITION, `perturbation`
    and `cell`; the clean evaluation is no row. correct: (conditions, samples); clean: (samples,),
    whether each sample is right unperturbed; sample_id: (samples,), ascending.
    """

    model: str
    train_seed: int
    conditions: pd.DataFrame
    sample_id: IntArray
    correct: npt.NDArray[np.bool_]
    clean: npt.NDArray[np.bool_]

    @property
    def name(self) -> str:
        """`model/seed`."""
        return f"{self.model}/{self.train_seed}"


def models(run: RunDirectory) -> list[tuple[str, int]]:
    """Return (label, training seed) of every model of a run, in its order."""
    pairs = run.plan()[["model", "train_seed"]].drop_duplicates()
    return [(str(model), int(seed)) for model, seed in pairs.itertuples(index=False)]


def outcomes(run: RunDirectory, model: str, train_seed: int) -> Outcomes:
    """Return the outcomes of one model; memory is one bit's byte a condition and sample.

    Raises UsageError if the clean evaluation is missing, or cells hold different samples.
    """
    plan = run.plan()
    own = plan[(plan["model"] == model) & (plan["train_seed"] == train_seed)]
    clean = own[own["noise"] == "clean"]
    there = own[[run.has(cell) for cell in own["cell"]]]
    if clean.empty or clean["cell"].iloc[0] not in set(there["cell"]):
        raise UsageError(
            f"{run.path}: has no clean evaluation of {model}/{train_seed}; finish that sweep first"
        )
    first = run.arrays(clean["cell"].iloc[0], ["sample_id", "correct"])
    ids = first["sample_id"]
    conditions = there[there["noise"] != "clean"].reset_index(drop=True)
    correct = np.empty((len(conditions), len(ids)), dtype=np.bool_)
    for row, cell in enumerate(conditions["cell"]):
        rows = run.arrays(cell, ["sample_id", "correct"])
        if not np.array_equal(rows["sample_id"], ids):
            raise UsageError(
                f"{run.path}: cell {cell} holds other samples than the clean evaluation; "
                "run that sweep again with --overwrite"
            )
        correct[row] = rows["correct"]
    columns = [*CONDITION, "perturbation", "cell"]
    return Outcomes(model, train_seed, conditions[columns], ids, correct, first["correct"])
