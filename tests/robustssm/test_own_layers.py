"""Layers of somebody's own module that say what linear system they are: `state_space()`."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from scipy.signal import cont2discrete
from torch import Tensor, nn

from robustssm.checkpoints.factory import FactoryModel, build_module
from robustssm.cli import main
from robustssm.errors import RejectedInputError, UsageError
from robustssm.evaluations.trained_layers.examination import layer_parity
from robustssm.evaluations.trained_layers.operators import finite_gain
from robustssm.evaluations.trained_layers.reading import layer_spectrum, layer_system
from robustssm.hippo.initializations import initialization
from robustssm.layers import S4D, S5, SSMLayer
from robustssm.layers.base import complex128
from robustssm.layers.own import OwnLayer
from robustssm.networks.inference import logits
from tests.source_tree import ROOT

D_MODEL, N = 3, 4
THETA = np.linspace(0.0, np.pi, 41)


class Said(nn.Module):
    """A layer that says what it is told to say."""

    def __init__(self, *system: Any) -> None:
        super().__init__()
        self.system = system

    def state_space(self) -> Any:
        return self.system


def example(shared: bool, full: bool, complex_: bool, dt: str) -> tuple[Any, ...]:
    """Return (A, B, C, D, dt) of a stable system, or one per channel."""
    rng = np.random.default_rng(7)
    c, q = ((), D_MODEL) if shared else ((D_MODEL,), 1)

    def normal(*shape: int) -> Any:
        values = rng.normal(size=(*c, *shape))
        return values + 1j * rng.normal(size=values.shape) if complex_ else values

    if full:
        skew = normal(N, N)
        A = skew - skew.swapaxes(-1, -2).conj() - np.diag(rng.uniform(0.3, 1.0, N))
    else:
        A = -rng.uniform(0.3, 1.0, (*c, N)) + (1j * rng.uniform(0, 9, N) if complex_ else 0.0)
    steps: Any = {
        "one": 0.1,
        "each": rng.uniform(0.05, 0.3, D_MODEL),
        "state": rng.uniform(0.05, 0.3, A.shape),
        "none": None,
    }[dt]
    if dt == "none":
        A = 0.7 * A / (np.linalg.norm(A, 2, (-2, -1)).max() if full else np.abs(A).max())
    return A, normal(N, q), normal(q, N), rng.normal(size=D_MODEL), steps


CASES = [
    (shared, full, complex_, dt)
    for shared in (False, True)
    for full in (False, True)
    for complex_ in (False, True)
    for dt in ("one", "none", *(() if shared else ("each",)), *(() if full else ("state",)))
]


def discrete(system: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Return (Abar, Bbar, C, D) of each system by scipy's zero-order hold: another route."""
    A, B, C, D, dt = system
    shared, parts = B.ndim == 2, []
    for k in range(1 if shared else D_MODEL):
        a, b, c = (v if shared else v[k] for v in (A, B, C))
        a = np.diag(a) if a.ndim == 1 else a
        if dt is not None:
            rows = _steps(dt, k, shared)
            # A step per state is a scale of its own time.
            held = cont2discrete((rows[:, None] * a, rows[:, None] * b, c, 0 * c @ b), 1.0)
            a, b = held[0], held[1]
        parts.append((a, b, c, np.diag(D) if shared else D[k : k + 1, None]))
    return parts


def _steps(dt: Any, k: int, shared: bool) -> Any:
    if np.ndim(dt) == 0:
        return np.full(N, dt)
    return dt if shared else np.broadcast_to(dt[k], (N,))


def outputs(system: tuple[Any, ...], u: Any) -> Any:
    """Return y_t = Re(C x_t) + D u_t, x_t = Abar x_{t-1} + Bbar u_t, channel by channel."""
    y, shared = np.zeros_like(u), system[1].ndim == 2
    for k, (a, b, c, d) in enumerate(discrete(system)):
        part = slice(None) if shared else slice(k, k + 1)
        x = np.zeros((len(u), N), dtype=complex)
        for t in range(u.shape[1]):
            x = x @ a.T + u[:, t, part] @ b.T
            y[:, t, part] = (x @ c.T).real + u[:, t, part] @ d.T
    return y


