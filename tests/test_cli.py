"""The command line: help, exit codes, clean streams, nothing lost."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import torch
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from robustssm._version import __version__
from robustssm.checkpoints import load_checkpoint
from robustssm.cli import main
from robustssm.commands.sections import SectionedCommand, SectionedGroup


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def sweep(models: str, output: Path, *more: str) -> Result:
    return call("sweep", "--model", models, "--noise", "fourier", "--modes", "1,3", "--limit", "40",
                "--jobs", "1", "--no-figures", "--output", str(output), *more)  # fmt: skip


def commands(command: click.Command, *words: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of a command and of all below it."""
    yield words
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands(below, *words, name)


EVERY = list(commands(main))
every_command = pytest.mark.parametrize("words", EVERY, ids=" ".join)


@every_command
def test_every_help_ends_in_an_example(words: tuple[str, ...]) -> None:
    result = call(*words, "--help")
    assert result.exit_code == 0
    assert " ".join(["robustssm", *words]) in result.stdout.partition("Example")[2]


@every_command
def test_no_help_is_wider_than_a_terminal(words: tuple[str, ...]) -> None:
    r"""80 columns; `\b` paragraphs are not broken into lines, so that they must fit as they are."""
    result = CliRunner().invoke(main, [*words, "--help"], terminal_width=80)
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if len(line) > 80] == []


@every_command
def test_short_help_is_a_whole_sentence(words: tuple[str, ...]) -> None:
    """What a group prints beside the name of a command is its first sentence, not cut."""
    command: click.Command = main
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    first = (command.help or "").split("\n\n")[0].strip()
    assert (first.endswith(".") and len(first) < 57) or not words
    if isinstance(command, click.Group):
        shown = CliRunner().invoke(main, [*words, "--help"], terminal_width=80).stdout
        assert "..." not in shown.partition("--help")[2]
        for name, below in command.commands.items():
            text = (below.help or "").split("\n\n")[0].strip()
            assert re.search(rf"^  {name} +{re.escape(text)}$", shown, re.MULTILINE)


def test_few_commands_in_six_sections() -> None:
    assert isinstance(main, SectionedGroup)
    listed = [name for names in main.sections.values() for name in names]
    assert sorted(listed) == sorted(main.commands) and len(listed) <= 22
    assert len(main.sections) == 6


def test_options_are_spelt_alike() -> None:
    """One spelling an option, one order of choices, and no bound of 64 bits in a help page."""
    spelt: dict[str, set[tuple[str, ...]]] = {}
    for words in EVERY:
        command: click.Command = main
        for word in words:
            assert isinstance(command, click.Group)
            command = command.commands[word]
        for option in command.params:
            if isinstance(option, click.Option):
                long = next(text for text in option.opts if text.startswith("--"))
                spelt.setdefault(long, set()).add(tuple(option.opts))
                if long == "--format" and words != ("draw",):  # of pictures, not of tables
                    assert isinstance(option.type, click.Choice)
                    assert list(option.type.choices) == ["table", "csv", "json", "md"]
        assert "922337" not in call(*words, "--help").stdout
    assert {long: found for long, found in spelt.items() if len(found) > 1} == {}


def test_sweep_shows_every_option_under_a_title() -> None:
    sweep = main.commands["sweep"]
    assert isinstance(sweep, SectionedCommand)
    titled = [name for names in sweep.sections.values() for name in names]
    known = {option.name for option in sweep.params}
    assert set(titled) <= known and known - set(titled) == {"debug"}


def test_versions_without_torch() -> None:
    lines = call("--version").stdout.splitlines()
    assert lines[0].startswith(f"robustssm {__version__} (") and lines[1].startswith("Python 3")
    assert lines[2].startswith(f"torch {torch.__version__}, ")
    assert (f"CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA") in lines[2]


