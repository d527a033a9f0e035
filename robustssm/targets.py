"""Kinds of target: what a network answers, what an error is, and what tables call it.

Whoever works on answers asks the kind of the task, whoever works on tables that of the table
(`of_table`). torch is needed where tensors are given.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from robustssm.errors import RejectedInputError, UsageError, require_one_of
from robustssm.typing import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]
# Answers, targets, and valid steps where there are some.
Answered = tuple["Tensor", Array, "Array | None"]
Loss = Callable[["Tensor", "Tensor"], "Tensor"]
# What an adversary makes small, by name.
LOSSES = ("margin", "ce", "dlr")
# Rows that a sum over a sample's values is computed on at a time: others round it differently.
_ROWS = 16
# What was delivered to a sample and what that took: columns of the cells of every kind.
DELIVERED = (
    *("delivered_l2", "delivered_linf", "delivered_rms", "delivered_snr_db", "in_band_share"),
    *("forwards", "backwards"),
)


class Kind:
    """Classes: labels (N,), answers are logits (batch, classes). `Values` is the other kind.

    name: in manifests and on cards; words, digits: for a score in texts; score, clean, mean, worst,
    crossfit: columns of tables, and short what begins the last three; wins: columns that count
    samples in a paired test; answers, guess, interval, test: in words, what a network gives, the
    best constant answer, whose interval of a score and which test of two models is over samples;
    rows: columns of a cell, by the letter of their numpy kind; grade: the one that grades a sample
    as its margin does; outcome: the one whose mean is the score; sign: 1 where more is better, else
    -1; limits: of a score; best: the best outcome; every_step: whether every step has an answer.
    """

    name, words, digits = "", "accuracy", ".3f"
    score, clean, short = "accuracy", "clean_accuracy", "acc"
    mean, worst, crossfit = "acc_mean_over_modes", "acc_worst_over_modes", "acc_worst_crossfit"
    answers, guess, interval, test = "logits", "chance", "Wilson", "McNemar exact"
    grade, outcome, wins = "margin", "correct", ("a_only", "b_only")
    rows: Mapping[str, str] = {
        **{"label": "i", "prediction": "i", "margin": "f", "loss": "f", "correct": "b"}
    }
    sign, limits, best, every_step = 1.0, (0.0, 1.0), 1.0, False

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a cell, in order."""
        return ("sample_id", *self.rows, *DELIVERED)

    def named(self, quantity: str) -> str:
        """Return the name that a quantity of accuracies has of this kind."""
        return quantity.replace("acc_", f"{self.short}_")

    def facts(self, classes: int, chance: float) -> dict[str, Any]:
        """Return what a manifest says: number of answers, score of the best constant one."""
        return {"classes": classes, "chance": chance}

    def check_answers(self, who: str, shape: tuple[int, ...], targets: Array, classes: int) -> None:
        """Raise RejectedInputError unless answers of this shape fit; spare logits do no harm."""
        expected = (*targets.shape[1:], classes)[: max(1, targets.ndim - 1)]
        if shape[1:-1] != expected[:-1] or not self._fits(shape[-1], classes):
            raise RejectedInputError(
                f"{who}: answers {shape[1:]} per sample, expected {expected}; take a network that "
                "was trained for such a task"
            )

    def _fits(self, answered: int, classes: int) -> bool:
        return answered >= classes

    def margins(self, answers: "Tensor", targets: "Tensor") -> "Tensor":
        """Return what falls with the harm to each sample, (batch,), float64; 0 or less: broken."""
        return margin(answers, targets)

    def loss(self, name: str) -> Loss:
        """Return what an adversary makes small, by a name of LOSSES: as `margins`."""
        return {"margin": margin, "ce": log_odds, "dlr": difference_of_logits_ratio}[name]

    def training_loss(
        self, answers: "Tensor", targets: "Tensor", lengths: "Tensor | None", std: "Tensor | None"
    ) -> "Tensor":
        """Return the mean loss of a batch; std: of the targets, where these are values."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(answers, targets)

    def samples(
        self, answers: "Tensor", targets: Array, lengths: "Array | None", centre: FloatArray
    ) -> dict[str, Array]:
        """Return the columns `rows` of a cell; centre: the mean target, (outputs,)."""
        import torch

        labels = torch.from_numpy(targets)
        margins = margin(answers, labels)
        return {
            "label": targets,
            "prediction": answers.argmax(1).numpy(),
            "margin": margins.numpy(),
            "loss": torch.nn.functional.cross_entropy(answers, labels, reduction="none").numpy(),
            # A tie is no right answer, though argmax may name the label.
            "correct": (margins > 0.0).numpy(),
        }

    def quality(self, found: Sequence[Answered]) -> float:
        """Return the share of right answers; of values R2 = 1 - MSE / variance."""
        right = (answers.argmax(1).numpy() == labels for answers, labels, _ in found)
        return sum(int(one.sum()) for one in right) / sum(len(one) for _, one, _ in found)

    def level(self, margins: FloatArray) -> FloatArray:
        """Return the score of margins (..., samples), (...)."""
        return np.asarray((margins > 0.0).mean(-1))

    def constant(self, targets: Array) -> float:
        """Return the score of the best constant answer to targets."""
        return float(np.bincount(targets).max() / len(targets))


class Values(Kind):
    """Numbers: targets (N, outputs), or (N, length, outputs) where every step has some.

    A sample's error is the mean square of its differences, over outputs and valid steps.
    threshold: the error above which a sample is broken.
    """

    words, digits = "MSE", ".4g"
    score, clean, short = "mse", "clean_mse", "mse"
    mean, worst, crossfit = "mse_mean_over_modes", "mse_worst_over_modes", "mse_worst_crossfit"
    answers, guess, interval = "outputs", "the best constant answer", "Student"
    test, wins = "sign flips of samples", ("a_closer", "b_closer")
    grade = outcome = "squared_error"
    rows = dict.fromkeys(("squared_error", "absolute_error", "squared_deviation"), "f")
    sign, limits, best = -1.0, (0.0, float("inf")), 0.0

    def __init__(self, name: str, every_step: bool, threshold: float = 0.0) -> None:
        self.name, self.every_step, self.threshold = name, every_step, threshold

    def facts(self, classes: int, chance: float) -> dict[str, Any]:
        """Return the name of the kind as well."""
        return {"target": self.name, "outputs": classes, "chance": chance}

    def _fits(self, answered: int, classes: int) -> bool:
        return answered == classes

    def margins(self, answers: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the threshold minus the squared error."""
        return self.threshold - errors(answers, targets)

    def loss(self, name: str) -> Loss:
        """Return the margin, by the names `ce` and `margin`; there is no DLR."""
        require_one_of("loss of values:", name, LOSSES[:2])
        return self.margins

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
        self, answers: "Tensor", targets: Array, lengths: "Array | None", centre: FloatArray
    ) -> dict[str, Array]:
        """Return squared and absolute error, and the squared distance of the target from centre."""
        import torch

        given = torch.from_numpy(targets)
        ends = None if lengths is None else torch.from_numpy(lengths)
        apart = errors(torch.from_numpy(centre).expand_as(given), given, ends)
        found = errors(answers, given, ends), errors(answers, given, ends, power=1), apart
        return {name: one.numpy() for name, one in zip(self.rows, found, strict=True)}

    def quality(self, found: Sequence[Answered]) -> float:
        """Return R2; NaN where the targets do not vary."""
        whole = np.concatenate([targets.reshape(-1, targets.shape[-1]) for _, targets, _ in found])
        parts = [[*self.samples(*one, whole.mean(0)).values()] for one in found]
        error, _, spread = (float(column.mean()) for column in np.concatenate(parts, axis=1))
        return 1.0 - error / spread if spread > 0.0 else float("nan")

    def level(self, margins: FloatArray) -> FloatArray:
        """Return the mean squared error."""
        return np.asarray(self.threshold - margins.mean(-1))

    def constant(self, targets: Array) -> float:
        """Return the mean squared distance of the targets from their mean."""
        return float(targets.reshape(-1, targets.shape[-1]).var(0).mean())


