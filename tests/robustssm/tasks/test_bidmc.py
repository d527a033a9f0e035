"""BIDMC: windows of files in PhysioNet's layout, and nobody in two splits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robustssm.errors import RejectedInputError, UsageError
from robustssm.targets import VALUES
from robustssm.tasks import load_task
from robustssm.typing import FloatArray

SECONDS = 44
PEOPLE = (1, 2, 8, 40, 53)


def signals(number: int) -> pd.DataFrame:
    t = np.arange(SECONDS * 125 + 1) / 125
    beat = np.cos((7.0 + number / 10) * t)
    whole = {"RESP": np.sin(t), "PLETH": 0.5 + 0.1 * beat, "V": beat, "AVR": -beat, "II": beat**3}
    return pd.DataFrame({"Time [s]": t, **whole})


def numerics(number: int) -> pd.DataFrame:
    t = np.arange(SECONDS + 1)
    values = {"HR": 70 + number + t % 7, "PULSE": 70 + number, "RESP": 14 + t // 20}
    return pd.DataFrame({"Time [s]": t, **values, "SpO2": 97 - number % 4 - t % 5})


Change = Callable[[pd.DataFrame], pd.DataFrame]


def written(folder: Path, number: int = 0, change: Change = lambda f: f, of: str = "") -> Path:
    """Write the files, as MATLAB's dlmwrite does: names after ", ", numbers of five digits.

    change: of the file `of` of one recording.
    """
    for person in PEOPLE:
        for name, frame in (("Signals", signals(person)), ("Numerics", numerics(person))):
            whole = change(frame) if (person, name) == (number, of) else frame
            path = folder / f"bidmc_{person:02d}_{name}.csv"
            path.write_text(", ".join(whole.columns) + "\n")
            whole.to_csv(
                path, mode="a", header=False, index=False, float_format="%.5g", na_rep="NaN"
            )
    return folder


def expected(person: int, start: int, length: int) -> tuple[FloatArray, FloatArray]:
    """Return window and targets of a recording, from the numbers that were written."""
    window = signals(person).iloc[start : start + length][["II", "PLETH"]].to_numpy()
    whole = numerics(person)
    inside = (whole["Time [s]"] >= start / 125) & (whole["Time [s]"] < (start + length) / 125)
    return window, whole[inside][["HR", "RESP", "SpO2"]].mean().to_numpy()


def test_windows_and_the_means_over_them(tmp_path: Path) -> None:
    folder = written(tmp_path)
    task = load_task(f"bidmc:folder={folder}:target=*")
    assert (task.kind, task.classes, task.channels, task.length) == (VALUES, 3, 2, 4000)
    assert task.names == ("HR", "RESP", "SpO2") and task.rate == 125.0
    people = {}
    for name, split in task.splits.items():
        persons, starts = np.divmod(split.sample_id, 1_000_000)
        people[name] = set(persons)
        assert set(starts) == set(range(0, 5501 - 4000 + 1, 375))
        for k in (0, len(split) - 1):
            window, targets = expected(int(persons[k]), int(starts[k]), 4000)
            # Files have five digits.
            np.testing.assert_allclose(split.inputs[k], window, rtol=6e-5, atol=1e-9)
            np.testing.assert_allclose(split.labels[k], targets, rtol=1e-12)
    assert [len(people[name]) for name in ("train", "validation", "test")] == [2, 1, 2]
    assert set.union(*people.values()) == set(PEOPLE)
    one = load_task(f"bidmc:folder={folder}:target=SpO2:length=1000:stride=300")
    assert one.names == ("SpO2",) and load_task(one.spec).content_hash == one.content_hash
    window, targets = expected(int(one.splits["test"].sample_id[1] // 1_000_000), 300, 1000)
    np.testing.assert_allclose(one.splits["test"].inputs[1], window, rtol=6e-5, atol=1e-9)
    np.testing.assert_allclose(one.splits["test"].labels[1], targets[2:], rtol=1e-12)


def test_windows_without_a_value_are_refused_and_counted_or_left_out(tmp_path: Path) -> None:
    folder = written(tmp_path, 8, lambda f: f.assign(HR=f["HR"].where(f.index != 3)), "Numerics")
    # Second 3 is in the windows from 0 and from 3 s: the ends do not belong to them.
    with pytest.raises(RejectedInputError, match=r"recordings 08 \(2\); give missing=1"):
        load_task(f"bidmc:folder={folder}")
    kept = load_task(f"bidmc:folder={folder}:missing=1")
    ids = np.concatenate([split.sample_id for split in kept.splits.values()])
    assert len(ids) == 23 and not {8_000_000, 8_000_375} & set(ids)
    # Other targets lack nothing.
    assert len(load_task(f"bidmc:folder={folder}:target=SpO2").splits["test"]) == 10


def test_a_recording_without_a_target_at_all_is_left_out(tmp_path: Path) -> None:
    folder = written(tmp_path, 8, lambda f: f.assign(HR=np.nan), "Numerics")
    with pytest.raises(RejectedInputError, match=r"recordings 08 \(5\); give missing=1"):
        load_task(f"bidmc:folder={folder}")
    kept = load_task(f"bidmc:folder={folder}:missing=1")
    assert sum(len(split) for split in kept.splits.values()) == 20


def test_windows_behind_the_end_of_the_numerics_lack_values(tmp_path: Path) -> None:
    folder = written(tmp_path, 8, lambda f: f.head(33), "Numerics")
    # Seconds 0 to 32 are there: of the windows from 0, 3, ..., 12 s the first alone.
    with pytest.raises(RejectedInputError, match=r"recordings 08 \(4\)"):
        load_task(f"bidmc:folder={folder}")


BAD: dict[str, tuple[Change, str, str]] = {
    "columns": (lambda f: f[["Time [s]", "RESP", "V"]], "", "expected Time [s], II, PLETH"),
    "words": (lambda f: f.assign(II="high"), "", "has words in II or PLETH"),
    "times": (lambda f: f.iloc[::2], "", "its times are not 0, 1/125, 2/125"),
    "target": (lambda f: f, ":target=RR", "target is RR"),
    "length": (lambda f: f, ":length=9000", "has no whole window of 9000 steps for train"),
    "shares": (lambda f: f, ":test=0.9:validation=0.2", "both is 1.1"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_such_folder_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    change, more, message = BAD[case]
    folder = written(
        tmp_path, 2, lambda f: change(f).drop(columns="RESP", errors="ignore"), "Signals"
    )
    with pytest.raises((RejectedInputError, UsageError)) as caught:
        load_task(f"bidmc:folder={folder}{more}")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_constant_target_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path)
    for path in folder.glob("*Numerics.csv"):
        frame = pd.read_csv(path, skipinitialspace=True)
        frame.assign(HR=80).to_csv(path, index=False)
    with pytest.raises(UsageError, match="target 0 is 80 in every training sample"):
        load_task(f"bidmc:folder={folder}")


def test_a_folder_of_two_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RejectedInputError, match="has 0 files bidmc_"):
        load_task(f"bidmc:folder={tmp_path}")
