"""Filters keep what they name: identities, complements, and scipy's own Butterworth filters."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, freqz_sos

from robustssm.attacks import BandPass, BandStop, Budget, HighPass, LowPass, Site
from robustssm.attacks.perturbations.filters import Filter
from robustssm.errors import UsageError
from tests.attacks.cases import signal

IDS = np.arange(3)
WHOLE = Budget(1.0, "mix")


def filtered(p: Filter, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
    return p.perturb(x, lengths, IDS[: len(x)], 0, budget=WHOLE, site=Site(rate=100.0))


@pytest.mark.parametrize("L", [64, 63])
def test_filters_that_keep_everything_are_the_identity(L: int) -> None:
    x = signal(3, L)
    for p in (LowPass(L // 2), HighPass(0), BandPass(0, L // 2), LowPass(50, frequency_unit="hz")):
        assert torch.equal(filtered(p, x), x)


@pytest.mark.parametrize("L", [64, 63])
def test_stopping_every_bin_leaves_nothing(L: int) -> None:
    # Rounding of two transforms of values of order 1.
    assert filtered(BandStop(0, L // 2), signal(3, L)).abs().max() < 1e-14


@given(L=st.integers(2, 70), data=st.data())
@settings(max_examples=60, deadline=None)
def test_bins_are_kept_or_removed_whole(L: int, data: st.DataObject) -> None:
    low = data.draw(st.integers(0, L // 2))
    high = data.draw(st.integers(low, L // 2))
    x = signal(2, L)
    k = np.arange(L // 2 + 1)
    for p, kept in (
        (BandPass(low, high), (k >= low) & (k <= high)),
        (BandStop(low, high), (k < low) | (k > high)),
        (LowPass(high), k <= high),
        (HighPass(low), k >= low),
    ):
        wanted = np.fft.irfft(np.fft.rfft(x.numpy(), axis=1) * kept[:, None], n=L, axis=1)
        # Rounding of two transforms of values of order 1, in both routes.
        np.testing.assert_allclose(filtered(p, x).numpy(), wanted, atol=1e-14)


def test_only_filters_that_pass_zero_keep_the_mean() -> None:
    x = signal(3, 64)
    mean = x.mean(1)
    for p in (LowPass(0), LowPass(9), BandPass(0, 3), BandStop(1, 32), LowPass(9, order=2)):
        torch.testing.assert_close(filtered(p, x).mean(1), mean, rtol=0.0, atol=1e-15)
    for q in (HighPass(1), BandPass(1, 32), BandStop(0, 3), HighPass(9, order=2)):
        # Rounding of 64 values of order 1.
        assert filtered(q, x).mean(1).abs().max() < 1e-15


BUTTERWORTH: list[tuple[Filter, np.ndarray]] = [
    (LowPass(12.5, order, "hz"), butter(order, 12.5, "lowpass", fs=100.0, output="sos"))
    for order in (1, 4)
]
BUTTERWORTH += [
    (HighPass(12.5, 3, "hz"), butter(3, 12.5, "highpass", fs=100.0, output="sos")),
    (BandPass(5.0, 20.0, 2, "hz"), butter(2, [5.0, 20.0], "bandpass", fs=100.0, output="sos")),
    (BandStop(5.0, 20.0, 5, "hz"), butter(5, [5.0, 20.0], "bandstop", fs=100.0, output="sos")),
]


@pytest.mark.parametrize(("p", "sos"), BUTTERWORTH, ids=[repr(p) for p, _ in BUTTERWORTH])
@pytest.mark.parametrize("L", [64, 63])
def test_smooth_filters_are_scipys_run_forwards_and_backwards(
    p: Filter, sos: np.ndarray, L: int
) -> None:
    x = signal(3, L)
    _, H = freqz_sos(sos, 2.0 * np.pi * np.arange(L // 2 + 1) / L)
    wanted = np.fft.irfft(np.fft.rfft(x.numpy(), axis=1) * (abs(H) ** 2)[:, None], n=L, axis=1)
    # The sections' coefficients are rounded, which a factor 1e3 near their poles amplifies.
    np.testing.assert_allclose(filtered(p, x).numpy(), wanted, atol=1e-12)


def test_a_smooth_filter_halves_amplitudes_at_its_edges() -> None:
    t = torch.arange(64, dtype=torch.float64)
    x = torch.cos(2.0 * torch.pi * 8.0 * t / 64.0)[None, :, None]
    for p in (LowPass(8, 3), HighPass(8, 2), BandPass(8, 20, 4), BandStop(2, 8, 1)):
        torch.testing.assert_close(filtered(p, x), 0.5 * x, rtol=0.0, atol=1e-14)


def test_a_high_order_is_the_brick_wall() -> None:
    x = signal(3, 64)
    # Between bins; 2 x 400 factors of 1.03 and more either side: 1e-11.
    torch.testing.assert_close(
        filtered(LowPass(0.132, 400, "cycles"), x), filtered(LowPass(8), x), rtol=0.0, atol=1e-9
    )


def test_a_cutoff_stays_in_cycles_per_sample_where_a_sequence_ends_before_L() -> None:
    x = signal(2, 64)
    after = filtered(LowPass(16), x, torch.tensor([32, 64]))
    torch.testing.assert_close(
        after[:1, :32], filtered(LowPass(8), x[:1, :32]), rtol=0.0, atol=1e-15
    )


def test_rounding_is_not_scaled_up_to_a_perturbation() -> None:
    t = torch.arange(64, dtype=torch.float64)
    x = torch.cos(2.0 * torch.pi * 5.0 * t / 64.0)[None, :, None]
    assert torch.equal(filtered(BandStop(10, 20), x), x)
    with pytest.raises(UsageError, match="zero vector"):
        BandStop(10, 20).perturb(x, None, IDS[:1], 0, budget=Budget(0.1, "rms"), site=Site())


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (LowPass(33), "beyond the Nyquist bin 32"),
        (BandStop(0.1, 0.6, frequency_unit="cycles"), "0 to 0.5"),
        (LowPass(2.5), "not whole"),
        (LowPass(2, frequency_unit="octave"), "unknown"),
        (LowPass(32, order=2), "between 0 and Nyquist"),
        (HighPass(0, order=2), "between 0 and Nyquist"),
        (BandPass(0, 5, order=2), "between 0 and Nyquist"),
        (BandPass(5, 5, order=2), "low < high"),
    ],
    ids=repr,
)
def test_filters_that_do_not_exist_are_refused(p: Filter, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        filtered(p, signal(2, 64))


def test_fields_are_checked() -> None:
    with pytest.raises(UsageError, match="low <= high"):
        BandPass(5, 4)
    for order in (0, -1, 2.0, True):
        with pytest.raises(UsageError, match="whole number"):
            LowPass(5, order=order)  # type: ignore[arg-type]
