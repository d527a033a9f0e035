"""The tables that `robustssm compare` prints, one noise after the other."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from robustssm.commands import terminal

if TYPE_CHECKING:
    from pandas import DataFrame

    from robustssm.evaluations.comparison.comparison import Comparison
    from robustssm.evaluations.comparison.strength_grid import StrengthGrid
    from robustssm.targets import Kind

_CURVES = {
    "acc_clean": "clean",
    "auc_log_eps_mean_over_modes": "AUC over log eps",
    "eps50_mean_over_modes": "eps50",
    "mce": "mCE",
    "relative_mce": "relative mCE",
}
_LABELS = {
    **_CURVES,
    "acc_mean_over_modes": "mean over modes",
    "acc_worst_crossfit": "worst mode, cross-fitted",
    "eps50_ratio": "eps50, ratio",
    "eps50_difference_db": "eps50, difference in dB",
    "conditions_differ": "conditions that differ",
    "conditions_better": "conditions better",
    "conditions_worse": "conditions worse",
}


def digest(comparison: "Comparison") -> Iterator[terminal.Table]:
    """Yield a few lines for each noise and model: better or worse than the reference, and where.

    Of models that are not compared: the accuracy at each strength.
    """
    for grid in comparison.grids:
        differences = _of(comparison.differences, grid)
        if differences.empty:
            yield next(tables(comparison, grid))
            continue
        for model, group in differences.groupby("model", sort=False):
            seeds = group["train_seed"]
            rows = group[seeds == ("all" if (seeds == "all").any() else seeds.iloc[0])]
            title = f"{model} minus {comparison.reference}, {grid.title}, n = {grid.n}"
            yield _digest(comparison.compared.kind, title, rows.to_dict("records"))


def _digest(of: "Kind", title: str, rows: list[dict[str, Any]]) -> terminal.Table:
    """Return the lines on one model and noise; rows: its differences from the reference."""
    worst = any(row["quantity"] == "acc_worst_crossfit" for row in rows)
    at, name = "acc_mean_over_modes", of.words
    if worst:
        at, name = "acc_worst_crossfit", "worst mode"
    found = [(f"clean {of.words}", row) for row in rows if row["quantity"] == "acc_clean"]
    found += [
        (f"{name} at eps {row['eps']:g} {row['eps_unit']}", row)
        for row in rows
        if row["quantity"] == at
    ]
    lines = []
    for what, row in found:
        low, high = sorted((of.sign * row["ci_low"], of.sign * row["ci_high"]))
        verdict = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
        lines.append((what, _value(row, signed=True), "" if math.isnan(low) else verdict))
    counts = {row["quantity"].partition("_")[2]: row for row in rows}
    if "differ" in counts:
        differ, better, worse = (counts[name] for name in ("differ", "better", "worse"))
        p = "" if math.isnan(differ["p"]) else f", p = {differ['p']:.2g}"
        share = f"{differ['value']:g} {' '.join(differ['detail'].split()[:2])}"
        said = f"better at {better['value']:g}, worse at {worse['value']:g}{p}"
        lines.append(("conditions that differ", share, said))
    pads = [max(map(len, texts)) for texts in zip(*lines, strict=True)]

    def words(line: dict[str, str]) -> str:
        padded = (f"{text:{pad}}" for text, pad in zip(line.values(), pads, strict=True))
        return f"  {'  '.join(padded)}".rstrip()

    return replace(terminal.written(title, ["", "difference", "verdict"], lines), words=words)


def tables(
    comparison: "Comparison", only: "StrengthGrid | None" = None
) -> Iterator[terminal.Table]:
    """Yield the tables that a reader sees, one noise after the other; only: of this one."""
    partial = " PARTIAL (--limit)" if comparison.compared.partial else ""
    for grid in comparison.grids if only is None else (only,):
        title = f"{grid.title}, n = {grid.n}{partial}"
        models = _of(comparison.models, grid)
        accuracies = terminal.written(
            f"{title}: {grid.kind.words} at each strength",
            *_strengths_table(models, grid.kind.words),
        )
        yield replace(accuracies, aside=("of", "worst (naive)", "chosen"))
        yield terminal.written(f"{title}: whole curves", *_curves_table(models))
        parts = _of(comparison.components, grid)
        if len(parts):
            about = f"{title}: standard deviation if this alone changes"
            yield terminal.written(about, *_components_table(parts))
        differences = _of(comparison.differences, grid)
        if len(differences):
            against = f"{title}: model minus {comparison.reference}"
            yield replace(terminal.written(against, *_pairs_table(differences)), aside=("of", "by"))
            modes = _of(comparison.modes, grid)
            if len(modes) and grid.modes.size > 1:
                yield terminal.written(
                    f"{title}: where they differ, max-T p < 0.05", *_modes_table(modes, grid.kind)
                )


def _of(table: "DataFrame", grid: "StrengthGrid") -> "DataFrame":
    from robustssm.evaluations.sweep.condition_names import NOISE

    if table.empty:
        return table
    for name in NOISE:
        table = table[table[name] == getattr(grid, name)]
    if "quantity" in table:  # one spelling for all kinds
        plain = table["quantity"].str.replace(f"{grid.kind.short}_", "acc_")
        table = table.assign(quantity=plain, form=grid.kind.digits)
    return table


def _groups(
    table: "DataFrame", names: list[str]
) -> Iterable[tuple[Any, dict[str, dict[str, Any]]]]:
    """Yield key and rows by quantity; a model's mean over seeds comes after its seeds."""
    order = {model: k for k, model in enumerate(table["model"].drop_duplicates())}
    places = table["model"].map(order)
    table = table.assign(place=places, late=table["train_seed"] == "all")
    table = table.sort_values(["place", "late"], kind="stable")
    rows = table.to_dict("records")  # once: a table per group would take longer than the rest
    for key, places in table.reset_index(drop=True).groupby(names, sort=False, dropna=False):
        yield key, {rows[k]["quantity"]: rows[k] for k in places.index}


