"""An ensemble of attacks without parameters to choose: a sample is broken if one of them breaks it.

Reference: Croce and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of
Diverse Parameter-free Attacks (arXiv 2003.01690), sections 4 and 5, with its steps, targets and
queries; here on the Fourier coordinates of a band. In place of Square (Andriushchenko et al., arXiv
1912.00049), whose squares are of pixels, stands `RandomSearch`, for as many queries, in linf on
windows of steps.
"""

from collections.abc import Iterator
from dataclasses import fields, replace

import torch
from torch import Tensor

from robustssm.attacks.adversaries.ball import BandBall
from robustssm.attacks.adversaries.band_pgd import BandPGD
from robustssm.attacks.adversaries.base import Adversary, Found, Target
from robustssm.attacks.adversaries.fab import Boundary
from robustssm.attacks.adversaries.random_search import RandomSearch
from robustssm.attacks.adversaries.signs import Signs
from robustssm.attacks.base import family
from robustssm.errors import UsageError, require_one_of
from robustssm.targets import Errors, Kind

PARTS = ("apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square")
_VERSIONS = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "rand": ("apgd-ce", "apgd-dlr"),
    "custom": (),
}
# Of a ratio of differences of logits nothing is left where targets are no classes.
_OF_CLASSES = ("apgd-dlr", "apgd-t", "fab-t")
_AIMED = ("apgd-t", "fab-t")
# Passes that gradients and margins are means of, in version `rand`.
_PASSES = 20
# Queries of single modes that the search begins with.
_MODES = 20


