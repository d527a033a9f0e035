"""Initialisations as files: written and read back, the authors' matrices, hostile files."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from robustssm.errors import RejectedInputError
from robustssm.hippo import legs
from robustssm.hippo.diagonalize import perturb, rank_one
from robustssm.hippo.matrix_files import load_initialization, save_initialization
from tests.reference import GOLDEN


def test_round_trip_is_exact_and_bytes_repeat(tmp_path: Path) -> None:
    E, B = np.random.default_rng(0).standard_normal((5, 5)), np.arange(5.0)
    path = tmp_path / "made" / "a.npz"
    made = perturb(E, "random", {"seed": 0}, B=B, stable=False)
    sha256 = save_initialization(path, made)
    stored = load_initialization(path)
    np.testing.assert_array_equal(stored.E, E)
    np.testing.assert_array_equal(stored.B, B)
    facts = {"kappa_measured": made.kappa, "max_real": made.max_real}
    assert stored.meta == {"n": 5, "method": "random", "seed": 0} | facts
    assert stored.sha256 == sha256 == save_initialization(tmp_path / "b.npz", made)


def test_hippo_input_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_initialization(path, perturb(np.zeros((4, 4))))
    with np.load(path, allow_pickle=False) as stored:
        assert set(stored.files) == {"E", "meta"}
    np.testing.assert_array_equal(load_initialization(path).B, legs.input_vector(4))


def test_matlab_by_ptb_and_by_eigenpairs(tmp_path: Path) -> None:
    A, _ = legs.matrices(6)
    known = rank_one(6, 0.3)
    t, P = 0.6 / 1.3, legs.low_rank(6)
    E = t * np.outer(P, P)
    savemat(tmp_path / "ptb.mat", {"ptb": -E})
    for sign in (1.0, -1.0):
        content = {"Lam": sign * known.eigenvalues, "V": known.V, "Vinv": known.V_inv}
        savemat(tmp_path / f"pairs{sign:g}.mat", content)
        stored = load_initialization(tmp_path / f"pairs{sign:g}.mat")
        assert stored.E.dtype == np.float64
        # kappa 3 times n roundings of |A|.
        np.testing.assert_allclose(stored.E.real, E, atol=1e-12 * float(np.linalg.norm(A)))
    np.testing.assert_allclose(load_initialization(tmp_path / "ptb.mat").E, E, rtol=1e-15)


# |E| / |A|, kappa, max Re lambda: as published with the matrices, to the digits given.
AUTHORS = {
    "S4-PTD_ptb.mat": (0.0341, 9.17, 1.35),
    "S4-PTD_ptbHiPPO32.mat": (0.0379, 8.31, -0.53),
    "S5-PTD_ptbHiPPO16.mat": (0.051, 6.56, -0.79),
    "S5-PTD_ptbHiPPO8.mat": (0.098, 5.11, -0.57),
    "S5-PTD_ptbHiPPO128_v2.mat": (0.032, 8.01, 3.40),
}


@pytest.mark.parametrize("name", AUTHORS)
def test_the_authors_matrices(name: str) -> None:
    path = GOLDEN / "ptd_matrices" / name
    if not path.is_file():
        pytest.skip(f"reference matrix {name} is not beside this checkout")
    found = perturb(load_initialization(path).E, stable=False)
    relative_norm, kappa, max_real = AUTHORS[name]
    # Half a unit of the last digit given.
    assert found.relative_norm == pytest.approx(relative_norm, abs=5.1e-4)
    assert found.kappa == pytest.approx(kappa, abs=5.1e-3)
    assert found.max_real == pytest.approx(max_real, abs=5.1e-3)


class Evil:
    """Would write a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.target), "w")


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue()


def huge() -> bytes:
    """Return an npz whose header claims 2^60 entries."""
    buffer = io.BytesIO()
    header = str({"descr": "<f8", "fortran_order": False, "shape": (2**30, 2**30)}).encode()
    padded = header + b" " * (118 - len(header) - 1) + b"\n"
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("E.npy", b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded)
    return buffer.getvalue()


HOSTILE = {
    "empty": b"",
    "text": b"not an archive",
    "no E": npz(F=np.zeros((2, 2))),
    "not square": npz(E=np.zeros((2, 3))),
    "vector": npz(E=np.zeros(4)),
    "order 0": npz(E=np.zeros((0, 0))),
    "nan": npz(E=np.full((2, 2), np.nan)),
    "text entries": npz(E=np.array([["a", "b"], ["c", "d"]])),
    "wrong B": npz(E=np.zeros((2, 2)), B=np.zeros(3)),
    "complex B": npz(E=np.zeros((2, 2)), B=np.zeros(2) + 1j),
    "broken meta": npz(E=np.zeros((2, 2)), meta=np.array("{")),
    "huge": huge(),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("suffix", [".npz", ".mat"])
def test_damaged_files_are_rejected(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(HOSTILE[kind])
    with pytest.raises(RejectedInputError, match=r"^ptd: .*expected"):
        load_initialization(path)


def test_objects_are_refused_and_never_run(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    for content in (
        npz(E=np.array([[Evil(touched)]], dtype=object)),
        npz(E=np.zeros((2, 2)), meta=np.array([Evil(touched)], dtype=object)),
        pickle.dumps(Evil(touched)),
    ):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(RejectedInputError):
            load_initialization(tmp_path / "a.npz")
    assert not touched.exists()


def test_other_matlab_content(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    for content in (
        {"other": np.eye(2)},
        {"ptb": np.zeros((2, 3))},
        {"ptb": "text"},
        {"Lam": np.ones(3), "V": np.eye(2), "Vinv": np.eye(2)},
        {"Lam": np.ones(2), "V": np.eye(2)},
        {"Lam": np.full(2, np.inf), "V": np.eye(2), "Vinv": np.eye(2)},
    ):
        savemat(path, content)
        with pytest.raises(RejectedInputError, match="expected"):
            load_initialization(path)
    with pytest.raises(RejectedInputError, match="cannot be read"):
        load_initialization(tmp_path / "missing.npz")


def test_meta_that_is_no_object_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(npz(E=np.zeros((2, 2)), meta=np.array(json.dumps([1]))))
    assert load_initialization(path).meta == {}
