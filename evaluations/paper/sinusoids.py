"""Sinusoids A cos(s t): their samples, and networks that learn s and A from them.

The regression of Fig. 2 of arXiv 2310.01698. No script of it was released: the ranges of s are the
paper's, everything else is chosen here. One block of this project's network: SSM layer, GELU, GLU,
a gain and an offset a channel, mean over time, linear decoder. Nothing is normalised: LayerNorm
divides the amplitude out at every time, and the amplitudes of a batch are noise in the statistics
of BatchNorm, which therefore stay at mean 0 and variance 1. The phase is 0, so that s = 0 has an
amplitude too.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from robustssm.errors import StabilityError, UsageError
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.execution import one_thread
from robustssm.networks.network import Architecture, Network, build_network
from robustssm.training.loop import TrainingConfig, parameter_groups
from robustssm.typing import FloatArray

# Samples that go through a network at once.
BLOCK = 128


@dataclass(frozen=True)
class Signals:
    """Sampling and ranges: step h (time units), length L, s in [0, s_max], A in [low, high].

    Frequencies in rad per unit time; h s_max must stay below pi.
    """

    step: float
    length: int
    s_max: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0.0 < self.step * self.s_max < math.pi:
            raise UsageError(
                f"sinusoids: step {self.step} and s_max {self.s_max} give "
                f"{self.step * self.s_max:.3g} rad per sample, expected above 0 and below pi; "
                "take a smaller step"
            )
        if not 0.0 < self.low < self.high:
            raise UsageError(
                f"sinusoids: amplitudes from {self.low} to {self.high}, expected 0 < low < high"
            )

    def samples(self, s: FloatArray, A: FloatArray) -> FloatArray:
        """Return A cos(s t) at t = 0, h, ..., (L - 1) h, shape (m, L), of s and A (m,)."""
        t = self.step * np.arange(self.length)
        return np.asarray(A[:, None] * np.cos(s[:, None] * t))

    def draw(self, count: int, seed: int) -> tuple[FloatArray, FloatArray]:
        """Return s (count,), uniform on [0, s_max], and A (count,), uniform on [low, high]."""
        uniform = np.random.Generator(np.random.Philox(seed)).random((2, count))
        return self.s_max * uniform[0], self.low + (self.high - self.low) * uniform[1]

    def scaled(self, s: FloatArray, A: FloatArray) -> FloatArray:
        """Return the targets (m, 2): s and A mapped to [-1, 1] over the training ranges."""
        return np.stack(
            [
                2.0 * s / self.s_max - 1.0,
                (2.0 * A - self.low - self.high) / (self.high - self.low),
            ],
            axis=1,
        )

    def unscaled(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return s and A (m,) of targets or predictions (m, 2): the inverse of `scaled`."""
        middle, half = 0.5 * (self.low + self.high), 0.5 * (self.high - self.low)
        return 0.5 * self.s_max * (y[:, 0] + 1.0), middle + half * y[:, 1]


def signals(settings: Mapping[str, Any]) -> Signals:
    """Return the signals that a reproduction's settings describe."""
    low, high = settings["amplitudes"]
    return Signals(settings["step"], settings["length"], settings["s_max"], low, high)


def architecture(init: str, settings: Mapping[str, Any]) -> Architecture:
    """Return the regression network, with dt = h in every channel.

    The layer's time is then that of the signals, and S4D's last spike lies at its own frequency,
    80.97 for n = 16.
    """
    return Architecture(
        init,
        n=settings["n"],
        d_model=settings["d_model"],
        layers=1,
        d_output=2,
        dropout=0.0,
        norm="batch",
        dt_min=settings["step"],
        dt_max=settings["step"],
    )


def fit(init: str, seed: int, settings: Mapping[str, Any]) -> tuple[Network, float]:
    """Return a trained network and its last epoch's mean squared error (scaled targets).

    AdamW with cosine decay; A, B and P at their own rate, dt not trained. The samples are those of
    `seed`, whatever the model, so that models are paired by seed. Raises StabilityError if the
    loss is not finite.
    """
    given = signals(settings)
    network = build_network(architecture(init, settings), seed)
    for layer in network.ssm_layers():
        layer.log_dt.requires_grad_(False)
    config = TrainingConfig(
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        lr=settings["lr"],
        ssm_lr=settings["ssm_lr"],
        weight_decay=settings["weight_decay"],
        seed=seed,
    )
    s, A = given.draw(settings["samples"], seed)
    inputs = torch.from_numpy(given.samples(s, A)).float()[..., None]
    targets = torch.from_numpy(given.scaled(s, A)).float()
    optimizer = torch.optim.AdamW(parameter_groups(network, config))
    generator = torch.Generator().manual_seed(seed)
    steps_total, step, loss = config.epochs * -(-len(s) // config.batch_size), 0, math.nan
    with one_thread():
        network.train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()  # its statistics stay at 0 and 1
        for _ in range(config.epochs):
            total = 0.0
            for index in torch.randperm(len(s), generator=generator).split(config.batch_size):
                for group in optimizer.param_groups:
                    group["lr"] = (
                        group["peak"] * 0.5 * (1.0 + math.cos(math.pi * step / steps_total))
                    )
                error = nn.functional.mse_loss(network(inputs[index]), targets[index])
                optimizer.zero_grad(set_to_none=True)
                error.backward()
                optimizer.step()
                total += float(error.detach()) * len(index)
                step += 1
            loss = total / len(s)
    if not math.isfinite(loss):
        raise StabilityError(f"sinusoids: the loss of {init} is {loss}; use a smaller lr")
    return network.eval(), loss


@torch.no_grad()
def predict(network: Network, given: Signals, s: FloatArray, A: FloatArray) -> pd.DataFrame:
    """Return columns s, amplitude, s_hat, amplitude_hat of a network, one row per sample."""
    parts: list[Tensor] = []
    with one_thread():
        for start in range(0, len(s), BLOCK):
            part = slice(start, start + BLOCK)
            inputs = torch.from_numpy(given.samples(s[part], A[part])).float()[..., None]
            parts.append(network(inputs).double())
    s_hat, A_hat = given.unscaled(torch.cat(parts).numpy())
    return pd.DataFrame({"s": s, "amplitude": A, "s_hat": s_hat, "amplitude_hat": A_hat})


def last_spike(network: Network, given: Signals) -> tuple[float, float]:
    """Return the lowest and highest frequency s of the channels' fastest poles, rad per unit time.

    A frequency is one that samples show (folded at pi / h), for S4 that of Lambda - P P^*.
    """
    system = layer_system(network.ssm_layers()[0], given.length)
    top = system.pole_theta.max(axis=1) / given.step
    return float(top.min()), float(top.max())
