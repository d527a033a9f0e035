"""Simulated heart rates: the target is the rate of both channels, and a sample's draws its own."""

import random
import sys

import numpy as np
import pytest

from robustssm.errors import UsageError
from robustssm.targets import VALUES
from robustssm.tasks import load_task
from robustssm.typing import FloatArray

SMALL = "cardio:length=640:train=12:validation=1:test=4"


@pytest.fixture
def _simulators() -> None:
    pytest.importorskip("neurokit2", reason="neurokit2 is not installed")


def spectral_rate(signal: FloatArray, rate: float, near: float) -> float:
    """Return the frequency, per minute, whose first three harmonics hold most; no beat is found.

    near: within a factor of 0.7 to 1.4 of it, since octaves of a spectrum are ambiguous.
    """
    size = 1 << 14
    power = np.abs(np.fft.rfft((signal - signal.mean()) * np.hanning(len(signal)), size)) ** 2
    bins = np.arange(int(0.7 * near * size / 60 / rate), int(1.4 * near * size / 60 / rate))
    held = power[bins] + power[2 * bins] + power[3 * bins]
    return float(bins[held.argmax()] * rate * 60 / size)


@pytest.mark.usefixtures("_simulators")
def test_the_target_is_the_rate_of_either_channel() -> None:
    task = load_task(f"{SMALL}:noise=0.02")
    assert (task.kind, task.classes, task.channels, task.names) == (VALUES, 1, 2, ("HR",))
    split = task.splits["train"]
    assert split.labels.min() >= 50.0 and split.labels.max() < 120.0 and split.labels.std() > 10.0
    for target, inputs in zip(split.labels[:, 0], split.inputs, strict=True):
        for channel in (0, 1):
            # Ten seconds resolve 6 per minute, a peak's middle a quarter of that; beats of the
            # ECG vary by 1 per minute.
            assert abs(spectral_rate(inputs[:, channel], 64.0, target) - target) < 2.5


@pytest.mark.usefixtures("_simulators")
def test_a_sample_is_the_same_whatever_the_sizes_and_the_noise_is_added_to_it() -> None:
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    task = load_task(SMALL)
    # It has drawn from no generator that others use.
    assert random.random() == random.Random(3).random()
    assert np.random.rand() == np.random.RandomState(3).rand()  # noqa: NPY002
    fewer = load_task(SMALL.replace("train=12", "train=3").replace("test=4", "test=2"))
    for name, count in (("train", 3), ("test", 2)):
        whole, part = task.splits[name], fewer.splits[name]
        np.testing.assert_array_equal(part.inputs, whole.inputs[:count])
        np.testing.assert_array_equal(part.labels, whole.labels[:count])
        np.testing.assert_array_equal(part.sample_id, whole.sample_id[:count])
    clean = load_task(f"{SMALL}:noise=0")
    np.testing.assert_array_equal(clean.splits["test"].labels, task.splits["test"].labels)
    apart = (task.splits["train"].inputs - clean.splits["train"].inputs).std((0, 1))
    # Laplace noise of scale b has the deviation sqrt(2) b; the ECG has two, interpolated between
    # its draws, which takes up to half of it.
    assert (0.05 * clean.std < apart).all() and (apart < 0.2 * clean.std).all()
    assert load_task(f"{SMALL}:seed=1").content_hash != task.content_hash
    longer = load_task(SMALL.replace("640", "700")).splits["test"]
    np.testing.assert_array_equal(longer.labels, task.splits["test"].labels)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("low=121", "low is 121.0, expected 30 to 120"),
        ("high=181", "high is 181.0, expected 30 to 180"),
        ("noise=-1", "noise is -1"),
        ("length=4", "length is 4"),
        ("test=0", "test is 0"),
    ],
)
def test_settings_that_no_heart_has(setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_task(f"cardio:{setting}")


def test_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neurokit2", None)
    with pytest.raises(UsageError, match=r"pip install 'robustssm\[bio\]'"):
        load_task("cardio:train=3")
