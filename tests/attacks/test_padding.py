"""Noise after a sequence: the sequence stays, the noise has the law that it names."""

import math

import numpy as np
import pytest
import torch

from robustssm.attacks import Budget, Delivered, NoisePadding, Site, perturbed_logits
from robustssm.errors import UsageError
from robustssm.networks.network import Architecture, build_network
from tests.attacks.cases import signal

IDS = np.arange(100)


def padded(p: NoisePadding, x: torch.Tensor, budget: Budget | None = None) -> torch.Tensor:
    budget = budget or Budget(1.0, "linf")
    return p.perturb(x, None, IDS[: len(x)], 0, budget=budget, site=Site())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_sequence_stays_and_noise_follows(dtype: torch.dtype) -> None:
    x = signal(3, 64, dtype)
    after = padded(NoisePadding(40), x)
    assert after.shape == (3, 104, 3) and after.dtype == dtype
    assert torch.equal(after[:, :64], x)
    assert (after[:, 64:] != 0.0).all()


@pytest.mark.parametrize(("centred", "low"), [(False, 0.0), (True, -1.0)])
def test_the_noise_is_uniform(centred: bool, low: float) -> None:
    x = torch.zeros(100, 8, 2, dtype=torch.float64)
    noise = (
        padded(NoisePadding(500, centred=centred), x, Budget(0.25, "linf"))[:, 8:].numpy() / 0.25
    )
    assert noise.min() >= low and noise.max() < 1.0
    ordered = (np.sort(noise.ravel()) - low) / (1.0 - low)
    distance = abs(ordered - (np.arange(100000) + 0.5) / 100000).max()
    # Kolmogorov and Smirnov: 2.5 / sqrt(n) is exceeded once in 10^5.
    assert distance < 2.5 / math.sqrt(100000)
    # Channels and samples differ.
    assert len(np.unique(noise)) == noise.size


def test_channel_policies() -> None:
    x = signal(4, 64)
    same = padded(NoisePadding(9, channels="same"), x)[:, 64:]
    assert torch.equal(same, same[..., :1].expand_as(same))
    one = padded(NoisePadding(9, channels="one"), x)[:, 64:]
    assert ((one != 0.0).any(1).sum(1) == 1).all()


def test_other_units_are_delivered_exactly_over_all_steps() -> None:
    x = signal(3, 64)
    delta = padded(NoisePadding(40), x, Budget(0.3, "rms")) - NoisePadding(40).extended(x)
    torch.testing.assert_close(
        delta.square().mean((1, 2)).sqrt(), torch.full((3,), 0.3, dtype=torch.float64)
    )


def test_delivered_books_the_appended_steps() -> None:
    x = signal(3, 64)
    p, delivered = NoisePadding(40), Delivered(3)
    after = padded(p, x)
    delivered.add(x, after, p, Site())
    np.testing.assert_allclose(delivered.energy, after[:, 64:].square().sum((1, 2)).numpy())
    # Two sums of the same squares, the one with zeros among them.
    np.testing.assert_allclose(delivered.share, 1.0, rtol=1e-14)
    assert (delivered.count == 104 * 3).all()


def test_no_strength_appends_nothing() -> None:
    x = signal(3, 64)
    assert padded(NoisePadding(40), x, Budget(0.0, "linf")) is x


def test_a_network_reads_the_longer_sequence() -> None:
    network = build_network(Architecture("s4d", n=4, d_model=4, layers=1, d_input=3)).eval()
    x, budget = signal(3, 64, torch.float32), Budget(0.5, "linf")
    p = NoisePadding(40)
    logits, delivered = perturbed_logits(
        network, x, p, budget, IDS[:3], 0, inject="input", site=Site()
    )
    with torch.no_grad():
        alone = network(padded(p, x, budget))
    # Matrix products round float32 by the number of rows.
    torch.testing.assert_close(logits, alone, rtol=0.0, atol=1e-6)
    assert 0.0 < delivered.largest.max() < 0.5


def test_sequences_with_lengths_are_refused() -> None:
    x = signal(2, 64)
    for lengths in ([64, 64], [40, 64]):
        with pytest.raises(UsageError, match="without lengths"):
            NoisePadding(5).perturb(
                x, torch.tensor(lengths), IDS[:2], 0, budget=Budget(1.0, "linf"), site=Site()
            )


def test_fields_are_checked() -> None:
    for steps in (0, -3, 2.5, True):
        with pytest.raises(UsageError, match="whole number"):
            NoisePadding(steps)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="True or False"):
        NoisePadding(3, "yes")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not at 'layers'"):
        NoisePadding(3).perturb(
            signal(1, 64), None, IDS[:1], 0, budget=Budget(1.0, "linf"), site=Site(layer=0)
        )
