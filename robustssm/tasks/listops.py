"""ListOps: nested operations on lists of digits, to be evaluated.

Tokens, in Polish notation with closing brackets: `[MAX 2 9 [MIN 4 7 ] 0 ]` is 9. Operators: MIN,
MAX, MED (the median, cut to a whole number) and SM (the sum modulo 10). A node is an operator
with probability 1/4 and a digit with 3/4; at depth `max_depth`, the root's being 1, it is a digit.
An operator has 2 to `max_args` arguments; operators, numbers of arguments and digits are equally
likely. Trees whose length, in tokens, is not above `min_length` and below `max_length` are drawn
again. Inputs are token numbers, padded with 0 to `max_length`; `lengths` says where they end.

Half of all trees may be training samples, a quarter each validation and test samples, as a hash of
their five upper levels says: no two splits share one. The benchmark has 96,000, 2,000 and 2,000
samples. Its own tokeniser drops the round brackets of its files, as is done here.

Source: Nangia and Bowman, ListOps (arXiv 1804.06028), sections 2 and 3; Tay et al., Long Range
Arena (arXiv 2011.04006), section 2.2.1; google-research/long-range-arena,
lra_benchmarks/data/listops.py for probabilities, limits and tokens.

Trees are drawn level by level for many samples at once, and written in prefix order. A node is
addressed by its sample, the attempt and its place in the level; one draw each decides what it is.
All comparisons are of whole numbers or of draws with constants: the same everywhere.
"""

from dataclasses import dataclass

import numpy as np

from robustssm.errors import UsageError
from robustssm.philox import uniform
from robustssm.tasks import generated
from robustssm.tasks.base import Task, spec_of
from robustssm.typing import Array, BoolArray, FloatArray, IntArray

OPERATORS = ("[MIN", "[MAX", "[MED", "[SM")
_OPERATOR_SHARE = 0.25
# Nodes that a sample is counted as, candidates at a time, and attempts before limits are given up.
_NODES, _CANDIDATES, _ATTEMPTS = 1 << 8, 1 << 12, 1 << 14
# Bits of a node's identity: its sample's above, then attempt, and place in the level.
_ATTEMPT_BITS, _PLACE_BITS = 14, 18
# Levels whose nodes are hashed, and the numbers that they are multiplied by.
_TOP, _FACTORS = 5, 1 << 12
# Tokens: 1 closes, operators follow, then digits.
_CLOSE, _FIRST_OPERATOR, _FIRST_DIGIT = 1, 2, 2 + len(OPERATORS)
# Token numbers: their places in this list. 0 is padding.
VOCABULARY = ("", "]", *OPERATORS, *(str(digit) for digit in range(10)))
_WHO = "listops"


@dataclass(frozen=True)
class Limits:
    """Depth, arguments and length in tokens: min_length < length < max_length."""

    max_depth: int
    max_args: int
    min_length: int
    max_length: int


@dataclass(frozen=True)
class _Level:
    """Nodes of one depth, (nodes,) each, ordered by candidate, then by parent.

    owner: candidate; kids: number of arguments, 0 of digits; code: operator or digit.
    """

    owner: IntArray
    kids: IntArray
    code: IntArray

    def of(self, wanted: BoolArray) -> "_Level":
        """Return the nodes of the candidates that are wanted, (candidates,)."""
        mine = wanted[self.owner]
        return _Level(self.owner[mine], self.kids[mine], self.code[mine])


def listops(
    train: int = 500,
    validation: int = 50,
    test: int = 100,
    max_depth: int = 10,
    max_args: int = 10,
    min_length: int = 500,
    max_length: int = 2000,
    seed: int = 0,
) -> Task:
    """Return the task; inputs (N, max_length) tokens 0 to 15, ten classes.

    max_depth: 2 to 30; max_args: 2 to 100; lengths in tokens, round brackets left out. Raises
    UsageError for what is out of range, and for limits that next to no tree keeps.
    """
    given = dict(locals())
    generated.check_sizes(_WHO, seed, train=train, validation=validation, test=test)
    generated.check(_WHO, "max_depth", max_depth, 2, 30)
    generated.check(_WHO, "max_args", max_args, 2, 100)
    generated.check(_WHO, "max_length", max_length, 8, 1 << 17)
    generated.check(_WHO, "min_length", min_length, 3, max_length - 5)
    generated.check_memory(_WHO, 8 * max_length, train, validation, test)
    limits = Limits(max_depth, max_args, min_length, max_length)

    def make(split: str, index: IntArray) -> tuple[Array, ...]:
        return sample_trees(limits, f"{_WHO}|{limits}|{seed}", split, index)

    splits = generated.splits_of(make, _NODES, train, validation, test)
    return Task(spec_of(_WHO, given, listops), 10, splits, tokens=len(VOCABULARY))


