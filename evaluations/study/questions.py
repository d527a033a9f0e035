"""The questions of docs/protocol.md: what was measured of each, seed by seed."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from robustssm.evaluations.paper.reproduction import Tables
from robustssm.evaluations.study import design
from robustssm.evaluations.study.prediction import falls, predicted, scores
from robustssm.typing import FloatArray

# Of equivalence, in accuracy.
MARGIN = 0.02


@dataclass(frozen=True)
class Measured:
    """What the questions ask of, models in the same order everywhere.

    clean, spike, low, layers: by task (models, seeds), accuracy and falls: at the spike, at the
    worst of the low modes, mean over all noise at layers. gain, finite_gain, kappa: alike, NaN for
    none. variants: name -> fall at the spike (2, seeds) of VARIED_MODELS, "" the networks as they
    are. rho: (task, place) -> rank correlations of response and guess (2, seeds).
    """

    models: tuple[str, ...]
    clean: dict[str, FloatArray]
    spike: dict[str, FloatArray]
    low: dict[str, FloatArray]
    layers: dict[str, FloatArray]
    gain: dict[str, FloatArray]
    finite_gain: dict[str, FloatArray]
    kappa: dict[str, FloatArray]
    variants: dict[str, FloatArray]
    rho: dict[tuple[str, str], FloatArray]


@dataclass(frozen=True)
class Claim:
    """That a mean over seeds is not 0; with a margin, that it is within it of 0.

    values: (seeds,).
    """

    question: str
    task: str
    estimand: str
    values: FloatArray
    margin: float = np.nan


@dataclass(frozen=True)
class Ranking:
    """That two quantities order things alike: blocks of (2, things), the same things in each.

    block_of: the seed of each block, for the interval.
    """

    question: str
    estimand: str
    blocks: tuple[FloatArray, ...]
    block_of: tuple[int, ...]


def joined(tables: Tables, what: str) -> pd.DataFrame:
    """Return the tables of all tasks that are there, below one another."""
    found = [table for name, table in tables.items() if name.endswith(what) and len(table)]
    return pd.concat(found, ignore_index=True)


def measured(tables: Tables) -> Measured:
    """Return what the questions ask of, from the tables of the study's steps."""
    accuracies, weights = joined(tables, "-accuracies"), joined(tables, "-weights")
    noisy = falls(accuracies)
    plain = noisy[noisy["variant"] == ""]
    models = tuple(dict.fromkeys(plain["init"]))

    def by_task(frame: pd.DataFrame, column: str, how: str) -> dict[str, FloatArray]:
        return {
            str(task): part.pivot_table(index="init", columns="seed", values=column, aggfunc=how)
            .reindex(models)
            .to_numpy(np.float64)
            for task, part in frame.groupby("task", sort=False)
        }

    layers = plain[(plain["place"] == "layers") & (plain["eps"] == design.HIGH)]
    weak = plain[(plain["place"] == "input") & (plain["eps"] == design.LOW)]
    highest = {t: part["at"].max() * 2 for t, part in weak.groupby("task")}
    known = weights[weights["variant"] == ""]
    spikes = noisy[(noisy["place"] == "layers") & (noisy["at"] == 1.0)]
    spikes = spikes[(spikes["eps"] == design.HIGH) & (spikes["task"] == design.VARIED)]
    table = scores(predicted(accuracies, weights))
    rho = {
        (str(task), str(place)): part.groupby("seed")[["response", "low"]].mean().to_numpy().T
        for (task, place), part in table.groupby(["task", "place"], sort=False)
    }
    low = [
        weak["at"].isin(design.low_modes(int(highest[t]))) & (weak["task"] == t) for t in highest
    ]
    return Measured(
        models,
        clean=by_task(plain, "clean", "first"),
        spike=by_task(layers[layers["at"] == 1.0], "fall", "first"),
        low=by_task(weak[np.logical_or.reduce(low)], "fall", "max"),
        layers=by_task(layers, "fall", "mean"),
        gain=by_task(known, "gain", "first"),
        finite_gain=by_task(known, "finite_gain", "first"),
        kappa=by_task(known, "kappa", "first"),
        variants={
            str(name): part.pivot_table(index="init", columns="seed", values="fall")
            .loc[list(design.VARIED_MODELS)]
            .to_numpy()
            for name, part in spikes[spikes["init"].isin(design.VARIED_MODELS)].groupby("variant")
        },
        rho=rho,
    )


def claims(m: Measured) -> list[Claim]:
    """Return the claims about means over seeds, in the order of the questions."""
    made = []
    ptd = (("s4d", "s4ptd"), ("s4d", "s4ptd-rank1"))
    turned = tuple((other, one) for one, other in ptd)
    asked = (
        ("Q1", "fall at the spike, eps 1", m.spike, (*ptd, ("s5", "s5ptd")), np.nan),
        ("Q3", "fall at the worst low mode, eps 0.3", m.low, turned, np.nan),
        ("Q6", "clean accuracy", m.clean, ptd, MARGIN),
    )
    for question, what, by_task, pairs, margin in asked:
        for task, values in by_task.items():
            of = dict(zip(m.models, values, strict=True))
            for one, other in pairs:
                if one in of and other in of:
                    text = f"{what}, {one} less {other}"
                    made.append(Claim(question, task, text, of[one] - of[other], margin))
    basis = m.variants.get("")
    for name, values in m.variants.items():
        if name and basis is not None:
            change = (values[0] - values[1]) - (basis[0] - basis[1])
            text = f"fall at the spike, s4d less s4ptd-rank1, {name} less the networks as they are"
            made.append(Claim("Q7", design.VARIED, text, change))
    for (task, place), values in m.rho.items():
        text = f"rank correlation with falls at the {place}, response less the guess"
        if np.isfinite(values).all():
            made.append(Claim("Q8", task, text, values[0] - values[1]))
    return made


def rankings(m: Measured) -> list[Ranking]:
    """Return the claims about orders."""
    made = []
    if "s4d" in m.models and len(m.spike) > 2:
        row = m.models.index("s4d")
        pairs = [np.stack([g[t][row] for t in m.spike]) for g in (m.finite_gain, m.spike)]
        blocks = tuple(np.stack(pairs, axis=1).transpose(2, 1, 0))
        text = "rank correlation over tasks: S4D's gain at the spike over the length, and its fall"
        made.append(Ranking("Q2", text, blocks, tuple(range(len(blocks)))))
    for question, what, values in (("Q4", "certified gain", m.gain), ("Q5", "kappa", m.kappa)):
        both = {t: np.stack([values[t], m.layers[t]]) for t in values}
        usable = {t: part[:, np.isfinite(part).all((0, 2))] for t, part in both.items()}
        if any(part.shape[1] < 3 for part in usable.values()):
            continue
        blocks = tuple(part[..., seed] for part in usable.values() for seed in range(part.shape[2]))
        seeds = tuple(seed for part in usable.values() for seed in range(part.shape[2]))
        text = f"rank correlation over models: {what}, and mean fall under noise at layers, eps 1"
        made.append(Ranking(question, text, blocks, seeds))
    return made
