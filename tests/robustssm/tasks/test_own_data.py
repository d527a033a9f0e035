"""Samples of one's own: one content in many layouts, each read as the same task."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner
from scipy.io import wavfile

from robustssm.cli import main
from robustssm.errors import RejectedInputError
from robustssm.tasks import Task, load_task
from robustssm.tasks.base import SPLITS
from tests.source_tree import ROOT

RNG = np.random.default_rng(5)
X = RNG.normal(size=(9, 7, 1)).astype(np.float32)
LENGTHS = np.array([7, 3, 7, 5, 1, 7, 7, 2, 6])
WORDS = np.array(["b", "a", "c"])[np.arange(9) % 3]
SPLIT = np.array(["train", "test", "test", "train", "dev", "test", "train", "test", "test"])
SHORT = np.where(np.arange(7)[:, None] < LENGTHS[:, None, None], X, np.float32(0.0))


def long_table() -> pd.DataFrame:
    keep = np.arange(7) < LENGTHS[:, None]
    sample, step = np.nonzero(keep)
    frame = pd.DataFrame({"step": step, "value": SHORT[sample, step, 0].astype(np.float64)})
    # Samples are called by words, rows are in no order but that samples come as they are numbered.
    frame["sample"] = [f"s{k}" for k in sample]
    frame["class"], frame["split"] = WORDS[sample], SPLIT[sample]
    order = np.lexsort((RNG.permutation(len(frame)), sample))
    return frame.iloc[order]


def wide_table() -> pd.DataFrame:
    values = np.where(np.arange(7) < LENGTHS[:, None], X[:, :, 0].astype(np.float64), np.nan)
    return pd.DataFrame(values).rename(columns=str).assign(label=WORDS, split=SPLIT)


def layouts(folder: Path) -> dict[str, str]:
    """Write one content in every layout; return the names of the tasks."""
    folder.mkdir(exist_ok=True)
    np.savez(folder / "s.npz", x=SHORT, y=WORDS, lengths=LENGTHS, split=SPLIT)
    wide_table().to_csv(folder / "wide.csv", index=False)
    wide_table().to_parquet(folder / "wide.parquet")
    long_table().to_csv(folder / "long.csv", index=False)
    long_table().to_parquet(folder / "long.parquet")
    sequences = [row[:n, 0].tolist() for row, n in zip(SHORT, LENGTHS, strict=True)]
    table = pd.DataFrame({"series": sequences, "label": WORDS, "split": SPLIT})
    table.to_parquet(folder / "one.parquet")
    names = ("s.npz", "wide.csv", "wide.parquet", "long.csv", "long.parquet")
    specs = {name: f"file:{folder / name}" for name in names}
    return specs | {"one": f"hub:path={folder / 'one.parquet'}:inputs=series:split=split"}


def parts(task: Task) -> list[tuple[Any, ...]]:
    return [
        (split.inputs.tolist(), split.labels.tolist(), np.asarray(split.lengths).tolist())
        for split in (task.splits[name] for name in SPLITS)
    ]


def test_every_layout_is_the_same_task(tmp_path: Path) -> None:
    tasks = {name: load_task(spec) for name, spec in layouts(tmp_path).items()}
    first = tasks["s.npz"]
    assert first.names == ("a", "b", "c") and first.classes == 3
    assert [len(first.splits[name]) for name in SPLITS] == [3, 1, 5]
    for name, task in tasks.items():
        assert parts(task) == parts(first), name
        assert (task.names, task.length, task.channels) == (first.names, 7, 1), name


def test_folders_of_shards_and_of_save_to_disk(tmp_path: Path) -> None:
    """The names of files say the split; the columns are those of one file."""
    frame = pd.DataFrame({"series": [row[:, 0].tolist() for row in X], "label": np.arange(9) % 3})
    shards, disk = tmp_path / "shards" / "data", tmp_path / "disk"
    shards.mkdir(parents=True)
    for split, rows in {"train": slice(4), "test": slice(4, 9)}.items():
        frame[rows].to_parquet(shards / f"{split}-00000-of-00001.parquet")
        (disk / split).mkdir(parents=True)
        table = pa.Table.from_pandas(frame[rows], preserve_index=False)
        path = str(disk / split / "data-00000-of-00001.arrow")
        with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
        (disk / split / "cache-1.arrow").write_bytes(b"whatever")
    tasks = [load_task(f"hub:path={path}:inputs=series") for path in (tmp_path / "shards", disk)]
    assert parts(tasks[0]) == parts(tasks[1])
    assert len(tasks[0].splits["train"]) == 4 and len(tasks[0].splits["test"]) == 5
    np.testing.assert_array_equal(tasks[0].splits["test"].inputs, X[4:])
    (disk / "test" / "data-00000-of-00001.arrow").write_bytes(b"ARROW")
    with pytest.raises(RejectedInputError, match=r"is no whole .arrow file"):
        load_task(f"hub:path={disk}:inputs=series")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RejectedInputError, match=r"has no .parquet or .arrow file"):
        load_task(f"hub:path={tmp_path / 'empty'}:inputs=series")


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint8, np.float32])
def test_recordings(tmp_path: Path, kind: Any) -> None:
    rng = np.random.default_rng(0)
    expected = {}
    for number, name in enumerate(("test/yes/a", "test/no/b", "train/no/c", "train/yes/d")):
        signal = rng.uniform(-0.9, 0.9, (30 + number, 2))
        half = 1 if kind == np.float32 else 2 ** (8 * np.dtype(kind).itemsize - 1)
        values = (signal * half + (half if kind == np.uint8 else 0)).astype(kind)
        path = tmp_path / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        wavfile.write(path, 4000, values)
        expected[name] = (signal, 1.0 / half)
    task = load_task(f"audio:folder={tmp_path}")
    assert (task.rate, task.names, task.channels, task.length) == (4000.0, ("no", "yes"), 2, 33)
    test = task.splits["test"]
    assert test.labels.tolist() == [0, 1] and task.splits["train"].labels.tolist() == [0, 1]
    assert test.lengths is not None and test.lengths.tolist() == [31, 30]
    # A class keeps its number, whatever the limit leaves.
    few = load_task(f"audio:folder={tmp_path}:limit=1")
    assert (few.names, few.classes, len(few.splits["test"])) == (("no", "yes"), 2, 1)
    signal, step = expected["test/no/b"]
    np.testing.assert_allclose(test.inputs[0, :31], signal, rtol=1e-6, atol=step)
    assert (test.inputs[1, 30:] == 0.0).all()


def test_recordings_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(RejectedInputError, match=message) as caught:
            load_task(f"audio:folder={tmp_path}")
        assert "\n" not in str(caught.value)

    refused("expected class/file.wav")
    path = tmp_path / "yes" / "a.wav"
    path.parent.mkdir()
    wavfile.write(path, 4000, np.ones(8, np.int16))
    wavfile.write(path.with_name("b.wav"), 8000, np.ones(8, np.int16))
    refused(r"has \(rate, channels\) of \[\(4000, 1\), \(8000, 1\)\]")
    whole = path.read_bytes()
    for count in range(len(whole)):
        path.write_bytes(whole[:count])
        refused("is no whole WAV file|has no samples")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="class"), "expected one column label or labels"),
        (lambda t: t.assign(label="a"), "has 45 rows of class, label"),
        (lambda t: t.assign(other="word"), "column other has words, expected numbers beside class"),
        (lambda t: pd.concat([t, t[:1]]), "has a step of a sample twice"),
        (lambda t: t.assign(**{"class": t["step"] % 2}), "a sample with two of class or split"),
        (lambda t: t.assign(split="valid"), "has no test samples"),
        (lambda t: t.assign(split="holdout"), "has the split 'holdout'"),
        (lambda t: t.assign(value=np.inf), "has NaN or infinite entries"),
        (lambda t: t[:0], "has 0 rows"),
        (lambda t: t.assign(sample=np.nan), "has a column step, and none called sample"),
        (
            lambda t: t.assign(split=t["split"].mask(t["step"] == 1)),
            "has rows without class, split",
        ),
    ],
)
def test_tables_that_are_none_are_one_line(tmp_path: Path, change: Any, message: str) -> None:
    change(long_table()).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(RejectedInputError, match=message) as caught:
        load_task(f"file:{tmp_path / 't.csv'}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\0\0", b"a,b\n1,2,3\n4\n", b"\xff\xfe,\xff\n", b'"'])
def test_what_is_no_table_is_one_line(tmp_path: Path, content: bytes) -> None:
    for name in ("t.csv", "t.parquet", "x.npy", "t.npz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RejectedInputError) as caught:
            load_task(f"file:{tmp_path / name}")
        assert "\n" not in str(caught.value)
        with pytest.raises(RejectedInputError, match="no such file"):
            load_task(f"file:{tmp_path / 'none' / name}")


def test_pairs_of_arrays(tmp_path: Path) -> None:
    for first, second in (("x", "y"), ("walk_inputs", "walk_labels"), ("input", "label")):
        np.save(tmp_path / f"{first}.npy", X)
        np.save(tmp_path / f"{second}.npy", np.arange(9) % 3)
        task = load_task(f"file:{tmp_path / first}.npy")
        np.testing.assert_array_equal(task.splits["test"].inputs, X)
        # Other labels beside the same inputs are other data.
        np.save(tmp_path / f"{second}.npy", np.arange(9) % 2)
        assert load_task(f"file:{tmp_path / first}.npy").classes == 2
    np.save(tmp_path / "alone.npy", X)
    with pytest.raises(RejectedInputError, match="whose labels are in y"):
        load_task(f"file:{tmp_path / 'alone.npy'}")
    np.save(tmp_path / "object_x.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(RejectedInputError, match="it holds Python objects"):
        load_task(f"file:{tmp_path / 'object_x.npy'}")


def test_training_samples_have_labels_of_their_own(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", x=X, y=WORDS, train_inputs=X[:4] + 1, train_labels=WORDS[:4])
    task = load_task(f"file:{tmp_path / 's.npz'}")
    train = task.splits["train"]
    assert train.labels.tolist() == [1, 0, 2, 1]
    assert not {*train.sample_id.tolist()} & {*task.splits["test"].sample_id.tolist()}
    np.savez(tmp_path / "t.npz", x=X, y=WORDS, train_inputs=X[:4], train_labels=np.arange(3))
    with pytest.raises(RejectedInputError, match="labels is <U1"):
        load_task(f"file:{tmp_path / 't.npz'}")


def test_the_page_on_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code writes the files, and its commands read them, in the order of the page."""
    page = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    steps = re.findall(
        r"```python\n(.*?)```|^    (robustssm [^\n]*)$", page, re.DOTALL | re.MULTILINE
    )
    assert sum(bool(command) for _, command in steps) == 10
    for code, command in steps:
        if code:
            exec(code, names)
            continue
        words = shlex.split(command)[1:]
        as_json = ["--format", "json"] if words[0] == "ls" else []
        result = CliRunner().invoke(main, [*words, *as_json])
        assert result.exit_code == 0, f"{command}: {result.output}"
        if as_json:
            card = json.loads(result.stdout)["task"]
            if "values.npz" in command:
                assert (card["target"], card["outputs"]) == ("values", 1)
                continue
            assert card["classes"] == (2 if "audio" in command else 3), command
