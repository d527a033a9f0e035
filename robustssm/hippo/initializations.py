"""The initialisations by name: what `transfer`, `train` and the zoo all mean by `s4d`.

| name                          | state matrix              | input matrix       |
|-------------------------------|---------------------------|--------------------|
| s4                            | HiPPO, DPLR               | B                  |
| s4d                           | normal part of HiPPO      | B / 2              |
| s4d-lin, s4d-inv, s4d-real    | formulas of 2206.11893    | ones               |
| dss                           | normal part of HiPPO      | ones               |
| s5                            | normal part of HiPPO      | random, MIMO       |
| s4ptd, s5ptd                  | HiPPO + E, E optimised    | V^-1 B, random     |
| s4ptd-random                  | HiPPO + random E          | V^-1 B             |
| s4ptd-rank1, s5ptd-rank1      | HiPPO + t P P^T           | (1 - t/2) V^-1 B   |

Parameters follow the name: `s4ptd-rank1:tau=0.05`, `s4ptd-random:seed=1`, `dss:kernel=exp`.
`s4ptd-random:size=0.001` sets |E|/|A|; by default it is the largest of a ladder that is stable.

References: arXiv 2111.00396 (S4), 2206.11893 (S4D), 2203.14343 (DSS), 2208.04933 (S5),
2310.01698 (PTD).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from robustssm.errors import UsageError, require, require_one_of
from robustssm.hippo import legs
from robustssm.hippo.diagonalize import DEFAULT_TAU, Diagonalization, normal, perturb, rank_one
from robustssm.hippo.ptd_methods import make, scaled_random
from robustssm.plain_text import is_count, number
from robustssm.typing import ComplexArray, FloatArray

# family: which layer; method: how HiPPO is diagonalised (None: the poles are a formula).
_TABLE: dict[str, tuple[str, str | None]] = {
    "s4": ("dplr", "normal"),
    "s4d": ("diagonal", "normal"),
    "s4d-lin": ("diagonal", None),
    "s4d-inv": ("diagonal", None),
    "s4d-real": ("diagonal", None),
    "dss": ("dss", "normal"),
    "s5": ("mimo", "normal"),
    "s4ptd": ("diagonal", "optimized"),
    "s5ptd": ("mimo", "optimized"),
    "s4ptd-random": ("diagonal", "random"),
    "s4ptd-rank1": ("diagonal", "rank1"),
    "s5ptd-rank1": ("mimo", "rank1"),
}
NAMES = tuple(_TABLE)
_PARAMETERS: dict[str, dict[str, str]] = {
    "s4ptd-random": {"seed": "0", "size": "stable"},
    "s4ptd-rank1": {"tau": str(DEFAULT_TAU)},
    "s5ptd-rank1": {"tau": str(DEFAULT_TAU)},
    "dss": {"kernel": "softmax"},
}


def _number(text: str) -> float:
    try:
        return number(text)
    except ValueError:
        return math.nan


# What each parameter has to be, and in words.
_EXPECTED: dict[str, tuple[Callable[[str], bool], str]] = {
    "tau": (lambda text: 0.0 < _number(text) <= 1.0, "a number, 0 < tau <= 1"),
    "seed": (is_count, "an integer >= 0"),
    "size": (
        lambda text: text == "stable" or 0.0 < _number(text) < math.inf,
        "a number, |E|/|A| > 0, or stable",
    ),
    "kernel": (lambda text: text in ("softmax", "exp"), "softmax or exp"),
}


@dataclass(frozen=True)
class Name:
    """An initialisation's name with its parameters, as in `s4ptd-rank1:tau=0.05`."""

    base: str
    parameters: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        changed = [f":{k}={v}" for k, v in self.parameters if _PARAMETERS[self.base][k] != v]
        return self.base + "".join(changed)

    @property
    def family(self) -> str:
        """`dplr`, `diagonal`, `dss` or `mimo`."""
        return _TABLE[self.base][0]

    @property
    def method(self) -> str | None:
        """How HiPPO is diagonalised; None if the poles are a formula."""
        return _TABLE[self.base][1]

    def __getitem__(self, key: str) -> str:
        return dict(self.parameters)[key]


