"""Tasks by name: `digits`, `digits:side=32`."""

from robustssm.tasks.base import Split, Task
from robustssm.tasks.registry import TASKS, load_task, recorded_task

__all__ = ["TASKS", "Split", "Task", "load_task", "recorded_task"]
