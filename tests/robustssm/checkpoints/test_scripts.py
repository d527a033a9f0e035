"""Scripts that share a layout, and the authors' forks: asked for, found, or noted, never silent."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from robustssm.checkpoints import Card, load_checkpoint, save_checkpoint, state_spaces
from robustssm.errors import RejectedInputError, UsageError
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.layers.base import KernelLayer
from tests.robustssm.checkpoints.foreign import D, Draw, L, N, f64, held, minimal_layer
from tests.robustssm.checkpoints.networks import built, config, network_tensors, normed
from tests.robustssm.checkpoints.scripts import (
    Meaning,
    fork_layer,
    fork_options,
    fork_output,
    script_logits,
    script_tensors,
)

# script -> what the layers hold, and what it means by them; the last half is short here.
SHORT = {"pool_from": "8"}
SCRIPTS: dict[str, tuple[str, Meaning, dict[str, str]]] = {
    "example.py": ("minimal", Meaning(), {}),
    "S4-PTD/ablation.py": ("minimal", Meaning(imag_sign=-1.0), {}),
    "noisycifar_S4D.py": ("minimal", Meaning(pool_from=8), SHORT),
    "S4-PTD/robustness.py": ("B", Meaning(imag_sign=-1.0, residual=False), {}),
    "run_cifar.py": ("H", Meaning(mirrored=True), {}),
    "noisycifar_HOPE.py": ("H", Meaning(pool_from=8), SHORT),
}


def samples(length: int = L, count: int = 2) -> Tensor:
    return Draw(9)(count, length, 2).double()


@torch.no_grad()
def agrees(
    tensors: dict[str, Tensor], settings: dict[str, str], expected: np.ndarray, u: Tensor
) -> None:
    found = built(held(tensors), settings).double()(u).numpy()
    # Rounding of float64; numpy's powers of s lose a digit or two where dt is small.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("prenorm", [False, True])
@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_against_a_naive_evaluation(script: str, prenorm: bool) -> None:
    kind, meaning, more = SCRIPTS[script]
    t, u = script_tensors(kind), samples()
    settings = {"script": script, "prenorm": str(prenorm).lower(), **more}
    agrees(t, settings, script_logits(t, meaning, prenorm, u.numpy()), u)


@pytest.mark.parametrize("script", ["noisycifar_S4D.py", "noisycifar_HOPE.py"])
@torch.no_grad()
def test_the_last_half_of_noisy_cifar_is_pooled(script: str) -> None:
    """By default from step 1024 on, and no shorter sample has a pooled step."""
    t = script_tensors(SCRIPTS[script][0])
    network = built(held(t), {"script": script, "prenorm": "false"}).double()
    u = samples(1030)
    kept: list[Tensor] = []
    hook = network.blocks[-1].register_forward_hook(lambda m, i, y: kept.append(y))
    y = network(u)
    hook.remove()
    features = kept[0][:, 1024:].mean(1).numpy()
    expected = features @ f64(t["decoder.weight"]).T + f64(t["decoder.bias"])
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-12)
    with pytest.raises(UsageError, match="steps is 1024, expected above 1024, its pool_from"):
        network(samples(1024))


CHANGED: tuple[tuple[str, str, dict[str, str], Meaning, str], ...] = (
    ("minimal", "example.py", {"residual": "none"}, Meaning(residual=False), "layer"),
    ("minimal", "example.py", {"pooling": "last"}, Meaning(pooling="last"), "layer"),
    ("minimal", "example.py", {"norm": "group"}, Meaning(norm="group"), "layer"),
    ("minimal", "example.py", {}, Meaning(norm="batch"), "batch"),
    ("minimal", "S4-PTD/ablation.py", {"imag_sign": "1"}, Meaning(), "layer"),
    ("H", "run_cifar.py", {"mirrored": "false"}, Meaning(), "layer"),
)


@pytest.mark.parametrize("case", CHANGED, ids=lambda case: f"{case[1]}-{case[2]}-{case[4]}")
def test_a_copy_may_do_otherwise(
    case: tuple[str, str, dict[str, str], Meaning, str],
) -> None:
    kind, script, changes, meaning, norm = case
    t, u = script_tensors(kind, norm), samples()
    settings = {"script": script, "prenorm": "true", **changes}
    agrees(t, settings, script_logits(t, meaning, True, u.numpy()), u)


def notes_of(
    t: dict[str, Tensor], settings: Mapping[str, str], options: dict[str, object] | None = None
) -> str:
    return " | ".join(state_spaces.build(held(t, options), settings).notes)


def test_the_script_is_asked_for_together_with_what_else_is_missing() -> None:
    for kind, words in (
        ("minimal", "example.py|S4-PTD/ablation.py|noisycifar_S4D.py"),
        ("H", "run_cifar.py|noisycifar_HOPE.py"),
    ):
        with pytest.raises(UsageError) as caught:
            built(held(script_tensors(kind)))
        assert f"give --set script={words} --set prenorm=true|false" in str(caught.value)
    with pytest.raises(UsageError, match=r"script='run_cifar.py' is not allowed"):
        built(held(script_tensors("minimal")), {"script": "run_cifar.py", "prenorm": "true"})


def test_what_is_assumed_is_noted() -> None:
    """Each option that a script fixes, until a user says it; a script that is the only one, too."""
    notes = notes_of(script_tensors("B"), {"prenorm": "true"})
    for told in (
        *("script=S4-PTD/robustness.py", "imag_sign=-1", "residual=none", "norm=layer"),
        *("pooling=mean", "pool_from=0", "mirrored=false"),
    ):
        assert told in notes
    said = {"script": "example.py", "prenorm": "true", "residual": "add"}
    notes = notes_of(script_tensors("minimal"), said)
    assert "residual" not in notes and "script=" not in notes and "imag_sign=1" in notes
    notes = notes_of(script_tensors("H"), {**said, "script": "run_cifar.py"})
    assert "mirrored=true" in notes and "imag_sign" not in notes


def test_a_dtype_that_another_script_would_have_saved_is_noted() -> None:
    """No proof, so that the script is asked for all the same."""
    t = script_tensors("minimal")
    of = {"prenorm": "true", "script": "S4-PTD/ablation.py"}
    assert "log_A_real is float32, which S4-PTD/ablation.py does not save" in notes_of(t, of)
    for i in range(2):
        for name in ("log_A_real", "A_imag"):
            t[f"s4_layers.{i}.kernel.{name}"] = t[f"s4_layers.{i}.kernel.{name}"].double()
    assert "does not save" not in notes_of(t, of)
    of["script"] = "example.py"
    assert "log_A_real is float64, which example.py does not save" in notes_of(t, of)
    assert "rounded" not in notes_of(t, of)  # what is float64 acts in float64
    with pytest.raises(UsageError, match="script"):
        built(held(t), {"prenorm": "true"})


@torch.no_grad()
def test_a_minimal_layer_alone_or_in_a_backbone_says_which_sign_it_took() -> None:
    """The kernel is the real part, so that the sign matters where C is not real."""
    layer, u = minimal_layer(Draw(3)), Draw(4)(2, L, D)
    mirrored = {**layer, "kernel.A_imag": -layer["kernel.A_imag"]}
    assert "imag_sign=1 (A = -e^a + i imag_sign b" in notes_of(layer, {})
    plus, minus = built(held(layer)), built(held(mirrored), {"imag_sign": "-1"})
    assert torch.equal(plus(u), minus(u))
    assert not torch.allclose(plus(u), built(held(layer), {"imag_sign": "-1"})(u))
    assert "imag_sign=-1" in notes_of({**layer, "kernel.B": Draw(6)(D, N, 2)}, {})
    t, options = network_tensors("layer", "R", True), config("layer", "R", True, "pool")
    assert "imag_sign=1" in notes_of(t, {}, options)
    assert "imag_sign" not in notes_of(t, {"imag_sign": "-1"}, options)


@pytest.mark.parametrize("weighted", [False, True], ids=["S4-PTD", "FreqBias"])
@pytest.mark.parametrize(("systems", "both"), [(1, True), (2, False), (D, True)])
@torch.no_grad()
def test_forks_against_a_naive_evaluation(systems: int, both: bool, weighted: bool) -> None:
    """From a file with hyper-parameters, and from its weights alone."""
    layer, u = fork_layer(systems, both, weighted), samples(12)
    t = {k: v for k, v in network_tensors("layer", "R", False).items() if ".layer." not in k}
    t |= {f"model.layers.{i}.layer.{k}": v for i in range(2) for k, v in layer.items()}
    x = u.numpy() @ f64(t["encoder.0.weight"]).T + f64(t["encoder.0.bias"])
    for i in range(2):
        x = normed(t, "layer", f"model.layers.{i}.norm.norm.", x + fork_output(layer, x))
    head = "decoder.0.output_transform."
    expected = x.mean(1) @ f64(t[f"{head}weight"]).T + f64(t[f"{head}bias"])
    options = config("layer", "R", False, "pool")
    assert isinstance(options["model"], dict)
    options["model"]["layer"] = fork_options(both)
    said = {"prenorm": "false", "mode": "pool", "l_output": "0", "residual": "R", "norm": "layer"}
    for contents, given in (
        (held(t, options), {}),
        (held(t), {**said, "dt_transform": "softplus"}),
    ):
        network = built(contents, given)
        found = network.double()(u).numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())
        assert any("kernel.B" in note for note in state_spaces.build(contents, given).notes)


@torch.no_grad()
def test_a_fork_is_v4_with_a_B_of_one() -> None:
    """Where options say that half of the modes are stored, B is missing, not folded into C."""
    layer, u = fork_layer(2, True, False), Draw(1)(2, L, D)
    given = {"dt_transform": "softplus"}
    ones = torch.tensor([1.0, 0.0]).repeat(1, 2, N, 1)
    with_B = built(held({**layer, "layer.kernel.B": ones}), {**given, "disc": "zoh"})
    torch.testing.assert_close(built(held(layer), given)(u), with_B(u), rtol=1e-6, atol=1e-6)
    options = config("layer", "R", False, "pool")
    assert isinstance(options["model"], dict)
    options["model"]["layer"] = {**fork_options(True), "d_state": 2 * N}
    t = {k: v for k, v in network_tensors("layer", "R", False).items() if ".layer." not in k}
    t |= {f"model.layers.{i}.layer.{k}": v for i in range(2) for k, v in layer.items()}
    with pytest.raises(RejectedInputError, match="B is missing, expected it beside 4 modes of 8"):
        built(held(t, options))


@torch.no_grad()
def test_modes_of_a_fork_are_the_state_of_its_original() -> None:
    """Spikes are counted at its size; its response is that of its kernel, a sum of 2 N poles."""
    layer = fork_layer(2, False, False)
    network = built(held(layer), {"dt_transform": "softplus"})
    assert network.state_size == N
    ssm, theta = network.ssm_layers()[0], np.linspace(0.0, np.pi, 7)
    assert isinstance(ssm, KernelLayer) and ssm.spectrum().poles.shape == (D, N)
    K = ssm.kernels(4096)[0].numpy()
    expected = K @ np.exp(-1j * np.outer(np.arange(4096), theta)) + f64(layer["layer.D"]).T
    found = layer_system(ssm, L).response(theta)
    # What is left of the kernel after 4096 steps, slowest mode exp(-4096 dt |Re A|), and rounding.
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_filters_of_freqbias_need_their_whole_kernel() -> None:
    layer = fork_layer(1, False, True)
    network = built(held(layer), {"dt_transform": "softplus", "l_max": "8"})
    with pytest.raises(UsageError, match="number of steps is 9, expected 8 or fewer"):
        network(torch.zeros(1, 9, D))


def test_what_depends_on_the_length_says_so_in_one_line() -> None:
    """HOPE takes even lengths, and both have neither kernel, recurrence nor system."""
    given = {"script": "noisycifar_HOPE.py", "prenorm": "true", "pool_from": "0"}
    hope = built(held(script_tensors("H")), given)
    with pytest.raises(UsageError, match="number of steps is 9, expected an even one"):
        hope(torch.zeros(1, 9, 2))
    with pytest.raises(UsageError, match="end after 4 to 8 steps, expected one length of all"):
        hope(torch.zeros(2, 8, 2), torch.tensor([4, 8]))
    built(held(script_tensors("H")), {**given, "script": "run_cifar.py"})(torch.zeros(1, 9, 2))
    bias = built(held(fork_layer(1, True, True)), {"dt_transform": "softplus"})
    for network in (hope, bias):
        layer, looks_ahead = network.ssm_layers()[0], "depends on the number of steps and looks"
        with pytest.raises(UsageError, match=looks_ahead):
            layer.system(L)
        with pytest.raises(UsageError, match=looks_ahead):
            layer.impulse(L)
        with pytest.raises(UsageError, match=looks_ahead):
            layer.recurrence(torch.zeros(1, L, D))


@pytest.mark.parametrize("script", SCRIPTS)
@torch.no_grad()
def test_native_files_hold_it_all(script: str, tmp_path: Path) -> None:
    given = {"prenorm": "true", "script": script, **SCRIPTS[script][2]}
    network = built(held(script_tensors(SCRIPTS[script][0])), given)
    path = tmp_path / "native.safetensors"
    save_checkpoint(path, network, Card(network.to_dict(), {}, "", "", 0, {}, None, 0, ""))
    again, u = load_checkpoint(path).network, samples().float()
    assert again.to_dict() == network.to_dict()
    assert torch.equal(again(u), network(u))
