"""Modules of a user's own code: found, run, perturbed, never changed."""

import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from robustssm.attacks import Budget, Fourier, Resonance, perturbed_logits
from robustssm.attacks.base import input_site
from robustssm.checkpoints.factory import build_module
from robustssm.checkpoints.native import weights_hash
from robustssm.cli import main
from robustssm.errors import RejectedInputError, UsageError
from robustssm.networks.inference import logits
from robustssm.tasks import load_task

CODE = """
    import torch
    from torch import nn

    class Leaky(nn.Module):
        '''y_t = exp(-dt) y_{t-1} + u_t, a channel each.'''
        layout = "{layout}"

        def __init__(self, d):
            super().__init__()
            self.log_dt = nn.Parameter(torch.linspace(-3.0, -1.0, d))
            self.register_buffer("calls", torch.zeros(()))

        def step_size(self):
            return torch.exp(self.log_dt.double())

        def forward(self, u):
            self.calls += 1.0  # as reference code of S4 rewrites a buffer
            u = u.transpose(1, 2) if self.layout == "blh" else u
            t = torch.arange(u.shape[2])
            kernel = torch.exp(-torch.exp(self.log_dt)[:, None] * t)
            n = 2 * len(t)
            y = torch.fft.irfft(torch.fft.rfft(u, n=n) * torch.fft.rfft(kernel, n=n))
            y = y[..., : len(t)]
            return y.transpose(1, 2) if self.layout == "blh" else y

    class Net(nn.Module):
        d_input, d_output = 1, 10

        def __init__(self):
            super().__init__()
            self.encoder = nn.Linear(1, 4)
            self.ssm = Leaky(4)
            self.decoder = nn.Linear(4, 10)
            self.dropout = nn.Dropout(0.5)

        def forward(self, x):
            u = torch.tanh(self.encoder(x))
            u = u if self.ssm.layout == "blh" else u.transpose(1, 2)
            y = self.ssm(u)
            y = y if self.ssm.layout == "blh" else y.transpose(1, 2)
            return self.decoder(self.dropout(y).mean(1)), "state"

    def make():
        return Net()

    def plain():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def sequence():
        return nn.Linear(1, 10)

    def wrong():
        return 3

    def fails():
        raise ValueError("no data set")

    def leaves():
        raise SystemExit(0)
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(textwrap.dedent(CODE.replace("{layout}", "blh")))
    return path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_evaluation_leaves_every_bit_as_it_was(code: Path) -> None:
    network = build_module(code, "make", None, {}).network
    before = weights_hash(network.state_dict())
    task = load_task("digits:side=8")
    x = torch.from_numpy(task.splits["test"].inputs[:70])
    ids = task.splits["test"].sample_id[:70]
    logits(network, x)
    for attack, inject in ((Fourier(3), "input"), (Resonance(20.0), "layers")):
        perturbed_logits(
            network, x, attack, Budget(0.3, attack.unit), ids, 0,
            inject=inject, site=input_site(task),
        )  # fmt: skip
    # The module counts its own calls in a buffer, which a state dict holds.
    assert weights_hash(network.state_dict()) == before


def test_a_layer_is_perturbed_where_it_says(code: Path) -> None:
    """Both layouts of a layer's input are the same network, and get the same noise."""
    turned = code.with_name("turned.py")
    turned.write_text(textwrap.dedent(CODE.replace("{layout}", "bhl")))
    task = load_task("digits:side=8")
    x, ids = (torch.from_numpy(task.splits["test"].inputs[:70]), np.arange(70))
    found = []
    for path in (code, turned):
        network = build_module(path, "make", None, {}).network
        assert len(network.ssm_layers()) == 1
        values, delivered = perturbed_logits(
            network, x, Resonance(20.0), Budget(0.5, "linf"), ids, 0,
            inject="layers", site=input_site(task),
        )  # fmt: skip
        found.append((values, delivered.l2))
        clean = logits(network, x)
        assert float((values - clean).abs().max()) > 1e-3
    # The FFT runs over other memory layouts: float32 rounding, of logits below 1.
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-6)


def test_a_sample_does_not_depend_on_the_others(code: Path) -> None:
    network = build_module(code, "make", None, {}).network
    x = torch.from_numpy(load_task("digits:side=8").splits["test"].inputs[:100])
    whole = logits(network, x)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(logits(network, x[order]), whole[order])
    assert torch.equal(logits(network, x[17:18]), whole[17:18])