def sample_trees(
    limits: Limits, stream: str, split: str, index: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Return tokens (N, max_length), values (N,) and lengths (N,) of samples `index` of a split.

    Each takes the first attempt whose tree keeps the limits and may be of this split. Raises
    UsageError if no attempt does.
    """
    tokens = np.zeros((len(index), limits.max_length), dtype=np.int64)
    lengths, values = np.zeros((2, len(index)), dtype=np.int64)
    missing, attempt = np.arange(len(index)), 0
    while len(missing):
        count = min(max(1, _CANDIDATES // len(missing)), _ATTEMPTS - attempt)
        if count == 0:
            raise UsageError(
                f"listops: none of {_ATTEMPTS} trees of depth {limits.max_depth} with up to "
                f"{limits.max_args} arguments was longer than {limits.min_length} and shorter "
                f"than {limits.max_length} tokens; widen the limits"
            )
        row = np.repeat(missing, count)
        tried = np.tile(np.arange(attempt, attempt + count), len(missing))
        identity = (index[row] << _ATTEMPT_BITS) + tried << _PLACE_BITS
        levels, fits = _candidates(limits, stream, split, identity)
        chosen = np.flatnonzero(fits)
        chosen = chosen[np.unique(row[chosen], return_index=True)[1]]
        _write(levels, chosen, row, tokens, lengths, values)
        missing, attempt = missing[lengths[missing] == 0], attempt + count
    return tokens, values, lengths


def _candidates(
    limits: Limits, stream: str, split: str, identity: IntArray
) -> tuple[list[_Level], BoolArray]:
    """Return the levels of one tree for each identity (candidates,), and which trees will do.

    A tree is left unfinished where it is too long, or where its upper levels, of which the hash
    is taken, are for another split.
    """
    total = len(identity)
    owner = np.arange(total)
    length, top = np.zeros(total, dtype=np.int64), np.zeros(total, dtype=np.uint64)
    factors = generated.multipliers("listops", _FACTORS)
    levels: list[_Level] = []
    for depth in range(1, limits.max_depth + 1):
        nodes = np.bincount(owner, minlength=total)
        place = np.arange(len(owner)) - (np.cumsum(nodes) - nodes)[owner]
        draw = uniform(f"{stream}|{split}|{depth}", identity[owner] + place, 1)[:, 0]
        kids, code = _nodes(draw, depth, limits)
        levels.append(_Level(owner, kids, code))
        length += nodes + np.bincount(owner[kids > 0], minlength=total)
        # Every argument takes one token or more: what is too long already grows no further.
        coming = np.bincount(owner, weights=kids, minlength=total).astype(np.int64)
        alive = length + coming < limits.max_length
        if depth <= _TOP:
            factor = factors[(_FACTORS // _TOP * depth + place) % _FACTORS]
            contents = (16 * kids + code + 1).astype(np.uint64) * factor
            starts = np.flatnonzero(place == 0)
            top[owner[starts]] += np.add.reduceat(contents, starts)
        if depth == _TOP:
            alive &= generated.at_home(split, top)
        length[~alive] = limits.max_length
        owner = np.repeat(owner, np.where(alive[owner], kids, 0))
        if len(owner) == 0:
            break
    fits = (length > limits.min_length) & (length < limits.max_length)
    return levels, fits & generated.at_home(split, top)


def _nodes(draw: FloatArray, depth: int, limits: Limits) -> tuple[IntArray, IntArray]:
    """Return numbers of arguments, 0 of digits, and operators or digits, of draws (nodes,)."""
    if depth == limits.max_depth:
        return np.zeros(len(draw), dtype=np.int64), generated.below(draw, 10)
    operator = draw < _OPERATOR_SHARE
    many = len(OPERATORS)
    which = generated.below(draw / _OPERATOR_SHARE, many * (limits.max_args - 1))
    digit = generated.below((draw - _OPERATOR_SHARE) / (1.0 - _OPERATOR_SHARE), 10)
    kids = np.where(operator, 2 + which // many, 0)
    return kids, np.where(operator, which % many, np.minimum(digit, 9))


def _write(
    levels: list[_Level],
    chosen: IntArray,
    row: IntArray,
    tokens: IntArray,
    lengths: IntArray,
    values: IntArray,
) -> None:
    """Write the trees of the candidates `chosen` into the rows of their samples."""
    if len(chosen) == 0:
        return
    wanted = np.zeros(len(row), dtype=bool)
    wanted[chosen] = True
    parts = [level.of(wanted) for level in levels]
    sizes, results = _measured(parts)
    # Roots are in the order of the candidates, as `chosen` is.
    lengths[row[chosen]], values[row[chosen]] = sizes[0], results[0]
    place = np.zeros(len(chosen), dtype=np.int64)
    for depth, level in enumerate(parts):
        own, operator = row[level.owner], level.kids > 0
        first = np.where(operator, _FIRST_OPERATOR, _FIRST_DIGIT)
        tokens[own, place] = first + level.code
        tokens[own[operator], (place + sizes[depth] - 1)[operator]] = _CLOSE
        if not operator.any():
            break
        # An argument stands behind its operator and the arguments before it.
        below_it = sizes[depth + 1]
        before = np.cumsum(below_it) - below_it
        starts = (np.cumsum(level.kids) - level.kids)[operator]
        kids = level.kids[operator]
        place = np.repeat(place[operator] + 1 - before[starts], kids) + before


def _measured(levels: list[_Level]) -> tuple[list[IntArray], list[IntArray]]:
    """Return numbers of tokens and values of all nodes, level by level, from the leaves up."""
    sizes: list[IntArray] = []
    values: list[IntArray] = []
    for level in reversed(levels):
        size, value = np.ones_like(level.kids), level.code.copy()
        operator = level.kids > 0
        if operator.any():
            kids = level.kids[operator]
            starts = np.cumsum(kids) - kids
            size[operator] = 2 + np.add.reduceat(sizes[-1], starts)
            value[operator] = _applied(level.code[operator], values[-1], starts, kids)
        sizes.append(size)
        values.append(value)
    return sizes[::-1], values[::-1]


def _applied(operator: IntArray, arguments: IntArray, starts: IntArray, kids: IntArray) -> IntArray:
    """Return operator (M,) of its arguments, which begin at starts (M,) and are kids (M,) many."""
    parent = np.repeat(np.arange(len(kids)), kids)
    ordered = arguments[np.lexsort((arguments, parent))]
    median = (ordered[starts + (kids - 1) // 2] + ordered[starts + kids // 2]) // 2
    total = np.add.reduceat(arguments, starts) % 10
    choices = [ordered[starts], ordered[starts + kids - 1], median, total]
    return np.choose(operator, choices)
