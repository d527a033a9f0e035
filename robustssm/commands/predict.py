"""`robustssm models predict`: the logits of any model on arrays of your own."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import SharedOptions, choice, output, path_option, shared
from robustssm.errors import RejectedInputError

if TYPE_CHECKING:
    from robustssm.tasks.reading import Array


@click.command()
@shared("names", "models")
@path_option(
    "--input",
    "source",
    required=True,
    help="An .npz file with `input`: (samples, length, channels), or tokens (samples, length).",
)
@output(
    required=True, suffix=".npz", help="The .npz file to write, with `output`; new or replaced."
)
@choice("--precision", of=("float32", "float64"), help="Of the whole network.")
def predict(source: Path, output: Path, precision: str, **options: Any) -> None:
    """Run a model on your own arrays.

    MODEL: s4d, s4d/2, name=path, a checkpoint's path, or module.py:function. `lengths`
    (samples,) in the input file are used where they are there.

    \b
    Examples:
      robustssm perturb 'Fourier(3, eps=0.3)' -o noisy.npz
      robustssm models predict s4d --input noisy.npz -o logits.npz
      robustssm models predict a.ckpt --set prenorm=false --input x.npz -o y.npz

    Exit codes: 0 written; 2 usage; 4 the checkpoint or the input is rejected.
    """
    import numpy as np
    import torch

    from robustssm.execution import one_thread
    from robustssm.networks.inference import logits
    from robustssm.storage.writing import new_file, prepare

    prepare(output)
    ref = SharedOptions(**options).one_ref("predict")
    values, lengths = read_input(source)
    checkpoint = ref.load()
    network, dtype = checkpoint.network, getattr(torch, precision)
    network.to(dtype)
    x = torch.from_numpy(values)
    if network.tokens is not None and values.ndim == 2:
        if values.min() < 0 or values.max() >= network.tokens:
            raise RejectedInputError(
                f"input {source}: tokens run from {values.min()} to {values.max()}, {ref} has 0 "
                f"to {network.tokens - 1}"
            )
        x = network.embed(x)
    channels = network.d_input
    if x.ndim != 3 or (channels is not None and x.shape[2] != channels):
        raise RejectedInputError(
            f"input {source}: has shape {values.shape}, {ref} expects (samples, length, "
            f"{'channels' if channels is None else channels})"
        )
    ends = None if lengths is None else torch.from_numpy(lengths)
    with one_thread():
        result = logits(network, x.to(dtype), lengths=ends)
    broken = int((~torch.isfinite(result)).sum())
    if broken:
        raise RejectedInputError(
            f"input {source}: {broken} of {result.numel()} outputs of {ref} are not finite; look "
            "at the input and the checkpoint"
        )
    with new_file(output) as partial, partial.open("wb") as file:
        np.savez(file, output=result.numpy())
    for note in checkpoint.notes:
        terminal.note(note)
    terminal.say(f"{output}: output {tuple(result.shape)} {precision}")


def read_input(path: Path) -> "tuple[Array, Array | None]":
    """Return the inputs and `lengths` of an .npz file; `lengths` is None if it has none."""
    from robustssm.tasks.arrays import read_arrays
    from robustssm.tasks.reading import Source

    arrays = read_arrays(Source("input", path), ("inputs",), ("lengths",), strict=False)
    values, lengths = arrays["inputs"], arrays.get("lengths")
    if values.dtype.kind not in "fiu" or values.ndim not in (2, 3) or not len(values):
        raise RejectedInputError(
            f"input {path}: `inputs` is {values.dtype} {values.shape}, expected numbers (samples, "
            "length, channels) or integer tokens (samples, length)"
        )
    return values, lengths
