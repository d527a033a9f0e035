"""Frequencies as users write them: the mode grammar, and bins, cycles per sample and hertz.

A list is separated by commas; each part is a number `3`, a range of whole numbers `1-64` (both
ends), steps `first:last:step`, `log:first:last:count` (geometric, rounded in bins), or `all`
(every DFT bin from 0 to Nyquist).
"""

import math

import numpy as np

from robustssm.errors import UsageError, require_one_of
from robustssm.plain_text import is_count, number

FREQUENCY_UNITS = ("bin", "cycles", "hz")
_MOST = 10**6
_HELP = "expected as in 1-64, 1,2,4, 1:128:8, log:1:128:16 or all"


def cycles_per_sample(
    value: float, unit: str, L: int, rate: float | None = None, who: str = "frequency"
) -> float:
    """Return a frequency in cycles per sample, in [0, 1/2].

    unit: `bin` (whole DFT bins of length L), `cycles` (per sample) or `hz` (rate in samples per
    second). Raises UsageError beyond Nyquist, naming the range that is allowed.
    """
    require_one_of(f"{who}: frequency unit", unit, FREQUENCY_UNITS)
    if unit == "bin":
        nyquist = L // 2
        if not 0 <= value <= nyquist:
            raise UsageError(
                f"{who}: mode {value:g} is beyond the Nyquist bin {nyquist} of length-{L} "
                f"inputs, expected 0-{nyquist}; use --modes 1-{nyquist}"
            )
        if value != int(value):
            raise UsageError(
                f"{who}: bin {value:g} is not whole, expected 0-{nyquist}; for frequencies "
                "between bins give cycles per sample (frequency_unit='cycles')"
            )
        return value / L
    if unit == "cycles":
        top, name = 0.5, "cycles per sample"
    elif rate is None:
        raise UsageError(
            f"{who}: {value:g} Hz needs a sampling rate, which the task does not have; give "
            "bins or cycles per sample"
        )
    else:
        top, name = rate / 2.0, "Hz"
    if not 0.0 <= value <= top:
        raise UsageError(
            f"{who}: {value:g} {name} is beyond the Nyquist frequency, expected 0 to {top:g} {name}"
        )
    return value / top / 2.0


def parse_frequencies(
    text: str, what: str = "modes", unit: str = "bin", top: float | None = None
) -> tuple[float, ...]:
    """Return the frequencies that `text` names, ascending, each once; whole numbers in bins.

    top: the highest that `all` stands for (None: `all` is refused). Raises UsageError.
    """
    frequencies: set[float] = set()
    for part in (p.strip() for p in text.split(",")):
        frequencies.update(_part(part, what, unit, top))
    return tuple(sorted(frequencies))


def parse_modes(text: str, what: str = "modes", top: int | None = None) -> tuple[int, ...]:
    """Return the whole numbers that `text` names, ascending, each once; UsageError else."""
    return tuple(int(value) for value in parse_frequencies(text, what, "bin", top))


def _part(part: str, what: str, unit: str, top: float | None) -> list[float]:
    whole = unit == "bin"
    if part == "all":
        if top is None or not whole:
            raise UsageError(f"{what}: 'all' stands for DFT bins only; name the values")
        return [float(k) for k in range(int(top) + 1)]
    if part.startswith("log:"):
        first, last, count = _numbers(part, part[4:].split(":"), what, 3)
        if not (0.0 < first <= last and count >= 1 and count == int(count)):
            raise UsageError(f"{what}: {part!r} is not log:first:last:count with 0 < first <= last")
        _check_count(count, part, what)
        values = np.geomspace(first, last, int(count))
        return sorted({float(round(v)) if whole else float(v) for v in values})
    if ":" in part:
        first, last, step = _numbers(part, part.split(":"), what, 3)
        if whole and not (first == int(first) and step == int(step)):
            raise UsageError(f"{what}: {part!r} is not a list of whole bins; {_HELP}")
        if not (step > 0.0 and last >= first):
            raise UsageError(f"{what}: {part!r} is not first:last:step with first <= last")
        # Rounding must not lose the last step.
        count = math.floor((last - first) / step + 1e-9) + 1
        _check_count(count, part, what)
        return [first + step * k for k in range(int(count))]
    first_text, dash, last_text = part.partition("-")
    if whole:
        if not is_count(first_text) or (dash and not is_count(last_text)):
            raise UsageError(f"{what}: {part!r} is not a number, {_HELP}")
        low, high = int(first_text), int(last_text or first_text)
        if high < low:
            raise UsageError(f"{what}: {part!r} runs backwards, expected {high}-{low}")
        _check_count(max(high, high - low), part, what)
        return [float(k) for k in range(low, high + 1)]
    (value,) = _numbers(part, [part], what, 1)
    return [value]


def _numbers(part: str, texts: list[str], what: str, count: int) -> list[float]:
    try:
        values = [number(text) for text in texts]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all() or min(values) < 0.0:
        raise UsageError(f"{what}: {part!r} is not a number, {_HELP}")
    return values


def _check_count(count: float, part: str, what: str) -> None:
    if count > _MOST:
        raise UsageError(f"{what}: {part!r} is too large, expected at most 10^6")
