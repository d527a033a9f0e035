"""What names a condition in every table; readers of runs need no more of it."""

from typing import Any

# Conditions are the same if all of these columns agree.
CONDITION = ("noise", "inject", "mode", "mode_unit", "eps", "eps_unit", "clip")
# What names a noise: the columns that its modes and strengths share.
NOISE = [name for name in CONDITION if name not in ("mode", "eps")]
# Values of CONDITION for the evaluation of unperturbed samples.
CLEAN = "clean"
CLEAN_NAMES: dict[str, Any] = dict(zip(CONDITION, (CLEAN, "", 0.0, "", 0.0, "", ""), strict=True))
