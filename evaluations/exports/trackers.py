"""A run for experiment trackers: data, and a short script that logs them by the tracker's API.

What MLflow and W&B keep on disk is their own affair. There is one tracker's run per model and
training seed, in a folder of config.json, history.jsonl and summary.json; import.py logs them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from robustssm.evaluations.results.inspection import Inspection
from robustssm.evaluations.results.summary import worst_row
from robustssm.evaluations.results.tables import finished, read_tables, tidy
from robustssm.evaluations.sweep.condition_names import CONDITION
from robustssm.storage.writing import finite, new_folder

# What the name of a metric may not hold.
_FOREIGN = re.compile(r"[^\w.\-]+")
_HISTORY = [*CONDITION, "n", "accuracy", "ci_low", "ci_high", "delivered_rms"]
WANDB = '''"""Log these runs to Weights & Biases, after pip install wandb and wandb login."""

import json
import pathlib

import wandb

for folder in sorted(p.parent for p in pathlib.Path(__file__).parent.glob("*/config.json")):
    config = json.loads((folder / "config.json").read_text())
    with wandb.init(project="robustssm", name=config["name"], config=config) as run:
        for line in (folder / "history.jsonl").read_text().splitlines():
            run.log(json.loads(line))
        run.summary.update(json.loads((folder / "summary.json").read_text()))
'''
MLFLOW = '''"""Log these runs to MLflow, after pip install mlflow; MLFLOW_TRACKING_URI says where.

A curve is the metrics CURVE/accuracy, CURVE/ci_low and CURVE/ci_high. Its step is the mode, or
the rank of the mode if modes are not whole numbers; CURVE/mode holds the modes themselves.
"""

import json
import pathlib

import mlflow

mlflow.set_experiment("robustssm")
for folder in sorted(p.parent for p in pathlib.Path(__file__).parent.glob("*/config.json")):
    config = json.loads((folder / "config.json").read_text())
    summary = json.loads((folder / "summary.json").read_text())
    with mlflow.start_run(run_name=config["name"]):
        mlflow.log_params(config)
        mlflow.log_metrics({key: value for key, value in summary.items() if value is not None})
        for line in (folder / "history.jsonl").read_text().splitlines():
            row = json.loads(line)
            values = {f"{row['curve']}/{key}": row[key] for key in
                      ("accuracy", "ci_low", "ci_high", "mode") if row[key] is not None}
            mlflow.log_metrics(values, step=row["step"])
'''


def write_tracker(state: Inspection, output: Path, script: str) -> int:
    """Write a folder of the data of a run and a script that logs them.

    Returns the number of the tracker's runs. history.jsonl has one line per condition: noise,
    inject, mode, eps, accuracy with its interval, the name of the curve and the step on it.
    """
    taken: list[str] = []
    with new_folder(output) as folder:
        for config, history, scalars in _tracked(state):
            taken.append(_key(config["name"], taken=taken))
            place = folder / taken[-1]
            place.mkdir()
            rows = history.to_dict("records")
            lines = (json.dumps(finite(row), allow_nan=False) + "\n" for row in rows)
            (place / "history.jsonl").write_text("".join(lines), encoding="utf-8")
            for name, content in (("config.json", config), ("summary.json", scalars)):
                text = json.dumps(finite(content), indent=1, sort_keys=True, allow_nan=False)
                (place / name).write_text(text + "\n", encoding="utf-8")
        (folder / "import.py").write_text(script, encoding="utf-8")
    return len(taken)


def _tracked(state: Inspection) -> Iterator[tuple[dict[str, Any], pd.DataFrame, dict[str, float]]]:
    """Yield facts, points of curves and scalars by name of each model and training seed."""
    finished(state)
    manifest = state.manifest
    summary = tidy(state.run, read_tables(state).summary)
    for (model, seed), rows in summary.groupby(["model", "train_seed"]):
        noisy = rows[rows["noise"] != "clean"]
        first = rows.iloc[0]
        facts = {
            "name": f"{model}/{seed}",
            "model": model,
            "train_seed": int(seed),
            "checkpoint": first["checkpoint"],
            "task": first["task"],
            "task_hash": manifest.get("task_hash"),
            "noise_seed": int(first["seed"]),
            "samples": int(rows["n"].min()),
            "limit": manifest.get("limit"),
            "partial": state.partial,
            "noise": ", ".join(dict.fromkeys(noisy["noise"])),
            "plan": manifest.get("plan"),
            "command": " ".join(map(str, manifest.get("argv") or [])),
            **{f"version_{k}": v for k, v in (manifest.get("versions") or {}).items()},
        }
        scalars = {"clean_accuracy": float(first["clean_accuracy"])}
        curves: dict[str, pd.DataFrame] = {}
        keys = [name for name in CONDITION if name != "mode"]
        for values, group in noisy.groupby(keys, sort=True):
            noise, inject, _, eps, unit, clip = values
            bounds = f" {clip}" if clip not in ("", "none") else ""
            key = _key(noise, inject, f"eps_{eps:g}_{unit}{bounds}", taken=curves)
            curve = group.sort_values("mode", kind="stable")
            curves[key] = curve[_HISTORY].assign(curve=key, step=_steps(curve["mode"].to_list()))
            scalars[f"{key}/mean_over_modes"] = float(group["accuracy"].mean())
            scalars[f"{key}/worst_over_modes"] = float(group["accuracy"].min())
            scalars[f"{key}/worst_mode"] = float(worst_row(group)["mode"])
        history = pd.concat(curves.values(), ignore_index=True) if curves else pd.DataFrame()
        yield facts, history, scalars


def _key(*parts: str, taken: Mapping[str, object] | list[str]) -> str:
    """Return a metric's name of letters that every tracker takes, different from those taken."""
    name = "/".join(_FOREIGN.sub("_", part).strip("_.") for part in parts)
    key, count = name, 1
    while key in taken:
        count += 1
        key = f"{name}-{count}"
    return key


def _steps(modes: list[float]) -> list[int]:
    """Return modes as steps, which are whole numbers; the ranks of modes that are not."""
    whole = all(float(m).is_integer() for m in modes) and len(set(modes)) == len(modes)
    return [int(m) for m in modes] if whole else list(range(len(modes)))