CLASSES = Kind()
VALUES = Values("values", every_step=False)
STEPS = Values("values at every step", every_step=True)
KINDS: dict[str, Kind] = {kind.name: kind for kind in (CLASSES, VALUES, STEPS)}


def of_manifest(content: Mapping[str, Any]) -> Kind:
    """Return the kind of target of a run; its manifest does not name classes."""
    return KINDS[content.get("target", "")]


def of_table(columns: Collection[Any]) -> Kind:
    """Return the kind of a table, of results or of a cell, by its columns."""
    own = {VALUES.score, VALUES.mean, VALUES.outcome, VALUES.wins[0]}
    return VALUES if own & {*columns} else CLASSES


def check_values(who: str, *targets: Array) -> None:
    """Raise UsageError for targets (N, ..., outputs) that are no numbers, or do not vary.

    The first are those of training, which must vary in every output.
    """
    for values in targets:
        broken = int((~np.isfinite(values)).any(axis=tuple(range(1, values.ndim))).sum())
        if broken:
            raise UsageError(
                f"{who}: targets of {broken} in {len(values)} samples are NaN or infinite; fill "
                "them in, or leave these samples out"
            )
    flat = targets[0].reshape(-1, targets[0].shape[-1])
    same = np.flatnonzero((flat == flat[:1]).all(0))
    if len(flat) and len(same):
        raise UsageError(
            f"{who}: target {same[0]} is {flat[0, same[0]]:g} in every training sample, expected "
            "one that varies; leave it out"
        )


