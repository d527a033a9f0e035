"""Modules of a user's own code are tried before the first cell: each must repeat itself."""

import torch
from torch import Tensor, nn

from robustssm.checkpoints.model_names import ModelRef
from robustssm.errors import RejectedInputError, RobustssmError
from robustssm.networks.inference import logits
from robustssm.tasks import Task

# By how much of the largest logit the other samples of a batch may change those of one. Rounding
# of float32 does by some 1e-5 in deep networks; what normalises over the batch, by far more.
_OF_BATCH = 1e-3


def check_repeats(ref: ModelRef, task: Task) -> None:
    """Try a module of a user's own code on the first test samples, twice, and on one alone.

    Raises RejectedInputError if its code fails, its logits differ from call to call, or those of a
    sample depend on the others. Checkpoints are not tried: their networks are this project's.
    """
    if not ref.runs_code:
        return
    network, split = ref.load().network, task.splits["test"].first(2)
    x = torch.from_numpy(split.inputs)
    ends = None if split.lengths is None else torch.from_numpy(split.lengths)
    inputs = x if task.tokens is None else network.embed(x)

    def of(count: int) -> Tensor:
        return _called(ref, network, inputs[:count], None if ends is None else ends[:count])

    once, again, alone = of(len(x)), of(len(x)), of(1)
    if not torch.equal(once.nan_to_num(), again.nan_to_num()):
        raise RejectedInputError(
            f"model {ref}: gives other logits for the same samples when it is called again, "
            "expected the same; switch off what draws in its forward, such as a dropout that "
            "eval() does not reach, or a state that it keeps"
        )
    largest = float(once.abs().max())
    if float((once[:1] - alone).abs().max()) > _OF_BATCH * largest:
        raise RejectedInputError(
            f"model {ref}: its logits of a sample depend on the other samples of the batch, "
            "expected each by itself; normalise by stored statistics, not over the batch"
        )


def _called(ref: ModelRef, network: nn.Module, x: Tensor, ends: Tensor | None) -> Tensor:
    """Return the logits; RejectedInputError if the module's code raises."""
    try:
        return logits(network, x, lengths=ends)
    except RobustssmError:
        raise
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise RejectedInputError(
            f"model {ref}: its code raised {said} for an input (samples, length, channels) of "
            f"{tuple(x.shape)}"
        ) from error
