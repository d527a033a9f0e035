"""Run directories written by hand: outcomes by model and condition, no checkpoint behind them."""

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.table_files import write_parquet

BoolArray = npt.NDArray[np.bool_]
N = 40
EPS = (0.1, 1.0, 10.0)


def share(right: float, n: int = N) -> BoolArray:
    """The first samples right, so many of them."""
    return np.arange(n) < round(right * n)


def write_run(
    path: Path,
    curves: dict[tuple[str, int], dict[tuple[float, float], BoolArray]],
    clean: dict[tuple[str, int], BoolArray] | None = None,
    *,
    noise: str = "fourier",
    unit: str = "std",
    mode_unit: str = "bin",
    limit: int = -1,
    **changes: Any,
) -> RunDirectory:
    """Write a run directory by hand; curves: outcomes by model and (mode, eps)."""
    (path / "cells").mkdir(parents=True)
    rows = []
    for (model, seed), conditions in curves.items():
        first = next(iter(conditions.values())) if conditions else share(1.0)
        unperturbed = (clean or {}).get((model, seed), np.ones(len(first), np.bool_))
        table = [(False, 0.0, 0.0, unperturbed)]
        table += [(True, mode, eps, correct) for (mode, eps), correct in conditions.items()]
        for noisy, mode, eps, correct in table:
            cell = f"{model}{seed}-{noise[:4] if noisy else 'clean'}-{mode}-{eps}"
            if not re.fullmatch(r"[\w.-]+", cell):
                cell = sha256(cell.encode()).hexdigest()[:16]
            rows.append(
                {
                    "cell": cell,
                    "model": model,
                    "train_seed": seed,
                    "checkpoint": changes.get("checkpoint", f"{model}{seed}"),
                    "task": "t",
                    "noise": noise if noisy else "clean",
                    "inject": "input" if noisy else "",
                    "mode": mode,
                    "mode_unit": mode_unit if noisy else "",
                    "eps": eps,
                    "eps_unit": unit if noisy else "",
                    "perturbation": changes.get("perturbation", f"Fourier({mode})")
                    if noisy
                    else "None",
                    "clip": "none" if noisy else "",
                    "seed": changes.get("seed", 0),
                    "limit": limit,
                }
            )
            ids = np.arange(len(correct)) + changes.get("start", 0)
            outcomes = pd.DataFrame({"sample_id": ids, "correct": correct})
            outcomes["delivered_rms"], outcomes["in_band_share"] = float(eps), 1.0
            write_parquet(path / "cells" / f"{cell}.parquet", outcomes)
    write_parquet(path / "plan.parquet", pd.DataFrame(rows))
    manifest = {"schema": 3, "task": "t", "task_hash": changes.get("data", "d"), "chance": 0.1,
                "device": "cpu"}  # fmt: skip
    (path / "manifest.json").write_text(json.dumps(manifest))
    return RunDirectory(path)


def flat(*curve: float, modes: tuple[float, ...] = (1.0, 2.0)) -> dict[Any, BoolArray]:
    """The same accuracies over EPS at every mode."""
    return {(mode, eps): share(v) for mode in modes for eps, v in zip(EPS, curve, strict=False)}
