"""Certified radii of a checkpoint's test set, kept in pieces, beside successful attacks."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from robustssm.attacks.base import Attack
from robustssm.attacks.expressions import parse_expression
from robustssm.errors import UsageError
from robustssm.evaluations.certificates.certified_radius import certified_radii
from robustssm.evaluations.sweep.plan import Model
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.table_files import write_parquet
from robustssm.execution import one_thread
from robustssm.networks.inference import logits
from robustssm.networks.network import own_network
from robustssm.tasks import Task

# Raised when the meaning of a stored row changes.
SCHEMA = 2
# Samples a piece: what an interruption loses at most.
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


def certify(radii: Radii, start: int, path: Path) -> None:
    """Compute and store a piece: sample_id, label, margin, radius (L2, raw units).

    The margin is that of the network as it is, in float32; where it is not positive the radius is
    0, whatever the float64 network of the certificate says.
    """
    part = radii.task.splits["test"].rows(slice(start, start + PIECE))
    checkpoint = radii.model.ref.load()
    x, labels = torch.from_numpy(part.inputs), torch.from_numpy(part.labels)
    with one_thread():
        values = logits(checkpoint.network, x).double()
        own = values.gather(1, labels[:, None])[:, 0]
        margin = (own - values.scatter(1, labels[:, None], -torch.inf).amax(1)).numpy()
        radius = certified_radii(
            own_network(checkpoint.network, f"radius {radii.model.ref}"),
            x,
            labels,
            radii.modes,
            bound=radii.bound,
            tolerance=radii.tolerance,
        )
    frame = pd.DataFrame(
        {
            "sample_id": part.sample_id,
            "label": part.labels,
            "margin": margin,
            "radius": np.where(margin > 0.0, radius, 0.0),
        }
    )
    write_parquet(path, frame)


def read(radii: Radii, folder: Path) -> pd.DataFrame:
    """Return the stored radii, one row a sample; raises UsageError where a piece is missing."""
    paths = radii.pieces(folder).values()
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise UsageError(f"radius: {missing[0]} is missing; run the command again")
    count = len(radii.task.splits["test"].first(radii.limit))
    return pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)[:count]


def inside(perturbation: str, modes: Sequence[int], L: int) -> bool:
    """Return whether every perturbation of this repr, not clipped, lies in the bins `modes`.

    L: the length. All do where the modes are all bins, except those that append steps, which add
    nothing to the input; else those that name whole bins.
    """
    attack = parse_expression(perturbation)[0]
    if type(attack).extended is not Attack.extended:
        return False
    if set(modes) == set(range(L // 2 + 1)):
        return True
    if getattr(attack, "frequency_unit", "bin") != "bin" or attack.who == "Guided":
        return False
    if attack.who == "Fourier":
        return getattr(attack, "mode", -1) in modes
    if attack.who in ("BandNoise", "BandPGD", "RandomSearch", "Universal"):
        low, high = getattr(attack, "low", 0), getattr(attack, "high", L)
        return set(range(low, high + 1)) <= set(modes)
    return False


def comparable(radii: Radii, run: RunDirectory) -> pd.DataFrame:
    """Return the rows of a sweep's plan whose attacks the radii have to stay below.

    They act on this checkpoint's input, within the modes; clipping takes them out of a band, but
    not out of all bins. Raises UsageError for a sweep of other data.
    """
    if run.manifest().get("task_hash") != radii.task.content_hash:
        raise UsageError(f"{run.path}: is a sweep of other data than {radii.task.spec}")
    try:
        columns = ["cell", "checkpoint", "inject", "clip", "perturbation"]
        plan = pd.read_parquet(run.path / "plan.parquet", columns=columns)
    except (OSError, ValueError) as error:
        raise UsageError(f"{run.path}: holds no readable plan.parquet ({error})") from None
    own = plan[(plan["checkpoint"] == radii.model.content_hash) & (plan["inject"] == "input")]
    if set(radii.modes) != set(range(radii.task.length // 2 + 1)):
        own = own[own["clip"].isin(["none", ""])]
    length = radii.task.length
    within = [inside(str(text), radii.modes, length) for text in own["perturbation"]]
    return own[np.array(within, dtype=bool)]


def check_sweeps(jobs: Sequence[Radii], runs: Sequence[RunDirectory]) -> None:
    """Raise UsageError for a sweep that holds nothing to compare with any of the radii."""
    for run in runs:
        if not sum(len(comparable(radii, run)) for radii in jobs):
            raise UsageError(
                f"{run.path}: holds no attack on these checkpoints at the input within the modes; "
                "name a sweep of them, or leave out --against"
            )


def successful(radii: Radii, runs: Sequence[RunDirectory]) -> pd.DataFrame:
    """Return the smallest successful attack on each sample that sweeps hold for this checkpoint.

    Columns sample_id, attacked (L2 of what was delivered, raw units), attack. Attacks of
    `comparable` that end in a wrong prediction count. Raises as it.
    """
    found = []
    for run in runs:
        for cell in comparable(radii, run).itertuples():
            path = run.cell_path(str(cell.cell))
            if not path.is_file():
                continue
            rows = pd.read_parquet(path, columns=["sample_id", "correct", "delivered_l2"])
            wrong = rows[~rows["correct"]]
            found.append(
                pd.DataFrame(
                    {
                        "sample_id": wrong["sample_id"],
                        "attacked": wrong["delivered_l2"],
                        "attack": str(cell.perturbation),
                    }
                )
            )
    if not found:
        return pd.DataFrame({"sample_id": [], "attacked": [], "attack": []})
    table = pd.concat(found, ignore_index=True)
    return table.loc[table.groupby("sample_id")["attacked"].idxmin()].reset_index(drop=True)


def compare(radii: Radii, rows: pd.DataFrame, attacks: pd.DataFrame) -> dict[str, object]:
    """Return the summary of a model: radii, successful attacks, and how the two compare.

    ratio: radius over smallest successful attack, for samples that have both; violated: how many
    radii are not below it. Radii in std are L2 / (std sqrt(L)) of a task with one channel.
    """
    both = rows.merge(attacks, on="sample_id", how="left") if len(attacks) else rows
    right = rows[rows["margin"] > 0.0]
    summary: dict[str, object] = {
        "model": str(radii.model.ref),
        "n": len(rows),
        "correct": len(right),
        "median_radius": float(right["radius"].median()) if len(right) else float("nan"),
        "largest_radius": float(rows["radius"].max()),
    }
    if radii.task.channels == 1:
        scale = float(radii.task.std[0]) * np.sqrt(radii.task.length)
        summary["median_radius_std"] = float(right["radius"].median()) / scale
    if "attacked" in both:
        met = both[(both["margin"] > 0.0) & both["attacked"].notna()]
        ratio = met["radius"] / met["attacked"]
        summary |= {
            "attacked": len(met),
            "median_attack": float(met["attacked"].median()) if len(met) else float("nan"),
            "median_ratio": float(ratio.median()) if len(met) else float("nan"),
            "largest_ratio": float(ratio.max()) if len(met) else float("nan"),
            "violated": int((ratio >= 1.0).sum()),
        }
    return summary
