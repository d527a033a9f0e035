"""Reference values beside the checkout, and the readouts that they name."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robustssm.hippo import legs
from robustssm.typing import FloatArray

_SHARED = Path(__file__).resolve().parents[1].parent / "shared"
GOLDEN, GOLDEN2, CASES = (_SHARED / name for name in ("golden", "golden2", "cases"))


def normal_part(n: int) -> FloatArray:
    """Return A_N = A + P P^T = K - I/2 with K real and skew, shape (n, n)."""
    A, _ = legs.matrices(n)
    P = legs.low_rank(n)
    return A + np.outer(P, P)


def stored(name: str) -> pd.DataFrame:
    """Return a table of reference values; skip the test where there is none."""
    path = GOLDEN / name
    if not path.is_file():
        pytest.skip(f"reference values {name} are not beside this checkout")
    return pd.read_csv(path)


def named_readout(name: str, n: int) -> FloatArray:
    """Return the readout C that the tables call `name`."""
    i = np.arange(n)
    match name:
        case "e0":
            return (i == 0) * 1.0
        case "elast":
            return (i == n - 1) * 1.0
        case "ones":
            return np.ones(n)
        case "alt":
            return np.where(i % 2 == 0, 1.0, -1.0)
        case "invB":
            return 1.0 / legs.input_vector(n)
    values, u = [], n
    for _ in range(n):
        u = (1664525 * u + 1013904223) % 2**32
        values.append(u / 2**31 - 1.0)
    return np.array(values)
