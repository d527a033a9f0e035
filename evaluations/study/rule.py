"""The rule of docs/protocol.md: what may be said of claims and orders, and how often it errs."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from robustssm.evaluations.paper.reproduction import MEASURED, Context, Finding, Tables
from robustssm.evaluations.statistics.intervals import constant, student
from robustssm.evaluations.statistics.max_statistic import RESAMPLES, max_t
from robustssm.evaluations.statistics.paired import holm
from robustssm.evaluations.study import design
from robustssm.evaluations.study.prediction import PREDICTORS, calibration, predicted, scores
from robustssm.evaluations.study.questions import (
    Claim,
    Measured,
    Ranking,
    claims,
    joined,
    measured,
    rankings,
)
from robustssm.typing import FloatArray

# Of each of two families: differences, and rank correlations with equivalences.
LEVEL = 0.025
SHOWN, ALIKE, UNDECIDED = "shown", "alike", "undecided"
SEED = 20261129
# Sign flips of a study with exchanged labels, of which there are many: p is at least 0.001.
FLIPS = 999


def rank_correlation(ranking: Ranking) -> tuple[FloatArray, float]:
    """Return the means of the blocks' rank correlations by seed, (seeds,), and the exact p.

    p: share of the orders of the things, the same in all blocks, whose mean rank correlation has
    at least the modulus found. A block in which all are equal has none, and counts as 0.
    """
    scaled = [np.stack([_scaled(row) for row in block]) for block in ranking.blocks]
    each = np.array([a @ b for a, b in scaled])
    table = np.mean([np.outer(a, b) for a, b in scaled], axis=0)
    things = np.arange(len(table))
    orders = np.array(list(permutations(things)))
    found = np.abs(table[things, orders].sum(1))
    # Sums of the same numbers in another order differ by some ulps.
    p = float((found >= abs(np.trace(table)) - 1e-12).mean())
    seeds = np.asarray(ranking.block_of)
    return np.array([each[seeds == seed].mean() for seed in np.unique(seeds)]), p


def _scaled(values: FloatArray) -> FloatArray:
    """Return ranks of mean 0 and norm 1; zeros if all are equal."""
    ranks = stats.rankdata(values)
    centred = ranks - ranks.mean()
    norm = np.linalg.norm(centred)
    return centred / norm if norm > 0 else centred


def judged(
    asked: Sequence[Claim], orders: Sequence[Ranking], resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Return a row for each claim: question, task, estimand, estimate, low, high, p, verdict.

    seeds: how many; by_seed: the values. p is adjusted within its family; resamples: flips.
    """
    differ = [claim for claim in asked if np.isnan(claim.margin)]
    alike = [claim for claim in asked if not np.isnan(claim.margin)]
    found = [rank_correlation(ranking) for ranking in orders]
    values = np.array([claim.values for claim in differ])
    rows = []
    if differ:
        p = max_t(values, np.zeros_like(values), resamples)
        rows += [_row(claim, q, SHOWN) for claim, q in zip(differ, p, strict=True)]
    second = [_outside(claim) for claim in alike] + [p for _, p in found]
    adjusted = holm(np.array(second)) if second else np.empty(0)
    rows += [_row(claim, q, ALIKE) for claim, q in zip(alike, adjusted, strict=False)]
    for ranking, (means, _), q in zip(orders, found, adjusted[len(alike) :], strict=True):
        row = _row(Claim(ranking.question, "", ranking.estimand, means), q, SHOWN)
        rows.append([*row[:4], *np.clip(row[4:6], -1.0, 1.0), *row[6:]])
    columns = ["question", "task", "estimand", "estimate", "low", "high", "seeds", "by_seed", "p"]
    table = pd.DataFrame(rows, columns=[*columns, "verdict"])
    return table.sort_values("question", kind="stable", ignore_index=True)


def _row(claim: Claim, p: float, verdict: str) -> list[Any]:
    values = claim.values
    text = " ".join(f"{value:.6g}" for value in values)
    about = [claim.question, claim.task, claim.estimand, float(values.mean()), *student(values)]
    return [*about, len(values), text, float(p), verdict if p <= LEVEL else UNDECIDED]


