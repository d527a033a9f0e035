"""Recipes: what ships is whole and can be built; what is wrong is one clear line."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from robustssm.checkpoints import load_checkpoint
from robustssm.cli import main
from robustssm.errors import UsageError
from robustssm.networks.network import Architecture
from robustssm.tasks import load_task
from robustssm.tasks.registry import TASKS
from robustssm.training import recipe_files
from robustssm.training.loop import TrainingConfig
from robustssm.training.recipe_files import resolve, scaled_task

# What `robustssm train` takes where neither the command line nor a recipe says anything.
DEFAULTS: dict[str, Any] = {
    key: value
    for key, value in {**vars(Architecture("s4d")), **vars(TrainingConfig())}.items()
    if key in recipe_files.KEYS
}
TINY = "listops:train=60:validation=10:test=10:min_length=10:max_length=60"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def written(folder: Path, text: str) -> str:
    path = folder / "own.toml"
    path.write_text(text)
    return str(path)


def test_the_recipes_of_long_range_arena_are_there() -> None:
    rows = recipe_files.listed()
    assert [row["recipe"] for row in rows] == [
        *(f"lra/{t}" for t in ("image", "listops", "path-x", "pathfinder", "text")),
        "sequential-cifar10",
    ]
    for row in rows:
        assert row["families"] == ", ".join(recipe_files.FAMILIES)
        assert row["source"] and row["task"].partition(":")[0] in TASKS
    listed = call("ls", "recipes", "--format", "json")
    assert listed.exit_code == 0 and json.loads(listed.stdout)["rows"] == rows
    words = call("ls", "recipes").stdout
    assert all(f"{row['recipe']}: s4, s4d" in words and row["task"] in words for row in rows)


@pytest.mark.parametrize("name", recipe_files.names())
@pytest.mark.parametrize(
    ("init", "family"),
    [("s4", "s4"), ("s4d-lin", "s4d"), ("s5", "s5"), ("s4ptd-rank1:tau=0.1", "s4ptd"),
     ("s5ptd-rank1", "s5ptd")],
)  # fmt: skip
def test_every_family_of_every_recipe_can_be_built(name: str, init: str, family: str) -> None:
    recipe = recipe_files.find(name)
    settings = recipe.settings(init)
    assert settings is recipe.families[family]
    assert "github.com/" in settings.source and settings.unlike
    own = dict(settings.values)
    epochs = own.pop("warmup_epochs", 0.0)
    assert 0 <= epochs < own["epochs"] and not (epochs and "warmup_steps" in own)
    training = {key: own.pop(key) for key in TrainingConfig().to_dict() if key in own}
    config = TrainingConfig(**training, warmup_steps=own.pop("warmup_steps", 0))
    tokens = {"tokens": 16, "d_input": own["d_model"]} if "text" in name else {}
    architecture = Architecture(init, **own, **tokens)
    # As in the published code: dynamics learn no faster than the rest.
    assert 4 <= architecture.layers <= 8 and architecture.n >= 16
    assert config.ssm_lr <= config.lr and architecture.residual and architecture.feedthrough


# Read from the files of the repositories, by hand and not by the reader.
@pytest.mark.parametrize(
    ("name", "init", "expected"),
    [
        ("lra/listops", "s4", {"layers": 8, "d_model": 128, "batch_size": 50, "lr": 0.01}),
        ("lra/image", "s4d", {"d_model": 512, "norm": "layer", "epochs": 200, "dropout": 0.1}),
        ("lra/pathfinder", "s4", {"pooling": "last", "weight_decay": 0.03, "lr": 0.004}),
        ("lra/path-x", "s4d", {"dt_min": 0.0001, "lr": 0.0005, "warmup_steps": 10000}),
        ("lra/text", "s5", {"n": 192, "lr": 0.004, "dropout": 0.1, "epochs": 35}),
        ("lra/image", "s5ptd", {"n": 384, "lr": 0.005, "warmup_epochs": 1.0}),
        ("lra/pathfinder", "s5ptd", {"ssm_lr": 0.0009, "weight_decay": 0.05, "epochs": 230}),
        ("lra/path-x", "s4ptd", {"batch_size": 20, "warmup_steps": 200000, "d_model": 128}),
        ("lra/listops", "s4ptd", {"dt_max": 1.0, "ssm_lr": 0.0004, "epochs": 80}),
        ("sequential-cifar10", "s4ptd", {"layers": 6, "n": 32, "bidirectional": False}),
    ],
)
def test_numbers_of_the_publications(name: str, init: str, expected: dict[str, Any]) -> None:
    values = recipe_files.find(name).settings(init).values
    assert {key: values[key] for key in expected} == expected


def test_the_command_line_stands_before_the_recipe_and_that_before_the_defaults(
    tmp_path: Path,
) -> None:
    own = recipe_files.find(written(tmp_path, f'task = "{TINY}"\n[s4d]\nlayers = 2\nd_model = 6\n'))
    options = {**DEFAULTS, "layers": 1}
    task, values = resolve("s4d-inv", "digits", options, {"layers"}, own)
    assert task == TINY
    assert values == {**DEFAULTS, "layers": 1, "d_model": 6}
    task, _ = resolve("s4d", "digits:side=8", options, {"task"}, own)
    assert task == "digits:side=8"
    assert resolve("dss", "digits", DEFAULTS, set()) == ("digits", DEFAULTS)


def test_warm_up_in_epochs_becomes_steps(tmp_path: Path) -> None:
    own = recipe_files.find(
        written(
            tmp_path, f'task = "{TINY}"\n[s5]\nepochs = 8\nbatch_size = 16\nwarmup_epochs = 2\n'
        )
    )
    # 60 samples in batches of 16: 4 steps an epoch.
    assert resolve("s5", "", DEFAULTS, set(), own)[1]["warmup_steps"] == 8
    assert resolve("s5", "", DEFAULTS, {"warmup_steps"}, own)[1]["warmup_steps"] == 0
    # Half of the epochs, and half of the samples: 4 epochs of 2 steps, a quarter of them warm-up.
    task, values = resolve("s5", "", DEFAULTS, set(), own, 0.5)
    assert (values["epochs"], values["warmup_steps"]) == (4, 2)
    assert len(load_task(task).splits["train"]) == 30


def test_a_scale_multiplies_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    text = f'task = "{TINY}"\n[s4]\nepochs = 10\nd_model = 40\nwarmup_steps = 8\nbatch_size = 4\n'
    own = recipe_files.find(written(tmp_path, text))
    task, values = resolve("s4", "", DEFAULTS, set(), own, 0.5)
    changed = {"epochs": 5, "d_model": 20, "warmup_steps": 2, "batch_size": 4}
    assert values == {**DEFAULTS, **changed} and task == TINY.replace("=60", "=30", 1)
    # A tiny share leaves one of each, and a warm-up that is shorter than the run.
    task, values = resolve("s4", "", DEFAULTS, set(), own, 1e-6)
    assert (values["epochs"], values["d_model"], values["warmup_steps"]) == (1, 1, 0)
    assert task.startswith("listops:train=1:")
    # What was asked for is not scaled.
    options = {**DEFAULTS, "epochs": 3, "d_model": 8}
    task, values = resolve("s4", TINY, options, {"epochs", "d_model", "task"}, own, 0.5)
    assert (values["epochs"], values["d_model"], task) == (3, 8, TINY)


@pytest.mark.parametrize(
    ("spec", "samples", "as_given", "expected"),
    [
        ("listops:train=96000:validation=2000", None, False, "listops:train=9600:validation=2000"),
        ("delayed-copy", None, False, "delayed-copy:train=200"),
        ("delayed-copy:train=5", None, True, "delayed-copy:train=5"),
        ("delayed-copy:delay=8", None, True, "delayed-copy:delay=8:train=200"),
        ("cifar10:folder=x:gray=1", 45000, True, "cifar10:folder=x:gray=1:limit=4500"),
        ("cifar10:folder=x", None, False, "cifar10:folder=x"),
        ("cifar10:folder=x:limit=50", 45000, False, "cifar10:folder=x:limit=5"),
        ("cifar10:folder=x:limit=50", 45000, True, "cifar10:folder=x:limit=50"),
        ("digits:side=8", None, False, "digits:side=8"),
        ("file:x.npz", 100, False, "file:x.npz"),
        ("unknown:train=8", None, False, "unknown:train=8"),
    ],
)
def test_scaled_tasks(spec: str, samples: int | None, as_given: bool, expected: str) -> None:
    task, share = scaled_task(spec, 0.1, samples, as_given)
    assert task == expected
    assert share == (1.0 if task == spec else pytest.approx(0.1))


def test_a_small_run_of_listops_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    result = call("train", "--recipe", "lra/listops", "--init", "s4ptd-rank1", "--scale", 0.02,
                  "-d", TINY, "--layers", 2, "--epochs", 1, "-o", path,
                  "--log", tmp_path / "log.jsonl")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "recipe lra/listops, not as published: E is complex" in result.stderr
    card = load_checkpoint(path).card
    shape, training = card.architecture, card.training
    assert (shape["d_model"], shape["layers"], shape["n"], shape["tokens"]) == (5, 2, 64, 16)
    assert (shape["norm"], shape["bidirectional"], shape["dt_max"]) == ("batch", True, 1.0)
    # One epoch of two steps: the published 12000 of 153600 leave one, the least there is.
    assert (training["batch_size"], training["lr"], training["warmup_steps"]) == (50, 0.002, 1)
    assert card.task == TINY
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1


def test_options_without_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    result = call("train", "--init", "s5", "-d", "digits:side=8", "-n", 4, "--d-model", 4,
                  "--layers", 1, "--epochs", 1, "--warmup-steps", 3, "--accumulate", 2, "--ema",
                  0.9, "--precision", "bfloat16", "--clip", 1.0, "--dt-min", 0.01,
                  "-o", path)  # fmt: skip
    assert result.exit_code == 0, result.output
    card = load_checkpoint(path).card
    expected = {"warmup_steps": 3, "accumulate": 2, "ema": 0.9, "precision": "bfloat16", "clip": 1}
    assert {key: card.training[key] for key in expected} == expected
    assert card.architecture["dt_min"] == 0.01


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[s4d\n", "is no TOML"),
        ('task = "digits"\n', "has no table of a family"),
        ("[s4d]\nlayers = 1\n", "has no task"),
        ('task = "digits"\ntaks = 1\n[s4d]\n', "'taks' is unknown, did you mean 'task'?"),
        ('task = "digits"\n[s4e]\n', "[s4e] is unknown, did you mean 's4"),
        ('task = "digits"\n[dss]\n', "[dss] is unknown"),
        ('task = "digits"\n[s4d]\nlayer = 2\n', "s4d.layer is unknown, did you mean 'layers'?"),
        ('task = "digits"\n[s4d]\nseed = 2\n', "s4d.seed is unknown"),
        ('task = "digits"\n[s4d]\nlayers = 2.5\n', "s4d.layers is 2.5, expected an integer"),
        ('task = "digits"\n[s4d]\nlayers = true\n', "s4d.layers is True, expected an integer"),
        ('task = "digits"\n[s4d]\nlr = "x"\n', "s4d.lr is 'x', expected a number"),
        ('task = "digits"\n[s4d]\nprenorm = 1\n', "s4d.prenorm is 1, expected true or false"),
        ('task = "digits"\n[s4d]\nunlike = "x"\n', "s4d.unlike is 'x', expected a list of texts"),
        ('task = "digits"\n[s4d]\nunlike = [1]\n', "expected a list of texts"),
        ('task = "digits"\n[s4d]\nnorm = "x"\n', "s4d: architecture: norm 'x' is unknown"),
        ('task = "digits"\n[s4d]\nlr = -1\n', "s4d: training: lr is -1.0"),
        ('task = "digits"\n[s4d]\nlr = nan\n', "s4d: training: lr is nan"),
        ('task = 3\n[s4d]\n', "task is 3, expected a text"),
        ('task = "digits"\nsamples = 0\n[s4d]\n', "samples is 0, expected 1 or more"),
        ('task = "digits"\nsamples = "x"\n[s4d]\n', "samples is 'x', expected an integer"),
        ('task = "digits"\n[s4d]\nwarmup_epochs = -1\n', "warmup_epochs is -1.0"),
        ('task = "digits"\n[s4d]\nwarmup_epochs = 1\nwarmup_steps = 1\n', "leave one of them out"),
        ('task = "digits"\ns4d = 3\n', "'s4d' is unknown"),
    ],
)  # fmt: skip
def test_a_bad_recipe_is_one_line_that_names_file_and_key(
    text: str, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path, text)
    result = call("train", "--init", "s4d", "--recipe", path, "-o", tmp_path / "a.safetensors")
    assert result.exit_code == 2, result.output
    assert message in result.stderr and f"recipe {path}: " in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "a.safetensors").exists()


def test_a_recipe_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "own.toml", tmp_path / "none.toml", tmp_path):
        with pytest.raises(UsageError, match="recipe"):
            recipe_files.find(str(path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--recipe", "lra/imag", "--init", "s4d"), "did you mean 'lra/image'?"),
        (("--recipe", "lra/image", "--init", "s4d"), "give --data cifar10:folder=PATH:gray=1"),
        (("--recipe", "lra/image", "--init", "dss"), "no settings for dss (family dss)"),
        (("--recipe", "lra/image", "--init", "s9"), "'s9' is unknown"),
        (("--init", "s4d", "--scale", "0"), "scale"),
        (("--init", "s4d", "--scale", "2"), "scale"),
        (("--init", "s4d", "--log", "a.txt"), "expected .csv or .jsonl"),
        (("--init", "s4d", "--ema", "1"), "ema is 1.0"),
        (("--init", "s4d", "--dt-min", "0"), "dt_min is 0.0"),
        (("--init", "s4d", "--dt-max", "1e-4"), "expected 0 < dt_min <= dt_max"),
        (("--init", "s4d", "--dt-max", "nan"), "dt_max nan"),
        (("--init", "s4d", "--epochs", "1", "--warmup-steps", "99"), "warmup_steps is 99"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_line(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    result = call("train", *arguments, "-o", tmp_path / "a.safetensors", "--progress", "none")
    assert result.exit_code == 2, result.output
    assert message in result.stderr and "Traceback" not in result.output
