"""Grids of transfer functions: against hippo, dense solves, identities and stored values."""

import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from robustssm.errors import ShapeError, UsageError
from robustssm.execution import resolve_device
from robustssm.hippo import legs, spectrum
from robustssm.hippo import transfer_grid as module
from robustssm.hippo.transfer_grid import transfer_grid
from robustssm.typing import ComplexArray, FloatArray
from tests.reference import named_readout, stored

EPS = float(np.finfo(np.float64).eps)
EPS32 = float(np.finfo(np.float32).eps)
GRID = np.concatenate([np.geomspace(1e-2, 1e7, 150), -np.geomspace(1e-3, 1e5, 20), [0.0]])
SIZES = [1, 2, 3, 63, 64, 65, 130, 300]


def readouts(n: int, count: int = 3) -> FloatArray:
    """Return (count, n) random readouts."""
    return np.random.default_rng(n).standard_normal((count, n))


def term_sum(C: FloatArray, omega: FloatArray) -> FloatArray:
    """Return sum_i |C_i x_i|, what the errors of G are relative to."""
    return np.abs(C) @ np.abs(legs.state(C.shape[-1], 1j * omega))


def grid(C: FloatArray, omega: FloatArray, **options: Any) -> ComplexArray:
    """Return `transfer_grid` as a numpy array, for each readout of a C of shape (k, n)."""
    if C.ndim == 2:
        return np.stack([grid(readout, omega, **options) for readout in C])
    values: ComplexArray = transfer_grid(C, omega, device="cpu", **options).numpy()
    return values


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensor storages that live at once, and remembers the most."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, int] = {}
        self.most = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, list | tuple) else [result]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.live:
                    self.live[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self.live.pop, storage._cdata, None)
        self.most = max(self.most, sum(self.live.values()))
        return result


@pytest.mark.parametrize("n", SIZES)
def test_one_readout_is_horner_of_hippo(n: int) -> None:
    C = readouts(n)[0]
    exact = legs.transfer(C, 1j * GRID)
    # Two evaluations, each with a few roundings a factor, relative to the sum of moduli.
    assert np.all(abs(grid(C, GRID) - exact) <= 8 * n * EPS * term_sum(C, GRID))
    # Off the zeros of G the two agree to 1e-13.
    plain = abs(exact) > 0.05 * term_sum(C, GRID)
    np.testing.assert_allclose(grid(C, GRID)[plain], exact[plain], rtol=1e-13)


@pytest.mark.parametrize("tau", [1.0, 0.5, 0.01])
@pytest.mark.parametrize("n", [1, 2, 65, 300])
def test_damped_is_hippo_over_normal_ratio(n: int, tau: float) -> None:
    omega = np.concatenate([GRID, spectrum.spikes(n)])
    C = readouts(n)
    ratio = legs.normal_ratio(n, omega, tau)
    bound = 8 * n * EPS * term_sum(C, omega) / abs(ratio)
    # The ratio is the same function of the same omega; what differs is G.
    exact = np.stack([legs.transfer(c, 1j * omega) for c in C]) / ratio
    assert np.all(abs(grid(C, omega, tau=tau) - exact) <= bound)


