"""Losses of tokens, by two routes; marks, training; how many samples are worked on at a time."""

import copy
import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.errors import RejectedInputError, UsageError
from robustssm.networks.inference import at_a_time
from robustssm.targets import CLASSES, KINDS, TOKENS, UNJUDGED, VALUES, Tokens, Values, of_table


def drawn(seed: int, batch: int, length: int, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits and targets, a third of which are marked, the last ones never."""
    generator = torch.Generator().manual_seed(seed)
    answers = 5.0 * torch.randn(batch, length, vocabulary, generator=generator)
    targets = torch.randint(0, vocabulary, (batch, length), generator=generator)
    marked = torch.rand(batch, length, generator=generator) < 1 / 3
    marked[:, -1] = False
    return answers, torch.where(marked, UNJUDGED, targets)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 12), st.integers(1, 9))
def test_losses_are_means_of_log_probabilities(
    seed: int, batch: int, length: int, vocabulary: int
) -> None:
    """By the definition in numpy, sample by sample; the same bits alone and in any order."""
    answers, targets = drawn(seed, batch, length, vocabulary)
    found = TOKENS.samples((answers, targets.numpy(), None), np.zeros(1), (), None)
    for k in range(batch):
        own = [t for t in range(length) if targets[k, t] != UNJUDGED]
        rows = answers[k].double().numpy()
        log = rows - np.log(np.exp(rows).sum(-1, keepdims=True))
        nats = [-log[t, int(targets[k, t])] for t in own]
        assert found["loss"][k] == pytest.approx(np.mean(nats), abs=1e-12)
        assert found["judged"][k] == len(own)
        assert found["right"][k] == sum(int(rows[t].argmax() == targets[k, t]) for t in own)
        assert TOKENS.errors(answers[k : k + 1], targets[k : k + 1]).item() == found["loss"][k]
    order = torch.randperm(batch, generator=torch.Generator().manual_seed(seed))
    shuffled = TOKENS.errors(answers[order], targets[order])
    assert torch.equal(shuffled, torch.from_numpy(found["loss"])[order])
    # Tokens count alike in the mean of a batch, and in what a summary calls the mean over tokens.
    loss = TOKENS.training_loss(answers.double(), targets, None, None)
    weighted = (found["loss"] * found["judged"]).sum() / found["judged"].sum()
    assert float(loss) == pytest.approx(weighted, abs=1e-12)
    mean, perplexity, right = TOKENS.means(found).values()
    assert perplexity == pytest.approx(np.exp(weighted))
    assert mean == pytest.approx(weighted) and right == found["right"].sum() / found["judged"].sum()
    quality = TOKENS.quality([(answers[k : k + 1], targets[k : k + 1].numpy(), None)
                              for k in range(batch)])  # fmt: skip
    assert quality == pytest.approx(right)


def test_a_sample_is_broken_above_the_threshold() -> None:
    answers, targets = drawn(1, 6, 5, 4)
    loss = TOKENS.errors(answers, targets)
    kind = Tokens(TOKENS.name, True, float(loss.median()))
    margins = kind.margins(answers, targets)
    assert torch.equal(margins <= 0.0, loss >= loss.median())
    assert float(kind.level(margins.numpy())) == pytest.approx(float(loss.mean()))
    factor, more = TOKENS.broken
    assert np.exp(factor * 1.3 + more) == pytest.approx(2.0 * np.exp(1.3))
    with pytest.raises(UsageError, match="loss of tokens"):
        TOKENS.loss("dlr")


def test_answers_of_another_shape_are_refused() -> None:
    targets = np.zeros((3, 5), np.int64)
    TOKENS.check_answers("m", (3, 5, 7), targets, 7)
    TOKENS.check_answers("m", (3, 5, 8), targets, 7)  # a padded vocabulary
    for shape in ((3, 7), (3, 4, 7), (3, 5, 6)):
        with pytest.raises(RejectedInputError, match=r"expected \(5, 7\)"):
            TOKENS.check_answers("m", shape, targets, 7)


def test_a_table_tells_its_kind() -> None:
    for kind in (CLASSES, VALUES, TOKENS):
        for columns in (kind.columns, (kind.clean, kind.score, "n"), (kind.mean,), kind.wins):
            assert of_table(columns) is kind
    assert KINDS["tokens"] is TOKENS


def test_a_kind_is_itself_in_another_process() -> None:
    for kind in KINDS.values():
        assert pickle.loads(pickle.dumps(kind)) is kind and copy.deepcopy(kind) is kind
    broken = Values("values", False, threshold=3.0)
    again = pickle.loads(pickle.dumps(broken))
    assert (again.name, again.every_step, again.threshold) == ("values", False, 3.0)
    assert again is not VALUES


@pytest.mark.parametrize(
    ("fields", "most", "expected"),
    [
        ({"every_step": False, "d_output": 1 << 20}, 64, 64),
        ({"every_step": True, "d_output": 256}, 64, 64),
        ({"every_step": True, "d_output": 50280}, 64, 1),
        ({"every_step": True, "d_output": 1 << 20}, 64, 1),
        ({"every_step": True, "d_output": None}, 64, 64),
    ],
)
def test_samples_at_a_time_keep_answers_small(
    fields: dict[str, Any], most: int, expected: int
) -> None:
    network: Any = SimpleNamespace(**fields)
    found = at_a_time(network, 300, most)
    assert found == expected
    if fields["every_step"] and found > 1:
        assert found * 300 * (fields["d_output"] or 1) <= 1 << 24
