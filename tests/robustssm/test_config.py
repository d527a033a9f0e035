"""Configuration files: the same plan as by options, what overrides what, mistakes in one line."""

import json
import shutil
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from robustssm.checkpoints.bundled import zoo_path
from robustssm.cli import Commands
from robustssm.commands.common import SharedOptions, shared
from robustssm.commands.config import read_configuration
from robustssm.commands.noise_options import noise_options
from robustssm.commands.parameter_types import Numbers
from robustssm.commands.sweep import sweep, sweep_plan
from robustssm.errors import UsageError

EXAMPLE = """
model = ["s4d", "s4ptd/*"]
noise = ["fourier", "BandNoise(1, 16)"]
modes = "1-3,7"
eps = [0.1, 1e-3]
eps-unit = "rms"
seed = 7
limit = 40

[checkpoints]
mine = "trained/mine.safetensors"
"""


@click.command("plan")
@shared("models", "task", "seed", "limit", "config")
@noise_options
@click.option("--keep/--no-keep", default=True)
@click.option("--rate", type=float, default=1.0)
@click.option("--folder", type=click.Path(path_type=Path))
def small(keep: bool, rate: float, folder: Path | None, **options: Any) -> None:
    """Print the plan of a sweep."""
    plan = sweep_plan(SharedOptions.taken(options), **options)
    print(json.dumps({"id": plan.id, "frame": plan.frame().to_dict("records"), "keep": keep,
                      "rate": rate, "folder": str(folder)}))  # fmt: skip


def call(*arguments: str, env: dict[str, str] | None = None) -> Result:
    main = Commands(commands={"plan": small}, context_settings={"auto_envvar_prefix": "ROBUSTSSM"})
    return CliRunner().invoke(main, ["plan", *arguments], env=env)


