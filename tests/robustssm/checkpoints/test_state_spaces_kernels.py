"""Layers of state-spaces/s4 in every key layout, against dense systems stepped through time."""

import numpy as np
import pytest
import torch
from torch import Tensor

from robustssm.checkpoints import state_spaces
from robustssm.errors import RejectedInputError, UsageError
from robustssm.layers.diagonal import GeneralDiagonal
from robustssm.layers.dplr import GeneralDPLR
from robustssm.typing import FloatArray
from tests.robustssm.checkpoints.foreign import (
    D,
    Draw,
    L,
    N,
    bilinear,
    c128,
    convolved,
    dense_dplr,
    dense_kernel,
    f64,
    full,
    gelu,
    glu,
    held,
    minimal_layer,
    minimal_output,
    output,
    rows,
    stack,
)
from tests.robustssm.checkpoints.kernels import (
    diagonal_kernel,
    v4_diagonal,
    v4_dplr,
    v4_dplr_kernel,
)

V4 = {"dt_transform": "exp"}


@torch.no_grad()
def evaluated(tensors: dict[str, Tensor], settings: dict[str, str], length: int = L) -> FloatArray:
    network = state_spaces.build(held(tensors), settings).network.double()
    u = torch.randn(2, length, D, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return network(u).numpy()


def signal(length: int = L) -> FloatArray:
    generator = torch.Generator().manual_seed(9)
    return torch.randn(2, length, D, generator=generator, dtype=torch.float64).numpy()


def close(found: FloatArray, expected: FloatArray) -> None:
    # float64 rounding over 24 steps and 2 N = 8 modes of condition below 1e3.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


def after(t: dict[str, Tensor], K: FloatArray, both: bool, length: int = L) -> FloatArray:
    y = gelu(convolved(signal(length), K, f64(t["layer.D"]), both))
    return glu(y, t["output_linear.0.weight"], t["output_linear.0.bias"])


@pytest.mark.parametrize("transform", ["exp", "softplus"])
@pytest.mark.parametrize(
    ("systems", "rank", "channels", "both"),
    [(D, 1, 1, False), (1, 1, 1, True), (2, 2, 1, False), (3, 3, 2, True)],
)
def test_v4_dplr(systems: int, rank: int, channels: int, both: bool, transform: str) -> None:
    t = v4_dplr(systems, rank, channels, both)
    x = f64(t["layer.kernel.inv_dt"])[:, 0]
    dt = np.exp(x) if transform == "exp" else np.log1p(np.exp(x))
    found = evaluated(t, {"dt_transform": transform})
    close(found, after(t, v4_dplr_kernel(t, dt, L), both))


def test_a_used_kernel_holds_c_tilde_of_its_length() -> None:
    """The C that is stored after a pass is (I - (Abar^T)^l) C; another length makes no odds."""
    t = v4_dplr(2, 1, 1, False)
    dt = np.exp(f64(t["layer.kernel.inv_dt"])[:, 0])
    expected = after(t, v4_dplr_kernel(t, dt, L), False)
    p, used = "layer.kernel.", dict(t)
    C = full(c128(t[f"{p}C"]))
    for length in (16, L, 100):
        for h in range(D):
            Lambda = -np.exp(f64(t[f"{p}A_real"])) - 1j * f64(t[f"{p}A_imag"])
            P = c128(t[f"{p}P"])[:, h % 2]
            Abar, _ = bilinear(dense_dplr(Lambda[h % 2], P, P.conj()), np.zeros(2 * N), dt[h])
            tilde = C[0, h] - np.linalg.matrix_power(Abar.T, length) @ C[0, h]
            stored = used.setdefault("new", torch.zeros(1, D, N, 2, dtype=torch.float64))
            stored[0, h] = torch.view_as_real(torch.from_numpy(tilde[:N].copy()))
        renamed = {**used, f"{p}C": used["new"], f"{p}l_kernel": torch.tensor(length)}
        close(evaluated({k: v for k, v in renamed.items() if k != "new"}, V4), expected)


def test_l_max_caps_the_kernel() -> None:
    t = v4_dplr(1, 1, 1, True)
    dt = np.exp(f64(t["layer.kernel.inv_dt"])[:, 0])
    found = evaluated(t, {**V4, "l_max": "10"})
    close(found, after(t, v4_dplr_kernel(t, dt, 10), True))


@pytest.mark.parametrize("disc", ["zoh", "bilinear", "dss"])
@pytest.mark.parametrize(
    ("systems", "channels", "both", "per_state"),
    [(D, 1, False, False), (1, 2, True, False), (2, 1, True, False), (D, 1, False, True)],
)
def test_v4_diagonal(disc: str, systems: int, channels: int, both: bool, per_state: bool) -> None:
    t = v4_diagonal(systems, channels, both, per_state)
    p = "layer.kernel."
    A = rows(-np.exp(f64(t[f"{p}A_real"])) - 1j * f64(t[f"{p}A_imag"]))
    settings = {**V4, "disc": disc}
    if disc == "dss":
        A = rows(-f64(t[f"{p}A_real"]) - 1j * f64(t[f"{p}A_imag"]))
        assert (A.real > 0).any()
        settings["real_transform"] = "none"
    K = diagonal_kernel(
        A, rows(c128(t[f"{p}B"])[0]), c128(t[f"{p}C"]), np.exp(f64(t[f"{p}inv_dt"])), disc
    )
    close(evaluated(t, settings), after(t, K, both))


def test_options_of_v4_kernels() -> None:
    """sinh of dt, softplus and relu transforms, bandlimit, rate, exchanged channels."""
    t = v4_diagonal(D, 2, False)
    p = "layer.kernel."
    A = -np.log1p(np.exp(f64(t[f"{p}A_real"]))) - 1j * (np.maximum(f64(t[f"{p}A_imag"]), 0) + 1e-4)
    dt = np.exp(np.sinh(f64(t[f"{p}inv_dt"])))
    C = c128(t[f"{p}C"]) * (dt * np.abs(A.imag) / (2 * np.pi) < 0.5 * 0.01)
    assert 0 < np.count_nonzero(C) < C.size
    K = diagonal_kernel(A, rows(c128(t[f"{p}B"])[0]), C, 2 * dt, "zoh")
    y = gelu(convolved(signal(), K, f64(t["layer.D"]), False))
    y = y.reshape(2, L, 2, D).swapaxes(2, 3).reshape(2, L, 2 * D)
    settings = {
        **V4,
        "disc": "zoh",
        "dt_fast": "true",
        "real_transform": "softplus",
        "imag_transform": "relu",
        "bandlimit": "0.01",
        "rate": "2",
        "swap_channels": "true",
    }
    expected = glu(y, t["output_linear.0.weight"], t["output_linear.0.bias"])
    close(evaluated(t, settings), expected)


def test_real_systems_and_weight_norm() -> None:
    t = v4_diagonal(2, 1, False)
    p = "layer.kernel."
    real = {**t, f"{p}B": t[f"{p}B"][..., 0], f"{p}C": t[f"{p}C"][..., 0]}
    del real[f"{p}A_imag"]
    v = real.pop("output_linear.0.weight")
    g = v.norm(dim=1, keepdim=True)
    real |= {"output_linear.0.weight_g": 2 * g, "output_linear.0.weight_v": 3 * v}
    A = rows(-np.exp(f64(t[f"{p}A_real"])) + 0j)
    K = diagonal_kernel(
        A, rows(f64(real[f"{p}B"])[0]), f64(real[f"{p}C"]), np.exp(f64(t[f"{p}inv_dt"])), "zoh"
    )
    y = gelu(convolved(signal(), K, f64(t["layer.D"]), False))
    expected = glu(y, 2 * v, real["output_linear.0.bias"])
    found = evaluated(real, {**V4, "disc": "zoh"})
    # The folded weight is kept in float32, as the original computes it: 6e-8 relative a product.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["v3-dplr", "v3-diag", "v2-hurwitz", "v2-free"])
def test_older_versions(kind: str) -> None:
    """Im A with its own sign, one dt a feature; v2's Q is independent and its C is C~."""
    draw, systems = Draw(5), 2
    p = "kernel.kernel."
    t = {
        "D": draw(1, D),
        f"{p}log_dt": draw(D) * 0.5 - 2,
        f"{p}C": draw(1, D, N, 2),
        **output(draw, 1),
    }
    dt = np.exp(f64(t[f"{p}log_dt"]))
    settings = {}
    real, imag = draw(systems, N) * 0.3, draw(systems, N) * 3
    A = rows(-np.exp(f64(real)) + 1j * f64(imag))
    if kind == "v3-diag":
        t |= {f"{p}inv_A_real": real, f"{p}A_imag": imag, f"{p}A": draw(systems, N, 2)}
        t[f"{p}B"] = draw(systems, N, 2)
        settings = {"disc": "bilinear"}
        K = diagonal_kernel(A, rows(c128(t[f"{p}B"])), c128(t[f"{p}C"]), dt[:, None], "bilinear")
    else:
        P, Q = draw(1, systems, N, 2), draw(1, systems, N, 2) * 0.1
        t |= {f"{p}P": P, f"{p}B": draw(1, systems, N, 2)}
        q = c128(P).conj()
        if kind == "v2-free":
            q = c128(P).conj() + c128(Q)
            t[f"{p}w"] = torch.stack([-real.exp(), imag], dim=-1)
            A = rows(c128(t[f"{p}w"]))
            t[f"{p}Q"] = torch.stack([P[..., 0] + Q[..., 0], -P[..., 1] + Q[..., 1]], dim=-1)
            q = c128(t[f"{p}Q"])
        else:
            t |= {f"{p}{'inv_w_real' if kind == 'v3-dplr' else 'log_w_real'}": real}
            t[f"{p}w_imag"] = imag
        discrete = [
            bilinear(
                dense_dplr(A[h], c128(P)[:, h % systems], q[:, h % systems]),
                full(c128(t[f"{p}B"])[0, h % systems]),
                dt[h],
            )
            for h in range(D)
        ]
        C = full(c128(t[f"{p}C"]))
        length = 16
        if kind == "v3-dplr":
            t[f"{p}L"] = torch.tensor(0)
        else:
            k = torch.arange(length // 2 + 1)
            omega = torch.polar(torch.ones(len(k)), -2 * torch.pi * k / length)
            t |= {f"{p}omega": torch.view_as_real(omega), f"{p}z": draw(len(k), 2)}
            for h in range(D):
                power = np.linalg.matrix_power(discrete[h][0].T, length)
                C[0, h] = np.linalg.solve(np.eye(2 * N) - power, C[0, h])
        K = dense_kernel(*stack(discrete), C, L)
    y = gelu(convolved(signal(), K, f64(t["D"]), False))
    expected = glu(y, t["output_linear.0.weight"], t["output_linear.0.bias"])
    close(evaluated(t, settings), expected)


def test_minimal_layer() -> None:
    t = minimal_layer(Draw(3))
    close(evaluated(t, {}), minimal_output(t, signal()))


@pytest.mark.parametrize("systems", [1, D])
@torch.no_grad()
def test_recurrence_is_the_convolution(systems: int) -> None:
    u = torch.from_numpy(signal())
    for t, settings in (
        (v4_dplr(systems, 2, 2, False), V4),
        (v4_diagonal(systems, 2, False), {**V4, "disc": "bilinear"}),
        (v4_diagonal(systems, 1, False), {**V4, "disc": "dss", "real_transform": "none"}),
    ):
        layer = state_spaces.build(held(t), settings).network.ssm_layers()[0]
        assert isinstance(layer, GeneralDPLR | GeneralDiagonal)
        before = {key: value.clone() for key, value in layer.state_dict().items()}
        close(layer(u).numpy(), layer.recurrence(u).numpy())
        if layer.channels == 1:
            close(layer.impulse(L).numpy(), layer.kernels(L)[0].numpy())
        # No evaluation changes a parameter.
        assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())
        assert layer.step_size().shape == (D,)


def test_what_looks_ahead_has_no_impulse_response() -> None:
    layer = state_spaces.build(held(v4_dplr(1, 1, 1, True)), V4).network.ssm_layers()[0]
    with pytest.raises(UsageError, match="not causal"):
        layer.impulse(4)


def test_unstable_kernels_are_rejected_unless_allowed() -> None:
    t = v4_diagonal(D, 1, False)
    settings = {**V4, "disc": "zoh", "real_transform": "none"}
    with pytest.raises(RejectedInputError, match=r"layer\.kernel is unstable.*allow_unstable=true"):
        state_spaces.build(held(t), settings)
    state_spaces.build(held(t), {**settings, "allow_unstable": "true"})
    notes = state_spaces.build(held(t), {**settings, "disc": "dss"}).notes
    assert any("positive real part" in note for note in notes)


def test_bandlimit_and_rate_of_dplr_kernels_are_refused() -> None:
    t = v4_dplr(1, 1, 1, False)
    for name, value in (("bandlimit", "0.001"), ("rate", "2")):
        with pytest.raises(UsageError, match=name):
            state_spaces.build(held(t), {**V4, name: value})
