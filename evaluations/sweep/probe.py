"""Modules of a user's own code are tried before the first cell: each must repeat itself."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustssm.checkpoints.model_names import ModelRef
from robustssm.errors import RejectedInputError, RobustssmError, out_of_memory
from robustssm.networks.inference import logits
from robustssm.tasks import Task

# By how much of the largest logit the other samples of a batch may change those of one. Rounding
# of float32 does by some 1e-5 in deep networks; what normalises over the batch, by far more.
_OF_BATCH = 1e-3


def check_repeats(ref: ModelRef, task: Task) -> int | None:
    """Try a module of a user's own code on the first test samples, twice, and on one alone.

    Returns how many logits it gives; None for a checkpoint, whose network is this project's. Raises
    RejectedInputError if its code fails, its output is not one logit per class, its logits differ
    from call to call, or those of a sample depend on the others.
    """
    if not ref.runs_code:
        return None
    network, split = ref.load().network, task.splits["test"].first(2)
    network = network.answering(task.kind.every_step)
    x = torch.from_numpy(split.inputs)
    ends = None if split.lengths is None else torch.from_numpy(split.lengths)
    embed = network.embed if task.tokens is not None else lambda tokens: tokens
    inputs = _said(ref, x, lambda: embed(x))

    def of(count: int) -> Tensor:
        return answers(ref, network, inputs[:count], None if ends is None else ends[:count])

    once, again, alone = of(len(x)), of(len(x)), of(1)
    if not torch.equal(once.nan_to_num(), again.nan_to_num()):
        raise RejectedInputError(
            f"model {ref}: gives other logits for the same samples when it is called again, "
            "expected the same; switch off what draws in its forward, such as a dropout that "
            "eval() does not reach, or a state that it keeps"
        )
    task.kind.check_answers(f"model {ref}", tuple(once.shape), split.labels, task.classes)
    largest = float(once.abs().max())
    if float((once[:1] - alone).abs().max()) > _OF_BATCH * largest:
        raise RejectedInputError(
            f"model {ref}: its logits of a sample depend on the other samples of the batch, "
            "expected each by itself; normalise by stored statistics, not over the batch"
        )
    return once.shape[-1]


def answers(ref: ModelRef, network: nn.Module, x: Tensor, ends: Tensor | None) -> Tensor:
    """Return the logits; RejectedInputError if the code of a user's module raises."""
    return _said(ref, x, lambda: logits(network, x, lengths=ends))


def _said(ref: ModelRef, x: Tensor, call: Callable[[], Tensor]) -> Tensor:
    try:
        with torch.no_grad():
            return call()
    except RobustssmError:
        raise
    except Exception as error:
        if not ref.runs_code or out_of_memory(error):
            raise
        said = " ".join(f"{type(error).__name__}: {error}".split())
        axes = "samples, length, channels" if x.is_floating_point() else "samples, length"
        raise RejectedInputError(
            f"model {ref}: its code raised {said} for an input ({axes}) of {tuple(x.shape)}"
        ) from error
