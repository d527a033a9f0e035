"""robustssm: what a perturbation at one frequency does to a state-space sequence model."""

from robustssm._checkout import find_folders_beside

__version__ = "0.1.0"

find_folders_beside()