def test_quiet_prints_results_alone(tmp_path: Path) -> None:
    words = ("transfer", "--n", "4", "--no-figures", "--init", "s4,s5", "--grid", "1,10,5", "-o")
    loud, quiet = call(*words, str(tmp_path / "a")), call(*words, str(tmp_path / "b"), "-q")
    assert loud.exit_code == quiet.exit_code == 0
    assert loud.stderr and quiet.stderr == "" and loud.stdout == quiet.stdout
    assert call("-q", *words, str(tmp_path / "c")).stderr == ""
    wrong = call("transfer", "-q", "--n", "0")
    assert wrong.exit_code == 2 and "state size" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        (["sweep", "--model", "s4d,s5p"], {"s4d,s5ptd", "s4d,s5ptd/1", "s4d,s5ptd-rank1"}),
        (["gain", "s5/"], {"s5/1", "s5/2"}),
        (["sweep", "--noise", "bandp"], {"BandPGD", "BandPass"}),
        (["sweep", "--data", "d"], {"delayed-copy", "digits"}),
        (["train", "--init", "hip"], set()),
        (["transfer", "--init", "s4ptd-"], {"s4ptd-rank1", "s4ptd-random"}),
    ],
)
def test_values_are_completed(words: list[str], proposed: set[str]) -> None:
    found = ShellComplete(main, {}, "robustssm", "_X").get_completions(words[:-1], words[-1])
    assert proposed <= {item.value for item in found if item.type == "plain"}
    assert bool(proposed) == (not any(item.type == "file" for item in found))


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from robustssm.cli import main; "
        "r = CliRunner().invoke(main, ['sweep', '--help']); "
        "heavy = {'torch', 'numpy', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules); "
        "print(r.exit_code, sorted(heavy))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "0 []"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("sweep", "--model", "s9", "--noise", "fourier"), 2, "model: 's9' is unknown"),
        (("sweep", "--model", "s4d", "--noise", "fourier", "--modes", "200"), 2,
         "mode 200 is beyond the Nyquist bin 128 of length-256 inputs, expected 0-128"),
        (("sweep", "--model", "s4d", "--noise", "fourier", "--eps", "-1"), 2, "eps is -1"),
        (("sweep", "--model", "s4d", "--noise", "hum"), 2,
         "'hum' is unknown, did you mean 'Hum'? expected one of Fourier"),
        (("sweep", "--model", "x=none.safetensors", "--noise", "fourier"), 4, "no such file"),
        (("sweep", "--model", "s4d", "--noise", "resonance", "--modes", "1", "--omega", "1"), 2,
         "exclude each other"),
        (("transfer", "--n", "0"), 2, "state size"),
        (("transfer", "--n", "8", "--readout", "none.npy"), 2, "readout"),
        (("theory", "ptd", "-n", "x"), 2, "state size: 'x' is not a number"),
        (("theory", "ptd", "-n", "0"), 2, "state size is 0"),
        (("theory", "ptd", "--method", "optimized", "--restarts", "8"), 2, "give one -n"),
        (("models", "verify", "--model", "s9"), 2, "unknown"),
        (("sweep", "-m", "s4d", "--noise", "fourier", "--eps", "0.1", "0.3"), 2,
         "separated by commas, as in --eps 0.1,0.3"),
        (("sweep", "-m", "S4D", "--noise", "fourier"), 2, "did you mean 's4d'?"),
        (("sweep", "-m", "s4dd", "--noise", "fourier"), 2, "did you mean 's4d'?"),
        (("sweep", "-m", "s4d", "--noise", "furier"), 2, "did you mean 'Fourier'?"),
        (("sweep", "-m", "s4d", "--noise", "fourier(3)"), 2, "did you mean 'Fourier'?"),
        (("sweep", "-m", "s4d", "--noise", "Fourier"), 2, "Fourier(mode"),
        (("sweep", "-m", "s4d", "--noise", "fourier", "-d", "digit"), 2, "did you mean 'digits'?"),
        (("transfer", "--init", "s4x"), 2, "did you mean 's4"),
        (("train", "--init", "s4d", "-o", "a.pt"), 2, "ends in .safetensors"),
        (("perturb", "Fourier(3, eps=1)", "-o", "a.csv"), 2, "ends in .npz"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(
    arguments: tuple[str, ...], code: int, message: str, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr and "Traceback" not in result.output
    assert not (tmp_path / "runs").exists()


def test_train_writes_a_checkpoint_that_sweep_takes(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    result = call("train", "--init", "s4ptd-rank1:tau=0.5", "-n", "8", "--d-model", "8", "--layers",
                  "1", "--epochs", "1", "--data", "digits:side=8",
                  "--output", str(path))  # fmt: skip
    assert result.exit_code == 0 and "clean test accuracy" in result.stdout
    assert call("train", "--init", "s4d", "--output", str(path)).exit_code == 2
    assert sweep(f"mine={path}", tmp_path / "run").exit_code == 0


@pytest.mark.usefixtures("pdf_only")
def test_transfer_json_on_the_command_line(tmp_path: Path) -> None:
    result = call("transfer", "--n", "16", "--format", "json", "--omega", "1,80.9,1",
                  "--output", str(tmp_path))  # fmt: skip
    content = json.loads(result.stdout)
    assert content["n"] == 16 and content["readout"] == "e0"
    assert [v["omega"] for v in content["inits"]["hippo"]["values"]] == [1.0, 80.9, 1.0]
    values = content["inits"]["hippo"]["values"]
    # e0 reads 1 / (1 + s).
    assert values[0]["re"] == pytest.approx(0.5, abs=1e-15)
    assert values[0]["im"] == pytest.approx(-0.5, abs=1e-15)
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_ptd_table(tmp_path: Path) -> None:
    rows = json.loads(call("theory", "ptd", "-n", "16", "--format", "json").stdout)["rows"]
    assert {row["init"] for row in rows} >= {"s4ptd", "s4ptd-random", "s4ptd-rank1"}
    assert all(row["max_real"] < -0.25 for row in rows)


def test_zoo_verify_measures_the_card() -> None:
    result = call("models", "verify", "--model", "s4d", "--format", "json")
    (row,) = json.loads(result.stdout)["models"]
    assert row["clean_accuracy"] == pytest.approx(row["card"], abs=1.5 / 539)


def test_clean_accuracy_alone(models: str, tmp_path: Path) -> None:
    result = sweep(models, tmp_path / "run", "--eps", "0", "--format", "md")
    assert result.exit_code == 0
    assert result.stdout.count("\n| s4") == 2


def test_checkpoints_are_named_by_their_stems(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    result = call("sweep", "--model", str(checkpoints["s4d"]), "--noise", "fourier", "--modes",
                  "1", "--eps", "1", "--eps-unit", "std", "--limit", "20", "--jobs", "1",
                  "--format", "json", "--no-figures", "--output",
                  str(tmp_path / "run"))  # fmt: skip
    assert {row["model"] for row in json.loads(result.stdout)["summary"]} == {"s4d"}
    nothing = call("sweep", "--noise", "fourier")
    assert nothing.exit_code == 2 and "none is named" in nothing.stderr


def test_interrupted_training_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robustssm.training import loop

    shape = ["-n", "8", "--d-model", "8", "--layers", "1", "--data", "digits:side=8"]
    output = str(tmp_path / "a.safetensors")
    arguments = ["train", "--init", "s4d", *shape, "--epochs", "2", "--output", output]
    epoch = loop._train_epoch

    def interrupted(*parts: object) -> float:
        if parts[4] == 1:
            raise KeyboardInterrupt
        return epoch(*parts)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(loop, "_train_epoch", interrupted)
        result = call(*arguments)
    assert result.exit_code == 130 and "goes on" in result.stderr
    assert call(*arguments).exit_code == 0
    call(*arguments[:-1], str(tmp_path / "straight.safetensors"))
    first, second = (load_checkpoint(tmp_path / f"{n}.safetensors") for n in ("a", "straight"))
    assert first.content_hash == second.content_hash


@pytest.mark.parametrize(
    "arguments",
    [
        ("transfer", "--n", "4", "--no-figures", "--grid", "1,10,5"),
        ("theory", "converge", "--n", "4,8", "--init", "s4d", "--input", "exp"),
        ("theory", "ptd", "--study", "-n", "4"),
    ],
)
def test_output_that_cannot_be_written_is_one_line(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    found = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "file")])
    assert found.exit_code == 1 and "exists; choose another" in found.stderr
    assert "Traceback" not in found.output
