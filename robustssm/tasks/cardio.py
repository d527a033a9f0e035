"""Heart rates from simulated ECG and PPG: two channels, a beat's rate as the target.

A stand-in for the BIDMC data set, made by the package `neurokit2`: the ECG by the
dynamical model of McSharry et al., the PPG by interpolated waves. The target is the rate (beats per
minute) that both simulators are given, uniform over its range; beats of the ECG vary around it with
a standard deviation of 1 per minute, onsets of the PPG by up to a tenth of a beat, and beats of the
two are not aligned. A recording begins anywhere in a beat.

Source: McSharry et al., A dynamical model for generating synthetic electrocardiogram signals, IEEE
Trans. Biomed. Eng. 50 (2003), 289-294; Makowski et al., NeuroKit2, Behav. Res. Methods 53 (2021).
"""

import numpy as np

from robustssm.errors import UsageError
from robustssm.philox import uniform
from robustssm.targets import VALUES
from robustssm.tasks.base import Task, spec_of
from robustssm.tasks.generated import check, check_memory, check_sizes, on_grid, splits_of
from robustssm.typing import Array, IntArray

_WHO = "cardio"
# Steps per second, and those that are simulated, of which the others are left out: at other
# numbers of them, neurokit2 0.3 may resample beats to length 0 and never end.
_RATE, _SIMULATED = 64, 256


def cardio(
    length: int = 512,
    low: float = 50.0,
    high: float = 120.0,
    noise: float = 0.1,
    train: int = 500,
    validation: int = 100,
    test: int = 250,
    seed: int = 0,
) -> Task:
    """Return the task; inputs (N, length, 2), ECG (mV) and PPG at 64 steps per second, to 2^-16.

    low, high: of heart rates, beats per minute; noise: scale of what the simulators add (5 and
    10 Hz to the ECG, motion at 0.5 Hz to the PPG), in the signals' standard deviations. A sample
    takes about 0.1 s. Raises UsageError.
    """
    given = dict(locals())
    check_sizes(_WHO, seed, train=train, validation=validation, test=test)
    check(_WHO, "length", length, 8, 1 << 16)
    for name, most in (("low", high), ("high", 180.0), ("noise", 1e3)):
        check(_WHO, name, given[name], 0.0 if name == "noise" else 30.0, most)
    check_memory(_WHO, 8 * length, train, validation, test)
    try:
        from neurokit2 import ecg_simulate, ppg_simulate
    except ImportError:
        raise UsageError(
            f"{_WHO}: neurokit2 is not installed; pip install 'robustssm[bio]'"
        ) from None
    # PPG without artefacts and without a drift of its rate, which is not the target then.
    plain = {"frequency_modulation": 0.0, "powerline_amplitude": 0.0, "burst_amplitude": 0.0}

    def make(split: str, index: IntArray) -> tuple[Array, ...]:
        inputs = np.empty((len(index), length, 2), dtype=np.float32)
        draws = uniform(f"cardio|{seed}|{split}", index, 4)
        targets = low + (high - low) * draws[:, :1]
        seeds = (draws[:, 2:] * 2.0**32).astype(np.int64).tolist()
        for row, beats, phase, own in zip(inputs, targets[:, 0], draws[:, 1], seeds, strict=True):
            # The first beat may be cut, and the last one and a half of the PPG are not whole.
            asked = {"duration": length / _RATE + 180.0 / beats, "sampling_rate": _SIMULATED}
            asked["heart_rate"] = float(beats)
            ecg = ecg_simulate(**asked, noise=noise, random_state=own[0])
            ppg = ppg_simulate(**asked, motion_amplitude=noise, random_state=own[1], **plain)
            kept = slice(int(phase * 60.0 / beats * _SIMULATED), None, _SIMULATED // _RATE)
            row[:] = on_grid(np.stack([ecg, ppg], axis=1)[kept][:length])
        return inputs, targets

    splits = splits_of(make, length, train, validation, test)
    spec = spec_of(_WHO, given, cardio)
    return Task(spec, 1, splits, rate=float(_RATE), names=("HR",), kind=VALUES)
