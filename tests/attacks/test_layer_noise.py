"""Noise inside a network's program: against the same noise in float64, sample by sample."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from robustssm import philox
from robustssm.attacks import Budget, Delivered, kept
from robustssm.attacks.injection import LayerNoise
from robustssm.errors import UsageError
from robustssm.networks.network import Architecture, build_network
from robustssm.philox import counted_words, dense_tensor, long_word_tensors
from tests.attacks.cases import CASES, Case

INSIDE = [
    case
    for case in CASES
    if "layers" in case.perturbation.sites and "frequency_unit='hz'" not in case.text
]
NETWORK = build_network(Architecture("s4d", d_model=6, layers=2)).eval()
UNITS = {"rms": 0.3, "l2": 2.0, "linf": 0.2, "snr-db": 14.0}


def noise(
    case: Case, ids: np.ndarray, unit: str, clip: str = "none", lengths: torch.Tensor | None = None
) -> LayerNoise:
    low, high = (-1.0, 1.5) if clip != "none" else (-np.inf, np.inf)
    budget = Budget(UNITS.get(unit, 0.7), unit, clip, low, high)
    return LayerNoise(
        NETWORK, case.perturbation, budget, ids, 5, lengths=lengths, delivered=Delivered(len(ids))
    )


def blocks(count: int, L: int, rows: int, seed: int) -> torch.Tensor:
    """Return inputs as a program has them: (channels, blocks of rows, steps with room behind)."""
    generator = torch.Generator().manual_seed(seed)
    whole = torch.zeros(6, -(-count // rows) * rows, L + 13)
    whole[..., :L] = torch.rand(*whole.shape[:2], L, generator=generator) * 2.0 - 0.75
    whole[:, count:] = whole[:, count - 1 : count]
    return whole


def changed(own: LayerNoise, whole: torch.Tensor, L: int, rows: int) -> torch.Tensor:
    """Return layer 1's input changed block by block, (samples, length, channels)."""
    whole, count = whole.clone(), len(own.sample_id)
    for start in range(0, count, rows):
        seen = whole[:, start : start + rows, :L].permute(1, 2, 0)
        after = own.change(1, seen, start)
        seen[: len(after)] = after
    own.book(whole.dtype)
    assert not whole[..., L:].any()
    return whole[:, :count, :L].permute(1, 2, 0)


@given(
    case=st.sampled_from(INSIDE),
    unit=st.sampled_from([*UNITS, "own"]),
    clip=st.sampled_from(["none", "none", "hard", "rescale"]),
    L=st.sampled_from([64, 63]),
    seed=st.integers(0, 9),
)
@settings(max_examples=120, deadline=None)
def test_it_is_the_noise_of_float64(case: Case, unit: str, clip: str, L: int, seed: int) -> None:
    L = L if L in case.lengths else case.lengths[0]
    unit = case.perturbation.default_unit("layers") if unit == "own" else unit
    ids = np.array([3, 2**40, 7, 0, 12])
    own, whole = noise(case, ids, unit, clip), blocks(5, L, 2, seed)
    after = changed(own, whole, L, 2).double()
    x = whole[:, :5, :L].permute(1, 2, 0).double().contiguous()
    expected = case.perturbation.perturb(x, None, ids, 5, budget=own.budget, site=own.sites[1])
    delta, size = after - x, (expected - x).square().sum((1, 2)).sqrt()
    # Rounding of the signal, of transforms, and of steps of 24 bits.
    error = (after - expected).square().sum((1, 2)).sqrt()
    assert bool((error <= 2e-5 * size + 1e-5).all())
    booked = Delivered(5)
    booked.add(x, expected, case.perturbation, own.sites[1])
    assert own.delivered is not None
    for name in ("l2", "largest", "rms", "snr_db", "share"):
        found, reference = (getattr(one, name) for one in (own.delivered, booked))
        np.testing.assert_allclose(found, reference, rtol=3e-5, err_msg=name)
    assert np.array_equal(own.delivered.count, booked.count)
    if clip == "none" and unit in UNITS and (case.perturbation.fills or unit != "linf"):
        wanted = own.budget.target(x, "").numpy()
        sizes = own.budget.norm.size(delta, None).numpy()
        np.testing.assert_allclose(sizes, wanted, rtol=2e-6)


@pytest.mark.parametrize("case", INSIDE, ids=lambda case: case.text)
def test_a_sample_is_the_same_in_any_block(case: Case) -> None:
    L, ids = case.lengths[0], np.arange(37) * 5
    unit = case.perturbation.default_unit("layers")
    everything, whole = noise(case, ids, unit), blocks(37, L, 2, 0)
    together = changed(everything, whole, L, 2)
    rows = np.array([36, 5, 20])
    part = noise(case, ids[rows], unit)
    some = torch.cat([whole[:, rows], whole[:, [20]]], dim=1)
    assert torch.equal(changed(part, some, L, 2), together[rows])
    assert everything.delivered is not None and part.delivered is not None
    for name in ("energy", "signal", "largest", "in_band"):
        found, reference = (getattr(one.delivered, name) for one in (part, everything))
        assert np.array_equal(found, reference[rows]), name


