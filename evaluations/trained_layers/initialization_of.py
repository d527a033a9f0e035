"""Which initialisation a layer's spectrum is nearest to, how stable it is, what it aliases.

The distance of two spectra pairs their eigenvalues at least total cost, each pair at

    |lambda - mu| / (|lambda| + |mu|),

from 0, equal, to 1; a layer's distance is the mean over pairs, the median over its channels. Of a
layer with a low-rank term (S4) it is the diagonal part that is compared: HiPPO's own eigenvalues
move by themselves as soon as an entry of the matrix does (arXiv 2310.01698, section 3).
Training moves eigenvalues, and several initialisations begin alike: a fingerprint says what a
spectrum looks like, not where it came from.
"""

from functools import lru_cache

import numpy as np
from scipy.optimize import linear_sum_assignment

from robustssm.errors import RobustssmError
from robustssm.hippo.initializations import NAMES, initialization
from robustssm.layers.systems import Spectrum
from robustssm.typing import ComplexArray

# Blocks that S5 may repeat a spectrum in.
_BLOCKS = (1, 2, 4, 8, 16)
# More channels than this are thinned out evenly: pairing costs the cube of the order.
_CHANNELS = 32


def spectral_distance(a: ComplexArray, b: ComplexArray) -> float:
    """Return the distance of two spectra of one size, 0 to 1."""
    scale = np.abs(a)[:, None] + np.abs(b)[None]
    cost = np.abs(a[:, None] - b[None]) / np.where(scale > 0.0, scale, 1.0)
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].mean())


@lru_cache(maxsize=64)
def _reference(name: str, n: int) -> ComplexArray | None:
    """Return the whole spectrum of an initialisation at order n; None if there is none."""
    try:
        init = initialization(name, n)
    except RobustssmError:
        return None
    stored = init.eigenvalues
    paired = np.asarray(init.weight) > 1.0
    return np.concatenate([stored, stored[paired].conj()])


def candidates(n: int, low_rank: bool = False) -> dict[str, ComplexArray]:
    """Return spectra of order n by name; low_rank: of diagonal parts, where HiPPO's is S4's."""
    spectra: dict[str, ComplexArray] = {}
    for name in ("s4", "s4d-lin", "s4d-inv") if low_rank else (k for k in NAMES if k != "s4"):
        for blocks in _BLOCKS if name.startswith("s5") else (1,):
            block = _reference(name, n // blocks) if n % blocks == 0 and n // blocks > 1 else None
            if block is not None and len(block) * blocks == n:
                label = name if blocks == 1 else f"{name} x {blocks} blocks"
                spectrum = np.sort_complex(np.tile(block, blocks))
                same = [k for k, other in spectra.items() if np.allclose(other, spectrum)]
                spectra[", ".join([*same, label])] = spectrum
                for k in same:
                    del spectra[k]
    return spectra


def fingerprint(spectrum: Spectrum) -> dict[str, str | float]:
    """Return what a layer's spectrum looks like, by the names that `robustssm inspect` has.

    nearest, second: initialisations, as `s4d` or `s5 x 2 blocks`; those of one spectrum are named
    together. distance, second_distance: in [0, 1]; largest_real: of all poles, per unit time;
    aliased: share of poles with |Im| dt > pi; slowest, fastest: time constants -1 / Re lambda, in
    samples.
    """
    poles, step = spectrum.poles, spectrum.step
    every = np.linspace(0, len(poles) - 1, min(len(poles), _CHANNELS)).astype(int)
    distances = {
        label: float(np.median([spectral_distance(row, other) for row in spectrum.diagonal[every]]))
        for label, other in candidates(poles.shape[1], spectrum.low_rank).items()
    }
    ranked = sorted(distances.items(), key=lambda item: item[1])
    ranked += [("none of this order", 1.0)] * (2 - len(ranked))
    with np.errstate(divide="ignore"):
        constants = np.abs(1.0 / (poles.real * step))
    return {
        "nearest": ranked[0][0],
        "distance": ranked[0][1],
        "second": ranked[1][0],
        "second_distance": ranked[1][1],
        "largest_real": float(poles.real.max()),
        "aliased": float(spectrum.aliased.mean()),
        "dt_min": float(step.min()),
        "dt_max": float(step.max()),
        "fastest": float(constants.min()),
        "slowest": float(constants.max()),
    }
