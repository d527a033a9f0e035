"""Transfer functions of the initialisations on a grid of frequencies, on CPU or GPU."""

import numpy as np
import pandas as pd
import torch

from robustssm.errors import require
from robustssm.evaluations.initializations.responses import Damped, Response
from robustssm.evaluations.initializations.transfer import TransferResult
from robustssm.hippo.spectrum import spikes
from robustssm.hippo.transfer_grid import transfer_grid
from robustssm.typing import FloatArray


def parse_grid(text: str, n: int) -> FloatArray:
    """Return the frequencies of `LOW,HIGH,COUNT`: logarithmic, rad per unit time.

    Every S4D spike within the range is added with its flanks at -1/2, 0 and 1/2, since a spike of
    half-width 1/2 falls between the points of a log grid. Raises UsageError.
    """
    try:
        low, high, count = (float(part) for part in text.split(","))
    except ValueError:
        low, high, count = np.nan, np.nan, np.nan
    holds = 0.0 < low < high < np.inf and 2 <= count <= 10**9 and count == int(count)
    require(holds, "transfer: grid", text, "LOW,HIGH,COUNT with 0 < LOW < HIGH, COUNT >= 2")
    centres = spikes(n)
    flanks = np.concatenate([centres - 0.5, centres, centres + 0.5])
    inside = flanks[(flanks >= low) & (flanks <= high)]
    return np.unique(np.concatenate([np.geomspace(low, high, int(count)), inside]))


def evaluate(system: Response, omega: FloatArray, device: str, dtype: torch.dtype) -> np.ndarray:
    """Return G_a(i omega), the shape of omega: closed forms by `transfer_grid`.

    Sums over poles take neither device nor dtype: complex128 on the CPU.
    """
    if isinstance(system, Damped):
        values = transfer_grid(system.C, omega, tau=system.tau, device=device, dtype=dtype)
        return values.cpu().numpy()
    return system.transfer(omega)


def grid_table(
    result: TransferResult, omega: FloatArray, device: str, dtype: torch.dtype
) -> pd.DataFrame:
    """Return omega and re, im of every system of `result`, a column pair each."""
    columns: dict[str, FloatArray] = {"omega": omega}
    for name, measure in result.systems.items():
        values = evaluate(measure.response, omega, device, dtype)
        columns[f"{name} re"] = values.real.astype(np.float64)
        columns[f"{name} im"] = values.imag.astype(np.float64)
    return pd.DataFrame(columns)
