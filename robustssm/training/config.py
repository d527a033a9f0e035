"""The settings of a training run, and the rates that follow from them."""

import math
from dataclasses import dataclass, fields

import torch

from robustssm.errors import UsageError, require, require_one_of

PRECISIONS = ("float32", "bfloat16")
# Fields that say how the adversary is used.
_OF_ADVERSARY = ("eps", "scheme", "beta", "eps_warmup", "robust_every")
# Fields of the first checkpoints; those that were added are named only if they are not off.
_FIRST = ("epochs", "batch_size", "lr", "ssm_lr", "weight_decay", "seed", "augment")
SCHEMES = ("pgd", "trades")


@dataclass(frozen=True)
class TrainingConfig:
    """epochs; batch_size; lr and ssm_lr (peak rates); weight_decay (not on the dynamics).

    augment: text of the perturbation that training inputs undergo, empty for none. warmup_steps:
    optimiser steps in which both rates rise linearly to their peaks, before the cosine. accumulate:
    parts of a batch whose gradients are added up, weighted by their samples, before a step; the
    statistics of norm `batch` are those of a part. ema: decay of the exponential moving average of
    the weights, which is validated and saved in their place; 0 for none. precision: of the dense
    maps, the SSM layers always compute in float32 (complex128 kernels). clip: largest norm of the
    gradient, 0 for any. device: what computes, as torch names it; another one has other bits.
    start: content hash of the network that training starts from, empty for a new one. penalty:
    weight of `training.objective.crest` in the loss. adversary: text of the adversary that attacks
    training inputs, empty for none (`attacks.adversarial`); eps: its strength, which rises linearly
    over the first share eps_warmup of the run; scheme: of SCHEMES; beta: weight of the divergence
    in trades; robust_every: epochs from one robust validation to the next.
    """

    epochs: int = 30
    batch_size: int = 64
    lr: float = 1e-2
    ssm_lr: float = 1e-3
    weight_decay: float = 0.05
    seed: int = 0
    augment: str = ""
    warmup_steps: int = 0
    accumulate: int = 1
    ema: float = 0.0
    precision: str = "float32"
    clip: float = 0.0
    device: str = "cpu"
    start: str = ""
    penalty: float = 0.0
    adversary: str = ""
    eps: float = 0.0
    scheme: str = "pgd"
    beta: float = 6.0
    eps_warmup: float = 0.0
    robust_every: int = 1

    def __post_init__(self) -> None:
        for key in ("epochs", "batch_size", "lr", "ssm_lr", "accumulate", "robust_every"):
            value = getattr(self, key)
            require(value > 0, f"training: {key}", value, "> 0")
        for key in ("lr", "ssm_lr", "weight_decay", "warmup_steps", "clip", "penalty", "beta"):
            value = getattr(self, key)
            finite = math.isfinite(value) and value >= 0.0
            require(finite, f"training: {key}", value, "a finite number >= 0")
        require(0 <= self.seed < 2**63, "training: seed", self.seed, "0 to 2^63 - 1")
        require(0.0 <= self.ema < 1.0, "training: ema", self.ema, "0 or more, below 1")
        parts, size = self.accumulate, self.batch_size
        require(parts <= size, "training: accumulate", parts, f"at most the batch size {size}")
        require_one_of("training: precision", self.precision, PRECISIONS)
        require_one_of("training: scheme", self.scheme, SCHEMES)
        warmup = self.eps_warmup
        require(0.0 <= warmup <= 1.0, "training: eps_warmup", warmup, "a share, 0 to 1")
        if not self.adversary:
            for key in _OF_ADVERSARY:
                if getattr(self, key) != getattr(TrainingConfig, key):
                    raise UsageError(f"training: {key} belongs to an adversary, and none is given")
        if self.augment and self.adversary:
            raise UsageError("training: augment and adversary are both given; take one of them")

    def to_dict(self) -> dict[str, object]:
        """Return the fields, as they stand on a checkpoint's card and in a saved state.

        What came later is left out if it is off, so that older files keep theirs.
        """
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name in _FIRST or getattr(self, field.name) != field.default
        }

    def factor(self, epoch: int, number: int, batches: int) -> float:
        """Return the share of the peak rates at batch `number` of an epoch, both from 0.

        Without warm-up 1/2 (1 + cos pi p), p the share of the run that is done. With w steps of
        warm-up, s / w at step s < w, then the cosine over the remaining steps; at step w it is 1.
        """
        if not self.warmup_steps:
            progress = (epoch + number / batches) / self.epochs
            return 0.5 * (1.0 + math.cos(math.pi * progress))
        step, last = epoch * batches + number, self.epochs * batches
        if step < self.warmup_steps:
            return step / self.warmup_steps
        progress = (step - self.warmup_steps) / (last - self.warmup_steps)
        return 0.5 * (1.0 + math.cos(math.pi * progress))

    def check_steps(self, batches: int) -> None:
        """Raise UsageError if the warm-up takes the whole run of `batches` steps per epoch."""
        steps, whole = self.warmup_steps, self.epochs * batches
        fewer = f"fewer than the run's {whole} steps ({self.epochs} epochs of {batches})"
        require(not steps or steps < whole, "training: warmup_steps", steps, fewer)

    def check_precision(self, device: torch.device) -> None:
        """Raise UsageError if torch cannot compute in this precision on a device."""
        if self.precision == "float32":
            return
        if not torch.amp.is_autocast_available(device.type) or (
            device.type == "cuda" and not torch.cuda.is_bf16_supported()
        ):
            raise UsageError(
                f"training: precision is {self.precision}, which torch {torch.__version__} cannot "
                f"do on {device}; take float32"
            )
