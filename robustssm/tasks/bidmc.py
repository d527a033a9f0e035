"""Heart rate, respiratory rate and SpO2 from ECG and PPG: `bidmc:folder=PATH`.

The CSV files of the BIDMC PPG and Respiration Dataset as PhysioNet publishes them: per recording,
bidmc_##_Signals.csv at 125 Hz (Time [s], RESP, PLETH, V, AVR, II) and bidmc_##_Numerics.csv at 1 Hz
(Time [s], HR, PULSE, RESP, SpO2). A sample is a window of II and PLETH, its targets are the means
of the numerics over it. No person is in two splits. The defaults give as many windows as the TSER
archive has, whose split is `ucr:path=BIDMC32HR_TRAIN.ts`. Numbers of state-spaces/s4 are of neither
split: its script shuffles all windows, so that those of training and test overlap.

Source: Pimentel et al., IEEE Trans. Biomed. Eng. 64 (2017), 1914-1923; Tan et al. (arXiv
2006.10996); state-spaces/s4, src/dataloaders/prepare/bidmc/process_data.py.
"""

from pathlib import Path

import numpy as np

from robustssm.errors import UsageError, nearest
from robustssm.file_formats.contents import shown
from robustssm.targets import VALUES
from robustssm.tasks.base import SPLITS, Split, Task, spec_of
from robustssm.tasks.generated import check
from robustssm.tasks.reading import Source, check_flag, check_room, shuffled
from robustssm.tasks.tables import frame_of
from robustssm.typing import FloatArray

_WHO = "bidmc"
_RATE = 125
_CHANNELS, _TARGETS = ("II", "PLETH"), ("HR", "RESP", "SpO2")
# Steps of a recording are below this: what a person's number is multiplied with in sample_id.
_STEPS = 1_000_000


def bidmc(
    folder: Path,
    target: str = "HR",
    length: int = 4000,
    stride: int = 375,
    validation: float = 0.1,
    test: float = 0.3,
    missing: int = 0,
) -> Task:
    """Return the task; inputs (N, length, 2), targets beats or breaths per minute, or per cent.

    target: HR, RESP, SpO2, or `*` for all; stride: steps from a window to the next; validation,
    test: shares of the persons; missing: 1 leaves out windows that lack a value, which are refused
    otherwise. sample_id: 1,000,000 times the recording's number, and the first step. Raises
    UsageError, RejectedInputError.
    """
    given = dict(locals())
    for name, low in (("length", _RATE), ("stride", 1)):
        check(_WHO, name, given[name], low, _STEPS)
    for name, share in (("validation", validation), ("test", test), ("both", validation + test)):
        check(_WHO, name, share, 0.01, 0.99)
    if target not in (*_TARGETS, "*"):
        raise UsageError(f"{_WHO}: target is {shown(target)}, {nearest(target, [*_TARGETS, '*'])}")
    chosen = _TARGETS if target == "*" else (target,)
    place, left_out = Source(_WHO, folder).folder(), check_flag(_WHO, "missing", missing)
    names = sorted(path.name for path in folder.glob("bidmc_[0-9][0-9]_Signals.csv"))
    if len(names) < 3:
        raise place.rejected(f"has {len(names)} files bidmc_##_Signals.csv, expected 3 or more")
    parts, lacking = [], []
    for name in names:
        signals = _columns(place.at(name), _CHANNELS, _RATE)
        numerics = _columns(place.at(name.replace("Signals", "Numerics")), chosen, 1)
        firsts = np.arange(0, len(signals) - length + 1, stride)
        check_room(_WHO, (len(names), len(firsts), length, 2), 4, "give a larger stride")
        # Values at a window's seconds, its end not among them; where the file has ended, NaN.
        seconds = -(-np.stack([firsts, firsts + length], axis=1) // _RATE)
        values = np.full((len(signals) // _RATE + 1, len(chosen)), np.nan)
        values[: len(numerics)] = numerics[: len(values)]
        labels = np.reshape([values[a:b].mean(0) for a, b in seconds], (-1, len(chosen)))
        windows = signals[firsts[:, None] + np.arange(length)].astype(np.float32)
        whole = Split(windows, labels, int(name[6:8]) * _STEPS + firsts)
        kept = np.isfinite(whole.labels).all(1) & np.isfinite(whole.inputs).all((1, 2))
        lacking += [] if kept.all() else [f"{name[6:8]} ({(~kept).sum()})"]
        parts.append(whole.rows(np.flatnonzero(kept)))
    if lacking and not left_out:
        raise place.rejected(
            f"{' or '.join(chosen)}, II or PLETH lack values in windows of the recordings "
            f"{', '.join(lacking)}; give missing=1 to leave these out"
        )
    order, tested = shuffled(len(parts)), max(1, round(test * len(parts)))
    ends = [len(parts) - tested - max(1, round(validation * len(parts))), len(parts) - tested]
    splits = {}
    for split, people in zip(SPLITS, np.split(order, ends), strict=True):
        samples = [parts[person] for person in sorted(people)]
        if not sum(map(len, samples)):
            raise place.rejected(f"has no whole window of {length} steps for {split}")
        arrays = zip(*((one.inputs, one.labels, one.sample_id) for one in samples), strict=True)
        splits[split] = Split(*map(np.concatenate, arrays))
    spec = spec_of(_WHO, given, bidmc)
    return Task(spec, len(chosen), splits, rate=float(_RATE), names=chosen, kind=VALUES)


def _columns(source: Source, names: tuple[str, ...], rate: int) -> FloatArray:
    """Return columns (rows, columns) of a file, NaN where values lack; rate: rows per second."""
    frame = frame_of(source).rename(columns=str.strip)
    # A column without any value is none of the frame's.
    if "Time [s]" not in frame or not {*_CHANNELS, *_TARGETS} & {*frame}:
        there = shown(", ".join(map(str, frame.columns[:20])))
        raise source.rejected(f"has the columns {there}, expected Time [s], {', '.join(names)}")
    try:
        values = frame.reindex(columns=["Time [s]", *names]).to_numpy(np.float64)
    except ValueError:
        raise source.rejected(f"has words in {' or '.join(names)}, expected numbers") from None
    apart = np.abs(values[:, 0] - np.arange(len(values)) / rate)
    if not (apart < 0.006).all():  # published with five digits; a step is 0.008 s
        raise source.rejected(f"its times are not 0, 1/{rate}, 2/{rate}, ... seconds")
    return values[:, 1:]
