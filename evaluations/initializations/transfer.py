"""How far each initialisation's transfer function is from HiPPO's: `robustssm transfer`.

Strong error: sup_omega |G_a(i omega) - G(i omega)|, how much the worst input can be amplified
by the initialisation alone. Weak error: the output for one smooth input, u(t) = e^-t. The normal
part (S4D) converges weakly, O(1/n), and not strongly: its sup tends to (2/pi) |C B|.

References: arXiv 2310.01698, section 3; arXiv 2206.11893 for the initialisations.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from robustssm.errors import StabilityError, UsageError, require
from robustssm.evaluations.initializations.conditioning import (
    log10_real_coefficient,
    optimal_condition,
    spectral_norm,
)
from robustssm.evaluations.initializations.norms import Sup, output_error, sup_error
from robustssm.evaluations.initializations.readouts import read_readout
from robustssm.evaluations.initializations.responses import (
    MAX_DENSE,
    MAX_GRAM,
    Damped,
    Response,
    is_hippo,
    on_axis,
    reference,
    response,
)
from robustssm.hippo import legs
from robustssm.hippo.initializations import NAMES, Name, initialization, parse
from robustssm.typing import FloatArray

HIPPO = "hippo"
# Where one system has several names (readouts are free here, so the layers' kinds coincide).
_SAME = {"s4": HIPPO, "s5": "s4d", "dss": "s4d", "s5ptd": "s4ptd", "s5ptd-rank1": "s4ptd-rank1"}


@dataclass(frozen=True)
class Measure:
    """What is known of one system at state size n; None where float64 cannot hold it."""

    response: Response
    sup: Sup
    h2_error: float
    weak_error: float
    max_real: float
    kappa: float | None
    relative_norm: float | None = None
    log10_kappa: float | None = None
    kappa_columns: str | None = None
    note: str | None = None

    def to_json(self, omega: tuple[float, ...]) -> dict[str, object]:
        """Return plain numbers; absent facts are absent keys, all but kappa."""
        facts: dict[str, object] = {
            "sup_error": self.sup.value,
            "sup_error_high": self.sup.high,
            "sup_omega": self.sup.at,
            "h2_error": self.h2_error,
            "weak_error": self.weak_error,
            "kappa": self.kappa,
            "max_real": self.max_real,
            "spikes": [{"omega": w, "magnitude": m} for w, m in self.sup.peaks],
        }
        for key in ("relative_norm", "log10_kappa", "kappa_columns", "note"):
            if getattr(self, key) is not None:
                facts[key] = getattr(self, key)
        if omega:
            values = self.response.transfer(np.array(omega))
            facts["values"] = [
                {"omega": w, "re": float(v.real), "im": float(v.imag)}
                for w, v in zip(omega, values, strict=True)
            ]
        return facts


@dataclass(frozen=True)
class TransferResult:
    """The transfer functions of the initialisations at state size n, readout C (n,).

    systems: one Measure per distinct system that exists at n, `hippo` first; names: requested name
    -> its system, existing or not; unavailable: requested name -> why; omega: frequencies (rad
    per unit time) asked for.
    """

    n: int
    readout: str
    C: FloatArray
    omega: tuple[float, ...]
    systems: dict[str, Measure]
    names: dict[str, str]
    unavailable: dict[str, str]

    def to_json(self) -> dict[str, object]:
        """Return the result as plain dicts, lists, strings and finite floats."""
        inits: dict[str, object] = {}
        for name, system in self.names.items():
            if system not in self.systems:
                continue
            facts = self.systems[system].to_json(self.omega)
            if name != system:
                facts["same_as"] = system
            if name == "s4":
                # HiPPO's own eigenvectors are not what S4 stores.
                facts |= {"kappa": 1.0, "note": "DPLR: V diagonalises the normal part, unitary"}
                facts.pop("log10_kappa", None)
            inits[name] = facts
        return {
            "n": self.n,
            "readout": self.readout,
            "inits": inits,
            "unavailable": dict(self.unavailable),
        }

    def label(self, system: str) -> str:
        """Return the system's name with its other names, as in `s4d (= s5, dss)`."""
        others = [name for name, same in self.names.items() if same == system and name != system]
        others.sort(key=lambda name: list(_SAME).index(parse(name).base))
        return f"{system} (= {', '.join(others)})" if others else system

    def table(self) -> pd.DataFrame:
        """Return one row per distinct system; |G(i omega)| for each omega asked for."""
        rows = []
        for system, measure in self.systems.items():
            row: dict[str, object] = {
                "init": self.label(system),
                "sup_error": measure.sup.value,
                "sup_omega": measure.sup.at,
            }
            names = ("h2_error", "weak_error", "kappa", "max_real", "relative_norm")
            row |= {name: getattr(measure, name) for name in names}
            values = np.abs(measure.response.transfer(np.array(self.omega)))
            row |= {f"|G| at {w:.12g}": float(v) for w, v in zip(self.omega, values, strict=True)}
            rows.append(row)
        return pd.DataFrame(rows).astype({"kappa": np.float64, "relative_norm": np.float64})

    def _drawn(self) -> dict[str, str]:
        """Return system -> label: `hippo` with all that equal it, then those that differ."""
        exact = [k for k, m in self.systems.items() if is_hippo(m.response)]
        others = [k for k, system in self.names.items() if system in exact and k != HIPPO]
        label = f"{HIPPO} (= {', '.join(others)})" if others else HIPPO
        labels = {HIPPO: label}
        for system, measure in self.systems.items():
            if system not in exact:
                tau = measure.response.tau if isinstance(measure.response, Damped) else 1.0
                named = tau == 1.0 or ":" in system
                labels[system] = self.label(system) + ("" if named else f", tau = {tau:g}")
        return labels

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Return omega, |G_a|, |G_a - G| on each system's own search grid, tidy."""
        parts = []
        for system, label in self._drawn().items():
            sup = self.systems[system].sup
            values = sup.difference + reference(self.C, on_axis(sup.omega))
            part = pd.DataFrame({"system": system, "label": label, "omega": sup.omega})
            part = part.assign(magnitude=np.abs(values), error=np.abs(sup.difference))
            parts.append(part.assign(n=self.n, readout=self.readout, grid_points=len(sup.omega)))
        return pd.concat(parts, ignore_index=True)