def parse(text: str) -> Name:
    """Return the Name that `text` spells; raise UsageError naming what is allowed."""
    base, *settings = text.strip().split(":")
    require_one_of("initialisation:", base, NAMES)
    parameters = dict(_PARAMETERS.get(base, {}))
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in parameters or not value:
            allowed = ", ".join(f"{k}={v}" for k, v in parameters.items()) or "none"
            raise UsageError(f"{base}: parameter {setting!r} is unknown, expected: {allowed}")
        parameters[key] = value
    for key, value in parameters.items():
        holds, expected = _EXPECTED[key]
        require(holds(value), f"{base}: {key}", value, expected)
    return Name(base, tuple(sorted(parameters.items())))


def diagonalization(name: Name, n: int) -> Diagonalization:
    """Return how `name` diagonalises HiPPO of state size n; UsageError for formula poles.

    Raises StabilityError if A + E is not stable.
    """
    if name.method is None:
        raise UsageError(f"{name}: its poles are a formula, not a diagonalisation of HiPPO")
    match name.method:
        case "rank1":
            return rank_one(n, float(name["tau"]))
        case "random" if name["size"] != "stable":
            E = scaled_random(n, int(name["seed"]), float(name["size"]))
            return perturb(E, "random")
        case "random":
            return make("random", n, seed=int(name["seed"]))
    return make(name.method, n)


def formula_poles(base: str, n: int) -> ComplexArray:
    """Return the stored poles of `s4d-lin`, `s4d-inv` (one of each pair) or `s4d-real` (all n).

    arXiv 2206.11893, equations (8) and (9): -1/2 + i (n/pi)(n / (2k+1) - 1), -1/2 + i pi k for
    k < ceil(n/2); and -(k+1).
    """
    k = np.arange((legs.check_order(n) + 1) // 2)
    match base:
        case "s4d-lin":
            return -0.5 + 1j * np.pi * k
        case "s4d-inv":
            return -0.5 + 1j * (n / np.pi) * (n / (2.0 * k + 1.0) - 1.0)
        case "s4d-real":
            return -(np.arange(n) + 1.0).astype(np.complex128)
    raise UsageError(f"{base}: has no formula poles")


@dataclass(frozen=True)
class Initialization:
    """One initialisation at one state size, as the layers store it: one of each conjugate pair.

    eigenvalues (m,); weight (m,) is 2 for a pair and 1 for a real eigenvalue, so that the real
    system is sum weight Re(.); V (n, m) and V_inv (m, n) map to HiPPO's coordinates (None if
    the poles are a formula); B (m,) input matrix; P (m,) low-rank factor of `s4`, else None.
    diagnostics: kappa, relative_norm, max_real, backward_error.
    """

    name: Name
    n: int
    eigenvalues: ComplexArray
    weight: FloatArray
    B: ComplexArray
    V: ComplexArray | None = None
    V_inv: ComplexArray | None = None
    P: ComplexArray | None = None
    diagnostics: dict[str, float] = field(default_factory=dict)


@lru_cache(maxsize=64)
def initialization(text: str, n: int) -> Initialization:
    """Return the initialisation that `text` names, at state size n >= 2."""
    name = parse(text)
    legs.check_order(n, minimum=2)
    if name.method is None:
        poles = formula_poles(name.base, n)
        weight = np.ones(n) if name.base == "s4d-real" else np.full(len(poles), 2.0)
        ones = np.ones(len(poles), dtype=np.complex128)
        quality = {"kappa": 1.0, "max_real": float(poles.real.max())}
        return Initialization(name, n, poles, weight, ones, diagnostics=quality)

    full = normal(n) if name.base == "s4" else diagonalization(name, n)
    kept = full.eigenvalues.imag >= 0.0
    real = full.eigenvalues[kept].imag == 0.0
    V, V_inv = full.V[:, kept], full.V_inv[kept]
    B, P = full.B[kept], None
    if name.family == "dss":
        B = np.ones(int(kept.sum()), dtype=np.complex128)
    if name.base == "s4":
        B = V_inv @ legs.input_vector(n)
        P = V_inv @ legs.low_rank(n)
    return Initialization(
        name,
        n,
        full.eigenvalues[kept],
        np.where(real, 1.0, 2.0),
        B,
        V,
        V_inv,
        P,
        {
            "kappa": full.kappa,
            "relative_norm": 0.0 if name.base == "s4" else full.relative_norm,
            "max_real": -1.0 if name.base == "s4" else full.max_real,
            "backward_error": full.backward_error,
        },
    )
