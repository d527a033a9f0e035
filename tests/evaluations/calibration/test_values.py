"""Errors of values: the Kalman predictor, adversaries and paired tests against their theory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import robustssm
from robustssm.attacks import Budget
from robustssm.attacks.adversaries import BandPGD, Target, Victim
from robustssm.attacks.adversaries.ball import Band
from robustssm.attacks.base import Site
from robustssm.evaluations.results.tables import finish
from robustssm.evaluations.statistics.intervals import mean_interval
from robustssm.evaluations.statistics.max_statistic import max_t, sign_flip
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.networks.network import Architecture, build_network
from robustssm.targets import STEPS, VALUES, margin
from robustssm.tasks import load_task
from tests.evaluations.calibration.kalman import Predictor, Process

L, TEST = 64, 4000
STRENGTHS = (0.1, 0.2, 0.5, 1.0, 1.5, 2.0)
BANDS = {"Fourier(6)": (6, 6), "BandNoise(4, 12)": (4, 12), f"BandNoise(0, {L // 2})": (0, L // 2)}


def test_the_predictor_is_the_regression_on_what_is_seen() -> None:
    """Two routes: the Riccati equation, and least squares over many samples."""
    process = Process()
    split = load_task(f"ar:length={L}:train=40000:validation=1:test=1").splits["train"]
    found = np.linalg.lstsq(split.inputs[:, :, 0].astype(np.float64), split.labels[:, 0])[0]
    # Coefficients of a regression on 40,000 samples have standard errors of at most 0.006 / x.
    np.testing.assert_allclose(found, process.weights(L), atol=0.03)


def test_sweeps_measure_the_closed_form_of_the_kalman_predictor(tmp_path: Path) -> None:
    process, spec = Process(), f"ar:length={L}:train=2000:validation=1:test={TEST}"
    model = robustssm.wrap(Predictor(process.weights(L)), "kalman")
    noises = [Noise(name, eps=STRENGTHS) for name in BANDS]
    plan = make_plan([model.ref], noises, task=spec)
    run = RunDirectory(tmp_path / "run")
    run_sweep(plan, run)
    summary = finish(run).summary
    power = float(load_task(spec).std[0]) ** 2
    assert len(summary) == 1 + len(BANDS) * len(STRENGTHS)
    # Of 19 intervals of 95 % one would miss: together they hold 95 % if each holds 1 - 0.05 / 19
    # (Bonferroni).
    wider = stats.norm.isf(0.025 / len(summary)) / stats.norm.isf(0.025)
    for row in summary.to_dict("records"):
        added = process.added(*BANDS[row["noise"]], L) if row["noise"] != "clean" else 0.0
        expected = process.error() + row["eps"] ** 2 * power * added
        half = wider * (row["ci_high"] - row["ci_low"]) / 2.0
        assert abs(row["mse"] - expected) <= half, row
        assert row["rmse"] == pytest.approx(row["mse"] ** 0.5)
        assert row["degradation"] == pytest.approx(row["mse"] / row["clean_mse"])
    clean = summary.iloc[0]
    variance = float(load_task(spec).splits["test"].labels.var())
    assert clean["r2"] == pytest.approx(1.0 - clean["mse"] / variance)


@pytest.mark.parametrize("outputs", [1, 3])
def test_band_pgd_on_a_linear_model_reaches_the_operator_norm(outputs: int) -> None:
    """The largest root of the summed squared errors is eps times the norm of W on the band."""
    length, low, high, eps = 32, 2, 9, 0.7
    W = np.random.default_rng(outputs).standard_normal((outputs, length))
    band = Band(low, high, length)
    basis = band.synthesise(torch.eye(band.dimension, dtype=torch.float64)[:, :, None])[:, :, 0]
    norm = float(np.linalg.norm(W @ basis.numpy().T, 2))

    class Linear(Predictor):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :, 0] @ self.g.T

    model = robustssm.wrap(Linear(W), "linear").network.double()
    x = torch.randn(5, length, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    clean = x[:, :, 0] @ torch.from_numpy(W).T
    with Victim(model, kind=VALUES) as victim:
        target = Target(victim, x, clean, np.arange(5), 0, Budget(eps, "l2"), Site())
        found = BandPGD(low, high, steps=100).attack(target)
    reached = np.sqrt(outputs * -found.margin.numpy())
    np.testing.assert_allclose(reached, eps * norm, rtol=1e-6)


def test_gradients_of_answers_at_every_step_are_those_of_the_network() -> None:
    architecture = Architecture("s4d", n=4, d_model=3, layers=2, d_output=2, target=STEPS.name)
    network = build_network(architecture, 1).double().eval()
    network.output_mean += 0.5
    network.output_std *= 3.0
    x, targets = torch.randn(2, 40, 20, 2, dtype=torch.float64).unbind(0)
    with Victim(network, kind=STEPS) as victim:
        margins, losses, slopes = victim.slopes(x[..., :1], targets, "ce")
        leaf = x[..., :1].clone().requires_grad_()
        expected = (network(leaf) - targets).square().mean((1, 2))
        (gradient,) = torch.autograd.grad(-expected.sum(), leaf)
    torch.testing.assert_close(margins, -expected.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(losses, margins)
    torch.testing.assert_close(slopes, gradient, rtol=1e-9, atol=1e-11)


def heavy(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Squared errors of Student's t with 3 degrees of freedom: without a variance."""
    return random.standard_t(3, shape) ** 2


def normal(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Squared errors of normal values."""
    return random.standard_normal(shape) ** 2


@pytest.mark.parametrize("errors", [normal, heavy])
def test_paired_tests_of_errors_keep_their_level_where_models_are_equal(errors) -> None:  # type: ignore[no-untyped-def]
    """Rejections at 5 % lie within their binomial interval, errors shared in part by both."""
    random, runs, n = np.random.default_rng(5), 600, 40
    shared = errors(random, (runs, n))
    a, b = (shared + errors(random, (runs, n)) for _ in range(2))
    p = sign_flip(a - b, resamples=999)
    low, high = stats.binom.ppf([0.0005, 0.9995], runs, 0.05)
    assert low <= (p <= 0.05).sum() <= high
    # One family of four conditions per run, whose smallest adjusted p is that of any difference.
    groups = np.stack([a, b]).reshape(2, runs // 4, 4, n)
    smallest = [max_t(-x, -y, resamples=199).min() for x, y in zip(*groups, strict=True)]
    low, high = stats.binom.ppf([0.0005, 0.9995], runs // 4, 0.05)
    assert low <= (np.array(smallest) <= 0.05).sum() <= high


def test_intervals_of_mean_errors_cover() -> None:
    errors = normal(np.random.default_rng(6), (2000, 100))
    low, high = mean_interval(errors)
    # Of chi-square errors, which are skewed, Student's interval of 100 covers 93 to 95 %.
    assert 0.92 < float(((low <= 1.0) & (high >= 1.0)).mean()) < 0.965


def test_a_margin_of_values_is_minus_the_error_and_of_classes_what_it_was() -> None:
    answers, targets = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0]] * 2)
    assert VALUES.margins(answers, targets).tolist() == [-2.5, 0.0]
    assert margin(answers, torch.tensor([1, 0])).tolist() == [1.0, 0.0]
