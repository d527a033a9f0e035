"""What reviewers of arXiv 2310.01698 asked for and the paper does not show.

The attack at many frequencies instead of one; S5 beside S5-PTD under the same noise; where the
eigenvalues go in training; a random perturbation as a control; white noise of the sinusoid's
energy. All but the third use the bundled checkpoints, three training seeds each.
"""

from functools import partial

import pandas as pd

from robustssm.checkpoints.bundled import SEEDS
from robustssm.evaluations.paper.fig3ab import zoo_training
from robustssm.evaluations.paper.reproduction import Context, Reproduction, Step
from robustssm.evaluations.paper.reviewers_findings import findings
from robustssm.evaluations.paper.reviewers_pairs import paired
from robustssm.evaluations.paper.reviewers_poles import trajectories
from robustssm.evaluations.paper.reviewers_sweep import energy, sweep


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
