"""Fig. 3 (a), (b) of arXiv 2310.01698: accuracy over training, clean and contaminated.

The paper trains on sequential CIFAR-10; here the data are those of the `task` setting. Training
follows the bundled checkpoints (no residual, no D, rates of the released test); each epoch's
weights are evaluated on the whole test split. The paper's contamination is eps 0.1; a second
strength shows the effect where the data are easier. Clean and contaminated use the same samples.
"""

import numpy as np
import pandas as pd

from robustssm.checkpoints.bundled import SEEDS
from robustssm.evaluations.paper import fig3_accuracy as accuracy
from robustssm.evaluations.paper import reproduction
from robustssm.evaluations.paper.trainings import asked_for
from robustssm.evaluations.statistics.intervals import student
from robustssm.hippo.initializations import NAMES
from robustssm.training.zoo import recipe

# Epochs: S5 learns more slowly here; the others hold 0.9 after 10.
QUICK = {"s4": 10, "s4d": 10, "s4ptd": 10, "s4ptd-rank1": 10, "s5": 20, "s5ptd-rank1": 20}
UNKNOWN = "no number known"
# Each PTD network beside the one that it perturbs.
PAIRS = (
    ("s4ptd", "s4d"),
    ("s4ptd-rank1", "s4d"),
    ("s4ptd-random", "s4d"),
    ("s5ptd", "s5"),
    ("s5ptd-rank1", "s5"),
)


def zoo_training(init: str, epochs: int | None = None) -> dict[str, float]:
    """Return epochs and ssm_lr of the bundled checkpoint, with other epochs where settings."""
    config, _ = recipe(init, 0)
    return {"epochs": epochs or config.epochs, "ssm_lr": config.ssm_lr}


def accuracies(context: reproduction.Context) -> pd.DataFrame:
    """Return `fig3_accuracy.accuracies` of every network, seed and epoch; epoch 0 is untrained."""
    settings = context.settings
    each = settings["trainings"].items()
    runs = [(init, seed, of) for seed in settings["seeds"] for init, of in each]
    return accuracy.accuracies(asked_for(settings, runs), context, every_epoch=True)


def last(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each network's last epoch."""
    return frame[frame["epoch"] == frame.groupby("init")["epoch"].transform("max")]


def _gaps(frame: pd.DataFrame) -> reproduction.Findings:
    """Yield the gap of every pair, clean and contaminated, at the last epoch."""
    for condition, rows in last(frame).groupby("condition", sort=False):
        wide = rows.pivot_table(index="seed", columns="init", values="accuracy")
        for better, worse in PAIRS:
            if not {better, worse} <= set(rows["init"]):
                continue
            gaps = (wide[better] - wide[worse]).dropna().to_numpy(np.float64)
            low, high = student(gaps)
            claimed = condition != accuracy.CLEAN and better.startswith("s4")
            paper = "about 0.65 at eps 0.1, sequential CIFAR-10 (0.75 against near chance) [s]"
            verdict = reproduction.interval_agrees(low, high, above=accuracy.HALF_GAP)
            yield reproduction.finding(
                f"accuracy of {better} minus {worse}, {condition}, last epoch",
                f"{accuracy.interval(float(gaps.mean()), low, high)}, {len(gaps)} seeds",
                (paper, verdict) if claimed else None,
                UNKNOWN,
            )


def _levels(frame: pd.DataFrame) -> reproduction.Findings:
    """Yield S4D's and S4-PTD's accuracies at the last epoch beside the paper's."""
    chance = float(frame["chance"].iloc[0])
    # Near: in the lower fifth of what lies between chance and all right.
    near = chance + 0.2 * (1.0 - chance)
    for row in accuracy.mean_accuracies(last(frame), ["init", "condition"]).itertuples():
        if row.init not in ("s4", "s4d", "s4ptd", "s4ptd-rank1"):
            continue
        text = accuracy.interval(row.accuracy, row.ci_low, row.ci_high)
        claim, paper = None, UNKNOWN
        if row.condition != accuracy.CLEAN and row.init == "s4d":
            known = not np.isnan(row.ci_low)
            ends = (row.ci_low, row.ci_high) if known else (row.accuracy, row.accuracy)
            claim = "near chance [s]", reproduction.interval_agrees(*ends, below=near)
            text += f", chance {chance:.3f}"
        elif row.condition != accuracy.CLEAN and row.init == "s4ptd":
            paper = "about 0.75 on sequential CIFAR-10; other data, no verdict [s]"
        name = f"accuracy of {row.init}, {row.condition}, last epoch, {row.seeds} seeds"
        yield reproduction.finding(name, f"{text}, n = {row.n}", claim, paper)


def _epochs(frame: pd.DataFrame) -> reproduction.Findings:
    """Yield from which epoch on the gap is there, at the largest strength."""
    rows = frame[frame["eps"] == frame["eps"].max()]
    condition = str(rows["condition"].iloc[0])
    for better, worse in PAIRS[:3]:
        if not {better, worse} <= set(rows["init"]):
            continue
        wide = rows.pivot_table(index="epoch", columns=["init", "seed"], values="accuracy")
        gap = (wide[better] - wide[worse]).dropna().mean(axis=1)
        below = gap.index[gap <= accuracy.HALF_GAP]
        first = 0 if below.empty else int(below.max()) + 1
        end = int(gap.index.max())
        text = f"from epoch {first} to the last, {end}" if first <= end else "not at the last epoch"
        text += f"; untrained {gap.loc[0]:.3f}, epoch 1 {gap.loc[1]:.3f}"
        name = f"mean gap of {better} over {worse} above {accuracy.HALF_GAP:.3g}, {condition}"
        yield reproduction.finding(name, text, without=f"drawn over all epochs; {UNKNOWN}")


def findings(tables: reproduction.Tables) -> reproduction.Findings:
    """Return gaps paired by seed, levels, and when in training the gap appears."""
    frame = tables["accuracies"]
    return [*_gaps(frame), *_levels(frame), *_epochs(frame)]


_COMMON = {
    "task": "digits",
    "eps": [0.1, 1.0],
    "seeds": list(SEEDS),
    "n": 32,
    "d_model": 32,
    "layers": 3,
}
REPRODUCTION = reproduction.Reproduction(
    name="fig3ab",
    shows="accuracy over training, on clean and on contaminated test data",
    steps=(reproduction.Step("accuracies", accuracies),),
    quick={
        **_COMMON,
        "trainings": {init: zoo_training(init, epochs) for init, epochs in QUICK.items()},
    },
    full={**_COMMON, "trainings": {init: zoo_training(init) for init in NAMES}},
    findings=findings,
)
