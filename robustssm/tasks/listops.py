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
"""

from robustssm.tasks.base import Split, Task, spec_of
from robustssm.tasks.generated import check, check_sizes, numbered, splits_of
from robustssm.tasks.listops_trees import OPERATORS, Limits, sample_trees
from robustssm.typing import IntArray

# Token numbers: their places in this list. 0 is padding.
VOCABULARY = ("", "]", *OPERATORS, *(str(digit) for digit in range(10)))
_WHO = "listops"


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
    check_sizes(_WHO, seed, train=train, validation=validation, test=test)
    check(_WHO, "max_depth", max_depth, 2, 30)
    check(_WHO, "max_args", max_args, 2, 100)
    check(_WHO, "max_length", max_length, 8, 1 << 17)
    check(_WHO, "min_length", min_length, 3, max_length - 5)
    limits = Limits(max_depth, max_args, min_length, max_length)

    def make(split: str, index: IntArray) -> Split:
        tokens, lengths, labels = sample_trees(limits, f"{_WHO}|{limits}|{seed}", split, index)
        return numbered(split, index, tokens, labels, lengths)

    splits = splits_of(make, train, validation, test)
    return Task(spec_of(_WHO, given, listops), 10, splits, tokens=len(VOCABULARY))
