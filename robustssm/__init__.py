"""robustssm: what a perturbation at one frequency does to a state-space sequence model.

    import robustssm as rs

    model = rs.load("s4d")
    run = rs.sweep(["s4d", "s4ptd"], noise="fourier", modes="1-64")
    run.overview()

Nothing heavy is imported before its first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from robustssm._checkout import find_folders_beside, leave_current_directory
from robustssm._version import __version__ as __version__

if TYPE_CHECKING:
    from robustssm import attacks
    from robustssm.api.models import load, wrap
    from robustssm.api.runs import open_run, perturb, sweep
    from robustssm.api.systems import converge, gain, influence, peak_gain, transfer
    from robustssm.errors import RejectedInputError, UsageError

__all__ = [
    "RejectedInputError",
    "UsageError",
    "__version__",
    "attacks",
    "converge",
    "gain",
    "influence",
    "load",
    "open_run",
    "peak_gain",
    "perturb",
    "sweep",
    "transfer",
    "wrap",
]
# Where each name is defined; a package stands for itself.
_HOMES = {
    "attacks": "robustssm.attacks",
    **dict.fromkeys(("UsageError", "RejectedInputError"), "robustssm.errors"),
    **dict.fromkeys(("load", "wrap"), "robustssm.api.models"),
    **dict.fromkeys(("sweep", "open_run", "perturb"), "robustssm.api.runs"),
    **dict.fromkeys(
        ("transfer", "converge", "gain", "influence", "peak_gain"), "robustssm.api.systems"
    ),
}

leave_current_directory()
find_folders_beside()


def __getattr__(name: str) -> Any:  # a name of the interface, imported at its first use (PEP 562)
    if name not in _HOMES:
        raise AttributeError(f"module 'robustssm' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    value = globals()[name] = home if home.__name__ == f"robustssm.{name}" else getattr(home, name)
    return value


def __dir__() -> list[str]:
    return list(__all__)
