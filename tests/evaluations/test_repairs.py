"""Repairs: what damping does to single poles, what training goes on from, and the table."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.checkpoints.native import load_checkpoint, save_checkpoint
from robustssm.cli import main
from robustssm.errors import UsageError
from robustssm.evaluations.repairs.damping import BAND, damp_resonances
from robustssm.evaluations.repairs.judged import BEFORE, CLEAN, RESONANCE, favoured, verdict
from robustssm.evaluations.repairs.remedies import REMEDIES
from robustssm.evaluations.trained_layers.linear_systems import fold
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.hippo.spectrum import spikes
from robustssm.layers import S4D
from robustssm.networks.foreign import SequenceModel
from robustssm.networks.inference import logits
from robustssm.networks.network import Architecture, Network, build_network
from robustssm.tasks import load_task
from robustssm.training.loop import TrainingConfig, train
from robustssm.training.objective import crest
from tests.robustssm.checkpoints.networks import network_tensors

N, L = 8, 64
# What a state-spaces/s4 file does not say.
GIVEN = {"prenorm": "true", "residual": "R", "norm": "layer", "mode": "pool", "l_output": "0"}
SET = tuple(word for name, value in GIVEN.items() for word in ("--set", f"{name}={value}"))
# Gains are found in float64; parameters are stored in float32.
ROUNDING = 1e-5


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def network_of(init: str, seed: int, **shape: Any) -> Network:
    return build_network(Architecture(init, n=N, d_model=4, layers=2, **shape), seed).eval()


def gains(network: Network) -> list[np.ndarray]:
    """Return gains at the poles' frequencies, one array a layer."""
    found = []
    for layer in network.ssm_layers():
        system = layer_system(layer, L)
        found.append(system.gain(fold(system.poles.imag * system.step)))
    return found


def medians(network: Network) -> list[np.ndarray]:
    """Return the median gain of each system in the band, one array a layer."""
    top = BAND * float(spikes(N, 1)[0])
    found = []
    for layer in network.ssm_layers():
        system = layer_system(layer, L)
        omega = np.linspace(0.0, top, 257)
        at = np.array([[min(w * step, np.pi) for w in omega] for step in system.dt])
        found.append(np.median(system.gain(at), axis=1))
    return found


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from(["s4d", "s4", "s4ptd-rank1", "s5", "s4d-lin", "lru"]),
    st.integers(0, 1000),
    st.floats(0.3, 30.0),
)
def test_damping(init: str, seed: int, ratio: float) -> None:
    """Poles of the band stay, none loses damping or moves in frequency, caps are kept or said."""
    network = network_of(init, seed)
    before = [layer.eigenvalues().detach() for layer in network.ssm_layers()]
    gained, passed = gains(network), medians(network)
    done = damp_resonances(network, L, ratio)
    each = zip(network.ssm_layers(), before, gained, done, strict=True)
    for number, (layer, poles, gain, said) in enumerate(each):
        now = layer.eigenvalues().detach()
        assert torch.equal(now.imag, poles.imag)
        factors = (now.real / poles.real).numpy()
        assert factors.min() >= 1.0 - ROUNDING
        low = np.abs(poles.imag.numpy()) <= BAND * float(spikes(N, 1)[0])
        assert np.allclose(factors[low], 1.0, rtol=ROUNDING)
        assert said.poles == int((factors > 1.0 + ROUNDING).sum()) or said.most < 1.0 + ROUNDING
        assert said.most == pytest.approx(factors.max(), rel=1e-3)
        after = gains(network)[number]
        if said.poles == 0:
            assert np.allclose(gain, after, rtol=ROUNDING)
            continue
        # What is left above the cap, another way: of poles that were damped, over the first cap.
        damped = np.atleast_2d(factors > 1.0 + ROUNDING)
        left = (after[:, : damped.shape[1]] / (ratio * passed[number])[:, None])[damped].max()
        assert said.above == pytest.approx(left, rel=1e-3)


