"""`robustssm perturb`: what is saved is what was said, and bad input ends in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from robustssm.attacks import parse_perturbation
from robustssm.attacks.adversaries.table import ADVERSARIES
from robustssm.attacks.base import input_site
from robustssm.attacks.perturbations.table import FAMILIES
from robustssm.cli import main
from robustssm.figures.perturbations import EXAMPLES, data, draw_all
from robustssm.tasks import load_task

TASK = "digits:side=8"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["perturb", *arguments])


def test_the_file_holds_the_perturbed_data_and_what_was_delivered(tmp_path: Path) -> None:
    text, path = "BandNoise(2, 9, eps=12, unit='snr-db')", tmp_path / "noisy.npz"
    result = call(text, "-d", TASK, "-L", "30", "-o", str(path), "--seed", "4", "--format", "json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["rows"]
    task = load_task(TASK)
    part = task.splits["test"].first(30)
    perturbation, budget = parse_perturbation(text)
    expected = perturbation.perturb(
        torch.from_numpy(part.inputs), None, part.sample_id, 4, budget=budget, site=input_site(task)
    )
    with np.load(path, allow_pickle=False) as stored:
        assert np.array_equal(stored["input"], expected.numpy())
        assert np.array_equal(stored["label"], part.labels)
        assert np.array_equal(stored["sample_id"], part.sample_id)
        delta = stored["input"].astype(np.float64) - part.inputs
        # float32 signals round by 6e-8 a value.
        np.testing.assert_allclose(
            stored["delivered_l2"], np.sqrt((delta**2).sum((1, 2))), rtol=1e-12
        )
        np.testing.assert_allclose(stored["delivered_snr_db"], 12.0, atol=1e-5)
        about = json.loads(str(stored["about"]))
    assert about["perturbation"] == repr(perturbation) == row["perturbation"]
    assert about["fingerprint"] == row["fingerprint"]
    assert about["seed"] == 4 and row["n"] == 30
    assert abs(row["mean_snr_db"] - 12.0) < 1e-5 and row["least_in_band_share"] > 0.999


def test_equal_commands_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert call("Fourier(3, eps=1)", "-d", TASK, "-o", str(tmp_path / name)).exit_code == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("style", ["table", "csv", "json", "md"])
def test_the_list_names_every_attack(style: str) -> None:
    result = CliRunner().invoke(main, ["ls", "noises", "--format", style])
    assert result.exit_code == 0
    for name in (*FAMILIES, *ADVERSARIES, "Window"):
        assert f"{name}(" in result.stdout


@pytest.mark.usefixtures("pdf_only")
def test_the_gallery_shows_every_family_that_acts_on_signals(tmp_path: Path) -> None:
    shown = {text.partition("(")[0] for text in EXAMPLES}
    assert shown == {name for name, cls in FAMILIES.items() if "model" not in cls.sites}
    frame = data(load_task("digits"))
    clean = frame[frame["step"] < 256].groupby("example", sort=False)["clean"].apply(np.array)
    assert all(np.array_equal(row, clean.iloc[0]) for row in clean)
    files = draw_all("digits", tmp_path)
    assert {path.suffix for path in files} == {".pdf", ".png", ".svg", ".csv"}
    assert files[0].stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name one perturbation"),
        (("Fourier(3, eps=1)", "--gallery", "x"), "name one perturbation"),
        (("Fourier(3)",), "add eps="),
        (("Fourier(33, eps=1)",), "Nyquist bin 32 of length-64 inputs"),
        (("Fourier(0, phase='sine', eps=1)",), "zero at every sample"),
        (("Fourier(3, eps=nan)",), "eps is nan"),
        (("Fourier(3, phase='worst:4', eps=1)",), "needs a model"),
        (("Resonance(325, eps=1)",), "acts at layers"),
        (("Fourier(3, eps=1, clip='hard', low=0, high=0.5)",), "outside 0 to 0.5"),
        (("Fourier(3, eps=1)", "-d", "cats"), "task: 'cats' is unknown"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: tuple[str, ...], words: str) -> None:
    result = call("-d", TASK, *arguments) if "-d" not in arguments else call(*arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr and "Traceback" not in result.output
    assert len(result.stderr.strip().splitlines()) == 1
