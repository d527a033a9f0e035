"""Accuracy of checkpoints on clean and on contaminated test data, as Fig. 3 of the paper asks.

Contaminated means the test of arXiv 2310.01698, section 5.2: a sinusoid of amplitude up to eps at
the top spike of S4D-LegS, at the input of every SSM layer. Cells are those of a sweep.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from robustssm.attacks import Budget, Resonance
from robustssm.checkpoints.model_names import ModelRef
from robustssm.errors import StabilityError
from robustssm.evaluations.paper.reproduction import Context
from robustssm.evaluations.paper.trainings import Training, snapshots
from robustssm.evaluations.statistics.intervals import in_words, seed_interval
from robustssm.evaluations.sweep.conditions import Condition
from robustssm.evaluations.sweep.plan import Plan
from robustssm.evaluations.sweep.planning import plan_conditions
from robustssm.evaluations.sweep.run import Execution, run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.hippo.spectrum import spikes

# The paper's accuracies on contaminated sequential CIFAR-10: S4-PTD about 0.75, S4D near chance.
PAPER_PTD, PAPER_CHANCE = 0.75, 0.1
# A gap counts as the paper's from half of it on; the data are others, so that no number is due.
HALF_GAP = 0.5 * (PAPER_PTD - PAPER_CHANCE)
CLEAN = "clean"


def swept(plan: Plan, folder: Path, jobs: int) -> RunDirectory:
    """Return the run directory of a plan, computed; StabilityError if a cell cannot be computed."""
    run = RunDirectory(folder)
    errors = run_sweep(plan, run, Execution(jobs=jobs, retry_failed=True)).errors
    if errors:
        failed, reason = next(iter(errors.items()))
        raise StabilityError(
            f"reproduce: {len(errors)} of {len(plan.unique)} evaluations failed, the first, "
            f"{failed}, by: {reason}; {folder / 'errors'} says more"
        )
    return run


def accuracies(trainings: Sequence[Training], context: Context, every_epoch: bool) -> pd.DataFrame:
    """Return one row per training, epoch (0: untrained; or the last alone) and condition.

    The clean ones are first, in the order of `trainings`, which are run if need be. Of the
    settings: eps, the largest amplitudes; n, the state size whose top spike is the frequency (rad
    per unit of a layer's own time); task. Columns init, seed, epoch, condition, eps, omega, task,
    chance, n (samples), correct, accuracy. Raises what `swept` and `snapshots` raise.
    """
    settings = context.settings
    omega = float(spikes(settings["n"])[0])
    conditions = [
        Condition("resonance", Resonance(omega), Budget(eps, "linf"), "layers", omega, "omega")
        for eps in settings["eps"]
    ]
    found = snapshots(trainings, context.shared, context.jobs)
    refs = {
        ModelRef(f"{one.init}@{epoch}", path, one.seed): (one, epoch)
        for one, paths in found.items()
        for epoch, path in enumerate(paths)
        if every_epoch or epoch == one.epochs
    }
    plan = plan_conditions([*refs], conditions, task=settings["task"])
    run = swept(plan, context.folder, context.jobs)
    counted = {
        name: int(np.count_nonzero(run.arrays(name, ["correct"])["correct"]))
        for name in plan.unique
    }
    which = {str(ref): known for ref, known in refs.items()}
    samples = len(plan.task.splits["test"])
    rows = []
    for cell in plan.cells:
        (one, epoch), eps = which[str(cell.model.ref)], float(cell.names["eps"])
        rows.append(
            {
                "init": one.init,
                "seed": one.seed,
                "epoch": epoch,
                "condition": f"eps {eps:g}" if eps else CLEAN,
                "eps": eps,
                "omega": omega,
                "task": plan.task.spec,
                "chance": plan.task.chance,
                "n": samples,
                "correct": counted[cell.id],
                "accuracy": counted[cell.id] / samples,
            }
        )
    return pd.DataFrame(rows)


def mean_accuracies(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return means over training seeds with intervals in [0, 1], and n (samples), by group.

    Columns `by`, seeds, n, accuracy, ci_low, ci_high, and by_seed, the single seeds as text.
    """
    rows = [
        (*key, len(seeds), n, seeds.mean(), *seed_interval(seeds), in_words(seeds))
        for (*key, n), seeds in frame.groupby([*by, "n"], sort=False, dropna=False)["accuracy"]
    ]
    columns = [*by, "seeds", "n", "accuracy", "ci_low", "ci_high", "by_seed"]
    return pd.DataFrame(rows, columns=columns)


def interval(mean: float, low: float, high: float) -> str:
    """Return `0.97 [0.95, 0.98]`, the mean alone if there is no interval."""
    # Adding 0 leaves no sign on a zero.
    shown, *ends = (f"{round(value, 3) + 0.0:.3f}" for value in (mean, low, high))
    return shown if np.isnan(low) else f"{shown} [{ends[0]}, {ends[1]}]"