@family
class SpectralAutoAttack(Adversary):
    """The union of attacks of different kinds within DFT bins low..high and the budget's ball.

    `apgd-ce` and `apgd-dlr` are `BandPGD` from a random start, on the cross entropy and the
    difference of logits ratio; `apgd-t` the same on the ratio targeted at each of the 9 classes
    next to the label (at the difference of logits if there are fewer than 4 classes), `fab-t` steps
    onto the linearised boundary to each of them, and `square` random search without gradients. A
    sample is left once it is broken. Of values and tokens, which have no other classes, `apgd-ce`
    and `square` run, on the squared error or the loss; without an error that breaks, as in a sweep,
    nothing is left, and the largest error is kept.

    Flags: `broken_by`, for each sample the part that broke it, `clean` if none had to, or an empty
    text; `passes`, forwards and backwards of each part; `signs`, whose `warnings()` say why
    robustness may be overestimated, and `suspect`, which samples they are of; `in_band_share` per
    sample. A sweep of classes keeps `suspect`; `robustssm search diagnose --auto-attack` prints
    the signs.

    Parameters
    ----------
    version : str
        `standard`: apgd-ce, apgd-t, fab-t, square. `rand`: apgd-ce and apgd-dlr with margins and
        gradients averaged over 20 passes, for networks that are random in evaluation; their draws
        are torch's, so that the result depends on the batch. `custom`: what follows.
    parts : tuple of str
        Of version custom: which parts, in order.
    steps, targets, queries : int
        Steps of each start, classes that targeted parts are aimed at, queries of the search.
    """

    version: str = "standard"
    parts: tuple[str, ...] = ()
    steps: int = 100
    targets: int = 9
    queries: int = 5000

    def __post_init__(self) -> None:
        self.check_word("version", _VERSIONS)
        self.check_counts("steps", "targets", "queries")
        for name in self.parts:
            require_one_of(f"{self.who}: part", name, PARTS)
        named = [f.name for f in fields(self)[3:] if getattr(self, f.name) != f.default]
        if self.version != "custom" and named:
            raise UsageError(f"{self.who}: {named[0]} belongs to version='custom', got {self!r}")
        if self.version == "custom" and not self.parts:
            raise UsageError(f"{self.who}: parts is (), expected one or more of {', '.join(PARTS)}")

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Return the parts that run for a kind of target; UsageError if one was named that cannot.

        Parts of a version that need classes are left out of other kinds.
        """
        names = self.parts or _VERSIONS[self.version]
        lacking = [name for name in names if name in _OF_CLASSES] * isinstance(kind, Errors)
        if lacking and self.parts:
            raise UsageError(
                f"{self.who}: {lacking[0]} needs classes, the targets are {kind.name}; take "
                "apgd-ce or square"
            )
        return tuple(name for name in names if name not in lacking)

    def search(self, target: Target) -> Found:
        """Return what the first part to break each sample found, or the lowest margin of all."""
        names, kind, x = self.names(target.victim.kind), target.victim.kind, target.x.clone()
        target = replace(target, passes=_PASSES if self.version == "rand" else 1)
        with torch.random.fork_rng(enabled=self.version == "rand"):
            if self.version == "rand":
                torch.manual_seed(target.seed)
            margin = target.margins(x)
            broken = (margin <= 0.0) & kind.judges
            broken_by = ["clean" if one else "" for one in broken.tolist()]
            passes = dict.fromkeys(names, (0, 0))
            for name, part, aims in self._runs(names, target):
                rows = torch.nonzero(~broken)[:, 0]
                if not len(rows):
                    break
                found = part.attack(_copies(target.select(rows), aims[rows]))
                # The best of a sample's aims.
                margins, best = found.margin.view(len(rows), -1).min(1)
                closest = torch.arange(len(rows), device=x.device) * (len(found.x) // len(rows))
                better = (margins < margin[rows]) | torch.isnan(margin[rows])
                x[rows[better]] = found.x[closest + best][better]
                margin[rows[better]] = margins[better]
                broken[rows] = (margins <= 0.0) & kind.judges
                for row in rows[broken[rows]].tolist():
                    broken_by[row] = name
                spent = passes[name]
                passes[name] = spent[0] + found.forwards, spent[1] + found.backwards
            if target.passes > 1:  # the lowest of several means is no mean
                margin = target.margins(x)
                broken = (margin <= 0.0) & kind.judges
                broken_by = [by * one for by, one in zip(broken_by, broken.tolist(), strict=True)]
            searched = torch.tensor([by == "square" for by in broken_by], device=x.device)
            white = torch.where(searched, torch.inf, margin)
            free = BandPGD(self.low, self.high, self.steps, start="random", drop=True)
            signs, suspect = Signs.of(target, white, margin, free)
        flags: dict[str, object] = {
            "broken_by": broken_by,
            "passes": passes,
            "signs": signs,
            "suspect": suspect,
            "in_band_share": BandBall.of(target, self.low, self.high).share(x),
        }
        return Found(x, margin, flags)

    def _runs(
        self, names: tuple[str, ...], target: Target
    ) -> Iterator[tuple[str, Adversary, Tensor]]:
        """Yield each part's name, the attack and the classes that it aims at, (batch, aims)."""
        logits, drop = target.logits(target.x), target.victim.kind.judges
        classes, low, high = logits.shape[-1], self.low, self.high

        def apgd(loss: str) -> BandPGD:
            return BandPGD(low, high, self.steps, loss=loss, start="random", drop=drop)

        modes, change = min(_MODES, self.queries), "windows" if target.budget.norm.box else "slope"
        attacks: dict[str, Adversary] = {
            "apgd-ce": apgd("ce"),
            "apgd-dlr": apgd("dlr" if classes > 2 else "margin"),
            "apgd-t": apgd("dlr" if classes > 3 else "margin"),
            "fab-t": Boundary(low, high, self.steps),
            "square": RandomSearch(low, high, self.queries, modes, drop, change),
        }
        for name in names:
            aims = target.labels.new_empty((len(target), 0))
            if name in _AIMED:
                others = logits.scatter(1, target.labels[:, None], -torch.inf)
                aims = others.sort(dim=1, descending=True, stable=True).indices[:, : classes - 1]
                # Most samples fall to the first class, if to any; the others go together.
                yield name, attacks[name], aims[:, :1]
                aims = aims[:, 1 : self.targets]
            if name not in _AIMED or aims.shape[1]:
                yield name, attacks[name], aims


def _copies(target: Target, aims: Tensor) -> Target:
    """Return each sample once for each of its aims (batch, count); the target as it is if none."""
    count = aims.shape[1]
    if not count:
        return target
    rows = torch.arange(len(target), device=aims.device).repeat_interleave(count)
    return replace(target.select(rows), aims=aims.flatten())
