"""Gains of trained layers: dense matrices as the other route, bounds, the spike, the command."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from scipy.linalg import solve_discrete_lyapunov, toeplitz

from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.bundled import BUNDLED, zoo_path
from robustssm.checkpoints.native import weights_hash
from robustssm.cli import Commands
from robustssm.commands.gain import gain as command
from robustssm.errors import UsageError
from robustssm.evaluations.trained_layers import gain, operators
from robustssm.evaluations.trained_layers.linear_systems import Dense, Diagonal, Mimo, fold
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.hippo.initializations import EVERY, initialization
from robustssm.hippo.spectrum import spikes
from robustssm.layers import LAYERS, S4D, SSMLayer
from robustssm.typing import ComplexArray, FloatArray

STABLE = [name for name in EVERY if name != "linoss-imex"]
CASES = [(name, "default") for name in (*STABLE, "dss:kernel=exp")]
CASES += [("s4d", "bilinear"), ("s5", "bilinear")]


def make(name: str, discretization: str = "default", n: int = 8, d: int = 3) -> SSMLayer:
    torch.manual_seed(0)
    init = initialization(name, n)
    options = {} if discretization == "default" else {"discretization": discretization}
    return LAYERS[init.name.family](init, d, **options).double().eval()


@torch.no_grad()
def dense_operators(layer: SSMLayer, L: int) -> list[FloatArray]:
    """Return the causal L x L matrices (S5: one, d L x d L) from the layer's own outputs."""
    d = layer.d
    u = torch.zeros(d, L, d, dtype=torch.float64)
    u[range(d), 0, range(d)] = 1.0
    K = layer(u).numpy()
    if K[0, :, 1:].any():
        blocks = [
            [K[:, i - j].T if i >= j else np.zeros((d, d)) for j in range(L)] for i in range(L)
        ]
        return [np.block(blocks)]
    return [toeplitz(K[h, :, h], np.zeros(L)) for h in range(d)]


@pytest.mark.parametrize(("name", "discretization"), CASES)
def test_finite_gain_is_the_norm_of_the_toeplitz_matrix(name: str, discretization: str) -> None:
    layer = make(name, discretization)
    previous = np.zeros(1)
    for L in (1, 7, 24, 48):
        system = layer_system(layer, L)
        brackets = system.peaks(1e-3)
        theta = 2.0 * np.arctan([b.omega for b in brackets])
        found, converged = operators.finite_gain(system, L, theta)
        exact = np.array([np.linalg.norm(T, 2) for T in dense_operators(layer, L)])
        assert converged.all()
        # Converged to a residual of 1e-6 in the square; a Rayleigh quotient, so never above.
        np.testing.assert_allclose(found, exact, rtol=1e-6)
        assert (found <= exact * (1.0 + 1e-12)).all()
        assert (found <= np.array([b.high for b in brackets]) * (1.0 + 1e-12)).all()
        if name != "dss":  # a softmax kernel is another one at another length
            assert (found >= previous * (1.0 - 1e-6)).all()
        previous = found


@pytest.mark.parametrize("name", ["s4", "s4d", "dss", "s5"])
def test_adjoint(name: str) -> None:
    system = layer_system(make(name), 33)
    shape, apply, adjoint = operators.toeplitz(system, 33)
    rng = np.random.default_rng(0)
    u, y = rng.standard_normal(shape), rng.standard_normal(shape)
    # Sums of 33 terms in float64 by FFT.
    assert np.sum(apply(u) * y) == pytest.approx(np.sum(u * adjoint(y)), rel=1e-11)


def test_lanczos_finds_the_largest_eigenvalues_of_any_spectrum() -> None:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((4, 30, 30))
    A = X @ X.swapaxes(1, 2)
    A[1] = np.eye(30)  # ends after one step
    A[2] = 0.0
    A[3, 0] = A[3, :, 0] = 0.0
    start = rng.standard_normal((4, 30))
    found, converged = operators.largest_eigenvalue(
        lambda v: (A @ v[..., None])[..., 0], start, 1e-8
    )
    np.testing.assert_allclose(found, np.linalg.eigvalsh(A)[:, -1], rtol=1e-8, atol=1e-14)
    assert converged.all()


