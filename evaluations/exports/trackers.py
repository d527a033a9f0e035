"""A run as experiment trackers keep it: MLflow's file store, and files to log to W&B.

One tracker's run a model and training seed. Times are those of SOURCE_DATE_EPOCH, else of 1970,
so that equal runs give equal bytes.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from robustssm.evaluations.results.cell_reader import CONDITION
from robustssm.evaluations.results.inspection import Inspection
from robustssm.evaluations.results.summary import worst_row
from robustssm.evaluations.results.tables import finished, read_tables, tidy
from robustssm.files import finite
from robustssm.source_date import source_date

# MLflow's enumerations, as its file store writes them: finished, failed, killed; a local source.
_FINISHED, _KILLED, _LOCAL = 3, 5, 4
# What a metric's name may hold; a slash makes a folder of MLflow's store.
_FOREIGN = re.compile(r"[^\w.\-]+")
_IMPORT = '''"""Log these runs to Weights & Biases, after pip install wandb and wandb login."""

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


@dataclass(frozen=True)
class _Tracked:
    """What is told of one model and training seed: facts, curves and scalars by name."""

    name: str
    facts: dict[str, Any]
    curves: dict[str, pd.DataFrame]
    scalars: dict[str, float]


def _tracked(state: Inspection) -> Iterator[_Tracked]:
    """Yield the models of a run, in the order of their names."""
    finished(state)
    content = state.manifest
    summary = tidy(state.run, read_tables(state).summary)
    for (model, seed), own in summary.groupby(["model", "train_seed"]):
        noisy = own[own["noise"] != "clean"]
        first = own.iloc[0]
        facts = {
            "model": model,
            "train_seed": int(seed),
            "checkpoint": first["checkpoint"],
            "task": first["task"],
            "task_hash": content.get("task_hash"),
            "noise_seed": int(first["seed"]),
            "samples": int(own["n"].min()),
            "limit": content.get("limit"),
            "partial": state.partial,
            "noise": ", ".join(dict.fromkeys(noisy["noise"])),
            "plan": content.get("plan"),
            "command": " ".join(map(str, content.get("argv") or [])),
            **{f"version_{k}": v for k, v in (content.get("versions") or {}).items()},
        }
        scalars = {"clean_accuracy": float(first["clean_accuracy"])}
        curves: dict[str, pd.DataFrame] = {}
        keys = [name for name in CONDITION if name != "mode"]
        for values, group in noisy.groupby(keys, sort=True):
            noise, inject, _, eps, unit, clip = values
            bounds = f" {clip}" if clip not in ("", "none") else ""
            key = _key(noise, inject, f"eps_{eps:g}_{unit}{bounds}", taken=curves)
            curves[key] = group.sort_values("mode", kind="stable")
            scalars[f"{key}/mean_over_modes"] = float(group["accuracy"].mean())
            scalars[f"{key}/worst_over_modes"] = float(group["accuracy"].min())
            scalars[f"{key}/worst_mode"] = float(worst_row(group)["mode"])
        yield _Tracked(f"{model}/{seed}", facts, curves, scalars)


def _key(*parts: str, taken: Mapping[str, object]) -> str:
    """Return a metric's name of letters that every tracker takes, different from those taken."""
    name = "/".join(_FOREIGN.sub("_", part).strip("_.") for part in parts)
    key, count = name, 1
    while key in taken:
        count += 1
        key = f"{name}-{count}"
    return key


def _milliseconds() -> int:
    """Return the time that is written: SOURCE_DATE_EPOCH in ms, 0 without it."""
    return 1000 * source_date()


