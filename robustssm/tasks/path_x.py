"""Path-X: Pathfinder at 128 x 128 pixels, sequences of 16,384 steps.

The samples are those of `pathfinder:side=128`, of which this is another name.

Source: Tay et al., Long Range Arena (arXiv 2011.04006), section 2.2.6.
"""

from dataclasses import replace

from robustssm.tasks.base import Task, spec_of
from robustssm.tasks.pathfinder import pathfinder


def path_x(
    dashes: int = 14, train: int = 20, validation: int = 6, test: int = 10, seed: int = 0
) -> Task:
    """Return the task; inputs (N, 16384, 1), two classes; parameters as those of `pathfinder`."""
    given = dict(locals())
    task = pathfinder(128, dashes, train, validation, test, seed)
    return replace(task, spec=spec_of("path-x", given, path_x))
