"""Delayed copy: name the symbol that was shown a number of steps ago.

A sequence holds independent, uniformly drawn symbols 0 to symbols - 1; the label is the symbol at
step length - 1 - delay, counted from 0, that is `delay` steps before the last. Labels are dealt
out in turn, so that chance is 1 / symbols. Half of all sequences may be training samples, a
quarter each validation and test samples, as a hash of the sequence says: no two splits share one.

Symbols are one-hot channels, (length, symbols) in {0, 1}, which a perturbation can act on, or
tokens, which a model embeds.

Source: the delayed recall of Hochreiter and Schmidhuber, Long Short-Term Memory (Neural
Computation 9, 1997), section 5.2, with one symbol to recall.
"""

import numpy as np

from robustssm.errors import UsageError, require_one_of
from robustssm.philox import uniform
from robustssm.tasks import generated
from robustssm.tasks.base import Task, spec_of
from robustssm.typing import Array, IntArray

FORMS = ("one-hot", "tokens")
# Sequences that there have to be for splits of them: 2^FEWEST.
_FEWEST = 24


def delayed_copy(
    symbols: int = 8,
    delay: int = 63,
    length: int = 64,
    form: str = "one-hot",
    train: int = 2000,
    validation: int = 200,
    test: int = 500,
    seed: int = 0,
) -> Task:
    """Return the task; symbols: 2 to 256, delay: 0 to length - 1, form: one-hot or tokens.

    Raises UsageError for what is out of range, and if there are fewer than 2^24 sequences.
    """
    given = dict(locals())
    who = "delayed-copy"
    generated.check_sizes(who, seed, train=train, validation=validation, test=test)
    generated.check(who, "symbols", symbols, 2, 256)
    generated.check(who, "length", length, 2, 1 << 20)
    generated.check(who, "delay", delay, 0, length - 1)
    require_one_of(f"{who}: form", form, FORMS)
    size = 8 * length if form == "tokens" else length * (8 + 4 * symbols)
    generated.check_memory(who, size, train, validation, test)
    if length * np.log2(symbols) < _FEWEST:
        raise UsageError(
            f"{who}: {symbols} symbols make too few sequences of length {length} to tell the "
            f"splits apart, expected {symbols}^length of 2^{_FEWEST} or more"
        )
    stream = f"delayed-copy|{symbols}|{delay}|{length}|{seed}"

    def make(split: str, index: IntArray) -> tuple[Array, ...]:
        labels = index % symbols
        tokens = _sequences(stream, split, index, symbols, length - 1 - delay, length)
        if form == "tokens":
            return tokens, labels
        return np.eye(symbols, dtype=np.float32)[tokens], labels

    splits = generated.splits_of(make, length, train, validation, test)
    tokens = symbols if form == "tokens" else None
    return Task(spec_of(who, given, delayed_copy), symbols, splits, tokens=tokens)


def _sequences(
    stream: str, split: str, index: IntArray, symbols: int, step: int, length: int
) -> IntArray:
    """Return symbols (N, length); the one at `step` is index modulo symbols."""
    tokens = np.empty((len(index), length), dtype=np.int64)
    factors = generated.multipliers(stream, length)
    open_rows, attempt = np.arange(len(index)), 0
    while len(open_rows):
        drawn = uniform(f"{stream}|{attempt}|{split}", index[open_rows], length)
        candidates = generated.below(drawn, symbols)
        candidates[:, step] = index[open_rows] % symbols
        contents = (candidates.astype(np.uint64) * factors).sum(1, dtype=np.uint64)
        fits = generated.at_home(split, contents)
        tokens[open_rows[fits]] = candidates[fits]
        open_rows, attempt = open_rows[~fits], attempt + 1
    return tokens
