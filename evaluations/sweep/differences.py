"""What differs between the sweep that a directory holds and the one that is asked for."""

from typing import Any

import pandas as pd

# Conditions of a kind that are named before the rest is counted.
_NAMED = 3
# What distinguishes conditions, whatever they are called.
_CONDITION = ["perturbation", "inject", "eps", "eps_unit", "clip"]


def differences(
    old: dict[str, Any], old_plan: pd.DataFrame, new: dict[str, Any], new_plan: pd.DataFrame
) -> list[str]:
    """Return a line for each difference, from manifests and frames of plans: `what: old -> new`."""
    lines = [
        *_scalar(old, new, "schema", "form of the cells"),
        *_scalar(old, new, "task", "task"),
        *_scalar(old, new, "task_hash", "data"),
        *_scalar(old, new, "seed", "seed of the noise"),
        *_scalar(old, new, "noise_seeds", "number of noise seeds"),
        *_scalar(old, new, "limit", "limit of samples"),
        *_scalar(old, new, "device", "device"),
        *_scalar(old, new, "plugins", "packages of perturbations"),
        *_models(old_plan, new_plan),
        *_conditions(old_plan, new_plan),
    ]
    return lines or ["cells: other ones, written by another version of robustssm"]


def _scalar(old: dict[str, Any], new: dict[str, Any], key: str, name: str) -> list[str]:
    before, after = (_short(manifest.get(key)) for manifest in (old, new))
    return [] if before == after else [f"{name}: {before} -> {after}"]


def _short(value: object) -> str:
    """Return a value for a message: hashes by their first digits."""
    text = "none" if value is None else str(value)
    return text[:12] if len(text) == 64 else text


def _models(old: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    """Return the models with other weights under their name, gone, or new by content."""
    before, after = (
        {
            f"{row.model}/{row.train_seed}": row.checkpoint
            for row in frame[["model", "train_seed", "checkpoint"]].drop_duplicates().itertuples()
        }
        for frame in (old, new)
    )
    lines = []
    for name in dict.fromkeys([*before, *after]):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        if was is not None and now is not None:
            lines.append(f"weights of {name}: {_short(was)} -> {_short(now)}")
        elif was is not None and was not in after.values():
            lines.append(f"model {name} ({_short(was)}): not asked for")
        elif now is not None and now not in before.values():
            lines.append(f"model {name} ({_short(now)}): not in the directory")
    return lines


def _conditions(old: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    before, after = (
        list(dict.fromkeys(frame[_CONDITION].itertuples(index=False, name=None)))
        for frame in (old[old["noise"] != "clean"], new[new["noise"] != "clean"])
    )
    lines = []
    for have, others, what in (
        (before, set(after), "not asked for"),
        (after, set(before), "not in the directory"),
    ):
        only = [condition for condition in have if condition not in others]
        if only:
            shown = ", ".join(
                f"{attack} at eps {eps:g} {unit} ({inject}{'' if clip == 'none' else ', ' + clip})"
                for attack, inject, eps, unit, clip in only[:_NAMED]
            )
            more = f" and {len(only) - _NAMED} more" if len(only) > _NAMED else ""
            lines.append(f"perturbation {what}: {shown}{more}")
    return lines
