"""What would give wrong numbers without a word is named before the first cell, or mended."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn

from robustssm.attacks.units import UNITS
from robustssm.cli import main
from robustssm.errors import UsageError
from robustssm.layers.parameters import discrete_diagonal
from robustssm.networks.foreign_parts import Residual
from robustssm.tasks import load_task

CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.change, self.calls, self.net = change, 0, nn.Linear(2, 3)
    def forward(self, x):
        self.calls += 1
        return self.change(self, self.net(x.mean(1)))

def plain(): return Net(lambda self, y: y)
def noise(): return Net(lambda self, y: y + 1e-6 * torch.randn_like(y))
def dropout(): return Net(lambda self, y: nn.functional.dropout(y, 0.5, training=True))
def counts(): return Net(lambda self, y: y * (1 + self.calls))
def batch(): return Net(lambda self, y: nn.functional.batch_norm(y, None, None, training=True))
def fails(): return Net(lambda self, y: y @ torch.ones(5))
def not_finite(): return Net(lambda self, y: y * float("nan"))
"""

FOURIER = ("fourier", "--modes", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(CODE)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 16, 2))
    labels = np.arange(24) % 3
    np.savez(tmp_path / "live.npz", inputs=x, labels=labels)
    x[:, :, 1] = 0.1
    np.savez(tmp_path / "dead.npz", inputs=x, labels=labels)
    return tmp_path


def sweep(folder: Path, function: str, data: str, *options: str) -> Result:
    arguments = ["-m", f"own={folder}/net.py:{function}", "-d", f"file:{folder}/{data}.npz"]
    arguments += ["-o", str(folder / "run"), "-j", "1", "--no-figures", "--noise"]
    return CliRunner().invoke(main, ["sweep", *arguments, *(options or FOURIER)])


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("noise", "other logits for the same samples"),
        ("dropout", "other logits for the same samples"),
        ("counts", "other logits for the same samples"),
        ("batch", "depend on the other samples"),
        ("fails", "its code raised RuntimeError"),
    ],
)
def test_a_module_must_repeat_itself(folder: Path, function: str, said: str) -> None:
    result = sweep(folder, function, "live")
    assert result.exit_code == 4 and said in result.stderr
    assert result.stderr.count("\n") == 1 and not (folder / "run").exists()


def test_one_that_does_is_swept(folder: Path) -> None:
    assert sweep(folder, "plain", "live").exit_code == 0
    # Not a number is a value like another here: its cells fail, and say why.
    (folder / "run").rename(folder / "before")
    result = sweep(folder, "not_finite", "live")
    assert result.exit_code == 3 and "are not finite" in result.stderr


@pytest.mark.parametrize("noise", [FOURIER, ("BandNoise(1, 4)",), ("BandPGD(1, 4)",)])
def test_a_constant_channel_has_no_standard_deviation(folder: Path, noise: list[str]) -> None:
    """0.1 is no number of float32 or float64: its mean over many steps is off by an ulp."""
    assert load_task(f"file:{folder}/dead.npz").std[1] == 0.0
    result = sweep(folder, "plain", "dead", *noise, "--eps", "0.5")
    assert result.exit_code == 2 and not (folder / "run").exists()
    assert "channel 1 of the data is constant" in result.stderr
    assert sweep(folder, "plain", "dead", *noise, "--eps-unit", "rms").exit_code == 0


def test_the_unit_itself_refuses_it() -> None:
    """As for embeddings, whose deviations are known only when the network is there."""
    scale = torch.tensor([1.0, 0.0], dtype=torch.float64)
    with pytest.raises(UsageError, match="channel 1 of the data is constant"):
        UNITS["std"].size(torch.ones(2, 4, 2, dtype=torch.float64), scale)
    assert UNITS["rms"].size(torch.ones(2, 4, 2), scale).tolist() == [1.0, 1.0]


# Values that came out wrong.


def test_poles_too_fast_for_sinh() -> None:
    """(e^z - 1) / A, which torch has a function for."""
    real = -torch.logspace(-3, 300, 400, dtype=torch.float64)
    A = torch.complex(real, torch.full_like(real, 3.0)).requires_grad_()
    z, held = discrete_diagonal(A, torch.tensor(0.1, dtype=torch.float64), "zoh")
    assert torch.isfinite(torch.view_as_real(held)).all()
    # An ulp or two of each function.
    torch.testing.assert_close(held, torch.expm1(z) / A, rtol=1e-14, atol=0)
    held.abs().sum().backward()
    assert A.grad is not None and torch.isfinite(torch.view_as_real(A.grad)).all()


def test_the_highway_mixes_what_it_transformed() -> None:
    """state-spaces/s4, class Highway: y is replaced by Wy y before it is mixed."""
    torch.manual_seed(0)
    residual = Residual("highway", 4, 0).double()
    x, y = torch.randn(2, 3, 5, 4, dtype=torch.float64)

    class Original(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            y = residual.Wy(y)
            r = torch.sigmoid(residual.Wx(x) + y)
            return (1 - r) * x + r * y

    torch.testing.assert_close(residual(x, y), Original()(x, y), rtol=0, atol=0)
