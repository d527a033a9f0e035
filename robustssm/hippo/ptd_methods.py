"""The ways to a perturbation E of HiPPO-LegS by name, in one table: `make`.

| method    | E                                                    | settings                      |
|-----------|------------------------------------------------------|-------------------------------|
| normal    | P P^T, the normal part (S4D)                         |                               |
| rank1     | t P P^T, the rank-one family, in closed form         | tau                           |
| clipped   | the same with its singular values clipped            | tau                           |
| optimized | the paper's objective (`optimized`); ships           | restarts, seed: made anew     |
| random    | Gaussian, the control                                | seed, size or relative_norm   |
| corner    | one entry in the corner                              | size or relative_norm         |

The paper's objective is kappa(V) + gamma |E| in its text and kappa(V)^2 + lambda |E|_F in its
released code; the authors' own matrices are files that `matrix_files` reads.

size is |E|_2, relative_norm |E|_2 / |A|_2. Optimising takes torch, everything else does not.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from robustssm.errors import UsageError, require, require_one_of
from robustssm.hippo import diagonalize, legs
from robustssm.hippo.diagonalize import Diagonalization, perturb
from robustssm.hippo.matrix_files import shipped
from robustssm.typing import FloatArray

# The size at which the search for a stable random E starts: that of the optimised E.
RANDOM_RELATIVE_NORM = 0.035


def scaled_random(n: int, seed: int, relative_norm: float) -> FloatArray:
    """Return a real Gaussian E with |E|_2 / |A|_2 = relative_norm; A + E may be unstable."""
    E = np.random.default_rng(seed).standard_normal((legs.check_order(n), n))
    return E * (relative_norm * np.linalg.norm(legs.matrices(n)[0], 2) / np.linalg.norm(E, 2))


def _random(
    n: int, seed: int = 0, size: float | None = None, stable: bool = True
) -> Diagonalization:
    """The control of the optimised E; without a size |E|/|A| is 0.035, halved until it is stable.

    That is the largest size on this ladder with max Re lambda <= -1/4.
    """
    A, _ = legs.matrices(n)
    if size is not None:
        E = scaled_random(n, seed, size / float(np.linalg.norm(A, 2)))
        return perturb(E, "random", {"seed": seed, "size": size}, stable=stable)
    E = scaled_random(n, seed, RANDOM_RELATIVE_NORM)
    while np.linalg.eigvals(A + E).real.max() > diagonalize.MAX_REAL:
        E *= 0.5
    return perturb(E, "random", {"seed": seed}, stable=stable)


def _corner(n: int, size: float = 1.0, stable: bool = True) -> Diagonalization:
    """E = size e_0 e_{n-1}^T, the one entry farthest above the diagonal.

    It closes the chain of states to a ring, as the corner of a circulant does for a shift.
    """
    E = np.zeros((n, n))
    E[0, -1] = size
    return perturb(E, "corner", {"size": size}, stable=stable)


def _optimized(n: int, restarts: int | None = None, seed: int = 0) -> Diagonalization:
    if restarts is None:
        return perturb(shipped(n).E, "optimized")
    from robustssm.hippo.optimized import optimize

    return optimize(n, seed=seed, restarts=restarts)


MAKERS: dict[str, Callable[..., Diagonalization]] = {
    "normal": diagonalize.normal,
    "rank1": diagonalize.rank_one,
    "clipped": diagonalize.clipped,
    "optimized": _optimized,
    "random": _random,
    "corner": _corner,
}
# The normal part is the other end of the rank-one family.
METHODS = tuple(method for method in MAKERS if method != "normal")


def make(method: str, n: int, *, stable: bool = True, **settings: Any) -> Diagonalization:
    """Return one initialisation of state size n, made and diagonalised.

    settings are those of the method in the table above, None being the default; a random E without
    a size is the largest of a ladder that is stable. Raises UsageError if a setting belongs to
    another method or is out of range, or if no optimised E ships for n; StabilityError if A + E is
    unstable, unless `stable` is False, or nearly defective.
    """
    require_one_of("PTD: method", method, MAKERS)
    n = legs.check_order(n, minimum=2)
    allowed = set(inspect.signature(MAKERS[method]).parameters)
    wanted = {key: value for key, value in settings.items() if value is not None}
    allowed |= {"relative_norm"} if "size" in allowed else set()
    foreign = ", ".join(key for key in wanted if key not in allowed).replace("_", " ")
    if foreign:
        raise UsageError(f"ptd: {foreign} does not belong to {method}; leave it out")
    for key in wanted.keys() & {"tau", "size", "relative_norm"}:
        positive = bool(0.0 < wanted[key] < np.inf)
        require(positive, f"ptd: {key.replace('_', ' ')}", wanted[key], "a number > 0")
    if "relative_norm" in wanted:
        if "size" in wanted:
            raise UsageError(
                "ptd: size and relative norm both set |E|, expected one; leave one out"
            )
        norm = float(np.linalg.norm(legs.matrices(n)[0], 2))
        wanted["size"] = wanted.pop("relative_norm") * norm
    if "stable" in allowed:
        return MAKERS[method](n, stable=stable, **wanted)
    return MAKERS[method](n, **wanted)