@pytest.mark.parametrize("case", CASES)
def test_what_a_layer_says_is_what_is_read(case: tuple[bool, bool, bool, str]) -> None:
    """Recurrence, transfer function, peak, finite gain: each against scipy and dense algebra."""
    system = example(*case)
    layer = OwnLayer(Said(*system))
    assert layer.d == D_MODEL and layer.step_size().shape == (D_MODEL,)
    L = 12
    u = np.random.default_rng(1).normal(size=(2, L, D_MODEL))
    found = layer.recurrence(torch.from_numpy(u)).numpy()
    expected = outputs(system, u)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())

    read, shared = layer_system(layer, L), case[0]
    direct = []
    for a, b, c, d in discrete(system):
        H = [
            # The real part of the output: the mean of the system and of its conjugate.
            0.5 * (c @ np.linalg.solve(np.eye(N) - a / z, b)
                   + (c @ np.linalg.solve(np.eye(N) - a / z.conj(), b)).conj()) + d
            for z in np.exp(1j * THETA)
        ]  # fmt: skip
        direct.append(np.linalg.norm(np.stack(H), ord=2, axis=(1, 2)))
    np.testing.assert_allclose(read.gain(THETA), np.stack(direct), rtol=1e-9)
    for bracket, gains in zip(read.peaks(1e-3), direct, strict=True):
        assert gains.max() <= bracket.high * (1 + 1e-12)
        assert bracket.low <= bracket.high <= bracket.low * 1.0011

    impulse = np.eye(L * D_MODEL).reshape(L * D_MODEL, L, D_MODEL)
    whole = outputs(system, impulse).reshape(L * D_MODEL, L, D_MODEL)
    norms = [
        np.linalg.norm(part.reshape(len(part), -1), ord=2)
        for part in ([whole] if shared else [whole[k::D_MODEL, :, k] for k in range(D_MODEL)])
    ]
    value, converged = finite_gain(read, L, np.zeros(len(norms)))
    assert converged.all()
    np.testing.assert_allclose(value, norms, rtol=1e-6)


@pytest.mark.parametrize("order", ["halves", "pairs"])
def test_conjugate_pairs_that_are_written_out_are_one_real_system(order: str) -> None:
    A, B, C, D, dt = example(False, False, True, "each")

    def both(v: Any, axis: int) -> Any:
        pair = np.stack([v, v.conj()], axis=axis if order == "halves" else axis + 1)
        return pair.reshape(*v.shape[:axis], 2 * v.shape[axis], *v.shape[axis + 1 :])

    half = OwnLayer(Said(A, B, C, D, dt))
    whole = OwnLayer(Said(both(A, 1), both(B, 1), both(0.5 * C, 2), D, dt))
    assert half.order == whole.order == 2 * N
    np.testing.assert_allclose(
        layer_system(half, 8).gain(THETA), layer_system(whole, 8).gain(THETA), rtol=1e-12
    )
    poles = layer_spectrum(whole).poles
    assert poles.shape == (D_MODEL, 2 * N) and len(np.unique(poles[0])) == 2 * N