@pytest.mark.parametrize("case", INSIDE, ids=lambda case: case.text)
def test_strengths_share_what_is_drawn(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later strength draws nothing, and is what it is alone; so it is where little is kept."""
    L, ids = case.lengths[0], np.arange(9) * 7
    first, own = (noise(case, ids, unit) for unit in ("rms", "l2"))
    whole, asked = blocks(9, L, 2, 3), []
    for name in ("dense_tensor", "uniform_tensor"):
        drawn = getattr(philox, name)

        def recorded(*arguments: object, drawn: Callable[..., object] = drawn) -> object:
            asked.append(arguments)
            return drawn(*arguments)

        monkeypatch.setattr(philox, name, recorded)
    monkeypatch.setattr(kept, "_values", {})
    alone = changed(own, whole, L, 2)
    monkeypatch.setattr(kept, "_values", {})
    changed(first, whole, L, 2)
    asked.clear()
    assert torch.equal(changed(own, whole, L, 2), alone)
    if case.perturbation.free:
        assert asked == []
    for most in (0, 4 * L * 6 * 3):
        monkeypatch.setattr(kept, "_values", {})
        monkeypatch.setattr(kept, "MOST", most)
        for strength in (first, own, own):
            after = changed(strength, whole, L, 2)
            assert sum(size for _, size in kept._values.values()) <= most
        assert torch.equal(after, alone)


@pytest.mark.parametrize("case", INSIDE, ids=lambda case: case.text)
def test_what_is_free_depends_on_no_value(case: Case) -> None:
    L, ids = case.lengths[0], np.arange(3)
    x = blocks(3, L, 3, 1)[..., :L].permute(1, 2, 0)
    site = replace(noise(case, ids, "rms").sites[1], length=L)
    one, other = (case.perturbation.direction(of, ids, 5, site) for of in (x, x.square() - 1.0))
    assert torch.equal(one, other) == case.perturbation.free


def test_what_cannot_be_done_is_refused() -> None:
    case = next(case for case in INSIDE if case.text == "Fourier(5)")
    broken = blocks(4, 64, 2, 0)
    broken[2, 3, 7] = torch.nan
    with pytest.raises(UsageError, match="the input holds NaN"):
        changed(noise(case, np.arange(4), "rms"), broken, 64, 2)
    own = noise(case, np.arange(4), "rms")
    loud = replace(own, budget=Budget(1e39, "rms"))
    with pytest.raises(UsageError, match="float32 cannot hold"):
        changed(loud, blocks(4, 64, 2, 0), 64, 2)
    silent = replace(own, budget=Budget(20.0, "snr-db"))
    with pytest.raises(UsageError, match="sample 2 is silent"):
        changed(silent, blocks(4, 64, 2, 0) * (torch.arange(4) != 2)[:, None], 64, 2)


# Known answers of Random123 1.09, kat_vectors, philox4x64 10 rounds.
KNOWN = [
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
    ),
    (
        (2**64 - 1,) * 4,
        (2**64 - 1,) * 2,
        (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_published_words(
    counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]
) -> None:
    signed = torch.from_numpy(np.array(counter, np.uint64).view(np.int64))
    found = long_word_tensors(signed, key).numpy().view(np.uint64)
    assert tuple(found.tolist()) == words


def test_numpys_words_are_those_of_the_counters() -> None:
    ids, key = np.array([0, 7, 2**40]), 2**127 + 12345
    found = counted_words(key, torch.from_numpy(ids), 5)
    for row, sample in zip(found.numpy().view(np.uint64), ids, strict=True):
        generator = np.random.Philox(key=key, counter=[0, 0, sample, 0])
        assert np.array_equal(row, generator.random_raw(20))


def test_dense_draws_depend_on_their_sample_alone() -> None:
    ids = np.array([0, 7, 2**40])
    together = dense_tensor("key", ids, 29)
    alone = torch.cat([dense_tensor("key", ids[k : k + 1], 29) for k in range(3)])
    assert torch.equal(together, alone)
    assert torch.equal(together, dense_tensor("key", ids, 40)[:, :29])
    draws = dense_tensor("key", np.arange(100), 1000).numpy()
    assert draws.min() >= 0.0 and draws.max() < 1.0
    assert stats.kstest(draws.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(draws[:, :-1].ravel(), draws[:, 1:].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("case", INSIDE, ids=lambda case: case.text)
def test_what_draws_densely_says_so(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells of earlier versions, with other draws, have other names: no sweep takes them over."""
    asked = []

    def recorded(*arguments: object) -> torch.Tensor:
        asked.append(arguments)
        return dense_tensor(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(philox, "dense_tensor", recorded)
    monkeypatch.setattr(kept, "_values", {})
    own = noise(case, np.arange(4), case.perturbation.default_unit("layers"))
    L = case.lengths[0]
    changed(own, blocks(4, L, 4, 0), L, 4)
    assert bool(asked) == case.perturbation.dense
