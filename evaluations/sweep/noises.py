"""The conditions of a sweep: from the noise options to perturbations, budgets and places."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from robustssm.arguments import with_checked_fields
from robustssm.attacks import Attack, Budget, Resonance, Site, check_eps
from robustssm.attacks.base import input_site
from robustssm.attacks.expressions import (
    counts_frequencies,
    make_budget,
    parse_expression,
    words_in,
)
from robustssm.attacks.frequencies import FREQUENCY_UNITS, parse_frequencies, parse_modes
from robustssm.errors import UsageError, require_one_of
from robustssm.evaluations.sweep.conditions import Condition
from robustssm.hippo.spectrum import spikes
from robustssm.tasks import Task

DEFAULT_EPS = (0.1, 0.3, 1.0)
# The last of the default modes of fourier, if the Nyquist bin is not lower.
_LAST_MODE = 64


@with_checked_fields
@dataclass(frozen=True)
class Noise:
    """One noise of a sweep, with its options.

    name: `fourier`, `resonance`, or a perturbation or adversary such as `BandNoise(1, 16)`. If its
    text holds the word `mode`, as in `Gabor(mode, 0.5, 0.1)`, it is swept over the modes.
    modes: in the grammar of `attacks.frequencies`, in `mode_unit` (`bin`, `cycles` per sample or
    `hz`); for resonance the numbers of S4D's spikes; None takes 1-64 (or to
    the Nyquist bin) for fourier, 1 for resonance.
    omega: frequencies of resonance instead of spikes, rad per unit of the layer's time.
    eps_unit, inject: None takes the perturbation's own. phase, channels: of fourier alone.
    clip: `none`, `hard` or `rescale`, which keep an input within `limits`, lowest and highest.
    """

    name: str
    modes: str | Sequence[float] | None = None
    omega: Sequence[float] = ()
    eps: Sequence[float] = DEFAULT_EPS
    eps_unit: str | None = None
    inject: str | None = None
    mode_unit: str = "bin"
    phase: str | float | None = None
    channels: str | None = None
    clip: str = "none"
    limits: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        for name in ("eps", "limits"):  # one repr of a number, hence one cell
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))


def check_options(noises: Sequence[Noise]) -> None:
    """Raise UsageError for options that none of a sweep's noises can use."""
    names = [noise.name for noise in noises]
    said = ", ".join(names)
    for noise in noises:
        if noise.omega and "resonance" not in names:
            raise UsageError(f"{said}: --omega belongs to resonance; name DFT bins by --modes")
        if (noise.phase is not None or noise.channels) and "fourier" not in names:
            raise UsageError(
                f"{said}: --phase and --channels belong to fourier; write them into the "
                "expression, as in MultiTone((3, 7), channels='same')"
            )
        swept = [n for n in names if n in ("fourier", "resonance") or "mode" in words_in(n)]
        if noise.modes is not None and not swept:
            raise UsageError(
                f"{said}: --modes has no place in it; write mode where it belongs, as in "
                "Gabor(mode, 0.5, 0.1)"
            )
        if noise.modes is not None and {"fourier", "resonance"} <= set(names):
            raise UsageError(
                "resonance: --modes counts DFT bins for fourier and spikes for resonance; write "
                "one of them out, as in --noise 'Resonance(325.426)'"
            )


def conditions(noise: Noise, task: Task, n: int | None, model: str) -> list[Condition]:
    """Return the conditions of a sweep for a model of state size n, None if it has none known.

    Raises UsageError for what cannot be.
    """
    found: list[Condition] = []
    for attack, budget, mode, unit in _attacks(noise, task, n, model):
        inject = noise.inject or attack.sites[0]
        if inject not in attack.sites:
            raise UsageError(
                f"{noise.name}: acts at {' or '.join(map(repr, attack.sites))}, not at "
                f"{inject!r}; leave out --inject"
            )
        site = input_site(task) if inject == "input" else Site(layer=0, rate=task.rate)
        attack.check_length(task.length, replace(site, length=task.length))
        strengths = [budget] if budget else _budgets(noise, attack, inject)
        for one in strengths if inject == "input" else ():
            one.norm.check_scale(site.scale)
        found.extend(Condition(noise.name, attack, b, inject, mode, unit) for b in strengths)
    return found


def _budgets(noise: Noise, attack: Attack, inject: str) -> list[Budget]:
    """Return the budgets of the strengths asked for, without those that change nothing."""
    unit = noise.eps_unit or attack.default_unit(inject)
    values = dict.fromkeys(check_eps(eps, unit) for eps in attack.strengths or noise.eps)
    budgets = [Budget(eps, unit, noise.clip, *noise.limits) for eps in values]
    for budget in budgets:
        attack.check_budget(budget, inject)
    return [budget for budget in budgets if not budget.nothing]


