"""The self-test: all is well on an intact installation, and each check finds what it looks for."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from robustssm import philox
from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.bundled import zoo_path
from robustssm.checkpoints.model_names import ModelRef
from robustssm.cli import Commands
from robustssm.commands.doctor import doctor
from robustssm.evaluations.doctor import (
    CHECKS,
    Finding,
    Setting,
    Subject,
    examine,
    read_subject,
)
from robustssm.evaluations.doctor import table as table_of_checks
from robustssm.evaluations.doctor.logits import device_against_cpu
from robustssm.evaluations.sweep.run import Swept, run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.layers import S4D
from robustssm.networks.inference import logits
from robustssm.networks.network import Network
from robustssm.networks.program import Program

Sabotage = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture
def subject(checkpoints: dict[str, Path]) -> Subject:
    return read_subject(ModelRef("small", checkpoints["s4d"]))


def setting_of(subject: Subject, folder: Path, full: bool = False) -> Setting:
    return Setting((subject,), torch.device("cpu"), full, folder)


def run_check(name: str, setting: Setting) -> Finding:
    check = next(check for check in CHECKS if check.name == name)
    chosen = setting.subjects[0] if check.each else None
    return table_of_checks.run(check, setting, chosen)


def test_an_intact_installation_passes(subject: Subject, tmp_path: Path) -> None:
    seen: list[Finding] = []
    found = examine(setting_of(subject, tmp_path, full=True), seen.append)
    assert [f.check for f in found] == [check.name for check in CHECKS] and seen == found
    verdicts = {f.check: f.verdict for f in found}
    assert verdicts.pop("device") == "not available"
    assert set(verdicts.values()) == {"pass"}, [f for f in found if f.verdict == "fail"]
    for finding in found:
        assert finding.compared and finding.measure and finding.reason
        assert finding.model == ("" if finding.check in ONCE else "small")
    assert list(tmp_path.iterdir()) == []


ONCE = {check.name for check in CHECKS if not check.each}


def test_quick_leaves_out_the_sweep_alone(subject: Subject, tmp_path: Path) -> None:
    quick = table_of_checks.planned(setting_of(subject, tmp_path))
    full = table_of_checks.planned(setting_of(subject, tmp_path, full=True))
    assert {c.name for c, _ in full} - {c.name for c, _ in quick} == {"processes"}


def forward(change: Callable[[Callable[[Tensor], Tensor], Network, Tensor], Tensor]) -> Sabotage:
    """Return a sabotage of Network.forward: change(intact forward, network, x) -> logits."""
    intact = Network.forward

    def broken(self: Network, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return change(lambda v: intact(self, v, lengths), self, x)

    return lambda patch: patch.setattr(Network, "forward", broken)


def evaluation(change: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]) -> Sabotage:
    """Return a sabotage of evaluation programs: change(intact logits, x) -> logits."""
    intact = Program.logits

    def broken(self: Program, x: Tensor, *rest: Any) -> Tensor:
        return change(lambda v: intact(self, v, *rest), x)

    return lambda patch: patch.setattr(Program, "logits", broken)


def forgets_a_step(patch: pytest.MonkeyPatch) -> None:
    """The convolution comes a step late, for one kind of layer; the recurrence does not."""
    intact = S4D.kernels
    patch.setattr(S4D, "kernels", lambda self, L: intact(self, L).roll(1, -1))


def counts_in_the_batch(patch: pytest.MonkeyPatch) -> None:
    """Draws belong to the place in the batch instead of the sample."""
    intact = philox.uniform_tensor

    def broken(name: str, ids: Any, count: int, device: torch.device | str = "cpu") -> Tensor:
        return intact(name, torch.arange(len(ids)).numpy(), count, device)

    patch.setattr(philox, "uniform_tensor", broken)


def learns_while_it_looks(patch: pytest.MonkeyPatch) -> None:
    def broken(network: Network, x: Tensor, batch_size: int | None = None) -> Tensor:
        with torch.no_grad():
            network.decoder.bias.add_(1e-3)
        return logits(network, x, batch_size)

    patch.setattr("robustssm.evaluations.doctor.logits.logits", broken)


def without_eval(patch: pytest.MonkeyPatch) -> None:
    @torch.no_grad()
    def broken(network: Network, x: Tensor, batch_size: int = 64) -> Tensor:
        return network(x)

    patch.setattr("robustssm.evaluations.doctor.logits.logits", broken)


def without_eval_again(patch: pytest.MonkeyPatch) -> None:
    def broken(network: Network, x: Tensor, batch_size: int = 64) -> Tensor:
        found = logits(network, x, batch_size)
        network.eval()
        return found

    patch.setattr("robustssm.evaluations.doctor.logits.logits", broken)


def on_the_right(patch: pytest.MonkeyPatch) -> None:
    intact = S4D.eigenvalues
    patch.setattr(S4D, "eigenvalues", lambda self: -intact(self))


def another_answer_in_two(patch: pytest.MonkeyPatch) -> None:
    """One file of the sweep with two processes is another one."""

    def broken(plan: Any, run: RunDirectory, execution: Any) -> Swept:
        swept = run_sweep(plan, run, execution)
        if execution.jobs == 2:
            path = run.cell_path(plan.cells[3].id)
            path.write_bytes(path.read_bytes() + b" ")
        return swept

    patch.setattr("robustssm.evaluations.doctor.machine.run_sweep", broken)


def crashes(patch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **options: Any) -> Tensor:
        raise ZeroDivisionError("by a broken thing")

    patch.setattr("robustssm.evaluations.doctor.logits.logits", broken)


CASES: list[tuple[str, Sabotage]] = [
    ("convolution float64", forgets_a_step),
    ("convolution float32", forgets_a_step),
    ("philox", lambda patch: patch.setattr(philox, "ROUNDS", 9)),
    ("draws", counts_in_the_batch),
    ("perturbed inputs", counts_in_the_batch),
    # Another key: draws are independent of the batch, but not those that there were.
    (
        "perturbed inputs",
        lambda patch: patch.setattr(philox, "key_of", lambda name: (len(name), 0)),
    ),
    ("poles", on_the_right),
    ("state", learns_while_it_looks),
    ("state", evaluation(lambda intact, x: intact(x) + 0.0 * torch.rand(1))),
    ("determinism", evaluation(lambda intact, x: intact(x) + torch.rand(1))),
    ("batches", evaluation(lambda intact, x: intact(x) + x.mean())),
    ("evaluation mode", without_eval),
    ("evaluation mode", without_eval_again),
    ("gradients", forward(lambda intact, self, x: intact(x) + intact(x.detach()))),
    ("zero gradients", forward(lambda intact, self, x: intact(16.0 * x.round()))),
    ("clean accuracy", evaluation(lambda intact, x: intact(x).roll(1, 1))),
    ("processes", another_answer_in_two),
    ("determinism", crashes),
]


@pytest.mark.parametrize(("name", "sabotage"), CASES)
def test_a_check_finds_what_it_looks_for(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sabotage: Sabotage
) -> None:
    setting = setting_of(subject, tmp_path)
    with monkeypatch.context() as patch:
        sabotage(patch)
        found = run_check(name, setting)
    assert found.verdict == "fail"
    assert found.value is None or found.value > (found.tolerance or 0.0) or name == "poles"
    # The subject itself was left as it was.
    assert run_check(name, setting).verdict == "pass"


def test_every_check_is_shown_to_find_something() -> None:
    # "contract": tests/robustssm/test_own_layers.py.
    elsewhere = {"environment", "kernels", "device", "contract"}
    assert {name for name, _ in CASES} == {check.name for check in CHECKS} - elsewhere


def test_broken_kernels(subject: Subject, tmp_path: Path) -> None:
    with torch.no_grad():
        subject.network.ssm_layers()[1].log_dt[0] = torch.nan  # type: ignore[operator]
    setting = setting_of(subject, tmp_path)
    # One channel's kernel and output, of 64 steps each.
    assert run_check("kernels", setting).value == 2 * 64
    # A check that cannot be done has failed, and says why.
    poles = run_check("poles", setting)
    assert poles.verdict == "fail" and "log_dt has NaN" in poles.reason


def test_oscillators_without_damping_are_stable_until_two_meet(
    subject: Subject, tmp_path: Path
) -> None:
    """Their poles are on the axis; without stiffness both are 1, and the state grows."""
    network = load_checkpoint(zoo_path("linoss-imex", 0)).network
    setting = setting_of(replace(subject, network=network), tmp_path)
    poles = run_check("poles", setting)
    assert (poles.verdict, poles.value) == ("pass", 0.0)
    layer: Any = network.ssm_layers()[0]
    with torch.no_grad():
        layer.A_diag[0] = -1.0
    again = run_check("poles", setting)
    assert again.verdict == "fail" and "an oscillator grows" in again.reason


def test_a_card_that_promises_too_much(subject: Subject, tmp_path: Path) -> None:
    card = subject.checkpoint.card
    assert card.clean_accuracy is not None
    better = replace(card, clean_accuracy=card.clean_accuracy + 2.0 / card.n_test)
    other = replace(subject, checkpoint=replace(subject.checkpoint, card=better))
    assert run_check("clean accuracy", setting_of(other, tmp_path)).verdict == "fail"
    foreign = replace(card, task_hash="0" * 64)
    other = replace(subject, checkpoint=replace(subject.checkpoint, card=foreign))
    found = run_check("clean accuracy", setting_of(other, tmp_path))
    assert found.verdict == "fail" and found.value == 0.0


def test_a_folder_that_is_a_file(subject: Subject, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    found = run_check("environment", setting_of(subject, tmp_path / "runs"))
    assert found.verdict == "fail" and "not writable" in str(found.facts["missing"])


@pytest.fixture
def tf32() -> Iterator[Callable[[bool], None]]:
    """Switches TF32 products on or off, for the test."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32

    def switch(on: bool) -> None:
        products.allow_tf32 = convolutions.allow_tf32 = on

    yield switch
    products.allow_tf32, convolutions.allow_tf32 = before


