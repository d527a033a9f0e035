"""The evaluation program: the network's own logits, and bits that depend on the sample alone."""

import copy
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.attacks import (
    BandNoise,
    Budget,
    Discretization,
    Resonance,
    Site,
    StepSize,
    perturbed_logits,
)
from robustssm.attacks.injection import LayerNoise
from robustssm.errors import ShapeError, UsageError
from robustssm.hippo.initializations import EVERY
from robustssm.networks.inference import logits, padded, program
from robustssm.networks.network import Architecture, Network, build_network
from robustssm.networks.program import Program, block_rows

# Logits of order 1. float32: 6e-8 a rounding, a few hundred of them at random in what reaches a
# logit; float64: the same of 1e-16, times a condition of up to 100.
CLOSE = {torch.float32: 1e-5, torch.float64: 1e-12}
DTYPES = [torch.float32, torch.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
OPTIONS: list[dict[str, Any]] = [
    {"prenorm": prenorm, "norm": norm, "residual": residual, "d_input": d_input}
    for prenorm, norm, residual, d_input in product(
        (False, True), ("layer", "batch"), (False, True), (1, 3)
    )
]
# The dtype is the parity of the four options: any three of them meet each dtype in every way.
options_and_dtypes = pytest.mark.parametrize(
    ("options", "dtype"),
    [(options, DTYPES[number.bit_count() % 2]) for number, options in enumerate(OPTIONS)],
    ids=str,
)


def make(name: str, dtype: torch.dtype, **options: Any) -> Network:
    """Return a network none of whose parameters is one or zero."""
    network = build_network(Architecture(name, **{"n": 8, "d_model": 6, "layers": 2, **options}))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        for key, buffer in network.named_buffers():
            if "running" in key or key in ("mean", "std"):
                buffer.add_(0.5 * torch.rand(buffer.shape, generator=generator))
    return network.eval().to(dtype)


def inputs(network: Network, count: int, L: int) -> torch.Tensor:
    shape = count, L, network.architecture.d_input
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return x.to(network.mean.dtype)


def ends(count: int, L: int) -> torch.Tensor:
    return torch.randint(1, L + 1, (count,), generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def forward(network: Network, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
    return network(x, lengths)


def assert_own(network: Network, x: torch.Tensor, lengths: torch.Tensor | None = None) -> None:
    """The logits are those of the network, and a sample's bits those that it has alone."""
    whole = logits(network, x, lengths=lengths)
    atol = CLOSE[x.dtype]
    torch.testing.assert_close(whole, forward(network, x, lengths), rtol=atol, atol=atol)
    for size in (7, 64) if len(x) > 20 else (1, 7):
        assert torch.equal(logits(network, x, size, lengths), whole)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(4))
    own = None if lengths is None else lengths[order]
    assert torch.equal(logits(network, x[order], 5, own), whole[order])


@every_dtype
@pytest.mark.parametrize("L", [1, 2, 64, 100, 255, 784, 1000])
@pytest.mark.parametrize("name", ["s4d", "s5"])
def test_every_length(name: str, L: int, dtype: torch.dtype) -> None:
    network = make(name, dtype)
    assert_own(network, inputs(network, 70 if L <= 100 else 15, L))


@every_dtype
@pytest.mark.parametrize("d_input", [1, 3])
@pytest.mark.parametrize("name", [*EVERY, "dss:kernel=exp"])
def test_every_layer(name: str, d_input: int, dtype: torch.dtype) -> None:
    for feedthrough in (False, True):
        network = make(name, dtype, d_input=d_input, feedthrough=feedthrough)
        assert_own(network, inputs(network, 20, 90))


@options_and_dtypes
@pytest.mark.parametrize("name", ["s4d", "s5"])
def test_every_option(name: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    for pooling in ("mean", "last"):
        network = make(name, dtype, pooling=pooling, feedthrough=True, **options)
        x = inputs(network, 9, 75)
        assert_own(network, x)
        assert_own(network, x, ends(9, 75))


@every_dtype
def test_wide_networks_and_a_single_channel(dtype: torch.dtype) -> None:
    for width in (1, 2, 128):
        network = make("s4d", dtype, d_model=width, layers=3)
        assert_own(network, inputs(network, 9, 96))


@given(
    width=st.integers(1, 40),
    L=st.integers(1, 130),
    count=st.integers(1, 80),
    chosen=st.integers(0, 10**6),
)
@settings(max_examples=40, deadline=None)
def test_a_sample_among_others_and_alone(width: int, L: int, count: int, chosen: int) -> None:
    network = make("s4d", torch.float32, d_model=width, layers=1)
    x, row = inputs(network, count, L), chosen % count
    assert torch.equal(logits(network, x)[row], logits(network, x[row : row + 1])[0])


@pytest.mark.parametrize("name", EVERY)
def test_the_recurrence_gives_the_same_logits(name: str) -> None:
    """The third route, step by step through the states, without any FFT."""
    network = make(name, torch.float64, feedthrough=True, residual=True)
    x = inputs(network, 3, 60)
    stepwise = copy.deepcopy(network)
    for layer in stepwise.ssm_layers():
        layer.forward = layer.recurrence  # type: ignore[method-assign]
    found, expected = logits(network, x), forward(stepwise, x)
    # As convolution and recurrence of the layers: 1e-11, over two of them.
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@options_and_dtypes
def test_layers_are_perturbed_as_in_the_network(
    options: dict[str, Any], dtype: torch.dtype
) -> None:
    network = make("s4d", dtype, **options)
    x, ids = inputs(network, 70, 60), np.arange(70) * 3 + 1
    for p in (BandNoise(2, 9), Resonance(40.0)):
        for lengths in (None, ends(70, 60).clamp(min=30)):

            def sent(rows: list[int], lengths: Any = lengths, p: Any = p) -> Any:
                own = None if lengths is None else lengths[rows]
                return perturbed_logits(
                    network, x[rows], p, Budget(0.2, "rms"), ids[rows], 5,
                    inject="layers", site=Site(), lengths=own,
                )  # fmt: skip

            whole, delivered = sent(list(range(70)))
            with (
                torch.no_grad(),
                LayerNoise(network, p, Budget(0.2, "rms"), ids, 5, lengths=lengths).hooked(),
            ):
                expected = network(x, lengths)
            atol = CLOSE[dtype]
            torch.testing.assert_close(whole, expected, rtol=10.0 * atol, atol=10.0 * atol)
            # The budget is met in every layer: to float32's rounding of the signal.
            np.testing.assert_allclose(delivered.rms, 0.2, rtol=1e-6)
            rows = [69, 3, 33]
            some, part = sent(rows)
            assert torch.equal(some, whole[rows])
            assert np.array_equal(part.energy, delivered.energy[rows])


@options_and_dtypes
def test_changing_nothing_changes_nothing(options: dict[str, Any], dtype: torch.dtype) -> None:
    network = make("s5", dtype, feedthrough=True, **options)
    x = inputs(network, 5, 40)
    same = program(network, x, changing=True).logits(x, change=lambda number, u, start: u.clone())
    torch.testing.assert_close(same, logits(network, x), rtol=CLOSE[dtype], atol=CLOSE[dtype])
    nothing = Budget(0.0, "rms")
    found, _ = perturbed_logits(
        network, x, BandNoise(2, 9), nothing, np.arange(5), 0, inject="layers", site=Site()
    )
    assert torch.equal(found, logits(network, x))


def test_any_change_of_the_network_is_noticed() -> None:
    network = make("s4d", torch.float32, norm="batch", feedthrough=True)
    x = inputs(network, 4, 32)
    running = dict(network.named_buffers())["blocks.0.norm.norm.running_var"]
    last = program(network, x)
    assert program(network, x) is last and program(network, x[:1]) is last
    seen = [logits(network, x)]
    for tensor in [*network.parameters(), network.mean, running]:
        # Past the version counter of autograd, too.
        tensor.data.mul_(1.01)
        assert program(network, x) is not last
        last = program(network, x)
        expected = forward(network, x)
        torch.testing.assert_close(logits(network, x), expected, rtol=1e-5, atol=1e-5)
        seen.append(logits(network, x))
    assert all(not torch.equal(a, b) for a, b in pairwise(seen))
    network.ssm_layers()[0].discretization = "bilinear"
    assert program(network, x) is not last


def test_a_changed_model_is_not_the_clean_one_afterwards() -> None:
    network = make("s4d", torch.float32)
    x = inputs(network, 4, 32)
    clean = logits(network, x)
    for change, budget in (
        (StepSize(), Budget(1.0, "octaves")),
        (Discretization("bilinear"), Budget(1.0, "mix")),
    ):
        with change.applied(network, budget):
            inside = logits(network, x)
            torch.testing.assert_close(inside, forward(network, x), rtol=1e-5, atol=1e-5)
        assert not torch.equal(inside, clean)
        assert torch.equal(logits(network, x), clean)


def test_evaluation_reads_only() -> None:
    network = make("s4d", torch.float32, norm="batch", dropout=0.5).train()
    x = inputs(network, 9, 32)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    given, rng, threads = x.clone(), torch.random.get_rng_state(), torch.get_num_threads()
    found = logits(network, x)
    assert torch.equal(found, logits(copy.deepcopy(network).eval(), x))
    assert network.training and torch.equal(x, given) and not found.requires_grad
    assert torch.equal(torch.random.get_rng_state(), rng) and torch.get_num_threads() == threads
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])


def test_the_number_of_threads_changes_no_bit() -> None:
    network = make("s4d", torch.float32, d_model=33)
    x = inputs(network, 40, 255)
    found, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(Program(network, 255).logits(x))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_samples_do_not_reach_each_other() -> None:
    """NaN and infinite neighbours in the block leave a sample as it is."""
    network = make("s5", torch.float32)
    x = inputs(network, 5, 40)
    expected = logits(network, x)
    x[1], x[3] = torch.nan, torch.inf
    found = logits(network, x)
    assert torch.equal(found[[0, 2, 4]], expected[[0, 2, 4]])
    assert not found[[1, 3]].isfinite().any()


def test_blocks_do_not_grow_with_the_model() -> None:
    cpu = torch.device("cpu")
    for channels, L in ((1, 1), (32, 256), (128, 1024), (4096, 100_000)):
        rows = block_rows(channels, L, cpu)
        assert 1 <= rows <= 64 and (rows == 1 or rows * channels * L <= 1 << 18)


class Sum(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not self.training and len(x) % 16 == 0
        return x.sum(1)


def test_another_module_is_called_as_it_is() -> None:
    module, x = Sum().train(), torch.randn(70, 9, 2)
    assert torch.equal(logits(module, x), padded(x).sum(1)[:70])
    assert module.training


def test_bad_input() -> None:
    network = make("s4d", torch.float32, d_input=2)
    x = inputs(network, 3, 20)
    for wrong in (x[0], x[..., :1], x[:, :0]):
        with pytest.raises(ShapeError, match=r"expected \(batch, length, 2\)"):
            logits(network, wrong)
    with pytest.raises(ShapeError, match=r"expected \(batch, 20, 2\)"):
        Program(network, 20).logits(x[:, :9])
    with pytest.raises(UsageError, match="input is float64, its weights are float32; convert"):
        logits(network, x.double())
    for lengths in ([1, 2], [0, 3, 4], [1, 2, 21]):
        with pytest.raises(UsageError, match=r"lengths run from .* expected one for each of 3"):
            logits(network, x, lengths=torch.tensor(lengths))
    assert logits(network, x[:0]).shape == (0, 10)
