"""Appendix F of arXiv 2310.01698: outputs of the diagonal and the DPLR system for named inputs.

Fourier modes cos(omega t), e^-t and an impulse, readout e0. A mode has no finite energy, so its L2
error is taken under the window e^-t (`initializations.inputs`). `spike` is the mode at the highest
eigenfrequency, which moves with n: there the diagonal system fails at every n. Errors and rates are
those of `theory converge`.
"""

import numpy as np
import pandas as pd

from robustssm.evaluations.initializations.convergence import STRONG, converge, fit
from robustssm.evaluations.initializations.inputs import Input, parse_input
from robustssm.evaluations.initializations.readouts import read_readout
from robustssm.evaluations.initializations.responses import Response, paired, response
from robustssm.evaluations.paper import reproduction
from robustssm.evaluations.paper.reproduction import agrees, finding
from robustssm.hippo.initializations import parse
from robustssm.typing import FloatArray

DIAG, READOUT = "s4d", "e0"
INPUTS = ("impulse", "exp", "mode:1", "mode:10", "spike")
# Within this of the rate that the theorem has, -1 or 0, it agrees.
NEAR = 0.1


def hippo_output(signal: Input, t: FloatArray) -> FloatArray:
    """Return the output of HiPPO with readout e0, G = 1 / (s + 1), the shape of t.

    e^-t for the impulse, and e^-t sin(w t) / w for e^-t cos(w t), with the limit t e^-t at w = 0.
    """
    if signal.kind == "impulse":
        return np.exp(-t)
    return np.exp(-t) * t * np.sinc(signal.value * t / np.pi)


def output(system: Response, signal: Input, t: FloatArray) -> FloatArray:
    """Return y(t), t (m,) >= 0, of a system of poles and residues for an impulse, e^-t or a mode.

    Sum over poles p and input exponents a = -1 +- i w of r (e^pt - e^at) / (p - a), half each.
    """
    poles, residues = paired(system)
    modes = np.exp(t[:, None] * poles)
    if signal.kind == "impulse":
        return np.asarray((modes @ residues).real, dtype=np.float64)
    y = np.zeros(len(t))
    for a in (-1.0 + 1j * signal.value, -1.0 - 1j * signal.value):
        share = residues / (poles - a)
        y += 0.5 * (modes @ share - np.exp(a * t) * share.sum()).real
    return y


def errors(context: reproduction.Context) -> pd.DataFrame:
    """Return one row per input and n: the weak errors of `converge`, with its columns."""
    settings = context.settings
    frame = converge([DIAG], settings["sizes"], settings["inputs"], READOUT).errors
    return frame[frame["quantity"] != STRONG].reset_index(drop=True)


def rates(context: reproduction.Context) -> pd.DataFrame:
    """Return the slope of log error against log n for each input, as `converge` fits it."""
    return fit(context.tables["errors"])


def outputs(context: reproduction.Context) -> pd.DataFrame:
    """Return both outputs in time at one n: columns n, input, t, diag, hippo, readout."""
    settings = context.settings
    n = settings["output_size"]
    system = response(parse(DIAG), read_readout(READOUT, n))
    t = np.linspace(0.0, settings["end"], settings["times"])
    parts = []
    for text in settings["inputs"]:
        signal = parse_input(text, n)
        columns = {"t": t, "diag": output(system, signal, t), "hippo": hippo_output(signal, t)}
        parts.append(pd.DataFrame(columns).assign(n=n, input=text, readout=READOUT))
    return pd.concat(parts, ignore_index=True)


def findings(tables: reproduction.Tables) -> reproduction.Findings:
    """Yield rate and last error of every input beside Theorems 1 and 2."""
    for row in tables["rates"].itertuples():
        smooth = row.quantity not in ("impulse", "spike")
        paper = "O(1 / n): Theorem 1 [s]" if smooth else "no convergence: Theorem 2 [s]"
        yield finding(
            f"output error for {row.quantity}",
            f"|y_Diag - y_DPLR| = {row.error:.3g} at n = {row.largest_n}, rate {row.rate:.3f}",
            (paper, agrees(abs(row.rate + smooth) < NEAR)),
        )


REPRODUCTION = reproduction.Reproduction(
    name="appendix-f",
    shows="outputs of the diagonal and the DPLR system for modes, e^-t and an impulse",
    steps=(
        reproduction.Step("errors", errors, uses=("sizes", "inputs"), version=2),
        reproduction.Step("rates", rates, uses=(), needs=("errors",)),
        reproduction.Step("outputs", outputs, uses=("inputs", "output_size", "end", "times")),
    ),
    quick={
        "sizes": [8, 16, 32, 64, 128, 256],
        "inputs": list(INPUTS),
        "output_size": 16,
        "end": 4.0,
        "times": 801,
    },
    full={
        "sizes": [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096],
        "inputs": [*INPUTS, "mode:100"],
        "output_size": 32,
        "end": 4.0,
        "times": 4001,
    },
    findings=findings,
)