def test_what_it_is_follows_weights_and_code(code: Path, tmp_path: Path) -> None:
    first = build_module(code, "make", None, {})
    assert build_module(code, "make", None, {}).content_hash == first.content_hash
    state = first.network.module.state_dict()  # type: ignore[union-attr]
    state["encoder.bias"] = state["encoder.bias"] + 1.0
    torch.save(state, tmp_path / "w.pth")
    loaded = build_module(code, "make", tmp_path / "w.pth", {})
    assert loaded.content_hash != first.content_hash
    bias = loaded.network.state_dict()["module.encoder.bias"]
    assert torch.equal(bias, state["encoder.bias"])
    scaled = build_module(code, "make", None, {"input_std": "2"})
    assert scaled.content_hash != first.content_hash
    x = torch.randn(3, 64, 1, generator=torch.Generator().manual_seed(1))
    assert torch.equal(logits(scaled.network, 2.0 * x), logits(first.network, x))
    code.write_text(code.read_text() + "\n# another version\n")
    assert build_module(code, "make", None, {}).content_hash != first.content_hash


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("wrong", "returned int, expected a torch.nn.Module"),
        ("fails", "its code raised ValueError: no data set"),
        ("leaves", "its code raised SystemExit"),
        ("none", "has no function 'none'"),
    ],
)
def test_code_that_fails_is_one_line(code: Path, function: str, message: str) -> None:
    with pytest.raises(RejectedInputError, match=message) as caught:
        build_module(code, function, None, {})
    assert "\n" not in str(caught.value)


def test_weights_must_fit(code: Path, tmp_path: Path) -> None:
    network = build_module(code, "make", None, {}).network
    state = network.module.state_dict()  # type: ignore[union-attr]
    for changed, message in (
        ({k: v for k, v in state.items() if k != "decoder.bias"}, "missing decoder.bias"),
        ({**state, "more": torch.zeros(1)}, "unexpected more"),
        ({**state, "decoder.bias": torch.zeros(3)}, r"decoder.bias has shape \(3,\)"),
        ({**state, "decoder.bias": torch.full((10,), torch.nan)}, "decoder.bias has NaN"),
    ):
        torch.save(changed, tmp_path / "w.pth")
        with pytest.raises(RejectedInputError, match=message):
            build_module(code, "make", tmp_path / "w.pth", {})
    with pytest.raises(UsageError, match="unknown setting prenorm"):
        build_module(code, "make", None, {"prenorm": "true"})
    unpooled = build_module(code, "sequence", None, {}).network
    with pytest.raises(UsageError, match=r"expected logits \(batch, classes\)"):
        logits(unpooled, torch.zeros(2, 8, 1))


def test_a_sweep_runs_and_resumes(code: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["sweep", "-m", f"own={code}:make,flat={code}:plain", "-d", "digits:side=8"]
    arguments += ["--noise", "fourier", "--modes", "1,2", "-L", "40", "-j", "1", "--no-figures"]
    result = call(*arguments, "-o", run)
    assert result.exit_code == 0, result.output
    small = call(*arguments, "-o", tmp_path / "small", "--batch-size", "7", "-j", "2")
    assert small.exit_code == 0, small.output
    for path in (run / "cells").iterdir():
        assert (tmp_path / "small" / "cells" / path.name).read_bytes() == path.read_bytes()
    times = {path: path.stat().st_mtime_ns for path in (run / "cells").iterdir()}
    again = call(*arguments, "-o", run)
    assert again.exit_code == 0, again.output
    assert {path: path.stat().st_mtime_ns for path in (run / "cells").iterdir()} == times


def test_resonance_where_a_layer_allows_it(code: Path, tmp_path: Path) -> None:
    arguments = ["sweep", "-d", "digits:side=8", "-L", "20", "-j", "1"]
    arguments += ["--noise", "resonance", "--eps", "0.5", "--no-figures"]
    run = tmp_path / "run"
    result = call(*arguments, "-m", f"own={code}:make", "--omega", "20", "-o", run)
    assert result.exit_code == 0, result.output
    spikes = call(*arguments, "-m", f"own={code}:make", "-o", tmp_path / "spikes")
    assert spikes.exit_code == 2
    assert "give frequencies by --omega" in spikes.output
    none = call(*arguments, "-m", f"own={code}:plain", "--omega", "20", "-o", tmp_path / "none")
    assert none.exit_code == 2
    assert "has none with a step size" in none.output
    for output in (spikes.output, none.output):
        assert "Traceback" not in output


def test_the_data_must_be_named(code: Path, tmp_path: Path) -> None:
    result = call("sweep", "-m", f"own={code}:make", "--noise", "fourier", "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert "name the data by --data" in result.output