def mlflow_store(state: Inspection, folder: Path, name: str) -> int:
    """Write MLflow's file store into an empty folder; return the number of its runs.

    name: what the folder will be called; artifact locations are relative to where it lies. A curve
    is the metric `NOISE/PLACE/eps_E_UNIT/accuracy`, its step the mode (its rank where modes are not
    whole numbers, with the modes in a metric `mode` beside it), with `ci_low` and `ci_high`.

    Layout: MLflow 2 and 3, mlflow/store/tracking/file_store.py: meta.yaml, params/, tags/, and
    metrics/ with lines `timestamp value step`. Newer MLflow reads it with
    MLFLOW_ALLOW_FILE_STORE=true, or takes it over by `mlflow migrate-filestore`.
    """
    now = _milliseconds()
    content = json.dumps([state.manifest, sorted(state.done)], sort_keys=True)
    # An experiment's id is a number of 18 digits; 0 is MLflow's default experiment.
    experiment = str(10**17 + int(hashlib.sha256(content.encode()).hexdigest()[:14], 16))
    _default_experiment(folder / "0", name, now)
    _yaml(
        folder / experiment / "meta.yaml",
        {
            "artifact_location": f"{name}/{experiment}",
            "creation_time": now,
            "experiment_id": experiment,
            "last_update_time": now,
            "lifecycle_stage": "active",
            "name": f"robustssm {state.manifest.get('task', '')} {state.manifest.get('plan', '')}",
        },
    )
    count = 0
    for tracked in _tracked(state):
        run_id = hashlib.sha256(f"{content}{tracked.name}".encode()).hexdigest()[:32]
        place = folder / experiment / run_id
        _yaml(
            place / "meta.yaml",
            {
                "artifact_uri": f"{name}/{experiment}/{run_id}/artifacts",
                "end_time": now,
                "entry_point_name": "",
                "experiment_id": experiment,
                "lifecycle_stage": "active",
                "run_id": run_id,
                "run_name": tracked.name,
                "run_uuid": run_id,
                "source_name": "",
                "source_type": _LOCAL,
                "source_version": "",
                "start_time": now,
                "status": _FINISHED if state.complete else _KILLED,
                "tags": [],
                "user_id": "robustssm",
            },
        )
        for key, value in tracked.facts.items():
            _write(place / "params" / key, "" if value is None else str(value))
        tags = {"mlflow.runName": tracked.name, "mlflow.user": "robustssm"}
        for key, value in tags.items():
            _write(place / "tags" / key, value)
        for key, number in tracked.scalars.items():
            _write(place / "metrics" / key, f"{now} {number!r} 0\n")
        for key, curve in tracked.curves.items():
            _metrics(place / "metrics" / key, curve, now)
        (place / "artifacts").mkdir()
        count += 1
    return count


def _default_experiment(folder: Path, name: str, now: int) -> None:
    """Write MLflow's default experiment, empty; its viewer asks for it."""
    _yaml(
        folder / "meta.yaml",
        {
            "artifact_location": f"{name}/0",
            "creation_time": now,
            "experiment_id": "0",
            "last_update_time": now,
            "lifecycle_stage": "active",
            "name": "Default",
        },
    )


def _metrics(folder: Path, curve: pd.DataFrame, now: int) -> None:
    """Write a curve's metrics, one line a mode."""
    modes = curve["mode"].to_list()
    whole = all(float(m).is_integer() for m in modes) and len(set(modes)) == len(modes)
    steps = [int(m) for m in modes] if whole else list(range(len(modes)))
    columns = ["accuracy", "ci_low", "ci_high", *([] if whole else ["mode"])]
    for name in columns:
        lines = [
            f"{now} {value!r} {step}\n" for value, step in zip(curve[name], steps, strict=True)
        ]
        _write(folder / name, "".join(lines))


def _yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Write a flat mapping as YAML; every JSON value is one of YAML's."""
    _write(path, "".join(f"{key}: {json.dumps(value)}\n" for key, value in content.items()))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def wandb_folder(state: Inspection, folder: Path) -> int:
    """Write files to log to Weights & Biases into an empty folder; return the number of runs.

    The files that `wandb sync` reads are an undocumented binary log. So every model gets a folder
    of config.json, history.jsonl (one line a condition: noise, inject, mode, eps, accuracy and its
    interval) and summary.json, and import.py logs them by W&B's own `init`, `log` and `summary`.
    """
    count = 0
    taken: dict[str, Path] = {}
    fields = [*CONDITION, "n", "accuracy", "ci_low", "ci_high", "delivered_rms"]
    for tracked in _tracked(state):
        place = folder / _key(tracked.name, taken=taken)
        taken[place.name] = place
        _json(place / "config.json", {"name": tracked.name, **tracked.facts})
        _json(place / "summary.json", tracked.scalars)
        rows = [
            row for curve in tracked.curves.values() for row in curve[fields].to_dict("records")
        ]
        lines = (json.dumps(finite(row), allow_nan=False) + "\n" for row in rows)
        _write(place / "history.jsonl", "".join(lines))
        count += 1
    _write(folder / "import.py", _IMPORT)
    return count


def _json(path: Path, content: Mapping[str, Any]) -> None:
    _write(
        path, json.dumps(finite(dict(content)), indent=1, sort_keys=True, allow_nan=False) + "\n"
    )
