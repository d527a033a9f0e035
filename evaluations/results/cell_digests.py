"""What the tables of a run need of each cell, read once: counts, means, and a bit per sample."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robustssm.evaluations.statistics.cross_fit import halves
from robustssm.evaluations.sweep.run_directory import RunDirectory


@dataclass(frozen=True)
class CellDigest:
    """Counts and means of a cell's rows.

    n: samples; right: how many are classified as labelled; samples: hash of the sample ids in
    their order; bits: which samples are right, packed eight to a byte; half: which samples are in
    the first half of a cross-fit, packed, one object for all cells of the same samples.
    """

    n: int
    right: int
    delivered_rms: float
    in_band_share: float
    samples: bytes
    bits: bytes
    half: bytes

    def correct(self) -> npt.NDArray[np.bool_]:
        """Return which samples are right, shape (n,)."""
        return _unpacked(self.bits, self.n)

    def first_half(self) -> npt.NDArray[np.bool_]:
        """Return which samples are in the first half, shape (n,), as `halves` of their ids."""
        return _unpacked(self.half, self.n)


def digest_cells(run: RunDirectory, only: Collection[str] | None = None) -> dict[str, CellDigest]:
    """Return the digest of every cell of the plan that has results, by id; of `only` these."""
    found = {}
    split: dict[bytes, bytes] = {}
    for cell in run.plan()["cell"].unique():
        if (only is not None and cell not in only) or not run.has(cell):
            continue
        rows = run.arrays(cell, ["sample_id", "correct", "delivered_rms", "in_band_share"])
        correct, ids = rows["correct"], rows["sample_id"]
        samples = hashlib.sha256(ids.tobytes()).digest()
        if samples not in split:
            split[samples] = np.packbits(halves(ids)).tobytes()
        found[str(cell)] = CellDigest(
            len(correct),
            int(correct.sum()),
            float(np.sqrt(np.mean(rows["delivered_rms"] ** 2))),
            float(rows["in_band_share"].mean()),
            samples,
            np.packbits(correct).tobytes(),
            split[samples],
        )
    return found


def _unpacked(bits: bytes, n: int) -> npt.NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=n).astype(np.bool_)
