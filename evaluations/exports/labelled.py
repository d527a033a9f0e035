"""A run as labelled arrays: an xarray Dataset of models, seeds, conditions, samples."""

import json
from typing import TYPE_CHECKING

import numpy as np

from robustssm.errors import RobustssmError, UsageError
from robustssm.evaluations.results.inspection import Inspection
from robustssm.evaluations.results.tables import finished
from robustssm.evaluations.sweep.condition_names import CONDITION

if TYPE_CHECKING:
    import xarray

# Columns of a cell -> what stands if a cell has no result.
VARIABLES: dict[str, tuple[str, float]] = {
    "correct": ("i1", -1),
    "prediction": ("i4", -1),
    "margin": ("f8", np.nan),
    "loss": ("f8", np.nan),
    "delivered_rms": ("f8", np.nan),
    "in_band_share": ("f8", np.nan),
}
_MEANING = {
    "correct": "1 right, 0 wrong, -1 no result",
    "prediction": "class; -1 no result",
    "margin": "logit of the label minus the largest other logit; NaN: no result",
    "loss": "cross entropy, nat; NaN: no result",
    "delivered_rms": "root mean square of the perturbation, units of the input; NaN: no result",
    "in_band_share": "share of the perturbation's energy in its band; NaN: no result",
    "done": "whether the condition has a result for that model and training seed",
}


def to_xarray(state: Inspection) -> "xarray.Dataset":
    """Return the samples of a run's finished cells as an xarray Dataset.

    Dimensions model, train_seed, condition, sample_id; coordinates of condition: noise (`clean`
    among them), inject, mode, mode_unit, eps, eps_unit, clip, noise_seed; of sample_id: label.
    `done` says which (model, train_seed, condition) have results; without one `correct` and
    `prediction` are -1 and the other variables NaN. The array is held in memory: 37 bytes a sample
    and condition.

        curve = data.correct.where(data.done).mean("sample_id", dtype="float64")
        grid = curve.sel(condition=curve.noise == "fourier")
        grid = grid.set_index(condition=["mode", "eps"]).unstack("condition")

    Raises RobustssmError if xarray is not installed, UsageError if nothing is finished or
    cells hold different samples.
    """
    try:
        import xarray
    except ImportError:
        raise RobustssmError(
            "export: xarray is not installed; pip install 'robustssm[xarray]'"
        ) from None
    plan = finished(state)
    models = sorted(set(plan["model"]))
    seeds = sorted({int(seed) for seed in plan["train_seed"]})
    plan = plan.rename(columns={"seed": "noise_seed"})
    names = [*CONDITION, "noise_seed"]
    conditions = plan[names].drop_duplicates().reset_index(drop=True)
    place = {row: k for k, row in enumerate(conditions.itertuples(index=False, name=None))}
    first = state.run.rows(plan["cell"].iloc[0], ["sample_id", "label"]).sort_values("sample_id")
    ids = first["sample_id"].to_numpy()
    shape = (len(models), len(seeds), len(conditions))
    arrays = {
        name: np.full((*shape, len(ids)), empty, dtype=kind)
        for name, (kind, empty) in VARIABLES.items()
    }
    done = np.zeros(shape, dtype=np.bool_)
    for cell in plan.itertuples(index=False):
        rows = state.run.rows(cell.cell, ["sample_id", *VARIABLES]).sort_values("sample_id")
        if not np.array_equal(rows["sample_id"].to_numpy(), ids):
            raise UsageError(
                f"run {state.run.path}: cell {cell.cell} holds other samples than the first; run "
                "that sweep again with --overwrite"
            )
        condition = place[tuple(getattr(cell, name) for name in names)]
        at = (models.index(cell.model), seeds.index(cell.train_seed), condition)
        done[at] = True
        for name, array in arrays.items():
            array[at] = rows[name].to_numpy()
    over = ("model", "train_seed", "condition")
    return xarray.Dataset(
        {
            **{name: ((*over, "sample_id"), array) for name, array in arrays.items()},
            "done": (over, done),
        },
        {
            "model": models,
            "train_seed": seeds,
            "sample_id": ids,
            "label": ("sample_id", first["label"].to_numpy()),
            **{
                name: ("condition", conditions[name].to_numpy(dtype=kind))
                for name, kind in zip(
                    names, (str, str, float, str, float, str, str, np.int64), strict=True
                )
            },
        },
        {"robustssm": json.dumps({"run": state.manifest, **state.counts}, sort_keys=True)},
    ).map(lambda array: array.assign_attrs(meaning=_MEANING[str(array.name)]))
