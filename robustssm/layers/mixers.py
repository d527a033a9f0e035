"""SSM layers of other code bases, by the options of a blueprint."""

from collections.abc import Callable, Mapping

from robustssm.errors import UsageError
from robustssm.layers.general import GeneralLayer


def _diagonal() -> Callable[..., GeneralLayer]:
    from robustssm.layers.diagonal_general import GeneralDiagonal

    return GeneralDiagonal


def _dplr() -> Callable[..., GeneralLayer]:
    from robustssm.layers.dplr_general import GeneralDPLR

    return GeneralDPLR


def _mimo() -> Callable[..., GeneralLayer]:
    from robustssm.layers.mimo_general import GeneralMIMO

    return GeneralMIMO


KINDS = {"diagonal": _diagonal, "dplr": _dplr, "mimo": _mimo}


def mixer(d: int, options: Mapping[str, object]) -> GeneralLayer:
    """Return an SSM layer of d channels with parameters still to be loaded.

    options: `kind` and what its class takes. Raises UsageError for what there is not.
    """
    kind = options.get("kind")
    if kind not in KINDS:
        raise UsageError(f"architecture: mixer {kind!r} is unknown, expected {', '.join(KINDS)}")
    own = {key: value for key, value in options.items() if key != "kind"}
    return KINDS[str(kind)]()(d, **own)
