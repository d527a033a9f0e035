"""What every kind of target says of itself, and classes.

torch is needed where tensors are given.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from robustssm.errors import RejectedInputError, UsageError
from robustssm.typing import Array, FloatArray

if TYPE_CHECKING:
    from torch import Tensor

# Answers, targets, and valid steps where there are some.
Answered = tuple["Tensor", Array, "Array | None"]
Loss = Callable[..., "Tensor"]
Derived = tuple[str, Callable[[Any], Any]]
# What an adversary makes small, by name.
LOSSES = ("margin", "ce", "dlr")
# What was delivered to a sample and what that took: columns of the cells of every kind.
DELIVERED = (
    *("delivered_l2", "delivered_linf", "delivered_rms", "delivered_snr_db", "in_band_share"),
    *("forwards", "backwards"),
)


class Kind:
    """Classes: labels (N,), answers are logits (batch, classes). `Errors` are the other kinds.

    name: in manifests and on cards; words, meaning, axis, digits: for a score in texts and figures;
    measure: what `quality` is; score, clean, mean, worst, crossfit: columns of tables, and short
    what begins the last three; more: further columns of a summary, derived: those of them that are
    a function of a column, shown: the one beside scores in tables; wins: columns that count samples
    in a paired test; answers, guess, interval, test: in words, what a network gives, the best
    constant answer, whose interval of a score and which test of two models is over samples; rows:
    columns of a cell, by the letter of their numpy kind; grade: the one that grades a sample as its
    margin does; outcome: the one whose mean is the score; sign: 1 where more is better, else -1;
    limits: of a score; best: the best outcome; judges: whether a margin of 0 or less means that a
    sample is broken; every_step: whether every step has an answer;
    extra: what begins the names of columns that a cell may have besides, `suspect`: of an
    adversary, 1 where its signs say that the sample's robustness may be overestimated.
    """

    name, words, digits, meaning = "", "accuracy", ".3f", "share of right answers"
    axis = measure = "accuracy"
    score, clean, short = "accuracy", "clean_accuracy", "acc"
    mean, worst, crossfit = "acc_mean_over_modes", "acc_worst_over_modes", "acc_worst_crossfit"
    answers, guess, interval, test = "logits", "chance", "Wilson", "McNemar exact"
    grade, outcome, wins = "margin", "correct", ("a_only", "b_only")
    rows: Mapping[str, str] = {
        **{"label": "i", "prediction": "i", "margin": "f", "loss": "f", "correct": "b"}
    }
    more: tuple[str, ...] = ()
    judges = True
    extra: tuple[str, ...] = ("suspect",)
    derived: Mapping[str, Derived] = {}
    shown = ""
    sign, limits, best, every_step = 1.0, (0.0, 1.0), 1.0, False

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a cell, in order."""
        return ("sample_id", *self.rows, *DELIVERED)

    def named(self, quantity: str) -> str:
        """Return the name that a quantity of accuracies has of this kind."""
        return quantity.replace("acc_", f"{self.short}_")

    def readings(self, *scores: float) -> str:
        """Return scores as what tables show beside them, `shown`."""
        return " -> ".join(f"{self.derived[self.shown][1](s):{self.digits}}" for s in scores)

    def facts(self, classes: int, chance: float) -> dict[str, Any]:
        """Return what a manifest says: number of answers, score of the best constant one."""
        return {"classes": classes, "chance": chance}

    def check_answers(self, who: str, shape: tuple[int, ...], targets: Array, classes: int) -> None:
        """Raise RejectedInputError unless answers of this shape fit; spare logits do no harm."""
        expected = (*targets.shape[1 : 1 + self.every_step], classes)
        if shape[1:-1] != expected[:-1] or not self._fits(shape[-1], classes):
            raise RejectedInputError(
                f"{who}: answers {shape[1:]} per sample, expected {expected}; take a network that "
                "was trained for such a task"
            )

    def _fits(self, answered: int, classes: int) -> bool:
        return answered >= classes

    def check_targets(self, who: str, classes: int, *targets: Array) -> None:
        """Raise UsageError for targets, those of training first, that are none of this kind."""

    def margins(self, answers: "Tensor", targets: "Tensor") -> "Tensor":
        """Return what falls with the harm to each sample, (batch,), float64; 0 or less: broken."""
        return margin(answers, targets)

    def loss(self, name: str) -> Loss:
        """Return what an adversary makes small, by a name of LOSSES: as `margins`.

        Of classes `margin` and `dlr` also take the classes (batch,) that are to win: targeted.
        """
        return {"margin": margin, "ce": log_odds, "dlr": difference_of_logits_ratio}[name]

    def training_loss(
        self, answers: "Tensor", targets: "Tensor", lengths: "Tensor | None", std: "Tensor | None"
    ) -> "Tensor":
        """Return the mean loss of a batch; std: of the targets, where these are values."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(answers.flatten(0, -2), targets.flatten())

    def samples(
        self, answered: Answered, centre: FloatArray, names: Sequence[str], scaler: "Array | None"
    ) -> dict[str, Array]:
        """Return the columns of a cell; centre: the mean target, (outputs,), names: of outputs."""
        import torch

        answers, targets, _ = answered
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

    def quality(self, found: Iterable[Answered]) -> float:
        """Return the share of right answers; of values R2 = 1 - MSE / variance."""
        pairs = [(answers.argmax(-1).numpy() == own, own >= 0) for answers, own, _ in found]
        right, judged = (sum(int(one.sum()) for one in each) for each in zip(*pairs, strict=True))
        return right / judged

    def means(self, columns: Mapping[str, Array]) -> dict[str, float]:
        """Return what a summary has of the columns of a cell: `more` but its first, and `extra`."""
        return {n: float(v.mean()) for n, v in columns.items() if n.startswith(self.extra)}

    def level(self, margins: FloatArray) -> FloatArray:
        """Return the score of margins (..., samples), (...)."""
        return np.asarray((margins > 0.0).mean(-1))

    def constant(self, targets: Array) -> float:
        """Return the score of the best constant answer to targets."""
        return float(np.bincount(targets).max() / len(targets))


def margin(logits: "Tensor", labels: "Tensor", aims: "Tensor | None" = None) -> "Tensor":
    """Return the label's logit minus the largest other one, (batch,); negative if misclassified.

    In float64.

    Parameters
    ----------
    logits : Tensor
        (batch, classes).
    labels : Tensor
        Right answers, (batch,).
    aims : Tensor, optional
        Classes (batch,) whose logits are subtracted in place of the largest.
    """
    logits = logits.double()
    own = logits.gather(1, labels[:, None])[:, 0]
    if aims is not None:
        return own - logits.gather(1, aims[:, None])[:, 0]
    return own - logits.scatter(1, labels[:, None], -float("inf")).amax(1)


def difference_of_logits_ratio(
    logits: "Tensor", labels: "Tensor", aims: "Tensor | None" = None
) -> "Tensor":
    """Return the margin over the distance of the largest logit from the third, (batch,), float64.

    With `aims`, from the mean of the third and the fourth. At most 1 without, unchanged by scaling
    and shifting the logits; needs three classes, four with aims. Reference: Croce and Hein (arXiv
    2003.01690), equations (6) and (7), with the sign of what an adversary makes small.
    """
    needed = 3 if aims is None else 4
    if logits.shape[1] < needed:
        raise UsageError(
            f"loss: dlr needs {needed} classes, got {logits.shape[1]}; use margin or ce"
        )
    top = logits.double().topk(needed, dim=1).values
    return margin(logits, labels, aims) / (top[:, 0] - top[:, 2:].mean(1) + 1e-12)


def log_odds(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """Return the logarithm of p / (1 - p), p the label's probability, (batch,), float64.

    It rises and falls with minus the cross entropy log p, so that normalised steps on one are
    steps on the other; but its gradient does not vanish when the network is certain.
    """
    logits = logits.double()
    own = logits.gather(1, labels[:, None])[:, 0]
    return own - logits.scatter(1, labels[:, None], -float("inf")).logsumexp(1)
