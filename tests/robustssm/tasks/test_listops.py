"""ListOps against an evaluator that reads the text, and against the published description."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.errors import UsageError
from robustssm.tasks import Split, Task, listops, load_task
from robustssm.tasks.listops import VOCABULARY
from robustssm.typing import IntArray


def text(tokens: IntArray) -> str:
    """Return the text of one sample's tokens (length,), padding left out."""
    return " ".join(VOCABULARY[token] for token in tokens.tolist() if token)


def value(expression: str) -> int:
    """Return the value of a text, by a stack of operators with their arguments so far."""
    stack: list[tuple[str, list[int]]] = [("", [])]
    for word in expression.split():
        if word in ("(", ")"):
            continue
        if word.startswith("["):
            stack.append((word, []))
        elif word == "]":
            operator, numbers = stack.pop()
            found = {
                "[MIN": min(numbers),
                "[MAX": max(numbers),
                "[MED": int(np.median(numbers)),
                "[SM": sum(numbers) % 10,
            }[operator]
            stack[-1][1].append(found)
        else:
            stack[-1][1].append(int(word))
    assert len(stack) == 1 and len(stack[0][1]) == 1
    return stack[0][1][0]


def nodes(expression: str) -> tuple[list[tuple[str, int]], int]:
    """Return every operator with its number of arguments, and the depth of digits, root 1."""
    stack: list[list[object]] = []
    found, depth = [], 1
    for word in expression.split():
        if word == "]":
            operator, count = stack.pop()
            found.append((str(operator), int(str(count))))
            continue
        if stack:
            stack[-1][1] = int(str(stack[-1][1])) + 1
        if word.startswith("["):
            stack.append([word, 0])
        else:
            depth = max(depth, len(stack) + 1)
    return found, depth


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("listops:train=1600:validation=100:test=300")


def test_labels_are_the_values_of_their_texts(task: Task) -> None:
    for name, split in task.splits.items():
        first = split.first(300)
        assert first.lengths is not None
        for row, (tokens, label, length) in enumerate(
            zip(first.inputs, first.labels, first.lengths, strict=True)
        ):
            words = text(tokens)
            assert value(words) == label, (name, row)
            assert len(words.split()) == length and 500 < length < 2000
            assert tokens[length - 1] == 1 and not tokens[length:].any()


def test_the_grammar_is_the_published_one(task: Task) -> None:
    """Operators, arguments and digits are equally likely; four standard deviations each.

    Conditioning on the length favours more arguments, so that only their range is exact.
    """
    operators: Counter[str] = Counter()
    arguments: Counter[int] = Counter()
    deepest = 0
    train = task.splits["train"]
    for tokens in train.inputs[:300]:
        found, depth = nodes(text(tokens))
        operators.update(operator for operator, _ in found)
        arguments.update(count for _, count in found)
        deepest = max(deepest, depth)
    assert deepest == 10
    assert sorted(arguments) == list(range(2, 11))
    total = sum(operators.values())
    assert set(operators) == set(VOCABULARY[2:6])
    for count in operators.values():
        assert abs(count - total / 4) < 4 * np.sqrt(total * 3 / 16)
    digits = np.bincount(train.inputs[train.inputs >= 6] - 6, minlength=10)
    assert abs(digits - digits.sum() / 10).max() < 4 * np.sqrt(digits.sum() * 0.09)


def test_chance_is_that_of_the_benchmark(task: Task) -> None:
    """0 and 9, which MIN and MAX favour, are the commonest labels: a share of 0.17 or so each."""
    share = np.bincount(task.splits["train"].labels, minlength=10) / 1600
    assert set(np.argsort(share)[-2:]) == {0, 9}
    # Four standard deviations of a share of 1,600.
    assert 0.17 - 0.038 < share.max() < 0.17 + 0.038 and share.min() > 0.04
    assert task.classes == 10 and task.tokens == 16 and task.length == 2000


def same(a: Split, b: Split) -> bool:
    assert a.lengths is not None and b.lengths is not None
    return all(
        np.array_equal(x, y)
        for x, y in (
            (a.inputs, b.inputs), (a.labels, b.labels), (a.lengths, b.lengths),
            (a.sample_id, b.sample_id),
        )
    )  # fmt: skip


def test_fewer_samples_are_the_first_of_more(task: Task) -> None:
    fewer = load_task("listops:train=100:validation=7:test=30")
    for name, split in fewer.splits.items():
        assert same(split, task.splits[name].first(len(split)))


@given(seed=st.integers(0, 2**31), depth=st.integers(3, 6), most=st.integers(3, 12))
@settings(max_examples=15, deadline=None)
def test_small_trees(seed: int, depth: int, most: int) -> None:
    limits = f"max_depth={depth}:max_args={most}:min_length=4:max_length=40:seed={seed}"
    task = load_task(f"listops:train=40:validation=40:test=40:{limits}")
    seen: dict[str, str] = {}
    for name, split in task.splits.items():
        for tokens, label in zip(split.inputs, split.labels, strict=True):
            words = text(tokens)
            found, deepest = nodes(words)
            assert value(words) == label and 4 < len(words.split()) < 40
            assert deepest <= depth and max(count for _, count in found) <= most
            # Small trees come again, but in their own split only.
            assert seen.setdefault(words, name) == name


def test_content_is_fixed() -> None:
    """The same bytes on every machine and for ever."""
    task = load_task("listops:train=20:validation=5:test=5")
    assert task.content_hash[:16] == "3bacf46bc5c9fb40"


@pytest.mark.parametrize(
    ("settings_text", "message"),
    [
        ("max_depth=1", "max_depth is 1, expected 2 to 30"),
        ("max_args=1", "max_args"),
        ("min_length=2000", "min_length"),
        ("train=0", "train is 0"),
        ("seed=-1", "seed is -1"),
        ("max_depth=2:max_args=3", "widen the limits"),
    ],
)
def test_bad_parameters(settings_text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listops, "_ATTEMPTS", 200)
    with pytest.raises(UsageError, match=message):
        load_task(f"listops:{settings_text}")
