"""Certified radii of a checkpoint's test set, kept in pieces."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from robustssm.errors import UsageError
from robustssm.evaluations.certificates.certified_radius import certified_radii
from robustssm.evaluations.sweep.plan import Model
from robustssm.evaluations.table_files import read_parquet, write_parquet
from robustssm.execution import one_thread
from robustssm.networks.classifier import Classifier
from robustssm.networks.inference import logits
from robustssm.networks.network import own_network
from robustssm.targets import margin
from robustssm.tasks import Split, Task
from robustssm.typing import FloatArray

# Raised when the meaning of a stored row changes.
SCHEMA = 2
# Samples per piece: what an interruption loses at most.
PIECE = 16


@dataclass(frozen=True)
class Radii:
    """What is certified: a model on the first `limit` test samples of a task, in some DFT bins."""

    model: Model
    task: Task
    modes: tuple[int, ...]
    bound: str = "local"
    tolerance: float = 0.1
    limit: int | None = None

    @property
    def id(self) -> str:
        """Hash of everything that fixes the radii, whatever the limit."""
        content = [SCHEMA, self.model.content_hash, self.task.content_hash, self.modes]
        text = json.dumps([*content, self.bound, self.tolerance])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def pieces(self, folder: Path) -> dict[int, Path]:
        """Return first sample -> file of each piece of the test split, whole pieces always."""
        count = len(self.task.splits["test"].first(self.limit))
        return {
            start: folder / f"{self.id}-{start:06d}.parquet" for start in range(0, count, PIECE)
        }

    def certified(self, network: Classifier, part: Split) -> FloatArray:
        """Return the radii of samples (N,); UsageError if the network cannot be certified."""
        self.task.of_classes(f"radius {self.model.ref}")
        own = own_network(network, f"radius {self.model.ref}")
        x, labels = torch.from_numpy(part.inputs), torch.from_numpy(part.labels)
        return certified_radii(
            own, x, labels, self.modes, bound=self.bound, tolerance=self.tolerance
        )


def certify(radii: Radii, start: int, path: Path) -> None:
    """Compute and store a piece: sample_id, label, margin, radius (L2, raw units).

    The margin is that of the network as it is, in float32; if it is not positive the radius is
    0, whatever the float64 network of the certificate says.
    """
    part = radii.task.splits["test"].rows(slice(start, start + PIECE))
    checkpoint = radii.model.ref.load()
    x, labels = torch.from_numpy(part.inputs), torch.from_numpy(part.labels)
    with one_thread():
        margins = margin(logits(checkpoint.network, x), labels).numpy()
        radius = radii.certified(checkpoint.network, part)
    frame = pd.DataFrame(
        {
            "sample_id": part.sample_id,
            "label": part.labels,
            "margin": margins,
            "radius": np.where(margins > 0.0, radius, 0.0),
        }
    )
    write_parquet(path, frame)


def read(radii: Radii, folder: Path) -> pd.DataFrame:
    """Return the stored radii, one row per sample; raises UsageError if a piece is missing."""
    paths = radii.pieces(folder).values()
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise UsageError(f"radius: {missing[0]} is missing; run the command again")
    count = len(radii.task.splits["test"].first(radii.limit))
    return pd.concat([read_parquet(path) for path in paths], ignore_index=True)[:count]


def summary(radii: Radii, rows: pd.DataFrame) -> dict[str, object]:
    """Return the row of a model; median_radius_std: over std sqrt(L), if there is one channel."""
    right = rows.loc[rows["margin"] > 0.0, "radius"]
    median = float(right.median()) if len(right) else float("nan")
    row: dict[str, object] = {
        "model": str(radii.model.ref),
        "n": len(rows),
        "correct": len(right),
        "median_radius": median,
        "largest_radius": float(rows["radius"].max()),
    }
    if radii.task.channels == 1:
        row["median_radius_std"] = median / (float(radii.task.std[0]) * np.sqrt(radii.task.length))
    return row