def test_a_native_layer_that_says_what_it_is_is_read_as_itself() -> None:
    """S4D and S5 under another name: the same poles, gains and orders."""
    torch.manual_seed(0)
    diagonal, mimo = S4D(initialization("s4d", 8), 3), S5(initialization("s5", 8), 3)
    A, B, C = diagonal.eigenvalues(), complex128(diagonal.B), 2.0 * complex128(diagonal.C)
    said: list[tuple[SSMLayer, tuple[Any, ...]]] = [
        (diagonal, (A, B[..., None], C[:, None], diagonal.D, diagonal.step_size()))
    ]
    A, B, C = mimo.eigenvalues(), complex128(mimo.B), 2.0 * complex128(mimo.C)
    said.append((mimo, (A, B, C, mimo.D, mimo.steps())))
    for native, system in said:
        layer = OwnLayer(Said(*system))
        assert layer.order == native.order == 8
        ours, theirs = layer_system(layer, 64), layer_system(native, 64)
        np.testing.assert_array_equal(ours.poles, theirs.poles)
        np.testing.assert_allclose(ours.gain(THETA), theirs.gain(THETA), rtol=1e-12)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"A": np.ones((2, 2))}, r"returned shapes \(2, 2\), \(3, 4, 1\)"),
        ({"dt": np.ones(5)}, "dt a number, one per channel"),
        ({"dt": -0.1}, "a dt that is not real and above 0"),
        ({"B": np.full((3, 4, 1), np.nan)}, "NaN or infinite"),
        ({"C": None}, r"returned no \(A, B, C, D, dt\)"),
        ({"A": "poles"}, r"returned no \(A, B, C, D, dt\)"),
    ],
)
def test_what_is_no_system_is_one_line(changed: dict[str, Any], message: str) -> None:
    system = dict(zip(["A", "B", "C", "D", "dt"], example(False, False, False, "one"), strict=True))
    layer = OwnLayer(Said(*{**system, **changed}.values()))
    with pytest.raises(RejectedInputError, match=message) as caught:
        layer_spectrum(layer)
    assert "\n" not in str(caught.value) and "state_space()" in str(caught.value)


def test_an_unstable_system_has_no_peak_and_a_broken_method_is_named() -> None:
    A, B, C, D, dt = example(False, True, False, "one")
    with pytest.raises(UsageError, match="poles with Re >= 0"):
        layer_system(OwnLayer(Said(-A, B, C, D, dt)), 8)

    class Broken(nn.Module):
        def state_space(self) -> Any:
            return self.nothing

    with pytest.raises(RejectedInputError, match=r"layer Broken: its state_space\(\) raised Attr"):
        layer_spectrum(OwnLayer(Broken()))


class Runs(Said):
    """A layer whose forward is its system, or not; it counts its calls."""

    calls: Tensor

    def __init__(self, factor: float, *system: Any) -> None:
        super().__init__(*system)
        self.factor = factor
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, u: Tensor) -> Tensor:
        self.calls += 1
        return self.factor * OwnLayer(Said(*self.system)).recurrence(u)


def test_parity_tells_a_forward_that_is_another_system() -> None:
    system = example(True, False, True, "state")
    true, other = Runs(1.0, *system), Runs(1.5, *system)
    assert layer_parity(OwnLayer(true)) < 1e-5 and layer_parity(OwnLayer(other)) > 0.1
    assert true.calls == 0  # a copy was called


