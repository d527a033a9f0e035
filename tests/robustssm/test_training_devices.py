"""Training elsewhere than on the CPU: nothing is left behind there, and what a GPU repeats."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from robustssm.checkpoints import load_checkpoint
from robustssm.cli import main
from robustssm.networks.network import Architecture, build_network
from robustssm.training.loop import TrainingConfig, parameter_groups, train

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
INITS = ["s4", "s4d", "s4ptd-rank1", "dss", "s5", "s5ptd-rank1"]
SMALL = Architecture("s4d", n=4, d_model=4, layers=1)
TASK = "digits:side=8"


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("tokens", [0, 7])
@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_a_step_leaves_nothing_on_the_cpu(
    init: str, bidirectional: bool, tokens: int, norm: str
) -> None:
    # torch's meta device has shapes and no values, and refuses to compute with other devices.
    architecture = Architecture(
        init,
        n=8,
        d_model=4,
        layers=2,
        d_input=4 if tokens else 1,
        tokens=tokens,
        bidirectional=bidirectional,
        norm=norm,
    )
    network = build_network(architecture).to("meta").train()
    x = torch.zeros(3, 16, dtype=torch.int64, device="meta")
    x = network.embed(x) if tokens else x[..., None].float()
    # Statistics of a batch of samples that end early depend on values: which steps there are.
    lengths = torch.full((3,), 5) if norm == "layer" else None
    out = network(x, lengths)
    nn.functional.cross_entropy(out, torch.zeros(3, dtype=torch.int64, device="meta")).backward()
    optimizer = torch.optim.AdamW(parameter_groups(network, TrainingConfig()))
    optimizer.step()
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    result = CliRunner().invoke(
        main, ["train", "--init", "s4d", "--device", "cuda", "-o", str(path)]
    )
    assert result.exit_code == 2 and "device: cuda cannot be used" in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_card_names_another_device_alone() -> None:
    assert "device" not in TrainingConfig().to_dict()
    assert TrainingConfig(device="cuda").to_dict()["device"] == "cuda"


@GPU
def test_on_a_gpu_a_stopped_run_ends_in_the_same_bytes(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=3, device="cuda", ema=0.9)
    one, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    train(SMALL, TASK, config, one, command="c")
    train(SMALL, TASK, config, other, command="c", stop_after=1)
    train(SMALL, TASK, config, other, command="c")
    assert one.read_bytes() == other.read_bytes()


@GPU
def test_a_gpu_takes_the_steps_of_the_cpu(tmp_path: Path) -> None:
    shape = Architecture("s4d", n=4, d_model=4, layers=1, dropout=0.0)
    found = []
    for device in ("cpu", "cuda"):
        path = tmp_path / f"{device}.safetensors"
        train(shape, TASK, TrainingConfig(epochs=1, device=device), path, command="c")
        found.append(load_checkpoint(path).network.state_dict())
    for key, value in found[0].items():
        # Eight float32 steps of at most 0.01: AdamW divides by a gradient's size, so a rounding
        # of the smallest gradients may turn a step, most stay within a hundredth of one.
        torch.testing.assert_close(found[1][key], value, rtol=1e-3, atol=1e-3)
