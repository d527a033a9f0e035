"""SSM layers in torch, and the table from an initialisation's family to its layer."""

from collections.abc import Callable

from robustssm.layers.base import SSMLayer
from robustssm.layers.by_length import TrainedSobolev
from robustssm.layers.diagonal import DSS, S4D
from robustssm.layers.dplr import S4
from robustssm.layers.linoss import LinOSS
from robustssm.layers.mimo import LRU, S5

# family -> layer; called as layer(initialization, channels, **options)
LAYERS: dict[str, Callable[..., SSMLayer]] = {
    **{"dplr": S4, "diagonal": S4D, "dss": DSS, "mimo": S5},
    **{"sobolev": TrainedSobolev, "lru": LRU, "linoss": LinOSS},
}

__all__ = ["DSS", "LAYERS", "LRU", "S4", "S4D", "S5", "LinOSS", "SSMLayer"]