def planned(*arguments: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    result = call(*arguments, env=env)
    assert result.exit_code == 0, result.output
    content: dict[str, Any] = json.loads(result.stdout)
    return content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a checkpoint in it, and the example."""
    (tmp_path / "trained").mkdir()
    shutil.copy(zoo_path("s5", 0), tmp_path / "trained" / "mine.safetensors")
    (tmp_path / "example.toml").write_text(EXAMPLE)
    return tmp_path


def test_the_same_plan_by_file_and_by_options(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_options = planned(
        "-m", "s4d,s4ptd/*", "-m", f"mine={folder}/trained/mine.safetensors", "--noise", "fourier",
        "--noise", "BandNoise(1, 16)", "--modes", "1-3,7", "--eps", "0.1,0.001", "--eps-unit",
        "rms", "--seed", "7", "-L", "40",
    )  # fmt: skip
    assert planned("-C", str(folder / "example.toml")) == by_options
    underscored = EXAMPLE.replace("eps-unit", "eps_unit")
    (folder / "other.toml").write_text(underscored)
    monkeypatch.chdir(folder.parent)  # paths belong to the file's folder, wherever one stands
    assert planned("--config", f"{folder.name}/other.toml") == by_options
    text = {"ROBUSTSSM_PLAN_CONFIG": str(folder / "example.toml")}
    assert planned(env=text) == by_options


@pytest.mark.parametrize("said", [{"file"}, {"file", "environment"}, {"file", "command"}, set(),
                                  {"file", "environment", "command"}])  # fmt: skip
def test_command_line_then_environment_then_file_then_default(
    tmp_path: Path, said: set[str]
) -> None:
    (tmp_path / "a.toml").write_text("seed = 1\nrate = 1\nkeep = false\n" if "file" in said else "")
    arguments = ["-C", str(tmp_path / "a.toml"), "-m", "s4d", "--noise", "fourier", "--eps", "1",
                 "--modes", "1"]  # fmt: skip
    arguments += ["--seed", "3", "--keep"] if "command" in said else []
    env = {"ROBUSTSSM_PLAN_SEED": "2"} if "environment" in said else {}
    found = planned(*arguments, env=env)
    values = {"command": 3, "environment": 2, "file": 1}
    expected = next((seed for who, seed in values.items() if who in said), 0)
    assert {row["seed"] for row in found["frame"]} == {expected}
    assert found["keep"] == ("file" not in said or "command" in said)


def test_a_list_on_the_command_line_stands_instead_of_the_files(folder: Path) -> None:
    found = planned("-C", str(folder / "example.toml"), "-m", "s4", "--eps", "0.3")
    assert {row["model"] for row in found["frame"]} == {"s4"}
    assert {row["eps"] for row in found["frame"]} == {0.0, 0.3}


def test_paths_belong_to_the_files_folder(folder: Path) -> None:
    (folder / "a.toml").write_text(
        'folder = "out"\nmodel = ["one=trained/mine.safetensors,s4d", "trained/mine.safetensors"]\n'
        'noise = "fourier"\nmodes = 3\neps = 1\n'
    )
    found = planned("-C", str(folder / "a.toml"))
    assert found["folder"] == str(folder / "out")
    assert {row["model"] for row in found["frame"]} == {"one", "s4d", "mine"}


@given(values=st.lists(st.floats(allow_nan=False, min_value=0.0), min_size=1, unique=True))
def test_numbers_of_a_list_are_those_of_the_option(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    """Text and back, every bit: repr of a double is the shortest text that gives it again."""
    path = tmp_path_factory.getbasetemp() / "numbers.toml"
    path.write_text(f"eps = [{', '.join(map(repr, values))}]")
    text = read_configuration(path, sweep)[0]["eps"]
    assert Numbers("eps").convert(text, None, None) == tuple(values)


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ("epss = 1", ["'epss' is unknown, did you mean 'eps'? expected one of"]),
        ("task = 'digits'", ["'task' is unknown, did you mean 'data'?"]),
        ("no-keep = true", ["'no-keep' is unknown, did you mean 'keep'?"]),
        ("config = 'b.toml'", ["'config' is unknown"]),
        ("[fourier]\nmodes = 1", ["'fourier' is unknown"]),
        ("seed = '1'", ['seed = "1": expected an integer']),
        ("seed = true", ["seed = true: expected an integer"]),
        ("seed = -1", ["seed = -1: -1 is not in the range"]),
        ("seed = [1, 2]", ["seed = [1, 2]: expected an integer"]),
        ("rate = 'fast'", ['rate = "fast": expected a number']),
        ("keep = 'no'", ['keep = "no": expected true or false']),
        ("eps = true", ["eps = true: expected text"]),
        ("eps = [0.1, [0.3]]", ["expected text"]),
        ("modes = 2020-01-01", ['modes = "2020-01-01": expected text']),
        ("model = 4", ["model = 4: expected text or a list of texts"]),
        ("noise = ['fourier', 3]", ["expected text or a list of texts"]),
        ("clip = 'hart'", ["clip = \"hart\": 'hart' is not one of", "Did you mean 'hard'?"]),
        ("folder = 3", ["folder = 3: expected text"]),
        ("checkpoints = 'a'", ['checkpoints = "a": expected a table']),
        ("checkpoints = {a = 3}", ["checkpoints.a = 3: expected a file"]),
        ("checkpoints = {'a,b' = 'c'}", ["a label has no , or = in it"]),
        ("eps-unit = 'l2'\neps_unit = 'l2'", ["'eps_unit' and 'eps-unit' are one option"]),
        ("rate = 1\nseed = x", ["is no TOML", "line 2"]),
        ("seed = -1\nepss = 3", ["seed = -1", "'epss' is unknown"]),
    ],
)
def test_a_mistake_is_one_line_with_file_and_key(
    tmp_path: Path, content: str, messages: list[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(content)
    result = call("-C", str(path), "-m", "s4d", "--noise", "fourier")
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert all(message in result.stderr for message in messages), result.stderr
    lines = result.stderr.splitlines()
    assert all(f"config {path}: " in line for line in lines)
    assert len(lines) == (2 if content == "seed = -1\nepss = 3" else 1)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in call("-C", str(tmp_path / "none.toml")).stderr
    assert "Is a directory" in call("-C", str(tmp_path)).stderr
    (tmp_path / "latin.toml").write_bytes(b"eps = '\xe9'")
    assert "no UTF-8" in call("-C", str(tmp_path / "latin.toml")).stderr


def spellings(command: click.Command) -> list[tuple[str, click.Option]]:
    found = []
    for option in command.params:
        assert isinstance(option, click.Option)
        for name in option.opts:
            if name.startswith("--") and option.name not in ("config", "allow_code"):
                found.append((name.removeprefix("--"), option))
    return found


@pytest.mark.parametrize(("key", "option"), spellings(sweep))
def test_every_option_of_sweep_can_be_said_in_a_file(
    tmp_path: Path, key: str, option: click.Option
) -> None:
    kind = option.type
    values = {"checkpoint": "a", "reuse": str(tmp_path), "batch-size": 3}
    value: Any = {**values, "eps": "1,2", "omega": 3.5, "range": "0,1"}.get(key, "text")
    if isinstance(kind, click.Choice):
        value = str(kind.choices[-1])
    elif isinstance(kind, click.types.IntParamType):
        value = 3
    written = "true" if option.is_flag else json.dumps(value)
    path = tmp_path / "a.toml"
    for spelling in (key, key.replace("-", "_")):
        path.write_text(f"{spelling} = {written}")
        values, problems = read_configuration(path, sweep)
        assert problems == [] and set(values) == {option.name}
        assert isinstance(values[str(option.name)], list) == option.multiple


def test_a_file_is_no_command_for_one_without_models(tmp_path: Path) -> None:
    @click.command()
    @shared("seed", "config")
    def bare(seed: int) -> None:
        click.echo(seed)

    path = tmp_path / "a.toml"
    path.write_text("checkpoints = {a = 'b'}")
    with pytest.raises(UsageError, match="'checkpoints' is unknown, expected one of seed"):
        CliRunner().invoke(bare, ["-C", str(path)], catch_exceptions=False)
    path.write_text("seed = 4")
    assert CliRunner().invoke(bare, ["-C", str(path)]).stdout == "4\n"