CODE = """
import torch
from torch import nn

class SSM(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.log_dt = nn.Parameter(torch.linspace(-3.0, -1.0, d))
        self.D = nn.Parameter(torch.ones(d))  # a parameter called D, and one called d
        self.d = 3
    def step_size(self):
        return torch.exp(self.log_dt.double())
    def forward(self, u):
        return u * self.D

class Says(SSM):
    def state_space(self):
        d = len(self.D)
        A = torch.tensor([[-0.5 + 3j, -0.5 - 3j]]).expand(d, 2)
        B, C = torch.ones(d, 2, 1), torch.ones(d, 1, 2)
        return A, B, C, self.D, self.step_size()

class Net(nn.Module):
    def __init__(self, layer, output=lambda y: y):
        super().__init__()
        self.encoder, self.ssm, self.decoder = nn.Linear(1, 4), layer, nn.Linear(4, 3)
        self.output = output
    def forward(self, x):
        return self.output(self.decoder(self.ssm(self.encoder(x)).mean(1)))

class Output:
    def __init__(self, logits):
        self.logits = logits

def steps(): return Net(SSM(4))
def says(): return Net(Says(4))
def named(): return Net(Says(4), lambda y: {"loss": 0.0, "logits": y})
def attribute(): return Net(Says(4), Output)
def tupled(): return Net(Says(4), lambda y: (y, 3))
def few(): return Net(Says(4), lambda y: y[:, :2])
def many(): return Net(Says(4), lambda y: torch.cat([y, y], 1))
def unpooled(): return nn.Sequential(nn.Linear(1, 3))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(CODE)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(30, 16, 1)), y=np.arange(30) % 3)
    return tmp_path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments], catch_exceptions=False)


def test_inspect_and_gain_read_a_layer_that_says_its_system(folder: Path) -> None:
    result = call("inspect", f"own={folder}/net.py:says", "--format", "json")
    assert result.exit_code == 0, result.output
    assert '"largest_real": -0.5' in result.stdout
    gain = call("gain", f"own={folder}/net.py:says", "--length", 32, "--no-figures")
    assert gain.exit_code == 0, gain.output


def test_one_that_says_its_step_alone_is_told_what_to_do(folder: Path) -> None:
    result = call("inspect", f"own={folder}/net.py:steps")
    assert result.exit_code == 0 and "give it a method state_space()" in result.output
    gain = call("gain", f"own={folder}/net.py:steps", "--length", 32, "--no-figures")
    assert gain.exit_code == 2 and "give it a method state_space()" in gain.output
    resonance = ["--noise", "resonance", "--omega", "3", "--eps", "0.5", "-j", 1, "--no-figures"]
    data = ["-d", f"file:{folder}/data.npz", "-o", folder / "run"]
    assert call("sweep", "-m", f"own={folder}/net.py:steps", *data, *resonance).exit_code == 0


def test_logits_may_stand_in_a_mapping_an_attribute_or_a_tuple(folder: Path) -> None:
    x = torch.randn(4, 16, 1, generator=torch.Generator().manual_seed(0))
    plain, *others = (
        logits(build_module(folder / "net.py", name, None, {}).network, x)
        for name in ("says", "named", "attribute", "tupled")
    )
    for other in others:
        assert torch.equal(other, plain)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("few", "answers (2,) per sample, expected (3,); take a network that was trained for"),
        ("unpooled", "expected logits (batch, classes); pool over time in it"),
    ],
)
def test_outputs_that_do_not_fit_are_one_line_before_anything_runs(
    folder: Path, function: str, said: str
) -> None:
    arguments = ["-d", f"file:{folder}/data.npz", "--noise", "fourier", "--modes", "1"]
    result = call("sweep", "-m", f"own={folder}/net.py:{function}", *arguments, "-o", folder / "r")
    assert result.exit_code in (2, 4) and said in result.stderr
    assert result.stderr.count("\n") == 1 and not (folder / "r").exists()


def test_what_is_to_be_known_is_said_before_the_table(folder: Path) -> None:
    arguments = ["-d", f"file:{folder}/data.npz", "--noise", "fourier", "--modes", "1", "-j", 1]
    arguments += ["--no-figures", "-o", folder / "r"]
    result = call("sweep", "-m", f"own={folder}/net.py:many", *arguments)
    assert result.exit_code == 0
    assert "own: tells 6 classes apart, and the samples are of 3" in result.stderr
    assert "own: its weights are those that many() returns" in result.stderr
    # 30 samples of three classes, and a network that nobody trained.
    accuracy = pd.read_csv(folder / "r" / "summary.csv")["clean_accuracy"].iloc[0]
    assert ("no better than that of the best constant answer" in result.stderr) == (
        accuracy <= 1 / 3
    )
    # One that knows the answer is not told so.
    x = np.eye(3)[np.arange(30) % 3].repeat(16, 0).reshape(30, 16, 3)
    np.savez(folder / "data.npz", x=x, y=np.arange(30) % 3)
    (folder / "net.py").write_text(
        CODE
        + """
