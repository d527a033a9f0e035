"""What the tables of a run need of each cell, read once: counts, means, and a bit a sample."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robustssm.evaluations.store import RunDirectory


@dataclass(frozen=True)
class CellDigest:
    """Counts and means of a cell's rows.

    n: samples; right: how many are classified as labelled; samples: hash of the sample ids in
    their order; bits: which samples are right, packed eight to a byte.
    """

    n: int
    right: int
    delivered_rms: float
    in_band_share: float
    samples: bytes
    bits: bytes

    def correct(self) -> npt.NDArray[np.bool_]:
        """Return which samples are right, shape (n,)."""
        return np.unpackbits(np.frombuffer(self.bits, np.uint8), count=self.n).astype(np.bool_)


def digest_cells(run: RunDirectory) -> dict[str, CellDigest]:
    """Return the digest of every cell of the plan that has results, by id."""
    found = {}
    for cell in run.plan()["cell"].unique():
        if not run.has(cell):
            continue
        rows = run.arrays(cell, ["sample_id", "correct", "delivered_rms", "in_band_share"])
        correct = rows["correct"]
        found[str(cell)] = CellDigest(
            len(correct),
            int(correct.sum()),
            float(np.sqrt(np.mean(rows["delivered_rms"] ** 2))),
            float(rows["in_band_share"].mean()),
            hashlib.sha256(rows["sample_id"].tobytes()).digest(),
            np.packbits(correct).tobytes(),
        )
    return found
