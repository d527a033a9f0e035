"""Networks that learn s and A from the samples of sinusoids A cos(s t), the task `sinusoids`.

The regression of Fig. 2 of arXiv 2310.01698, of which no script was released. One block of this
project's network: SSM layer, GELU, GLU, a gain and an offset a channel, mean over time, linear
decoder. Nothing is normalised: LayerNorm divides the amplitude out at every time, and the
amplitudes of a batch are noise in the statistics of BatchNorm, which therefore stay at mean 0 and
variance 1.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from robustssm.errors import StabilityError
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.execution import one_thread
from robustssm.networks.network import Architecture, Network, build_network
from robustssm.tasks.sinusoids import Signals
from robustssm.tasks.sinusoids import sinusoids as make_task
from robustssm.training.loop import TrainingConfig, parameter_groups
from robustssm.typing import FloatArray

# Samples that go through a network at once.
BLOCK = 128


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
    low, high = settings["amplitudes"]
    task = make_task(
        length=settings["length"],
        step=settings["step"],
        s_max=settings["s_max"],
        s_test=settings["s_max"],
        low=low,
        high=high,
        train=settings["samples"],
        seed=seed,
    )
    network = build_network(architecture(init, settings), seed)
    for layer in network.ssm_layers():
        layer.log_dt.requires_grad_(False)
    options = ("epochs", "batch_size", "lr", "ssm_lr", "weight_decay")
    config = TrainingConfig(**{name: settings[name] for name in options}, seed=seed)
    inputs = torch.from_numpy(task.splits["train"].inputs)
    targets = torch.from_numpy(task.splits["train"].labels).float()
    optimizer = torch.optim.AdamW(parameter_groups(network, config))
    generator = torch.Generator().manual_seed(seed)
    steps_total, step, loss = config.epochs * -(-len(inputs) // config.batch_size), 0, math.nan
    with one_thread():
        network.train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()  # its statistics stay at 0 and 1
        for _ in range(config.epochs):
            total = 0.0
            for index in torch.randperm(len(inputs), generator=generator).split(config.batch_size):
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
            loss = total / len(inputs)
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
