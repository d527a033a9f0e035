"""The harness measures what theory says: the optimal detector against its closed forms."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import integrate, stats

from robustssm.checkpoints.model_names import resolve
from robustssm.errors import UsageError
from robustssm.evaluations.results.tables import finish
from robustssm.evaluations.statistics.intervals import wilson
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.tasks import load_task
from tests.evaluations.calibration import detector
from tests.evaluations.calibration.theory import (
    accuracy_in_mode,
    accuracy_in_noise,
    bayes_accuracy,
)

TEST = 4000
# Of each interval: with a dozen of them, one in a hundred such tests would fail by chance, were
# its draws not fixed.
CONFIDENCE = 0.999
STRENGTHS = (0.5, 1.0, 1.5, 2.0, 4.0)
# A mode in a class's own bin is as strong as the signal at 0.23 already.
MODE_STRENGTHS = (0.05, 0.1, 0.2, 0.3, 0.6)


@pytest.mark.parametrize("classes", [2, 3, 8, 20])
@pytest.mark.parametrize("sigma", [1.0, 3.0, 8.0])
def test_noise_on_spheres_of_random_length_is_gaussian_noise(classes: int, sigma: float) -> None:
    """Two routes: an integral over spheres of chi^2 lengths, and the closed form of M signals."""
    found = accuracy_in_noise(0.0, sigma, 128, classes)
    # Nine standard deviations of rho^2 leave out 1e-12 of a chi^2 law of 127.
    assert found == pytest.approx(bayes_accuracy(sigma, 128, classes), abs=1e-9)
    if classes == 2:
        known = accuracy_in_noise(0.0, sigma, 128, 2, phase="known")
        assert known == pytest.approx(bayes_accuracy(sigma, 128, 2, phase="known"), abs=1e-9)


def test_noise_on_a_sphere_by_simulation() -> None:
    """In few dimensions the sphere is far from Gaussian; 200,000 draws tell them apart."""
    length, classes, sigma, radius, count = 12, 3, 0.1, 3.6, 200_000
    random = np.random.default_rng(0)
    v = random.standard_normal((count, length - 1))
    v *= radius / np.linalg.norm(v, axis=1, keepdims=True)
    v += sigma * random.standard_normal(v.shape)
    v[:, 0] += np.sqrt(length / 2)
    energy = (v[:, : 2 * classes].reshape(count, classes, 2) ** 2).sum(-1)
    share = float((energy.argmax(1) == 0).mean())
    spread = np.sqrt(share * (1 - share) / count)
    expected = accuracy_in_noise(radius, sigma, length, classes)
    assert abs(share - expected) < 4 * spread  # four standard deviations of a share
    gaussian = bayes_accuracy(np.hypot(sigma, radius / np.sqrt(length - 1)), length, classes)
    assert abs(share - gaussian) > 4 * spread


def test_a_mode_by_quadrature() -> None:
    """Marcum's Q against the integral over the two Rice densities that it stands for."""
    sigma, radius, length = 3.0, 12.0, 256
    signal = np.sqrt(length / 2)
    right, other = stats.rice(signal / sigma), stats.rice(radius / sigma)
    in_other = integrate.quad(lambda r: right.pdf(r) * other.cdf(r), 0.0, 20.0)[0]
    psi = 2 * np.pi * np.arange(400) / 400
    both = np.sqrt(signal**2 + radius**2 + 2 * signal * radius * np.cos(psi))
    in_right = float(np.mean(1 - 0.5 * np.exp(-(both**2) / (4 * sigma**2))))
    # quad's own tolerance.
    expected = 0.5 * (in_right + in_other)
    assert accuracy_in_mode(radius, sigma, length) == pytest.approx(expected, abs=1e-8)
    assert accuracy_in_mode(0.0, sigma, length) == pytest.approx(bayes_accuracy(sigma), abs=1e-12)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A sweep of the detector over white noise, and modes in bins of both classes and of none."""
    place = Path(detector.__file__)
    plan = make_plan(
        resolve(f"best={place}:random_phase"),
        [
            Noise("ColouredNoise(0)", eps=STRENGTHS),
            Noise("fourier", modes=(8, 20), eps=MODE_STRENGTHS),
        ],
        task=f"frequency-discrimination:train=500:test={TEST}",
    )
    run = RunDirectory(tmp_path_factory.mktemp("runs") / "calibration")
    run.open(plan, [])
    assert run_sweep(plan, run).errors == {}
    finish(run)
    summary = pd.read_csv(run.path / "summary.csv")
    assert (summary["n"] == TEST).all()
    return summary.assign(std=float(plan.task.std[0]))


def check(row: pd.Series, expected: float) -> None:
    low, high = wilson(round(row["accuracy"] * TEST), TEST, CONFIDENCE)
    assert low <= expected <= high, (row["noise"], row["mode"], row["eps"], row["accuracy"])


def test_the_harness_measures_what_white_noise_does(measured: pd.DataFrame) -> None:
    rows = measured[measured["noise"].str.startswith("ColouredNoise") & (measured["eps"] > 0)]
    assert sorted(rows["eps"]) == sorted(STRENGTHS)
    for _, row in rows.iterrows():
        radius = row["eps"] * row["std"] * 16.0  # sqrt(256)
        check(row, accuracy_in_noise(radius, 3.0))


def test_the_harness_measures_what_a_mode_does(measured: pd.DataFrame) -> None:
    rows = measured[measured["noise"].str.startswith("fourier") & (measured["eps"] > 0)]
    assert len(rows) == 2 * len(MODE_STRENGTHS)
    for _, row in rows.iterrows():
        radius = row["eps"] * row["std"] * 16.0
        # A bin of no class is orthogonal to all of them.
        check(row, accuracy_in_mode(radius, 3.0) if row["mode"] == 8 else bayes_accuracy(3.0))


def test_the_detector_gives_the_classes_probabilities() -> None:
    """Loss of the softmax: what of the answers is known; no rescaled logits have less."""
    task = load_task(f"frequency-discrimination:noise=5.0:train=2:test={TEST}")
    split = task.splits["test"]
    found = detector.Detector(noise=5.0)(torch.from_numpy(split.inputs))
    labels = torch.from_numpy(split.labels)
    losses = [
        float(torch.nn.functional.cross_entropy(scale * found, labels))
        for scale in (0.8, 1.0, 1.25)
    ]
    assert losses[1] < losses[0] and losses[1] < losses[2]
    # Log-likelihoods by the integral over the phase that they stand for, for one sample.
    t, x = np.arange(256), split.inputs[0, :, 0].astype(np.float64)
    phases = 2 * np.pi * np.arange(512) / 512
    exact = []
    for k in (8, 32):
        waves = np.cos(2 * np.pi * k * t / 256 + phases[:, None])
        exact.append(np.log(np.mean(np.exp(waves @ x / 25.0))))
    # Both sums are of a few hundred terms of size 1 to 10: rounding is below 1e-11.
    assert float(found[0, 1] - found[0, 0]) == pytest.approx(exact[1] - exact[0], abs=1e-10)


def test_a_known_phase_is_worth_something() -> None:
    task = load_task(f"frequency-discrimination:phase=known:noise=6.0:train=2:test={TEST}")
    split = task.splits["test"]
    found = detector.Detector(noise=6.0, phase="known")(torch.from_numpy(split.inputs))
    right = int((found.argmax(1) == torch.from_numpy(split.labels)).sum())
    low, high = wilson(right, TEST, CONFIDENCE)
    assert low <= bayes_accuracy(6.0, phase="known") <= high
    assert bayes_accuracy(6.0) < low


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: accuracy_in_noise(1.0, 1.0, classes=3, phase="known"), "no closed form"),
        (lambda: accuracy_in_noise(1.0, 1.0, classes=21), "no closed form"),
        (lambda: accuracy_in_noise(-1.0, 1.0), "radius is -1"),
        (lambda: accuracy_in_noise(0.0, 0.0), "expected some noise"),
        (lambda: accuracy_in_mode(1.0, 0.0), "sigma is 0"),
        (lambda: detector.Detector(noise=0.0), "noise above 0"),
        (lambda: detector.Detector()(torch.zeros(2, 8, 1)), "with the parameters of the task"),
    ],
)
def test_what_does_not_exist_is_refused(call: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()  # type: ignore[operator]