def errors(
    answers: "Tensor", targets: "Tensor", lengths: "Tensor | None" = None, power: int = 2
) -> "Tensor":
    """Return the mean of |answer - target|^power over outputs and valid steps, (batch,), float64.

    The same bits in any batch.
    """
    apart = (answers.double() - targets.double()).abs()
    apart = apart.square() if power == 2 else apart
    if lengths is not None and apart.ndim == 3:
        valid = _valid(lengths, apart[..., 0])
        apart = apart * (valid * (apart.shape[1] / valid.sum(1))[:, None])[..., None]
    flat = apart.flatten(1)
    whole = flat.new_zeros((len(flat) + -len(flat) % _ROWS, flat.shape[1]))
    whole[: len(flat)] = flat
    return whole.mean(1)[: len(flat)]


def _valid(lengths: "Tensor", steps: "Tensor") -> "Tensor":
    """Return which steps (batch, length) are before the samples' ends, as numbers."""
    places = steps.new_ones(steps.shape[1]).cumsum(0)
    return (places <= lengths.to(steps.device)[:, None]).to(steps.dtype)


def margin(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """Return the label's logit minus the largest other one, (batch,); negative if misclassified.

    In float64.

    Parameters
    ----------
    logits : Tensor
        (batch, classes).
    labels : Tensor
        Right answers, (batch,).
    """
    logits = logits.double()
    own = logits.gather(1, labels[:, None])[:, 0]
    return own - logits.scatter(1, labels[:, None], -float("inf")).amax(1)


def difference_of_logits_ratio(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """Return the margin over the distance of the largest logit from the third, (batch,), float64.

    At most 1, unchanged by scaling and shifting the logits; needs three classes. Reference: Croce
    and Hein (arXiv 2003.01690), equation (6), with the sign of what an adversary makes small.
    """
    if logits.shape[1] < 3:
        raise UsageError(f"loss: dlr needs 3 classes, got {logits.shape[1]}; use margin or ce")
    top = logits.double().topk(3, dim=1).values
    return margin(logits, labels) / (top[:, 0] - top[:, 2] + 1e-12)


def log_odds(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """Return the logarithm of p / (1 - p), p the label's probability, (batch,), float64.

    It rises and falls with minus the cross entropy log p, so that normalised steps on one are
    steps on the other; but its gradient does not vanish when the network is certain.
    """
    logits = logits.double()
    own = logits.gather(1, labels[:, None])[:, 0]
    return own - logits.scatter(1, labels[:, None], -float("inf")).logsumexp(1)