def knows():
    net = nn.Linear(3, 3)
    net.weight.data, net.bias.data = torch.eye(3), torch.zeros(3)
    return Pool(net)
class Pool(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net
    def forward(self, x):
        return self.net(x.mean(1))
"""
    )
    result = call("sweep", "-m", f"own={folder}/net.py:knows", *arguments[:-1], folder / "s")
    assert result.exit_code == 0 and "constant answer" not in result.stderr


TOKENS = """
import torch
from torch import nn

class Net(nn.Module):
    tokens = 7
    def __init__(self):
        super().__init__()
        self.table, self.decoder = nn.Embedding(7, 5), nn.Linear(5, 2)
    def embed(self, tokens):
        return self.table(tokens)
    def forward(self, x, lengths=None):
        if lengths is None:
            return self.decoder(x.mean(1))
        valid = torch.arange(x.shape[1]) < lengths[:, None]
        return self.decoder((x * valid[..., None]).sum(1) / lengths[:, None])

def make(): return Net()
"""


def test_a_module_of_tokens_with_lengths_is_swept(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(TOKENS)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 7, (20, 12)), np.arange(20) % 2
    np.savez(tmp_path / "data.npz", x=x, y=y, lengths=rng.integers(3, 13, 20))
    arguments = ["-d", f"file:{tmp_path}/data.npz", "--noise", "fourier", "--modes", "1", "-j", 1]
    arguments += ["--no-figures", "-o", tmp_path / "r"]
    result = call("sweep", "-m", f"own={tmp_path}/net.py:make", *arguments)
    assert result.exit_code == 0, result.output
    np.savez(tmp_path / "data.npz", x=x + 1, y=y)
    result = call("sweep", "-m", f"own={tmp_path}/net.py:make", *arguments[:-1], tmp_path / "s")
    assert result.exit_code == 4 and "takes 7 tokens" in result.stderr


def test_doctor_checks_the_contract(folder: Path) -> None:
    arguments = ["--data", f"file:{folder}/data.npz", "--format", "json"]
    result = call("doctor", "-m", f"own={folder}/net.py:says", *arguments)
    checks = {row["check"]: row for row in json.loads(result.stdout)["checks"]}
    assert checks["contract"]["verdict"] == checks["determinism"]["verdict"] == "pass"
    # Its forward multiplies by D, which is not what it says: the distance is shown.
    off = checks["contract"]["facts"]["forward off the system that a layer says it is, relative"]
    assert float(off) > 0.1
    wrong = call("doctor", "-m", f"own={folder}/net.py:few", *arguments)
    assert wrong.exit_code == 4 and "contract (own)" in wrong.stderr
    assert FactoryModel.__name__ not in wrong.output


def test_the_page_on_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its module is what it says, and its commands run."""
    page = (ROOT / "docs" / "own-modules.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(code)
    module = build_module(Path("net.py"), "make", None, {}).network
    (layer,) = module.ssm_layers()
    assert layer_parity(layer) < 1e-5  # float32, FFTs of 256
    state = {k.removeprefix("module."): v for k, v in module.state_dict().items()}
    # What it answers is the label, and not always the same: its accuracy is above chance.
    x = torch.randn(60, 32, 2, generator=torch.Generator().manual_seed(0))
    said = logits(module, x)
    state["decoder.bias"] = state["decoder.bias"] - said.mean(0)
    torch.save(state, "weights.pth")
    np.savez("samples.npz", inputs=x.numpy(), labels=(said - said.mean(0)).argmax(1).numpy())
    commands = [line.strip() for line in page.splitlines() if line.startswith("    robustssm ")]
    assert len(commands) == 4
    for command in commands:
        words = shlex.split(command)[1:]
        result = call(*words, *(["--no-figures", "-j", 1] if words[0] == "sweep" else []))
        assert result.exit_code == 0, f"{command}: {result.output}"
