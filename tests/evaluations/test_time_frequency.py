"""Short-time spectra: the definition by hand, the level of noise, tones and impulses."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.signal.windows import gaussian

from robustssm.attacks import parse_perturbation
from robustssm.cli import main
from robustssm.errors import UsageError
from robustssm.figures.time_frequency import short_time_power, short_time_spectra
from robustssm.tasks import load_task
from robustssm.typing import FloatArray


def by_hand(x: FloatArray, width: int, centre: int, f: float) -> float:
    """Return one value of the definition, the window about its middle sample width // 2."""
    w = gaussian(width, std=width / 6.0)
    k = np.arange(width) - width // 2 + centre
    inside = (k >= 0) & (k < len(x))
    terms = x[k[inside]] * w[inside] * np.exp(-2j * np.pi * f * k[inside])
    return float(np.abs(terms.sum()) ** 2 / np.square(w).sum())


@pytest.mark.parametrize(("length", "width"), [(64, 16), (100, 7), (1000, 125), (5, 5)])
def test_powers_are_those_of_the_definition(length: int, width: int) -> None:
    x = np.random.default_rng(0).standard_normal(length)
    steps, cycles, power = short_time_power(x, width)
    assert power.shape == (len(cycles), len(steps)) and cycles[0] == 0.0 and cycles[-1] == 0.5
    for slice_ in {0, len(steps) // 2, len(steps) - 1}:
        for line in (0, len(cycles) // 3, len(cycles) - 1):
            expected = by_hand(x, width, int(steps[slice_]), float(cycles[line]))
            # Sums of at most 125 terms of order 1 in float64.
            assert power[line, slice_] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_white_noise_has_its_variance_everywhere() -> None:
    x = 3.0 * np.random.default_rng(1).standard_normal(1 << 16)
    _, _, power = short_time_power(x, 64)
    inner = power[1:-1, 1:-1]
    # 254 slices that do not overlap, 63 frequencies of which some 20 are independent: the mean of
    # 5,000 exponential variables deviates by 1.4 %, here 4 of that.
    assert inner.mean() == pytest.approx(9.0, rel=0.06)


def test_a_tone_is_at_its_frequency_and_an_impulse_at_its_step() -> None:
    task = load_task("digits:side=16")
    tone = short_time_spectra(task, *parse_perturbation("Fourier(64, eps=1)"))
    inner = slice(tone.width, -tone.width)
    # 64 cycles in 256 samples, and a line of the transform lies there.
    assert (tone.cycles[tone.powers["added"][:, inner].argmax(0)] == 0.25).all()
    late = short_time_spectra(task, *parse_perturbation("Gabor(40, 0.75, 0.02, eps=1)"))
    assert abs(late.steps[late.powers["added"].sum(0).argmax()] - 0.75 * 256) <= 2
    nothing = short_time_spectra(task, *parse_perturbation("Fourier(64, eps=0)"))
    clean, perturbed, added = nothing.powers.values()
    assert (added == 0.0).all() and np.array_equal(clean, perturbed)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Resonance(325.4, eps=1)"], "does not act at the input"),
        (["Fourier(3, eps=1)", "-d", "listops:train=9:validation=4:test=4"], "has tokens"),
        (["Fourier(3, eps=1)", "--sample", "539"], "expected 0 to 538"),
        (["Fourier(200, eps=1)"], "200"),
    ],
)
def test_bad_requests_are_one_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    call = ["perturb", *arguments, "--time-frequency", str(tmp_path / "maps")]
    result = CliRunner().invoke(main, call)
    assert result.exit_code == 2 and words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 and not (tmp_path / "maps").exists()


def test_no_such_sample() -> None:
    task = load_task("digits:side=16")
    tone, budget = parse_perturbation("Fourier(3, eps=1)")
    with pytest.raises(UsageError, match="sample is -1"):
        short_time_spectra(task, tone, budget, sample=-1)


@pytest.mark.usefixtures("pdf_only")
def test_the_command_draws_the_table_it_writes(tmp_path: Path) -> None:
    call = ["perturb", "Chirp(2, 60, eps=1)", "--time-frequency", str(tmp_path), "--sample", "4"]
    assert CliRunner().invoke(main, call).exit_code == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"time-frequency.{kind}" for kind in ("pdf", "png", "svg", "csv")}
    frame = pd.read_csv(tmp_path / "time-frequency.csv")
    chirp = frame.loc[frame.groupby("step")["added"].idxmax()]
    inner = chirp[(chirp["step"] > 40) & (chirp["step"] < 215)]
    # From 2 to 60 cycles a sequence, linearly: within a line of the transform (1/64).
    expected = (2.0 + 58.0 * inner["step"] / 256.0) / 256.0
    assert np.abs(inner["cycles"] - expected).max() <= 1.0 / 64.0
