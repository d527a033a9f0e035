"""Perturb-then-diagonalize initialisations as files; reading one executes nothing.

Our file is an npz of E (n, n), B (n,) (left out if it is HiPPO's) and meta, a JSON text. The
matrices that ship with the package are such files. The PTD authors' MATLAB files are read as well:
`ptb` with E = -ptb, since their code computes A - ptb, or `Lam`, `V`, `Vinv` with
E = V Lam Vinv - A. Their code stores -A in places; of V Lam Vinv and its negative the one nearer to
A is taken.

Reference: github.com/AnnanYu/Approximate_Diagonal, commit ec98d6a (arXiv 2310.01698).
"""

import hashlib
import io
import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from robustssm.errors import RejectedInputError, UsageError
from robustssm.hippo import legs
from robustssm.hippo.diagonalize import Diagonalization
from robustssm.storage.numpy_files import DAMAGED, Arrays
from robustssm.storage.opening import read_bytes
from robustssm.storage.writing import write_atomically
from robustssm.typing import ComplexArray, FloatArray

FOLDER = Path(__file__).parent / "ptd_matrices"
# A larger matrix is not an initialisation that a dense eigensolver diagonalises in minutes.
MAX_ORDER = 2048
TOO_LARGE = 64 * 1024 * 1024 + 65536


@dataclass(frozen=True)
class Stored:
    """An initialisation read from a file: E (n, n), B (n,), sha256 of the file.

    meta is what the file says of how E was made, empty for a MATLAB file.
    """

    E: FloatArray | ComplexArray
    B: FloatArray
    sha256: str
    meta: dict[str, object] = field(default_factory=dict)


def save_initialization(path: Path, made: Diagonalization) -> str:
    """Write an initialisation as npz, E in float64, always the same bytes; return their sha256."""
    n = len(made.B_E)
    meta = {"n": n, "method": made.method, **made.settings}
    meta |= {"kappa_measured": made.kappa, "max_real": made.max_real}
    arrays = {
        "E": np.asarray(made.E, dtype=np.float64),
        "meta": np.array(json.dumps(meta, sort_keys=True)),
    }
    if not np.array_equal(made.B_E, legs.input_vector(n)):
        arrays["B"] = made.B_E
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def load_initialization(path: Path) -> Stored:
    """Read an npz of this project, or a MATLAB file of the authors if the name ends in `.mat`.

    Raises RejectedInputError if the file is missing, damaged, too large or holds no square matrix
    of finite numbers.
    """
    try:
        data = read_bytes(path, TOO_LARGE)
    except OSError as reason:
        raise _rejected(path, f"cannot be read ({reason.strerror})", "a readable file") from None
    sha256 = hashlib.sha256(data).hexdigest()
    if path.suffix == ".mat":
        E, B, meta = _matlab(path, data), None, dict[str, object]()
    else:
        E, B, meta = _npz(path, data)
    E = _matrix(path, "E", E)
    if not 1 <= len(E) <= MAX_ORDER:
        raise _rejected(path, f"has order {len(E)}", f"1 to {MAX_ORDER}")
    if B is None:
        B = legs.input_vector(len(E))
    if B.shape != (len(E),) or B.dtype.kind not in "fiu" or not np.isfinite(B).all():
        raise _rejected(path, f"B has shape {B.shape} and type {B.dtype}", f"{len(E)} real numbers")
    return Stored(E, B.astype(np.float64), sha256, meta)


def shipped_orders() -> list[int]:
    """Return the state sizes for which an optimised matrix ships with the package."""
    names = [re.fullmatch("n([0-9]+)[.]npz", path.name) for path in FOLDER.iterdir()]
    return sorted(int(match[1]) for match in names if match)


@lru_cache(maxsize=8)
def shipped(n: int) -> Stored:
    """Return the matrix that ships, as `robustssm theory ptd --method optimized` made it.

    Raises UsageError if none ships for this state size.
    """
    if n not in shipped_orders():
        raise UsageError(
            f"s4ptd: no optimised perturbation ships for state size {n}, expected one of "
            f"{shipped_orders()}; use s4ptd-rank1, which has every size in closed form"
        )
    return load_initialization(FOLDER / f"n{n}.npz")


def _npz(path: Path, data: bytes) -> tuple[np.ndarray, np.ndarray | None, dict[str, object]]:
    try:
        stored = Arrays(io.BytesIO(data), len(data), TOO_LARGE)
        if "E" not in stored.names:
            held = ", ".join(stored.names) or "nothing"
            raise _rejected(path, f"holds {held}", "an array E")
        meta = json.loads(str(stored["meta"])) if "meta" in stored.names else {}
        B = stored["B"] if "B" in stored.names else None
        E = stored["E"]
    except RejectedInputError:
        raise
    except DAMAGED as reason:
        expected = "an npz of E and meta without objects, or a .mat file"
        raise _rejected(path, f"cannot be read ({reason})", expected) from None
    return E, B, meta if isinstance(meta, dict) else {}


def _matlab(path: Path, data: bytes) -> np.ndarray:
    from scipy.io import loadmat

    names = ["ptb", "Lam", "V", "Vinv"]
    try:
        arrays = loadmat(io.BytesIO(data), variable_names=names)
    except Exception as reason:  # a damaged file raises whatever its bytes lead the parser to
        expected = "a MATLAB file, version 4 to 7.2"
        raise _rejected(path, f"cannot be read ({reason})", expected) from None
    if "ptb" in arrays:
        return -_matrix(path, "ptb", arrays["ptb"])
    if not {"Lam", "V", "Vinv"} <= set(arrays):
        held = ", ".join(sorted(set(arrays) & set(names))) or "none of them"
        raise _rejected(path, f"holds {held}", "ptb, or Lam, V and Vinv")
    V, V_inv = _matrix(path, "V", arrays["V"]), _matrix(path, "Vinv", arrays["Vinv"])
    Lam = np.asarray(arrays["Lam"])
    Lam = np.diag(Lam) if Lam.ndim == 2 and Lam.shape == V.shape else Lam.ravel()
    if Lam.shape != (len(V),) or V_inv.shape != V.shape or not np.isfinite(Lam).all():
        shapes = f"Lam {np.shape(arrays['Lam'])}, V {V.shape}, Vinv {V_inv.shape}"
        raise _rejected(path, f"has {shapes}", "n, (n, n) and (n, n)")
    M = (V * Lam) @ V_inv
    A, _ = legs.matrices(len(M))
    candidates = [sign * M - A for sign in (1.0, -1.0)]
    E = min(candidates, key=lambda E: float(np.linalg.norm(E)))
    # A real matrix comes back from its eigenvectors with imaginary parts of kappa eps |A|.
    real = np.abs(E.imag).max() <= 1e-12 * np.linalg.norm(A)
    return E.real if real else E


def _matrix(path: Path, name: str, value: np.ndarray) -> np.ndarray:
    """Return a square finite float64 or complex128 matrix, or raise RejectedInputError."""
    value = np.asarray(value)
    if value.ndim != 2 or value.shape[0] != value.shape[1] or value.dtype.kind not in "fciu":
        raise _rejected(
            path, f"{name} has shape {value.shape} and type {value.dtype}", "a square of numbers"
        )
    if not np.isfinite(value).all():
        raise _rejected(path, f"{name} has NaN or infinite entries", "finite numbers")
    return value.astype(np.complex128 if value.dtype.kind == "c" else np.float64)


def _rejected(path: Path, got: str, expected: str) -> RejectedInputError:
    return RejectedInputError(f"ptd: {path} {got}, expected {expected}; choose another file")
