"""What holds for every perturbation, whatever it does: one table of cases, all of the contract."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from robustssm.attacks import Budget, Delivered, Site, fingerprint
from robustssm.attacks.base import Perturbation
from robustssm.attacks.expressions import parse_expression
from robustssm.attacks.units import UNITS
from robustssm.errors import UsageError
from robustssm.hippo.initializations import initialization
from robustssm.layers import S4D
from robustssm.testing import check_perturbation
from tests.attacks.cases import CASES, DEVICES, Case, named_bins, signal

SHAPES = [(case, L) for case in CASES for L in case.lengths]
IDS = [f"{case.text}, L={L}" for case, L in SHAPES]
every_case = pytest.mark.parametrize(("case", "L"), SHAPES, ids=IDS)
# `direction` sees float64 whatever the signal is, so that the dtype tells only where rounding to it
# does: in what is delivered.
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
every_device = pytest.mark.parametrize("device", DEVICES)
EPS = {"std": 0.3, "rms": 0.3, "l2": 2.0, "linf": 0.2, "snr-db": 14.0, "mix": 0.7}
SAMPLES = np.array([3, 2**40, 7, 0, 12])


def at(site: Site, device: str) -> Site:
    """Return the site with its tensors on a device."""
    moved = {
        key: value.to(device)
        for key in ("scale", "dt")
        if (value := getattr(site, key)) is not None
    }
    return replace(site, **moved)


def units(perturbation: Perturbation, site: Site) -> list[str]:
    """Return the units in which a perturbation takes its strength at a site."""
    unit = perturbation.default_unit(site.name)
    names = [
        name
        for name, norm in UNITS.items()
        if not norm.of_family and (name != "std" or site.scale is not None)
    ]
    return names + (["mix"] if unit == "mix" else [])


def perturbed(
    case: Case,
    x: torch.Tensor,
    site: Site,
    unit: str | None = None,
    lengths: torch.Tensor | None = None,
    ids: np.ndarray = SAMPLES,
    seed: int = 0,
    eps: float | None = None,
) -> torch.Tensor:
    p = case.perturbation
    unit = unit or p.default_unit(site.name)
    budget = Budget(EPS[unit] if eps is None else eps, unit)
    return p.perturb(x, lengths, ids[: len(x)], seed, budget=budget, site=site)


@every_case
def test_no_strength_is_the_input_bit_for_bit(case: Case, L: int) -> None:
    x = signal(3, L, torch.float32)
    site = case.site(L)
    for unit in units(case.perturbation, site):
        assert torch.equal(perturbed(case, x, site, unit, eps=UNITS[unit].nothing), x)


@every_case
@every_device
def test_it_keeps_the_contract(case: Case, L: int, device: str) -> None:
    """Typed back, pure, the same in any batch, within its budget, blind to padding."""
    site = at(case.site(L), device)
    check_perturbation(case.perturbation, site, L, min(case.least_valid, L), device)


@every_case
def test_the_seed_decides_what_is_drawn(case: Case, L: int) -> None:
    x, site = signal(5, L), case.site(L)
    same = torch.equal(perturbed(case, x, site, seed=0), perturbed(case, x, site, seed=1))
    assert same != case.varies


@every_case
@every_dtype
def test_what_is_delivered_is_the_budget_in_every_unit(
    case: Case, L: int, dtype: torch.dtype
) -> None:
    p = case.perturbation
    x, site = signal(4, L, dtype), case.site(L)
    extended = p.extended(x)
    for unit in units(p, site):
        budget = Budget(EPS[unit], unit)
        after = perturbed(case, x, site, unit)
        delta = after.double() - extended.double()
        if unit == "mix":
            full = perturbed(case, x, site, "mix", eps=1.0).double() - extended.double()
            # Two roundings of values below 10 to dtype.
            slack = 20.0 * torch.finfo(dtype).eps
            torch.testing.assert_close(delta, 0.7 * full, rtol=1e-6, atol=slack)
            continue
        size = budget.norm.size(delta, site.scale)
        if not p.fills and unit == p.unit:
            assert bool((size <= budget.eps * (1.0 + 1e-6)).all())
            continue
        # float32 signals round by 6e-8 a value, at random.
        torch.testing.assert_close(size, budget.target(extended.double(), ""), rtol=1e-6, atol=0.0)


@every_case
@every_dtype
def test_the_energy_lies_in_the_named_band(case: Case, L: int, dtype: torch.dtype) -> None:
    x, site = signal(4, L, dtype), case.site(L)
    for lengths in (None, torch.tensor([L, case.least_valid, L, case.least_valid + 1])):
        if lengths is not None and case.least_valid >= L:
            continue
        delivered = Delivered(4)
        after = perturbed(case, x, site, lengths=lengths)
        delivered.add(x, after, case.perturbation, site, lengths)
        assert delivered.share.min() >= case.share
        # Energies are sums of squares: more than all would be an error of the accounting. At layers
        # the sums over steps are in the signal's dtype.
        slack = 1e-9 if site.layer is None else 30.0 * torch.finfo(dtype).eps
        assert (delivered.in_band <= (1.0 + slack) * delivered.energy).all()


@every_case
def test_a_whole_sample_changes_in_no_bins_but_those_named(case: Case, L: int) -> None:
    x, site = signal(4, L), case.site(L)
    delta = perturbed(case, x, site) - case.perturbation.extended(x)
    power = torch.fft.rfft(delta, dim=1).abs().square().sum((0, 2))
    outside = power.clone()
    outside[list(named_bins(case.perturbation, delta.shape[1]))] = 0.0
    # Rounding of values up to 10 in amplitude, squared: 1e-15 each, over 0.3 std.
    assert float(outside.sum()) <= 1e-26 * float(power.sum())


@every_case
def test_a_layer_treats_it_alike_in_convolution_and_in_recurrence(case: Case, L: int) -> None:
    x = perturbed(case, signal(2, L), case.site(L))
    layer = S4D(initialization("s4d", 8), 3).double().eval()
    with torch.no_grad():
        # Sums of up to 100 products of size one, in another order.
        torch.testing.assert_close(layer(x), layer.recurrence(x), rtol=1e-9, atol=1e-9)


@every_case
def test_the_fingerprint_knows_the_noise_and_not_the_order(case: Case, L: int) -> None:
    x, site = signal(4, L), case.site(L)
    after = perturbed(case, x, site)
    order = [2, 0, 3, 1]
    shuffled = perturbed(case, x[order], site, ids=SAMPLES[order])
    assert fingerprint(after, SAMPLES[:4]) == fingerprint(shuffled, SAMPLES[order])
    assert fingerprint(after, SAMPLES[:4]) != fingerprint(
        case.perturbation.extended(x), SAMPLES[:4]
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.text)
def test_a_perturbation_can_be_typed_back(case: Case) -> None:
    text = repr(case.perturbation)
    assert parse_expression(text)[0] == case.perturbation
    assert repr(parse_expression(text)[0]) == text


@every_case
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_devices_agree(case: Case, L: int) -> None:
    x, site = signal(4, L), case.site(L)
    there = perturbed(case, x.cuda(), at(site, "cuda")).cpu()
    # Draws are the same bits; cosines and transforms differ in the last digits.
    torch.testing.assert_close(there, perturbed(case, x, site), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.text)
def test_bad_input_is_refused_in_one_line(case: Case) -> None:
    L = case.lengths[0]
    x, site = signal(2, L), case.site(L)
    wrong = x.clone()
    wrong[1, 3, 0] = float("nan")
    tokens = torch.ones(2, L, 3, dtype=torch.int64)
    for bad, lengths, words in (
        (wrong, None, "NaN"),
        (tokens, None, "tokens have no amplitude"),
        (x[0], None, "expected \\(batch, length, channels\\)"),
        (x, torch.tensor([L, L + 1]), f"1 to {L}"),
        (x, torch.tensor([0, L]), f"1 to {L}"),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            perturbed(case, bad, site, lengths=lengths)
        assert "\n" not in str(caught.value)
