"""`robustssm models predict`: the logits of any model on arrays of your own."""

from pathlib import Path
from typing import Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import SharedOptions, choice, output, path_option, shared


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
@click.option(
    "--as-data",
    is_flag=True,
    help="Write the inputs with the predicted classes or values as their labels: data for a sweep.",
)
def predict(source: Path, output: Path, precision: str, as_data: bool, **options: Any) -> None:
    """Run a model on your own arrays.

    MODEL: s4d, s4d/2, name=path, a checkpoint's path, or module.py:function. `lengths`
    (samples,) in the input file are used where they are there.

    \b
    Examples:
      robustssm perturb 'Fourier(3, eps=0.3)' -o noisy.npz
      robustssm models predict s4d --input noisy.npz -o logits.npz
      robustssm models predict a.ckpt --input x.npz -o y.npz
      robustssm models predict a.ckpt --input x.npz --as-data -o own.npz
      robustssm sweep -m a.ckpt --data file:own.npz --noise fourier --modes 1-64

    Exit codes: 0 written; 2 usage; 4 the checkpoint or the input is rejected.
    """
    import numpy as np

    from robustssm.api.models import load_ref
    from robustssm.errors import UsageError
    from robustssm.storage.writing import new_file, prepare
    from robustssm.tasks.arrays import read_arrays
    from robustssm.tasks.reading import Source

    prepare(output)
    ref = SharedOptions(**options).one_ref("predict")
    file_of = Source("input", source)
    arrays = read_arrays(file_of, ("inputs",), ("lengths",), strict=False)
    checkpoint = load_ref(ref)
    result = checkpoint.predict(arrays["inputs"], arrays.get("lengths"), precision, file_of)
    named = result
    if as_data and not checkpoint.card.target:
        if result.ndim != 2:
            raise UsageError(
                f"predict: the model gives an output of shape {tuple(result.shape)}, expected one "
                "logit per class; drop --as-data"
            )
        named = result.argmax(axis=-1)
    held = {**arrays, "labels": named} if as_data else {"output": result}
    with new_file(output) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **held)
    terminal.note(*checkpoint.notes)
    shapes = ", ".join(f"{name} {value.shape} {value.dtype}" for name, value in held.items())
    terminal.say(f"{output}: {shapes}")