@given(
    n=st.integers(1, 24),
    omega=st.floats(-400.0, 400.0),
    tau=st.sampled_from([0.0, 1.0, 0.5, 0.1]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_grid_is_the_dense_solve(n: int, omega: float, tau: float, seed: int) -> None:
    C = np.random.default_rng(seed).standard_normal((2, n))
    t = 2 * tau / (1 + tau)
    A, B = legs.matrices(n)
    P = legs.low_rank(n)
    dense = np.linalg.solve(1j * omega * np.eye(n) - A - t * np.outer(P, P), (1 - t / 2) * B)
    # Near a spike the answer moves by n^2 times the rounding of omega (condition 0.64 n^2).
    bound = 60 * n * n * EPS * (np.abs(C) @ np.abs(dense))
    assert np.all(abs(grid(C, np.array(omega), tau=tau) - C @ dense) <= bound)


@given(n=st.integers(1, 40), omega=st.floats(1e-3, 1e6))
@settings(max_examples=30, deadline=None)
def test_norm_of_the_state_through_identity_readouts(n: int, omega: float) -> None:
    x = grid(np.eye(n), np.array([omega, -omega]))
    norm = np.linalg.norm(x, axis=0)
    # |x(i omega)| = n / sqrt(omega^2 + n^2); n factors of a few roundings each.
    np.testing.assert_allclose(norm, n / np.hypot(omega, n), rtol=8 * n * EPS)
    # Real arithmetic in which omega enters oddly: conjugate to the bit.
    np.testing.assert_array_equal(x[:, 1], np.conj(x[:, 0]))


@pytest.mark.parametrize("tau", [0.0, 1.0])
@pytest.mark.parametrize("n", [1, 64, 256, 1024])
def test_complex64_is_good_to_n_eps(n: int, tau: float) -> None:
    omega = np.concatenate([np.geomspace(1e-2, 1e7, 200), spectrum.spikes(n, min(n // 2, 9))])
    C = readouts(n)
    exact = grid(C, omega, tau=tau)
    factor = abs(legs.normal_ratio(n, omega, tau)) if tau else 1.0
    # Rounding omega to float32 turns x_i by at most i eps / 2, and each factor has a few roundings:
    # 2 n eps and a few eps from the ends, relative to the sum of moduli; nothing more at spikes,
    # where a ratio in complex64 would be off by 0.64 n^2 eps, over 1 at n = 1024.
    bound = (2 * n + 8) * EPS32 * term_sum(C, omega) / factor
    single = grid(C, omega, tau=tau, dtype=torch.complex64)
    assert single.dtype == np.complex64
    assert np.all(abs(single - exact) <= bound)


def test_stored_values() -> None:
    table = stored("transfer_values.csv")
    for (n, name), rows in table.groupby(["n", "C"]):
        omega, C = rows["omega"].to_numpy(), named_readout(name, n)
        exact = (rows["re_dplr"] + 1j * rows["im_dplr"]).to_numpy()
        exact_diagonal = (rows["re_diag"] + 1j * rows["im_diag"]).to_numpy()
        # Tolerances of the files' README: 1e-13 off the spikes, 4 n^2 eps at them.
        assert np.all(abs(grid(C, omega) - exact) <= 1e-13 * abs(exact) + 1e-15)
        bound = max(1e-13, 4 * n * n * EPS)
        diagonal = grid(C, omega, tau=1.0)
        assert np.all(abs(diagonal - exact_diagonal) <= bound * abs(exact_diagonal) + 1e-15)


@pytest.mark.parametrize("tau", [0.0, 1.0])
@pytest.mark.parametrize("room", [1000, 7777, 100_000])
def test_chunks_change_nothing(room: int, tau: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """room: the memory left for the frequencies of a chunk."""
    C = readouts(130)[0]
    whole = grid(C, GRID, tau=tau)
    monkeypatch.setattr(module, "MEMORY", room + 128 * 130)
    parts = grid(C, GRID, tau=tau)
    if tau == 0.0:
        # One IEEE operation at a time: the same to the bit.
        np.testing.assert_array_equal(parts, whole)
    else:
        # numpy's complex functions may round the ends of an array differently.
        np.testing.assert_allclose(parts, whole, rtol=8 * EPS)


@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64])
def test_memory_stays_below_the_limit(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    n, memory = 200, 1 << 20
    C = np.ones(n)
    omega = np.geomspace(1e-2, 1e7, 3000)
    with LiveBytes():  # what is imported at the first call is not the call's
        transfer_grid(C, omega, device="cpu", tau=1.0, dtype=dtype)
    monkeypatch.setattr(module, "MEMORY", memory)
    tracemalloc.start()
    try:
        with LiveBytes() as torch_bytes:
            values = transfer_grid(C, omega, device="cpu", tau=1.0, dtype=dtype)
        numpy_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Tensors of numpy arrays are counted twice; 64 KiB for Python's own objects.
    held = torch_bytes.most + numpy_bytes - values.numel() * values.element_size()
    assert held <= memory + (64 << 10)
    # The limit is made use of, too.
    assert held >= memory // 8


def test_many_states_in_bounded_memory() -> None:
    n = 10**5
    C = np.zeros(n)
    C[[0, 1, n - 1]] = 1.0, -0.5, 1.0
    omega = np.array([1.0, 1e3])
    # x_0 = 1 / (s + 1), x_1 = sqrt3 s / ((s + 1) (s + 2)), |x_{n-1}| from |phi_{n-1}|.
    s = 1j * omega
    head = 1.0 / (s + 1.0) - 0.5 * np.sqrt(3.0) * s / ((s + 1.0) * (s + 2.0))
    tail = np.sqrt(2.0 * n - 1.0) * omega / np.hypot(omega, n - 1.0) / np.hypot(omega, n)
    found = grid(C, omega)
    # n factors of a few roundings each; the sum itself is rounded at the size of its head.
    np.testing.assert_allclose(abs(found - head), tail, rtol=8 * n * EPS, atol=4 * EPS)


@pytest.mark.parametrize("tau", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64])
def test_limits_at_zero_and_infinity(tau: float, dtype: torch.dtype) -> None:
    C = readouts(40)
    omega = np.array([[0.0, -0.0, np.inf], [-np.inf, 1e300, -1e200]])
    values = grid(C, omega, tau=tau, dtype=dtype)
    assert values.shape == (3, 2, 3)
    np.testing.assert_array_equal(
        values[:, 0, :2], np.repeat(C[:, :1], 2, axis=1).astype(values.dtype)
    )
    np.testing.assert_array_equal(values[:, [0, 1], [2, 0]], 0.0)
    # G -> C B / (i omega); complex64 has no number that small.
    limit = (C @ legs.input_vector(40))[:, None] / (1j * omega[1, 1:] * (1.0 + tau))
    limit = limit if dtype == torch.complex128 else 0.0 * limit
    np.testing.assert_allclose(values[:, 1, 1:], limit, rtol=40 * 40 * EPS)


def test_shapes() -> None:
    C = readouts(5)[0]
    assert grid(C, np.array(1.0)).shape == ()
    assert grid(C, np.ones((2, 3))).shape == (2, 3)
    assert grid(C, np.ones((0,))).shape == (0,)
    tensors = transfer_grid(torch.from_numpy(C), torch.ones(2), device="cpu")
    np.testing.assert_array_equal(tensors.numpy(), grid(C, np.ones(2)))


def test_inputs_are_left_alone() -> None:
    C, omega = readouts(5), GRID.copy()
    before = C.copy()
    grid(C, omega, tau=1.0)
    np.testing.assert_array_equal(C, before)
    np.testing.assert_array_equal(omega, GRID)


@pytest.mark.parametrize(
    ("C", "error", "message"),
    [
        (np.ones((2, 3)), ShapeError, "expected \\(6,\\)"),
        (np.float64(1.0), ShapeError, "expected"),
        (np.ones(0), ShapeError, "expected"),
        (np.array([1.0, np.nan]), UsageError, "NaN"),
        (np.array([1.0, np.inf]), UsageError, "infinite"),
        (np.array([1.0 + 1.0j]), UsageError, "complex"),
    ],
)
def test_impossible_readouts(C: np.ndarray, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        transfer_grid(C, GRID)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"omega": np.array([1.0, np.nan])}, "omega is nan"),
        ({"omega": np.array([1.0j])}, "omega is 'complex'"),
        ({"dtype": torch.float64}, "complex128 or torch.complex64"),
        ({"tau": -0.1}, "tau"),
        ({"tau": 1.5}, "tau"),
        ({"tau": float("nan")}, "tau"),
        ({"device": "abacus"}, "device: abacus cannot be used"),
    ],
)
def test_impossible_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        transfer_grid(**{"C": np.ones(4), "omega": GRID, **options})


def test_auto_is_the_gpu_where_there_is_one() -> None:
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="device: cuda cannot be used"):
        transfer_grid(np.ones(4), GRID, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_gpu_is_the_cpu(tau: float) -> None:
    n = 300
    C = readouts(n)[0]
    on_gpu = transfer_grid(C, GRID, tau=tau, device="cuda")
    assert on_gpu.device.type == "cuda"
    ratio = abs(legs.normal_ratio(n, GRID, tau)) if tau else 1.0
    # The same IEEE operations; compilers may fuse a product and a sum.
    bound = 2 * n * EPS * term_sum(C, GRID) / ratio
    assert np.all(abs(on_gpu.cpu().numpy() - grid(C, GRID, tau=tau)) <= bound)
