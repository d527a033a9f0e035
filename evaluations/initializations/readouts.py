"""Readouts by name: C in HiPPO's coordinates."""

import io
from pathlib import Path

import numpy as np

from robustssm.errors import ShapeError, UsageError
from robustssm.hippo import legs
from robustssm.plain_text import is_count, number
from robustssm.storage.numpy_files import DAMAGED
from robustssm.storage.opening import read_bytes
from robustssm.typing import FloatArray

# Bytes of a .npy file before its numbers, at most.
_HEADER = 1 << 16


def read_readout(text: str, n: int) -> FloatArray:
    """Return the readout C (n,) in HiPPO's coordinates that `text` names.

    e0, e1, ... (a unit vector) | ones | random:SEED (standard normal of default_rng(SEED)) |
    numbers with commas, the rest being zero | a .npy file of shape (n,). Raises UsageError or
    ShapeError.
    """
    kind, colon, seed = text.partition(":")
    if text[:1] == "e" and is_count(text[1:]):
        if int(text[1:]) >= n:
            raise UsageError(f"readout: {text!r} is beyond the state, expected e0 to e{n - 1}")
        return np.eye(1, n, int(text[1:]))[0]
    if "," in text:
        return _listed(text, n)
    if text == "ones":
        return np.ones(n)
    if kind == "random":
        if not colon or not is_count(seed):
            raise UsageError(f"readout: {text!r} has no seed, expected random:SEED, SEED >= 0")
        return np.random.default_rng(int(seed)).standard_normal(n)
    path = Path(text)
    if path.suffix != ".npy":
        raise UsageError(
            f"readout: {text!r} is unknown, expected e0, e1, ..., ones, random:SEED, numbers with "
            "commas or a .npy file"
        )
    try:
        C = np.load(io.BytesIO(read_bytes(path, 16 * n + _HEADER)), allow_pickle=False)
    except DAMAGED as reason:
        said = getattr(reason, "strerror", None) or reason
        cause = "does not exist" if not path.exists() else f"cannot be read ({said})"
        raise UsageError(
            f"readout: {text} {cause}, expected a .npy file of {n} real numbers"
        ) from None
    if not isinstance(C, np.ndarray) or C.dtype.kind not in "fiu":
        raise UsageError(f"readout: {text} does not hold real numbers, expected {n} of them")
    if C.shape != (n,):
        raise ShapeError(
            f"readout: {text} has shape {C.shape}, expected ({n},); change the file or -n"
        )
    if not np.any(C):
        raise UsageError(f"readout: {text} is all zero, expected a readout that sees the state")
    return legs.check_readout(C, n)


def _listed(text: str, n: int) -> FloatArray:
    try:
        numbers = np.array([number(part) for part in text.split(",")])
    except ValueError:
        numbers = np.full(1, np.nan)
    if not np.isfinite(numbers).all() or not numbers.any() or len(numbers) > n:
        raise UsageError(
            f"readout: {text!r} is no readout, expected at most {n} finite numbers, not all zero"
        )
    return legs.check_readout(np.concatenate([numbers, np.zeros(n - len(numbers))]), n)
