"""Windows of a text: what they hold, which tokens they judge, tokenizers, and what is refused."""

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.errors import RejectedInputError, UsageError
from robustssm.figures.task_samples import words
from robustssm.targets import TOKENS, UNJUDGED
from robustssm.tasks import Split, Task, load_task
from robustssm.tasks.base import SPLITS
from robustssm.testing.contracts import check_task

TEXT = ("Nothing is loaded approximately. " * 40).encode()


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A tokenizer of whole words, which would cut, pad and add a first token if it were let."""
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    names = {"[UNK]": 0, "[PAD]": 1, "[CLS]": 2, "Nothing": 3, "is": 4, "loaded": 5, ".": 9}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(names, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", 2)]
    )
    tokenizer.enable_truncation(7)
    tokenizer.enable_padding(length=9000, pad_id=1, pad_token="[PAD]")
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(1, 40), st.integers(400, 1200))
def test_every_token_is_judged_once_by_what_came_before_it(
    tmp_path_factory: pytest.TempPathFactory, length: int, stride: int, count: int
) -> None:
    """Two routes: windows of the task, and the text itself at the places that they stand for."""
    stride = min(stride, length)
    content = np.random.Generator(np.random.Philox(count)).integers(0, 256, count, np.uint8)
    path = tmp_path_factory.getbasetemp() / f"text-{count}.bin"
    path.write_bytes(content.tobytes())
    task = load_task(f"lm:file={path}:length={length}:stride={stride}")
    judged = np.zeros(count, np.int64)
    for name in SPLITS:
        split = task.splits[name]
        for x, y, number in zip(split.inputs, split.labels, split.sample_id, strict=True):
            start = stride * (number % 1_000_000_000)
            assert x.tolist() == content[start : start + length].tolist()
            own = np.flatnonzero(y != UNJUDGED)
            assert y[own].tolist() == content[start + 1 + own].tolist()
            judged[start + 1 + own] += 1
    last = np.flatnonzero(judged)[-1]
    assert judged[0] == 0 and (judged[1 : last + 1] == 1).all() and count - 1 - last < stride
    order = np.concatenate([task.splits[name].sample_id % 1_000_000_000 for name in SPLITS])
    assert order.tolist() == [*range(len(order))]


def test_a_text_of_bytes(text: Path) -> None:
    task = check_task(f"lm:file={text}:length=16")
    assert (task.kind, task.tokens, task.classes, task.length) == (TOKENS, 256, 256, 16)
    assert bytes(task.splits["train"].inputs[0].tolist()) == TEXT[:16]
    assert words(task.splits["train"].inputs[0], 256) == TEXT[:16].decode()
    sizes = [len(task.splits[name]) for name in SPLITS]
    assert sizes == [66, 8, 8]
    # The best constant answer is the frequencies of the targets: the entropy, by its definition.
    _, counts = np.unique(task.splits["test"].labels, return_counts=True)
    entropy = sum(-c / counts.sum() * np.log(c / counts.sum()) for c in counts)
    assert task.chance == pytest.approx(entropy)


def test_a_tokenizer_is_taken_without_what_it_adds(text: Path, table: Path) -> None:
    named = load_task(f"lm:file={text}:length=5:tokenizer={table}")
    folder = load_task(f"lm:file={text}:length=5:tokenizer={table.parent}")
    assert named.content_hash == folder.content_hash
    assert named.tokens == named.classes == 10  # the largest id, not their number
    assert named.splits["train"].inputs[0].tolist() == [3, 4, 5, 0, 9]
    assert named.splits["train"].labels[0].tolist() == [4, 5, 0, 9, 3]
    assert sum(len(named.splits[name]) for name in SPLITS) == 39  # of 200 tokens


def test_without_the_package_it_is_named(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "tokenizers":
            raise ImportError(name)
        return there(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'robustssm\[lm\]'"):
        load_task(f"lm:file={text}:tokenizer={tmp_path / 'tokenizer.json'}")
    assert load_task(f"lm:file={text}").tokens == 256


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("length=1", "length is 1, expected 2 to"),
        ("length=16:stride=17", "stride is 17, expected 0 to 16"),
        ("train=0.995", "train is 0.995, expected 0.01 to 0.99"),
        ("length=1400", "has 1320 tokens, 0 windows of 1400 and the token behind each, too few"),
        ("length=600", "has 1320 tokens, 2 windows of 600"),
    ],
)
def test_what_is_out_of_range_is_one_line(text: Path, parameters: str, message: str) -> None:
    with pytest.raises((UsageError, RejectedInputError)) as caught:
        load_task(f"lm:file={text}:{parameters}")
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "no json", "{}", json.dumps({"model": {"type": "X"}})])
def test_files_that_are_no_tokenizer_are_refused(text: Path, tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(RejectedInputError, match=r"used as a tokenizer\.json") as caught:
        load_task(f"lm:file={text}:tokenizer={path}")
    assert "\n" not in str(caught.value)


def test_files_that_are_missing_or_no_text_are_refused(
    text: Path, table: Path, tmp_path: Path
) -> None:
    with pytest.raises(RejectedInputError, match="no such file"):
        load_task(f"lm:file={tmp_path / 'none.txt'}")
    with pytest.raises(RejectedInputError, match=r"tokenizer .*none.json: no such file"):
        load_task(f"lm:file={text}:tokenizer={tmp_path / 'none.json'}")
    with pytest.raises(RejectedInputError, match=r"folder.tokenizer.json: no such file"):
        (tmp_path / "folder").mkdir()
        load_task(f"lm:file={text}:tokenizer={tmp_path / 'folder'}")
    text.write_bytes(TEXT + b"\xff")
    with pytest.raises(RejectedInputError, match="is not UTF-8 text"):
        load_task(f"lm:file={text}:length=5:tokenizer={table}")
    assert load_task(f"lm:file={text}:length=5").tokens == 256  # bytes are any


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0, 1], [2, 9]], "int64 .2, 2. from 0 to 9, expected tokens"),
        ([[0, 1], [2, -1]], "from -1 to 2, .* from 0 to 4, one or more"),
        ([[0, 1], [-100, -100]], "from -100 to 1, .*, and -100 where none is judged"),
        ([0, 1], r"int64 \(2,\)"),
        ([[0.0, 1.0], [2.0, 3.0]], "are float64"),
    ],
)
def test_targets_that_are_no_tokens_are_refused(labels: list[Any], message: str) -> None:
    split = Split(np.zeros((2, 2), np.int64), np.array(labels), np.arange(2))
    with pytest.raises(UsageError, match=message):
        Task("mine", 5, dict.fromkeys(SPLITS, split), tokens=5, kind=TOKENS)
