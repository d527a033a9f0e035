"""The worst mode of a sweep, or of trained checkpoints, found with a small part of the passes.

Three sources, each of which may be left out: a prior over modes (the response of the trained
layers, `trained_layers.input_response`), the linearisation of the margin at a few samples, and
successive halving on growing subsets of samples with the perturbations of the sweep themselves.

References: Karnin, Koren and Somekh, Almost Optimal Exploration in Multi-Armed Bandits (ICML
2013), algorithm 1, for sequential halving, here with the samples of earlier rounds kept; Neyman,
J. R. Stat. Soc. 97 (1934), for strata.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from robustssm import philox
from robustssm.attacks import Budget
from robustssm.attacks.adversaries.ball import Ball
from robustssm.attacks.adversaries.base import Target
from robustssm.attacks.adversaries.victim import Victim
from robustssm.attacks.perturbations.fourier import Fourier
from robustssm.checkpoints.model_names import ModelRef
from robustssm.errors import UsageError
from robustssm.evaluations.trained_layers.input_response import input_response
from robustssm.execution import one_thread
from robustssm.networks.network import own_network
from robustssm.targets import CLASSES
from robustssm.tasks import Task
from robustssm.typing import FloatArray, IntArray

# A pass back through the network costs about as much as two forward.
BACKWARD = 2
# Samples whose margin is linearised, and modes that the ranking sends into the first round.
GRADIENTS = 32
SEEDED = 16
# Modes of the last round, and the part of modes that each round keeps.
LAST = 3
KEPT = 0.5
# Where the margin is linearised: x plus white noise at this share of the budget.
SHARE = 0.5
# Width of the soft count of broken samples, in medians of the margins' moduli.
SOFTNESS = 0.1
# How many of the first modes are shown.
FIRST = 3
# Margins are finite, so that means of them are.
_ENDLESS = 1e150


@dataclass(frozen=True)
class ModeRanking:
    """Modes of a sweep, worst first.

    modes: DFT bins, (modes,); accuracy: score of the samples tried (of values the mean squared
    error), NaN where none was; samples: how many were tried, the first ones of an order that all
    modes share; both as `modes`. forwards, backwards: passes used, in samples.
    """

    modes: IntArray
    accuracy: FloatArray
    samples: IntArray
    forwards: int
    backwards: int

    @property
    def passes(self) -> int:
        """Forward passes, each pass back counted as two more."""
        return self.forwards + BACKWARD * self.backwards


def rank_modes(
    target: Target,
    modes: Sequence[int],
    prior: FloatArray | None,
    passes: int,
    linearise: bool = True,
) -> ModeRanking:
    """Return the modes of the sweep of `Fourier(k)`, random phase, by estimated accuracy.

    modes: DFT bins, each once. prior: a number per mode, (modes,), larger for worse ones; only its
    order counts. passes: the most that are used, each pass back counted as two forward. linearise:
    whether gradients take part; without them and a prior, halving starts from all modes.

    A mode is seeded by the better of its places in the two orders, and tried on the samples that
    the sweep would try it on, with the same draws. Raises UsageError if a mode is given twice, the
    prior does not fit, or the passes are too few.
    """
    victim = target.victim
    listed = np.asarray(modes, dtype=np.int64)
    if len(np.unique(listed)) != len(listed) or not len(listed):
        raise UsageError("rank: a mode is given twice or none at all; name each mode once")
    if prior is not None and not (prior.shape == listed.shape and np.isfinite(prior).all()):
        raise UsageError(
            f"rank: prior has shape {prior.shape} or values that are not finite, expected one "
            f"finite value for each of {len(listed)} modes"
        )
    scores = [] if prior is None else [prior]
    before = victim.forwards, victim.backwards
    # A quarter of the passes at most.
    count = min(GRADIENTS, len(target), passes // 4 // (1 + BACKWARD)) if linearise else 0
    labels = target.labels if victim.kind is CLASSES else torch.zeros(len(target))
    order = stratified(labels, target.sample_id, target.seed)
    if count:
        rows = torch.as_tensor(order[:count], device=target.x.device)
        scores.append(expected_drop(target.select(rows), listed))
    start = np.arange(len(listed))
    if scores:
        # Places of each mode, the worst first, ties in the order given.
        table = stats.rankdata(-np.stack(scores), "ordinal", axis=1)
        start = np.lexsort((table.sum(0), table.min(0)))
    sizes = [min(SEEDED, len(listed)) if scores else len(listed)]
    while sizes[-1] > LAST:
        sizes.append(max(LAST, int(np.ceil(sizes[-1] * KEPT))))
    left = passes - (1 + BACKWARD) * count
    if left < sizes[0] * len(sizes):
        raise UsageError(
            f"rank: {passes} passes are too few, expected at least "
            f"{sizes[0] * len(sizes) + (1 + BACKWARD) * count} for {len(listed)} modes; "
            "allow more passes (a smaller --part)"
        )
    screen = _Screen(target, order)
    tried = _halve(screen, listed, start, sizes, left)
    tail = start[~np.isin(start, tried)]
    ranked = np.concatenate([tried, tail])
    accuracy, samples = screen.summary(listed[ranked])
    return ModeRanking(
        listed[ranked],
        accuracy,
        samples,
        victim.forwards - before[0],
        victim.backwards - before[1],
    )


def stratified(labels: Tensor, sample_id: IntArray, seed: int) -> IntArray:
    """Return rows in an order of which every beginning holds the labels in proportion, (batch,).

    A function of the seed, the labels and the sample ids; the rows' own order does not matter.
    """
    label = labels.cpu().numpy()
    draw = philox.uniform_tensor(f"{seed}|stratified", sample_id, 1).numpy()[:, 0]
    rows = np.lexsort((draw, label))
    _, first, size = np.unique(label[rows], return_index=True, return_counts=True)
    within = np.arange(len(rows)) - np.repeat(first, size)
    position = (within + draw[rows]) / np.repeat(size, size)
    return rows[np.lexsort((np.asarray(sample_id)[rows], position))]


def expected_drop(target: Target, modes: IntArray) -> FloatArray:
    """Return the linearised change of the margin for each mode, (modes,), mean over samples.

    Root mean square over phases: with g the gradient and G its DFT, a mode of root mean square
    eps scale_c and phase p_c in channel c changes the margin by sqrt(2) eps sum_c scale_c |G_c|
    cos(p_c + arg G_c), at bins 0 and L/2 by eps sum_c +-scale_c |G_c|; the mean square of either
    is eps^2 sum_c scale_c^2 |G_c|^2. eps is left out. The gradient is taken beside x, at white
    noise of SHARE of the budget, since at x it is blind to what grows with the square of the
    perturbation.
    """
    scale, x = Ball.of(target).scale, target.x.double()
    stream = f"{target.seed}|expected_drop"
    white = philox.normal_tensor(stream, target.sample_id, x.shape[1] * x.shape[2], x.device)
    noise = target.budget.scaled(x, white.view(x.shape) * scale, target.site.scale, "rank")
    _, _, slope = target.slopes(x + SHARE * noise)
    bins = torch.as_tensor(modes, device=x.device)
    finite = torch.nan_to_num(slope, nan=0.0, posinf=0.0, neginf=0.0)
    spectrum = torch.fft.rfft(finite, dim=1)[:, bins].abs() * scale
    return spectrum.square().sum(2).sqrt().mean(0).cpu().numpy()


class _Screen:
    """Margins of (mode, sample) cells of the sweep, each computed once."""

    def __init__(self, target: Target, order: IntArray) -> None:
        self.target, self.order = target, order
        self.margins: dict[int, FloatArray] = {}

    def extend(self, modes: IntArray, count: int) -> None:
        """Try each mode on the first `count` samples of the order; all have seen as many."""
        done = len(self.margins.get(int(modes[0]), ()))
        rows = self.order[done:count]
        if not len(rows):
            return
        part = self.target.select(torch.as_tensor(rows, device=self.target.x.device))
        given = part.x, None, part.sample_id, part.seed
        place: dict[str, Any] = {"budget": part.budget, "site": part.site}
        victim = part.victim
        # As many modes at a time as fill a batch.
        group = max(1, victim.batch_size // len(rows))
        for start in range(0, len(modes), group):
            tried = [int(mode) for mode in modes[start : start + group]]
            after = torch.cat([Fourier(mode).perturb(*given, **place) for mode in tried])
            values = victim.margins(after, torch.cat([part.labels] * len(tried))).cpu().numpy()
            # A network that answers NaN is wrong, by as much as there is.
            values = np.where(np.isnan(values), -_ENDLESS, values.clip(-_ENDLESS, _ENDLESS))
            for mode, new in zip(tried, values.reshape(len(tried), -1), strict=True):
                self.margins[mode] = np.concatenate([self.margins.get(mode, new[:0]), new])

    def summary(self, modes: IntArray) -> tuple[FloatArray, IntArray]:
        """Return the accuracy of each mode on the samples it was tried on, and their number."""
        seen = [self.margins.get(int(mode), np.empty(0)) for mode in modes]
        samples = np.array([len(m) for m in seen], dtype=np.int64)
        level = self.target.victim.kind.level
        return np.array([float(level(m)) if len(m) else np.nan for m in seen]), samples


def _halve(
    screen: _Screen, modes: IntArray, start: IntArray, sizes: list[int], passes: int
) -> IntArray:
    """Return the places in `modes` of those tried, worst first; rounds share the passes equally."""
    live, out = start[: sizes[0]], np.empty(0, dtype=np.int64)
    count, used = 0, 0
    for number, size in enumerate(sizes):
        due = passes * (number + 1) // len(sizes)
        count = min(count + (due - used) // size, len(screen.order))
        done = len(screen.margins.get(int(modes[live[0]]), ()))
        screen.extend(modes[live], count)
        used += (count - done) * size
        margins = np.stack([screen.margins[int(mode)] for mode in modes[live]])
        kind = screen.target.victim.kind
        score = soft_count(margins) if kind is CLASSES else kind.level(margins)
        if number + 1 < len(sizes):
            live = live[np.argsort(-score, kind="stable")]
            out = np.concatenate([live[sizes[number + 1] :], out])
            live = live[: sizes[number + 1]]
    return np.concatenate([live[np.lexsort((-score, kind.sign * kind.level(margins)))], out])


def soft_count(margins: FloatArray) -> FloatArray:
    """Return the mean over samples of a smooth step at margin 0, (modes,); margins (modes, n).

    1 for a sample far on the wrong side, 0 for one far on the right side. Of less variance than
    the count of broken samples, which it follows more closely than the mean margin does.
    """
    width = SOFTNESS * max(float(np.median(np.abs(margins))), np.finfo(float).tiny)
    return (0.5 - 0.5 * np.tanh(margins / (2.0 * width))).mean(1)


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
    checkpoint = ref.load()
    prior = None
    modes = np.asarray(search.modes)
    if search.prior:
        own = own_network(checkpoint.network, f"worst-mode {ref}")
        prior = input_response(own, task.length, modes.astype(np.float64))
    with one_thread(), Victim(checkpoint.network, kind=task.kind) as victim:
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
        task.kind.score: float(ranking.accuracy[0]),
        "samples": int(ranking.samples[0]),
        "passes": ranking.forwards,
        "strict_passes": ranking.passes,
        "exhaustive_passes": exhaustive,
        "times_fewer": exhaustive / ranking.forwards,
        "times_fewer_strict": exhaustive / ranking.passes,
    }