def _outside(claim: Claim) -> float:
    """Return p of two one-sided tests that the mean lies outside the margin; Student's."""
    if constant(claim.values):
        return 0.0 if abs(claim.values[0]) < claim.margin and len(claim.values) > 1 else 1.0
    error = claim.values.std(ddof=1) / len(claim.values) ** 0.5
    away = claim.margin - abs(float(claim.values.mean()))
    return float(stats.t.sf(away / error, len(claim.values) - 1))


def exchanged(m: Measured, rng: np.random.Generator) -> Measured:
    """Return the same with the models' labels exchanged at random, at each task and seed apart.

    Of Q8 the labels of the two predictions. What the weights say keeps its labels.
    """
    orders = {
        task: np.argsort(rng.random(values.shape), axis=0) for task, values in m.clean.items()
    }

    def mixed(fields: dict[str, FloatArray]) -> dict[str, FloatArray]:
        return {t: np.take_along_axis(v, orders[t], axis=0) for t, v in fields.items()}

    def swapped(values: FloatArray) -> FloatArray:
        return np.where(rng.random(values.shape[1]) < 0.5, values, values[::-1])

    return replace(
        m,
        clean=mixed(m.clean),
        spike=mixed(m.spike),
        low=mixed(m.low),
        layers=mixed(m.layers),
        variants={name: swapped(values) for name, values in m.variants.items()},
        rho={key: swapped(values) for key, values in m.rho.items()},
    )


def null_study(m: Measured, repeats: int = 1000) -> tuple[float, float]:
    """Return the shares of studies with exchanged labels that claim a difference, and of claims.

    Reference: the last paragraph of docs/protocol.md.
    """
    rng = np.random.Generator(np.random.Philox(SEED))
    studies, single = 0, []
    for _ in range(repeats):
        other = exchanged(m, rng)
        verdicts = judged(claims(other), rankings(other), FLIPS)["verdict"]
        said = (verdicts == SHOWN).to_numpy()
        studies += bool(said.any())
        single.append(said.mean())
    return studies / repeats, float(np.mean(single))


def exchanged_labels(context: Context) -> pd.DataFrame:
    """Return `null_study` of as many repeats as the settings say: repeats, studies, claims."""
    repeats = context.settings["repeats"]
    shares = null_study(measured(context.tables), repeats)
    return pd.DataFrame([(repeats, *shares)], columns=["repeats", "studies", "claims"])


def findings(tables: Tables) -> Iterable[Finding]:
    """Return the verdicts of docs/protocol.md, how well falls are predicted, and the null."""
    m = measured(tables)
    for row in judged(claims(m), rankings(m)).itertuples():
        where = f"{design.label(str(row.task))}: " if row.task else ""
        found = f"{_told(row.estimate, row.low, row.high)}, {row.seeds} seeds, p {row.p:.2g}"
        yield Finding(f"{row.question}, {where}{row.estimand}", "-", found, str(row.verdict))
    table = predicted(joined(tables, "-accuracies"), joined(tables, "-weights"))
    learnt = calibration(table).set_index(["task", "place"])
    for key, part in scores(table).groupby(["task", "place"], sort=False):
        where = f"{design.label(str(key[0]))}: noise at {key[1]}"
        seeds = part.groupby("seed")[list(PREDICTORS)].mean().dropna(axis=1)
        told = [f"{name} {_told(v.mean(), *student(v))}" for name, v in seeds.items()]
        told.append(f"{part['low'].isna().sum()} of {len(part)} networks without a fall")
        yield Finding(f"rank correlation over frequencies, {where}", "-", ", ".join(told), MEASURED)
        errors = [f"{name} {value:.3f}" for name, value in learnt.loc[key].dropna().items()]
        if errors:
            name = f"mean error of falls, learnt on other tasks, {where}"
            yield Finding(name, "-", ", ".join(errors), MEASURED)
    null = tables["null"].iloc[0]
    told = [f"{null['studies']:.3f}", f"of claims {null['claims']:.4f}", f"{null['repeats']:.0f}"]
    name = "labels exchanged at random: share of studies that claim a difference"
    yield Finding(name, "-", ", ".join(told) + " studies", MEASURED)


def _told(mean: float, low: float, high: float) -> str:
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"
