"""Checkpoints of state-spaces/s4: S4 and S4D networks of v2 to v4, example.py, single layers.

Its forks are read as well: S4-PTD, HOPE and FreqBias.

Licence of the original: Apache-2.0. Nothing of it is imported: its weights are evaluated by this
project's own layers.
"""

from collections.abc import Mapping

from robustssm.checkpoints.imported import Imported
from robustssm.checkpoints.state_spaces.assemble import assembled
from robustssm.checkpoints.state_spaces.layers import NAMES, read_layer
from robustssm.checkpoints.state_spaces.versions import is_kernel
from robustssm.file_formats import Contents

SOURCE = "state-spaces/s4"


def recognises(contents: Contents) -> bool:
    """Return whether the tensors hold a kernel in a layout of state-spaces/s4."""
    return any(is_kernel(name) for name in contents.tensors)


def build(contents: Contents, overrides: Mapping[str, str]) -> Imported:
    """Return the network of a checkpoint of state-spaces/s4.

    overrides: what the file does not say, by the names of the original's options. Raises
    RejectedInputError if tensors are missing, left over, mis-shaped, not finite or unstable;
    UsageError if an option is needed, unknown, contradicts the file or is not supported.
    """
    return assembled(contents, overrides, SOURCE, read_layer, NAMES)
