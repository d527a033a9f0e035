"""Forecasts: windows of a table with dates, and the values that follow each.

The layout of the ETT files: a column `date`, then a column of numbers per variable. A sample is
`length` rows of all variables; its targets are the next `horizon` rows of the variable `target`, or
of all (`target=*`). Rows are split in their order into training, validation and test; mean and
standard deviation of each variable are those of the training rows, and inputs and targets are in
their units. A window may begin before its split, its targets never do.

Source: Zhou et al., Informer (arXiv 2012.07436), section 5.1 and its data loader, for layout,
windows and scaler.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from robustssm.errors import UsageError, nearest
from robustssm.file_formats.contents import shown
from robustssm.targets import VALUES
from robustssm.tasks.base import SPLITS, Split, Task, spec_of
from robustssm.tasks.generated import FIRST, check
from robustssm.tasks.reading import Source, check_room
from robustssm.tasks.tables import frame_of

_WHO = "forecast"
ALL = "*"


def forecast(
    file: Path,
    length: int = 96,
    horizon: int = 24,
    target: str = "",
    stride: int = 1,
    train: float = 0.6,
    validation: float = 0.2,
) -> Task:
    """Return the task; target: a column, the last one by default, or `*`.

    stride: rows from a window to the next; train, validation: shares of the rows. Raises
    UsageError, and RejectedInputError for a file that is none.
    """
    given = dict(locals())
    for name, low in (("length", 2), ("horizon", 1), ("stride", 1)):
        check(_WHO, name, given[name], low, 1 << 20)
    for name, share in (("train", train), ("validation", validation), ("both", train + validation)):
        check(_WHO, name, share, 0.01, 0.99)
    source = Source(_WHO, file)
    values, names = _values(source)
    if target not in ("", ALL, *names):
        raise UsageError(f"{_WHO}: target is {shown(target)}, {nearest(target, [*names, ALL])}")
    chosen = [*range(len(names))] if target == ALL else [names.index(target or names[-1])]
    ends = [0, round(train * len(values)), round((train + validation) * len(values)), len(values)]
    learnt = values[: ends[1]]
    mean, std = learnt.mean(0), learnt.std(0)
    constant = np.flatnonzero(std == 0.0)
    if len(constant):
        raise source.rejected(
            f"column {shown(names[constant[0]])} is constant in the training rows; drop it"
        )
    values = (values - mean) / std
    splits = {}
    for number, name in enumerate(SPLITS):
        first = max(length, ends[number])
        starts = np.arange(first, ends[number + 1] - horizon + 1, stride) - length
        if not len(starts):
            raise source.rejected(
                f"has {len(values)} rows, {ends[number + 1] - ends[number]} of them for {name}, "
                f"too few for windows of {length} and a horizon of {horizon}; give smaller ones"
            )
        check_room(_WHO, (len(starts), length, len(names)), 4, "give a larger stride")
        rows = starts[:, None]
        inputs = values[rows + np.arange(length)].astype(np.float32)
        after = values[rows + length + np.arange(horizon)][..., chosen]
        splits[name] = Split(inputs, after.reshape(len(starts), -1), FIRST[name] + starts)
    outputs = horizon * len(chosen)
    spec = spec_of(_WHO, given, forecast)
    naive = np.abs(np.diff(learnt, axis=0)).mean(0) / std
    scaler = np.tile(np.stack([naive, -mean / std])[:, chosen], horizon)
    return Task(spec, outputs, splits, scaler=scaler, kind=VALUES)


def _values(source: Source) -> tuple[np.ndarray, list[str]]:
    """Return the values (rows, variables), float64, and the names of the variables."""
    frame = frame_of(source)
    dates = [name for name in frame if str(name).lower() == "date"]
    if not dates:
        there = shown(", ".join(map(str, frame.columns[:20])))
        raise source.rejected(f"has the columns {there}, expected one called date")
    try:
        times = pd.to_datetime(frame[dates[0]], format="mixed")
    except (ValueError, TypeError, OverflowError) as error:
        raise source.rejected(f"column date holds what is no date ({shown(str(error))})") from None
    wrong = np.flatnonzero(~(times.diff().iloc[1:] > pd.Timedelta(0)).to_numpy())
    if len(wrong):
        raise source.rejected(
            f"its dates do not rise: row {wrong[0] + 2} has {frame[dates[0]].iloc[wrong[0] + 1]} "
            f"after {frame[dates[0]].iloc[wrong[0]]}; sort the rows, each date once"
        )
    numbers = frame.drop(columns=dates[0])
    words = [name for name in numbers if numbers[name].dtype.kind not in "fiu"]
    if words or numbers.empty:
        found = f"column {shown(str(words[0]))} has words" if words else "has no column of numbers"
        raise source.rejected(f"{found}, expected numbers beside date")
    values = numbers.to_numpy(np.float64)
    broken = np.argwhere(~np.isfinite(values))
    if len(broken):
        row, column = broken[0]
        raise source.rejected(
            f"column {shown(str(numbers.columns[column]))} has NaN or infinite values, the first "
            f"in row {row + 1}; fill them in"
        )
    return values, [str(name) for name in numbers]
