"""The worst mode of trained checkpoints, found by `rank_modes` with a small part of the passes."""

from dataclasses import dataclass

import numpy as np

from robustssm.attacks import Budget
from robustssm.attacks.adversaries import Target, Victim
from robustssm.checkpoints.model_names import ModelRef
from robustssm.evaluations.searches.mode_ranking import rank_modes
from robustssm.evaluations.trained_layers.input_response import input_response
from robustssm.execution import one_thread
from robustssm.networks.network import own_network
from robustssm.tasks import Task

# How many of the first modes are shown.
FIRST = 3


@dataclass(frozen=True)
class Search:
    """How worst modes are looked for: modes, strength (std), noise seed, share of the passes.

    prior: whether the layers' response takes part; linearise: whether gradients do.
    """

    modes: tuple[int, ...]
    eps: float
    seed: int = 0
    part: int = 20
    prior: bool = True
    linearise: bool = True


def worst_modes(ref: ModelRef, task: Task, search: Search) -> dict[str, object]:
    """Return the first modes of a checkpoint's ranking, and what it took to find them.

    passes: forward passes of samples; strict_passes: each pass back counted as two more;
    accuracy: of the first mode over the first `samples` test samples in the ranking's order, those
    that it was tried on; with all modes and part 20 every one.
    """
    task.values(f"worst-mode {ref}")
    checkpoint = ref.load()
    prior = None
    modes = np.asarray(search.modes)
    if search.prior:
        own = own_network(checkpoint.network, f"worst-mode {ref}")
        prior = input_response(own, task.length, modes.astype(np.float64))
    with one_thread(), Victim(checkpoint.network) as victim:
        target = Target.of(victim, task, Budget(search.eps, "std"), search.seed)
        exhaustive = len(modes) * len(target)
        ranking = rank_modes(
            target, search.modes, prior, exhaustive // search.part, search.linearise
        )
    return {
        "model": ref.label,
        "train_seed": checkpoint.card.train_seed,
        "eps": search.eps,
        **{f"mode_{k + 1}": int(ranking.modes[k]) for k in range(min(FIRST, len(modes)))},
        "accuracy": float(ranking.accuracy[0]),
        "samples": int(ranking.samples[0]),
        "passes": ranking.forwards,
        "strict_passes": ranking.passes,
        "exhaustive_passes": exhaustive,
        "times_fewer": exhaustive / ranking.forwards,
        "times_fewer_strict": exhaustive / ranking.passes,
    }