def test_a_single_resonance_by_hand() -> None:
    """Of two poles the high one has gain |w| / (1 - |a|) but for the low one's small share."""
    network = network_of("s4d", 0)
    spike = float(spikes(N, 1)[0])
    layer = network.ssm_layers()[0]
    assert isinstance(layer, S4D)
    with torch.no_grad():
        layer.log_neg_real.fill_(np.log(0.05))
        layer.log_neg_real[:, 0] = np.log(5.0)
        layer.imag.zero_()
        layer.imag[:, 1] = spike
        layer.C.zero_()
        layer.C[:, 0, 0], layer.C[:, 1, 0] = 1.0, 4.0
        layer.B.zero_()
        layer.B[..., 0] = 1.0
        layer.log_dt.fill_(np.log(0.01))
    sigma, dt = 0.05, 0.01
    band = np.linspace(0.0, 1.0, 257) * BAND * spike
    # Zero-order hold of a slow pole is nearly the continuous system: 2 Re of both conjugates.
    passed = np.median(np.abs(2.0 / (1j * band + 5.0)))
    ratio = 3.0
    (said, *_) = damp_resonances(network, L, ratio)
    # The gain at the pole is about 4 / sigma, of one of the pair; so sigma becomes 4 / cap.
    expected = 4.0 / (ratio * passed) / sigma
    # The conjugate and the low pole add to both gains; their shares are some hundredths.
    assert said.most == pytest.approx(expected, rel=0.15)
    a = np.exp(complex(-expected * sigma, spike) * dt)
    exact = 4.0 * abs((a - 1.0) / complex(-expected * sigma, spike)) / (1.0 - abs(a))
    assert exact == pytest.approx(ratio * passed, rel=0.1)
    assert said.poles == 4 and said.above < 1.0 + 0.02


@pytest.mark.parametrize("init", ["linoss-im", "linoss-imex", "dlinoss"])
def test_layers_without_stored_poles_are_refused(init: str) -> None:
    with pytest.raises(UsageError, match="stores no poles that can be damped"):
        damp_resonances(network_of(init, 0), L, 2.0)


def test_crest_by_the_gain_of_the_layers() -> None:
    """Another route: the DFT of each impulse response in numpy; scaled outputs do not change it."""
    for init in ("s4d", "s5"):
        network = network_of(init, 3)
        found = []
        for layer in network.ssm_layers():
            system = layer_system(layer, L)
            k = system.kernel(L)
            k[..., 0] -= system.D.reshape(k.shape[:-1])
            power = np.abs(np.fft.rfft(k, 2 * L)) ** 2
            power = power.reshape(-1, power.shape[-1]) if init == "s4d" else power.sum((0, 1))[None]
            found.append(np.log(power.max(-1) / power.mean(-1)).mean())
        value = crest(network, L)
        assert float(value.detach()) == pytest.approx(np.mean(found), rel=1e-9)  # float64
        value.backward()
        for layer in network.ssm_layers():
            assert layer.C.grad is not None and bool(layer.C.grad.abs().sum() > 0.0)
        with torch.no_grad():
            for layer in network.ssm_layers():
                layer.C *= 3.0
        assert float(crest(network, L).detach()) == pytest.approx(np.mean(found), rel=1e-6)


