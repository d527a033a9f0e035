"""What was drawn of a perturbation and holds for every strength of it, in bounded memory."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from torch import Tensor

from robustssm.typing import IntArray

T = TypeVar("T")

# Bytes that values take, at most.
MOST = 1 << 28

# (what draws depend on beside places and samples, these) -> a value and its size.
_values: dict[tuple[Hashable, Hashable], tuple[Any, int]] = {}


def kept(
    perturbation: object,
    x: Tensor,
    sample_id: IntArray,
    seed: int,
    site: Any,
    make: Callable[[Tensor, IntArray, int, Any], T],
) -> T:
    """Return make(x, sample_id, seed, site), or what it returned before; not to be written to.

    make: of x it depends on the shape alone. site: an `attacks.base.Site`. For room, what other
    perturbations made goes, the oldest first; then the newest: a sweep comes back to the first
    block after the last one, and finds the first ones at least.
    """
    owner = type(perturbation), repr(perturbation), seed
    dt = None if site.dt is None else tuple(site.dt.tolist())
    place = make.__name__, site.layer, site.length, site.rate, dt
    key = owner, (*place, x.shape, x.dtype, x.device, sample_id.tobytes())
    if key not in _values:
        made = make(x, sample_id, seed, site)
        size = getattr(made, "nbytes", 0)
        room = MOST - size - sum(taken for _, taken in _values.values())
        while room < 0 and _values:
            oldest = next(iter(_values))
            gone = _values.pop(oldest) if oldest[0] != owner else _values.popitem()[1]
            room += gone[1]
        if room < 0:
            return made
        _values[key] = made, size
    found: T = _values[key][0]
    return found


def forget() -> None:
    """Drop what is kept."""
    _values.clear()
