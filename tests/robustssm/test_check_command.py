"""`baseline`, `check` and the pytest fixture: a model retrained badly fails, a good one passes."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.bundled import zoo_path
from robustssm.checkpoints.native import save_checkpoint
from robustssm.cli import Commands
from robustssm.commands.baseline import baseline, check
from robustssm.commands.sweep import sweep
from robustssm.networks.network import Architecture
from robustssm.training.loop import TrainingConfig, train

pytest_plugins = "pytester"
ROOT = Path(__file__).resolve().parents[2]


def call(*arguments: object) -> Result:
    main = Commands(
        commands={"baseline": baseline, "check": check, "sweep": sweep},
        context_settings={"auto_envvar_prefix": "ROBUSTSSM"},
    )
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A baseline of three seeds of S4 and two of S4-PTD, whose curves are alike at the spike.

    A third seed of S4-PTD, and one whose training was stopped after an epoch.
    """
    folder = tmp_path_factory.mktemp("trained")
    run, curve = folder / "run", folder / "curve.json"
    result = call("sweep", "-m", "s4/*,s4ptd/0,s4ptd/1", "--noise", "resonance", "--eps", "0.3,1",
                  "-L", 100, "-j", 1, "--no-figures", "-o", run)  # fmt: skip
    assert result.exit_code == 0, result.output
    result = call("baseline", run, "-o", curve)
    assert result.exit_code == 0, result.output
    assert "2 conditions and the clean accuracy of s4/0, s4/1, s4/2, s4ptd/0" in result.stderr
    assert "PARTIAL" in result.stderr
    assert "s4 (3 training seeds, 2 conditions): falls count from" in result.stderr
    assert "s4ptd (2 training seeds, 2 conditions): " in result.stderr
    said = " ".join(result.stderr.split())
    assert "another kind stays unseen to 2 seeds with up to 0.148, so a model below" in said
    assert "is not judged; 7 seeds would do" in said
    good, bad = folder / "good.safetensors", folder / "bad.safetensors"
    good.write_bytes(zoo_path("s4ptd", 2).read_bytes())
    train(Architecture("s4ptd"), "digits", TrainingConfig(epochs=1, seed=2), bad, command="test")
    return {"run": run, "curve": curve, "good": good, "bad": bad}


def test_another_seed_passes_and_a_training_that_was_stopped_does_not(
    trained: dict[str, Path],
) -> None:
    arguments = ("--baseline", trained["curve"], "-j", 1)
    result = call("check", trained["good"], *arguments, "--against", "s4")
    assert result.exit_code == 0, result.output
    assert "good/2 against s4 (3 training seeds, n = 100)" in result.stdout
    assert "PARTIAL" in result.stdout
    both = trained["good"], f"late={trained['bad']}"
    result = call("check", *both, *arguments, "--against", "s4")
    # Below three seeds everywhere: a failure, or a training of a kind that they have missed.
    assert result.exit_code == 6, result.output
    assert "check: late/2 is not judged: 4 of 4 rows are below the band (" in result.stderr
    assert "resonance at spike 1, eps 0.3 linf: " in result.stderr
    assert "good/2 is" not in result.stderr
    result = call("check", f"late={trained['bad']}", *arguments, "--against", "s4/0")
    assert result.exit_code == 5, result.output
    assert "check: late/2 fell at 4" in result.stderr and "clean accuracy: " in result.stderr
    # Paired with one seed, and S4D: intact, and broken at the spike alone.
    result = call("check", "s4d/2", *arguments, "--against", "s4ptd/0")
    assert result.exit_code == 5
    assert "resonance at spike 1, eps 1 linf" in result.stderr and "band from" in result.stderr
    assert "clean accuracy" not in result.stderr
    assert "s4ptd/0 has one training seed" in result.stderr


def test_a_check_that_could_not_fail_has_not_passed(trained: dict[str, Path]) -> None:
    """Two seeds say nothing of a clean accuracy, nor of a mean."""
    arguments = ("check", trained["good"], "--baseline", trained["curve"], "-j", 1)
    result = call(*arguments, "--against", "s4ptd")
    assert result.exit_code == 6, result.output
    assert "is not judged: no result above chance could fail at " in result.stderr
    assert "more training seeds than 2" in result.stderr
    json_of = call(*arguments, "--against", "s4ptd", "--format", "json").stdout
    assert json.loads(json_of)["passed"] is False
    assert json.loads(json_of)["checks"][0]["without_band"] >= 1
    assert call(*arguments, "--against", "s4ptd", "--unjudged", 1).exit_code == 0


