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
| lru                           | n poles drawn in a ring   | random, MIMO       |
| linoss-im, linoss-imex        | n / 2 drawn oscillators   | random, MIMO       |
| dlinoss                       | the same, poles in a ring | random, MIMO       |

Parameters follow the name: `s4ptd-rank1:tau=0.05`, `s4ptd-random:seed=1`, `dss:kernel=exp`.
`s4ptd-random:size=0.001` sets |E|/|A|; by default it is the largest of a ladder that is stable.
`s4d:alpha=2:sobolev=0.5` (also of s4d-lin, s4d-inv) multiplies Im lambda by alpha and the output's
spectrum by (1 + k / 2L)^0.5, which is trained. `lru:r_min=0.9:r_max=0.999:max_phase=0.3`, and so
dlinoss: where |lambda| and arg lambda of a step lie. The last four know no HiPPO, and each layer
draws its own: what `initialization` has of them is one draw, of a real system of order n.

References: arXiv 2111.00396 (S4), 2206.11893 (S4D), 2203.14343 (DSS), 2208.04933 (S5),
2310.01698 (PTD), 2410.02035 (alpha and Sobolev filter), 2303.06349 (LRU), 2410.03943 (LinOSS),
2505.12171 (D-LinOSS; its published defaults are those of jaredbmit/damped-linoss).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import expit, ndtri

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
# What a layer draws by laws of its own, beside those of HiPPO.
_TABLE |= {"lru": ("lru", None)} | dict.fromkeys(
    ("linoss-im", "linoss-imex", "dlinoss"), ("linoss", None)
)
EVERY = tuple(_TABLE)
DRAWN = EVERY[len(NAMES) :]
_BIAS = {"alpha": "1", "sobolev": "0"}
_PARAMETERS: dict[str, dict[str, str]] = {
    "s4d": _BIAS,
    "s4d-lin": _BIAS,
    "s4d-inv": _BIAS,
    "lru": {"r_min": "0", "r_max": "1", "max_phase": "6.28"},
    "dlinoss": {"r_min": "0.9", "r_max": "1", "max_phase": str(math.pi)},
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
    "alpha": (lambda text: 0.0 < _number(text) < math.inf, "a number above 0"),
    "sobolev": (lambda text: math.isfinite(_number(text)), "a finite number"),
    "r_min": (lambda text: 0.0 <= _number(text) < 1.0, "a number, 0 <= r_min < r_max"),
    "r_max": (lambda text: 0.0 < _number(text) <= 1.0, "a number, r_min < r_max <= 1"),
    "max_phase": (
        lambda text: 0.0 < _number(text) <= 2.0 * math.pi,
        "a number, 0 < max_phase <= 2 pi",
    ),
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
        """`dplr`, `diagonal`, `dss`, `mimo`, `sobolev`, `lru` or `linoss`."""
        filtered = float(dict(self.parameters).get("sobolev", "0"))
        return "sobolev" if filtered else _TABLE[self.base][0]

    @property
    def method(self) -> str | None:
        """How HiPPO is diagonalised; None if the poles are a formula."""
        return _TABLE[self.base][1]

    def __getitem__(self, key: str) -> str:
        return (_PARAMETERS.get(self.base, {}) | dict(self.parameters))[key]


def parse(text: str) -> Name:
    """Return the Name that `text` spells; raise UsageError naming what is allowed."""
    base, *settings = text.strip().split(":")
    require_one_of("initialisation:", base, EVERY)
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
    if "r_min" in parameters and not float(parameters["r_min"]) < float(parameters["r_max"]):
        require(False, f"{base}: r_min", parameters["r_min"], f"below {parameters['r_max']}, r_max")
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


def ring(name: Name, u: Any, v: Any) -> tuple[Any, Any]:
    """Return |lambda| and arg lambda, uniform arg and |lambda|^2, of uniform arrays or tensors.

    Reference: arXiv 2303.06349, Lemma 3.2.
    """
    low, high = float(name["r_min"]) ** 2, float(name["r_max"]) ** 2
    return (low + (high - low) * u) ** 0.5, float(name["max_phase"]) * v


def formula_poles(name: Name, n: int) -> ComplexArray:
    """Return the stored poles of what no HiPPO is in: one of each pair, of `s4d-real` all n.

    arXiv 2206.11893, equations (8) and (9): -1/2 + i (n/pi)(n / (2k+1) - 1), -1/2 + i pi k for
    k < ceil(n/2); and -(k+1). Of what is drawn, one draw: log lambda of `lru`, per sample, and of
    oscillators that over their step, per unit time. Those of `linoss-imex` lie on the axis.
    """
    k = np.arange((legs.check_order(n) + 1) // 2)
    u, v, w = np.random.default_rng(0).random((3, len(k)))
    match name.base:
        case "s4d-lin":
            return -0.5 + float(name["alpha"]) * 1j * np.pi * k
        case "s4d-inv":
            return -0.5 + float(name["alpha"]) * 1j * (n / np.pi) * (n / (2.0 * k + 1.0) - 1.0)
        case "s4d-real":
            return -(np.arange(n) + 1.0).astype(np.complex128)
        case "lru" | "dlinoss":
            radius, phase = ring(name, u, v)
            h = expit(0.5 * ndtri(w)) if name.base == "dlinoss" else 1.0
            return (np.log(radius) + 1j * phase) / h
        case "linoss-im":
            h = expit(v)
            return np.log((1.0 + 1j * h * u**0.5) / (1.0 + h * h * u)) / h
        case "linoss-imex":
            h = expit(v)
            return 2j * np.arcsin(0.5 * h * u**0.5) / h
    raise UsageError(f"{name}: has no formula poles")


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
        poles = formula_poles(name, n)
        weight = np.ones(n) if name.base == "s4d-real" else np.full(len(poles), 2.0)
        ones = np.ones(len(poles), dtype=np.complex128)
        quality = {"kappa": 1.0, "max_real": float(poles.real.max())}
        return Initialization(name, n, poles, weight, ones, diagnostics=quality)

    full = normal(n) if name.base == "s4" else diagonalization(name, n)
    kept = full.eigenvalues.imag >= 0.0
    V, V_inv = full.V[:, kept], full.V_inv[kept]
    B, P, eigenvalues = full.B[kept], None, full.eigenvalues[kept]
    weight = np.where(eigenvalues.imag == 0.0, 1.0, 2.0)
    if "alpha" in dict(name.parameters):
        eigenvalues = eigenvalues.real + float(name["alpha"]) * 1j * eigenvalues.imag
    if name.family == "dss":
        B = np.ones(int(kept.sum()), dtype=np.complex128)
    measured = ("kappa", "relative_norm", "max_real", "backward_error")
    quality = {key: getattr(full, key) for key in measured}
    if name.base == "s4":
        B = V_inv @ legs.input_vector(n)
        P = V_inv @ legs.low_rank(n)
        quality |= {"relative_norm": 0.0, "max_real": -1.0}
    return Initialization(name, n, eigenvalues, weight, B, V, V_inv, P, quality)
