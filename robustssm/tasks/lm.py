"""Language modelling: windows of a text, and after each token the next one.

A token is a byte, or what a tokenizer.json makes of the text, without special tokens of its own,
cut or padded nowhere. Windows of `length` tokens begin every `stride` tokens, and every token is
judged once, by the first window that reaches it: behind the first window those that are judged have
`length - stride` others before them at least. What is left over at the end is no window. Windows
are split in their order, and may begin in what the split before judges; sample_id is their place.

Source: the guide to perplexity of Hugging Face transformers, for windows with a stride.
"""

from pathlib import Path

import numpy as np

from robustssm.targets import TOKENS as KIND
from robustssm.targets import UNJUDGED
from robustssm.tasks.base import SPLITS, Split, Task, spec_of
from robustssm.tasks.generated import FIRST, check
from robustssm.tasks.reading import TOKENS, Array, Source, check_room

_WHO = "lm"
_BYTES = Path()  # where no tokenizer is named
# Bytes of the largest tokenizer.json, and those that the package takes for each byte of a text.
_TOKENIZER, _ENCODED = 1 << 28, 128


def lm(
    file: Path,
    length: int = 128,
    stride: int = 0,
    tokenizer: Path = _BYTES,
    train: float = 0.8,
    validation: float = 0.1,
) -> Task:
    """Return the task; inputs (N, length) tokens, targets (N, length) the next ones.

    stride: tokens from a window to the next, 0 for `length`; tokenizer: a tokenizer.json or its
    folder, bytes by default; train, validation: shares of the windows. Raises UsageError, and
    RejectedInputError for files that are none.
    """
    given = dict(locals())
    check(_WHO, "length", length, 2, 1 << 20)
    check(_WHO, "stride", stride, 0, length)
    for name, share in (("train", train), ("validation", validation), ("both", train + validation)):
        check(_WHO, name, share, 0.01, 0.99)
    source, step = Source(_WHO, file), stride or length
    tokens, vocabulary = np.frombuffer(source.content(), np.uint8), 256
    if tokenizer != _BYTES:
        tokens, vocabulary = _encoded(source, tokenizer)
    count = len(range(0, len(tokens) - length, step))
    ends = [0, round(train * count), round((train + validation) * count), count]
    if min(np.diff(ends)) < 1:
        raise source.rejected(
            f"has {len(tokens)} tokens, {count} windows of {length} and the token behind each, too "
            "few for training, validation and test; take a longer text or a smaller length"
        )
    check_room(_WHO, (3, count, length), 8, "take a part of the text")  # places, inputs, targets
    splits = {}
    for name, first, end in zip(SPLITS, ends, ends[1:], strict=False):
        numbers = np.arange(first, end)
        places = step * numbers[:, None] + np.arange(length)
        targets = tokens[places + 1].astype(np.int64)
        targets[numbers > 0, : length - step] = UNJUDGED
        splits[name] = Split(tokens[places].astype(np.int64), targets, FIRST[name] + numbers)
    return Task(spec_of(_WHO, given, lm), vocabulary, splits, tokens=vocabulary, kind=KIND)


def _encoded(source: Source, path: Path) -> tuple[Array, int]:
    """Return the tokens of a text, (tokens,), and the size of the vocabulary."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ModuleNotFoundError(
            f"{_WHO}: tokenizer= needs the package tokenizers: pip install 'robustssm[lm]'"
        ) from None
    table = Source(f"{_WHO} tokenizer", path / "tokenizer.json" if path.is_dir() else path)
    content, text = table.text(_TOKENIZER, ended=False), source.text(ended=False)
    check_room(_WHO, (len(text.encode()),), _ENCODED, "take a part of the text")
    try:
        tokenizer = Tokenizer.from_str(content)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        vocabulary = 1 + max(tokenizer.get_vocab().values(), default=-1)
        ids = tokenizer.encode(text, add_special_tokens=False).ids
    except Exception as error:  # of no kind of its own
        raise table.rejected(f"cannot be used as a tokenizer.json ({error!s:.200})") from None
    check(table.who, "vocabulary", vocabulary, 1, TOKENS)
    return np.array(ids, np.uint32), vocabulary