def _seed(row: dict[str, Any]) -> str:
    return f"mean of {row['seeds']}" if row["train_seed"] == "all" else row["train_seed"]


def _strengths_table(models: "DataFrame", words: str) -> tuple[list[str], list[list[str]]]:
    worst = bool((models["quantity"] == "acc_worst_over_modes").any())
    columns = ["model", "seed", "eps", "mean over modes" if worst else words, "of"]
    columns += ["worst (naive)", "worst, cross-fitted", "chosen"] if worst else []
    rows = []
    noisy = models[models["eps"].notna()]
    for (model, _, eps), group in _groups(noisy, ["model", "train_seed", "eps"]):
        mean = group["acc_mean_over_modes"]
        shown = [model, _seed(mean), f"{eps:g} {mean['eps_unit']}", _value(mean), _kind(mean)]
        if worst:
            fitted = group["acc_worst_crossfit"]
            shown += [_value(group["acc_worst_over_modes"], interval=False), _value(fitted),
                      fitted["detail"]]  # fmt: skip
        rows.append(shown)
    return columns, rows


def _curves_table(models: "DataFrame") -> tuple[list[str], list[list[str]]]:
    shown = [name for name in _CURVES if (models["quantity"] == name).any()]
    rows = []
    whole = models[models["eps"].isna()]
    for (model, _), group in _groups(whole, ["model", "train_seed"]):
        any_row = next(iter(group.values()))
        rows.append([model, _seed(any_row), *(_value(group[name]) for name in shown)])
    return ["model", "seed", *(_CURVES[name] for name in shown)], rows


def _components_table(components: "DataFrame") -> tuple[list[str], list[list[str]]]:
    rows: dict[tuple[Any, ...], list[str]] = {}
    for row in components.to_dict("records"):
        name = f"{row['model']} - {row['reference']}" if row["reference"] else row["model"]
        first = [
            name,
            f"{row['eps']:g} {row['eps_unit']}",
            str(row["seeds"]),
            str(row["noise_seeds"]),
        ]
        ends = "" if math.isnan(row["ci_low"]) else f" [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
        shown = "-" if math.isnan(row["sd"]) else f"{row['sd']:.4f}{ends}"
        rows.setdefault(tuple(first), first).append(shown)
    names = components["varies"].drop_duplicates()
    return ["model", "eps", "training seeds", "noise seeds", *names], list(rows.values())


def _pairs_table(differences: "DataFrame") -> tuple[list[str], list[list[str]]]:
    rows = []
    for (model, _, eps), group in _groups(differences, ["model", "train_seed", "eps"]):
        for name, row in group.items():
            label = _LABELS[name] + ("" if math.isnan(eps) else f" at eps {eps:g}")
            p = "" if math.isnan(row["p"]) else f"{row['p']:.3g}"
            value = _value(row, signed=not name.startswith(("conditions", "eps50_ratio")))
            rows.append([model, _seed(row), label, value, _kind(row), p, row["p_test"]])
    return ["model", "seed", "quantity", "difference", "of", "p", "by"], rows


def _modes_table(modes: "DataFrame", of: "Kind") -> tuple[list[str], list[list[str]]]:
    from robustssm.evaluations.reports.report_rows import numbers

    rows = []
    for (model, eps, unit), group in modes.groupby(["model", "eps", "eps_unit"], sort=False):
        differs = group["p_max_t"] < 0.05
        gain = of.sign * group["difference"]
        signs = (gain > 0).astype(int) - (gain < 0).astype(int)
        group = group.assign(sign=signs.where(differs, 0))
        wide = group.pivot_table(index="mode", columns="train_seed", values="sign", sort=False)
        names = [*wide.columns, *(["every seed"] if wide.shape[1] > 1 else [])]
        for name in names:
            sign = wide.mean(axis=1) if name == "every seed" else wide[name]
            better = wide.index[sign == 1].to_list()
            worse = wide.index[sign == -1].to_list()
            rows.append(
                [model, str(name), f"{eps:g} {unit}", str(len(wide)), str(len(better)),
                 numbers(better) or "-", str(len(worse)), numbers(worse) or "-"]
            )  # fmt: skip
    return ["model", "seed", "eps", "modes", "better", "at", "worse", "at"], rows


def _kind(row: dict[str, Any]) -> str:
    return row["interval"].replace("bootstrap ", "") or "-"


def _value(row: dict[str, Any], interval: bool = True, signed: bool = False) -> str:
    """Return a value with its interval; `> 1` if a strength lies beyond those tried."""
    sign = "+" if signed else ""
    value = row["value"]
    if math.isnan(value):
        return "-"
    form = f"{sign}{row['form']}"
    text = f"{value:{form}}"
    if row["quantity"].startswith("conditions"):
        return f"{value:g}"
    if row["censored"]:
        up = (row["censored"] == "stronger") != (row["eps_unit"] == "snr-db")
        text = f"{'>' if up else '<'} {value:g}"
    if not interval or math.isnan(row["ci_low"]):
        return text
    return f"{text} [{row['ci_low']:{form}}, {row['ci_high']:{form}}]"