def _own_budget(noise: Noise, text: str, attack: Attack, settings: dict[str, Any]) -> Budget | None:
    """Return the budget that an expression has itself, the options filling in what it leaves out.

    None if it has none. Raises UsageError for parts of a budget without a strength.
    """
    if not settings:
        return None
    if "eps" not in settings:
        raise UsageError(
            f"{text}: has {', '.join(settings)} but no eps; give --eps, --eps-unit, --clip and "
            "--range instead, or add eps= to it"
        )
    low, high = noise.limits
    options: dict[str, Any] = {"clip": noise.clip, "low": low, "high": high}
    options |= {"unit": noise.eps_unit} if noise.eps_unit else {}
    budget = make_budget(text, {**options, **settings}, attack, noise.inject)
    if budget.nothing:
        raise UsageError(f"{text}: its eps changes nothing; the clean evaluation is there anyway")
    return budget


def _attacks(
    noise: Noise, task: Task, n: int | None, model: str
) -> Iterator[tuple[Attack, Budget | None, float, str]]:
    """Yield (attack, its own budget if its text has one, mode, unit of mode)."""
    require_one_of("mode unit:", noise.mode_unit, FREQUENCY_UNITS)
    if noise.name == "resonance":
        if noise.mode_unit != "bin":
            raise UsageError(
                f"resonance: --modes counts spikes, not {noise.mode_unit}; give --omega"
            )
        for omega, number, kind in _resonances(noise, n, model):
            yield Resonance(omega), None, number, kind
        return
    text = "Fourier(mode)" if noise.name == "fourier" else noise.name
    extra: dict[str, object] = {}
    unit = ""
    if "mode" in words_in(text):
        unit = noise.mode_unit if counts_frequencies(text) else "value"
        if unit == "value" and noise.mode_unit != "bin":
            raise UsageError(
                f"{text}: what `mode` stands for in it is not counted in {noise.mode_unit}; leave "
                "out --mode-unit"
            )
        if noise.mode_unit != "bin":
            extra = {"frequency_unit": noise.mode_unit}
    if noise.name == "fourier":
        extra |= {"phase": _phase(noise.phase)} if noise.phase is not None else {}
        extra |= {"channels": noise.channels} if noise.channels else {}
    for mode in _modes(noise, text, task):
        names = {} if mode is None else {"mode": mode}
        attack, settings = parse_expression(text, names, extra)
        yield attack, _own_budget(noise, text, attack, settings), mode or 0.0, unit


def _modes(noise: Noise, text: str, task: Task) -> Sequence[float | None]:
    """Return the modes to put into an expression; a single None if it has no `mode`."""
    if "mode" not in words_in(text):
        return [None]
    last = min(_LAST_MODE, task.length // 2) if noise.mode_unit == "bin" else _LAST_MODE
    modes = f"1-{last}" if noise.modes is None else noise.modes
    if not isinstance(modes, str):
        return modes
    found = parse_frequencies(modes, unit=noise.mode_unit, top=task.length // 2)
    return [int(k) for k in found] if noise.mode_unit == "bin" else found


def _resonances(noise: Noise, n: int | None, model: str) -> list[tuple[float, float, str]]:
    """Return (omega, what the user counted, its unit)."""
    if noise.omega:
        if noise.modes is not None:
            raise UsageError("sweep: --modes and --omega exclude each other; give one of them")
        return [(value, value, "omega") for value in noise.omega]
    if n is None:
        raise UsageError(
            f"resonance: the state size of {model} is not known, nor the spikes that --modes "
            "counts; give frequencies by --omega"
        )
    modes = "1" if noise.modes is None else noise.modes
    if isinstance(modes, str):
        modes = [k for k in parse_modes(modes, top=n // 2) if modes != "all" or k > 0]
    wrong = [m for m in modes if m not in range(1, n // 2 + 1)]
    if wrong:
        raise UsageError(
            f"resonance: spike {wrong[0]} does not exist at state size {n} of {model}, "
            f"expected 1-{n // 2}"
        )
    frequencies = spikes(n)
    return [(float(frequencies[int(m) - 1]), float(m), "spike") for m in modes]


def _phase(phase: str | float) -> str | float:
    """Return a phase as Fourier spells it: a number where it is one."""
    try:
        return float(phase)
    except ValueError:
        return phase
