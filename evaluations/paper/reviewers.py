"""What reviewers of arXiv 2310.01698 asked for and the paper does not show.

The attack at many frequencies instead of one; S5 beside S5-PTD under the same noise; where the
eigenvalues go in training; a random perturbation as a control; white noise of the sinusoid's
energy. All but the third use the bundled checkpoints, three training seeds each.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.bundled import SEEDS
from robustssm.evaluations.paper.fig3ab import zoo_training
from robustssm.evaluations.paper.reproduction import Context, Reproduction, Step
from robustssm.evaluations.paper.reviewers_findings import findings
from robustssm.evaluations.paper.reviewers_sweep import energy, paired, sweep
from robustssm.evaluations.paper.trainings import Training, seed_by_seed, snapshots
from robustssm.evaluations.trained_layers.reading import layer_spectrum
from robustssm.execution import one_thread, sealed
from robustssm.hippo.spectrum import spikes
from robustssm.typing import ComplexArray

# A spike's half width is 1/2 rad per unit time: -Re of every eigenvalue of the normal part.
HALF_WIDTH = 0.5
LOW, HIGH = 0.05, 0.95


def poles(path: Path) -> list[ComplexArray]:
    """Return every layer's poles, (channels, modes); without a low-rank term that it may have."""
    with one_thread():
        layers = load_checkpoint(path).network.ssm_layers()
        return [layer_spectrum(layer).diagonal for layer in layers]


def nearest(values: ComplexArray, omega: float) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return the index of each channel's pole whose frequency is nearest to omega, (channels,)."""
    return np.abs(values.imag - omega).argmin(axis=1)


def row(now: ComplexArray, start: ComplexArray, omega: float) -> dict[str, float]:
    """Return how poles lie about omega; those tracked were nearest in `start`, before training."""
    channel = np.arange(len(start))
    place = nearest(start, omega)
    tracked, before = now[channel, place], start[channel, place]
    moved = np.abs(tracked - before)
    gap = np.abs(now.imag - omega).min(axis=1)
    low, middle, high = np.quantile(tracked.imag, [LOW, 0.5, HIGH])
    return {
        "imag_low": float(low),
        "imag_median": float(middle),
        "imag_high": float(high),
        "damping_median": float(np.median(-tracked.real)),
        "moved_mean": float(moved.mean()),
        "moved_most": float(moved.max()),
        "gap_median": float(np.median(gap)),
        "within": int((gap <= HALF_WIDTH).sum()),
        "channels": len(start),
    }


def _one(training: Training, paths: Sequence[Path], omega: float) -> pd.DataFrame:
    start = poles(paths[0])
    rows = [
        {"init": training.init, "seed": training.seed, "epoch": epoch, "layer": layer}
        | row(now, start[layer], omega)
        for epoch, path in enumerate(paths)
        for layer, now in enumerate(poles(path))
    ]
    return pd.DataFrame(rows).assign(omega=omega)


def trajectories(context: Context) -> pd.DataFrame:
    """Return one row per training, epoch (0: untrained) and layer.

    Columns init, seed, epoch, layer, of the pole tracked, over the channels: imag_low, imag_median,
    imag_high (5, 50, 95 %), damping_median = -Re, moved_mean, moved_most (distance from where it
    began, in the plane); gap_median (distance in frequency of the nearest pole from the spike),
    within (channels with a pole within 1/2 of it), channels, omega (the spike). All
    in rad per unit of the layer's own time.
    """
    wanted = seed_by_seed(context.settings, context.settings["training_task"])
    found = snapshots(wanted, context.shared, context.jobs)
    with sealed():
        parts = joblib.Parallel(n_jobs=context.jobs)(
            joblib.delayed(_one)(one, paths, float(spikes(one.n, 1)[0]))
            for one, paths in found.items()
        )
    return pd.concat(parts, ignore_index=True)


def pairs_of(setting: str, context: Context) -> pd.DataFrame:
    """Return the setting's pairs on the samples of the sweep; columns as of `paired`."""
    return paired(context.tables["sweep"], context.settings[setting])


TRAINED = ("s4", "s4d", "s4ptd", "s4ptd-rank1")
_COMMON: dict[str, object] = {
    "models": [
        *("s4", "s4d", "s4ptd", "s4ptd-rank1", "s4ptd-random"),
        "s5",
        "s5ptd",
        "s5ptd-rank1",
    ],
    "s5_pairs": [["s5ptd", "s5"], ["s5ptd-rank1", "s5"]],
    "random_pairs": [["s4ptd-random", other] for other in ("s4d", "s4ptd", "s4ptd-rank1")],
    "seeds": list(SEEDS),
    "n": 32,
    "low": 1.0,
    "high": 2000.0,
    "eps": [0.3, 1.0],
    "d_model": 32,
    "layers": 3,
    "training_task": "digits",
}
_CELLS = ("models", "seeds", "limit", "n")
_GRID = ("low", "high", "count", "spikes", "octave", "around", "eps")
_TRAINING = ("trainings", "training_task", "seeds", "n", "d_model", "layers")

REPRODUCTION = Reproduction(
    name="reviewers",
    shows="the attack at every frequency, its controls, S5, and the poles in training",
    steps=(
        Step("sweep", sweep, uses=(*_CELLS, *_GRID)),
        Step("s5", partial(pairs_of, "s5_pairs"), uses=("s5_pairs",), needs=("sweep",)),
        Step("trajectories", trajectories, uses=_TRAINING),
        Step("random", partial(pairs_of, "random_pairs"), uses=("random_pairs",), needs=("sweep",)),
        Step("energy", energy, uses=(*_CELLS, "energies")),
    ),
    quick={
        **_COMMON,
        "limit": 180,
        "count": 20,
        "spikes": 4,
        "octave": 5,
        "around": 1,
        "energies": [0.3, 1.0, 3.0],
        "trainings": {init: zoo_training(init, 10) for init in TRAINED},
    },
    full={
        **_COMMON,
        "limit": None,
        "count": 80,
        "spikes": 8,
        "octave": 9,
        "around": 2,
        "energies": [0.1, 0.3, 1.0, 3.0, 10.0],
        "trainings": {init: zoo_training(init) for init in TRAINED},
    },
    findings=findings,
)