def test_comparison_of_devices(
    subject: Subject, tmp_path: Path, tf32: Callable[[bool], None]
) -> None:
    """The CPU in the GPU's place agrees with itself; products in TF32 do not pass."""
    setting = setting_of(subject, tmp_path)
    tf32(False)
    found = device_against_cpu(setting, subject)
    assert found.verdict == "pass" and found.value is not None and found.tolerance is not None
    assert 0.0 < found.value == found.tolerance / 8.0
    assert found.facts["samples whose draws differ"] == 0
    tf32(True)
    assert device_against_cpu(setting, subject).verdict == "fail"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_agrees(subject: Subject, tmp_path: Path) -> None:
    setting = replace(setting_of(subject, tmp_path), device=torch.device("cuda"))
    assert run_check("device", setting).verdict == "pass"


def test_the_command(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = Commands(commands={"doctor": doctor})
    arguments = ["doctor", "-m", f"small={checkpoints['s4d']}", "-o", str(tmp_path / "runs")]
    result = CliRunner().invoke(main, [*arguments, "--format", "json"])
    assert result.exit_code == 0, result.output
    checks = json.loads(result.stdout)["checks"]
    assert len(checks) == len(CHECKS) - 1  # all but the sweep
    assert {"check", "compared", "value", "tolerance", "reason", "verdict"} <= set(checks[0])
    assert not (tmp_path / "runs").exists()
    forgets_a_step(monkeypatch)
    broken = CliRunner().invoke(main, arguments)
    assert broken.exit_code == 4
    assert "FAIL  convolution float64" in broken.stdout and "PASS  philox\n" in broken.stdout
    assert "checks failed: convolution float64, convolution float32" in broken.stderr
