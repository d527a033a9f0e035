"""A check of the harness itself: a task and a detector whose accuracy is known in closed form."""

from robustssm.evaluations.calibration.theory import (
    accuracy_in_mode,
    accuracy_in_noise,
)

__all__ = ["accuracy_in_mode", "accuracy_in_noise"]
