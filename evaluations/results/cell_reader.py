"""A run directory read back, without its checkpoints: what every sample did, or counts of it."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from robustssm.errors import UsageError
from robustssm.evaluations.statistics.cross_fit import halves
from robustssm.evaluations.sweep.conditions import CONDITION
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.typing import FloatArray, IntArray, Right

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

    conditions: one row per perturbed condition that has results with every seed of the noise,
    columns CONDITION, `perturbation` and `cell` (of the first seed); the clean evaluation is no
    row. correct: (conditions, samples), which are right, or in which share of the noise's draws;
    draws: (conditions, noise seeds), the accuracy of each draw; clean: (samples,), whether each
    sample is right unperturbed; sample_id: (samples,), ascending.
    """

    model: str
    train_seed: int
    conditions: pd.DataFrame
    sample_id: IntArray
    correct: Right
    draws: FloatArray
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
    """Return the outcomes of one model; memory is a byte per cell and sample.

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
    noise_seeds = max(1, own["seed"].nunique())
    noisy = there[there["noise"] != "clean"]
    whole = noisy.groupby([*CONDITION], sort=False)["cell"].transform("size") == noise_seeds
    noisy = noisy[whole].sort_values([*CONDITION], kind="stable") if noise_seeds > 1 else noisy
    correct = np.empty((len(noisy), len(ids)), dtype=np.bool_)
    for row, cell in enumerate(noisy["cell"]):
        rows = run.arrays(cell, ["sample_id", "correct"])
        if not np.array_equal(rows["sample_id"], ids):
            raise UsageError(
                f"{run.path}: cell {cell} holds other samples than the clean evaluation; "
                "run that sweep again with --overwrite"
            )
        correct[row] = rows["correct"]
    columns = [*CONDITION, "perturbation", "cell"]
    conditions = noisy[columns].iloc[::noise_seeds].reset_index(drop=True)
    draws = correct.mean(1).reshape(-1, noise_seeds)
    right: Right = correct
    if noise_seeds > 1:
        right = correct.reshape(-1, noise_seeds, len(ids)).mean(1)
    return Outcomes(model, train_seed, conditions, ids, right, draws, first["correct"])


@dataclass(frozen=True)
class CellDigest:
    """Counts and means of a cell's rows.

    n: samples; right: how many are classified as labelled; samples: hash of the sample ids in
    their order; bits: which samples are right, packed eight to a byte; half: which samples are in
    the first half of a cross-fit, packed, one object for all cells of the same samples.
    """

    n: int
    right: int
    delivered_rms: float
    in_band_share: float
    samples: bytes
    bits: bytes
    half: bytes

    def correct(self) -> npt.NDArray[np.bool_]:
        """Return which samples are right, shape (n,)."""
        return _unpacked(self.bits, self.n)

    def first_half(self) -> npt.NDArray[np.bool_]:
        """Return which samples are in the first half, shape (n,), as `halves` of their ids."""
        return _unpacked(self.half, self.n)


def shares(draws: Sequence[CellDigest]) -> Right:
    """Return which samples are right, shape (n,); of several draws of a noise, in which share."""
    if len(draws) == 1:
        return draws[0].correct()
    return np.stack([draw.correct() for draw in draws]).mean(0)


def digest_cells(run: RunDirectory, only: Collection[str] | None = None) -> dict[str, CellDigest]:
    """Return the digest of every cell of the plan that has results, by id; of `only` these."""
    found = {}
    split: dict[bytes, bytes] = {}
    for cell in run.plan()["cell"].unique():
        if (only is not None and cell not in only) or not run.has(cell):
            continue
        rows = run.arrays(cell, ["sample_id", "correct", "delivered_rms", "in_band_share"])
        correct, ids = rows["correct"], rows["sample_id"]
        samples = hashlib.sha256(ids.tobytes()).digest()
        if samples not in split:
            split[samples] = np.packbits(halves(ids)).tobytes()
        found[str(cell)] = CellDigest(
            len(correct),
            int(correct.sum()),
            float(np.sqrt(np.mean(rows["delivered_rms"] ** 2))),
            float(rows["in_band_share"].mean()),
            samples,
            np.packbits(correct).tobytes(),
            split[samples],
        )
    return found


def _unpacked(bits: bytes, n: int) -> npt.NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=n).astype(np.bool_)
