"""Noise-padded sequences: standardised data first, noise behind, each by its sample alone."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from robustssm.errors import UsageError
from robustssm.tasks import load_task

SPEC = "noise-padded:task=digits+side=8:pad=100"


def test_data_then_noise() -> None:
    task, inner = load_task(SPEC), load_task("digits:side=8")
    assert (task.length, task.channels, task.classes, task.image) == (164, 1, 10, None)
    assert task.chance == inner.chance
    for name, split in task.splits.items():
        data = inner.splits[name]
        expected = (data.inputs - inner.mean) / inner.std
        # Mean and standard deviation are rounded to 2^-20, results to float32.
        np.testing.assert_allclose(split.inputs[:, :64], expected, rtol=1e-5, atol=1e-5)
        assert np.array_equal(split.labels, data.labels)
        assert np.array_equal(split.sample_id, data.sample_id)
    train = task.splits["train"].inputs[:, :64].astype(np.float64)
    assert abs(train.mean()) < 1e-5 and abs(train.std() - 1.0) < 1e-5


def test_noise_is_uniform_below_one_and_independent() -> None:
    task = load_task(SPEC)
    noise = np.concatenate([s.inputs[:, 64:, 0] for s in task.splits.values()]).astype(np.float64)
    assert noise.min() >= 0.0 and noise.max() < 1.0
    # A fixed draw; the test would fail for one in a thousand.
    assert stats.kstest(noise.ravel(), "uniform").pvalue > 1e-3
    # Neighbouring steps, and neighbouring samples: five deviations of a correlation.
    for a, b in ((noise[:, 1:], noise[:, :-1]), (noise[1:], noise[:-1])):
        r = np.corrcoef(a.ravel(), b.ravel())[0, 1]
        assert abs(r) < 5 / np.sqrt(a.size)
    # No two samples have the same noise, whatever their split.
    assert len(np.unique(noise[:, :2], axis=0)) == len(noise)


def test_more_noise_extends_it() -> None:
    short, long = (load_task(f"noise-padded:task=digits+side=8:pad={n}") for n in (7, 100))
    assert np.array_equal(short.splits["test"].inputs, long.splits["test"].inputs[:, :71])
    other = load_task("noise-padded:task=digits+side=8:pad=7:seed=1")
    a, b = short.splits["test"].inputs, other.splits["test"].inputs
    assert np.array_equal(a[:, :64], b[:, :64]) and not np.array_equal(a, b)


def test_over_a_file_of_channels(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    x = np.random.default_rng(0).standard_normal((30, 5, 2)) * [1.0, 4.0] + [0.0, 3.0]
    np.savez(path, inputs=x, labels=np.arange(30) % 3)
    task = load_task(f"noise-padded:task=file+{path}:pad=6")
    assert (task.length, task.channels) == (11, 2)
    inputs = task.splits["test"].inputs
    np.testing.assert_allclose(inputs[:, :5].std((0, 1)), 1.0, rtol=1e-4)
    assert not np.array_equal(inputs[:, 5:, 0], inputs[:, 5:, 1])


def colour_images(path: Path, top: float = 1.0) -> str:
    """Write 20 samples of 1024 steps and three channels from 0 to `top`; return the task's name."""
    x = np.random.default_rng(1).integers(0, 256, (20, 1024, 3)) / 255.0
    x[0, :2] = [[0.0] * 3, [1.0] * 3]
    np.savez(path, inputs=x * top, labels=np.arange(20) % 2)
    return f"file+{path}"


def test_as_published(tmp_path: Path) -> None:
    """Pixels less the script's means over its deviations, then 1024 steps of noise in [0, 1)."""
    data = colour_images(tmp_path / "colour.npz")
    inner = load_task(data.replace("+", ":"))
    task = load_task(f"noise-padded:task={data}:published=1")
    assert (task.length, task.channels) == (2048, 3)
    mean, std = np.array([0.4914, 0.4822, 0.4465]), np.array([0.2023, 0.1994, 0.2010])
    inputs = task.splits["test"].inputs
    expected = (inner.splits["test"].inputs - mean) / std
    assert len(inputs) == 20
    # Numbers up to 3 in float32.
    np.testing.assert_allclose(inputs[:, :1024], expected, rtol=1e-6, atol=1e-6)
    assert inputs[:, 1024:].min() >= 0.0 and inputs[:, 1024:].max() < 1.0
    # The noise is that of the task without the setting, and the name makes it again.
    plain = load_task(f"noise-padded:task={data}:pad=1024")
    assert np.array_equal(plain.splits["test"].inputs[:, 1024:], inputs[:, 1024:])
    assert task.spec.endswith(":published=1") and "pad=" not in task.spec
    assert load_task(task.spec).content_hash == task.content_hash


def test_only_the_data_of_the_source_are_as_published(tmp_path: Path) -> None:
    bytes_ = colour_images(tmp_path / "bytes.npz", 255.0)
    colour = colour_images(tmp_path / "colour.npz")
    for spec, message in (
        ("published=1", "256 steps of 1 channels .* expected CIFAR-10 in colour"),
        (f"task={bytes_}:published=1", "from 0 to 255"),
        (f"task={colour}:published=1:pad=100", "pad is 100"),
        ("published=2", "published is 2"),
    ):
        with pytest.raises(UsageError, match=message):
            load_task(f"noise-padded:{spec}")


def test_its_name_makes_it_again() -> None:
    task = load_task(SPEC)
    assert load_task(task.spec).content_hash == task.content_hash
    assert load_task("noise-padded").spec == "noise-padded"


def test_what_cannot_be_padded(tmp_path: Path) -> None:
    labels = np.zeros(4, dtype=int)
    np.savez(tmp_path / "flat.npz", inputs=np.ones((4, 5, 1)), labels=labels)
    ends = np.full(4, 3)
    varied = np.arange(20.0).reshape(4, 5, 1)
    np.savez(tmp_path / "ends.npz", inputs=varied, labels=labels, lengths=ends)
    for spec, message in (
        ("task=digits+side=4", "expected 8 to 64"),
        ("task=cats", "'cats' is unknown"),
        ("task=noise-padded", "not padded itself"),
        ("task=delayed-copy+form=tokens", "expected a task of values"),
        (f"task=file+{tmp_path / 'flat.npz'}", "constant"),
        (f"task=file+{tmp_path / 'ends.npz'}", "lengths of their own"),
        ("pad=0", "pad is 0"),
    ):
        with pytest.raises(UsageError, match=message):
            load_task(f"noise-padded:{spec}")
