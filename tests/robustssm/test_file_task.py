"""Samples of one's own from an .npz file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from robustssm.cli import main
from robustssm.errors import RejectedInputError
from robustssm.evaluations.sweep.noises import Noise, conditions
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.tasks import load_task


def written(folder: Path, **arrays: Any) -> str:
    """Return the name of a task that holds these arrays."""
    path = folder / "samples.npz"
    np.savez(path, **arrays)
    return f"file:{path}"


def test_values_and_what_stands_in_for_training_data(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(6, 5, 2))
    y = np.array([0, 1, 2, 2, 1, 0])
    task = load_task(written(tmp_path, inputs=x, labels=y, rate=8.0))
    assert (task.length, task.channels, task.classes, task.rate) == (5, 2, 3, 8.0)
    assert task.tokens is None
    # All samples are test samples; without train_inputs they give the unit of strengths, too.
    np.testing.assert_array_equal(task.splits["test"].inputs, x.astype(np.float32))
    np.testing.assert_allclose(task.std, x.std((0, 1)), rtol=1e-6)  # float32 keeps 6e-8
    assert task.chance == pytest.approx(1 / 3)
    assert len(task.splits["validation"]) == 0


def test_one_channel_may_be_left_out(tmp_path: Path) -> None:
    task = load_task(written(tmp_path, inputs=np.zeros((2, 5)), labels=np.array([0, 1])))
    assert (task.length, task.channels) == (5, 1)


def test_tokens_and_lengths(tmp_path: Path) -> None:
    tokens, lengths = np.array([[1, 2, 3], [4, 5, 0]]), np.array([3, 2])
    task = load_task(written(tmp_path, inputs=tokens, labels=np.array([1, 0]), lengths=lengths))
    assert (task.tokens, task.channels, task.length) == (6, 1, 3)
    np.testing.assert_array_equal(task.splits["test"].rows(slice(1, 2)).lengths, [2])
    # What stands in for training samples ends where they end.
    x = np.array([[1.0, 3.0, 2.0], [4.0, 6.0, 99.0]])
    (tmp_path / "values").mkdir()
    spec = written(tmp_path / "values", inputs=x, labels=np.array([1, 0]), lengths=lengths)
    values = load_task(spec)
    assert values.std[0] == pytest.approx(np.std([1, 3, 2, 4, 6]), rel=1e-6)  # float32 data


def test_every_array_is_part_of_what_it_is(tmp_path: Path) -> None:
    x, y = np.zeros((3, 4, 1)), np.array([0, 1, 1])
    own: dict[str, Any] = {"inputs": x, "labels": y}
    others: list[dict[str, Any]] = [
        {},
        {"inputs": x + np.eye(3)[:, :, None].repeat(1, 2).sum(1, keepdims=True)},
        {"labels": y[::-1].copy()},
        {"sample_id": np.array([7, 8, 9])},
        {"lengths": np.array([4, 4, 3])},
        {"train_inputs": np.ones((2, 4, 1))},
    ]
    hashes = set()
    for number, other in enumerate(others):
        (tmp_path / str(number)).mkdir()
        task = load_task(written(tmp_path / str(number), **{**own, **other}))
        hashes.add(task.content_hash)
    assert len(hashes) == len(others)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": np.zeros(2, int)}, "lacks inputs"),
        ({"inputs": np.zeros((2, 3, 1))}, "lacks labels"),
        ({"z": np.zeros(1)}, "has z"),
        ({"labels": np.zeros(3, int)}, r"labels is int64 \(3,\)"),
        ({"labels": np.zeros((2, 2, 2))}, r"expected values \(2,\)"),
        ({"inputs": np.zeros((0, 3, 1)), "labels": np.zeros(0, int)}, "at least one sample"),
        ({"inputs": np.zeros((2, 0), int)}, "at least one sample"),
        ({"labels": np.array([-1, 0])}, "labels run from -1 to 0"),
        ({"inputs": np.full((2, 3, 1), np.nan)}, "NaN or infinite"),
        ({"inputs": np.zeros((2, 3, 1, 1))}, "expected numbers"),
        ({"inputs": np.array([[1, -1], [0, 0]])}, "tokens from -1 to 1"),
        ({"lengths": np.array([0, 3])}, "lengths run from 0 to 3"),
        ({"lengths": np.array([1, 4])}, "lengths run from 1 to 4"),
        ({"sample_id": np.array([1, 1])}, "a number twice"),
        ({"train_inputs": np.zeros((2, 4, 1))}, "train_inputs is float32"),
        ({"inputs": np.array([[None, None]])}, "cannot be read"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    whole: dict[str, Any] = {"inputs": np.zeros((2, 3, 1)), "labels": np.array([0, 1])}
    whole |= arrays
    if len(arrays) == 1 and next(iter(arrays)) in ("labels", "inputs"):
        key = next(iter(arrays))
        if message.startswith("lacks"):
            whole = {key: arrays[key]}
    with pytest.raises(RejectedInputError, match=message) as caught:
        load_task(written(tmp_path, **whole))
    assert "\n" not in str(caught.value)


def test_a_file_that_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.array([0, 1])
    spec = written(tmp_path, inputs=np.zeros((2, 3, 1)), labels=y)
    first = load_task(spec)
    assert load_task(spec) is first
    written(tmp_path, inputs=np.zeros((2, 4, 1)), labels=y)
    assert load_task(spec).length == 4
    # The same relative name in another folder is another file.
    (tmp_path / "other").mkdir()
    written(tmp_path / "other", inputs=np.zeros((2, 5, 1)), labels=y)
    lengths = []
    for folder in (tmp_path, tmp_path / "other"):
        monkeypatch.chdir(folder)
        lengths.append(load_task("file:samples.npz").length)
    assert lengths == [4, 5]


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(RejectedInputError, match="no such file"):
        load_task(f"file:{tmp_path / 'none.npz'}")
    for content in (b"", b"PK\x03\x04 not a zip", b"\x93NUMPY"):
        (tmp_path / "broken.npz").write_bytes(content)
        with pytest.raises(RejectedInputError, match=r"cannot be read|one array"):
            load_task(f"file:{tmp_path / 'broken.npz'}")


@pytest.mark.parametrize(
    "rate", [100, 100.0, np.array([100]), np.array([[100.0]]), np.float32(100)]
)
def test_one_number_is_a_rate_in_any_shape(tmp_path: Path, rate: Any) -> None:
    arrays = {"inputs": np.zeros((2, 4)), "labels": np.array([0, 1])}
    assert load_task(written(tmp_path, **arrays, rate=rate)).rate == 100.0


@pytest.mark.parametrize(
    "rate", [0, -5.0, np.nan, np.inf, "16k", [1.0, 2.0], [], np.array(1j), np.array(True)]
)
def test_what_is_no_rate_is_one_line(tmp_path: Path, rate: Any) -> None:
    arrays = {"inputs": np.zeros((2, 4)), "labels": np.array([0, 1])}
    with pytest.raises(RejectedInputError, match=r"rate is .*, expected one number above 0"):
        load_task(written(tmp_path, **arrays, rate=rate))


@pytest.mark.filterwarnings("error")
def test_numbers_that_would_change_are_refused(tmp_path: Path) -> None:
    x, y = np.zeros((2, 4)), np.array([0, 1])
    large = np.array([5, 2**63 + 7], np.uint64)
    for changes, message in (
        ({"sample_id": large}, "sample_id has 9223372036854775815"),
        ({"labels": large}, "labels has 9223372036854775815"),
        ({"lengths": large}, "lengths has 9223372036854775815"),
        ({"inputs": x + 1e300}, "inputs has 1e\\+300, beyond what float32 holds"),
        ({"train_inputs": x - 1e300}, "train_inputs has 1e\\+300, beyond"),
    ):
        with pytest.raises(RejectedInputError, match=message):
            load_task(written(tmp_path, **{"inputs": x, "labels": y, **changes}))


def test_what_attack_writes_is_read_back(tmp_path: Path) -> None:
    """The perturbed samples as data of their own, and as the input of predict."""
    noisy, logits = tmp_path / "noisy.npz", tmp_path / "logits.npz"
    for words in (
        ["perturb", "Fourier(3, eps=0.3)", "-L", "20", "-o", str(noisy)],
        ["models", "predict", "s4d", "--input", str(noisy), "--output", str(logits)],
        ["sweep", "-m", "s4d", "-d", f"file:{noisy}", "--noise", "fourier", "--modes", "1", "--eps",
         "0.3", "-j", "1", "--no-figures", "-o", str(tmp_path / "run")],
    ):  # fmt: skip
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.stderr
    task = load_task(f"file:{noisy}")
    with np.load(noisy) as held, np.load(logits) as predicted:
        np.testing.assert_array_equal(task.splits["test"].inputs, held["input"])
        np.testing.assert_array_equal(task.splits["test"].labels, held["label"])
        right = float((predicted["output"].argmax(1) == held["label"]).mean())
    clean = RunDirectory(tmp_path / "run")
    assert clean.rows(clean.plan()["cell"].iloc[0])["correct"].mean() == right


@pytest.mark.parametrize(("x", "y"), [("input", "label"), ("x", "y"), ("inputs", "y")])
def test_other_names_and_labels_in_words(tmp_path: Path, x: str, y: str) -> None:
    values, words = np.arange(12.0).reshape(3, 4), np.array(["up", "down", "up"])
    task = load_task(written(tmp_path, **{x: values, y: words}))
    assert task.classes == 2 and task.splits["test"].labels.tolist() == [1, 0, 1]
    with pytest.raises(RejectedInputError, match=r"has inputs and x, expected one of them"):
        load_task(written(tmp_path, inputs=values, x=values, y=words))
    with pytest.raises(RejectedInputError, match=r"lacks labels, has inputs"):
        load_task(written(tmp_path, inputs=values))
    with pytest.raises(RejectedInputError, match=r"lacks nothing, has length"):
        load_task(written(tmp_path, inputs=values, labels=words, length=np.ones(3)))


def test_default_modes_end_at_the_nyquist_bin(tmp_path: Path) -> None:
    task = load_task(written(tmp_path, x=np.zeros((3, 9)), y=np.array([0, 1, 0])))
    found = conditions(Noise("fourier", eps=(0.3,), eps_unit="rms"), task, None, "own")
    assert [one.mode for one in found] == [1.0, 2.0, 3.0, 4.0]
