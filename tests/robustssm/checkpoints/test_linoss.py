"""Layers of LinOSS and D-LinOSS against loops over time, from parameters by their names."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from robustssm.checkpoints import linoss
from robustssm.checkpoints.importers import open_checkpoint
from robustssm.cli import main
from robustssm.errors import RejectedInputError, StabilityError, UsageError
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.layers.linoss import Oscillators
from robustssm.networks.foreign import SequenceModel
from tests.robustssm.checkpoints.foreign import Draw, c128, f64, sigmoid
from tests.robustssm.checkpoints.foreign import held as file_of

H, P, L = 5, 7, 40
UNDAMPED = [{"discretization": name} for name in ("IM", "IMEX")]
DAMPED = [{"layer_name": f"Damped{name}"} for name in ("IMEX1", "IMEX2", "IM", "EX")]
SETTINGS = [*UNDAMPED, *DAMPED]


def layer(settings: Mapping[str, str], seed: int = 1) -> dict[str, Tensor]:
    """Parameters in the admissible region, on its border and outside."""
    draw = Draw(seed)
    held = {"A_diag": 2.0 * draw(P).double(), "B": draw(P, H, 2), "C": draw(H, P, 2), "D": draw(H)}
    damped = "layer_name" in settings
    # sigmoid(0.5) times a damping of 1 or less keeps h g below 1.
    held["dt" if damped else "steps"] = draw(P).clamp(max=0.5)
    if damped:
        held["G_diag"] = draw(P).clamp(max=1.0)
    return {f"params/{name}": value for name, value in held.items()}


def layer_output(t: Mapping[str, Tensor], u: np.ndarray, name: str) -> np.ndarray:
    """Return what the update of each paper makes of u (batch, steps, H), one step at a time."""
    a, damped = f64(t["params/A_diag"]), "params/G_diag" in t
    h = sigmoid(f64(t["params/dt" if damped else "params/steps"]))
    g = f64(t["params/G_diag"]) if damped else np.zeros(P)
    if not damped:
        a = np.maximum(a, 0.0)
    elif "IMEX" in name:
        g = np.maximum(g, 0.0)
        s = h * g if name == "DampedIMEX1" else -h * g
        a = np.clip(a, (2 + s - 2 * np.sqrt(1 + s)) / h**2, (2 + s + 2 * np.sqrt(1 + s)) / h**2)
    else:
        g = np.maximum(g, -h * a if name == "DampedIM" else h * a)
        a = np.maximum(a, g * g / 4)
    B, C, D = c128(t["params/B"]), c128(t["params/C"]), f64(t["params/D"])
    z, x, y = np.zeros((len(u), P), complex), np.zeros((len(u), P), complex), np.zeros_like(u)
    for step in range(u.shape[1]):
        b = u[:, step] @ B.T
        match name.removeprefix("Damped"):
            case "IM":  # both sides of the step are implicit: solved for z
                new = (z - h * a * x + h * b) / (1 + h * g + h * h * a)
                z, x = new, x + h * new
            case "IMEX" | "IMEX1":
                z = (z - h * a * x + h * b) / (1 + h * g)
                x = x + h * z
            case "IMEX2":
                z = (1 - h * g) * z - h * a * x + h * b
                x = x + h * z
            case "EX":
                z, x = (1 - h * g) * z - h * a * x + h * b, x + h * z
        y[:, step] = (x @ C.T).real + D * u[:, step]
    return y


def save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    np.savez(path, allow_pickle=True, **arrays)


def built(held: Mapping[str, Tensor], settings: Mapping[str, str]) -> Oscillators:
    network = linoss.build(file_of(dict(held)), settings).network
    assert isinstance(network, SequenceModel)
    (own,) = network.double().ssm_layers()
    assert isinstance(own, Oscillators)
    return own


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda one: next(iter(one.values())))
@torch.no_grad()
def test_convolution_and_recurrence_against_loops(settings: Mapping[str, str]) -> None:
    held, u = layer(settings), Draw(2)(3, L, H).double()
    own = built(held, settings)
    expected = layer_output(held, u.numpy(), next(iter(settings.values())))
    largest = np.abs(expected).max()
    for found in (own(u), own.recurrence(u)):
        # Rounding 2e-16 of 40 steps, which grows with the time where poles coincide.
        assert np.abs(found.numpy() - expected).max() < 1e-12 * largest
    # Every array is felt, and so is the rule.
    for name, value in held.items():
        moved = built({**held, name: value - 0.1}, settings)
        assert float((moved(u) - own(u)).abs().max()) > 1e-3, name
    for other in UNDAMPED if settings in UNDAMPED else DAMPED:
        if other != settings:
            assert float((built(held, other)(u) - own(u)).abs().max()) > 1e-3


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda one: next(iter(one.values())))
def test_poles_are_the_eigenvalues_of_the_step(settings: Mapping[str, str]) -> None:
    own = built(layer(settings), settings)
    spectrum = own.spectrum()
    found = np.exp(spectrum.diagonal * spectrum.step)[0].reshape(2, P)
    M, _ = own.step_matrix()
    expected = np.linalg.eigvals(M.numpy())
    for i in range(P):
        # Sums and products of the pairs: eigenvalues themselves lose half their digits on the
        # border, where the two coincide.
        assert np.allclose(found[:, i].sum(), expected[i].sum(), atol=1e-12)
        assert np.allclose(found[:, i].prod(), expected[i].prod(), atol=1e-12)
    assert own.order == 2 * P == found.size


def test_on_the_border_the_poles_coincide_and_nothing_is_divided_by_zero() -> None:
    """There x answers to an impulse by (1 + k l) mu^l: no sum of two powers."""
    settings = {"layer_name": "DampedIMEX1"}
    held = layer(settings)
    held["params/A_diag"] = torch.full((P,), -10.0, dtype=torch.float64)
    own = built(held, settings)
    poles = np.exp(own.eigenvalues().numpy() * np.tile(own.dt.numpy(), 2)).reshape(2, P)
    np.testing.assert_allclose(poles[0], poles[1], atol=1e-7)
    h, g = own.dt.numpy(), own.G.numpy()
    lags, mu = np.arange(L), 1 / np.sqrt(1 + h * g)
    expected = (h * h * mu * mu)[:, None] * (lags + 1) * mu[:, None] ** lags
    np.testing.assert_allclose(own.impulse(L).numpy().real, expected, rtol=1e-12)
    damped = g > 0
    assert damped.any() and np.isfinite(own.eigenvalues().numpy()).all()


@pytest.mark.parametrize("name", ["IM", "DampedIMEX1", "DampedIMEX2", "DampedIM", "DampedEX"])
def test_the_transfer_function_of_its_steps(name: str) -> None:
    """C (z - M)^-1 z F B, pair by pair, and the certified peak above its values."""
    settings = {"layer_name" if "Damped" in name else "discretization": name}
    held = layer(settings)
    held["params/A_diag"] = held["params/A_diag"].abs() + 0.3
    if "Damped" in name:
        # `ex` grows unless g > h a.
        held["params/G_diag"] = held["params/G_diag"].abs() + (0.7 if name[6:] != "EX" else 3.0)
        held["params/dt"] = held["params/dt"].clamp(max=-0.5)
    own = built(held, settings)
    M, F = (value.numpy() for value in own.step_matrix())
    B, C, D = c128(held["params/B"]), c128(held["params/C"]), f64(held["params/D"])
    theta = np.linspace(0.0, 3.1, 60)
    expected = np.empty((H, H, len(theta)), complex)
    for k, z in enumerate(np.exp(1j * theta)):
        x = np.array([(z * np.linalg.solve(z * np.eye(2) - M[i], F[i]))[1] for i in range(P)])
        # Real and imaginary parts of the state are two systems with real coefficients.
        expected[:, :, k] = (C.real * x) @ B.real - (C.imag * x) @ B.imag + np.diag(D)
    system = layer_system(own, L)
    found = system.response(theta)
    assert np.abs(found - expected).max() < 1e-10 * np.abs(expected).max()
    (peak,) = system.peaks(1e-6)
    assert system.gain(theta).max() <= peak.high and peak.low <= peak.high <= peak.low * 1.001


def test_without_damping_imex_has_no_finite_gain() -> None:
    settings = {"discretization": "IMEX"}
    held = layer(settings)
    held["params/A_diag"] = held["params/A_diag"].abs().clamp(max=3.9)
    own = built(held, settings)
    assert (own.spectrum().poles.real == 0.0).all()
    system, theta = layer_system(own, L), np.array([0.0, 0.4, 3.0])
    with pytest.raises(StabilityError, match="no bound"):
        system.peaks(1e-3)
    # Between the poles there is a response all the same: here two steps of each oscillator's
    # difference equation, x_t = (2 - h^2 a) x_{t-1} - x_{t-2} + h^2 b.
    h, a = own.dt.detach().numpy(), own.A.detach().numpy()
    B, C, D = (held[f"params/{name}"] for name in "BCD")
    for k, z in enumerate(np.exp(1j * theta)):
        x = h * h / (1 - (2 - h * h * a) / z + z**-2)
        expected = (c128(C).real * x) @ c128(B).real - (c128(C).imag * x) @ c128(B).imag
        found = system.response(theta)[:, :, k]
        np.testing.assert_allclose(found, expected + np.diag(f64(D)), rtol=1e-9, atol=1e-9)
    # x grows for ever without a spring, with one too stiff, and where both poles are at -1.
    for stiffness, logit in ((-1.0, 2.0), (30.0, 2.0), (16.0, 0.0)):
        held["params/A_diag"][0], held["params/steps"][0] = stiffness, logit
        with pytest.raises(UsageError, match="an oscillator grows, expected a stable system"):
            layer_system(built(held, settings), L)


def test_the_other_code_base_has_undamped_layers_too() -> None:
    """There the steps are called dt."""
    settings = {"discretization": "IM"}
    held, u = layer(settings), Draw(2)(2, L, H).double()
    other = {name.replace("steps", "dt"): value for name, value in held.items()}
    assert torch.equal(built(other, settings)(u), built(held, settings)(u))


def test_a_file_of_named_arrays(tmp_path: Path) -> None:
    """As numpy.savez writes it, with `params/` before the names or without; the rest is left."""
    settings = {"layer_name": "DampedIM"}
    held = {name: value.abs().numpy() for name, value in layer(settings).items()}
    u = Draw(3)(1, L, H).double()
    tensors = {name: torch.from_numpy(value) for name, value in held.items()}
    expected = layer_output(tensors, u.numpy(), "DampedIM")
    bare = {name.removeprefix("params/"): value for name, value in held.items()}
    for arrays in ({**held, "note": np.array("text"), "input": u.numpy()}, bare):
        save(tmp_path / "layer.npz", arrays)
        checkpoint = open_checkpoint(tmp_path / "layer.npz", settings)
        found = checkpoint.network.double()(u).numpy()
        assert np.abs(found - expected).max() < 1e-12 * np.abs(expected).max()
        assert any("input" in note for note in checkpoint.notes) == ("input" in arrays)
    path = str(tmp_path / "layer.npz")
    for command in (("inspect", path), ("gain", f"mine={path}", "--no-figures", "--length", "32")):
        result = CliRunner().invoke(main, [*command, "--set", "layer_name=DampedIM"])
        assert result.exit_code == 0, result.output


def test_what_is_missing_or_wrong_is_named(tmp_path: Path) -> None:
    held = layer(DAMPED[0])
    with pytest.raises(UsageError, match=r"--set layer_name=DampedIMEX1\|DampedIMEX2\|"):
        linoss.build(file_of(held), {})
    with pytest.raises(UsageError, match=r"--set discretization=IM\|IMEX"):
        linoss.build(file_of(layer(UNDAMPED[0])), {})
    fast = {**held, "params/G_diag": torch.full((P,), 50.0)}
    with pytest.raises(RejectedInputError, match=r"DampedIMEX2: .*underdamped"):
        linoss.build(file_of(fast), {"layer_name": "DampedIMEX2"})
    with pytest.raises(RejectedInputError, match="unexpected params/E"):
        linoss.build(file_of({**held, "params/E": torch.zeros(2)}), DAMPED[0])
    path = tmp_path / "layer.npz"
    save(path, {"params/A_diag": np.array([None], dtype=object)})
    with pytest.raises(RejectedInputError, match=r"no \.npz file of numbers.*objects"):
        open_checkpoint(path)
    save(path, {name: value.numpy() for name, value in held.items()})
    whole = path.read_bytes()
    for length in range(1, len(whole), len(whole) // 40):
        path.write_bytes(whole[:length])
        with pytest.raises(RejectedInputError, match=r"layer\.npz"):
            open_checkpoint(path, DAMPED[0])