def test_training_goes_on_from_a_network(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """At a rate of nearly nothing the weights stay; a penalty lowers crests; text and network."""
    start = load_checkpoint(checkpoints["s4d"])
    task = start.card.task
    still = TrainingConfig(epochs=1, lr=1e-12, ssm_lr=1e-12, weight_decay=0.0)
    still = replace(still, start=start.content_hash)
    path = tmp_path / "still.safetensors"
    train(start.own.architecture, task, still, path, command="test", start=start.own)
    after = load_checkpoint(path)
    assert after.card.training["start"] == start.content_hash
    for key, value in start.network.state_dict().items():
        assert torch.allclose(after.network.state_dict()[key], value, atol=1e-8), key
    length = load_task(task).length
    crests = []
    for penalty in (0.0, 3.0):
        config = replace(still, epochs=2, lr=1e-3, ssm_lr=2e-2, penalty=penalty)
        path = tmp_path / f"penalty-{penalty}.safetensors"
        train(start.own.architecture, task, config, path, command="test", start=start.own)
        crests.append(float(crest(load_checkpoint(path).own, length).detach()))
    assert crests[1] < crests[0]
    with pytest.raises(UsageError, match="a network to start from and its hash go together"):
        train(start.own.architecture, task, still, tmp_path / "x.safetensors", command="test")


def test_the_command(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """All remedies, written as checkpoints that load, found again by the same command."""
    model = f"small={checkpoints['s4d']}"
    of = ("repair", model, "--epochs", 1, "-L", 40, "-j", 1, "-o", tmp_path, "--format", "json")
    first = call(*of)
    assert first.exit_code == 0, first.output
    content = json.loads(first.stdout)
    assert [row["remedy"] for row in content["rows"]] == [BEFORE, *REMEDIES]
    before, *after = content["rows"]
    for row in after:
        for name in (CLEAN, RESONANCE):
            assert row[f"{name}_low"] <= row[name] - before[name] + 0.05
            assert row[f"{name}_high"] >= row[name] - before[name] - 0.05
        path = next(tmp_path.glob("repair-*")) / f"{row['remedy']}.safetensors"
        assert load_checkpoint(path).network.state_size == 8
    assert len(content["verdicts"]) == 1 and content["verdicts"][0].startswith("small")
    again = call(*of)
    assert again.stderr.count("found in the folder") == 3 and again.stdout == first.stdout
    other = call(*of, "--remedy", "damp", "--ratio", 1)
    assert other.exit_code == 0, other.output


def test_an_imported_network_is_repaired_without_training(tmp_path: Path) -> None:
    """A state-spaces/s4 file, with data that it was not trained on: damp alone, and it loads."""
    weights = network_tensors("layer", "R", True)
    torch.save(weights, tmp_path / "s4.pt")
    inputs = torch.randn(12, 32, 2, generator=torch.Generator().manual_seed(0))
    labels = np.arange(12) % 3
    np.savez(tmp_path / "x.npz", inputs=inputs.numpy(), labels=labels)
    of = ("repair", f"own={tmp_path / 's4.pt'}", "-d", f"file:{tmp_path / 'x.npz'}", "-j", 1)
    result = call(*of, "-o", tmp_path / "out", "--format", "json", *SET)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert [row["remedy"] for row in rows] == [BEFORE, "damp"]
    path = next((tmp_path / "out").glob("repair-*")) / "damp.safetensors"
    repaired = load_checkpoint(path).network
    assert isinstance(repaired, SequenceModel)
    assert bool(torch.isfinite(logits(repaired, inputs)).all())
    refused = call(*of, "--remedy", "penalty", *SET)
    assert refused.exit_code == 2
    assert "penalty trains on, which needs the training data" in refused.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--ratio", 0), "repair: ratio"),
        (("--remedy", "magic"), "repair: remedy"),
        (("--epochs", 0), "repair: epochs"),
    ],
)
def test_bad_input_is_one_line(
    checkpoints: dict[str, Path], options: tuple[object, ...], said: str
) -> None:
    result = call("repair", checkpoints["s4d"], *options)
    assert result.exit_code == 2 and said in result.stderr
    assert result.stderr.strip().count("\n") == 0


def table(resonance: float, clean: float, p: float) -> pd.DataFrame:
    rows = [
        {"remedy": BEFORE, CLEAN: 0.98, RESONANCE: 0.2},
        {"remedy": "damp", CLEAN: clean, RESONANCE: resonance, f"{RESONANCE}_p": p},
        {"remedy": "augment", CLEAN: 0.97, RESONANCE: 0.21, f"{RESONANCE}_p": 0.8},
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("resonance", "clean", "p", "best"),
    [(0.9, 0.95, 0.001, "damp"), (0.9, 0.92, 0.001, ""), (0.9, 0.95, 0.06, ""),
     (0.1, 0.98, 0.001, "")],
)  # fmt: skip
def test_the_rule(resonance: float, clean: float, p: float, best: str) -> None:
    """A remedy is named if it raises accuracy, is significant, and costs at most .05."""
    frame = table(resonance, clean, p)
    assert favoured(frame) == best
    assert ("the data favour none of damp, augment" in verdict(frame)) == (not best)


def test_a_repaired_file_is_another_checkpoint(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """Damping that changes nothing keeps the hash of the weights."""
    loaded = load_checkpoint(checkpoints["s4d"])
    damp_resonances(loaded.network, L, 1e6)
    save_checkpoint(tmp_path / "same.safetensors", loaded.network, loaded.card)
    assert load_checkpoint(tmp_path / "same.safetensors").content_hash == loaded.content_hash
    damp_resonances(loaded.network, L, 0.01)
    save_checkpoint(tmp_path / "other.safetensors", loaded.network, loaded.card)
    assert load_checkpoint(tmp_path / "other.safetensors").content_hash != loaded.content_hash
