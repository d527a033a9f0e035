"""Certified radii: every bound against what random and sought perturbations really do."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import toeplitz
from scipy.optimize import linprog
from torch import Tensor

from robustssm.attacks.bands import fourier_basis
from robustssm.errors import ShapeError, UsageError
from robustssm.evaluations.certificates import certified_radius as module
from robustssm.evaluations.certificates.certified_radius import certified_radii
from robustssm.evaluations.certificates.curvature import (
    gelu_bend,
    gelu_slope,
    logistic_bend,
    logistic_slope,
    normalisation_bend,
    spectral_norms,
)
from robustssm.evaluations.certificates.enclosures import Remainder, fill
from robustssm.evaluations.certificates.lipschitz import (
    GELU_LIPSCHITZ,
    certificate_notes,
    double_copy,
    features_constant,
    lipschitz_table,
)
from robustssm.evaluations.certificates.remainders import largest_radius
from robustssm.evaluations.certificates.tangent_setting import Setting, trace
from robustssm.evaluations.certificates.tangents import Tangent, tangent
from robustssm.evaluations.certificates.time_operators import TimeOperator, time_operator
from robustssm.networks.network import Architecture, Block, Network, build_network

L, D = 20, 4
MODES = range(2, 9)
# Other work on the same cores makes times meaningless.
LIMITS = settings(deadline=None, max_examples=30)
# float64 rounding of sums of a few thousand terms of order one.
ROUNDING = 1e-11
FAMILIES = ("s4", "s4d", "dss", "s5", "s4ptd-rank1", "s5ptd-rank1")
OPTIONS: tuple[dict[str, object], ...] = (
    {},
    {"norm": "batch"},
    {"prenorm": True},
    {"residual": True},
    {"prenorm": True, "residual": True, "feedthrough": True},
    {"norm": "batch", "prenorm": True, "residual": True},
    {"pooling": "last", "feedthrough": True},
    {"d_input": 2, "residual": True, "norm": "batch"},
)
CASES = [("s4d", options) for options in OPTIONS] + [(name, {}) for name in FAMILIES]
CASES += [("s5", {"prenorm": True, "residual": True, "feedthrough": True})]
CASES += [
    ("s4d", {"bidirectional": True, "residual": True, "feedthrough": True}),
    ("s5", {"bidirectional": True, "prenorm": True}),
]


def spent(at: Tangent, r: float) -> tuple[float, float, float]:
    """Return (slope, form, rest) of `largest_radius` from the bounds at r."""
    bounds = at.remainders(r)
    return at.slope, at.largest(bounds), bounds.rest


def make(name: str, options: dict[str, object], seed: int = 0) -> Network:
    """Return a random network with all that training would move moved."""
    settings: dict[str, object] = {"layers": 3, "d_output": 3, "dt_min": 0.02, "dt_max": 0.5}
    architecture = Architecture(name, n=8, d_model=D, **{**settings, **options})  # type: ignore[arg-type]
    network = build_network(architecture, seed).eval()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        network.mean.normal_(generator=g)
        network.std.uniform_(0.5, 2.0, generator=g)
        for key, value in network.named_parameters():
            if "norm" in key:
                value.add_(torch.randn(value.shape, generator=g), alpha=0.3)
        for key, buffer in network.named_buffers():
            if "running_var" in key:
                buffer.uniform_(0.3, 2.0, generator=g)
    return network


def sample(network: Network, seed: int = 0, count: int = 1) -> tuple[Tensor, Tensor]:
    """Return inputs and the labels that the network gives them."""
    g = torch.Generator().manual_seed(seed + 100)
    x = torch.randn(count, L, network.architecture.d_input, generator=g, dtype=torch.float64)
    with torch.no_grad():
        return x, double_copy(network)(x).argmax(1)


def at_sample(name: str, options: dict[str, object], seed: int = 0) -> tuple[Tangent, Tensor, int]:
    network = make(name, options, seed)
    x, label = sample(network, seed)
    result = tangent(Setting(network, L, MODES), x[0], int(label[0]))
    assert result is not None
    return result, x[0], int(label[0])


@cache
def at_case(number: int) -> tuple[Tangent, Tensor, int]:
    return at_sample(*CASES[number])


def states(network: Network, x: Tensor) -> tuple[Tensor, ...]:
    """Return every SSM layer's output and the logits, by the network's own modules."""
    kept: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
        for layer in network.ssm_layers()
    ]
    logits = network(x)
    for hook in hooks:
        hook.remove()
    return (*kept, logits)


def directions(at: Tangent, x: Tensor, label: int, count: int = 12) -> Tensor:
    """Return unit c (k, m): random, single waves, the worst of the tangent, gradients."""
    m = at.bases[0].J.shape[2]
    g = torch.Generator().manual_seed(1)
    drawn = torch.randn(count, m, generator=g, dtype=torch.float64)
    singular = [torch.linalg.svd(base.J.flatten(0, 1))[2][0] for base in at.bases]
    logits = lambda c: trace(at.setting.network, x[None] + signal(at, c[None]))[0][0]  # noqa: E731
    slopes = torch.autograd.functional.jacobian(logits, torch.zeros(m, dtype=torch.float64))
    margins = slopes[label] - slopes
    margins = margins[torch.arange(len(margins)) != label]
    both = torch.cat([torch.stack(singular), margins])
    every = torch.cat([drawn, torch.eye(m, dtype=torch.float64)[:4], both, -both])
    result: Tensor = every / torch.linalg.vector_norm(every, dim=1, keepdim=True)
    return result


def signal(at: Tangent, c: Tensor) -> Tensor:
    """Return the perturbations (k, L, channels) of coordinates c (k, m channels)."""
    Q = at.setting.basis
    return torch.einsum("tm,kam->kta", Q, c.reshape(len(c), -1, Q.shape[1]))


@LIMITS
@given(
    z=st.floats(-6, 6),
    radius=st.floats(0, 4),
    move=st.floats(-1, 1),
    b=st.floats(-5, 5),
    share=st.floats(-1, 1),
)
def test_scalar_remainders_stay_below_their_bends(
    z: float, radius: float, move: float, b: float, share: float
) -> None:
    at, w = torch.tensor([z]).double(), torch.tensor([radius]).double()
    v = move * w
    gelu = torch.nn.functional.gelu
    left = gelu(at + v) - gelu(at) - gelu_slope(at) * v
    # The remainders are differences of numbers of order ten.
    assert (left.abs() <= 0.5 * gelu_bend(at, w) * v**2 + 1e-13).all()
    s, change = torch.sigmoid(at), share * radius
    left = (b + change) * torch.sigmoid(at + v) - b * s - change * s - b * s * (1 - s) * v
    limit = logistic_slope(at, w) * abs(change) * v.abs()
    assert (left.abs() <= limit + 0.5 * abs(b) * logistic_bend(at, w) * v**2 + 1e-13).all()


def test_bends_are_attained_and_gelus_constant_is_its_steepest_slope() -> None:
    z = torch.linspace(-8, 8, 100001, dtype=torch.float64)
    # A quadratic maximum on a grid of step 1.6e-4 is missed by about its square.
    assert float(gelu_slope(z).max()) == pytest.approx(GELU_LIPSCHITZ, abs=1e-7)
    second = torch.gradient(gelu_slope(z), spacing=(z,))[0].abs()
    for low, high in ((-1.0, 1.0), (1.5, 2.5), (-4.0, -1.8), (0.5, 0.6)):
        inside = second[(z >= low) & (z <= high)].max()
        centre, radius = torch.tensor([(low + high) / 2, (high - low) / 2]).double()
        # Central differences have error step^2.
        assert float(gelu_bend(centre, radius)) == pytest.approx(float(inside), abs=2e-4)


@LIMITS
@given(
    seed=st.integers(0, 10**6),
    d=st.integers(2, 6),
    size=st.floats(1e-3, 30),
    mix=st.floats(0, 1),
)
def test_layer_norms_remainder_stays_below_its_bend(
    seed: int, d: int, size: float, mix: float
) -> None:
    g = torch.Generator().manual_seed(seed)
    y, v = torch.randn(2, 200, d, generator=g, dtype=torch.float64)
    y, v = y - y.mean(1, keepdim=True), v - v.mean(1, keepdim=True)
    # Towards the origin, where the direction turns fastest.
    v = size * (mix * v - (1 - mix) * y)
    for eps in (1e-5, 0.3):
        norm = torch.nn.LayerNorm(d, eps=eps, elementwise_affine=False).double()
        tangent_part: Tensor = torch.func.jvp(norm, (y,), (v,))[1]
        left = torch.linalg.vector_norm(norm(y + v) - norm(y) - tangent_part, dim=1)
        length, h = torch.linalg.vector_norm(y, dim=1), torch.linalg.vector_norm(v, dim=1)
        limit = normalisation_bend(length, h, d, eps) * h**2
        # Relative rounding of the three terms, of order |tangent|.
        slack = 1e-12 * (1.0 + torch.linalg.vector_norm(tangent_part, dim=1))
        assert (left <= limit + slack).all()


def test_spectral_norms_are_bounds_from_above() -> None:
    matrices = torch.randn(50, 7, 5, generator=torch.Generator().manual_seed(0)).double()
    exact = torch.linalg.matrix_norm(matrices, 2)
    ratio = spectral_norms(matrices) / exact
    # Rank 5: at most 5^(1/32) too much.
    assert ratio.min() >= 1.0 and ratio.max() <= 5 ** (1 / 32)
    assert float(spectral_norms(torch.zeros(1, 3, 3).double())) == 0.0


@LIMITS
@given(seed=st.integers(0, 10**6), k=st.integers(1, 8), budget=st.floats(0, 5))
def test_fill_solves_its_linear_programme(seed: int, k: int, budget: float) -> None:
    w, caps = np.random.default_rng(seed).random((2, k))
    best = -linprog(-w, A_ub=np.ones((1, k)), b_ub=[budget], bounds=[(0, cap) for cap in caps]).fun
    found = fill(torch.from_numpy(w), torch.from_numpy(caps), torch.tensor(budget).double())
    # The solver's own tolerance.
    assert float(found) == pytest.approx(best, abs=1e-7)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_operators_bound_what_the_dense_matrix_does(name: str, both: bool) -> None:
    network = make(name, {"feedthrough": True, "bidirectional": both})
    layer = double_copy(network).ssm_layers()[0]
    operator = time_operator(layer, L)
    K = operator.kernel if operator.kernel.ndim == 3 else torch.diag_embed(operator.kernel)
    none, early = torch.zeros(D, D), operator.early
    rows = [[K[i - j + early] if i >= j - early else none for j in range(L)] for i in range(L)]
    dense = torch.cat([torch.cat(row, 1) for row in rows]).double()
    u = torch.randn(L, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose((dense @ u.flatten()).reshape(L, D), layer(u[None])[0], atol=ROUNDING)
    norm = float(torch.linalg.matrix_norm(dense, 2))
    assert norm <= operator.norm * (1 + ROUNDING)
    if operator.kernel.ndim == 2:
        assert operator.norm == pytest.approx(norm, rel=ROUNDING)
        one = operator.kernel[:, 1].numpy()
        matrix = toeplitz(one[early:], one[early::-1] if both else np.zeros(L))
        assert float(operator.gains[1]) == pytest.approx(np.linalg.norm(matrix, 2), rel=ROUNDING)
    entries = (dense.abs() @ u.abs().flatten()).reshape(L, D)
    assert torch.allclose(operator.magnitudes(u.abs()), entries, atol=ROUNDING)
    reach = torch.linalg.vector_norm(dense, dim=1).reshape(L, D)
    assert torch.allclose(operator.reach, reach, atol=ROUNDING)
    steps = torch.linalg.vector_norm(layer(u[None])[0], dim=1)
    inputs = torch.linalg.vector_norm(u, dim=1)
    assert (steps <= operator.steps(inputs) + ROUNDING).all()
    by_step = torch.linalg.matrix_norm(dense.reshape(L, D, L * D), 2)
    assert (by_step <= operator.step_reach + ROUNDING).all()


@pytest.mark.parametrize("channels", (1, 2))
def test_bounds_of_small_inputs_survive_a_large_one(channels: int) -> None:
    """The rounding of an FFT is relative to the largest entry, and part of the bound."""
    kernel = (0.5 ** torch.arange(16.0, dtype=torch.float64))[:, None].expand(16, channels)
    bound = torch.ones(16, channels, dtype=torch.float64)
    bound[-1] = 1e20
    # 1, 1.5, 1.75, 1.875, ...
    truth = 2.0 - kernel
    truth[-1] += 1e20
    own = TimeOperator(kernel, 2.0, torch.ones(channels).double())
    mixed = TimeOperator(torch.diag_embed(kernel), 2.0, torch.ones(channels).double())
    for operator in (own, mixed):
        assert (operator.magnitudes(bound) >= truth).all()
        assert (operator.steps(bound[:, 0]) >= truth[:, 0]).all()
        # No more is added than 1e-12 of the largest.
        assert (operator.magnitudes(bound) <= truth + 1e8).all()


def test_a_flat_network_has_a_radius() -> None:
    """Gates shut at the sample: the slope says nothing about where they open."""
    network = make("s4d", {"norm": "batch", "layers": 1}).double()
    block = network.blocks[0]
    assert isinstance(block, Block)
    with torch.no_grad():
        block.output.bias[D:] = -200.0
        block.output.weight *= 0.1
    x, labels = sample(network)
    at = tangent(Setting(network, L, MODES), x[0], int(labels[0]))
    assert at is not None and at.slope < 1e-60
    assert certified_radii(network, x, labels, MODES)[0] > 0.1


@pytest.mark.parametrize("case", range(len(CASES)))
def test_bounds_hold_at_every_stage(case: int) -> None:
    at, x, label = at_case(case)
    network = at.setting.network
    c = directions(at, x, label)
    delta = signal(at, c)
    several = x.repeat(len(c), 1, 1)
    with torch.no_grad():
        still = states(network, several)
    linear: tuple[Tensor, ...] = torch.func.jvp(lambda v: states(network, v), (several,), (delta,))[
        1
    ]
    others = torch.arange(still[-1].shape[1]) != label
    margin = (still[-1][:, label, None] - still[-1])[:, others]
    first = (linear[-1][:, label, None] - linear[-1])[:, others] / margin
    for r in (0.003, 0.05, 0.4):
        slope, form, rest = spent(at, r)
        with torch.no_grad():
            moved = states(network, several + r * delta)
        left = [b - a - r * j for a, b, j in zip(still, moved, linear, strict=True)]
        for number, (own, bound) in enumerate(
            zip(left[:-1], at.remainders(r).outputs, strict=True)
        ):
            step = torch.linalg.vector_norm(own, dim=2)
            total = torch.linalg.vector_norm(step, dim=1)
            assert (own.abs() <= bound.entry + ROUNDING).all(), (r, number)
            assert (step <= bound.step + ROUNDING).all(), (r, number)
            assert (total <= bound.total + ROUNDING).all(), (r, number)
        change = (left[-1][:, label, None] - left[-1])[:, others]
        assert ((change / margin).abs() <= (form * r + rest) ** 2 + ROUNDING).all(), r
        # The worst direction of the tangent is among those tried.
        assert float(first.abs().max()) == pytest.approx(slope, rel=1e-9)


@LIMITS
@given(t=st.floats(0.05, 1.0), case=st.integers(0, len(CASES) - 1))
def test_what_is_proved_at_r_says_what_smaller_radii_spend(t: float, case: int) -> None:
    at, _, _ = at_case(case)
    r = 0.1
    s, f, rest = spent(at, r)
    s_t, f_t, rest_t = spent(at, t * r)
    # The weights that split sums are chosen anew at each r, which may cost a little.
    assert s_t == s and f_t <= 1.05 * f and rest_t <= 1.05 * t**2 * rest


@pytest.mark.parametrize(("name", "options"), CASES)
def test_no_attack_succeeds_within_the_radius(name: str, options: dict[str, object]) -> None:
    for seed in range(2):
        network = make(name, options, seed)
        x, labels = sample(network, seed, count=1)
        radii = certified_radii(network, x, labels, MODES)
        assert (radii > 0.0).all()
        assert attacked(network, x, labels, torch.from_numpy(radii)) > 0.0


def attacked(network: Network, x: Tensor, labels: Tensor, radii: Tensor, steps: int = 30) -> float:
    """Return the least margin that projected gradient descent finds on the sphere, three times."""
    twin, Q = double_copy(network), fourier_basis(L, MODES)
    least = math.inf
    x, labels, radii = x.repeat(3, 1, 1), labels.repeat(3), radii.repeat(3)
    g = torch.Generator().manual_seed(0)
    c = torch.randn(len(x), x.shape[2], Q.shape[1], generator=g, dtype=torch.float64)
    for _ in range(steps):
        norm = torch.linalg.vector_norm(c.flatten(1), dim=1)
        c = (c * (radii / norm)[:, None, None]).requires_grad_()
        logits = twin(x + torch.einsum("tm,bam->bta", Q, c))
        others = logits.scatter(1, labels[:, None], -math.inf).amax(1)
        margin = logits.gather(1, labels[:, None])[:, 0] - others
        least = min(least, float(margin.detach().min()))
        (slope,) = torch.autograd.grad(margin.sum(), c)
        size = torch.linalg.vector_norm(slope.flatten(1), dim=1)[:, None, None]
        c = c.detach() - 0.5 * radii[:, None, None] * slope / size.clamp(min=1e-300)
    return least


def test_radii_are_within_the_tolerance_of_what_can_be_proved() -> None:
    at, _, _ = at_sample("s4d", {})
    fine, coarse = module.search(at, 1e-4), module.search(at, 0.1)
    assert (1 - 0.1) * fine <= coarse <= fine * (1 + 1e-4)
    slope, form, rest = spent(at, fine * (1 + 2e-4))
    r = fine * (1 + 2e-4)
    assert slope * r + (form * r + rest) ** 2 >= 1.0


def test_narrower_bands_have_larger_radii() -> None:
    network = make("s4d", {})
    x, labels = sample(network, count=4)
    wide = certified_radii(network, x, labels, range(0, 11), tolerance=1e-3)
    narrow = certified_radii(network, x, labels, range(3, 6), tolerance=1e-3)
    single = certified_radii(network, x, labels, [4], tolerance=1e-3)
    # Each is known to the tolerance.
    assert (narrow >= wide * (1 - 1e-3)).all() and (single >= narrow * (1 - 1e-3)).all()


def test_radii_have_the_inputs_unit() -> None:
    network = make("s4d", {"layers": 1})
    x, labels = sample(network)
    mean, std = network.mean.clone(), network.std.clone()
    before = certified_radii(network, x, labels, MODES, tolerance=1e-4)
    for scale in np.array([0.01, 0.3, 7.7, 100.0], dtype=np.float32).tolist():
        network.mean.copy_(scale * mean)
        network.std.copy_(scale * std)
        after = certified_radii(network, scale * x, labels, MODES, tolerance=1e-4)
        # Tolerance of both, and float32 buffers.
        np.testing.assert_allclose(after, scale * before, rtol=3e-4)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_near_a_boundary_the_radius_is_margin_over_gradient(
    name: str, options: dict[str, object]
) -> None:
    network = make(name, {**options, "d_output": 2}).double()
    x, labels = sample(network)
    label = int(labels[0])
    with torch.no_grad():
        logits = network(x)[0]
        network.decoder.bias[label] -= logits[label] - logits[1 - label] - 1e-9
    v = x.clone().requires_grad_()
    logits = network(v)[0]
    margin = logits[label] - logits[1 - label]
    (g,) = torch.autograd.grad(margin, v)
    exact = float(margin.detach()) / float(
        torch.linalg.vector_norm(fourier_basis(L, MODES).T @ g[0])
    )
    (found,) = certified_radii(network, x, labels, MODES, tolerance=1e-4)
    # The tolerance, and a margin of 1e-9 that is a difference of numbers of order one.
    assert exact * (1 - 2e-4) <= found <= exact * (1 + 1e-6)


def test_samples_that_are_wrong_have_radius_zero_and_the_network_stays() -> None:
    network = make("s4d", {})
    x, labels = sample(network, count=3)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    radii = certified_radii(network, x.float(), (labels + 1) % 3, MODES)
    assert (radii == 0.0).all()
    after = network.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in state.items())
    assert all(p.dtype == torch.float32 and p.requires_grad for p in network.parameters())


def test_global_bound_names_the_block_without_a_constant() -> None:
    network = make("s4d", {})
    x, labels = sample(network)
    with pytest.raises(UsageError, match="block 0 glu has no global Lipschitz constant"):
        certified_radii(network, x, labels, MODES, bound="global")
    notes = certificate_notes(network, L)
    assert "no global constant" in notes[0] and notes[0].startswith("block 0 glu")


@pytest.mark.parametrize("name", ("s4d", "s5"))
def test_global_bound_holds_where_every_block_has_a_constant(name: str) -> None:
    network = make(name, {"prenorm": True, "residual": True})
    x, labels = sample(network, count=4)
    radii = certified_radii(network, x, labels, MODES, bound="global")
    assert (radii > 0.0).all()
    assert attacked(network, x, labels, torch.from_numpy(radii)) > 0.0
    twin, constant = double_copy(network), features_constant(network, L)
    for size in (1e-3, 1.0, 100.0):
        v = size * torch.randn(4, L, 1, dtype=torch.float64)
        with torch.no_grad():
            last = [trace(twin, each)[1][-1].mean(1) for each in (x, x + v)]
        moved = torch.linalg.vector_norm(last[1] - last[0], dim=1)
        assert (moved <= constant * torch.linalg.vector_norm(v.flatten(1), dim=1)).all()
    table = {part.name: part.constant for part in lipschitz_table(network, L)}
    block = network.blocks[1]
    assert isinstance(block, Block)
    assert table["block 1 gelu"] == GELU_LIPSCHITZ
    assert table["pooling"] == pytest.approx(L**-0.5)


def test_basis_spans_the_bins() -> None:
    for length in (7, 8):
        Q = fourier_basis(length, range(length // 2 + 1))
        assert torch.allclose(Q.T @ Q, torch.eye(length).double(), atol=ROUNDING)
        Q = fourier_basis(length, [2])
        spectrum = torch.fft.rfft(Q, dim=0).abs()
        assert float(spectrum[torch.arange(len(spectrum)) != 2].max()) < ROUNDING


def test_mistakes_are_named() -> None:
    network = make("s4d", {})
    x, labels = sample(network)
    for modes in ([], [3, 3], [-1, 2], [L]):
        with pytest.raises(UsageError, match="modes"):
            certified_radii(network, x, labels, modes)
    with pytest.raises(ShapeError, match="expected"):
        certified_radii(network, x[0], labels, MODES)
    with pytest.raises(UsageError, match="bound is 'best'"):
        certified_radii(network, x, labels, MODES, bound="best")
    with pytest.raises(UsageError, match="tolerance"):
        certified_radii(network, x, labels, MODES, tolerance=0.0)
    with pytest.raises(UsageError, match="length"):
        lipschitz_table(network, 0)
    network.blocks[1].ssm = torch.nn.Linear(D, D)
    with pytest.raises(UsageError, match="block 1 is a Linear"):
        certified_radii(network, x, labels, MODES)
    with pytest.raises(UsageError, match="model is a Linear"):
        certified_radii(torch.nn.Linear(1, 1), x, labels, MODES)  # type: ignore[arg-type]


def test_arithmetic_of_bounds() -> None:
    entry = torch.tensor([[3.0, 4.0], [0.0, 12.0]]).double()
    bound = Remainder(entry, total=torch.tensor(5.0).double())
    assert bound.step.tolist() == [5.0, 5.0] and float(bound.entry[1, 1]) == 5.0
    # t + (2 t)^2 = 1.
    exact = (-1 + math.sqrt(17)) / 8
    assert largest_radius(1.0, 2.0, 0.0, 1.0) == pytest.approx(exact, rel=1e-12)
    assert largest_radius(1.0, math.inf, 0.0, 1.0) == 0.0
