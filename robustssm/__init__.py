"""robustssm: what a perturbation at one frequency does to a state-space sequence model."""

from os import PathLike
from typing import TYPE_CHECKING

from robustssm._checkout import find_folders_beside, leave_current_directory
from robustssm._version import __version__ as __version__

if TYPE_CHECKING:
    from robustssm.checkpoints import Checkpoint

leave_current_directory()
find_folders_beside()


def load(name_or_path: "str | PathLike[str]", **overrides: object) -> "Checkpoint":
    """Return a trained network in evaluation mode, with its card, content hash and notes.

    Nothing in a checkpoint is executed.

    Parameters
    ----------
    name_or_path : str or path
        `s4d`, `s4d/2`, a checkpoint file or folder of any known format, `name=path`, or
        `module.py:function`.
    **overrides
        What the file does not say, by the names of the original's options, as in
        `load("ckpt.pth", prenorm=False)`; nothing is guessed.

    Raises
    ------
    UsageError
        If an override is needed or wrong.
    RejectedInputError
        If the file is damaged or in no known layout.
    """
    from robustssm.checkpoints.model_names import resolve
    from robustssm.errors import UsageError

    settings = [
        f"{key}={str(value).lower() if isinstance(value, bool) else value}"
        for key, value in overrides.items()
    ]
    found = resolve(str(name_or_path), settings)
    if len(found) != 1:
        raise UsageError(f"load: {name_or_path} names {len(found)} models, expected one")
    return found[0].load()