def test_too_few_steps_are_said_and_stay_below(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make("s4d-real")
    system = layer_system(layer, 64)
    monkeypatch.setattr(operators, "STEPS", 3)
    found, converged = operators.finite_gain(system, 64, np.full(3, 1.0))
    exact = [np.linalg.norm(T, 2) for T in dense_operators(layer, 64)]
    assert not converged.any() and (found < exact).all()


def state_space(system: Diagonal | Dense | Mimo) -> list[tuple[ComplexArray, ...]]:
    """Return (Abar, Bbar, C Abar) of x_{t+1} = Abar x_t + Bbar u_t, from discrete quantities."""
    if system.Abar is not None:
        return [(system.Abar[0], system.B[0], system.C[0] @ system.Abar[0])]
    if isinstance(system, Dense):
        eye = np.eye(system.poles.shape[1])
        parts: list[tuple[ComplexArray, ...]] = []
        letters = (system.A, system.B, system.C, system.dt)
        for A, B, C, dt in zip(*letters, strict=True):
            half = 0.5 * dt * A
            Abar = np.linalg.solve(eye - half, eye + half)
            parts.append((Abar, np.linalg.solve(eye - half, dt * B), C @ Abar))
        return parts
    if isinstance(system, Mimo):
        a = system.discrete[0]
        return [(np.diag(a), system.B[0], system.C[0] * a)]
    ones = np.ones((system.poles.shape[1], 1), dtype=np.complex128)
    weights = system.B[:, :, 0] * system.C[:, 0]
    return [
        (np.diag(a), ones, (w * a)[None]) for a, w in zip(system.discrete, weights, strict=True)
    ]


@pytest.mark.parametrize(("name", "discretization"), CASES)
def test_hankel_singular_values_are_those_of_the_discrete_gramians(
    name: str, discretization: str
) -> None:
    system = layer_system(make(name, discretization), 40)
    assert isinstance(system, Diagonal | Dense | Mimo)
    found = operators.hankel_singular_values(system)
    for own, (A, B, C) in zip(found, state_space(system), strict=True):
        P = solve_discrete_lyapunov(A, B @ B.conj().T)
        Q = solve_discrete_lyapunov(A.conj().T, C.conj().T @ C)
        squares = np.sort(np.abs(np.linalg.eigvals(P @ Q)))[::-1]
        # Eigenvalues of P Q carry eps |P| |Q|: roots of it where sigma is small.
        lost = np.finfo(float).eps * np.linalg.norm(P, 2) * np.linalg.norm(Q, 2)
        np.testing.assert_allclose(own**2, squares, rtol=1e-8, atol=1e3 * lost)


@pytest.mark.parametrize(("name", "discretization"), CASES)
def test_gain_lies_between_the_hankel_bounds(name: str, discretization: str) -> None:
    """sigma_1 <= sup |H|, and sup |H - H(-1)| <= 2 sum sigma (Glover 1984)."""
    system = layer_system(make(name, discretization), 40)
    sigma = operators.hankel_singular_values(system)
    brackets = system.peaks(1e-3)
    last = system.gain(np.array([np.pi]))[:, 0]
    for values, bracket, end in zip(sigma, brackets, last, strict=True):
        # Both sides carry the rounding of their Gramians, 1e-9 at the most.
        assert values[0] <= bracket.high * (1.0 + 1e-9)
        assert bracket.low <= (2.0 * values.sum() + end) * (1.0 + 1e-9)


@torch.no_grad()
def test_the_channels_of_fresh_s4d_are_measured_against_the_spike() -> None:
    """At dt below and above pi / omega_spike: aliasing, folded frequencies, Q, the spike's pole."""
    n, L = 32, 256
    layer = make("s4d", n=n)
    assert isinstance(layer, S4D)
    spike = float(spikes(n, 1)[0])
    dt = np.array([0.004, 0.0096, 0.02])
    layer.log_dt.copy_(torch.log(torch.from_numpy(dt)))
    table = gain.channel_gains(layer_system(layer, L), n, L)
    # Parameters were stored in float32: 6e-8 of each.
    np.testing.assert_allclose(table["dt"], dt, rtol=1e-6)
    assert list(table["spike_aliased"]) == [False, False, True]
    assert list(table["spike_pole_aliased"]) == [False, False, True]
    np.testing.assert_allclose(table["spike_theta"], fold(spike * dt), rtol=1e-5)
    np.testing.assert_allclose(table["spike_pole"], spike, rtol=1e-6)
    # Re lambda = -1/2, so Q = |Im lambda|, largest at the spike.
    np.testing.assert_allclose(table["q_max"], spike, rtol=1e-6)
    np.testing.assert_allclose(table["q_pole"], table["pole"], rtol=1e-6)
    np.testing.assert_allclose(table["omega"], table["theta"] / table["dt"], rtol=1e-12)
    own = table[~table["pole_aliased"]]
    np.testing.assert_allclose(own["pole_omega"], own["pole"], rtol=1e-9)
    assert (table["median_gain"] <= table["gain_high"]).all()
    assert (table["dc_gain"] <= table["gain_high"] * (1.0 + 1e-10)).all()
    assert table["resonance_over_peak"].max() <= 1.0 + 1e-10
    facts = gain.summarise(table)
    assert facts["pole_within_half_width"] == facts["pole_within_5_percent"] == 1.0
    assert facts["resolved"] == pytest.approx(2 / 3)
    assert facts["ratio_q25"] <= facts["ratio_median"] <= facts["ratio_q75"]


@torch.no_grad()
def test_feedthrough_counts_and_a_silent_channel_has_no_ratios() -> None:
    layer = make("s4d")
    assert isinstance(layer, S4D) and layer.D is not None
    layer.C.zero_()
    layer.D.copy_(torch.tensor([2.0, -3.0, 0.0]))
    table = gain.channel_gains(layer_system(layer, 16), 8, 16)
    np.testing.assert_allclose(table["gain_low"], [2.0, 3.0, 0.0], rtol=1e-12)
    np.testing.assert_allclose(table["finite_gain"], [2.0, 3.0, 0.0], rtol=1e-6)
    assert table["peak_over_median"].isna().tolist() == [False, False, True]
    assert (table["hankel"] == 0.0).all() and (table["hankel_rank"] == 0).all()


@pytest.mark.parametrize("name", [name for name in BUNDLED if name in STABLE])
def test_every_bundled_checkpoint_can_be_measured(name: str) -> None:
    checkpoint = load_checkpoint(zoo_path(name, 0))
    before = weights_hash(checkpoint.network.state_dict())
    measured = gain.model_gain(name, checkpoint, length=256, layers=(1,))
    table = measured.channels
    assert weights_hash(checkpoint.network.state_dict()) == before
    assert len(table) == (1 if name.startswith(("s5", "lru")) else 32)
    assert (table["gain_high"] <= table["gain_low"] * (1.0 + 1.001e-3)).all()
    assert (table["finite_gain"] <= table["gain_high"]).all() and table["finite_converged"].all()
    assert table.drop(columns="kappa").notna().all(axis=None)


def test_trained_s4d_still_peaks_at_the_spike_and_the_others_do_not() -> None:
    models = [
        gain.model_gain(name, load_checkpoint(zoo_path(name, 0)), length=256)
        for name in ("s4d", "s4", "s4ptd-rank1")
    ]
    table = gain.GainResult(tuple(models)).table("model").set_index("model")
    assert table.loc["s4d", "near_spike_resolved"] > 0.5
    assert table.loc["s4d", "pole_within_half_width"] == 1.0
    assert (table.loc[["s4", "s4ptd-rank1"], "near_spike"] == 0.0).all()
    assert table.loc["s4d", "gain_low"] > 5.0 * table["gain_high"].drop("s4d").max()


def test_tables_agree_with_one_another() -> None:
    model = gain.model_gain("s4d/0", load_checkpoint(zoo_path("s4d", 0)), length=64, name="s4d")
    result = gain.GainResult((model,))
    channels, layers, whole = (result.table(per) for per in gain.PER)
    assert len(channels) == 96 and list(layers["layer"]) == [0, 1, 2]
    assert whole["gain_high"].item() == layers["gain_high"].max() == channels["gain_high"].max()
    assert whole["near_spike"].item() == pytest.approx(layers["near_spike"].mean())
    (verdict,) = result.verdicts()
    assert verdict.startswith("s4d, checkpoints: 1, systems: 96")
    with pytest.raises(UsageError, match="expected one of channel, layer, model"):
        result.table("seed")


def call(*arguments: str) -> Result:
    group = Commands()
    group.add_command(command)
    return CliRunner().invoke(group, ["gain", "--progress", "none", *arguments])


@pytest.mark.usefixtures("pdf_only")
def test_command_writes_what_it_says(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    path = str(checkpoints["s4d"])
    result = call(f"mine={path}", path, "--length", "16", "-o", str(tmp_path / "figures"))
    assert result.exit_code == 0, result.output
    assert "at spike" in result.stdout and "mine, checkpoints: 1, systems: 16" in result.stdout
    assert "eigenvalues are stored" in result.stderr and str(tmp_path) in result.stderr
    stems = {p.stem for p in (tmp_path / "figures").iterdir()}
    assert stems == {"response-mine", "response-s4d", "peaks"}


def test_command_formats(checkpoints: dict[str, Path]) -> None:
    path = str(checkpoints["s4ptd-rank1"])
    options = (path, "--no-figures")
    table = pd.read_csv(io.StringIO(call(*options, "--per", "channel", "--format", "csv").stdout))
    assert len(table) == 16 and {"gain_low", "gain_high"} <= set(table.columns)
    content = json.loads(call(*options, "--layer", "1", "--format", "json").stdout)
    # The task's own length, 8 x 8 pixels.
    assert content["rows"][0]["layer"] == 1 and content["models"][0]["length"] == 64
    lines = call(*options, "--per", "model", "--format", "md").stdout
    assert lines.startswith("| model | peak | at omega | at spike | resolved |")


def test_command_takes_the_names_of_the_zoo() -> None:
    result = call("s4d/*", "--layer", "0", "--per", "model", "--format", "json", "--no-figures")
    rows = json.loads(result.stdout)["rows"]
    assert [row["model"] for row in rows] == ["s4d/0", "s4d/1", "s4d/2"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("s4x",), 2, "'s4x' is unknown"),
        (("s4d/7",), 2, "no bundled seed"),
        (("s4d", "s4d/0"), 2, "named twice"),
        (("s4d", "--layer", "9"), 2, "s4d/0 has no layer 9, expected 0 to 2"),
        (("absent.safetensors",), 4, "no such file"),
        (("mine=absent.safetensors",), 4, "no such file"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], code: int, message: str) -> None:
    result = call(*arguments, "--no-figures")
    assert result.exit_code == code and result.stdout == ""
    assert message in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_damaged_file_is_rejected(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    content = bytearray(checkpoints["s4d"].read_bytes())
    damaged.write_bytes(content[: len(content) // 2])
    assert call(str(damaged), "--no-figures").exit_code == 4
    content[-5] ^= 1
    damaged.write_bytes(content)
    result = call(str(damaged), "--no-figures")
    assert result.exit_code == 4 and "the file was altered" in result.stderr