def test_weights_disturbed_a_little_pass_and_much_fail(
    trained: dict[str, Path], tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(zoo_path("s4ptd", 0))
    decoder = checkpoint.network.get_parameter("decoder.weight").data
    original = decoder.clone()
    codes = {}
    for factor in (1.0001, -1.0):
        decoder.copy_(factor * original)
        save_checkpoint(tmp_path / "other.safetensors", checkpoint.network, checkpoint.card)
        codes[factor] = call("check", tmp_path / "other.safetensors", "--against", "s4ptd/0",
                             "--baseline", trained["curve"], "-j", 1).exit_code  # fmt: skip
    assert codes == {1.0001: 0, -1.0: 5}


def test_streams_formats_and_what_is_kept(trained: dict[str, Path], tmp_path: Path) -> None:
    arguments = ("check", "s4ptd", "--baseline", trained["curve"], "-j", 1, "-o",
                 tmp_path / "run", "--progress", "plain", "--against", "s4ptd/0")  # fmt: skip
    first = call(*arguments, "--format", "json")
    content = json.loads(first.stdout)
    assert content["passed"] is True and content["n"] == 100
    (one,) = content["checks"]
    assert one["same_checkpoint"] is True and len(one["conditions"]) == 1 + 2 + 1
    assert "check: 3/3" in first.stderr
    again = call(*arguments, "--format", "json")
    assert again.stdout == first.stdout and "check: " not in again.stderr
    assert call(*arguments, "--format", "csv").stdout.startswith("model,train_seed,against,noise")
    assert call(*arguments, "--format", "md").stdout.startswith("| noise | mode |")
    reused = call("check", "s4ptd", "--baseline", trained["curve"], "-j", 1, "--reuse",
                  trained["run"], "--progress", "plain", "--format", "json",
                  "--against", "s4ptd/0")  # fmt: skip
    assert json.loads(reused.stdout)["checks"] == content["checks"]
    assert "check: " not in reused.stderr


def test_what_cannot_be_checked_is_one_line(trained: dict[str, Path], tmp_path: Path) -> None:
    curve = trained["curve"]
    other = tmp_path / "other.json"
    sha = json.loads(curve.read_text())["data"]["sha256"]
    other.write_text(curve.read_text().replace(sha, "0" * 64))
    for arguments, code, message in (
        (("s4ptd/1", "--baseline", other), 4, "outcomes would not be paired"),
        ((trained["good"], "--baseline", curve), 2, "holds s4, s4ptd"),
        (("s4d", "--baseline", tmp_path / "none.json"), 2, "cannot be read"),
        (("s4x", "--baseline", curve), 2, "'s4x' is unknown"),
        ((trained["good"], "--baseline", curve, "--against", "x"), 2, "'x' is not in it"),
        ((tmp_path / "no.safetensors", "--baseline", curve, "--against", "s4"), 4, "no such file"),
        ((trained["good"], "--baseline", trained["good"]), 4, "not readable as JSON"),
        ((trained["good"], "--baseline", curve, "--margin", 1), 2, "margin"),
        (("s4ptd/1", "--baseline", curve, "--unjudged", 2), 2, "unjudged"),
    ):
        result = call("check", *arguments, "-j", 1)
        assert (result.exit_code, message in result.stderr) == (code, True), result.output
        assert result.stdout == "" and "Traceback" not in result.output


TEST = """
def test_my_model(robustness):
    robustness.check("{model}.safetensors", baseline="curve.json", against="s4")
"""


@pytest.fixture
def user(pytester: pytest.Pytester, trained: dict[str, Path]) -> Callable[[str], pytest.RunResult]:
    """Run a user's test of three lines beside the model's file."""
    installed = any(ep.name == "robustssm" for ep in entry_points(group="pytest11"))

    def run(model: str) -> pytest.RunResult:
        for name in (model, "curve"):
            path = trained.get(name)
            if path is not None:
                (pytester.path / path.name).write_bytes(path.read_bytes())
        pytester.makepyfile(TEST.format(model=model))
        plugin = [] if installed else ["-p", "robustssm.pytest_plugin"]
        return pytester.runpytest_inprocess(*plugin, "-p", "no:cacheprovider")

    return run


def test_a_users_test_passes_and_fails(user: Callable[[str], pytest.RunResult]) -> None:
    user("good").assert_outcomes(passed=1)
    result = user("bad")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "*bad/2 against s4 (3 training seeds, n = 100): 4 undecided of 4",
        "*resonance at spike 1, eps 1 linf: 0.*, band from 0.* (baseline 0.*, change -0.*, p *)",
    ])  # fmt: skip
    assert "Traceback" not in result.stdout.str() and "site-packages" not in result.stdout.str()
    result = user("none")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*checkpoint none.safetensors: no such file*"])


def test_the_plugin_costs_nothing_until_it_is_used() -> None:
    code = (
        "import sys, robustssm.pytest_plugin;"
        "heavy = {'torch', 'numpy', 'pandas', 'scipy', 'click', 'rich'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
