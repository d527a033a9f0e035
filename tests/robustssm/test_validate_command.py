"""`validate`: what a sweep would be, all that is wrong with it, and nothing written."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from robustssm.checkpoints.bundled import zoo_path
from robustssm.checkpoints.model_names import resolve
from robustssm.cli import Commands
from robustssm.cli import main as everything
from robustssm.commands.validate import validate
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.plan import default_output
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory


def call(path: Path, *arguments: str, env: dict[str, str] | None = None) -> Result:
    main = Commands(
        commands={"validate": validate}, context_settings={"auto_envvar_prefix": "ROBUSTSSM"}
    )
    return CliRunner().invoke(main, ["validate", str(path), *arguments], env=env)


def write(folder: Path, text: str) -> Path:
    path = folder / "sweep.toml"
    path.write_text(text)
    return path


GOOD = (
    "model = ['s4d', 's4ptd/*']\nnoise = 'fourier'\nmodes = '1-9'\neps = [0.1, 0.3]\nlimit = 50\n"
)


def test_says_what_the_sweep_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, GOOD)
    result = call(path, "--format", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    plan = make_plan(
        resolve("s4d,s4ptd/*"), Noise("fourier", tuple(range(1, 10)), eps=(0.1, 0.3)), limit=50
    )
    assert found["cells"] == len(plan.unique) == 4 * (1 + 9 * 2)
    assert (found["samples"], found["partial"], found["task"]) == (50, True, plan.task.spec)
    assert [m["content_hash"] for m in found["models"]] == [m.content_hash for m in plan.models]
    assert found["output"] == str(default_output(plan)) and found["problems"] == []
    (condition,) = found["conditions"]
    assert condition["modes"] == list(range(1, 10)) and condition["cells"] == 4 * 9 * 2
    for style in ("table", "md"):
        shown = call(path, "--format", style).stdout
        assert plan.models[3].content_hash[:12] in shown and "PARTIAL" in shown
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_environment_counts_as_it_does_for_sweep(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    env = {"ROBUSTSSM_SWEEP_SEED": "5", "ROBUSTSSM_SWEEP_CONFIG": "elsewhere.toml"}
    found = json.loads(call(path, "--format", "json", env=env).stdout)
    assert found["seed"] == 5
    result = call(path, env={"ROBUSTSSM_SWEEP_SEED": "five"})
    assert result.exit_code == 2 and "'five' is not a valid" in result.stderr


def test_lists_every_problem(tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(zoo_path("s4d", 0).read_bytes()[:1000])
    path = write(
        tmp_path,
        "model = ['s4d', 's9', 's5/7']\nnoise = ['fourier', 'hum', 'Gabor(mode, 0.5, 0.1)']\n"
        "modes = '1-400'\neps = '0.1,x'\nomega = 'y'\nlimit = 0\nepss = 3\nbatch-size = 'big'\n"
        "range = '0-1'\ndevice = 'abacus'\n"
        "[checkpoints]\nmine = 'none.safetensors'\ncut = 'cut.safetensors'\n",
    )
    result = call(path, "--format", "json")
    assert result.exit_code == 2
    problems = json.loads(result.stdout)["problems"]
    expected = [
        "limit = 0: 0 is not in the range",
        "'epss' is unknown, did you mean 'eps'?",
        'batch-size = "big"',
        "device: abacus",
        "model: 's9' is unknown",
        "has no bundled seed '7'",
        "eps: 'x' is not a number",
        "omega: 'y' is not a number",
        "range: '0-1'",
        "'hum' is unknown",
        "Fourier: mode 129 is beyond the Nyquist bin 128",
        "Gabor: mode 129 is beyond the Nyquist bin 128",
        "none.safetensors: no such file",
        "cut.safetensors: truncated",
    ]
    for message in expected:
        assert sum(message in problem for problem in problems) == 1, (message, problems)
    assert len(problems) == len(expected)
    assert f"{len(problems)} problems" in result.stderr
    assert all(problem in result.stderr for problem in problems)


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        ("model = 's4d'", 2, "noise: none is named"),
        ("noise = 'fourier'", 2, "model: none is named"),
        ("model = ['s4d', 's4d/0']\nnoise = 'fourier'", 2, "is named twice"),
        ("model = 's4d'\nnoise = ['fourier', 'Fourier(mode)']", 2, "repeats"),
        ("model = 's4d'\nnoise = 'BandNoise(1, 2)'\nphase = 'sine'", 2, "belong to fourier"),
        ("model = 's4d'\nnoise = 'fourier'\ndata = 'images'", 2, "task: 'images' is unknown"),
        ("noise = 'fourier'\ncheckpoints = {a = 'none'}", 4, "no such file"),
        ("model = 's4d'\nnoise = 'fourier'\noutput = 'sweep.toml'", 2, "is a file"),
        ("model = 's4d'\nnoise = 'fourier'\noutput = '.'", 2, "holds no sweep"),
        ("model = ", 2, "is no TOML"),
    ],
)
def test_one_problem(tmp_path: Path, content: str, code: int, message: str) -> None:
    result = call(write(tmp_path, content))
    assert result.exit_code == code, result.output
    assert message in result.stderr and result.stdout == ""
    assert "1 problem\n" in result.stderr


def test_a_model_of_another_task(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """Models of two tasks cannot be in one sweep; each of them is fine."""
    shutil.copy(checkpoints["s4d"], tmp_path / "short.safetensors")
    text = "noise = 'fourier'\nmodes = '1-3'\ncheckpoints = {short = 'short.safetensors'}\n"
    assert call(write(tmp_path, text)).exit_code == 0
    result = call(write(tmp_path, text.replace("noise", "model = 's4d'\nnoise", 1)))
    assert result.exit_code == 2 and "were trained on" in result.stderr


def test_what_the_output_holds(models: str, tmp_path: Path) -> None:
    text = f"model = '{models}'\noutput = 'run'\n"
    text += "noise = 'fourier'\nmodes = '1,3'\neps = 1\nlimit = 20\n"
    path, run = write(tmp_path, text), RunDirectory(tmp_path / "run")

    def held(text: str = text) -> str:
        result = call(write(tmp_path, text), "--format", "json")
        assert result.exit_code == 0, result.output
        return str(json.loads(result.stdout)["output_holds"])

    assert held() == "nothing, it is not there yet"
    run.path.mkdir()
    assert held() == "nothing"
    plan = make_plan(resolve(models), Noise("fourier", (1, 3), eps=(1.0,)), limit=20)
    run.open(plan, [])
    assert held() == "0 of 6 cells of this sweep"
    run_sweep(plan, run)
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
    assert held() == "6 of 6 cells of this sweep"
    other = text + "seed = 1\n"
    result = call(write(tmp_path, other))
    assert result.exit_code == 2 and "seed of the noise: 0 -> 1" in result.stderr
    assert "discarded by --overwrite" in held(other + "overwrite = true\n")
    assert {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()} == before
    assert path.is_file()


def test_sweep_says_the_same_of_a_plan_by_options(tmp_path: Path) -> None:
    """The command that a valid file stands for starts: its dry run has the same cells."""
    arguments = ["sweep", "-m", "s4d,s4ptd/*", "--noise", "fourier", "--modes", "1-9", "--eps",
                 "0.1,0.3", "-L", "50", "--dry-run", "-j", "1", "--format", "json"]  # fmt: skip
    (row,) = json.loads(CliRunner().invoke(everything, arguments).stdout)["rows"]
    found = json.loads(call(write(tmp_path, GOOD), "--format", "json").stdout)
    assert row["cells"] == found["cells"] and row["output"] == found["output"]
    assert row["samples a cell"] == found["samples"]