def transfer(
    n: int, readout: str, omega: tuple[float, ...] = (), names: tuple[str, ...] = NAMES
) -> TransferResult:
    """Compare the initialisations `names` with HiPPO at state size n and the given readout.

    readout as `read_readout` takes it; omega in rad per unit time; names may carry parameters
    (`s4ptd-rank1:tau=0.05`). Raises UsageError or ShapeError; an initialisation that does not
    exist at this size, or is unstable, goes to `unavailable` with the reason.
    """
    n = legs.check_order(n, minimum=2)
    C = read_readout(readout, n)
    frequencies = tuple(float(w) for w in omega)
    finite = bool(np.isfinite(frequencies).all())
    require(finite, "transfer: omega", frequencies, "finite numbers")
    wanted = {str(parse(text)): parse(text) for text in names if text != HIPPO}
    systems = {HIPPO: _measure(parse("s4"), C)}
    alias, unavailable = {HIPPO: HIPPO}, {}
    representative = {HIPPO: HIPPO}
    for text, name in wanted.items():
        system = _system(name)
        listed = str(system) if str(system) in wanted else text
        first = representative.setdefault(str(system), listed)
        alias[text] = first
        try:
            if first not in systems:
                systems[first] = _measure(system, C)
        except (UsageError, StabilityError) as reason:
            unavailable[text] = str(reason)
    return TransferResult(n, readout, C, frequencies, systems, alias, unavailable)


def _system(name: Name) -> Name:
    base = _SAME.get(name.base, name.base)
    if base == HIPPO:
        return Name(HIPPO)
    kept = () if name.base == "dss" else name.parameters
    return Name(base, kept)


def _measure(name: Name, C: FloatArray) -> Measure:
    n = len(C)
    system = response(name, C)
    errors = sup_error(system), output_error(system, "impulse"), output_error(system, "exp")
    if is_hippo(system):
        log10 = legs.log10_eigenvector_condition(n)
        kappa = 10.0**log10 if log10 < np.log10(np.finfo(np.float64).max) else None
        note = None
        if name.base == "s4d-real":
            note = (
                "its poles -1..-n are HiPPO's own: in exact arithmetic the optimal readout gives "
                "G itself; that readout is not computed, its largest coefficient is at most 10^"
                f"{log10_real_coefficient(C):.1f}"
            )
        return Measure(system, *errors, -1.0, kappa, log10_kappa=log10, note=note)
    max_real = float(system.poles.real.max())
    if name.method is None:
        return Measure(system, *errors, max_real, 1.0, note="residues optimal in H2 for its poles")
    if not isinstance(system, Damped):
        quality = initialization(str(name), n).diagnostics
        relative, kappa = quality["relative_norm"], quality["kappa"]
        return Measure(system, *errors, max_real, kappa, relative)
    # E = t P P^T, |P|^2 = n^2 / 2.
    relative = system.tau / (1.0 + system.tau) * n * n / spectral_norm(n)
    if system.tau == 1.0:
        return Measure(system, *errors, max_real, 1.0, relative)
    if n <= MAX_DENSE:
        kappa = initialization(str(name), n).diagnostics["kappa"]
        return Measure(system, *errors, max_real, kappa, relative, kappa_columns="unit")
    if n > MAX_GRAM:
        return Measure(system, *errors, max_real, None, relative, note=f"kappa: n > {MAX_GRAM}")
    kappa = optimal_condition(n, system.poles, system.tau)
    return Measure(system, *errors, max_real, kappa, relative, kappa_columns="optimal")
