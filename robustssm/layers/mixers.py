"""SSM layers of other code bases, by the options of a blueprint."""

from collections.abc import Callable, Mapping

from robustssm.errors import require_one_of
from robustssm.layers.base import SSMLayer
from robustssm.layers.diagonal import GeneralDiagonal
from robustssm.layers.dplr import GeneralDPLR
from robustssm.layers.mimo import GeneralMIMO

KINDS: dict[str, Callable[..., SSMLayer]] = {
    "diagonal": GeneralDiagonal,
    "dplr": GeneralDPLR,
    "mimo": GeneralMIMO,
}


def mixer(d: int, options: Mapping[str, object]) -> SSMLayer:
    """Return an SSM layer of d channels with parameters still to be loaded.

    options: `kind` and what its class takes. Raises UsageError for an unknown kind.
    """
    kind = str(options.get("kind"))
    require_one_of("architecture: mixer", kind, KINDS)
    return KINDS[kind](d, **{key: value for key, value in options.items() if key != "kind"})
