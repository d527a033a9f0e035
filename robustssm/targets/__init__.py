"""Kinds of target: classes (`kind`); values, one vector a sample or at every step; tokens.

Whoever works on answers asks the kind of the task, whoever works on tables that of the table
(`of_table`).
"""

import copyreg
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from robustssm.errors import UsageError, require_one_of
from robustssm.targets.kind import LOSSES, Answered, Derived, Kind, Loss, margin
from robustssm.typing import Array, FloatArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CLASSES", "KINDS", "LOSSES", "STEPS", "TOKENS", "UNJUDGED", "VALUES", "Answered",
           "Errors", "Kind", "Tokens", "Values", "margin", "of_manifest", "of_table"]  # fmt: skip
# Rows that a sum over a sample's values is computed on at a time: others round it differently.
_ROWS = 16
# Outputs whose errors are told one by one, at most.
OUTPUTS = 64
# The target of a position that is not judged: the ignore_index of torch and transformers.
UNJUDGED = -100


class Errors(Kind):
    """Kinds whose score is a mean error of the samples: the smaller the better.

    threshold: the error above which a sample is broken; broken: factor and summand that make one of
    the clean score. Subclasses write `errors`.
    """

    digits, interval, test = ".4g", "Student", "sign flips of samples"
    answers, guess = "outputs", "the best constant answer"
    sign, limits, best, broken = -1.0, (0.0, float("inf")), 0.0, (1.0, 0.0)

    def __init__(self, name: str, every_step: bool, threshold: float = 0.0) -> None:
        self.name, self.every_step, self.threshold = name, every_step, threshold
        self.judges = threshold > 0.0

    def facts(self, classes: int, chance: float) -> dict[str, Any]:
        """Return the name of the kind as well."""
        return {"target": self.name, "outputs": classes, "chance": chance}

    def errors(self, answers: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the error of each sample, (batch,), float64; the same bits in any batch."""
        raise NotImplementedError

    def margins(self, answers: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the threshold minus the error."""
        return self.threshold - self.errors(answers, targets)

    def loss(self, name: str) -> Loss:
        """Return the margin, by the names `ce` and `margin`; there is no DLR."""
        require_one_of(f"loss of {self.name}:", name, LOSSES[:2])
        return self.margins

    def level(self, margins: FloatArray) -> FloatArray:
        """Return the mean error."""
        return np.asarray(self.threshold - margins.mean(-1))


class Values(Errors):
    """Numbers: targets (N, outputs), or (N, length, outputs) where every step has some.

    A sample's error is the mean square of its differences, over outputs and valid steps.
    """

    words = axis = "MSE"
    meaning, measure = "mean squared error", "R2"
    score, clean, short = "mse", "clean_mse", "mse"
    mean, worst, crossfit = "mse_mean_over_modes", "mse_worst_over_modes", "mse_worst_crossfit"
    wins, more = ("a_closer", "b_closer"), ("degradation", "rmse", "mae", "r2")
    grade = outcome = "squared_error"
    broken = (4.0, 0.0)  # twice the root
    derived: Mapping[str, Derived] = {"rmse": ("mse", np.sqrt)}
    rows = dict.fromkeys(("squared_error", "absolute_error", "squared_deviation"), "f")
    extra = ("mse_", "mase", "smape")

    def _fits(self, answered: int, classes: int) -> bool:
        return answered == classes

    def check_targets(self, who: str, classes: int, *targets: Array) -> None:
        """Raise UsageError for targets (N, ..., outputs) that are no numbers, or do not vary.

        Those of training must vary in every output, or where zeros stand for them those of the
        test.
        """
        for values in targets:
            broken = int((~np.isfinite(values)).any(axis=tuple(range(1, values.ndim))).sum())
            if broken:
                raise UsageError(
                    f"{who}: targets of {broken} in {len(values)} samples are NaN or infinite; "
                    "fill them in, or leave these samples out"
                )
        of, name = (targets[0], "training") if targets[0].any() else (targets[-1], "test")
        flat = of.reshape(-1, of.shape[-1])
        same = np.flatnonzero((flat == flat[:1]).all(0))
        if len(flat) and len(same):
            raise UsageError(
                f"{who}: target {same[0]} is {flat[0, same[0]]:g} in every {name} sample, "
                "expected one that varies; leave it out"
            )

    def errors(
        self, answers: "Tensor", targets: "Tensor", lengths: "Tensor | None" = None, power: int = 2
    ) -> "Tensor":
        """Return the mean of |answer - target|^power over outputs and valid steps, (batch,)."""
        apart = (answers.double() - targets.double()).abs()
        apart = apart.square() if power == 2 else apart
        if lengths is not None and apart.ndim == 3:
            valid = _valid(lengths, apart[..., 0])
            apart = apart * (valid * (apart.shape[1] / valid.sum(1))[:, None])[..., None]
        flat = apart.flatten(1)
        whole = flat.new_zeros((len(flat) + -len(flat) % _ROWS, flat.shape[1]))
        whole[: len(flat)] = flat
        return whole.mean(1)[: len(flat)]

    def training_loss(
        self, answers: "Tensor", targets: "Tensor", lengths: "Tensor | None", std: "Tensor | None"
    ) -> "Tensor":
        """Return the mean squared error in standard deviations of the targets."""
        squares = ((answers - targets) / (1.0 if std is None else std)).square().mean(-1)
        if lengths is None or squares.ndim == 1:
            return squares.mean()
        valid = _valid(lengths, squares)
        return (squares * valid).sum() / valid.sum()

    def samples(
        self, answered: Answered, centre: FloatArray, names: Sequence[str], scaler: "Array | None"
    ) -> dict[str, Array]:
        """Return squared and absolute error, and the squared distance of the target from centre.

        Also the squared error of each of 2 to OUTPUTS outputs, by their names, or numbers, and of
        a forecast MASE and sMAPE (per cent). scaler: (2, outputs), the mean absolute change from a
        training row to the next, and the zero of the table, both in units of the targets.

        References: Hyndman and Koehler, Int. J. Forecast. 22 (2006), section 3 (MASE); Makridakis
        et al., Int. J. Forecast. 36 (2020), section 2 (sMAPE).
        """
        import torch

        answers, targets, lengths = answered
        given, outputs = torch.from_numpy(targets), targets.shape[-1]
        ends = None if lengths is None else torch.from_numpy(lengths)
        apart = self.errors(torch.from_numpy(centre).expand_as(given), given, ends)
        three = self.errors(answers, given, ends), self.errors(answers, given, ends, 1), apart
        found = {name: one.numpy() for name, one in zip(self.rows, three, strict=True)}
        for k in range(outputs if 1 < outputs <= OUTPUTS else 0):
            one = self.errors(answers[..., k : k + 1], given[..., k : k + 1], ends)
            found[f"mse_{names[k] if names else k}"] = one.numpy()
        if scaler is not None:
            away = np.abs(answers.numpy() - targets)
            sizes = np.abs(answers.numpy() - scaler[1]) + np.abs(targets - scaler[1])
            found["mase"] = (away / scaler[0]).mean(-1)
            found["smape"] = 200.0 * (away / np.where(sizes > 0.0, sizes, 1.0)).mean(-1)
        return found

    def quality(self, found: Iterable[Answered]) -> float:
        """Return R2; NaN where the targets do not vary."""
        found = list(found)
        whole = np.concatenate([targets.reshape(-1, targets.shape[-1]) for _, targets, _ in found])
        parts = [self.samples(one, whole.mean(0), (), None) for one in found]
        return self.means({n: np.concatenate([p[n] for p in parts]) for n in self.rows})["r2"]

    def means(self, columns: Mapping[str, Array]) -> dict[str, float]:
        """Return the root of the mean square, the mean absolute error, R2, and means of `extra`."""
        square, absolute, spread = (float(columns[name].mean()) for name in self.rows)
        found = {"rmse": square**0.5, "mae": absolute, "r2": 1.0 - square / (spread or np.nan)}
        return found | {n: float(v.mean()) for n, v in columns.items() if n.startswith(self.extra)}

    def constant(self, targets: Array) -> float:
        """Return the mean squared distance of the targets from their mean."""
        return float(targets.reshape(-1, targets.shape[-1]).var(0).mean())


class Tokens(Errors):
    """Tokens: targets (N, length), UNJUDGED where none is asked for; a logit for each at each step.

    A sample's error is its mean cross-entropy over the judged positions, in nats per token.
    """

    words, axis, meaning = "loss", "loss (nats per token)", "mean cross-entropy in nats per token"
    measure, answers = "token accuracy", "logits"
    score, clean, short = "loss", "clean_loss", "loss"
    mean, worst, crossfit = "loss_mean_over_modes", "loss_worst_over_modes", "loss_worst_crossfit"
    wins = ("a_likelier", "b_likelier")
    more = ("degradation", "token_loss", "perplexity", "token_accuracy")
    derived: Mapping[str, Derived] = {"perplexity": ("token_loss", np.exp)}
    shown = "perplexity"
    grade = outcome = "loss"
    broken = (1.0, float(np.log(2.0)))  # twice the perplexity
    rows: Mapping[str, str] = {"loss": "f", "judged": "i", "right": "i"}

    def check_targets(self, who: str, classes: int, *targets: Array) -> None:
        """Raise UsageError for targets (N, length) that are no tokens, or samples without any."""
        for own in targets:
            fits = (((own >= 0) & (own < classes)) | (own == UNJUDGED)) & (own.dtype.kind == "i")
            if own.ndim != 2 or not (fits.all() and (own >= 0).any(1).all()):
                raise UsageError(
                    f"{who}: targets are {own.dtype} {own.shape} from {own.min()} to {own.max()}, "
                    f"expected tokens (samples, length) from 0 to {classes - 1}, one or more of "
                    f"each sample, and {UNJUDGED} where none is judged"
                )

    def errors(self, answers: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the nats per token of each sample, (batch,), by itself: its bits are its own."""
        import torch

        found = [answers.new_zeros(0, dtype=torch.float64)]
        for logits, own in zip(answers, targets, strict=True):
            judged = own >= 0
            rows = logits[judged].double()
            given = rows.gather(1, own[judged][:, None])[:, 0]
            found.append((rows.logsumexp(1) - given).mean()[None])
        return torch.cat(found)

    def samples(
        self, answered: Answered, centre: FloatArray, names: Sequence[str], scaler: "Array | None"
    ) -> dict[str, Array]:
        """Return the loss, how many tokens are judged, and of how many the logit is largest."""
        import torch

        answers, targets, _ = answered
        loss = self.errors(answers, torch.from_numpy(targets)).numpy()
        right = (answers.argmax(2).numpy() == targets).sum(1)
        return {"loss": loss, "judged": (targets >= 0).sum(1), "right": right}

    def means(self, columns: Mapping[str, Array]) -> dict[str, float]:
        """Return the mean loss of all tokens, its exponential, and the share of right ones."""
        loss, judged, right = (columns[name] for name in self.rows)
        mean = float((loss * judged).sum() / judged.sum())
        found = mean, float(np.exp(mean)), float(right.sum() / judged.sum())
        return dict(zip(self.more[1:], found, strict=True))

    def constant(self, targets: Array) -> float:
        """Return the loss of the frequencies of the targets themselves: their entropy."""
        counts = np.unique(targets[targets >= 0], return_counts=True)[1]
        shares = counts / counts.sum()
        return float(-(shares * np.log(shares)).sum())


def _valid(lengths: "Tensor", steps: "Tensor") -> "Tensor":
    """Return which steps (batch, length) are before the samples' ends, as numbers."""
    places = steps.new_ones(steps.shape[1]).cumsum(0)
    return (places <= lengths.to(steps.device)[:, None]).to(steps.dtype)


CLASSES = Kind()
VALUES, STEPS = Values("values", False), Values("values at every step", True)
TOKENS = Tokens("tokens", every_step=True)
KINDS: dict[str, Kind] = {kind.name: kind for kind in (CLASSES, VALUES, STEPS, TOKENS)}


def kind_named(name: str) -> Kind:
    """Return one of KINDS."""
    return KINDS[name]


def _reduced(kind: Kind) -> Any:
    """Return how a kind is pickled: one of KINDS as itself, since these are told by identity."""
    known = KINDS[kind.name] is kind
    return (kind_named, (kind.name,)) if known else object.__reduce_ex__(kind, 2)


for _kind in KINDS.values():
    copyreg.pickle(type(_kind), _reduced)


def of_manifest(content: Mapping[str, Any]) -> Kind:
    """Return the kind of target of a run; its manifest does not name classes."""
    return kind_named(content.get("target", ""))


def of_table(columns: Collection[Any]) -> Kind:
    """Return the kind of a table, of results or of a cell, by its columns."""
    held = {*columns}
    # The one column that cells of classes and of tokens share.
    for kind in () if held & (CLASSES.rows.keys() - {"loss"}) else (VALUES, TOKENS):
        if held & {kind.score, kind.mean, kind.outcome, kind.wins[0]}:
            return kind
    return CLASSES
