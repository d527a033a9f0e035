"""What runs on a GPU runs on a second device, with the CPU's draws and numbers."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustssm.attacks import Budget, Site, perturbed_logits
from robustssm.attacks.adversaries import Adversary, Target, Victim
from robustssm.attacks.expressions import parse_expression
from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.model_names import resolve
from robustssm.evaluations.doctor.base import Setting, read_subject
from robustssm.evaluations.doctor.logits import device_against_cpu
from robustssm.evaluations.sweep.cell_rows import cell_columns
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.plan import Cell
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.hippo.initializations import DRAWN
from robustssm.hippo.transfer_grid import transfer_grid
from robustssm.networks.classifier import Classifier
from robustssm.networks.inference import logits
from robustssm.networks.network import Architecture, build_network
from robustssm.philox import dense_tensor, normal_tensor, uniform_tensor
from robustssm.training import state
from robustssm.training.loop import TrainingConfig, train
from tests.attacks.cases import CASES, Case, signal
from tests.attacks.test_invariants import SAMPLES, at, perturbed
from tests.robustssm.checkpoints.selective import Net, built, tensors, transformers_config
from tests.second_device import SECOND, second_device

ADVERSARIES = [
    "BandPGD(2, 9, steps=3, restarts=2)",
    "BandPGD(2, 9, steps=3, loss='dlr', drop=True, start='random')",
    "RandomSearch(2, 9, queries=12, modes=3)",
    "Universal(2, 9, steps=3)",
    "Guided(2, 9)",
    "SpectralAutoAttack(2, 9, 'custom', ('apgd-ce', 'apgd-t', 'fab-t', 'square'), 3, 3, 12)",
]
LAYERS = [case for case in CASES if "layers" in case.perturbation.sites and "hz" not in case.text]


CPU = torch.device("cpu")


def both(work: Callable[[torch.device], Tensor]) -> tuple[Tensor, Tensor]:
    """Return what work on the second device gives, and on the CPU."""
    with second_device():
        there = work(SECOND).cpu()
    return there, work(CPU)


def test_what_a_gpu_refuses_is_refused() -> None:
    with second_device():
        there, here = torch.ones(3, device=SECOND), torch.ones(3)
        wrong: list[Callable[[], object]] = [
            lambda: there + here,
            lambda: here.index_select(0, torch.tensor([0], device=SECOND)),
            lambda: here[torch.tensor([0], device=SECOND)],
            there.numpy,
            lambda: there.cumsum(0),
            lambda: torch.rand(3, device=SECOND, generator=torch.Generator()),
            lambda: there.index_put_((torch.tensor([0]),), here[:1]),
        ]
        for one in wrong:
            with pytest.raises(RuntimeError):
                one()
        assert (there[torch.tensor([0])] * here.sum() + 2).tolist() == [5.0]


@pytest.mark.parametrize("draw", [uniform_tensor, normal_tensor, dense_tensor])
def test_draws_have_the_same_bits(draw: Callable[..., Tensor]) -> None:
    assert torch.equal(*both(lambda device: draw("key", SAMPLES, 1001, device)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.text)
def test_perturbations(case: Case) -> None:
    L = case.lengths[0]
    x, site = signal(4, L), case.site(L)
    ends = torch.tensor([case.least_valid, L, L, case.least_valid])
    for lengths in (None, ends if case.least_valid < L else None):

        def work(device: torch.device, lengths: Tensor | None = lengths) -> Tensor:
            own = None if lengths is None else lengths.to(device)
            return perturbed(case, x.to(device), at(site, str(device)), None, own)

        torch.testing.assert_close(*both(work), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("init", "case", "ends"),
    [("s4d", case, True) for case in LAYERS] + [("s5", case, False) for case in LAYERS[::7]],
    ids=lambda value: getattr(value, "text", str(value)),
)
def test_noise_at_layers(init: str, case: Case, ends: bool) -> None:
    perturbation, energies = case.perturbation, []
    x = torch.rand(5, 64, 1, generator=torch.Generator().manual_seed(0))
    budget = Budget(0.3, perturbation.default_unit("layers"))

    def work(device: torch.device) -> Tensor:
        network = build_network(Architecture(init, n=8, d_model=6, layers=2)).eval().to(device)
        values, delivered = perturbed_logits(
            network,
            x.to(device),
            perturbation,
            budget,
            SAMPLES,
            0,
            inject="layers",
            site=Site(),
            lengths=torch.tensor([64, 50, 40, 64, 50]).to(device) if ends else None,
        )
        energies.append(delivered.energy)
        return values

    torch.testing.assert_close(*both(work), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(energies[0], energies[1], rtol=1e-5)


@pytest.mark.parametrize("unit, eps", [("std", 0.2), ("snr-db", 20.0), ("linf", 0.1)])
@pytest.mark.parametrize("text", ADVERSARIES)
def test_adversaries(text: str, unit: str, eps: float) -> None:
    adversary = parse_expression(text)[0]
    assert isinstance(adversary, Adversary)
    x = torch.rand(5, 64, 1, generator=torch.Generator().manual_seed(0))
    site = Site(scale=torch.ones(1, dtype=torch.float64))

    def work(device: torch.device) -> Tensor:
        network = build_network(Architecture("s4d", n=8, d_model=6, layers=2)).to(device)
        labels = torch.arange(5, device=device)
        own = at(site, str(device))
        with Victim(network) as victim:
            target = Target(victim, x.to(device), labels, SAMPLES, 0, Budget(eps, unit), own)
            return adversary.attack(target).margin

    torch.testing.assert_close(*both(work), rtol=1e-3, atol=1e-3)


INITS = ("s4", "s4d", "s4ptd-rank1", "dss", "s5", "s5ptd-rank1", "s4d:sobolev=0.5", *DRAWN)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    "other",
    [{"prenorm": True}, {"norm": "batch", "pooling": "last"}, {"tokens": 7, "residual": True}],
    ids=["prenorm", "batch", "tokens"],
)
@pytest.mark.parametrize("init", INITS)
def test_networks_and_gradients(init: str, other: dict[str, Any], bidirectional: bool) -> None:
    wide = 4 if "tokens" in other else 1
    architecture = Architecture(
        init, n=8, d_model=4, layers=2, d_input=wide, bidirectional=bidirectional, **other
    )
    tokens = torch.randint(7, (3, 16), generator=torch.Generator().manual_seed(0))
    for lengths in (None, torch.tensor([16, 5, 9])):

        def work(device: torch.device, lengths: Tensor | None = lengths) -> Tensor:
            network = build_network(architecture).to(device).eval()
            x = tokens.to(device)
            x = network.embed(x) if "tokens" in other else x[..., None].float()
            ends = None if lengths is None else lengths.to(device)
            nn.functional.cross_entropy(network(x, ends), tokens[:, 0].to(device)).backward()
            slopes = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
            own = logits(network, x.detach(), lengths=ends).flatten()
            return torch.cat([own.double(), *(slope.double() for slope in slopes)])

        torch.testing.assert_close(*both(work), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("net", [Net(), Net(falcon=1e-2), Net(two=True, groups=2, norm_groups=2)])
def test_mixers_of_mamba(net: Net) -> None:
    tokens = torch.randint(11, (2, 70), generator=torch.Generator().manual_seed(0))

    def work(device: torch.device) -> Tensor:
        network: Classifier = built(tensors(net), transformers_config(net)).network.to(device)
        x = network.embed(tokens.to(device)).detach().requires_grad_()
        (slope,) = torch.autograd.grad(network(x).square().sum(), x)
        return torch.cat([logits(network, x.detach()).flatten(), slope.flatten()])

    torch.testing.assert_close(*both(work), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("tau", [0.0, 0.5])
def test_transfer_functions(tau: float, dtype: torch.dtype) -> None:
    C, omega = np.random.default_rng(0).standard_normal(64), np.geomspace(1e-2, 1e20, 2000)

    def work(device: torch.device) -> Tensor:
        return transfer_grid(C, omega, tau=tau, dtype=dtype, device=device)

    torch.testing.assert_close(*both(work))


def test_cells_and_the_doctor(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # as `repeatable` does
    ref = resolve(f"small={checkpoints['s4d']}")[0]
    noises = [Noise("fourier", modes=(3,), eps=(0.3,))]
    noises.append(Noise("ColouredNoise(1)", eps=(0.3,), inject="layers"))
    noises.append(Noise("BandPGD(2, 9, steps=2)", eps=(0.3,)))
    plan = make_plan([ref], noises, limit=40)
    for cell in plan.cells:

        def work(device: torch.device, cell: Cell = cell) -> Tensor:
            network = ref.load().network.to(device)
            columns = cell_columns(network, cell, plan.task, 16)
            return torch.from_numpy(np.stack(list(columns.values())).astype(float))

        torch.testing.assert_close(*both(work), rtol=1e-3, atol=1e-4)
    with second_device():
        found = device_against_cpu(Setting((), SECOND, False, tmp_path), read_subject(ref))
    assert found.verdict == "pass", found


def test_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Torch has no reduced precision and no fused steps there; safetensors asks where memory lies.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    adam = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda *a, **k: adam(*a, **k | {"fused": False}))
    name = "save_tensors"
    intact = getattr(state, name)
    monkeypatch.setattr(
        state,
        name,
        lambda tensors, metadata: intact({k: v.cpu() for k, v in tensors.items()}, metadata),
    )
    small = Architecture("s4d", n=4, d_model=4, layers=1, dropout=0.0)

    def work(device: torch.device) -> Tensor:
        # Parameters made anew on the second device lose what tells the dynamics from the rest.
        config = TrainingConfig(
            epochs=2, lr=1e-3, ssm_lr=1e-3, weight_decay=0.0, device=str(device), ema=0.9, clip=1.0
        )
        path = tmp_path / f"{device.type}.safetensors"
        for stop in (1, None):
            train(small, "digits:side=8", config, path, command="c", stop_after=stop)
        return torch.cat([v.flatten() for v in load_checkpoint(path).network.state_dict().values()])

    torch.testing.assert_close(*both(work), rtol=1e-3, atol=1e-3)
